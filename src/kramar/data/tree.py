"""Classes in a tree of categories: their paths, such as ``Fruit/Apple/Golden-Delicious``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Indices = npt.NDArray[np.integer]
Bools = npt.NDArray[np.bool_]


class Tree:
    """Categories above the classes.

    Attributes:
        paths: of the classes, C of them.
        categories: paths of the categories that hold several classes, but not all: the root is none, and one of a
            single class says no less than the class.
        depth: parts in each of those paths, ``[K]``.
        members: whether a category holds a class, ``[K, C]``.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self.paths = list(paths)
        held: dict[tuple[str, ...], list[int]] = {}
        for place, path in enumerate(paths):
            parts = tuple(path.split("/"))
            for depth in range(1, len(parts) + 1):
                held.setdefault(parts[:depth], []).append(place)
        kept = sorted(parts for parts, classes in held.items() if 1 < len(classes) < len(paths))
        self.categories = ["/".join(parts) for parts in kept]
        self.depth = np.array([len(parts) for parts in kept], np.int64)
        self.members = np.zeros((len(kept), len(paths)), bool)
        for row, parts in enumerate(kept):
            self.members[row, held[parts]] = True

    def sums(self, probabilities: Floats) -> npt.NDArray[np.float64]:
        """Probability of each category, ``[N, K]``, by those of the classes ``[N, C]``."""
        return np.asarray(probabilities.astype(np.float64) @ self.members.T)

    def backed(self, sums: Floats, threshold: float) -> npt.NDArray[np.int64]:
        """The deepest category of at least this probability, ``[N]``, of equals the likelier; -1 for none."""
        if not self.categories:
            return np.full(len(sums), -1, np.int64)
        # A probability is at most 1, so that depth comes first.
        rank = np.where(sums >= threshold, 2 * self.depth + sums, -1.0)
        best = rank.argmax(axis=1)
        return np.asarray(np.where(rank[np.arange(len(sums)), best] >= 0, best, -1), np.int64)

    def holds(self, categories: Indices, classes: Indices) -> Bools:
        """Whether each category holds each class, both ``[N]``; -1 in either holds nothing."""
        known = (categories >= 0) & (classes >= 0)
        found = np.zeros(len(classes), bool)
        found[known] = self.members[categories[known], classes[known]]
        return found
