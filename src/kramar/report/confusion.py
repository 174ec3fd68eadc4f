"""The part of the confusion matrix that is worth looking at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from kramar.records import ClassScore, Confusion

HEAT_CLASSES = 20
# Upper ends of the lighter levels, as shares of a class's photos; confusions of a few percent must be seen.
_LEVELS = (0.05, 0.1, 0.2, 0.35)


@dataclass(frozen=True, slots=True)
class Cell:
    """Photos of the row's class that were called the column's class; ``level`` is 0 for none, else 1 to 5."""

    count: int
    level: int


@dataclass(frozen=True, slots=True)
class HeatMap:
    """``rows[i][j]``: photos of ``labels[i]`` called ``labels[j]``; ``of[i]``: photos of ``labels[i]``.

    ``unlisted`` counts the mistakes of all classes whose pair is not in the record.
    """

    labels: list[str]
    of: list[int]
    rows: list[list[Cell]]
    unlisted: int

    @property
    def levels(self) -> list[int]:
        """The levels of its confusions, lightest first: what its legend has to explain."""
        return sorted(
            {cell.level for at, row in enumerate(self.rows) for to, cell in enumerate(row) if at != to and cell.level}
        )


def heat_map(
    confusions: Sequence[Confusion], classes: Sequence[ClassScore], limit: int = HEAT_CLASSES
) -> HeatMap | None:
    """The matrix over the ``limit`` classes with the most confusions, those confused together side by side.

    None where nothing was confused.
    """
    pairs: Counter[tuple[str, str]] = Counter()
    involved: Counter[str] = Counter()
    photos: dict[str, int] = {}
    for confusion in confusions:
        pairs[confusion.truth, confusion.predicted] += confusion.count
        involved[confusion.truth] += confusion.count
        involved[confusion.predicted] += confusion.count
        photos[confusion.truth] = confusion.of
    if not pairs:
        return None
    listed = pairs.total()
    wrong = 0
    for score in classes:
        if score.recall is not None:
            photos[score.label] = score.recall.n
            right = round(score.recall.value * score.recall.n)
            pairs[score.label, score.label] = right
            wrong += score.recall.n - right
    labels = _neighbours([label for label, _ in involved.most_common(limit)], pairs)
    of = [photos.get(label, 0) for label in labels]
    rows = [
        [_cell(pairs[truth, predicted], photos_of_truth) for predicted in labels]
        for truth, photos_of_truth in zip(labels, of, strict=True)
    ]
    return HeatMap(labels, of, rows, max(wrong - listed, 0))


def _neighbours(labels: Sequence[str], pairs: Counter[tuple[str, str]]) -> list[str]:
    """``labels`` in a chain: after each, the one most often confused with it, then with any before it."""

    def together(one: str, other: str) -> int:
        return pairs[one, other] + pairs[other, one]

    chain, waiting = [labels[0]], list(labels[1:])
    while waiting:
        last = chain[-1]
        following = max(
            waiting,
            key=lambda label: (together(last, label), max(together(label, placed) for placed in chain)),
        )
        waiting.remove(following)
        chain.append(following)
    return chain


def _cell(count: int, of: int) -> Cell:
    if not count or not of:
        return Cell(count, 0)
    return Cell(count, 1 + sum(count / of > level for level in _LEVELS))
