"""Which photo is trained on, chosen on, tested on.

The part is a function of the photo alone (its content hash, or its product) and the seed. It has to be: if a
photo's part may not change when others are added, then its part in any set is its part in the set of itself only.
Photos that are tied, as near twins are, have the part of the one that names them. So the shares are 70/15/15 in
expectation in every class, whatever its size, rather than exact; small classes vary, and `too_small` names them.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from kramar.data.manifest import Entry

PARTS = ("train", "val", "test")
TRAIN_SHARE = 0.70
VAL_SHARE = 0.15
# Validation photos from which some are kept aside: 98% takes 149 answers that are all right, or 386 with three wrong.
ASIDE_FROM, ASIDE_SHARE = 1200, 0.5
# Below this a class has fewer than three test photos on average.
SMALL_CLASS = 20


def position(key: str, seed: int) -> float:
    """A number in [0, 1), uniform over keys and fixed for a key and a seed."""
    digest = hashlib.blake2b(f"{seed}\0{key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def part_of(key: str, seed: int) -> str:
    """``train``, ``val`` or ``test`` for a photo's group key."""
    where = position(key, seed)
    if where < TRAIN_SHARE:
        return "train"
    return "val" if where < TRAIN_SHARE + VAL_SHARE else "test"


def assign(entries: Sequence[Entry], seed: int) -> list[Entry]:
    """``entries`` with their parts filled in.

    A split of the data's own is kept; where it has no validation part, that is taken from its training part.
    """
    named = {entry.split for entry in entries}
    if named == {""}:
        return [replace(entry, split=part_of(entry.group, seed)) for entry in entries]
    if "val" in named:
        return list(entries)
    share = VAL_SHARE / (TRAIN_SHARE + VAL_SHARE)
    return [
        replace(entry, split="val") if entry.split == "train" and position(entry.group, seed) < share else entry
        for entry in entries
    ]


def elsewhere(entries: Iterable[Entry], part: str) -> set[str]:
    """The groups that have photos outside ``part``: a split of the data's own may cut them."""
    return {entry.group for entry in entries if entry.split != part}


def aside(val: Sequence[Entry], seed: int, cut: Collection[str]) -> list[bool]:
    """Which of the validation photos choose nothing, so that they can show what is promised: half, whole groups.

    None of the groups that are ``cut``, since a photo of which a twin was learnt shows nothing. None at all where there
    are fewer than 1,200: choices, or the promise, would rest on too few.
    """
    if len(val) < ASIDE_FROM:
        return [False] * len(val)
    # Another draw than that of the part, which the group's position has decided already.
    return [entry.group not in cut and position(f"aside\0{entry.group}", seed) < ASIDE_SHARE for entry in val]


def photos_by_class(entries: Iterable[Entry]) -> dict[str, dict[str, int]]:
    """Photos of each class by part, classes in order of their labels."""
    counts: dict[str, Counter[str]] = {}
    for entry in entries:
        counts.setdefault(entry.label, Counter())[entry.split] += 1
    return {label: {part: counts[label][part] for part in PARTS} for label in sorted(counts)}


def warnings(entries: Sequence[Entry], *, own_split: bool) -> list[str]:
    """What the user should know of the split: classes that cannot be learnt, or hardly be tested."""
    counts = photos_by_class(entries)
    unlearnt = [label for label, parts in counts.items() if not parts["train"]]
    small = [
        label
        for label, parts in counts.items()
        if parts["train"] and not own_split and sum(parts.values()) < SMALL_CLASS
    ]
    untested = [label for label, parts in counts.items() if parts["train"] and not parts["test"] and label not in small]
    said = []
    if unlearnt:
        said.append(
            f"{_named(unlearnt)} without a training photo: not learnt, and counted as mistakes where tested; "
            "add photos, or merge with another class"
        )
    if small:
        said.append(
            f"{_named(small)} too small to split well (under {SMALL_CLASS} photos): figures for it say little; "
            f"add photos until there are {SMALL_CLASS}, or merge with another class"
        )
    if untested and any(parts["test"] for parts in counts.values()):
        said.append(f"{_named(untested)} without a test photo: learnt, but not tested; add photos")
    return said


def _named(labels: Sequence[str], most: int = 8) -> str:
    shown = ", ".join(repr(label) for label in labels[:most])
    more = f" and {len(labels) - most} more" if len(labels) > most else ""
    return f"{len(labels)} {'class' if len(labels) == 1 else 'classes'} ({shown}{more})"
