"""What the frozen backbone sees in each photo: decoded, embedded and committed to the store."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from kramar.config import cache_folder, cores
from kramar.data.manifest import Entry, unread
from kramar.data.pixels import Pixels, in_order, prepare
from kramar.errors import PhotoError
from kramar.models.backbones import Backbone
from kramar.models.engines import BATCH, ENGINES, Choice, Converted, Engine, bare_rate
from kramar.models.store import FeatureStore, Rates
from kramar.progress import Progress
from kramar.records import LeftOut, ResizeRule
from kramar.runtime.session import Scores

_COMMIT_EVERY = 64
_DECODE_SAMPLE = 96
# Fewer new photos than this are done sooner than the bare model could be measured again.
_WORTH_MEASURING = 500


@dataclass(frozen=True, slots=True)
class Pass:
    """What one pass over photos did.

    Attributes:
        left_out: photos that could not be read.
        computed: embeddings computed now; the other photos' were in the store.
        rates: of the last pass that was long enough to tell, this one or one before; None where none was.
        measured: whether the rates are this pass's own.
    """

    left_out: list[LeftOut]
    computed: int
    reused: int
    rates: Rates | None
    measured: bool


def store_folder(backbone: Backbone, converted: Converted, choice: Choice) -> Path:
    """The folder of the store whose name holds everything that an embedding depends on but the photo."""
    parts = (
        backbone.file_name,
        converted.graph,
        converted.weights,
        backbone.resize.key,
        choice.engine,
        choice.version,
        choice.precision,
    )
    return cache_folder() / "features" / "-".join(parts)


def missing(store: FeatureStore, entries: Sequence[Entry]) -> list[Entry]:
    """One entry for each photo that the store lacks, in the order of ``entries``."""
    first: dict[str, Entry] = {}
    for entry in entries:
        if entry.hash not in store:
            first.setdefault(entry.hash, entry)
    return list(first.values())


class Worker:
    """Decodes and embeds photos; the runtime is opened when it is first needed."""

    def __init__(self, choice: Choice, converted: Converted, backbone: Backbone) -> None:
        self._open = partial(ENGINES[choice.engine], converted.path, backbone)
        self._choice = choice
        self._rule = backbone.resize
        self._engine: Engine | None = None
        self._measured: tuple[float, float] | None = None

    @property
    def engine(self) -> Engine:
        """The open runtime."""
        if self._engine is None:
            self._engine = self._open()
        return self._engine

    def expected(self, pending: Sequence[Entry], others: Sequence[Entry]) -> float:
        """Photos a second to expect for ``pending``; where there are none, for ``others`` (to be verified later)."""
        decode, bare = self._measure(pending or others)
        return 1 / (1 / bare + 1 / decode / cores())

    def _measure(self, photos: Sequence[Entry]) -> tuple[float, float]:
        """Photos a second of one core's decoding and of the bare model, measured once."""
        if self._measured is None:
            again = len(photos) >= _WORTH_MEASURING
            bare = bare_rate(self.engine, self._rule.size) if again else self._choice.rates[self._choice.engine]
            self._measured = _decode_rate(photos, self._rule), bare
        return self._measured

    def fill(self, store: FeatureStore, entries: Sequence[Entry], progress: Progress) -> Pass:
        """Bring the embeddings of all ``entries`` into ``store``; decoding runs beside the model."""
        pending = missing(store, entries)
        if not pending:
            return Pass([], 0, len(entries), store.rates(), measured=False)
        decode, bare = self._measure(pending)
        unreadable: dict[str, PhotoError] = {}
        start = time.perf_counter()
        with progress.stage("Looking at photos", len(pending)) as advance:
            waiting: list[tuple[list[str], Scores]] = []
            for hashes, embeddings in _embed(pending, self.engine, self._rule, unreadable):
                waiting.append((hashes, embeddings))
                if sum(len(batch) for batch, _ in waiting) >= _COMMIT_EVERY:
                    _commit(store, waiting)
                advance(len(hashes))
            _commit(store, waiting)
            advance(len(unreadable))
        seconds = time.perf_counter() - start
        measured = len(pending) >= _WORTH_MEASURING or store.rates() is None
        if measured:
            store.remember(Rates(features=len(pending) / seconds, bare_model=bare, decode=decode))
        return Pass(
            unread(entries, unreadable),
            len(pending) - len(unreadable),
            len(entries) - len(pending),
            store.rates(),
            measured,
        )


def _commit(store: FeatureStore, waiting: list[tuple[list[str], Scores]]) -> None:
    if waiting:
        store.append([h for hashes, _ in waiting for h in hashes], np.concatenate([e for _, e in waiting]))
        waiting.clear()


def _embed(
    pending: Sequence[Entry], engine: Engine, rule: ResizeRule, unreadable: dict[str, PhotoError]
) -> Iterator[tuple[list[str], Scores]]:
    """Hashes and embeddings, batch by batch; what cannot be read goes to ``unreadable``."""

    def decode(entry: Entry) -> tuple[str, Pixels | PhotoError]:
        try:
            return entry.hash, prepare(entry.photo.read(), rule)
        except PhotoError as error:
            return entry.hash, error

    def batches() -> Iterator[tuple[list[str], Pixels]]:
        hashes: list[str] = []
        pixels: list[Pixels] = []
        for photo_hash, found in in_order(decode, pending, cores(), ahead=BATCH * (engine.streams + 2)):
            if isinstance(found, PhotoError):
                unreadable[photo_hash] = found
                continue
            hashes.append(photo_hash)
            pixels.append(found)
            if len(hashes) == BATCH:
                yield hashes, np.stack(pixels)
                hashes, pixels = [], []
        if hashes:
            yield hashes, np.stack(pixels)

    def embed(batch: tuple[list[str], Pixels]) -> tuple[list[str], Scores]:
        return batch[0], engine.embed(batch[1])

    return in_order(embed, batches(), engine.streams, ahead=2 * engine.streams)


def _decode_rate(pending: Sequence[Entry], rule: ResizeRule) -> float:
    """Photos a second that one core makes ready, from a sample of ``pending``."""
    sample = pending[:: max(1, len(pending) // _DECODE_SAMPLE)]
    encoded = []
    for entry in sample:
        with contextlib.suppress(PhotoError):
            encoded.append(entry.photo.read())
    start = time.perf_counter()
    for data in encoded:
        with contextlib.suppress(PhotoError):
            prepare(data, rule)
    return len(sample) / (time.perf_counter() - start)
