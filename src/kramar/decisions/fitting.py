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
Table = list[tuple[float, int, int]]


def planned(scored: Scored, paths: Sequence[str], precision: float, coverage: float, seed: int) -> Decisions:
    """Decisions by the very photos that chose the model: estimated, with what others need to test them.

    ``paths`` are the classes' categories, ``precision`` and ``coverage`` what is promised of answers and of sets.
    Photos of classes that the model does not have count as wrong.
    """
    one = _one_a_group(scored, seed)
    photos, counted = len(one.truth), Answers.of(one).at
    tried = thresholds.candidates(one.confidence)
    auto = _estimated(counted, tried, photos, precision)
    coarse_counted, coarse_tried = _coarse(one, Tree(paths), auto.threshold)
    return Decisions(
        precision_target=precision,
        auto=auto,
        coarse=_estimated(coarse_counted, coarse_tried, photos, precision),
        tried=_table(counted, tried),
        coarse_tried=_table(coarse_counted, coarse_tried),
        set_coverage=coverage,
        set_least=_least(one, coverage),
    )


def promised(
    plan: Decisions, scored: Scored, paths: Sequence[str], precision: float, coverage: float, seed: int
) -> Decisions:
    """Decisions by photos that chose nothing, in the order that ``plan`` tells: guaranteed where they show it, or else
    estimated."""
    one = _one_a_group(scored, seed)
    photos, counted = len(one.truth), Answers.of(one).at
    order = _order(plan.tried, precision)
    auto = _certified(counted, order, thresholds.candidates(one.confidence), photos, precision)
    coarse_counted, coarse_tried = _coarse(one, Tree(paths), auto.threshold)
    coarse = _certified(coarse_counted, _order(plan.coarse_tried, precision), coarse_tried, photos, precision)
    return plan.model_copy(
        update={
            "precision_target": precision,
            "auto": auto,
            # Which photos are left for it, the same photos have chosen: shown, but not guaranteed.
            "coarse": coarse.model_copy(update={"guaranteed": False}),
            "set_coverage": coverage,
            "set_least": _least(one, coverage),
        }
    )


def halves(scored: Scored, seed: int) -> tuple[Scored, Scored]:
    """Two halves of the photos, whole groups together: to plan with one, and to test with the other."""
    groups = sorted(set(scored.groups))
    first = {groups[place] for place in np.random.default_rng(seed).permutation(len(groups))[::2].tolist()}
    here = np.array([group in first for group in scored.groups])
    return _some(scored, np.flatnonzero(here)), _some(scored, np.flatnonzero(~here))


def _one_a_group(scored: Scored, seed: int) -> Scored:
    """One photo of each group, drawn: photos of one group are not independent of each other."""
    first: dict[str, int] = {}
    for place in np.random.default_rng(seed).permutation(len(scored.truth)).tolist():
        first.setdefault(scored.groups[place], place)
    return _some(scored, np.array(sorted(first.values()), np.int64))


def _some(scored: Scored, places: np.ndarray) -> Scored:
    return Scored(
        scored.probabilities[places],
        scored.truth[places],
        [scored.labels[place] for place in places.tolist()],
        scored.classes,
        [scored.groups[place] for place in places.tolist()],
    )


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


def _table(counted: Counted, tried: Sequence[float]) -> Table:
    return [(threshold, *counted(threshold)) for threshold in tried]


def _order(table: Table, precision: float) -> list[float]:
    found = {threshold: (answers, wrong) for threshold, answers, wrong in table}
    return thresholds.plan(found.__getitem__, list(found), precision)


def _least(one: Scored, coverage: float) -> float | None:
    known = one.truth >= 0
    return sets.least(one.probabilities[known], one.truth[known], coverage)


def _estimated(counted: Counted, tried: Sequence[float], photos: int, precision: float) -> Promise:
    return Promise(
        threshold=thresholds.estimated(counted, tried, precision),
        photos=photos,
        needed=thresholds.photos_for(counted, tried, photos, precision),
    )


def _certified(
    counted: Counted, order: Sequence[float], tried: Sequence[float], photos: int, precision: float
) -> Promise:
    threshold = thresholds.certify(counted, order, precision)
    if threshold is None:
        return _estimated(counted, tried, photos, precision)
    return Promise(threshold=threshold, guaranteed=True, photos=photos)
