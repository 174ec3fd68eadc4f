"""The cache of what was computed from photos: each photo once, shared by all runs.

A store is two files that only grow: the rows (of one type and shape, read memory-mapped) and ``photos.sha256`` (the
photos' hashes, in the same order). Rows are synced before their hashes are written, so a hash means that its
row is whole; what a killed run left beyond that is overwritten by the next append. Several processes may fill one
store at the same time: each append holds the lock, and takes in what the others have added.
"""

from __future__ import annotations

import math
import mmap
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from kramar.errors import MissingExtra
from kramar.files import make_folder, output_error

try:
    from filelock import FileLock
except ImportError:
    raise MissingExtra("train", "training") from None

HASH_BYTES = 32

Number = TypeVar("Number", bound=np.generic)


class RowStore(Generic[Number]):
    """One array a photo."""

    def __init__(self, folder: Path, name: str, shape: tuple[int, ...], dtype: type[Number]) -> None:
        """The store in ``folder``, its rows in the file ``name``. Raises OutputError."""
        make_folder(folder)
        self._rows_path = folder / name
        self._hashes_path = folder / "photos.sha256"
        self._shape, self._dtype = shape, dtype
        self._row_bytes = math.prod(shape) * np.dtype(dtype).itemsize
        self._lock = FileLock(folder / "lock")
        self._rows: dict[bytes, int] = {}
        self._read = 0
        try:
            for path in (self._rows_path, self._hashes_path):
                path.open("ab").close()
            self._refresh()
        except OSError as error:
            raise output_error(self._rows_path, error) from error

    def _refresh(self) -> None:
        """Take in the photos that any process has added since this one last looked."""
        whole = min(
            self._hashes_path.stat().st_size // HASH_BYTES,
            self._rows_path.stat().st_size // self._row_bytes,
        )
        with self._hashes_path.open("rb") as file:
            file.seek(self._read * HASH_BYTES)
            hashes = file.read((whole - self._read) * HASH_BYTES)
        for place in range(whole - self._read):
            self._rows[hashes[place * HASH_BYTES : (place + 1) * HASH_BYTES]] = self._read + place
        self._read = whole

    def __contains__(self, photo_hash: object) -> bool:
        return isinstance(photo_hash, str) and bytes.fromhex(photo_hash) in self._rows

    def __len__(self) -> int:
        return len(self._rows)

    def append(self, hashes: Sequence[str], arrays: npt.NDArray[Any]) -> None:
        """Commit ``arrays``, ``[N, ...]``, one for each of the photos with these hashes. Raises OutputError.

        A photo that is there already, or earlier in ``hashes``, keeps its row.
        """
        try:
            with self._lock:
                self._refresh()
                new: dict[bytes, int] = {}
                for place, photo_hash in enumerate(hashes):
                    if photo_hash not in self:
                        new.setdefault(bytes.fromhex(photo_hash), place)
                rows = arrays[list(new.values())].astype(self._dtype).tobytes()
                # Hashes beyond the last whole row would come to name rows that are not theirs.
                os.truncate(self._hashes_path, self._read * HASH_BYTES)
                _write_at(self._rows_path, self._read * self._row_bytes, rows)
                _write_at(self._hashes_path, self._read * HASH_BYTES, b"".join(new))
                self._refresh()
        except OSError as error:
            raise output_error(self._rows_path, error) from error

    def gather(self, hashes: Sequence[str]) -> npt.NDArray[Number]:
        """Copies of the arrays, ``[N, ...]``, of photos that are all in the store."""
        if not hashes:
            return np.zeros((0, *self._shape), self._dtype)
        return np.asarray(self.mapped()[self.places(hashes)])

    def mapped(self) -> npt.NDArray[Number]:
        """All arrays, memory-mapped and read-only. At least one photo must be in the store."""
        return np.memmap(self._rows_path, self._dtype, "r", shape=(self._read, *self._shape))

    def places(self, hashes: Sequence[str]) -> list[int]:
        """Where in ``mapped`` the arrays of photos are that are all in the store."""
        return [self._rows[bytes.fromhex(h)] for h in hashes]


def let_go(mapped: npt.NDArray[Any]) -> None:
    """Give what was read of a memory-mapped array back to the system, where that can be told (Linux, macOS).

    Pages count as this process's memory until then; what is read again comes from the file, or its cache.
    """
    mapping = getattr(mapped, "_mmap", None)
    if isinstance(mapping, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        mapping.madvise(mmap.MADV_DONTNEED)


def _write_at(path: Path, offset: int, data: bytes) -> None:
    """``data`` from ``offset`` to the file's end, on the disk."""
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)
        file.truncate()
        file.flush()
        os.fsync(file.fileno())
