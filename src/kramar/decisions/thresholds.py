"""From which probability on an answer needs no person: so that of those, a promised share is right.

The promise is kept by Learn then Test (Angelopoulos et al. 2021, arXiv:2110.01052): that a threshold's answers are
wrong more often than the promise allows is a hypothesis, which photos that chose nothing else reject or not, by the
exact binomial bound. Thresholds are tested in an order that other photos have planned, the likeliest to hold first,
until one is not rejected (fixed sequence testing, section 3.2 there; the order as in Pareto Testing, Laufer-Goldshtein
et al. 2022, arXiv:2210.07913). So with 95% confidence, the promise holds for all that were.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from kramar.evaluation.metrics import Scored

Floats = npt.NDArray[np.floating]
Bools = npt.NDArray[np.bool_]

# The promise may be broken with this probability, over draws of the photos that test it.
LEVEL = 0.05
# With so much probability, `photos_for` photos are enough.
POWER = 0.8
# Thresholds that are tried, at most.
TRIED = 60
# Of a threshold: how many answers reach it, and how many of those are wrong.
Counted = Callable[[float], tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Answers:
    """A model's answers: the probability of each, ``[N]``, and whether it is right, ``[N]``."""

    confidence: Floats
    right: Bools

    @staticmethod
    def of(scored: Scored) -> Answers:
        """The first guesses."""
        return Answers(scored.confidence, scored.right)

    def at(self, threshold: float) -> tuple[int, int]:
        """How many answers are at least so probable, and how many of those are wrong."""
        sure = self.confidence >= threshold
        return int(sure.sum()), int((sure & ~self.right).sum())


def tail(wrong: int, answers: int, share: float) -> float:
    """The probability of at most ``wrong`` wrong answers, where each is wrong with probability ``share``, exactly.

    If it is at most the level, a larger share of wrong answers is rejected. 1 without answers.
    """
    if wrong >= answers or share <= 0:
        return 1.0
    if share >= 1:
        return 0.0
    count = np.arange(wrong + 1, dtype=np.float64)
    # log C(n, k) is the sum of log C(n, j) / C(n, j - 1) = log (n - j + 1) / j over j up to k.
    ways = np.concatenate([[0.0], np.cumsum(np.log((answers - count[1:] + 1) / count[1:]))])
    logs = ways + count * math.log(share) + (answers - count) * math.log1p(-share)
    largest = logs.max()
    return min(1.0, float(np.exp(largest) * np.exp(logs - largest).sum()))


def fewest(precision: float, wrong: int = 0, level: float = LEVEL) -> int:
    """How many answers, ``wrong`` of them wrong, show that at least a share of ``precision`` is right.

    At 98% that is 149 answers that are all right, or 236 with one that is not.
    """
    answers = wrong + 1
    while tail(wrong, answers, 1 - precision) > level:
        answers = max(answers + 1, math.ceil(answers * 1.01))
    while answers > wrong + 1 and tail(wrong, answers - 1, 1 - precision) <= level:
        answers -= 1
    return answers


def candidates(confidence: Floats) -> list[float]:
    """Thresholds to try: the probabilities themselves, or so many of their quantiles, the lowest first.

    They are rounded down to a millionth: a model file lists them.
    """
    values = np.unique(np.floor(confidence.astype(np.float64) * 1e6) / 1e6)
    if len(values) > TRIED:
        values = values[np.linspace(0, len(values) - 1, TRIED).round().astype(int)]
    return [float(value) for value in values]


def plan(counted: Counted, tried: Sequence[float], precision: float) -> list[float]:
    """The thresholds in the order in which to test them, by photos that test none: the likeliest to hold first.

    What counts is how many standard errors the share of wrong answers lies below what is allowed; one answer more
    counts as wrong, without which few answers that are all right would look best. Those without answers are left out.
    """
    allowed = 1 - precision
    ranked: list[tuple[float, float]] = []
    for threshold in tried:
        answers, wrong = counted(threshold)
        if answers:
            margin = (allowed - (wrong + 1) / (answers + 1)) * math.sqrt(answers / (allowed * precision))
            ranked.append((-margin, threshold))
    return [threshold for _, threshold in sorted(ranked)]


def certify(counted: Counted, order: Sequence[float], precision: float, level: float = LEVEL) -> float | None:
    """The lowest of the thresholds that are shown to keep the promise, tested in their ``order`` up to the first that
    is not.

    What is ``counted`` are answers that are independent of each other, and that chose neither thresholds nor order.
    None where nothing is shown.
    """
    shown: list[float] = []
    for threshold in order:
        answers, wrong = counted(threshold)
        if tail(wrong, answers, 1 - precision) > level:
            break
        shown.append(threshold)
    return min(shown, default=None)


def estimated(counted: Counted, tried: Sequence[float], precision: float, level: float = LEVEL) -> float | None:
    """The lowest threshold at which the same bound holds, whatever chose it; None where there is none.

    An estimate: each threshold is tested by itself, by photos that may have chosen the model too. Of shares alone the
    lowest that looks good is often good by chance (in `make demo`, 96.5% of 8,447 were right instead of 98%).
    """
    for threshold in sorted(tried):
        answers, wrong = counted(threshold)
        if tail(wrong, answers, 1 - precision) <= level:
            return threshold
    return None


def photos_for(
    counted: Counted, tried: Sequence[float], total: int, precision: float, level: float = LEVEL
) -> int | None:
    """About how many labelled photos would show, with a probability of 80%, that some threshold keeps the promise.

    By the normal approximation, at the threshold that needs the fewest; ``total`` photos are ``counted``. At least as
    many as it takes where all answers are right. None where no threshold looks better than what is promised.
    """
    allowed, normal = 1 - precision, NormalDist()
    needed: list[float] = []
    for threshold in tried:
        answers, wrong = counted(threshold)
        share = (wrong + 1) / (answers + 1)
        if answers and share < allowed:
            spread = normal.inv_cdf(1 - level) * math.sqrt(allowed * precision)
            spread += normal.inv_cdf(POWER) * math.sqrt(share * (1 - share))
            sure = max(float(fewest(precision, level=level)), (spread / (allowed - share)) ** 2)
            needed.append(sure * total / answers)
    return math.ceil(min(needed)) if needed else None
