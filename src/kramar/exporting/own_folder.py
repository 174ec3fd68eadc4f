"""Folders that are complete or absent, and never anyone's but ours."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from kramar.errors import InputError
from kramar.files import output_error, sha256

# Written last, so that its existence means that the folder is whole.
RECORD = "kramar.json"


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of each file in ``folder``, by its path with slashes; the record's own left out."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): sha256(path) for path in files if path.relative_to(folder) != Path(RECORD)
    }


@contextlib.contextmanager
def own_folder(path: Path, kind: str) -> Iterator[Path]:
    """An empty folder beside ``path``; when the block ends well, it takes ``path``'s place.

    An earlier export of the same ``kind`` makes room for it. Raises InputError where anything else is there, and
    OutputError where the disk says no; then nothing is left behind.
    """
    if not path.name:
        raise InputError(f"{path}: expected a new folder, found the one that the command runs in; name one (--out web)")
    _require_ours(path, kind)
    mark = secrets.token_hex(4)
    new, old = (path.with_name(f".{path.name}.{mark}.{end}") for end in ("tmp", "old.tmp"))
    try:
        new.mkdir(parents=True)
        yield new
        for file in new.rglob("*"):
            if file.is_file():
                with file.open("rb") as written:
                    os.fsync(written.fileno())
        _require_ours(path, kind)  # it may have been edited meanwhile
        if path.exists():
            path.rename(old)
        new.rename(path)
    except OSError as error:
        raise output_error(path, error) from error
    finally:
        for leftover in (new, old):
            shutil.rmtree(leftover, ignore_errors=True)


def _require_ours(path: Path, kind: str) -> None:
    """Raise InputError where ``path`` is there, and is no empty folder and no export of this kind as we wrote it."""
    try:
        if not path.exists() or (path.is_dir() and not any(path.iterdir())):
            return
        found = _what_else(path, kind)
    except OSError as error:
        raise output_error(path, error) from error
    if found:
        raise InputError(
            f"{path}: expected a new folder, or one that kramar export --format {kind} wrote, found {found}; "
            "give another --out, or remove it first"
        )


def _what_else(path: Path, kind: str) -> str:
    """What is at ``path`` that is not ours; empty where all is."""
    if not path.is_dir():
        return "a file"
    try:
        record = json.loads((path / RECORD).read_text(encoding="utf-8"))
        wrote, files = record["format"], dict(record["files"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return "other files"
    if wrote != kind:
        return f"an export in the format {wrote}"
    now = hashes(path)
    changed = sorted(name for name in now if files.get(name) != now[name])
    return f"{changed[0]!r}, which was added or changed since" if changed else ""
