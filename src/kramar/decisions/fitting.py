"""The decisions of a model file, by photos that it did not learn from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kramar.data.tree import Tree
from kramar.decisions import sets, thresholds
from kramar.decisions.thresholds import Answers, Counted
from kramar.evaluation.metrics import Scored
from kramar.records import Decisions, Promise

# A category that is less likely than others together is none to answer with.
_LEAST = 0.5
# Of the photos, the share that plans in which order the others test: few plan badly, many leave few to test with.
PLANNING = 0.25


def estimated(scored: Scored, paths: Sequence[str], precision: float, coverage: float, seed: int) -> Decisions:
    """Decisions by the very photos that chose the model: estimated.

    ``paths`` are the classes' categories, ``precision`` and ``coverage`` what is promised of answers and of sets.
    Photos of classes that the model does not have count as wrong; ``seed`` draws the photo that speaks for a group.
    """
    one = _one_a_group(scored, seed)
    photos, counted = len(one.truth), Answers.of(one).at
    auto = _estimated(counted, thresholds.candidates(one.confidence), photos, precision)
    coarse = _estimated(*_coarse(one, Tree(paths), auto.threshold), photos, precision)
    return Decisions(
        precision_target=precision,
        auto=auto,
        coarse=coarse,
        set_coverage=coverage,
        set_least=_least(one, coverage),
    )


def promised(scored: Scored, paths: Sequence[str], precision: float, coverage: float, seed: int) -> Decisions:
    """Decisions by photos that chose nothing: guaranteed where they show it, or else estimated.

    A share of them plans in which order thresholds are tested, and the others test them.
    """
    one, tree = _one_a_group(scored, seed), Tree(paths)
    plans = np.random.default_rng(seed).permutation(len(one.truth)) < PLANNING * len(one.truth)
    planning, testing = one.some(np.flatnonzero(plans)), one.some(np.flatnonzero(~plans))
    known = estimated(scored, paths, precision, coverage, seed)
    tried = thresholds.candidates(planning.confidence)
    order = thresholds.plan(Answers.of(planning).at, tried, precision)
    threshold = thresholds.certify(Answers.of(testing).at, order, precision)
    if threshold is None:
        return known
    counted, tried = _coarse(planning, tree, threshold)
    coarse = thresholds.certify(
        _coarse(testing, tree, threshold)[0], thresholds.plan(counted, tried, precision), precision
    )
    return known.model_copy(
        update={
            "auto": Promise(threshold=threshold, guaranteed=True, photos=len(one.truth)),
            # Which photos are left for it, the same photos have chosen: shown, but not guaranteed.
            "coarse": Promise(threshold=coarse, photos=len(one.truth)),
        }
    )


def _one_a_group(scored: Scored, seed: int) -> Scored:
    """One photo of each group, drawn: photos of one group are not independent of each other."""
    first: dict[str, int] = {}
    for place in np.random.default_rng(seed).permutation(len(scored.truth)).tolist():
        first.setdefault(scored.groups[place], place)
    return scored.some(np.array(sorted(first.values()), np.int64))


def _coarse(one: Scored, tree: Tree, threshold: float | None) -> tuple[Counted, list[float]]:
    """Of answers that are not sure of a class, how many are of a category; and thresholds to try."""
    unsure = np.ones(len(one.truth), bool) if threshold is None else one.confidence < threshold
    sums, truth = tree.sums(one.probabilities[unsure]), one.truth[unsure]

    def counted(threshold: float) -> tuple[int, int]:
        backed = tree.backed(sums, threshold)
        given = backed >= 0
        return int(given.sum()), int((given & ~tree.holds(backed, truth)).sum())

    # A category that holds more is likelier: thresholds of all of them, or the deeper ones would never be reached.
    return counted, thresholds.candidates(sums[sums >= _LEAST])


def _least(one: Scored, coverage: float) -> float | None:
    known = one.truth >= 0
    return sets.least(one.probabilities[known], one.truth[known], coverage)


def _estimated(counted: Counted, tried: Sequence[float], photos: int, precision: float) -> Promise:
    return Promise(
        threshold=thresholds.estimated(counted, tried, precision),
        photos=photos,
        needed=thresholds.photos_for(counted, tried, photos, precision),
    )
