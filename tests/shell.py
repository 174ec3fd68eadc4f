"""The command line as a shell would call it, in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Run before kramar where a test needs another world: Ctrl-C that works although make or a CI runner ignores it,
# a limit on files, modules that are not installed.
_RUN = "; import runpy; runpy.run_module('kramar', run_name='__main__')"
HEARS_CTRL_C = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"


def command(*arguments: str | Path, first: str = "") -> list[str]:
    """What a process is started with; ``first`` is Python that it runs before kramar."""
    start = ["-c", first + _RUN] if first else ["-m", "kramar"]
    return [sys.executable, *start, *map(str, arguments)]


def kramar(
    *arguments: str | Path, first: str = "", cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run ``kramar`` with ``arguments`` to its end."""
    return subprocess.run(
        command(*arguments, first=first),
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )


@contextmanager
def ended_well(arguments: Sequence[str | Path], **options: Any) -> Iterator[str]:
    """A command that serves, at a free port, as long as the block lasts; its address. Then it ends well at SIGTERM."""
    started = command(*arguments, "--port", "0")
    with subprocess.Popen(started, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.send_signal(signal.SIGTERM)
            _, told = process.communicate(timeout=30)
        assert process.returncode == 0, told


def complaint(done: subprocess.CompletedProcess[str], code: int) -> str:
    """The one line that a command ended with, without ``kramar: ``; it ended with ``code`` and no traceback."""
    lines = done.stderr.splitlines()
    said = [line for line in lines if line.startswith("kramar: ")]
    assert (done.returncode, len(said)) == (code, 1), done.stderr
    assert lines[-1] == said[0], f"more after the message: {done.stderr}"
    assert "Traceback" not in done.stderr, done.stderr
    assert "bug in kramar" not in said[0], said[0]
    return said[0].removeprefix("kramar: ")


def unfinished(folder: Path) -> list[str]:
    """What in ``folder`` claims to be a result, or was written in part."""
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.name in {"run.json", "model.onnx", "report.html", "manifest.parquet"} or path.suffix == ".tmp"
    )


def contents(folder: Path) -> dict[str, bytes]:
    """The files in ``folder`` by path, lock files aside."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }
