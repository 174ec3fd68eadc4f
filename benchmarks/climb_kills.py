"""A climb killed at five random moments: ``python -m benchmarks.climb_kills [BUDGET]``, on photos for development.

How many views and passes a climb has time for is measured, and differs from run to run. So the killed one is given the
decisions of the whole one, in its plan, as a resumed run has its own; all else it has to find again.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.development import development
from benchmarks.harness import KRAMAR, bar, environment, record, run, scratch

KILLS = 5


def main(arguments: Sequence[str] = ()) -> None:
    """Compare a climb that was killed with one that was not."""
    budget = arguments[0] if arguments else "6m"
    folder = scratch("climb-kills")
    command = ("train", str(development(folder)), "--budget", budget, "--out")
    whole, killed = folder / "whole", folder / "killed"
    took = run(*command, str(whole), cache=folder / "whole-cache")
    killed.mkdir()
    plan = json.loads((whole / "plan.json").read_text(encoding="utf-8"))
    (killed / "plan.json").write_text(json.dumps({**plan, "spent": 0.0}), encoding="utf-8")
    generator = random.Random(0)  # noqa: S311 - moments to kill at, not secrets
    for _ in range(KILLS):
        process = subprocess.Popen(
            [KRAMAR, *command, str(killed)],
            env=environment(folder / "killed-cache"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(generator.uniform(5, took.seconds / 3))
        process.send_signal(signal.SIGKILL)
        process.wait()
        print(f"      killed with {', '.join(sorted(path.stem for path in killed.glob('models/*.json')))} done")
    run(*command, str(killed), cache=folder / "killed-cache")
    keys = [rung["key"] for rung in record(whole)["ladder"]]
    alike = [key for key in keys if content(whole, key) == content(killed, key)]
    bar("models byte for byte those of the whole climb", f"{len(alike)} of {len(keys)}", "all", alike == keys)
    same = record(whole)["model"]["sha256"] == record(killed)["model"]["sha256"]
    bar("the model file too", str(same), "the same", same)


def content(folder: Path, key: str) -> bytes:
    """A rung's model file."""
    return (folder / "models" / f"{key}.onnx").read_bytes()


if __name__ == "__main__":
    main(sys.argv[1:])
