"""95% intervals that stay honest where a bootstrap sees nothing: no mistakes, few photos a class, few groups.

A bootstrap redraws what was seen. Photos that are all right redraw as photos that are all right, however few; a
class with one photo never varies; five groups vary less than their population by a third. Three remedies, each
measured in ``benchmarks/coverage.py``: expanded percentiles, Wilson's interval at the effective number of photos,
and, for the calibration error, a bootstrap test that is inverted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Interval = tuple[float, float]

Z95 = 1.959963984540054
# Coefficients of Student's 97.5% quantile in powers of 1 / degrees of freedom (Abramowitz & Stegun 26.7.5).
_STUDENT = (Z95, 2.37227, 2.82250, 2.55585)


def score_interval(share: float, n: float) -> Interval:
    """Wilson's score interval (Wilson 1927) of a share of ``n`` photos; ``n`` is positive and need not be whole."""
    centre = (share + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
    half = Z95 / (1 + Z95**2 / n) * math.sqrt(share * (1 - share) / n + Z95**2 / (4 * n**2))
    # Rounding must not leave a share of 0 or 1 a hair outside its own interval.
    return min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half))


@dataclass(frozen=True, slots=True)
class Evidence:
    """How many independent photos the answers are worth (Kish 1965: n over the design effect).

    Attributes:
        photos: for a mean over photos.
        by_class: for a mean over classes of a mean over each class's photos.
        correlation: of being right among photos of one group, in [0, 1].
    """

    photos: float
    by_class: float
    correlation: float

    @staticmethod
    def of(right: Array, truth: npt.NDArray[np.integer], groups: npt.NDArray[np.integer]) -> Evidence:
        """The evidence in ``right`` (0 or 1), by class 0 to C - 1 (each present) and group, all ``[N]``.

        What cannot be measured is taken from the most cautious case and given the weight of one group with a mistake:
        photos of one group are then one photo, and classes are alike. The variance that a class with few groups
        cannot show, one part in its number of groups, is borrowed from all classes: a model of the population
        instead of a plain variance, which is what Franco et al. (2019, J. Survey Stat. Methodol. 7) found Wilson's
        interval to need in clustered samples. The variance of pooled classes is at least their mean variance.
        """
        n, classes = len(right), int(truth.max()) + 1
        sizes, hits = np.bincount(groups), np.bincount(groups, right)
        # Groups that show the rarer of the two outcomes: only they tell how outcomes cluster.
        shown = min(int((hits > 0).sum()), int((hits < sizes).sum()))
        share = float(right.mean())
        pairs, spread = float((sizes * (sizes - 1)).sum()), share * (1 - share)
        correlation = 1.0
        if pairs and spread:
            shared = float(((hits - share * sizes) ** 2).sum()) - n * spread
            correlation = (shown * min(1.0, max(0.0, shared / (pairs * spread))) + 1) / (shown + 1)

        def variance(count: npt.NDArray[np.integer]) -> Array:
            """Of the sum over ``count`` photos of one group, in variances of one photo."""
            return np.asarray(count * (1 + correlation * (count - 1)))

        keys, counts = np.unique(groups * classes + truth, return_counts=True)
        photos = np.bincount(truth)
        unit = np.bincount(keys % classes, variance(counts)) / photos**2
        design = float(unit.sum()) / classes**2
        recall = np.bincount(truth, right) / photos
        balanced = float(recall.mean())
        measured = 0.0
        if shown:
            linear = np.bincount(groups, (right - recall[truth]) / photos[truth]) / classes
            borrowed = float((unit / np.bincount(keys % classes)).sum()) / classes**2
            measured = float((linear**2).sum()) / (balanced * (1 - balanced)) + borrowed
        return Evidence(
            photos=n**2 / float(variance(sizes).sum()),
            by_class=(shown + 1) / (shown * measured + design),
            correlation=correlation,
        )


def percentiles(value: float, draws: Array, groups: int) -> Interval:
    """The bootstrap's percentiles, expanded for few ``groups`` and moved by twice the bias.

    Expanded: Hesterberg (2015, The American Statistician 69), so that a mean gets Student's interval. Moved: what
    biases the draws (F1 is not linear in its counts) has biased the figure that they are drawn from as well.
    """
    freedom = max(1, groups - 1)
    student = sum(c / freedom**power for power, c in enumerate(_STUDENT))
    tail = NormalDist().cdf(-student * math.sqrt(groups / freedom))
    low, high = np.quantile(draws, [tail, 1 - tail]) - 2 * (float(draws.mean()) - value)
    return float(low), float(high)


def absolute_sum(gaps: Array, noise: Array) -> Interval:
    """An interval for the sum of the absolute true gaps, of which ``gaps`` ``[B]`` were seen.

    ``noise`` ``[R, B]`` are draws of the seen minus the true gaps. The plain sum is too large, since noise does not
    cancel in absolute values, and most so where the true gaps are small; no fixed correction suits all. So a
    bootstrap test is inverted (Carpenter 1999, JRSS B 61): the interval holds the sums at which what was seen is
    within the middle 95% of what would be seen, were every true gap the seen one less (or more) the same number
    of standard deviations. Less, since gaps that are mostly noise vanish then while large ones stay (soft
    thresholding; Donoho 1995). Shrinking all by one factor held the truth in 42% of draws where one bin alone was off.
    """
    size, spread = np.abs(gaps), noise.std(axis=0)
    signs = np.where(gaps < 0, -1.0, 1.0)
    value, noisy = float(size.sum()), spread > 0
    if not noisy.any():
        return value, value
    least = -float((size[noisy] / spread[noisy]).max())
    most = 1 + float(np.quantile(np.abs(noise).sum(axis=1), 0.975) / spread.sum())

    def bound(level: float) -> float:
        def true(shift: float) -> Array:
            return np.asarray(np.maximum(0.0, size + shift * spread))

        def seen(shift: float) -> float:
            return float(np.quantile(np.abs(signs * true(shift) + noise).sum(axis=1), level))

        low, high = least, most
        if value <= seen(low):
            return float(true(low).sum())
        while high - low > 1e-3:
            middle = (low + high) / 2
            low, high = (middle, high) if seen(middle) < value else (low, middle)
        return float(true(high).sum())

    return bound(0.975), bound(0.025)


def hull(value: float, *intervals: Interval, most: float = math.inf) -> Interval:
    """The smallest interval within [0, ``most``] that holds ``value`` and all ``intervals``."""
    low = min(value, *(low for low, _ in intervals))
    high = max(value, *(high for _, high in intervals))
    return max(0.0, low), min(most, high)
