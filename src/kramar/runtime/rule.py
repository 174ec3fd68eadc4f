"""What is done with a model's answers, as its file says: given, given less exactly, or shown to a person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kramar.data.tree import Tree
from kramar.records import AUTO, COARSE, REVIEW, ClassCard, Decisions

Floats = npt.NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class Decided:
    """One photo: what is done, the category that is said of it, and the classes in its set, the likeliest first."""

    decision: str
    category: str
    members: list[int]


class Rule:
    """The decisions of a model file."""

    def __init__(self, decisions: Decisions, classes: Sequence[ClassCard]) -> None:
        self.decisions = decisions
        self.tree = Tree([one.category for one in classes])

    def auto(self, probabilities: Floats) -> npt.NDArray[np.bool_]:
        """Which answers need no person, ``[N]``, of probabilities ``[N, C]``."""
        threshold = self.decisions.auto.threshold
        if threshold is None:
            return np.zeros(len(probabilities), bool)
        return np.asarray(probabilities.max(axis=1) >= threshold)

    def coarse(self, probabilities: Floats) -> npt.NDArray[np.int64]:
        """Of the other answers, the category that is sure enough, ``[N]``; -1 where none is."""
        threshold = self.decisions.coarse.threshold
        if threshold is None:
            return np.full(len(probabilities), -1, np.int64)
        backed = self.tree.backed(self.tree.sums(probabilities), threshold)
        return np.where(self.auto(probabilities), -1, backed)

    def sets(self, probabilities: Floats) -> list[list[int]]:
        """The classes in each set, the likeliest first, which is always in it; none where there is no promise."""
        if self.decisions.set_least is None:
            return [[] for _ in probabilities]
        return members(probabilities, self.decisions.set_least)

    def __call__(self, probabilities: Floats) -> list[Decided]:
        """What is done with each answer, of probabilities ``[N, C]``."""
        top, sure, back = probabilities.argmax(axis=1), self.auto(probabilities), self.coarse(probabilities)
        found = []
        for place, inside in enumerate(self.sets(probabilities)):
            category = self.tree.paths[top[place]]
            decision = AUTO if sure[place] else REVIEW
            if back[place] >= 0:
                decision, category = COARSE, self.tree.categories[back[place]]
            found.append(Decided(decision, category, inside))
        return found


def members(probabilities: Floats, least: float | Floats) -> list[list[int]]:
    """The classes in each photo's set, the most probable first; the first is always in it.

    ``probabilities`` is ``[N, C]``, ``least`` one number or one a class.
    """
    inside = probabilities >= least
    inside[np.arange(len(probabilities)), probabilities.argmax(axis=1)] = True
    order = np.argsort(-probabilities, axis=1, kind="stable")
    return [ranked[kept[ranked]].tolist() for ranked, kept in zip(order, inside, strict=True)]
