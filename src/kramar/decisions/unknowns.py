"""How unlike all that a model learnt from a photo is: how unsure the model is of it, and how much of it is new.

Things near to the classes make a model unsure (Hendrycks and Gimpel 2017, arXiv:1610.02136). Of things that are unlike
all photos, more of the embedding lies outside the directions in which photos that were learnt from spread (the residual
of Wang et al. 2022, ViM, arXiv:2203.10807, as a share of the whole: null space analysis, Cook et al. 2020, in
Outlier Detection through Null Space Analysis of Neural Networks). Only a share that is rare among known photos counts:
below, it says nothing of classes that are like known ones, of which doubt says more.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Indices = npt.NDArray[np.integer]

# Directions, at most and at least; what else is in a file for them, in bytes.
RANK, _FEWEST, _OVERHEAD = 128, 16, 3000
# How much of the mean variance the least one of embeddings' numbers is taken for.
_LEAST_SPREAD = 0.05
# The share of known photos whose embeddings count as nothing new.
_KNOWN = 0.98
# What a standard deviation of the share that is new weighs beside a probability, and the least that one is taken for.
_WEIGHT, _LEAST_DEVIATION = 2.0, 1e-3
# What an embedding that is the mean of all, and so has no direction, is divided by.
LEAST_LENGTH = 1e-6


@dataclass(frozen=True, slots=True)
class Familiar:
    """What a model learnt from, in few numbers, for embeddings e of a probability p of their likeliest class.

    score = 1 - p + max(0, gain (1 - |x A|^2 / |x|^2) - rare), where x = s (e - o).

    Attributes:
        centre: o, float32 ``[D]``; ``scale``, s, float32 ``[D]``.
        directions: A, float16 ``[D, R]``.
        gain, rare: float32 ``[]``.
    """

    centre: npt.NDArray[np.float32]
    scale: npt.NDArray[np.float32]
    directions: npt.NDArray[np.float16]
    gain: npt.NDArray[np.float32]
    rare: npt.NDArray[np.float32]

    def new(self, embeddings: Floats) -> npt.NDArray[np.float32]:
        """The share of embeddings ``[N, D]`` that lies outside the directions, float32 ``[N]``."""
        x = (embeddings - self.centre) * self.scale
        inside = ((x @ self.directions.astype(np.float32)) ** 2).sum(axis=1)
        return np.asarray(1 - inside / np.maximum((x**2).sum(axis=1), LEAST_LENGTH), np.float32)

    def __call__(self, embeddings: Floats, confidence: Floats) -> npt.NDArray[np.float32]:
        """Unknown scores, float32 ``[N]``, of embeddings ``[N, D]`` and probabilities ``[N]``."""
        return np.asarray(1 - confidence + np.maximum(self.gain * self.new(embeddings) - self.rare, 0), np.float32)


def rank(width: int, room: float) -> int:
    """How many directions of embeddings of ``width`` numbers ``room`` bytes hold; none where those are too few."""
    most = int(min(RANK, width, (room - _OVERHEAD - 8 * width) / (2 * width)))
    return most if most >= min(_FEWEST, width) else 0


def fit(embeddings: Floats, truth: Indices, directions: int, held: Floats) -> Familiar:
    """What embeddings ``[N, D]`` of training photos of the classes ``truth`` ``[N]`` say, in so many directions.

    Photos that were not learnt from, ``held`` ``[M, D]``, say how much that is new is usual, and how much it varies.
    """
    from scipy.linalg import eigh  # of the ``train`` extra, which the base does without

    centre = embeddings.mean(axis=0, dtype=np.float64)
    classes = np.unique(truth)
    means = np.stack([embeddings[truth == one].mean(axis=0) for one in classes])
    variance = ((embeddings - means[np.searchsorted(classes, truth)]) ** 2).mean(axis=0)
    # By their spread within classes: in a number that varies little there, a little is much.
    scale = 1 / np.sqrt(np.maximum(variance + _LEAST_SPREAD * variance.mean(), 1e-12))
    x = (embeddings - centre) * scale
    width = x.shape[1]
    basis = eigh(x.T @ x / len(x), subset_by_index=[width - directions, width - 1])[1]
    found = Familiar(
        centre=centre.astype(np.float32),
        scale=scale.astype(np.float32),
        directions=basis.astype(np.float16),
        gain=np.array(1, np.float32),
        rare=np.array(0, np.float32),
    )
    new = found.new(held)
    gain = _WEIGHT / max(float(new.std()), _LEAST_DEVIATION)
    rare = gain * float(np.quantile(new, _KNOWN))
    return replace(found, gain=np.array(gain, np.float32), rare=np.array(rare, np.float32))
