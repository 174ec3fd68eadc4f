"""Files that are complete or absent: written under a temporary name, synced, then renamed."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path

from kramar.errors import OutputError


def output_error(path: Path, error: OSError) -> OutputError:
    """The OutputError that tells the user what ``error`` means for ``path``."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return OutputError(f"{path}: the disk is full; free some space or write elsewhere, then run the command again")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return OutputError(f"{path}: not writable ({error.strerror}); choose another place or change its permissions")
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return OutputError(f"{path}: a file is where a folder was expected; choose another place")
    return OutputError(f"{path}: could not be written ({error.strerror or error})")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path``; when the block ends well, it takes ``path``'s place in one step.

    Raises OutputError where the disk says no; then nothing is left behind.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
        temporary.touch(exist_ok=False)
        yield temporary
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    except OSError as error:
        raise output_error(path, error) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8, whole or not at all; what UTF-8 cannot hold (half a character) is escaped."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def sha256(path: Path) -> str:
    """Of the file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def make_folder(path: Path) -> None:
    """Make ``path`` and prove that files can be made in it, before any long work starts.

    Raises OutputError where they cannot.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        handle, probe = tempfile.mkstemp(prefix=".probe.", suffix=".tmp", dir=path)
        os.close(handle)
        # A process that tidies the same folder may have been quicker.
        Path(probe).unlink(missing_ok=True)
    except OSError as error:
        raise output_error(path, error) from error


def remove_leftovers(folder: Path) -> None:
    """Delete the temporary files that a killed process left in ``folder`` itself: those named as `replacing` does."""
    for leftover in folder.glob(".*.tmp"):
        if re.fullmatch(r"\..+\.[0-9a-f]{8}\.tmp|\.probe\..+\.tmp", leftover.name):
            leftover.unlink(missing_ok=True)
