"""A model's last layer, learnt further from corrections, near to what it was.

It minimises the cross-entropy of calibrated logits on all photos, those that were corrected with a weight of their own,
plus a penalty on the squared distance from the old layer, in whitened embeddings (`training.head`): what corrections do
not speak of stays as it was, also what training photos that are not looked at any more had taught (as in L2-SP, Li,
Grandvalet and Davoine 2018, arXiv:1802.01483).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kramar.decisions.calibration import fit_temperature, log_loss
from kramar.models.linear import Linear
from kramar.training.head import SHRINKAGE, Part, join, whitening

Floats = npt.NDArray[np.floating]

# The inverse C of the penalty's strength is searched from here in such steps, and then corrections' weights.
_START, _STEP, _MOST_STEPS = 1e-2, 10**0.5, 4
_WEIGHTS = (1.0, 3.0)
# Parts into which corrections are divided, each judged by a layer that was not told its labels.
_FOLDS = 3
# A new class's bias before anything is learnt of it, below the mean: it is never the answer.
_UNKNOWN_BIAS = 12.0
_ITERATIONS, _TOLERANCE = 60, 1e-4


@dataclass(frozen=True, slots=True)
class Setting:
    """A way to learn: inverse strength C of the penalty, weight of a corrected photo; and its log loss in nats, half
    of it on validation photos, half on corrections that were held out."""

    regularisation: float
    weight: float
    log_loss: float


class Relearning:
    """Learns layers from the same photos by several settings."""

    def __init__(self, old: Linear, temperature: float, train: Part, corrected: Part, val: Part, classes: int) -> None:
        """``old`` has the first of ``classes``, its logits at ``temperature``; ``val`` has only known classes."""
        self._temperature = temperature
        self._old = _widened(old, temperature, classes)
        self._new = np.arange(classes) >= len(old.bias)
        self._train, self._corrected, self._val = train, corrected, val
        # Of both, since what hardly varies in training may vary in what it was unsure of, and would be blown up.
        both = join(train, corrected)
        self._mean = both.embeddings.mean(axis=0, dtype=np.float64)
        self._whiten = whitening(both, self._mean, SHRINKAGE)
        self._white = [self._whitened(part) for part in (train, corrected)]
        self._found: dict[tuple[float, float], npt.NDArray[np.float64]] = {}

    def settings(self, seed: int) -> list[Setting]:
        """Those that were tried, the best first."""
        folds = _folds(self._corrected.groups, seed)
        tried: dict[tuple[float, float], Setting] = {}

        def judged(c: float, weight: float) -> Setting:
            if (c, weight) not in tried:
                tried[c, weight] = Setting(c, weight, self._loss(c, weight, folds))
            return tried[c, weight]

        best = judged(_START, _WEIGHTS[0])
        for factor in (_STEP, 1 / _STEP):
            moved = False
            while len(tried) < _MOST_STEPS:
                setting = judged(best.regularisation * factor, best.weight)
                if setting.log_loss >= best.log_loss:
                    break
                best, moved = setting, True
            if moved:
                break
        for weight in _WEIGHTS[1:]:
            judged(best.regularisation, weight)
        return sorted(tried.values(), key=lambda one: one.log_loss)

    def layer(self, setting: Setting) -> Linear:
        """The layer that a setting learns from all photos; its logits are about as sure as the old one's."""
        everything = np.arange(len(self._corrected.truth))
        return self._raw(self._fit(setting.regularisation, setting.weight, everything))

    def _loss(self, c: float, weight: float, folds: Sequence[npt.NDArray[np.int64]]) -> float:
        """Of a setting: corrections are judged by layers that did not learn from them, at temperatures of validation
        photos."""
        everything = np.arange(len(self._corrected.truth))
        on_val, held_out = [], []
        for fold in folds or [everything[:0]]:
            layer = self._raw(self._fit(c, weight, np.setdiff1d(everything, fold)))
            logits = layer(self._val.embeddings)
            temperature = fit_temperature(logits, self._val.truth)
            on_val.append(log_loss(logits, self._val.truth, temperature))
            if len(fold):
                said = layer(self._corrected.embeddings[fold])
                held_out.append(log_loss(said, self._corrected.truth[fold], temperature) * len(fold))
        return float(np.mean(on_val)) + math.fsum(held_out) / max(len(everything), 1)

    def _fit(self, c: float, weight: float, places: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
        """What is added to the old layer, ``[D + 1, C]``, the bias last; from where the last such fit ended."""
        from scipy.optimize import minimize  # of the ``train`` extra

        white = np.concatenate([self._white[0], self._white[1][places]])
        truth = np.concatenate([self._train.truth, self._corrected.truth[places]])
        seen = np.concatenate([self._train.embeddings, self._corrected.embeddings[places]])
        weights = np.concatenate([np.ones(len(self._train.truth)), np.full(len(places), weight)]).astype(np.float32)
        before, rows = self._old(seen), np.arange(len(truth))
        shape = (white.shape[1] + 1, len(self._new))
        # A class that is new has no bias to stay near to.
        strength = np.ones(shape)
        strength[-1, self._new] = 0.0
        strength /= c

        def objective(flat: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
            added = flat.reshape(shape)
            logits = before + white @ added[:-1].astype(np.float32) + added[-1].astype(np.float32)
            logits -= logits.max(axis=1, keepdims=True)
            odds = np.exp(logits)
            total = odds.sum(axis=1)
            losses = np.log(total) - logits[rows, truth]
            pulls = odds / total[:, None]
            pulls[rows, truth] -= 1
            pulls *= weights[:, None]
            gradient = np.vstack([white.T @ pulls, pulls.sum(axis=0)]) + strength * added
            loss = float(losses.astype(np.float64) @ weights) + 0.5 * float((strength * added**2).sum())
            return loss, np.asarray(gradient, np.float64).ravel()

        key = (c, weight)
        start = self._found.get(key, np.zeros(shape)).ravel()
        options = {"maxiter": _ITERATIONS, "ftol": _TOLERANCE * 1e-2, "gtol": _TOLERANCE * len(truth)}
        found = minimize(objective, start, jac=True, method="L-BFGS-B", options=options)
        # Only as a start: where a fit ends hardly depends on it.
        self._found[key] = np.asarray(found.x, np.float64).reshape(shape)
        return self._found[key]

    def _raw(self, added: npt.NDArray[np.float64]) -> Linear:
        """The layer for raw embeddings, at the old one's temperature."""
        moved = self._whiten @ added[:-1]
        weights = self._old.weights + moved
        bias = self._old.bias + added[-1] - self._mean @ moved
        return Linear(
            np.asarray(self._temperature * weights, np.float32), np.asarray(self._temperature * bias, np.float32)
        )

    def _whitened(self, part: Part) -> npt.NDArray[np.float32]:
        centred = part.embeddings.astype(np.float32) - self._mean.astype(np.float32)
        return np.asarray(centred @ self._whiten.astype(np.float32), np.float32)


def _widened(old: Linear, temperature: float, classes: int) -> Linear:
    """``old`` at temperature 1, with further classes that are like the mean of all, and never the answer."""
    more = classes - len(old.bias)
    weights, bias = old.weights / temperature, old.bias / temperature
    weights = np.hstack([weights, np.repeat(weights.mean(axis=1, keepdims=True), more, axis=1)])
    bias = np.concatenate([bias, np.full(more, bias.mean() - _UNKNOWN_BIAS)])
    return Linear(np.asarray(weights, np.float32), np.asarray(bias, np.float32))


def _folds(groups: Sequence[str], seed: int) -> list[npt.NDArray[np.int64]]:
    """Places of the photos of each fold, whole groups in one; none where there are too few groups to hold any out."""
    names = sorted(set(groups))
    number = min(_FOLDS, len(names))
    if number < 2:
        return []
    drawn = np.random.default_rng(seed).permutation(len(names))
    fold_of = {names[place]: order % number for order, place in enumerate(drawn.tolist())}
    own = np.array([fold_of[group] for group in groups])
    return [np.flatnonzero(own == fold) for fold in range(number)]
