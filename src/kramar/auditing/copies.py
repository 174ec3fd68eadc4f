"""Photos that are there more than once: exact duplicates, and near twins."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

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
    issues = []
    by_name = {entry.image: entry for entry in entries}
    for one in copied:
        members = [by_name[image] for image in one.images]
        first = members[0]
        labels = sorted({entry.label for entry in members})
        parts = {entry.split for entry in members}
        for number, entry in enumerate(members):
            others = [other for other in members if other is not entry]
            if len(labels) > 1:
                other = next(other for other in others if other.label != entry.label)
                issues.append(
                    Issue(
                        photo=entry.image,
                        kind="conflict",
                        score=one.likeness[number],
                        group=first.image,
                        suggestion="keep the right label",
                        detail=f"labelled {entry.label!r}; as {other.image!r} it is {other.label!r}",
                    )
                )
            elif number:
                same = entry.hash in {other.hash for other in members[:number]}
                issues.append(
                    Issue(
                        photo=entry.image,
                        kind="duplicate" if same else "twin",
                        score=one.likeness[number],
                        group=first.image,
                        suggestion="keep one",
                        detail=f"{'the same file as' if same else 'a copy of'} {first.image!r}",
                    )
                )
            if own_split and entry.split == "test" and len(parts) > 1:
                learnt = next(other for other in others if other.split != "test")
                issues.append(
                    Issue(
                        photo=entry.image,
                        kind="leak",
                        score=one.likeness[number],
                        group=first.image,
                        suggestion="take the other copies out of training and validation",
                        detail=f"in test; as {learnt.image!r} in {learnt.split}",
                    )
                )
    return issues
