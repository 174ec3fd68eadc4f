"""How unlike all that a model learnt from a photo is: how unsure the model is of it, and how far its embedding lies.

Things near to the classes make a model unsure (Hendrycks and Gimpel 2017, arXiv:1610.02136); things that are unlike all
photos lie far from every class, by the Mahalanobis distance to the nearest class mean (Lee et al. 2018,
arXiv:1807.03888). Its covariance, that within classes, is a few directions beside one number for all others, in
embeddings whose numbers are scaled by their own spread, so that it is small in a file.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Indices = npt.NDArray[np.integer]

# Directions, at most and at least; what else is in a file for them, in bytes.
RANK, _FEWEST, _OVERHEAD = 64, 8, 3000
# How much of the mean variance the least one is taken for, of embeddings' numbers and of directions.
_LEAST_SPREAD, _LEAST_VARIANCE = 0.05, 0.03
# What a standard deviation of the distance weighs beside a probability.
_WEIGHT = 0.25


@dataclass(frozen=True, slots=True)
class Familiar:
    """What a model learnt from, in few numbers, for embeddings e of a probability p of their likeliest class.

    score = 1 - p + |x|^2 + sum(w z^2) + min over classes of (b_c + z m_c), where x = s (e - o) and z = x A.

    Attributes:
        centre: o, float32 ``[D]``; ``scale``, s, float32 ``[D]``.
        directions: A, float16 ``[D, R]``; ``spread``, w, float32 ``[R]``.
        centres: m, float32 ``[R, C]``; ``squares``, b, float32 ``[C]``.
    """

    centre: npt.NDArray[np.float32]
    scale: npt.NDArray[np.float32]
    directions: npt.NDArray[np.float16]
    spread: npt.NDArray[np.float32]
    centres: npt.NDArray[np.float32]
    squares: npt.NDArray[np.float32]

    def distances(self, embeddings: Floats) -> npt.NDArray[np.float32]:
        """From the nearest class, float32 ``[N]``, of embeddings ``[N, D]``."""
        x = (embeddings - self.centre) * self.scale
        z = x @ self.directions.astype(np.float32)
        nearest = (z @ self.centres + self.squares).min(axis=1)
        return np.asarray((x**2).sum(axis=1) + z**2 @ self.spread + nearest, np.float32)

    def __call__(self, embeddings: Floats, confidence: Floats) -> npt.NDArray[np.float32]:
        """Unknown scores, float32 ``[N]``, of embeddings ``[N, D]`` and probabilities ``[N]``."""
        return np.asarray(1 - confidence + self.distances(embeddings), np.float32)


def rank(width: int, classes: int, room: float) -> int:
    """How many directions of embeddings of ``width`` numbers ``room`` bytes hold; none where those are too few."""
    most = int(min(RANK, width, (room - _OVERHEAD - 8 * width - 4 * classes) / (2 * width + 4 * classes + 4)))
    return most if most >= _FEWEST else 0


def fit(embeddings: Floats, truth: Indices, directions: int, held: Floats) -> Familiar:
    """What embeddings ``[N, D]`` of training photos of the classes ``truth`` ``[N]`` say, in so many directions.

    Distances of photos that were not learnt from, ``held`` ``[M, D]``, give the weight of distances.
    """
    from scipy.linalg import eigh  # of the ``train`` extra, which the base does without

    centre = embeddings.mean(axis=0, dtype=np.float64)
    classes = np.unique(truth)
    means = np.stack([embeddings[truth == one].mean(axis=0) - centre for one in classes])
    within = embeddings - centre - means[np.searchsorted(classes, truth)]
    variance = (within**2).mean(axis=0)
    scale = 1 / np.sqrt(np.maximum(variance + _LEAST_SPREAD * variance.mean(), 1e-12))
    within, means = within * scale, means * scale
    covariance = within.T @ within / len(within)
    # The directions in which photos of all classes spread, turned so that photos of one class spread along them.
    own = means[np.searchsorted(classes, truth)]
    spread = covariance + own.T @ own / len(own)
    basis = eigh(spread, subset_by_index=[len(spread) - directions, len(spread) - 1])[1][:, ::-1]
    variances, turned = np.linalg.eigh(basis.T @ covariance @ basis)
    basis = basis @ turned
    width, total = len(basis), float(np.trace(covariance))
    others = max((total - variances.sum()) / max(width - directions, 1), _LEAST_VARIANCE * total / width, 1e-6)
    variances = np.maximum(variances + _LEAST_VARIANCE * variances.mean(), 1e-6)
    centres = means @ basis

    def weighed(weight: float) -> Familiar:
        # All distances are so many times as large if x is the square root of it times as large.
        root = np.sqrt(weight / others)
        return Familiar(
            centre=centre.astype(np.float32),
            scale=(root * scale).astype(np.float32),
            directions=basis.astype(np.float16),
            spread=(others / variances - 1).astype(np.float32),
            centres=(-2 * root * others * centres / variances).T.astype(np.float32),
            squares=(weight * (centres**2 / variances).sum(axis=1)).astype(np.float32),
        )

    return weighed(_WEIGHT / max(float(weighed(1.0).distances(held).std()), 1e-6))
