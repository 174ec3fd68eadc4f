"""What is done with a model's answers, as its file says: given, given less exactly, or shown to a person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kramar.data.tree import Tree
from kramar.records import AUTO, COARSE, REVIEW, UNKNOWN, ClassCard, Decisions

Floats = npt.NDArray[np.floating]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What is done with answers, ``[N]`` each.

    Attributes:
        unknown: which show none of the classes.
        auto: which of the others need no person.
        coarse: of the rest, the place in the tree of the category that is sure enough; -1 where none is.
    """

    unknown: Bools
    auto: Bools
    coarse: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Decided:
    """One photo: what is done, the category that is said of it, and the classes in its set, the likeliest first.

    An unknown photo has no category.
    """

    decision: str
    category: str
    members: list[int]


class Rule:
    """The decisions of a model file."""

    def __init__(self, decisions: Decisions, classes: Sequence[ClassCard]) -> None:
        self.decisions = decisions
        self.tree = Tree([one.category for one in classes])

    def verdicts(self, probabilities: Floats, unknown: Floats | None = None) -> Verdicts:
        """What is done with each answer, of probabilities ``[N, C]`` and unknown scores ``[N]``, if there are any."""
        decisions, coarse = self.decisions, self.decisions.coarse.threshold
        strange = self.unknown(unknown, len(probabilities))
        sure = sure_of(probabilities, decisions.auto.threshold, decisions.auto_by_class)
        backed = np.full(len(probabilities), -1, np.int64)
        if coarse is not None:
            backed = self.tree.backed(self.tree.sums(probabilities), coarse)
        return Verdicts(strange, sure & ~strange, np.where(sure | strange, -1, backed))

    def unknown(self, scores: Floats | None, photos: int) -> Bools:
        """Which photos show none of the classes, ``[N]``; none where nothing tells."""
        if scores is None or self.decisions.unknown_above is None:
            return np.zeros(photos, bool)
        return np.asarray(scores > self.decisions.unknown_above)

    def sets(self, probabilities: Floats) -> list[list[int]]:
        """The classes in each set, the likeliest first, which is always in it; none where there is no promise."""
        least = self.decisions.set_least
        if least is None:
            return [[] for _ in probabilities]
        own = self.decisions.set_least_by_class
        return members(probabilities, np.array([least if one is None else one for one in own]) if own else least)

    def __call__(self, probabilities: Floats, unknown: Floats | None = None) -> list[Decided]:
        """As `verdicts`, photo by photo."""
        done, top = self.verdicts(probabilities, unknown), probabilities.argmax(axis=1)
        found = []
        for place, inside in enumerate(self.sets(probabilities)):
            decision, category = REVIEW, self.tree.paths[top[place]]
            if done.unknown[place]:
                decision, category = UNKNOWN, ""
            elif done.auto[place]:
                decision = AUTO
            elif done.coarse[place] >= 0:
                decision, category = COARSE, self.tree.categories[done.coarse[place]]
            found.append(Decided(decision, category, inside))
        return found


def sure_of(probabilities: Floats, threshold: float | None, by_class: Sequence[float | None] = ()) -> Bools:
    """Which answers of probabilities ``[N, C]`` are probable enough, ``[N]``: by their classes' thresholds, C of them
    (None: never), or where there are none of those, by one for all."""
    if not by_class and threshold is None:
        return np.zeros(len(probabilities), bool)
    least = np.array([np.inf if one is None else one for one in by_class or [threshold]])
    return np.asarray(probabilities.max(axis=1) >= least[probabilities.argmax(axis=1) if by_class else 0])


def members(probabilities: Floats, least: float | Floats) -> list[list[int]]:
    """The classes in each photo's set, the most probable first; the first is always in it.

    ``probabilities`` is ``[N, C]``, ``least`` one number or one a class.
    """
    inside = probabilities >= least
    inside[np.arange(len(probabilities)), probabilities.argmax(axis=1)] = True
    order = np.argsort(-probabilities, axis=1, kind="stable")
    return [ranked[kept[ranked]].tolist() for ranked, kept in zip(order, inside, strict=True)]
