"""Photos that are there more than once: exact duplicates, and near twins."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from kramar.auditing import twins
from kramar.auditing.glances import Glances
from kramar.auditing.issues import Issue
from kramar.data.manifest import Entry


@dataclass(frozen=True, slots=True)
class Copies:
    """One photograph that is there more than once: its copies by their names, and how alike each is to the first."""

    images: list[str]
    likeness: list[float]


def exact(entries: Sequence[Entry]) -> list[Copies]:
    """Photos that are the same byte for byte."""
    return [Copies(images, [1.0] * len(images)) for images in _by_hash(entries).values() if len(images) > 1]


def _by_hash(entries: Sequence[Entry]) -> dict[str, list[str]]:
    images: dict[str, list[str]] = defaultdict(list)
    for entry in entries:
        images[entry.hash].append(entry.image)
    return images


def found(entries: Sequence[Entry], looked_at: Sequence[Entry], glances: Glances) -> list[Copies]:
    """Exact duplicates and near twins among ``entries``; ``glances`` are of those of them that were ``looked_at``."""
    row: dict[str, int] = {}
    for number, entry in enumerate(looked_at):
        row.setdefault(entry.hash, number)
    images, names = _by_hash(entries), list(row)
    medoids, likeness = twins.groups(glances.some(np.array(list(row.values()), np.int64)))
    members: dict[int, list[int]] = defaultdict(list)
    for number, medoid in enumerate(medoids.tolist()):
        members[medoid].append(number)
    copied = []
    for medoid, some in members.items():
        ordered = [medoid, *(number for number in some if number != medoid)]
        of_group = [(image, float(likeness[number])) for number in ordered for image in images[names[number]]]
        if len(of_group) > 1:
            copied.append(Copies([image for image, _ in of_group], [alike for _, alike in of_group]))
    return copied + exact([entry for entry in entries if entry.hash not in row])


def copy_issues(copied: Sequence[Copies], entries: Sequence[Entry], *, own_split: bool) -> list[Issue]:
    """An issue for each copy; ``entries`` have their parts, of which the data may have given its own."""
    by_name = {entry.image: entry for entry in entries}
    return [
        issue for one in copied for issue in _of_one(one, [by_name[image] for image in one.images], own_split=own_split)
    ]


def _of_one(one: Copies, members: Sequence[Entry], *, own_split: bool) -> Iterator[Issue]:
    """The issues of one photograph's copies, in linear time: a placeholder may have thousands."""
    of_label: dict[str, Entry] = {}
    for entry in members:
        of_label.setdefault(entry.label, entry)
    learnt = next((entry for entry in members if entry.split != "test"), None)
    seen: set[str] = set()
    for entry, alike in zip(members, one.likeness, strict=True):
        told = partial(Issue, photo=entry.image, score=alike, group=members[0].image)
        if len(of_label) > 1:
            other = next(other for label, other in of_label.items() if label != entry.label)
            yield told(
                kind="conflict",
                suggestion="keep the right label",
                detail=f"labelled {entry.label!r}; as {other.image!r} it is {other.label!r}",
            )
        elif seen:
            same = entry.hash in seen
            yield told(
                kind="duplicate" if same else "twin",
                suggestion="keep one",
                detail=f"{'the same file as' if same else 'a copy of'} {members[0].image!r}",
            )
        if own_split and entry.split == "test" and learnt is not None:
            yield told(
                kind="leak",
                suggestion="take the other copies out of training and validation",
                detail=f"in test; as {learnt.image!r} in {learnt.split}",
            )
        seen.add(entry.hash)
