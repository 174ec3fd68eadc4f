"""Labels that are probably wrong, and classes that the photos hardly tell apart, by scores from outside each fold."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from kramar.auditing.issues import Issue
from kramar.data.manifest import Entry
from kramar.errors import MissingExtra

Floats = npt.NDArray[np.floating]
Indices = npt.NDArray[np.integer]

# Two classes are confused where so many photos of each are taken for the other, of those that are taken for either.
CONFUSED = 0.15
_FEWEST_CONFUSED = 3


def quality(probabilities: Floats, truth: Indices) -> npt.NDArray[np.float64]:
    """How well each label fits its photo, from 0 to 1, ``[N]``.

    ``probabilities`` is ``[N, C]`` from heads that did not learn from the photo, ``truth`` the labels' classes ``[N]``.
    The score is the normalised margin: the label's probability minus the highest of the others (Northcutt et al. 2021,
    Confident Learning; Kuan and Mueller 2022).
    """
    try:
        from cleanlab.rank import get_label_quality_scores
    except ImportError:
        raise MissingExtra("train", "an audit") from None
    return np.asarray(get_label_quality_scores(truth, probabilities, method="normalized_margin"), np.float64)


def wrong(probabilities: Floats, truth: Indices) -> npt.NDArray[np.bool_]:
    """Which labels are probably wrong, ``[N]``: as many as confident learning counts (Northcutt et al. 2021)."""
    try:
        from cleanlab.filter import find_label_issues
    except ImportError:
        raise MissingExtra("train", "an audit") from None
    with warnings.catch_warnings():
        # Of few photos it may miss some: classes that small are told.
        warnings.filterwarnings("ignore", "May not flag all label issues", UserWarning)
        found = find_label_issues(truth, probabilities, filter_by="prune_by_noise_rate", n_jobs=1)
    return np.asarray(found, bool)


def label_issues(
    entries: Sequence[Entry], classes: Sequence[str], probabilities: Floats, truth: Indices
) -> list[Issue]:
    """An issue for each label that is probably wrong, the surest first."""
    found = wrong(probabilities, truth)
    score = quality(probabilities, truth)
    issues = []
    for place in np.argsort(score, kind="stable").tolist():
        if not found[place]:
            continue
        guess = int(probabilities[place].argmax())
        issues.append(
            Issue(
                photo=entries[place].image,
                kind="label",
                score=float(1 - score[place]),
                suggestion=classes[guess],
                detail=f"labelled {entries[place].label!r} ({probabilities[place, truth[place]]:.1%}), looks like "
                f"{classes[guess]!r} ({probabilities[place, guess]:.1%}) to a model that has not learnt from it",
            )
        )
    return issues


def confused_issues(classes: Sequence[str], probabilities: Floats, truth: Indices) -> list[Issue]:
    """An issue for each two classes of which each is often taken for the other, the worst first."""
    guess = probabilities.argmax(axis=1)
    counts = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(counts, (truth, guess), 1)
    issues = []
    for first in range(len(classes)):
        for second in range(first + 1, len(classes)):
            own, other = counts[first, [first, second]], counts[second, [second, first]]
            if min(own[1], other[1]) < _FEWEST_CONFUSED:
                continue
            share = min(own[1] / own.sum(), other[1] / other.sum())
            if share >= CONFUSED:
                issues.append(
                    Issue(
                        kind="confused",
                        score=float(share),
                        group=f"{classes[first]} | {classes[second]}",
                        suggestion="merge them, or add photos that show what tells them apart",
                        detail=f"{own[1]} of {own.sum()} photos of {classes[first]!r} are taken for "
                        f"{classes[second]!r}, {other[1]} of {other.sum()} the other way",
                    )
                )
    return sorted(issues, key=lambda issue: -(issue.score or 0.0))
