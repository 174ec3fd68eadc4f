"""A run's account of itself: ``run.json``, put together from what the rooms found."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kramar import machine
from kramar.auditing.issues import Issue
from kramar.config import DEFAULT_BACKBONE, TrainConfig, duration
from kramar.data import split
from kramar.data.columns import spelt
from kramar.data.manifest import Entry
from kramar.data.pixels import thumbnail
from kramar.decisions.calibration import error_without
from kramar.errors import PhotoError
from kramar.evaluation import breakdown, paired
from kramar.evaluation.leakage import leakage
from kramar.evaluation.levels import levels
from kramar.evaluation.metrics import Scored, calibration_bins
from kramar.evaluation.products import products
from kramar.exporting import onnx_file
from kramar.files import sha256
from kramar.jobs.gather import Gathered, categories
from kramar.jobs.run import RunFolder
from kramar.models.engines import Choice
from kramar.models.features import Pass
from kramar.records import (
    DecisionScores,
    Gain,
    Leakage,
    LeftOut,
    Metrics,
    ModelCard,
    ModelRecord,
    Rung,
    RunRecord,
    SkippedRung,
)
from kramar.runtime.heat import HeatMaps
from kramar.runtime.model import Model
from kramar.training import ladder
from kramar.training.climb import Climbed, Limits
from kramar.training.ladder import Skipped
from kramar.training.material import ASIDE, Material
from kramar.version import __version__

SAMPLES_PER_CLASS = 4
THUMBNAIL = 160
SKIP_AUDIT = "--skip-audit"
CLASS_PRECISION = "--class-precision"
CLASS_SETS = "--class-sets"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the rooms found, for the account.

    Attributes:
        entries: the photos used; ``material``, the same by part.
        left_out, warnings, issues: all of them, from every room.
        climbed, skipped: the rungs of the ladder, the lowest first; ``chosen`` is the one whose model is kept.
        scored, metrics: the answers of each climbed rung's model by its key and part, and what they are worth.
        card: the kept model's; ``decisions``, what those of its file do on test photos.
    """

    entries: Sequence[Entry]
    material: Material
    left_out: list[LeftOut]
    warnings: list[str]
    issues: list[Issue]
    climbed: Sequence[Climbed]
    skipped: Sequence[Skipped]
    chosen: Climbed
    limits: Limits
    scored: Mapping[str, Mapping[str, Scored]]
    metrics: Mapping[str, Mapping[str, Metrics]]
    card: ModelCard
    decisions: DecisionScores | None
    choice: Choice
    features: Pass

    @property
    def shown(self) -> str:
        """The part that classes, confusions and mistakes are told of: the test photos, if there are any."""
        return "test" if "test" in self.scored[self.chosen.key] else "val"


def account(source: Path, config: TrainConfig, gathered: Gathered, outcome: Outcome, run: RunFolder) -> RunRecord:
    """The record of a run whose model file is in place."""
    card, path = outcome.card, run.path / "model.onnx"
    size = path.stat().st_size
    scored = outcome.scored[outcome.chosen.key].get(outcome.shown)
    head = outcome.climbed[0].head
    assert head is not None, "the first rung is the head"
    images = [entry.image for entry in outcome.material.parts[outcome.shown]]
    names = [entry.product for entry in outcome.material.parts[outcome.shown]]
    return RunRecord(
        kramar=__version__,
        command=command(source, config, run.path),
        started=run.plan.started,
        seed=config.seed,
        machine=machine.describe(),
        data=gathered.record(source, outcome.entries, outcome.left_out, outcome.warnings).model_copy(
            update={"aside": len(outcome.material.parts[ASIDE])}
        ),
        model=ModelRecord(
            file=path.name,
            bytes=size,
            sha256=sha256(path),
            backbone=card.backbone,
            rung=card.rung,
            storage=card.storage,
            parameters=onnx_file.parameters(path),
            milliseconds=outcome.chosen.milliseconds,
            openvino_milliseconds=outcome.chosen.openvino_milliseconds,
            input_size=card.resize.size,
            weights_source=card.weights_source,
            weights_licence=card.weights_licence,
        ),
        head=head,
        metrics=card.metrics,
        classes=breakdown.by_class(scored, split.photos_by_class(outcome.entries), categories(outcome.entries)),
        confusions=breakdown.confusions(scored) if scored else [],
        mistakes=breakdown.mistakes(scored, images) if scored else [],
        calibration=calibration_bins(scored) if scored else [],
        uncalibrated_error=error_without(scored, card.temperature, config.seed) if scored else None,
        verification=outcome.chosen.verification,
        ladder=rungs(outcome, config.seed),
        skipped=[SkippedRung(rung=one.rung, key=one.key, why=one.why) for one in outcome.skipped],
        limits={
            name: value
            for name, value in (("bytes", config.max_size), ("milliseconds", config.max_latency))
            if value is not None
        },
        rates=outcome.features.rates.figures() if outcome.features.rates else {},
        features={
            "engine": outcome.choice.engine,
            "version": outcome.choice.version,
            "precision": outcome.choice.precision,
            "computed": outcome.features.computed,
            "reused": outcome.features.reused,
            "rates_measured": "now" if outcome.features.measured else "by an earlier run",
        },
        decisions=outcome.decisions,
        issues=dict(Counter(issue.kind for issue in outcome.issues)),
        leakage=_leakage(outcome),
        tree=levels(scored, categories(outcome.entries)) if scored else None,
        products=products(scored, names, config.seed) if scored else None,
        seconds=seconds(run),
        peak_memory_bytes=machine.peak_memory(),
    )


