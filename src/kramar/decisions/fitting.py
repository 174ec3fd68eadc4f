"""The decisions of a model file, by photos that it did not learn from."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from kramar.data.tree import Tree
from kramar.decisions import sets, thresholds
from kramar.decisions.calibration import fit_temperature, logits_of
from kramar.decisions.thresholds import Answers, Counted
from kramar.evaluation.metrics import Scored
from kramar.records import Decisions, Promise

# A category that is less likely than others together is none to answer with.
_LEAST = 0.5
# Of photos of the classes, the share that may be called unknown.
UNKNOWN_SHARE = 0.05
# Of the photos, the share that plans in which order the others test: few plan badly, many leave few to test with.
PLANNING = 0.25
# Of fewer photos that plan, the temperature that suits them makes a model too unsure (`fit_temperature`).
_FEWEST = 100


def estimated(
    scored: Scored, paths: Sequence[str], precision: float, coverage: float, seed: int, *, class_sets: bool = False
) -> Decisions:
    """Decisions by the very photos that chose the model: estimated.

    ``paths`` are the classes' categories, ``precision`` and ``coverage`` what is promised of answers and of sets; with
    ``class_sets``, of those of each class that has photos enough. Photos of classes that the model does not have count
    as wrong; ``seed`` draws the photo that speaks for a group.
    """
    one = _one_a_group(scored, seed)
    above = _above(one)
    photos, kept = len(one.truth), _familiar(one, above)
    counted = Answers.of(kept).at
    auto = _estimated(counted, thresholds.candidates(kept.confidence), photos, precision)
    coarse = _estimated(*_coarse(kept, Tree(paths), auto.threshold), photos, precision)
    return Decisions(
        precision_target=precision,
        auto=auto,
        coarse=coarse,
        unknown_above=above,
        set_coverage=coverage,
        set_least=_least(one, coverage),
        set_least_by_class=_least_by_class(one, coverage) if class_sets else [],
    )


def promised(
    scored: Scored, paths: Sequence[str], precision: float, coverage: float, seed: int, *, class_sets: bool = False
) -> Decisions:
    """Decisions by photos that chose nothing: guaranteed where they show it, or else estimated.

    A share of them plans in which order thresholds are tested, and the others test them.
    """
    one, tree = _one_a_group(scored, seed), Tree(paths)
    plans = _plans(one, seed)
    above = _above(one.some(np.flatnonzero(plans)))
    planning, testing = (_familiar(one.some(np.flatnonzero(some)), above) for some in (plans, ~plans))
    known = estimated(scored, paths, precision, coverage, seed, class_sets=class_sets)
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
            "unknown_above": above,
            "auto": Promise(threshold=threshold, guaranteed=True, photos=len(one.truth)),
            # Which photos are left for it, the same photos have chosen: shown, but not guaranteed.
            "coarse": Promise(threshold=coarse, photos=len(one.truth)),
        }
    )


def stretch(scored: Scored, seed: int) -> float:
    """What the temperature is to be multiplied with, by those of the photos that plan (`promised`); 1 of few."""
    one = _one_a_group(scored, seed)
    planning = one.some(np.flatnonzero(_plans(one, seed) & (one.truth >= 0)))
    if len(planning.truth) < _FEWEST:
        return 1.0
    return fit_temperature(logits_of(planning.probabilities), planning.truth)


def _plans(one: Scored, seed: int) -> npt.NDArray[np.bool_]:
    """Which photos plan."""
    return np.random.default_rng(seed).permutation(len(one.truth)) < PLANNING * len(one.truth)


def _one_a_group(scored: Scored, seed: int) -> Scored:
    """One photo of each group, drawn: photos of one group are not independent of each other."""
    first: dict[str, int] = {}
    for place in np.random.default_rng(seed).permutation(len(scored.truth)).tolist():
        first.setdefault(scored.groups[place], place)
    return scored.some(np.array(sorted(first.values()), np.int64))


def _above(one: Scored) -> float | None:
    """Above which unknown score a photo shows none of the classes; None where nothing tells, or photos are few.

    Rounded up to a thousandth, which is more than runtimes differ by.
    """
    found = None if one.unknown is None else sets.reach(one.unknown[one.truth >= 0], 1 - UNKNOWN_SHARE)
    return None if found is None else math.ceil(1000 * found) / 1000


def _familiar(one: Scored, above: float | None) -> Scored:
    """The photos that are not called unknown."""
    if one.unknown is None or above is None:
        return one
    return one.some(np.flatnonzero(one.unknown <= above))


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


def _least_by_class(one: Scored, coverage: float) -> list[float | None]:
    found = []
    for number in range(len(one.classes)):
        own = one.truth == number
        found.append(sets.least(one.probabilities[own], one.truth[own], coverage))
    return found


def _estimated(counted: Counted, tried: Sequence[float], photos: int, precision: float) -> Promise:
    return Promise(
        threshold=thresholds.estimated(counted, tried, precision),
        photos=photos,
        needed=thresholds.photos_for(counted, tried, photos, precision),
    )
