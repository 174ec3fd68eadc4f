"""Metrics with 95% intervals.

Wilson's interval for a plain proportion (Wilson 1927); for the rest a percentile bootstrap by photo group (Efron &
Tibshirani 1993, chapter 13), never narrower than what the number of photos, classes and groups allows
(``intervals.py``). ``benchmarks/coverage.py`` measures how often each holds the truth, which is the population's:

- balanced accuracy and macro-F1: of the classes that the scored photos have, since no photo tells of the others;
- calibration error: with as many bins of equal mass. The value is the plug-in, which noise inflates (by 0.04 for a
  calibrated model of 70% accuracy at 600 photos; Bröcker 2012, Roelofs et al. 2022), so the interval lies mostly
  below it. Within a bin, deviations of opposite sign cancel: without bins it is at least as large (Kumar et al. 2019).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kramar.evaluation.intervals import Evidence, Interval, absolute_sum, hull, percentiles, score_interval
from kramar.records import CalibrationBin, Estimate, Metrics

BINS = 15
# A bin's share of right answers says little on fewer photos: with fewer than 150, there are fewer bins.
PHOTOS_A_BIN = 10
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
        unknown: how unlike all that the model learnt from each photo is, ``[N]``; None where it does not tell.
    """

    probabilities: npt.NDArray[np.floating]
    truth: npt.NDArray[np.integer]
    labels: Sequence[str]
    classes: Sequence[str]
    groups: Sequence[str]
    unknown: npt.NDArray[np.floating] | None = None

    @staticmethod
    def of(
        probabilities: npt.NDArray[np.floating],
        labels: Sequence[str],
        classes: Sequence[str],
        groups: Sequence[str],
        unknown: npt.NDArray[np.floating] | None = None,
    ) -> Scored:
        """Answers on photos with these labels."""
        index = {label: i for i, label in enumerate(classes)}
        truth = np.array([index.get(label, -1) for label in labels], dtype=np.int64)
        return Scored(probabilities, truth, labels, classes, groups, unknown)

    def some(self, places: npt.NDArray[np.integer]) -> Scored:
        """The answers on the photos at ``places``."""
        return Scored(
            self.probabilities[places],
            self.truth[places],
            [self.labels[place] for place in places.tolist()],
            self.classes,
            [self.groups[place] for place in places.tolist()],
            None if self.unknown is None else self.unknown[places],
        )

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
    low, high = score_interval(successes / n, n)
    return Estimate(value=successes / n, low=low, high=high, n=n)


def score(scored: Scored, seed: int = 0) -> Metrics:
    """All metrics of ``scored``, which needs at least one photo. ``seed`` draws the bootstrap."""
    n = len(scored.truth)
    k = min(5, len(scored.classes))
    top = np.argpartition(-scored.probabilities, k - 1, axis=1)[:, :k]
    in_top = (top == scored.truth[:, None]).any(axis=1)
    figures = _Figures(scored)
    _, groups = np.unique(np.asarray(scored.groups, dtype=object).astype(str), return_inverse=True)
    evidence = Evidence.of(figures.right, figures.place, groups)
    generator = np.random.default_rng(seed)
    draws = np.concatenate([figures(weights) for weights in _resamples(groups, generator)])
    seen = figures(np.ones((1, n)))[0]
    number = int(groups.max()) + 1

    def estimate(value: float, low_high: Interval) -> Estimate:
        return Estimate(value=value, low=low_high[0], high=low_high[1], n=n)

    def by_class(column: int) -> Estimate:
        value, drawn = float(seen[column]), draws[:, column]
        # Moved like the percentiles.
        unbiased = min(1.0, max(0.0, value - 2 * (float(drawn.mean()) - value)))
        floors = (score_interval(share, evidence.by_class) for share in (value, unbiased))
        return estimate(value, hull(value, percentiles(value, drawn, number), *floors, most=1.0))

    loss = float(seen[2])
    gaps = seen[3:]
    return Metrics(
        accuracy=wilson(int(scored.right.sum()), n),
        top5=wilson(int(in_top.sum()), n),
        balanced_accuracy=by_class(0),
        macro_f1=by_class(1),
        log_loss=estimate(loss, hull(loss, percentiles(loss, draws[:, 2], number), figures.losses(evidence, groups))),
        calibration_error=estimate(
            float(np.abs(gaps).sum()), figures.miscalibration(gaps, draws[:, 3:], evidence, generator)
        ),
    )


