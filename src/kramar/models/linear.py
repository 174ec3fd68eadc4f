"""The linear layer on top of an embedding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kramar.runtime.session import Scores


@dataclass(frozen=True, slots=True)
class Linear:
    """logits = embedding @ weights + bias; float32 ``[D, C]`` and ``[C]``."""

    weights: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]

    def __call__(self, embeddings: Scores) -> Scores:
        """Logits, float32 ``[N, C]``."""
        return np.asarray(embeddings @ self.weights + self.bias)
