import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from kramar.evaluation.intervals import Evidence, absolute_sum, hull, percentiles, score_interval


@pytest.mark.parametrize(("successes", "n"), [(0, 1), (3, 4), (81, 263), (2485, 2485)])
def test_the_score_interval_is_scipys(successes: int, n: int) -> None:
    expected = stats.binomtest(successes, n).proportion_ci(method="wilson")
    assert score_interval(successes / n, n) == pytest.approx((expected.low, expected.high))


def test_a_fraction_of_a_photo_widens_the_score_interval() -> None:
    whole, less = score_interval(0.9, 20), score_interval(0.9, 19.5)
    assert less[0] < whole[0] < 0.9 < whole[1] < less[1]


# Evidence


def alone(n: int) -> npt.NDArray[np.int64]:
    return np.arange(n)


def test_photos_by_themselves_count_as_they_are() -> None:
    right = np.array([1.0] * 7 + [0.0] * 3)
    found = Evidence.of(right, np.zeros(10, np.int64), alone(10))
    assert found.photos == 10
    # One class: the balanced accuracy is the accuracy.
    assert found.by_class == pytest.approx(10, rel=0.1)


def test_classes_of_one_photo_count_as_one_class() -> None:
    """Each alone shows no variance; together they are ten draws of one share."""
    right = np.array([1.0] * 7 + [0.0] * 3)
    assert Evidence.of(right, alone(10), alone(10)).by_class == pytest.approx(10)


def test_without_a_mistake_small_classes_weigh_as_they_do_in_the_mean() -> None:
    truth = np.repeat([0, 1], [99, 1])
    found = Evidence.of(np.ones(100), truth, alone(100))
    # The variance of the mean of two shares is (p q / 99 + p q / 1) / 4.
    assert found.by_class == pytest.approx(4 / (1 / 99 + 1))
    assert found.photos == 100


@pytest.mark.parametrize("right", [0.0, 1.0])
def test_groups_are_one_photo_each_while_all_photos_agree(right: float) -> None:
    found = Evidence.of(np.full(12, right), np.zeros(12, np.int64), np.arange(12) // 3)
    assert (found.photos, found.by_class, found.correlation) == (4, 4, 1)


def test_photos_of_a_group_that_have_nothing_in_common_count_almost_in_full() -> None:
    random = np.random.default_rng(0)
    right = (random.random(3000) < 0.8).astype(float)
    found = Evidence.of(right, random.integers(0, 4, 3000), np.arange(3000) // 3)
    assert found.correlation < 0.05
    assert 2700 < found.photos <= 3000
    assert 2300 < found.by_class < 3300


def test_copies_count_once() -> None:
    random = np.random.default_rng(0)
    right = np.repeat((random.random(400) < 0.8).astype(float), 5)
    truth = np.repeat(random.integers(0, 4, 400), 5)
    once = Evidence.of(right[::5], truth[::5], alone(400))
    found = Evidence.of(right, truth, np.arange(2000) // 5)
    assert found.correlation == pytest.approx(1)
    assert found.photos == pytest.approx(400)
    assert found.by_class == pytest.approx(once.by_class)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(1, 40), st.integers(1, 6), st.integers(1, 5), st.floats(0, 1), st.integers(0, 1000))
def test_evidence_is_positive_and_no_mean_has_more_than_its_photos(
    n: int, classes: int, size: int, share: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    truth = np.unique(random.integers(0, classes, n), return_inverse=True)[1]
    found = Evidence.of((random.random(n) < share).astype(float), truth, np.arange(n) // size)
    sizes = np.bincount(np.arange(n) // size)
    assert n**2 / (sizes**2).sum() - 1e-9 <= found.photos <= n + 1e-9
    assert 0 < found.by_class < math.inf
    assert 0 <= found.correlation <= 1


# Bootstraps


@pytest.mark.parametrize("n", [4, 10, 60])
def test_expanded_percentiles_of_a_mean_are_students_interval(n: int) -> None:
    random = np.random.default_rng(0)
    sample = random.normal(size=n)
    draws = sample.mean() + sample.std() / math.sqrt(n) * random.normal(size=400_000)
    half = stats.t.ppf(0.975, n - 1) * sample.std(ddof=1) / math.sqrt(n)
    found = percentiles(sample.mean(), draws, n)
    assert found == pytest.approx((sample.mean() - half, sample.mean() + half), abs=0.03 * half)


def test_percentiles_move_by_twice_the_bias() -> None:
    draws = np.random.default_rng(0).normal(0.7, 0.1, 10_000)
    low, high = percentiles(0.8, draws, 10_000)
    assert (low + high) / 2 == pytest.approx(0.9, abs=0.01)


ALTERNATING = np.where(np.arange(15) % 2, 1.0, -1.0)
LAST = 15.0 * (np.arange(15) == 14)


@pytest.mark.parametrize(
    "gaps", [0 * LAST, ALTERNATING / 2, ALTERNATING, 4 * ALTERNATING, LAST, 4 * LAST, np.linspace(-2, 2, 15)], ids=str
)
def test_the_interval_of_an_absolute_sum_holds_it(gaps: npt.NDArray[np.float64]) -> None:
    """Gaps seen with unit noise: of 15 that are none, the plain sum is about 12."""
    random = np.random.default_rng(0)
    noise = random.normal(size=(400, 15))
    true, held = np.abs(gaps).sum(), 0
    for _ in range(150):
        low, high = absolute_sum(gaps + random.normal(size=15), noise)
        held += low <= true <= high
    assert held >= 0.9 * 150, held


def test_an_absolute_sum_without_noise_is_itself() -> None:
    assert absolute_sum(np.array([0.1, -0.2]), np.zeros((10, 2))) == pytest.approx((0.3, 0.3))
    assert absolute_sum(np.zeros(2), np.zeros((10, 2))) == (0, 0)
    # Of two gaps, the first without noise and the second within two of what was seen.
    noise = np.array([0.0, 1.0]) * np.random.default_rng(0).normal(size=(400, 1))
    low, high = absolute_sum(np.array([0.5, 0.1]), noise)
    assert low == pytest.approx(0.5)
    assert high == pytest.approx(2.0, abs=0.4)


def test_a_hull_holds_all_and_stays_in_bounds() -> None:
    assert hull(0.5, (0.4, 0.6), (0.45, 0.7)) == (0.4, 0.7)
    assert hull(0.9, (-0.1, 0.5), (0.2, 1.4), most=1.0) == (0.0, 1.0)
