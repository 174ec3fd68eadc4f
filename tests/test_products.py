"""One answer a product, by all of its photos."""

from __future__ import annotations

import numpy as np
import pytest

from kramar.evaluation.metrics import Scored, score, wilson
from kramar.evaluation.products import pooled, products


def test_photos_are_pooled_by_their_geometric_mean() -> None:
    photos = np.array([[0.8, 0.2], [0.5, 0.5], [0.9, 0.1]], np.float32)
    # The roots of 0.8 * 0.5 and 0.2 * 0.5 are as two to one.
    np.testing.assert_allclose(pooled(photos, [2, 1]), [[2 / 3, 1 / 3], [0.9, 0.1]], rtol=1e-6)


def test_a_photo_that_rules_a_class_out_does_not_divide_by_zero() -> None:
    found = pooled(np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]], np.float32), [3])
    assert np.isfinite(found).all()
    assert found.sum() == pytest.approx(1)
    assert found[0, 1] > 0.999


ROWS = [
    # product, label, probability of a, group
    ("pan", "a", 0.8, "g"),
    ("cup", "b", 0.6, "g"),
    ("pan", "a", 0.5, "g"),
    ("", "a", 0.9, "photo"),
    ("mixed", "a", 0.9, "mixed"),
    ("mixed", "b", 0.9, "mixed"),
    ("jar", "b", 0.1, "jar"),
]


def shown(rows: list[tuple[str, str, float, str]]) -> tuple[Scored, list[str]]:
    names, labels, likely, groups = map(list, zip(*rows, strict=True))
    probabilities = np.stack([likely, 1 - np.array(likely)], axis=1)
    return Scored.of(probabilities, labels, ["a", "b"], groups), names


def test_a_product_counts_once_and_one_of_several_labels_is_left_out() -> None:
    found = products(*shown(ROWS), 0)
    assert found is not None
    assert (found.photos, found.several, found.left_out) == (4, 1, 1)
    assert found.metrics.accuracy == wilson(2, 3)
    assert found.metrics.log_loss.value == pytest.approx(-np.log([2 / 3, 0.4, 0.9]).mean())
    # Products that are tied stay together.
    answers = pooled(shown(ROWS)[0].probabilities[[0, 2, 1, 6]], [2, 1, 1])
    assert found.metrics == score(Scored.of(answers, ["a", "b", "b"], ["a", "b"], ["g", "g", "jar"]), 0)


def test_without_products_of_several_photos_there_is_nothing_to_tell() -> None:
    assert products(*shown(ROWS[3:4]), 0) is None
    assert products(*shown(ROWS[:2]), 0) is None
    assert products(*shown(ROWS[4:]), 0) is None
