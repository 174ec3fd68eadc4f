"""Photos as the squares that a network is trained on: decoded once, kept in the cache, read memory-mapped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from kramar.config import cache_folder, cores
from kramar.data.manifest import Entry, unread
from kramar.data.pixels import Pixels, in_order, prepare
from kramar.data.store import RowStore, let_go
from kramar.errors import FailedError, PhotoError
from kramar.progress import Progress
from kramar.records import LeftOut, ResizeRule

# Squares beyond this many bytes are decoded again each time: a cache of them would crowd a laptop's disk.
MOST_BYTES = 8 * 10**9
_COMMIT_EVERY = 256
_LET_GO_EVERY = 32


class Squares(Protocol):
    """A sequence of photos, each uint8 ``[S, S, 3]``."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def __getitem__(self, index: int) -> Pixels:
        """The photo at ``index``."""
        ...


class Kept:
    """Squares in the cache, or maps."""

    def __init__(self, rows: npt.NDArray[Any], places: Sequence[int]) -> None:
        self._rows, self._places = rows, places
        self._read = 0

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> npt.NDArray[Any]:
        self._read += 1
        if self._read % _LET_GO_EVERY == 0:
            let_go(self._rows)
        return np.array(self._rows[self._places[index]])


class Decoded:
    """Squares that are decoded each time they are asked for."""

    def __init__(self, entries: Sequence[Entry], rule: ResizeRule) -> None:
        self._entries, self._rule = entries, rule

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: int) -> Pixels:
        entry = self._entries[index]
        try:
            return prepare(entry.photo.read(), self._rule)
        except PhotoError as error:
            raise FailedError(
                f"{entry.image}: was readable before and is not any more ({error}); run the command again"
            ) from error


def roomy(rule: ResizeRule) -> ResizeRule:
    """The rule that keeps the margin which ``rule`` cuts off, at the same scale: room for augmentation."""
    return rule.model_copy(update={"size": round(rule.size / rule.crop), "crop": 1.0})


def fits(entries: Sequence[Entry], rule: ResizeRule) -> bool:
    """Whether the cache keeps the squares of so many photos."""
    return len(entries) * rule.size**2 * 3 <= MOST_BYTES


def missing(entries: Sequence[Entry], rule: ResizeRule) -> list[Entry]:
    """One entry for each photo that has to be decoded; where there is no room for all, that is each of them."""
    store = _store(rule) if fits(entries, rule) else None
    return list({entry.hash: entry for entry in entries if store is None or entry.hash not in store}.values())


def keep(entries: Sequence[Entry], rule: ResizeRule, progress: Progress) -> tuple[list[Entry], list[LeftOut]]:
    """Decode the photos that the cache lacks, if there is room for all; those that can be read, and those that cannot.

    Raises OutputError.
    """
    store, pending = _store(rule) if fits(entries, rule) else None, missing(entries, rule)
    unreadable: dict[str, PhotoError] = {}

    def decode(entry: Entry) -> tuple[str, Pixels | PhotoError]:
        try:
            return entry.hash, prepare(entry.photo.read(), rule)
        except PhotoError as error:
            return entry.hash, error

    with progress.stage("Decoding photos", len(pending)) as advance:
        hashes: list[str] = []
        pixels: list[Pixels] = []
        for photo_hash, found in in_order(decode, pending, cores(), ahead=64):
            if isinstance(found, PhotoError):
                unreadable[photo_hash] = found
            elif store is not None:
                hashes.append(photo_hash)
                pixels.append(found)
                if len(hashes) == _COMMIT_EVERY:
                    store.append(hashes, np.stack(pixels))
                    hashes, pixels = [], []
            advance(1)
        if store is not None and hashes:
            store.append(hashes, np.stack(pixels))
    return [entry for entry in entries if entry.hash not in unreadable], unread(entries, unreadable)


def cache(entries: Sequence[Entry], rule: ResizeRule, progress: Progress) -> None:
    """Decode readable photos that the cache lacks, if there is room for all. Raises OutputError."""
    if fits(entries, rule):
        keep(entries, rule, progress)


def squares(entries: Sequence[Entry], rule: ResizeRule) -> Squares:
    """The squares of photos that can be read."""
    if entries and fits(entries, rule):
        store = _store(rule)
        if all(entry.hash in store for entry in entries):
            return Kept(store.mapped(), store.places([entry.hash for entry in entries]))
    return Decoded(entries, rule)


def _store(rule: ResizeRule) -> RowStore[np.uint8]:
    return RowStore(cache_folder() / "pixels" / rule.key, "squares.u8", (rule.size, rule.size, 3), np.uint8)
