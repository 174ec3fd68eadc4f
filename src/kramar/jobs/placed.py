"""Where a command's model file is, and the review queue beside it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from kramar.errors import MissingExtra, ModelFileError, RunFolderError
from kramar.reviewing.records import NAME

if TYPE_CHECKING:
    from kramar.reviewing.database import Database


def placed(given: Path) -> tuple[Path, Path | None]:
    """The model file, and the folder of its run, where it is in one. Raises RunFolderError."""
    if not given.is_dir():
        return given, given.parent if (given.parent / "run.json").is_file() else None
    if not (given / "run.json").is_file():
        raise RunFolderError(f"{given}: expected a finished kramar run, found no run.json; give a run or a model file")
    return given / "model.onnx", given


def check_there(model: Path) -> None:
    """Raise ModelFileError where there is no such file."""
    if not model.is_file():
        raise ModelFileError(f"{model}: no such model file; expected a run folder, or the model.onnx of one")


def queue_name(model: Path, database: str | None) -> str:
    """The path or URL of a model file's review queue: the one that is named, or that beside it."""
    return database or str(model.with_name(NAME))


@contextlib.contextmanager
def opened_queue(model: Path, database: str | None, command: str) -> Iterator[Database]:
    """The review queue of a model file. Raises InputError where there is none."""
    try:
        from kramar.reviewing.database import Database
    except ModuleNotFoundError as error:
        raise missing_part(error, command) from None
    queue = Database(queue_name(model, database), make=False)
    try:
        yield queue
    finally:
        queue.close()


def missing_part(error: ModuleNotFoundError, command: str) -> Exception:
    """What is said where a module of the ``serve`` extra is missing; the ``error`` itself of any other."""
    own = error.name is None or error.name.partition(".")[0] == "kramar"
    return error if own else MissingExtra("serve", command)
