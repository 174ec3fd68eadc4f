"""What copies of test photos among the others do to a figure."""

from __future__ import annotations

import numpy as np

from kramar.evaluation.leakage import leakage
from kramar.evaluation.metrics import wilson


def test_accuracy_is_told_with_and_without_the_leaked_photos() -> None:
    right = np.array([True, True, True, False, True, False])
    leaked = np.array([True, True, False, False, False, False])
    found = leakage(right, leaked)
    assert found is not None
    assert (found.photos, found.accuracy, found.without) == (2, wilson(4, 6), wilson(2, 4))


def test_none_leaked_and_all_leaked() -> None:
    right = np.array([True, False])
    assert leakage(right, np.zeros(2, bool)) is None
    found = leakage(right, np.ones(2, bool))
    assert found is not None
    assert found.without is None
