import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special
from scipy.optimize import minimize_scalar
from sklearn import metrics as sk

from kramar.decisions.calibration import (
    error_without,
    fit_temperature,
    log_loss,
    log_softmax,
    probabilities,
    stretched,
)
from kramar.evaluation.metrics import Scored, score

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]


def synthetic(n: int, classes: int, temperature: float, seed: int = 0) -> tuple[Floats, Indices]:
    """Logits that are calibrated once divided by ``temperature``."""
    random = np.random.default_rng(seed)
    calibrated = random.normal(size=(n, classes)) * 2
    # The Gumbel-max trick draws from the softmax.
    truth = (calibrated + random.gumbel(size=calibrated.shape)).argmax(axis=1)
    return calibrated * temperature, truth


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5, 8.0])
def test_a_known_temperature_is_recovered(temperature: float) -> None:
    logits, truth = synthetic(20_000, 6, temperature)
    assert fit_temperature(logits, truth) == pytest.approx(temperature, rel=0.03)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(5, 200), st.integers(2, 12), st.floats(0.2, 5), st.integers(0, 1000))
def test_the_temperature_is_scipys(n: int, classes: int, temperature: float, seed: int) -> None:
    logits, truth = synthetic(n, classes, temperature, seed)

    def smoothed(scores: npt.NDArray[np.float64]) -> float:
        return float(-((n + 1) * scores[np.arange(n), truth].mean() + scores.mean()) / (n + 2))

    reference = minimize_scalar(
        lambda log_t: smoothed(special.log_softmax(logits / math.exp(log_t), axis=1)),
        bounds=(math.log(0.05), math.log(20)),
        method="bounded",
        options={"xatol": 1e-7},
    )
    found = fit_temperature(logits, truth)
    assert smoothed(special.log_softmax(logits / found, axis=1)) <= reference.fun + 1e-7
    assert 0.05 <= found <= 20


def test_temperature_never_makes_the_loss_worse() -> None:
    logits, truth = synthetic(60, 4, 3.0)
    assert log_loss(logits, truth, fit_temperature(logits, truth)) < log_loss(logits, truth)


def test_without_photos_the_temperature_is_one() -> None:
    assert fit_temperature(np.zeros((0, 4), np.float32), np.zeros(0, np.int64)) == 1.0


def test_the_temperature_stays_in_its_bounds() -> None:
    assert fit_temperature(np.eye(2), np.array([1, 0])) == pytest.approx(20.0, rel=1e-4)


@pytest.mark.parametrize("n", [2, 300])
def test_photos_that_are_all_right_do_not_make_it_certain(n: int) -> None:
    logits = 2 * np.eye(4)[np.arange(n) % 4]
    found = fit_temperature(logits, np.arange(n) % 4)
    surest = special.softmax(logits / found, axis=1).max()
    assert surest <= 1 - 0.7 / (n + 2)


def test_float32_logits_give_the_temperature_of_float64() -> None:
    logits, truth = synthetic(500, 5, 1.7)
    assert fit_temperature(logits.astype(np.float32), truth) == pytest.approx(fit_temperature(logits, truth), rel=1e-3)


def test_log_softmax_is_scipys_and_does_not_overflow() -> None:
    logits, _ = synthetic(50, 7, 1.0)
    assert log_softmax(logits) == pytest.approx(special.log_softmax(logits, axis=1))
    large = np.array([[10_000.0, 0.0], [-10_000.0, 0.0]], np.float32)
    found = log_softmax(large)
    assert found.dtype == np.float64
    assert found.tolist() == [[0.0, -10_000.0], [-10_000.0, 0.0]]


def test_log_loss_is_scikit_learns() -> None:
    logits, truth = synthetic(200, 5, 1.0)
    expected = sk.log_loss(truth, special.softmax(logits / 1.3, axis=1), labels=range(5))
    assert log_loss(logits, truth, 1.3) == pytest.approx(expected)


def test_another_temperature_needs_no_logits() -> None:
    logits, truth = synthetic(300, 5, 2.0)
    labels = [str(number) for number in range(5)]
    groups = [str(place) for place in range(300)]
    answers = {
        temperature: Scored.of(
            probabilities(logits, temperature).astype(np.float32), [labels[own] for own in truth], labels, groups
        )
        for temperature in (0.7, 1.0, 2.1)
    }
    again = stretched(answers[0.7], 3.0)
    np.testing.assert_allclose(again.probabilities, answers[2.1].probabilities, atol=1e-5)
    before = error_without(answers[2.1], 2.1, 0)
    assert before.value == pytest.approx(score(answers[1.0], 0).calibration_error.value, abs=1e-5)
    assert before.value > score(answers[2.1], 0).calibration_error.value
