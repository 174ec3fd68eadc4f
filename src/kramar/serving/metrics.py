"""What Prometheus is told."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess

from kramar.records import Prediction

# Where each worker of several leaves its figures, so that any of them can tell those of all.
SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
_PHOTOS = (1, 2, 4, 8, 16, 32, 64)
_SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 1)


class Metrics:
    """The figures of one process."""

    def __init__(self) -> None:
        if SHARED_FOLDER in os.environ:
            _forget_the_dead(Path(os.environ[SHARED_FOLDER]))
        own = self._registry = CollectorRegistry()
        self.requests = Counter(
            "kramar_requests", "Requests by endpoint, method and status.", ["path", "method", "status"], registry=own
        )
        self.seconds = Histogram(
            "kramar_request_seconds", "From a request's head to its answer.", ["path"], registry=own, buckets=_SECONDS
        )
        self.queue = Gauge(
            "kramar_queue_photos", "Accepted and not yet answered.", registry=own, multiprocess_mode="livesum"
        )
        self.batches = Histogram(
            "kramar_batch_photos", "Photos that the model saw at once.", registry=own, buckets=_PHOTOS
        )
        self.photos = Counter(
            "kramar_photos",
            "Photos by decision; error where one could not be read, none where the model has no decisions.",
            ["decision"],
            registry=own,
        )
        self.confidence = Histogram(
            "kramar_confidence",
            "Probability of each photo's label: its mean (sum / count) falls when photos change.",
            registry=own,
            buckets=_SHARES,
        )
        self.reloads = Counter(
            "kramar_model_reloads", "Replaced model files: loaded, or refused.", ["result"], registry=own
        )
        self.loaded = Gauge(
            "kramar_model_loaded_timestamp_seconds",
            "Since when the model answers.",
            registry=own,
            multiprocess_mode="livemax",
        )

    def count_reviews(self) -> Counter:
        """Photos on their way into the review queue, where there is one."""
        found = Counter(
            "kramar_review_photos",
            "Photos for the review queue: queued, known there already, or dropped.",
            ["result"],
            registry=self._registry,
        )
        for result in ("queued", "known", "dropped"):
            found.labels(result)  # a series that begins with 0 shows its first rise
        return found

    def answered(self, predictions: Iterable[Prediction]) -> None:
        """Count what was said of photos."""
        for one in predictions:
            self.photos.labels("error" if one.error else one.decision or "none").inc()
            if one.probability is not None:
                self.confidence.observe(one.probability)

    def text(self) -> bytes:
        """All figures, of all workers where there are several, in Prometheus's text format."""
        if SHARED_FOLDER not in os.environ:
            return generate_latest(self._registry)
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)

    def close(self) -> None:
        """Take what is true of a living process alone out of the figures that others tell."""
        if SHARED_FOLDER in os.environ:
            multiprocess.mark_process_dead(os.getpid())  # type: ignore[no-untyped-call]


def _forget_the_dead(folder: Path) -> None:
    """Remove what was true of workers that were killed: who takes a worker's place comes here first."""
    for number in {path.stem.rpartition("_")[2] for path in folder.glob("gauge_live*.db")}:
        try:
            os.kill(int(number), 0)
        except ProcessLookupError:
            multiprocess.mark_process_dead(number)  # type: ignore[no-untyped-call]
