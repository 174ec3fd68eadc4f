"""Photos on their way into the review queue: kept in memory within a bound, and written by a thread of their own.

No request waits for the database or fails with it. What it does not take is tried again; what cannot be kept until then
is dropped, counted, and told in the log once, until photos are written again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from kramar.errors import InputError, OutputError
from kramar.records import Prediction
from kramar.reviewing import adding, choosing
from kramar.reviewing.database import Database
from kramar.reviewing.queue import utc
from kramar.reviewing.records import Doubt, Source
from kramar.runtime.model import Answer
from kramar.serving.metrics import Metrics
from kramar.serving.settings import ReviewConfig
from kramar.serving.submitted import Submitted

log = logging.getLogger(__name__)

# Photos that are written at once, and bytes of them: what others decide waits for it.
_TOGETHER, _BYTES = 64, 16_000_000
# What is said of a photo takes about so much, beside its bytes and its embedding.
_BESIDE = 4096
# Seconds that others who write are waited for, and after which is tried again when the service ends.
_PATIENCE, _SOON = 5.0, 0.1


@dataclass(frozen=True, slots=True)
class _Kept:
    """A photo, the model that doubts it, and the bytes that it takes."""

    source: Source
    doubt: Doubt
    size: int


def check(config: ReviewConfig) -> None:
    """Make the database, or bring it to the newest form. Raises InputError, MissingExtra and OutputError."""
    Database(config.database, patience=_PATIENCE).close()


class Inbox:
    """The way into one database; `see` never waits."""

    def __init__(self, config: ReviewConfig, metrics: Metrics, now: Callable[[], datetime] = utc) -> None:
        self._config, self._now = config, now
        self._counted = metrics.count_reviews()
        self._changed = threading.Condition()
        self._kept: deque[_Kept] = deque()
        self._bytes = 0
        self._most = _TOGETHER
        self._is_closing = self._is_over = self._is_failing = self._is_full = False
        self._database: Database | None = None
        # A daemon, so that a database that does not answer keeps no process from ending.
        self._thread = threading.Thread(target=self._work, name="kramar-review", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def see(self, source: Source, photo: Submitted, sha256: str, said: Prediction, answer: Answer) -> None:
        """Keep a photo for the queue, if it is one to ask of."""
        reason = choosing.reason(source, said.decision, sha256, self._config.spot_check)
        if reason is None:
            return
        assert answer.embedding is not None, "it was asked for"
        # A copy: a row would keep the embeddings of its whole batch.
        embedding = answer.embedding.astype(np.float16)
        size = len(photo.data) + embedding.nbytes + _BESIDE
        kept = _Kept(source, Doubt(sha256, said, embedding, reason, content=photo.data), size)
        with self._changed:
            has_room = not self._is_closing and self._bytes + size <= self._config.held
            if has_room:
                self._kept.append(kept)
                self._bytes += size
                self._changed.notify()
        if not has_room:
            self._drop(1, f"{self._bytes:,} bytes wait for the review database, and no more are kept")

    def close(self) -> None:
        """Write what is left, as long as that may take."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        self._thread.join(self._config.last)
        with self._changed:
            self._is_over = True
            left = len(self._kept) if self._thread.is_alive() else 0
            self._is_full &= not left
        if left:
            self._drop(left, "the service ended before the review database took them")

    def _work(self) -> None:
        forgets = time.monotonic()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._kept or self._is_closing, max(0.0, forgets - time.monotonic()))
                if self._is_over or (self._is_closing and not self._kept):
                    break
                batch = self._first()
            try:
                database = self._opened()
                self._write(database, batch)
                batch = []
                if time.monotonic() >= forgets:
                    forgets = time.monotonic() + self._config.forget
                    adding.forget(database, self._now())
            except (OutputError, InputError) as error:
                self._failed(batch, error)
            except Exception:  # a bug, which would come again with the same photos
                log.exception("a bug in writing photos for review")
                if batch:
                    self._remove(batch)
                    self._drop(len(batch), "they cannot be written")
        if self._database is not None:
            self._database.close()

    def _opened(self) -> Database:
        if self._database is None:
            self._database = Database(self._config.database, patience=_PATIENCE)
        return self._database

    def _first(self) -> list[_Kept]:
        """The oldest photos, of one model."""
        batch: list[_Kept] = []
        taken = 0
        for one in self._kept:
            taken += one.size
            if batch and (one.source != batch[0].source or len(batch) == self._most or taken > _BYTES):
                break
            batch.append(one)
        return batch

    def _write(self, database: Database, batch: list[_Kept]) -> None:
        if not batch:
            return
        doubts = [one.doubt for one in batch]
        queued = adding.add(database, batch[0].source, doubts, self._now(), self._config.keep_days)
        self._remove(batch)
        self._counted.labels("queued").inc(queued)
        self._counted.labels("known").inc(len(batch) - queued)
        self._most = min(2 * self._most, _TOGETHER)
        with self._changed:
            # A full one that is emptied photo by photo would be told of with each.
            is_full = self._is_full and 2 * self._bytes > self._config.held
            is_better = self._is_failing or self._is_full != is_full
            self._is_failing, self._is_full = False, is_full
        if is_better:
            log.info("photos for review are written again")

    def _remove(self, batch: list[_Kept]) -> None:
        with self._changed:
            for one in batch:
                self._kept.popleft()
                self._bytes -= one.size

    def _failed(self, batch: list[_Kept], error: Exception) -> None:
        """Try it later, one photo after the other, and others first: what is wrong may be a photo's own."""
        if not self._is_failing:
            log.error("photos for review wait: the database does not take them", extra={"problem": str(error)})
        self._is_failing, self._most = True, 1
        if self._database is not None:
            self._database.close()  # what is wrong may be a connection's own
        with self._changed:
            self._kept.rotate(-len(batch))
            wait = _SOON if self._is_closing else self._config.retry
            self._changed.wait_for(lambda: self._is_over or (self._is_closing and wait != _SOON), wait)

    def _drop(self, photos: int, why: str) -> None:
        """Count photos that are not kept, and tell it unless it was told. Nobody who is answered waits for the log."""
        self._counted.labels("dropped").inc(photos)
        with self._changed:
            is_told, self._is_full = self._is_full, True
        if not is_told:
            log.error("photos are not queued for review", extra={"problem": why})
