"""Classes by their names and sizes: those that look alike, those that are too small."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Sequence
from difflib import SequenceMatcher
from itertools import combinations

from kramar.auditing.issues import Issue
from kramar.data.manifest import Entry
from kramar.data.split import SMALL_CLASS

# Names are alike where so much of them is the same, and they are no shorter than this.
ALIKE, SHORTEST = 0.9, 5
# A class of this share of the median class, or less, is far behind.
FAR_FEWER = 0.1
# Of more classes than this, only names that differ by case and spaces are compared: pairs grow as the square.
_MANY = 1000


def name_issues(entries: Sequence[Entry]) -> list[Issue]:
    """Names that differ by case or spaces, or by so little that one may be a slip of the other."""
    counts = Counter(entry.label for entry in entries)
    spelt: dict[str, list[str]] = defaultdict(list)
    for label in sorted(counts):
        spelt[" ".join(label.casefold().replace("_", " ").replace("-", " ").split())].append(label)
    found = [
        (1.0, first, second, "differ only by case, spaces or dashes")
        for labels in spelt.values()
        for first, second in combinations(labels, 2)
    ]
    if len(spelt) <= _MANY:
        found += [
            (score, spelt[one][0], spelt[other][0], "differ by little")
            for one, other in combinations(sorted(spelt), 2)
            if (score := _alike(one, other)) >= ALIKE
        ]
    return [
        Issue(
            kind="alike",
            score=score,
            group=f"{first} | {second}",
            suggestion="rename one of them if they are the same",
            detail=f"{first!r} ({counts[first]} photos) and {second!r} ({counts[second]}) {how}",
        )
        for score, first, second, how in sorted(found, key=lambda one: (-one[0], *one[1:]))
    ]


def _alike(one: str, other: str) -> float:
    """The share of both names that is the same, 0 where they differ in digits: sizes and models are no slips."""
    short, long = sorted((len(one), len(other)))
    if (
        short < SHORTEST
        or 2 * short < ALIKE * (short + long)
        or [c for c in one if c.isdigit()] != [c for c in other if c.isdigit()]
    ):
        return 0.0
    matcher = SequenceMatcher(None, one, other, autojunk=False)
    return matcher.ratio() if matcher.quick_ratio() >= ALIKE else 0.0


def size_issues(entries: Sequence[Entry]) -> list[Issue]:
    """Classes that are too small to learn and to test, and those with far fewer photos than others."""
    counts = Counter(entry.label for entry in entries)
    median = statistics.median(counts.values()) if counts else 0.0
    issues = []
    for label, count in sorted(counts.items(), key=lambda item: (item[1], item[0])):
        if count < SMALL_CLASS:
            kind, detail = "small", f"{count} photos; under {SMALL_CLASS}, a class is hardly tested"
        elif count <= FAR_FEWER * median:
            kind, detail = "imbalance", f"{count} photos; half of the classes have {median:.0f} or more"
        else:
            continue
        issues.append(
            Issue(kind=kind, score=float(count), group=label, suggestion="add photos", detail=f"{label!r}: {detail}")
        )
    return issues
