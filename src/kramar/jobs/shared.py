"""A run folder that several processes work in at the same time."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock

from kramar.errors import InputError
from kramar.files import make_folder, remove_leftovers, write_text
from kramar.jobs.run import Plan, RunFolder, holds, vacate
from kramar.progress import Progress


class SharedFolder(RunFolder):
    """A run folder that several processes work in; ``lock`` is for what only one at a time may do.

    Each process counts the wall time from what was spent when it joined, so that all of them count the same.
    """

    def __init__(self, path: Path, plan: Plan, listener: Progress, since: float, lock: FileLock) -> None:
        super().__init__(path, plan, listener, since)
        self.lock = lock

    def _save(self, changes: Mapping[str, object]) -> None:
        with self.lock:
            super()._save(changes)


@contextmanager
def joined(
    path: Path, options: Mapping[str, str], source: str, fingerprint: str, listener: Progress, since: float
) -> Iterator[SharedFolder]:
    """The run folder, made or joined; where the input turns out to be wrong before any trial, it is not left behind.

    Raises OutputError, or RunFolderError where another process has made it for something else.
    """
    make_folder(path)
    lock, waiting = FileLock(path / ".lock"), time.monotonic()
    with lock:
        # Whoever had it has counted this time.
        since += time.monotonic() - waiting
        holds(path, options, fingerprint, ())
        is_new = not (path / "plan.json").is_file()
        # Others write here only while they have the lock.
        remove_leftovers(path)
        if is_new:
            began = datetime.now(UTC).isoformat(timespec="seconds")
            plan = Plan(options=dict(options), source=source, fingerprint=fingerprint, started=began)
            write_text(path / "plan.json", plan.model_dump_json(indent=1))
        else:
            plan = Plan.model_validate_json((path / "plan.json").read_text(encoding="utf-8"))
    try:
        yield SharedFolder(path, plan, listener, since, lock)
    except InputError:
        with lock:
            if is_new and not (path / "trials").exists():
                vacate(path)
        raise
