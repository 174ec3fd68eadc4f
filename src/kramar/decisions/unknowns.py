"""How unlike all that a model learnt from a photo is, by its embedding: things that no class holds lie far from all.

FORMULA
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Indices = npt.NDArray[np.integer]


# Directions, at most and at least; what else is in a file for them, in bytes; and how far the covariance within
# classes is drawn to a sphere.
RANK, _FEWEST, _OVERHEAD, _SHRINKAGE = 64, 8, 2000, 0.1


@dataclass(frozen=True, slots=True)
class Familiar:
    """What a model learnt from, in few numbers: score = sum(w z^2) + min over classes of (b_c + z m_c), z = e A + a.

    Attributes:
        directions: A, float16 ``[D, R]``; ``offset``, a, float32 ``[R]``.
        spread: w, float32 ``[R]``.
        centres: m, float16 ``[R, C]``; ``squares``, b, float32 ``[C]``.
    """

    directions: npt.NDArray[np.float16]
    offset: npt.NDArray[np.float32]
    spread: npt.NDArray[np.float32]
    centres: npt.NDArray[np.float16]
    squares: npt.NDArray[np.float32]

    def __call__(self, embeddings: Floats) -> npt.NDArray[np.float32]:
        """Unknown scores, float32 ``[N]``, of embeddings ``[N, D]``: the higher, the less like anything learnt."""
        z = embeddings.astype(np.float32) @ self.directions.astype(np.float32) + self.offset
        nearest = (z @ self.centres.astype(np.float32) + self.squares).min(axis=1)
        return np.asarray(z**2 @ self.spread + nearest, np.float32)


def rank(width: int, classes: int, room: float) -> int:
    """How many directions of embeddings of ``width`` numbers ``room`` bytes hold; none where those are too few."""
    most = int(min(RANK, width, (room - _OVERHEAD - 4 * classes) / (2 * (width + classes) + 8)))
    return most if most >= _FEWEST else 0


def fit(embeddings: Floats, truth: Indices, directions: int) -> Familiar:
    """What embeddings ``[N, D]`` of training photos of the classes ``truth`` ``[N]`` say, in so many directions."""
    centre = embeddings.mean(axis=0, dtype=np.float64)
    centred = embeddings - centre
    classes = np.unique(truth)
    means = np.stack([centred[truth == one].mean(axis=0) for one in classes])
    within = centred - means[np.searchsorted(classes, truth)]
    basis = np.linalg.svd(centred, full_matrices=False)[2][:directions].T
    scatter = (within @ basis).T @ (within @ basis) / len(within)
    scatter += _SHRINKAGE * np.trace(scatter) / len(scatter) * np.eye(len(scatter))
    values, vectors = np.linalg.eigh(scatter)
    whitened = basis @ (vectors / np.sqrt(values))
    # Turned so that all photos together have no covariance, the distance to them is a weighted sum of squares.
    spreads, turned = np.linalg.eigh(np.cov((centred @ whitened).T))
    whitened = whitened @ turned
    centres = means @ whitened
    return Familiar(
        directions=whitened.astype(np.float16),
        offset=(-centre @ whitened.astype(np.float16)).astype(np.float32),
        spread=(1 - 1 / np.maximum(spreads, 1e-6)).astype(np.float32),
        centres=(-2 * centres.T).astype(np.float16),
        squares=(centres**2).sum(axis=1).astype(np.float32),
    )
