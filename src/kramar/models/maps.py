"""The cache of what a backbone makes of photos before a cut: float16 maps, one store a view, bounded in bytes."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
from filelock import FileLock, Timeout

from kramar.config import cache_folder
from kramar.data.store import HASH_BYTES, RowStore
from kramar.files import make_folder, output_error

Half = npt.NDArray[np.float16]
_IN_USE = "in-use.lock"


def folder() -> Path:
    """Where all of them are."""
    return cache_folder() / "maps"


def bytes_of(shape: Sequence[int]) -> int:
    """What the maps of one view of one photo take, of ``shape`` (channels, height, width), and its photo's hash."""
    return 2 * math.prod(shape) + HASH_BYTES


def store(name: str, view: int, shape: tuple[int, int, int]) -> RowStore[np.float16]:
    """The store of one view of the maps called ``name``; rows ``[h, w, c]`` for ``shape`` (c, h, w)."""
    channels, height, width = shape
    return RowStore(folder() / name / f"view{view}", "maps.f16", (height, width, channels), np.float16)


@contextmanager
def room_for(name: str, needed: int, missing: int, limit: int) -> Iterator[None]:
    """Keep the maps called ``name`` in the block, and make room for ``needed`` bytes of them, of which ``missing`` are
    not there yet, so that all stay in ``limit``: those that were used least recently go, unless another process uses
    them.

    Raises OutputError.
    """
    make_folder(folder() / name)
    lock = FileLock(folder() / name / _IN_USE)
    held = _acquire(lock)
    try:
        others = sorted(
            (path for path in folder().iterdir() if path.is_dir() and path.name != name),
            key=lambda path: path.stat().st_mtime,
        )
        own = size(folder() / name) + missing
        if held and own > limit:
            # Of other photos, or of an earlier run with more room: which of them are needed, nobody knows here.
            _drop_views(name)
            own = needed
        total = own + sum(map(size, others))
        for path in others:
            if total <= limit:
                break
            other = FileLock(path / _IN_USE)
            if _acquire(other):
                taken = size(path)
                other.release()
                shutil.rmtree(path, ignore_errors=True)
                total -= taken
        (folder() / name / _IN_USE).touch()
        yield
    except OSError as error:
        raise output_error(folder(), error) from error
    finally:
        if held:
            lock.release()


def drop(name: str) -> bool:
    """Whether the maps called ``name`` are gone now: not where a process uses them. Raises OutputError."""
    make_folder(folder() / name)
    lock = FileLock(folder() / name / _IN_USE)
    if not _acquire(lock):
        return False
    try:
        _drop_views(name)
    finally:
        lock.release()
    return True


def _drop_views(name: str) -> None:
    for view in (folder() / name).glob("view*"):
        shutil.rmtree(view, ignore_errors=True)


def size(path: Path) -> int:
    """Bytes of the files in ``path``."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def _acquire(lock: FileLock) -> bool:
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    return True
