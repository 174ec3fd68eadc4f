"""The decisions of a model file, by photos that it did not learn from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kramar.config import SET_COVERAGE
from kramar.data.tree import Tree
from kramar.decisions import sets, thresholds
from kramar.decisions.calibration import fit_temperature, logits_of
from kramar.decisions.thresholds import Answers, Counted
from kramar.evaluation.metrics import Scored
from kramar.records import Decisions, Promise
from kramar.runtime.rule import sure_of

# A category that is less likely than others together is none to answer with.
_LEAST = 0.5
# Of photos of the classes, the share that may be called unknown.
UNKNOWN_SHARE = 0.05
# Of the photos, the share that plans in which order the others test: few plan badly, many leave few to test with.
PLANNING = 0.25
# Of fewer photos that plan, the temperature that suits them makes a model too unsure (`fit_temperature`).
_FEWEST = 100


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be promised.

    Attributes:
        precision: of the answers without a person, the share that is right, in (0, 1).
        coverage: of sets, the share that holds the true class.
        by_class: the precision is promised of the answers of each class alone, for which it takes more photos: all of
            these promises hold together with the same confidence (Bonferroni).
        class_sets: the coverage is promised of the sets of each class alone, where it has photos enough.
    """

    precision: float
    coverage: float = SET_COVERAGE
    by_class: bool = False
    class_sets: bool = False


def estimated(scored: Scored, paths: Sequence[str], asked: Asked, seed: int) -> Decisions:
    """Decisions by the very photos that chose the model: estimated.

    ``paths`` are the classes' categories. Photos of classes that the model does not have count as wrong; ``seed`` draws
    the photo that speaks for a group.
    """
    one = _one_a_group(scored, seed)
    above = _above(one)
    photos, kept = len(one.truth), _familiar(one, above)
    parts, level = _parts(kept, asked)
    each = [
        _estimated(Answers.of(part).at, thresholds.candidates(part.confidence), photos, asked.precision, level)
        for part in parts
    ]
    auto, by_class = _together([one.threshold for one in each], asked)
    needed = [one.needed for one in each if one.needed is not None]
    sure = sure_of(kept.probabilities, auto, by_class)
    return Decisions(
        precision_target=asked.precision,
        auto=Promise(threshold=auto, photos=photos, needed=min(needed, default=None)),
        auto_by_class=by_class,
        coarse=_estimated(*_coarse(kept, Tree(paths), sure), photos, asked.precision),
        unknown_above=above,
        set_coverage=asked.coverage,
        set_least=_least(one, asked.coverage),
        set_least_by_class=_least_by_class(one, asked.coverage) if asked.class_sets else [],
    )


def promised(scored: Scored, paths: Sequence[str], asked: Asked, seed: int) -> Decisions:
    """Decisions by photos that chose nothing: guaranteed where they show it, or else estimated.

    A share of them plans in which order thresholds are tested, and the others test them.
    """
    one, tree = _one_a_group(scored, seed), Tree(paths)
    plans = _plans(one, seed)
    above = _above(one.some(np.flatnonzero(plans)))
    planning, testing = (_familiar(one.some(np.flatnonzero(some)), above) for some in (plans, ~plans))
    parts, level = _parts(planning, asked)
    shown = [
        thresholds.certify(Answers.of(test).at, _order(part, asked.precision), asked.precision, level)
        for part, test in zip(parts, _parts(testing, asked)[0], strict=True)
    ]
    auto, by_class = _together(shown, asked)
    known = estimated(scored, paths, asked, seed)
    if auto is None:
        return known
    sure, again = (sure_of(some.probabilities, auto, by_class) for some in (planning, testing))
    counted, tried = _coarse(planning, tree, sure)
    order = thresholds.plan(counted, tried, asked.precision)
    coarse = thresholds.certify(_coarse(testing, tree, again)[0], order, asked.precision)
    return known.model_copy(
        update={
            "unknown_above": above,
            "auto": Promise(threshold=auto, guaranteed=True, photos=len(one.truth)),
            "auto_by_class": by_class,
            # Which photos are left for it, the same photos have chosen: shown, but not guaranteed.
            "coarse": Promise(threshold=coarse, photos=len(one.truth)),
        }
    )


def _parts(scored: Scored, asked: Asked) -> tuple[list[Scored], float]:
    """The answers of which a promise is made, all together or class by class; and at which level each is tested."""
    if not asked.by_class:
        return [scored], thresholds.LEVEL
    given = scored.probabilities.argmax(axis=1)
    parts = [scored.some(np.flatnonzero(given == number)) for number in range(len(scored.classes))]
    return parts, thresholds.LEVEL / max(1, sum(len(part.truth) > 0 for part in parts))


def _together(shown: Sequence[float | None], asked: Asked) -> tuple[float | None, list[float | None]]:
    """The lowest of the parts' thresholds, and where they are classes, all of them."""
    return min((one for one in shown if one is not None), default=None), list(shown) if asked.by_class else []


def _order(planning: Scored, precision: float) -> list[float]:
    return thresholds.plan(Answers.of(planning).at, thresholds.candidates(planning.confidence), precision)


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


def _coarse(one: Scored, tree: Tree, sure: npt.NDArray[np.bool_]) -> tuple[Counted, list[float]]:
    """Of answers that are not sure of a class, how many are of a category; and thresholds to try."""
    sums, truth = tree.sums(one.probabilities[~sure]), one.truth[~sure]

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


def _estimated(
    counted: Counted, tried: Sequence[float], photos: int, precision: float, level: float = thresholds.LEVEL
) -> Promise:
    needed = thresholds.photos_for(counted, tried, photos, precision, level)
    return Promise(
        threshold=thresholds.estimated(counted, tried, precision, level),
        photos=photos,
        # Those that plan show nothing.
        needed=None if needed is None else math.ceil(needed / (1 - PLANNING)),
    )
