"""Sets of classes: the finite-sample rank, what is in them, and that they hold the truth as often as promised."""

from __future__ import annotations

import numpy as np
import pytest

from kramar.decisions import sets
from kramar.runtime.rule import members


def test_the_rank_is_that_of_the_finite_sample() -> None:
    own = np.array([0.9, 0.1, 0.5, 0.7])
    probabilities = np.stack([own, 1 - own], axis=1)
    truth = np.zeros(4, np.int64)
    # ceil(5 * 0.8) = 4: all four must be in.
    assert sets.least(probabilities, truth, 0.8) == 0.1
    assert sets.least(probabilities, truth, 0.6) == 0.5
    assert sets.least(probabilities, truth, 0.81) is None
    nineteen = np.full((19, 1), 0.5)
    assert sets.least(nineteen, np.zeros(19, np.int64), 0.95) == 0.5
    assert sets.least(nineteen[:18], np.zeros(18, np.int64), 0.95) is None


def test_sets_are_ordered_and_never_empty() -> None:
    probabilities = np.array([[0.2, 0.5, 0.3], [0.4, 0.35, 0.25]])
    assert members(probabilities, 0.3) == [[1, 2], [0, 1]]
    assert members(probabilities, 0.6) == [[1], [0]]
    assert members(probabilities, np.array([0.1, 0.9, 0.9])) == [[1, 0], [0]]


@pytest.mark.parametrize("coverage", [0.9, 0.95])
def test_they_hold_the_truth_as_often_as_promised(coverage: float) -> None:
    generator = np.random.default_rng(0)
    held = []
    for _ in range(60):
        truth = generator.integers(0, 5, 1500)
        logits = generator.normal(size=(1500, 5))
        logits[np.arange(1500), truth] += np.where(truth == 0, 0.5, 2.5)
        probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        fit, new = slice(0, 500), slice(500, None)
        bound = sets.least(probabilities[fit], truth[fit], coverage)
        assert bound is not None
        found = members(probabilities[new], bound)
        held.append(np.mean([own in some for own, some in zip(truth[new], found, strict=True)]))
    assert np.mean(held) == pytest.approx(coverage, abs=0.01)