def calibration_bins(scored: Scored) -> list[CalibrationBin]:
    """Top-label confidence against accuracy in bins of equally many photos, least confident first.

    15 bins, or as many as get 10 photos each.
    """
    confidence, right = scored.confidence, scored.right
    return [
        CalibrationBin(confidence=float(confidence[b].mean()), accuracy=float(right[b].mean()), n=len(b))
        for b in _equal_mass(confidence)
    ]


def _equal_mass(confidence: Array) -> list[npt.NDArray[np.intp]]:
    bins = max(1, min(BINS, len(confidence) // PHOTOS_A_BIN))
    return np.array_split(np.argsort(confidence, kind="stable"), bins)


class _SumByKey:
    """Sums of photo weights over photos that share a key, in one pass over the photos."""

    def __init__(self, keys: npt.NDArray[np.integer]) -> None:
        self._order = np.argsort(keys, kind="stable")
        self.keys, self._starts = np.unique(keys[self._order], return_index=True)

    def __call__(self, weights: Array) -> Array:
        """``[R, K]`` sums, in order of the distinct keys, for ``[R, N]`` weights."""
        return np.asarray(np.add.reduceat(weights[:, self._order], self._starts, axis=1))


class _Figures:
    """Balanced accuracy, macro-F1, log loss and the bins' calibration gaps under photo weights.

    Every figure is a function of weighted sums, so that a thousand resamples cost a thousand sums.

    Attributes:
        right: 1 where the answer is the true class, else 0, ``[N]``.
        place: index of each photo's label among the labels here, ``[N]``.
    """

    def __init__(self, scored: Scored) -> None:
        n = len(scored.truth)
        present = sorted(set(scored.labels))
        place = {label: i for i, label in enumerate(present)}
        self.place = np.array([place[label] for label in scored.labels])
        # A predicted class that no photo here has goes to one key past the end, which no figure reads.
        predicted = np.array([place.get(scored.classes[p], len(present)) for p in scored.predicted])
        self._by_truth = _SumByKey(self.place)
        self._by_predicted = _SumByKey(predicted)
        self._classes = len(present)
        hits, photos, called = (
            np.bincount(which, minlength=self._classes + 1)[:-1]
            for which in (self.place[scored.right], self.place, predicted)
        )
        self._recall, self._f1 = hits / photos, 2 * hits / (photos + called)
        self._bin = np.zeros(n, dtype=np.int64)
        for number, members in enumerate(_equal_mass(scored.confidence)):
            self._bin[members] = number
        self._by_bin = _SumByKey(self._bin)
        self.right = scored.right.astype(np.float64)
        self._confidence = scored.confidence
        self._gap = self.right - self._confidence
        known = np.where(scored.truth >= 0, scored.truth, 0)
        likelihood = scored.probabilities[np.arange(n), known].astype(np.float64) * (scored.truth >= 0)
        # float32 may sum to a hair more than 1, which is no gain.
        self._loss = -np.log(np.clip(likelihood, SMALLEST, 1.0))
        self._slip = _loss_of_a_slip(scored)

    def __call__(self, weights: Array) -> Array:
        """The three figures and B signed gaps, ``[R, 3 + B]``, under each row of photo weights, ``[R, N]``.

        The calibration error is the sum of the gaps' absolute values. A class whose photos all weigh nothing keeps
        its figure: without it, the draws would be of fewer and easier classes.
        """
        total = weights.sum(axis=1)
        photos = self._by_truth(weights)
        hits = self._by_truth(weights * self.right)
        called = np.zeros((len(weights), self._classes + 1))
        called[:, self._by_predicted.keys] = self._by_predicted(weights)
        present = photos > 0
        recall = np.divide(hits, photos, out=np.tile(self._recall, (len(hits), 1)), where=present)
        f1 = np.divide(2 * hits, photos + called[:, :-1], out=np.tile(self._f1, (len(hits), 1)), where=present)
        means = np.stack([recall.mean(axis=1), f1.mean(axis=1), weights @ self._loss / total], axis=1)
        return np.hstack([means, self._by_bin(weights * self._gap) / total[:, None]])

    def losses(self, evidence: Evidence, groups: npt.NDArray[np.integer]) -> Interval:
        """The log loss at the fewest and the most mistakes that Wilson's interval allows.

        A mistake costs what the mistakes here cost, with one of a typical right photo among them: what it would have
        cost in expectation, had the truth been another class, drawn by the model's own probabilities. Without
        that, photos that are all right would show no loss to come.
        """
        wrong = self.right == 0
        fewest, most = score_interval(float(wrong.mean()), evidence.photos)
        mistakes = len(np.unique(groups[wrong]))
        cost_right = float((-np.log(np.minimum(self._confidence, 1.0)) if wrong.all() else self._loss[~wrong]).mean())
        slip = float((self._slip if wrong.all() else self._slip[~wrong]).mean())
        cost_wrong = (mistakes * float(self._loss[wrong].mean()) + slip) / (mistakes + 1) if mistakes else slip
        low, high = (cost_right + share * (cost_wrong - cost_right) for share in (fewest, most))
        return min(low, high), max(low, high)

    def miscalibration(self, gaps: Array, draws: Array, evidence: Evidence, generator: np.random.Generator) -> Interval:
        """The interval of the calibration error, from its gaps ``[B]`` and their draws ``[R, B]``.

        A bin whose photos are all right does not vary in the draws. Each bin's noise is raised to the binomial one
        of its share of right answers, with two more photos of its confidence; and since no bins can show less
        than all photos do, accuracy minus mean confidence is allowed all that Wilson's interval does.
        """
        n = len(self.right)
        photos = np.bincount(self._bin)
        confidence = np.bincount(self._bin, self._confidence) / photos
        share = (np.bincount(self._bin, self.right) + 2 * confidence) / (photos + 2)
        binomial = share * (1 - share) * photos / n / evidence.photos
        missing = np.sqrt(np.maximum(0.0, binomial - draws.var(axis=0)))
        noise = draws - gaps + missing * generator.standard_normal(draws.shape)
        mean = float(self._confidence.mean())
        allowed = max(abs(bound - mean) for bound in score_interval(float(self.right.mean()), evidence.photos))
        low, high = absolute_sum(gaps, noise)
        return hull(float(np.abs(gaps).sum()), (low, max(high, allowed)), most=1.0)


def _loss_of_a_slip(scored: Scored) -> Array:
    """The expected loss of each photo, were its answer wrong, ``[N]``: over the other classes, by their probability."""
    slips = np.empty(len(scored.truth))
    rows = max(1, _CHUNK // len(scored.classes))
    for start in range(0, len(slips), rows):
        others = scored.probabilities[start : start + rows].astype(np.float64)
        others[np.arange(len(others)), scored.predicted[start : start + rows]] = 0.0
        cost = -np.log(np.maximum(others, SMALLEST))
        total = others.sum(axis=1)
        slips[start : start + rows] = np.where(
            total > SMALLEST, (others * cost).sum(axis=1) / np.maximum(total, SMALLEST), -math.log(SMALLEST)
        )
    return slips


def _resamples(groups: npt.NDArray[np.integer], generator: np.random.Generator) -> Iterator[Array]:
    """Photo weights of the bootstrap's draws, whole groups at a time, in chunks of bounded memory."""
    count = int(groups.max()) + 1
    rows = max(1, _CHUNK // len(groups))
    for start in range(0, RESAMPLES, rows):
        draws = generator.multinomial(count, np.full(count, 1 / count), size=min(rows, RESAMPLES - start))
        yield draws[:, groups].astype(np.float64)
