"""What copies of test photos among the others do to a figure."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from kramar.evaluation.metrics import wilson
from kramar.records import Leakage


def leakage(right: npt.NDArray[np.bool_], leaked: npt.NDArray[np.bool_]) -> Leakage | None:
    """Accuracy with and without the ``leaked`` of all test photos, ``[N]`` each; None where none is."""
    if not leaked.any():
        return None
    clean = ~leaked
    return Leakage(
        photos=int(leaked.sum()),
        accuracy=wilson(int(right.sum()), len(right)),
        without=wilson(int(right[clean].sum()), int(clean.sum())) if clean.any() else None,
    )
