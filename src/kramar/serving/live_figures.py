"""What the review database tells Prometheus: whether answers keep what was promised, and how many photos wait.

It is asked when Prometheus asks, but once in a few seconds, and not waited for longer than a moment: then, and where it
cannot be reached, what it said last is told.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from kramar.errors import InputError, OutputError
from kramar.reviewing import findings
from kramar.reviewing.database import Database
from kramar.reviewing.live import LivePrecision, live_precision
from kramar.reviewing.records import Source
from kramar.serving.settings import ReviewConfig

log = logging.getLogger(__name__)

# Seconds that what was read is told, that a scrape waits for what is being read, and that a database is waited for.
_FRESH, _WAITED, _PATIENCE = 5.0, 0.5, 3.0


@dataclass(frozen=True, slots=True)
class _Read:
    """What was read, and of which model."""

    model: str
    waiting: int
    live: LivePrecision


class LiveFigures:
    """The figures of one database; asked in one event loop."""

    def __init__(self, config: ReviewConfig) -> None:
        self._config = config
        self._database: Database | None = None
        self._reading: asyncio.Task[None] | None = None
        self._last: _Read | None = None
        self._tried = -_FRESH
        self._is_up = False

    async def text(self, source: Source | None) -> bytes:
        """The figures in Prometheus's text format, for the model that answers; None: its photos cannot be reviewed."""
        model = "" if source is None else source.sha256
        is_stale = self._last is None or self._last.model != model or time.monotonic() - self._tried >= _FRESH
        if is_stale and (self._reading is None or self._reading.done()):
            self._reading = asyncio.create_task(asyncio.to_thread(self._read, model))
            self._reading.add_done_callback(_ended)
        if self._reading is not None:
            await asyncio.wait({self._reading}, timeout=_WAITED)
        registry = CollectorRegistry()
        registry.register(_Figures(source, self._last, is_up=self._is_up and source is not None))
        return generate_latest(registry)

    def close(self) -> None:
        """Give back the connection."""
        if self._database is not None:
            self._database.close()

    def _read(self, model: str) -> None:
        is_up = False
        try:
            if self._database is None:
                self._database = Database(self._config.database, patience=_PATIENCE)
            waiting, live = findings.waiting(self._database), live_precision(self._database, model)
            self._last, is_up = _Read(model, waiting, live), True
        except (InputError, OutputError):  # `inbox` says why
            self.close()
        finally:
            self._is_up, self._tried = is_up, time.monotonic()


def _ended(reading: asyncio.Task[None]) -> None:
    """Tell a bug, which keeps no other figure from being told."""
    if not reading.cancelled() and (error := reading.exception()) is not None:
        log.error("the review database's figures cannot be told", exc_info=error)


class _Figures(Collector):
    def __init__(self, source: Source | None, last: _Read | None, *, is_up: bool) -> None:
        self._source, self._last, self._is_up = source, last, is_up

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """See Collector."""
        yield GaugeMetricFamily(
            "kramar_review_up", "Whether photos can be queued for review: the database answers, the model is fit.",
            float(self._is_up),
        )  # fmt: skip
        last, source = self._last, self._source
        if last is None:
            return
        yield GaugeMetricFamily("kramar_review_waiting_photos", "Photos that a person has to decide.", last.waiting)
        if source is None or last.model != source.sha256:
            return
        live, precision = last.live, GaugeMetricFamily(
            "kramar_auto_precision",
            "Of the model's auto answers that were spot checked, the share that is right, and its 95% interval.",
            labels=["bound"],
        )  # fmt: skip
        if live.precision is not None:
            for bound in ("value", "low", "high"):
                precision.add_metric([bound], getattr(live.precision, bound))
        yield precision
        checks = 0 if live.precision is None else live.precision.n
        yield GaugeMetricFamily("kramar_auto_checks", "Spot checks of the model's that count.", checks)
        yield GaugeMetricFamily(
            "kramar_auto_precision_target", "The share that the model promises to be right.", source.precision_target
        )
        # To Prometheus, an empty label is none.
        alarm = GaugeMetricFamily(
            "kramar_auto_alarm",
            "Whether the precision has fallen below that, or the answers of a category have become worse.",
            labels=["category"] if live.category else [],
        )
        alarm.add_metric([live.category] if live.category else [], float(live.alarm))
        yield alarm
