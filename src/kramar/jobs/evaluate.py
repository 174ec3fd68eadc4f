"""``kramar evaluate``: the same metrics for any model file on any labelled data."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kramar.config import parse_seed
from kramar.data import manifest
from kramar.data.listing import SPLIT_NAMES
from kramar.data.manifest import Entry
from kramar.data.sources import list_photos
from kramar.data.split import assign
from kramar.errors import DataError, InputError
from kramar.evaluation import breakdown
from kramar.evaluation.metrics import Scored, calibration_bins, score
from kramar.jobs.gather import refuse
from kramar.progress import Progress, Silent
from kramar.records import CalibrationBin, ClassScore, Confusion, LeftOut, Metrics, Mistake, ModelCard, Record
from kramar.runtime.model import Model
from kramar.runtime.session import Scores


class Evaluation(Record):
    """A model's scores on labelled photos.

    Attributes:
        split: the part that was scored, or ``all``.
        decisions: how the decisions of the model file did; None until model files carry some, as in ``run.json``.
        warnings: what the user should know, such as labels that the model does not have.
    """

    model: str
    data: str
    split: str
    photos: int
    metrics: Metrics
    decisions: dict[str, Any] | None = None
    classes: list[ClassScore]
    confusions: list[Confusion]
    mistakes: list[Mistake]
    calibration: list[CalibrationBin]
    left_out: dict[str, int]
    left_out_files: list[LeftOut]
    warnings: list[str]


def evaluate(
    model: str | os.PathLike[str] | Model,
    data: str | os.PathLike[str],
    *,
    split: str | None = None,
    columns: Mapping[str, str] | None = None,
    seed: int | None = None,
    strict: bool = False,
    progress: Progress | None = None,
) -> Evaluation:
    """Score ``model`` on the labelled photos in ``data``.

    Photos whose label the model does not have count as mistakes.

    Args:
        model: a model file, or an open one.
        data: labelled photos: a folder or a table.
        split: ``train``, ``val``, ``test`` or ``all``; by default the test part where the data has a split of its
            own, or is what the model was trained on, and else all of it.
        columns: the table's column names by kramar's.
        seed: of the intervals' bootstrap; by default the model's own, which gives its run's intervals again.
        strict: fail where any photo, row or file has to be left out.
        progress: who listens; nobody by default.

    Raises:
        InputError: the data or the model file cannot be used.
    """
    listener = progress or Silent()
    opened = model if isinstance(model, Model) else Model(model)
    seed = opened.card.seed if seed is None else parse_seed(seed)
    source = Path(data)
    listing = list_photos(source, dict(columns or {}))
    listed, left_out = manifest.hash_photos(listing, listener)
    entries, part = _part(listed, opened.card, source, split)
    scores: list[Scores] = []
    read = []
    unread = []
    with listener.stage("Classifying photos", len(entries)) as advance:
        answers = opened.stream_scores(entry.photo for entry in entries)
        for entry, (_, found) in zip(entries, answers, strict=True):
            if isinstance(found, Exception):
                unread.append(LeftOut(image=entry.image, kind=found.kind, detail=str(found)))
            else:
                read.append(entry)
                scores.append(found)
            advance(1)
    left_out = [*listing.left_out, *left_out, *unread]
    if strict:
        refuse(left_out, source)
    if not read:
        raise DataError(f"{source}: none of its {len(entries)} photos can be read, the first: {unread[0].detail}")
    scored = Scored.of(
        np.stack(scores), [entry.label for entry in read], opened.classes, [entry.group for entry in read]
    )
    unknown = Counter(label for label, truth in zip(scored.labels, scored.truth, strict=True) if truth < 0)
    if len(unknown) == len(set(scored.labels)):
        raise DataError(
            f"{source}: expected labels of the model such as {opened.classes[0]!r}, found only others such as "
            f"{scored.labels[0]!r}; is it the right model, or does --columns name the right label column?"
        )
    warnings = list(listing.warnings)
    if unknown:
        names = ", ".join(repr(label) for label in sorted(unknown)[:8])
        warnings.append(
            f"{unknown.total()} photo(s) of {len(unknown)} label(s) that the model does not have "
            f"({names}) count as mistakes"
        )
    for warning in warnings:
        listener.say(f"Warning: {warning}")
    counts = {label: {part: n} for label, n in sorted(Counter(scored.labels).items())}
    return Evaluation(
        model=str(opened.path),
        data=str(source),
        split=part,
        photos=len(read),
        metrics=score(scored, seed),
        classes=breakdown.by_class(scored, counts, {entry.label: entry.category for entry in read}),
        confusions=breakdown.confusions(scored),
        mistakes=breakdown.mistakes(scored, [entry.image for entry in read]),
        calibration=calibration_bins(scored),
        left_out=dict(Counter(item.kind for item in left_out)),
        left_out_files=left_out,
        warnings=warnings,
    )


def _part(entries: list[Entry], card: ModelCard, source: Path, split: str | None) -> tuple[list[Entry], str]:
    """The entries to score, and the name of their part.

    The photos that the model was trained on are known by their fingerprint, and so is the part of each.
    """
    if split is not None and split != "all" and split not in SPLIT_NAMES:
        raise InputError(f"--split: expected train, val, test or all, found {split!r}")
    if not entries:
        raise DataError(f"{source}: none of its photos can be opened; check the paths")
    trained_on = assign(entries, card.seed)
    if not entries[0].split and manifest.fingerprint(trained_on) == card.data_fingerprint:
        entries = trained_on
    has_split = bool(entries[0].split)
    if split == "all" or (split is None and not has_split):
        return entries, "all"
    if not has_split:
        raise DataError(
            f"{source}: has no split of its own and is not what the model was trained on; "
            f"leave --split {split} away to score all of it"
        )
    part = SPLIT_NAMES[split or "test"]
    chosen = [entry for entry in entries if entry.split == part]
    if not chosen:
        there = ", ".join(sorted({entry.split for entry in entries}))
        raise DataError(f"{source}: has no {part} photos, only {there}; choose with --split, or --split all")
    return chosen, part
