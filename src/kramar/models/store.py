"""The cache of embeddings: each photo once, shared by all runs.

A store is two files that only grow: ``embeddings.f32`` (rows of float32, read memory-mapped) and ``photos.sha256``
(the photos' hashes, in the same order). Rows are synced before their hashes are written, so a hash means that its
row is whole; whatever a killed run left beyond that is cut off when the store is next opened.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
from pydantic import ValidationError

from kramar.config import cores
from kramar.errors import MissingExtra
from kramar.files import make_folder, output_error, write_text
from kramar.progress import Progress
from kramar.records import Record
from kramar.runtime.session import Scores

try:
    from filelock import FileLock, Timeout
except ImportError:
    raise MissingExtra("train", "training") from None

_HASH_BYTES = 32


class FeatureStore:
    """The embeddings of one backbone, weights, pixel rule, runtime and precision. One writer at a time."""

    def __init__(self, folder: Path, width: int, progress: Progress) -> None:
        """The store in ``folder`` for embeddings of ``width`` numbers; entering it opens it. Raises OutputError."""
        make_folder(folder)
        self._rows_path = folder / "embeddings.f32"
        self._hashes_path = folder / "photos.sha256"
        self._width = width
        self._rates_path = folder / "rates.json"
        self._lock = FileLock(folder / "lock")
        self._progress = progress
        self._rows: dict[bytes, int] = {}

    def __enter__(self) -> FeatureStore:
        try:
            try:
                self._lock.acquire(timeout=0)
            except Timeout:
                self._progress.say("Waiting for another kramar that is filling the same feature cache")
                self._lock.acquire()
            self._rows_path.touch()
            self._hashes_path.touch()
            whole = min(
                self._hashes_path.stat().st_size // _HASH_BYTES,
                self._rows_path.stat().st_size // (4 * self._width),
            )
            os.truncate(self._hashes_path, whole * _HASH_BYTES)
            os.truncate(self._rows_path, whole * 4 * self._width)
            hashes = self._hashes_path.read_bytes()
        except OSError as error:
            raise output_error(self._rows_path, error) from error
        self._rows = {hashes[i * _HASH_BYTES : (i + 1) * _HASH_BYTES]: i for i in range(whole)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()

    def __contains__(self, photo_hash: object) -> bool:
        return isinstance(photo_hash, str) and bytes.fromhex(photo_hash) in self._rows

    def __len__(self) -> int:
        return len(self._rows)

    def append(self, hashes: Sequence[str], embeddings: Scores) -> None:
        """Commit embeddings, float32 ``[N, width]``, of the photos with these hashes. Raises OutputError.

        A photo that is there already, or earlier in ``hashes``, keeps its row.
        """
        new: dict[bytes, int] = {}
        for place, photo_hash in enumerate(hashes):
            if photo_hash not in self:
                new.setdefault(bytes.fromhex(photo_hash), place)
        try:
            for path, data in (
                (self._rows_path, embeddings[list(new.values())].astype(np.float32).tobytes()),
                (self._hashes_path, b"".join(new)),
            ):
                with path.open("ab") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
        except OSError as error:
            raise output_error(self._rows_path, error) from error
        for key in new:
            self._rows[key] = len(self._rows)

    def gather(self, hashes: Sequence[str]) -> Scores:
        """Embeddings, float32 ``[N, width]``, of photos that are all in the store."""
        if not hashes:
            return np.zeros((0, self._width), np.float32)
        mapped = np.memmap(self._rows_path, np.float32, "r", shape=(len(self._rows), self._width))
        return np.asarray(mapped[[self._rows[bytes.fromhex(h)] for h in hashes]])

    def remember(self, rates: Rates) -> None:
        """Keep what a pass measured beside the embeddings."""
        write_text(self._rates_path, rates.model_dump_json())

    def rates(self) -> Rates | None:
        """What the last pass that measured its rates found; None where none did."""
        try:
            return Rates.model_validate_json(self._rates_path.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValidationError):
            return None


class Rates(Record):
    """Photos a second, measured in one run: the whole pass, the bare model, and decoding on one core."""

    features: float
    bare_model: float
    decode: float

    @property
    def bound(self) -> float:
        """The most that a pass can reach: 1 / (model time + decode time / cores)."""
        return 1 / (1 / self.bare_model + 1 / self.decode / cores())

    def figures(self) -> dict[str, float]:
        """All rates by name, the bound among them."""
        return {**self.model_dump(), "bound": self.bound}
