"""Photos for the review queue, without photos: what a model with four classes could have said of them."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from kramar.records import Prediction, Ranked
from kramar.reviewing.records import DOUBTFUL, Doubt, Source

CLASSES = {"apple": "Fruit/apple", "fig": "Fruit/fig", "kiwi": "Fruit/kiwi", "яблуко": "Fruit/яблуко"}
SOURCE = Source(sha256="a" * 64, body="b" * 64, classes=CLASSES, precision_target=0.9)
WIDTH = 8


class Clock:
    """A time that tests move."""

    def __init__(self) -> None:
        self.time = datetime(2026, 1, 5, 9, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time

    def passes(self, **much: float) -> None:
        self.time += timedelta(**much)


def doubt(
    number: int,
    probability: float = 0.6,
    reason: str = DOUBTFUL,
    content: bytes | None = None,
    path: Path | None = None,
    first: str = "apple",
    second: str = "fig",
) -> Doubt:
    """The ``number``-th photo; its embedding is drawn by the number."""
    top = [Ranked(label=first, probability=probability), Ranked(label=second, probability=1 - probability)]
    said = Prediction(
        image=f"{number}.jpg",
        label=first,
        probability=probability,
        category=CLASSES[first],
        decision="auto" if reason != DOUBTFUL else "review",
        set=[first, second],
        unknown_score=0.25,
        top=top,
    )
    embedding = np.random.default_rng(number).normal(size=WIDTH).astype(np.float32)
    return Doubt(hashlib.sha256(str(number).encode()).hexdigest(), said, embedding, reason, path, content)
