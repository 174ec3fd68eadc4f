"""The last layer, learnt further: near to what it was, and to what was corrected."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from kramar.decisions.calibration import log_loss
from kramar.models.linear import Linear
from kramar.training.head import SHRINKAGE, Part, join, whitening
from kramar.training.relearn import Relearning, Setting

WIDTH, CLASSES = 12, 3


def drawn(number: int, seed: int, shift: float = 0.0, classes: int = CLASSES) -> Part:
    """Photos whose classes lie apart; ``shift`` moves all of them, as another shop's light would."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, classes, number)
    centres = np.random.default_rng(99).normal(size=(5, WIDTH))
    embeddings = centres[truth] + random.normal(size=(number, WIDTH)) + shift
    return Part(embeddings.astype(np.float32), truth, [f"{seed}-{place}" for place in range(number)])


def trained(part: Part) -> Linear:
    model = LogisticRegression(C=0.1, max_iter=500).fit(part.embeddings, part.truth)
    return Linear(model.coef_.T.astype(np.float32), model.intercept_.astype(np.float32))


@pytest.fixture
def old() -> Linear:
    return trained(drawn(300, 0))


def test_it_learns_what_was_corrected_and_keeps_what_it_knew(old: Linear) -> None:
    train, val, corrected, new = drawn(300, 0), drawn(200, 1), drawn(80, 2, 1.0), drawn(300, 3, 1.0)
    relearning = Relearning(old, 1.0, train, corrected, val, CLASSES)
    settings = relearning.settings(0)
    assert [one.log_loss for one in settings] == sorted(one.log_loss for one in settings)
    layer = relearning.layer(settings[0])

    def right(layer: Linear, part: Part) -> float:
        return float((layer(part.embeddings).argmax(axis=1) == part.truth).mean())

    assert right(layer, new) > right(old, new)
    assert right(layer, val) > right(old, val) - 0.02
    again = Relearning(old, 1.0, train, corrected, val, CLASSES)
    assert again.settings(0) == settings
    np.testing.assert_array_equal(again.layer(settings[0]).weights, layer.weights)


def test_a_strong_penalty_leaves_it_as_it_was(old: Linear) -> None:
    for temperature in (1.0, 2.5):
        relearning = Relearning(old, temperature, drawn(300, 0), drawn(50, 2, 1.0), drawn(100, 1), CLASSES)
        layer = relearning.layer(Setting(1e-12, 1.0, 0.0))
        np.testing.assert_allclose(layer.weights, old.weights, atol=1e-5)
        np.testing.assert_allclose(layer.bias, old.bias, atol=1e-5)


def test_it_minimises_what_it_says(old: Linear) -> None:
    train, corrected = drawn(300, 0), drawn(60, 2, 1.0)
    temperature, c, weight = 1.5, 0.01, 3.0
    relearning = Relearning(old, temperature, train, corrected, drawn(100, 1), CLASSES)
    layer = relearning.layer(Setting(c, weight, 0.0))
    both = join(train, corrected)
    mean = both.embeddings.mean(axis=0, dtype=np.float64)
    back = np.linalg.inv(whitening(both, mean, SHRINKAGE))

    def objective(one: Linear) -> float:
        losses = sum(
            times * len(part.truth) * log_loss(one(part.embeddings), part.truth, temperature)
            for times, part in ((1.0, train), (weight, corrected))
        )
        moved = back @ ((one.weights.astype(np.float64) - old.weights) / temperature)
        shift = (one.bias.astype(np.float64) - old.bias) / temperature + mean @ (
            one.weights - old.weights
        ) / temperature
        return losses + 0.5 / c * float((moved**2).sum() + (shift**2).sum())

    found = objective(layer)
    assert found < objective(old)
    random = np.random.default_rng(0)
    for _ in range(20):
        other = Linear(
            (layer.weights + random.normal(size=layer.weights.shape) * 3e-3).astype(np.float32),
            (layer.bias + random.normal(size=CLASSES) * 3e-3).astype(np.float32),
        )
        assert objective(other) > found


def test_a_class_is_added(old: Linear) -> None:
    corrected = drawn(60, 5, classes=4)
    relearning = Relearning(old, 1.0, drawn(300, 0), corrected, drawn(100, 1), 4)
    layer = relearning.layer(relearning.settings(0)[0])
    assert layer.weights.shape == (WIDTH, 4)
    new = drawn(300, 6, classes=4)
    predicted = layer(new.embeddings).argmax(axis=1)
    own = new.truth == 3
    assert (predicted[own] == 3).mean() > 0.6
    assert (predicted[~own] == 3).mean() < 0.1


def test_one_correction_is_enough(old: Linear) -> None:
    relearning = Relearning(old, 1.0, drawn(300, 0), drawn(1, 7), drawn(100, 1), CLASSES)
    assert np.isfinite(relearning.layer(relearning.settings(0)[0]).weights).all()
