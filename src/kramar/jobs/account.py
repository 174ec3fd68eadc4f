"""A run's account of itself: ``run.json``, put together from what the rooms found."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kramar import machine
from kramar.config import DEFAULT_BACKBONE, TrainConfig, duration
from kramar.data import split
from kramar.data.columns import spelt
from kramar.data.manifest import Entry
from kramar.data.pixels import thumbnail
from kramar.errors import PhotoError
from kramar.evaluation import breakdown
from kramar.evaluation.metrics import Scored, calibration_bins
from kramar.exporting import onnx_file
from kramar.files import sha256
from kramar.jobs.gather import Gathered, categories
from kramar.jobs.run import RunFolder
from kramar.models.engines import Choice
from kramar.models.features import Pass
from kramar.records import (
    HeadRecord,
    LeftOut,
    ModelCard,
    ModelRecord,
    Rung,
    RunRecord,
    Verification,
)
from kramar.version import __version__

SAMPLES_PER_CLASS = 4
THUMBNAIL = 160


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the rooms found, for the account.

    Attributes:
        entries: the photos used.
        left_out, warnings: all of them, from every room.
        scored: the model's answers by part.
        fit_seconds: what the rung took.
    """

    entries: Sequence[Entry]
    left_out: list[LeftOut]
    warnings: list[str]
    scored: Mapping[str, Scored]
    card: ModelCard
    head: HeadRecord
    verification: Verification
    milliseconds: float
    choice: Choice
    features: Pass
    fit_seconds: float

    @property
    def shown(self) -> str:
        """The part that classes, confusions and mistakes are told of: the test photos, if there are any."""
        return "test" if "test" in self.scored else "val"


def account(source: Path, config: TrainConfig, gathered: Gathered, outcome: Outcome, run: RunFolder) -> RunRecord:
    """The record of a run whose model file is in place."""
    card, path = outcome.card, run.path / "model.onnx"
    size = path.stat().st_size
    scored = outcome.scored.get(outcome.shown)
    images = [entry.image for entry in outcome.entries if entry.split == outcome.shown]
    return RunRecord(
        kramar=__version__,
        command=command(source, config, run.path),
        started=run.plan.started,
        seed=config.seed,
        machine=machine.describe(),
        data=gathered.record(source, outcome.entries, outcome.left_out, outcome.warnings),
        model=ModelRecord(
            file=path.name,
            bytes=size,
            sha256=sha256(path),
            backbone=card.backbone,
            rung=card.rung,
            storage=card.storage,
            parameters=onnx_file.parameters(path),
            milliseconds=outcome.milliseconds,
            input_size=card.resize.size,
            weights_source=card.weights_source,
            weights_licence=card.weights_licence,
        ),
        head=outcome.head,
        metrics=card.metrics,
        classes=breakdown.by_class(scored, split.photos_by_class(outcome.entries), categories(outcome.entries)),
        confusions=breakdown.confusions(scored) if scored else [],
        mistakes=breakdown.mistakes(scored, images) if scored else [],
        calibration=calibration_bins(scored) if scored else [],
        verification=outcome.verification,
        ladder=[
            Rung(
                rung=card.rung,
                seconds=round(outcome.fit_seconds, 2),
                val_accuracy=card.metrics["val"].accuracy if "val" in card.metrics else None,
                bytes=size,
                milliseconds=outcome.milliseconds,
                kept=True,
                why="the first rung",
            )
        ],
        rates=outcome.features.rates.figures() if outcome.features.rates else {},
        features={
            "engine": outcome.choice.engine,
            "version": outcome.choice.version,
            "precision": outcome.choice.precision,
            "computed": outcome.features.computed,
            "reused": outcome.features.reused,
            "rates_measured": "now" if outcome.features.measured else "by an earlier run",
        },
        seconds=seconds(run),
        peak_memory_bytes=machine.peak_memory(),
    )


def seconds(run: RunFolder) -> dict[str, float | dict[str, float]]:
    """Wall seconds of the run, in all (resumes included) and by room (this time)."""
    return {
        "total": round(run.elapsed, 2),
        "rooms": {room: round(took, 2) for room, took in run.rooms.items()},
    }


def command(source: Path, config: TrainConfig, folder: Path) -> str:
    """The command line that reproduces a run."""
    words = ["kramar", "train", str(source), "--out", str(folder), "--budget", duration(config.budget)]
    if config.backbone != DEFAULT_BACKBONE:
        words += ["--backbone", config.backbone]
    if config.seed:
        words += ["--seed", str(config.seed)]
    if config.columns:
        words += ["--columns", spelt(config.columns)]
    if config.strict:
        words.append("--strict")
    return shlex.join(words)


def samples(entries: Sequence[Entry]) -> dict[str, list[str]]:
    """A few training photos of each class, by hash: a fixed draw."""
    samples: dict[str, list[str]] = {}
    for entry in sorted((e for e in entries if e.split == "train"), key=lambda e: (e.label, e.hash)):
        images = samples.setdefault(entry.label, [])
        if len(images) < SAMPLES_PER_CLASS:
            images.append(entry.image)
    return samples


class Thumbnails:
    """Small JPEGs of photos by their names."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._photos = {entry.image: entry.photo for entry in entries}

    def __call__(self, image: str) -> bytes | None:
        """The JPEG, or None where the photo cannot be read."""
        try:
            return thumbnail(self._photos[image].read(), THUMBNAIL)
        except PhotoError:
            return None
