"""Metrics with 95% intervals.

Wilson's interval for a plain proportion (Wilson 1927), a percentile bootstrap by photo group for the rest
(Efron & Tibshirani 1993, chapter 13), moved by twice its bias: resampling
loses rare classes and inflates calibration error, once in the draws and once in the figure that they are drawn from.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kramar.records import CalibrationBin, Estimate, Metrics

Z95 = 1.959963984540054
BINS = 15
RESAMPLES = 1000
# A probability of zero would make one photo's loss infinite.
SMALLEST = 1e-12
_CHUNK = 2_000_000

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Scored:
    """A model's answers on labelled photos.

    Attributes:
        probabilities: ``[N, C]``, calibrated, float.
        truth: class index of each photo, ``[N]``; -1 where the model does not know the label.
        labels: the true labels, N of them (they name the classes that the model does not know).
        classes: the model's labels, C of them.
        groups: N keys; photos that share one are resampled together.
    """

    probabilities: npt.NDArray[np.floating]
    truth: npt.NDArray[np.integer]
    labels: Sequence[str]
    classes: Sequence[str]
    groups: Sequence[str]

    @staticmethod
    def of(
        probabilities: npt.NDArray[np.floating],
        labels: Sequence[str],
        classes: Sequence[str],
        groups: Sequence[str],
    ) -> Scored:
        """Answers on photos with these labels."""
        index = {label: i for i, label in enumerate(classes)}
        truth = np.array([index.get(label, -1) for label in labels], dtype=np.int64)
        return Scored(probabilities, truth, labels, classes, groups)

    @property
    def predicted(self) -> npt.NDArray[np.int64]:
        """Index of the most probable class of each photo, ``[N]``."""
        return np.asarray(self.probabilities.argmax(axis=1))

    @property
    def confidence(self) -> Array:
        """Probability of that class, ``[N]``."""
        return np.asarray(self.probabilities.max(axis=1), dtype=np.float64)

    @property
    def right(self) -> npt.NDArray[np.bool_]:
        """Whether that class is the true one, ``[N]``."""
        return np.asarray(self.predicted == self.truth)


def wilson(successes: float, n: int) -> Estimate:
    """A proportion with Wilson's score interval. ``n`` must be positive."""
    share = successes / n
    centre = (share + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
    half = Z95 / (1 + Z95**2 / n) * math.sqrt(share * (1 - share) / n + Z95**2 / (4 * n**2))
    # Rounding must not leave a share of 0 or 1 a hair outside its own interval.
    low, high = min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half))
    return Estimate(value=share, low=low, high=high, n=n)


def score(scored: Scored, seed: int = 0) -> Metrics:
    """All metrics of ``scored``, which needs at least one photo. ``seed`` draws the bootstrap."""
    n = len(scored.truth)
    k = min(5, len(scored.classes))
    top = np.argpartition(-scored.probabilities, k - 1, axis=1)[:, :k]
    in_top = (top == scored.truth[:, None]).any(axis=1)
    figures = _Figures(scored)
    resampled = np.concatenate([figures(weights) for weights in _resamples(scored.groups, seed)])
    values = figures(np.ones((1, n)))[0]
    balanced, f1, loss, calibration = (
        _interval(float(value), draws, n, most)
        for value, draws, most in zip(values, resampled.T, (1.0, 1.0, math.inf, 1.0), strict=True)
    )
    return Metrics(
        accuracy=wilson(int(scored.right.sum()), n),
        top5=wilson(int(in_top.sum()), n),
        balanced_accuracy=balanced,
        macro_f1=f1,
        log_loss=loss,
        calibration_error=calibration,
    )


def calibration_bins(scored: Scored) -> list[CalibrationBin]:
    """Top-label confidence against accuracy in 15 bins of equally many photos, least confident first."""
    confidence, right = scored.confidence, scored.right
    return [
        CalibrationBin(confidence=float(confidence[b].mean()), accuracy=float(right[b].mean()), n=len(b))
        for b in _equal_mass(confidence)
    ]


