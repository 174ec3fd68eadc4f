"""What a stranger does first: ``make demo`` and ``make test``, each in a fresh clone of HEAD, each twice.

Every clone gets its own virtual environment, its own cache and no cache of pip's: the packages are downloaded anew.
Photos beside the project do not come along, so the tests that need them are skipped, as they are for a stranger.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness import PROJECT, measured

# What a make or a CI around this benchmark would hand down.
INHERITED = ("MAKEFLAGS", "MAKELEVEL", "CI")
# What the two targets end with.
RESULT = re.compile(r"^(?:Test accuracy .*|=+ (\d+ passed.*?) =+)$", re.MULTILINE)


@dataclass(frozen=True)
class Twice:
    """Seconds of a target's first call in a clone, of the set-up in it, and of the second call.

    ``result`` is how the first ended; ``installed_again`` is whether the second set anything up.
    """

    first: float
    setup: float
    second: float
    result: str
    installed_again: bool


def twice(target: str) -> Twice:
    """Make ``target`` two times in a clone of its own, which is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix=f"kramar-fresh-{target}-") as name:
        folder = Path(name)
        clone = folder / "kramar"
        subprocess.run(["git", "clone", "--quiet", str(PROJECT), str(clone)], check=True)
        unset = [word for variable in INHERITED for word in ("-u", variable)]
        command = ("env", *unset, "PIP_NO_CACHE_DIR=1", "make", "-C", str(clone), target)
        # The Makefile touches it when set-up is done.
        stamp = clone / ".venv" / ".installed"
        began = time.time()
        first = measured(*command, cache=folder / "cache")
        set_up = stamp.stat().st_mtime
        second = measured(*command, cache=folder / "cache")
        result = RESULT.search(first.output)
        return Twice(
            first=first.seconds,
            setup=set_up - began,
            second=second.seconds,
            result=(result[1] or result[0]) if result else "",
            installed_again=stamp.stat().st_mtime != set_up or "pip install" in second.output,
        )


def spoken(seconds: float) -> str:
    """``2 min 10 s``; under a minute with tenths."""
    return f"{seconds:.1f} s" if seconds < 60 else f"{round(seconds) // 60} min {round(seconds) % 60} s"


def row(what: str, asked: str, found: str, met: bool) -> None:
    """Print one line of the table, at once: the next takes minutes, and may fail."""
    print(f"| {what} | {asked} | {found} | {'ok' if met else 'MISS'} |", flush=True)


def again(target: str, done: Twice) -> None:
    """Print the line of the second call."""
    found = spoken(done.second) + ", installs something" * done.installed_again
    row(f"`make {target}` again", "installs nothing", found, not done.installed_again)


def main() -> None:
    """Print the table of docs/benchmarks.md."""
    head = subprocess.run(
        ["git", "-C", str(PROJECT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    print(f"Clones of {head}\n\n| what | asked | measured | |\n|---|---|---|---|", flush=True)
    demo = twice("demo")
    took = demo.first - demo.setup
    found = f"{spoken(took)} ({spoken(demo.setup)} of set-up before it): {demo.result}"
    row("`make demo`, after set-up", "under 5 min", found, took < 300)
    again("demo", demo)
    test = twice("test")
    found = f"{spoken(test.first)}, {spoken(test.setup)} of it set-up: {test.result}"
    row("`make test`, with set-up", "under 10 min", found, test.first < 600)
    again("test", test)
