"""Labelled photos and what a model file says of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kramar.data import manifest
from kramar.data.listing import SPLIT_NAMES, refuse
from kramar.data.manifest import Entry
from kramar.data.sources import list_photos
from kramar.data.split import assign, elsewhere
from kramar.errors import DataError, InputError, MissingExtra, PhotoError
from kramar.evaluation.metrics import Scored
from kramar.progress import Progress
from kramar.records import LeftOut
from kramar.runtime.model import Answer, Model


@dataclass(frozen=True, slots=True)
class Labelled:
    """The photos of one ``part`` that could be read, the answers of a model, and what was left out and warned of.

    ``learnt_from``: they are what the model was trained on, as it was then. ``mixed``: they are not, and yet it learnt
    from some of them, or they chose it. ``cut`` are the groups that have photos in other parts too.
    """

    entries: list[Entry]
    part: str
    scored: Scored
    left_out: list[LeftOut]
    warnings: list[str]
    learnt_from: bool
    mixed: bool
    cut: set[str]


def labelled(
    models: Sequence[Model],
    source: Path,
    listener: Progress,
    *,
    split: str | None,
    default: str,
    columns: Mapping[str, str] | None,
    strict: bool,
    twins: bool = False,
) -> list[Labelled]:
    """What each of ``models`` says of the same labelled photos in ``source``.

    They are of the part ``default``, if none is asked for and the data has a split of its own, or is what one of the
    models was trained on, which ``learnt_from`` tells. With ``twins``, near twins among photos that none of them was
    trained on are of one group. Raises InputError.
    """
    listing = list_photos(source, dict(columns or {}))
    hashed, left_out = manifest.hash_photos(listing, listener)
    splits = [assign(manifest.retied(hashed, model.card.ties), model.card.seed) for model in models]
    prints = [manifest.fingerprint(one) for one in splits]
    learnt = [own == model.card.data_fingerprint for own, model in zip(prints, models, strict=True)]
    known = next((one for one, learnt_from in zip(splits, learnt, strict=True) if learnt_from), None)
    if twins and known is None:
        hashed = _tied(hashed, listener)
    entries, part = _part(hashed, known, source, split, default)
    _check_kept_apart(models, splits, learnt, entries, part)
    answers = [_answers(model, entries, listener) for model in models]
    errors = {image: error for _, unread in answers for image, error in unread.items()}
    left_out = [
        *listing.left_out,
        *left_out,
        *(LeftOut(image=image, kind=error.kind, detail=str(error)) for image, error in errors.items()),
    ]
    if strict:
        refuse(left_out, source)
    read = [entry for entry in entries if entry.image not in errors]
    if not read:
        first = next(iter(errors.values()))
        raise DataError(f"{source}: none of its {len(entries)} photos can be read, the first: {first}")
    found = []
    for model, (scores, _), learnt_from in zip(models, answers, learnt, strict=True):
        told = [scores[entry.image] for entry in read]
        scored = Scored.of(
            np.stack([answer.probabilities for answer in told]),
            [entry.label for entry in read],
            model.classes,
            [entry.group for entry in read],
            np.array([answer.unknown for answer in told]) if model.has("unknown_score") else None,
        )
        mixed = not learnt_from and not manifest.keys(read).isdisjoint(model.card.learnt)
        warnings = [*listing.warnings, *_unknown(scored, model, source)]
        if mixed:
            warnings.append(
                f"{model.path} learnt from some of these photos, or they chose it; they are not the data that it was "
                "trained on as that was then, so which ones is not known: its figures are too good"
            )
        for warning in warnings:
            listener.say(f"Warning: {warning}")
        cut = elsewhere(known or (), part)
        found.append(Labelled(read, part, scored, left_out, warnings, learnt_from, mixed, cut))
    return found


def _tied(entries: list[Entry], listener: Progress) -> list[Entry]:
    try:
        from kramar.auditing.gate import look_over

        return look_over(entries, listener).entries
    except MissingExtra:
        missing = MissingExtra("train", "looking for near twins")
        listener.say(f"Warning: photos of one thing count as several unless they have a product: {missing}")
        return manifest.tied(entries, ())


def _answers(
    model: Model, entries: Sequence[Entry], listener: Progress
) -> tuple[dict[str, Answer], dict[str, PhotoError]]:
    """What a model says of each photo, by its name, and why it says nothing."""
    scores: dict[str, Answer] = {}
    errors: dict[str, PhotoError] = {}
    with listener.stage("Classifying photos", len(entries)) as advance:
        answers = model.stream_of((entry.photo for entry in entries), model.answers)
        for entry, (_, found) in zip(entries, answers, strict=True):
            if isinstance(found, PhotoError):
                errors[entry.image] = found
            else:
                scores[entry.image] = found
            advance(1)
    return scores, errors


def _unknown(scored: Scored, model: Model, source: Path) -> list[str]:
    """A warning of labels that the model does not have. Raises DataError where it has none of them."""
    unknown = Counter(label for label, truth in zip(scored.labels, scored.truth, strict=True) if truth < 0)
    if len(unknown) == len(set(scored.labels)):
        raise DataError(
            f"{source}: expected labels of the model such as {model.classes[0]!r}, found only others such as "
            f"{scored.labels[0]!r}; is it the right model, or does --columns name the right label column?"
        )
    if not unknown:
        return []
    names = ", ".join(repr(label) for label in sorted(unknown)[:8])
    return [
        f"{unknown.total()} photo(s) of {len(unknown)} label(s) that the model does not have "
        f"({names}) count as mistakes"
    ]


def _check_kept_apart(
    models: Sequence[Model],
    splits: Sequence[Sequence[Entry]],
    learnt: Sequence[bool],
    entries: Sequence[Entry],
    part: str,
) -> None:
    """Raise InputError where a model learnt from photos that others are compared on."""
    if part in ("train", "all"):
        if any(learnt) and not all(learnt):
            known = next(model for model, learnt_from in zip(models, learnt, strict=True) if learnt_from)
            raise InputError(f"{known.path}: learnt from these photos, and others did not; compare with --split test")
        return
    images = {entry.image for entry in entries}
    for model, one, learnt_from in zip(models, splits, learnt, strict=True):
        other = sum(entry.image in images and entry.split != part for entry in one) if learnt_from else 0
        if other:
            raise InputError(
                f"{model.path}: learnt from {other} of the {len(images)} {part} photos of the other model, since they "
                "were split with different seeds; compare on photos that neither has seen"
            )


def _part(
    entries: Sequence[Entry], known: Sequence[Entry] | None, source: Path, split: str | None, default: str
) -> tuple[list[Entry], str]:
    """The entries to score, and the name of their part.

    ``known`` are the photos with the parts that they had when a model was trained on them, where one was.
    """
    if split is not None and split != "all" and split not in SPLIT_NAMES:
        raise InputError(f"--split: expected train, val, test or all, found {split!r}")
    if not entries:
        raise DataError(f"{source}: none of its photos can be opened; check the paths")
    if known is not None:
        entries = [*known]
    has_split = bool(entries[0].split)
    if split == "all" or (split is None and not has_split):
        return list(entries), "all"
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