def _equal_mass(confidence: Array) -> list[npt.NDArray[np.intp]]:
    return [b for b in np.array_split(np.argsort(confidence, kind="stable"), BINS) if len(b)]


class _SumByKey:
    """Sums of photo weights over photos that share a key, in one pass over the photos."""

    def __init__(self, keys: npt.NDArray[np.integer]) -> None:
        self._order = np.argsort(keys, kind="stable")
        self.keys, self._starts = np.unique(keys[self._order], return_index=True)

    def __call__(self, weights: Array) -> Array:
        """``[R, K]`` sums, in order of the distinct keys, for ``[R, N]`` weights."""
        return np.asarray(np.add.reduceat(weights[:, self._order], self._starts, axis=1))


class _Figures:
    """Balanced accuracy, macro-F1, log loss and calibration error under photo weights.

    Every figure is a function of weighted sums, so that a thousand resamples cost a thousand sums.
    """

    def __init__(self, scored: Scored) -> None:
        n = len(scored.truth)
        present = sorted(set(scored.labels))
        place = {label: i for i, label in enumerate(present)}
        # A predicted class that no photo here has goes to one key past the end, which no figure reads.
        predicted = np.array([place.get(scored.classes[p], len(present)) for p in scored.predicted])
        self._by_truth = _SumByKey(np.array([place[label] for label in scored.labels]))
        self._by_predicted = _SumByKey(predicted)
        self._classes = len(present)
        bins = np.zeros(n, dtype=np.int64)
        for number, members in enumerate(_equal_mass(scored.confidence)):
            bins[members] = number
        self._by_bin = _SumByKey(bins)
        self._right = scored.right.astype(np.float64)
        self._gap = self._right - scored.confidence
        known = np.where(scored.truth >= 0, scored.truth, 0)
        likelihood = scored.probabilities[np.arange(n), known].astype(np.float64) * (scored.truth >= 0)
        self._loss = -np.log(np.maximum(likelihood, SMALLEST))

    def __call__(self, weights: Array) -> Array:
        """The four figures, ``[R, 4]``, under each row of photo weights, ``[R, N]``."""
        total = weights.sum(axis=1)
        photos = self._by_truth(weights)
        hits = self._by_truth(weights * self._right)
        called = np.zeros((len(weights), self._classes + 1))
        called[:, self._by_predicted.keys] = self._by_predicted(weights)
        present = photos > 0
        count = present.sum(axis=1)
        recall = np.divide(hits, photos, out=np.zeros_like(hits), where=present)
        f1 = np.divide(2 * hits, photos + called[:, :-1], out=np.zeros_like(hits), where=present)
        gaps = np.abs(self._by_bin(weights * self._gap)).sum(axis=1)
        return np.stack([recall.sum(1) / count, f1.sum(1) / count, weights @ self._loss / total, gaps / total], axis=1)


def _resamples(groups: Sequence[str], seed: int) -> Iterator[Array]:
    """Photo weights of the bootstrap's draws, whole groups at a time, in chunks of bounded memory."""
    _, group = np.unique(np.asarray(groups, dtype=object).astype(str), return_inverse=True)
    count = int(group.max()) + 1
    generator = np.random.default_rng(seed)
    rows = max(1, _CHUNK // len(group))
    for start in range(0, RESAMPLES, rows):
        draws = generator.multinomial(count, np.full(count, 1 / count), size=min(rows, RESAMPLES - start))
        yield draws[:, group].astype(np.float64)


def _interval(value: float, draws: Array, n: int, most: float) -> Estimate:
    shift = float(draws.mean()) - value
    low, high = np.quantile(draws, [0.025, 0.975]) - 2 * shift
    return Estimate(value=value, low=max(0.0, min(float(low), value)), high=min(most, max(float(high), value)), n=n)
