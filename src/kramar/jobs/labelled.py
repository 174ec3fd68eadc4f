"""Labelled photos and what a model file says of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kramar.data import manifest
from kramar.data.listing import SPLIT_NAMES, refuse
from kramar.data.manifest import Entry
from kramar.data.sources import list_photos
from kramar.data.split import assign
from kramar.errors import DataError, InputError
from kramar.evaluation.metrics import Scored
from kramar.progress import Progress
from kramar.records import LeftOut, ModelCard
from kramar.runtime.model import Model
from kramar.runtime.session import Scores


@dataclass(frozen=True, slots=True)
class Labelled:
    """The photos of one ``part`` that could be read, the answers of a model, and what was left out and warned of."""

    entries: list[Entry]
    part: str
    scored: Scored
    left_out: list[LeftOut]
    warnings: list[str]
    learnt_from: bool


def labelled(
    model: Model,
    source: Path,
    listener: Progress,
    *,
    split: str | None,
    default: str,
    columns: Mapping[str, str] | None,
    strict: bool,
) -> Labelled:
    """What ``model`` says of the labelled photos in ``source``; of the part ``default``, if none is asked for and the
    data has a split of its own, or is what the model was trained on, which ``learnt_from`` tells.

    Raises InputError.
    """
    listing = list_photos(source, dict(columns or {}))
    hashed, left_out = manifest.hash_photos(listing, listener)
    listed = manifest.retied(hashed, model.card.ties)
    entries, part = _part(listed, model.card, source, split, default)
    scores: list[Scores] = []
    read = []
    unread = []
    with listener.stage("Classifying photos", len(entries)) as advance:
        answers = model.stream_scores(entry.photo for entry in entries)
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
        np.stack(scores), [entry.label for entry in read], model.classes, [entry.group for entry in read]
    )
    unknown = Counter(label for label, truth in zip(scored.labels, scored.truth, strict=True) if truth < 0)
    if len(unknown) == len(set(scored.labels)):
        raise DataError(
            f"{source}: expected labels of the model such as {model.classes[0]!r}, found only others such as "
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
    learnt_from = manifest.fingerprint(assign(listed, model.card.seed)) == model.card.data_fingerprint
    return Labelled(read, part, scored, left_out, warnings, learnt_from)


def _part(
    entries: list[Entry], card: ModelCard, source: Path, split: str | None, default: str
) -> tuple[list[Entry], str]:
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
    part = SPLIT_NAMES[split or default]
    chosen = [entry for entry in entries if entry.split == part]
    if not chosen:
        there = ", ".join(sorted({entry.split for entry in entries}))
        raise DataError(f"{source}: has no {part} photos, only {there}; choose with --split, or --split all")
    return chosen, part