def _leakage(outcome: Outcome) -> Leakage | None:
    scored = outcome.scored[outcome.chosen.key].get("test")
    leaked = {issue.photo for issue in outcome.issues if issue.kind == "leak"}
    if scored is None:
        return None
    tested = [entry.image in leaked for entry in outcome.material.parts["test"]]
    return leakage(scored.right, np.array(tested, bool))


def rungs(outcome: Outcome, seed: int) -> list[Rung]:
    """The ladder: every rung's model, what it gave on validation and test, and whether that is more than before."""
    found: list[Rung] = []
    for place, one in enumerate(outcome.climbed):
        before = (
            next((r for r in outcome.climbed if r.key == one.source), outcome.climbed[place - 1]) if place else None
        )
        test = outcome.scored[one.key].get("test")
        against = None
        if before is not None and test is not None:
            other = outcome.scored[before.key]["test"]
            pair = {one.key: test.right, before.key: other.right}
            (compared,) = paired.compare_all(pair, test.groups, seed)
            against = Gain(rung=before.key, difference=compared.difference, p=compared.p)
        found.append(
            Rung(
                rung=one.rung,
                key=one.key,
                backbone=one.backbone,
                storage=one.storage,
                how=one.how,
                seconds=round(one.seconds, 2),
                expected_seconds=round(one.expected, 2),
                reached_seconds=round(one.reached, 2),
                val_accuracy=one.val.accuracy if one.val else None,
                test_accuracy=outcome.metrics[one.key]["test"].accuracy if test is not None else None,
                gain=against,
                bytes=one.bytes,
                milliseconds=one.milliseconds,
                openvino_milliseconds=one.openvino_milliseconds,
                kept=one.key == outcome.chosen.key,
                why=ladder.reason(one, outcome.chosen, outcome.limits),
            )
        )
    # A family of tests: Holm's correction over all of them.
    tested = [rung for rung in found if rung.gain]
    adjusted = dict(zip((r.key for r in tested), paired.holm([r.gain.p for r in tested if r.gain]), strict=True))
    return [
        rung.model_copy(update={"gain": rung.gain.model_copy(update={"adjusted": adjusted[rung.key]})})
        if rung.gain
        else rung
        for rung in found
    ]


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
    for name, value in given_limits(config).items():
        words += [name] if name in (CLASS_PRECISION, CLASS_SETS, SKIP_AUDIT) else [name, value]
    if config.seed:
        words += ["--seed", str(config.seed)]
    if config.columns:
        words += ["--columns", spelt(config.columns)]
    if config.strict:
        words.append("--strict")
    return shlex.join(words)


def given_limits(config: TrainConfig) -> dict[str, str]:
    """The options of the climb that differ from their defaults, by name."""
    default = TrainConfig()
    given = {
        "--max-size": f"{config.max_size:.0f}" if config.max_size else "",
        "--max-latency": f"{config.max_latency:g}ms" if config.max_latency else "",
        "--cache-size": f"{config.cache_size:.0f}" if config.cache_size != default.cache_size else "",
        "--rungs": ",".join(config.rungs) if config.rungs != default.rungs else "",
        "--precision": f"{config.precision:g}" if config.precision != default.precision else "",
        CLASS_PRECISION: "True" if config.class_precision else "",
        CLASS_SETS: "True" if config.class_sets else "",
        SKIP_AUDIT: "True" if config.skip_audit else "",
    }
    return {name: value for name, value in given.items() if value}


def samples(entries: Sequence[Entry]) -> dict[str, list[str]]:
    """A few training photos of each class, by hash: a fixed draw."""
    samples: dict[str, list[str]] = {}
    for entry in sorted((e for e in entries if e.split == "train"), key=lambda e: (e.label, e.hash)):
        images = samples.setdefault(entry.label, [])
        if len(images) < SAMPLES_PER_CLASS:
            images.append(entry.image)
    return samples


class HeatPictures:
    """Small JPEGs of where in photos a model saw what it says, by the photos' names."""

    def __init__(self, entries: Sequence[Entry], model: Model) -> None:
        self._photos = {entry.image: entry.photo for entry in entries}
        self._model = model
        self._maps = HeatMaps(model) if model.has("feature_map") else None

    def __call__(self, image: str) -> bytes | None:
        """The JPEG, or None where the photo cannot be read or the model has no heat maps."""
        if self._maps is None:
            return None
        try:
            (answer,) = self._maps.explained(self._model.pixels(self._photos[image])[None])
            return thumbnail(answer.heat_map, THUMBNAIL)
        except PhotoError:
            return None


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
