"""Sets of classes that hold the true one as often as promised: split conformal prediction.

A class belongs to a photo's set from some probability on (the least ambiguous sets of Sadinle, Lei and Wasserman 2019).
Photos that the model did not learn from give that probability, so that a new photo's set holds its class with the
promised probability at least, whatever the model (Vovk, Gammerman and Shafer 2005; Papadopoulos et al. 2002).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Indices = npt.NDArray[np.integer]


def least(probabilities: Floats, truth: Indices, coverage: float) -> float | None:
    """From which probability on a class belongs to a set, for ``coverage`` in (0, 1).

    ``probabilities`` is ``[N, C]``, ``truth`` the classes ``[N]``, of photos that are independent of each other. None
    where they are too few: 19 at least for 95%.
    """
    found = reach(-probabilities[np.arange(len(truth)), truth], coverage)
    return None if found is None else -found


def reach(values: Floats, coverage: float) -> float | None:
    """What a new value is at most with a probability of ``coverage``, by others like it, ``[N]``; None of too few."""
    # One photo more counts as beyond it.
    rank = math.ceil((len(values) + 1) * coverage)
    return float(np.sort(values)[rank - 1]) if rank <= len(values) else None
