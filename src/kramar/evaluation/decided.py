"""What a model file's decisions do on labelled photos."""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt

from kramar.evaluation.metrics import Scored, wilson
from kramar.records import CurvePoint, DecisionScores, Estimate
from kramar.runtime.rule import Rule

Bools = npt.NDArray[np.bool_]

# Points of the curve, at most.
POINTS = 60


def decided(scored: Scored, rule: Rule) -> DecisionScores:
    """How many photos need no person, and whether what was promised was kept; ``scored`` has at least one photo."""
    decisions, n = rule.decisions, len(scored.truth)
    done = rule.verdicts(scored.probabilities, scored.unknown)
    auto, back, strange = done.auto, done.coarse, done.unknown
    coarse = back >= 0
    sets = rule.sets(scored.probabilities)
    known = np.flatnonzero(scored.truth >= 0)
    tells = scored.unknown is not None and decisions.unknown_above is not None
    held = np.array([int(scored.truth[place]) in sets[place] for place in known.tolist()], bool)
    given = np.flatnonzero(auto)
    promised = decisions.set_least is not None
    levels = Counter(int(rule.tree.depth[place]) for place in back[coarse].tolist())
    return DecisionScores(
        precision_target=decisions.precision_target,
        guaranteed=decisions.auto.guaranteed,
        threshold=decisions.auto.threshold,
        coverage=wilson(int(auto.sum()), n),
        precision=_share(auto, scored.right),
        by_class=bool(decisions.auto_by_class),
        precision_by_class=_by_class(scored.right[given], scored, scored.probabilities[given].argmax(axis=1)),
        coarse=wilson(int(coarse.sum()), n),
        coarse_precision=_share(coarse, rule.tree.holds(back, scored.truth)),
        coarse_levels={str(level): levels[level] for level in sorted(levels)},
        unknown=wilson(int(strange.sum()), n) if tells else None,
        unknown_false=_share(scored.truth >= 0, strange) if tells else None,
        unknown_found=_share(scored.truth < 0, strange) if tells else None,
        set_target=decisions.set_coverage,
        set_coverage=wilson(int(held.sum()), len(known)) if promised and len(known) else None,
        set_size=float(np.mean([len(one) for one in sets])) if promised else None,
        set_by_class=_by_class(held, scored, scored.truth[known]) if promised else {},
        curve=curve(scored),
        needed=decisions.auto.needed,
    )


def _by_class(held: Bools, scored: Scored, classes: npt.NDArray[np.integer]) -> dict[str, Estimate]:
    """The share of each class's photos of which something holds; ``classes`` are the photos' numbers."""
    return {
        scored.classes[number]: wilson(int(held[classes == number].sum()), int((classes == number).sum()))
        for number in np.unique(classes).tolist()
    }


def curve(scored: Scored) -> list[CurvePoint]:
    """Precision of the answers that are sure enough against their share, the strictest threshold first."""
    order = np.argsort(-scored.confidence, kind="stable")
    sure = scored.confidence[order]
    right = np.cumsum(scored.right[order]) / np.arange(1, len(sure) + 1)
    # Of equally probable answers, all or none are at a threshold.
    places = np.flatnonzero(np.append(sure[1:] != sure[:-1], True))
    if len(places) > POINTS:
        places = places[np.unique(np.linspace(0, len(places) - 1, POINTS).round().astype(int))]
    return [
        CurvePoint(threshold=float(sure[place]), coverage=float((place + 1) / len(sure)), precision=float(right[place]))
        for place in places.tolist()
    ]


def _share(some: np.ndarray, right: np.ndarray) -> Estimate | None:
    """Of ``some`` photos, those that are ``right``; None of none."""
    return wilson(int((some & right).sum()), int(some.sum())) if some.any() else None
