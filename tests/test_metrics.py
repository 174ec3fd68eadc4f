import dataclasses
import math
import warnings
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from kramar.evaluation import metrics
from kramar.evaluation.metrics import BINS, Scored, calibration_bins, score, wilson
from kramar.records import Estimate, Metrics

Floats = npt.NDArray[np.float64]


def answers(n: int, classes: int, seed: int = 0, sharpness: float = 2.0) -> Scored:
    """A model that is right more often than not, on long-tailed classes."""
    random = np.random.default_rng(seed)
    shares = 1 / np.arange(1, classes + 1)
    truth = random.choice(classes, n, p=shares / shares.sum())
    logits = random.normal(size=(n, classes))
    logits[np.arange(n), truth] += sharpness
    names = [f"class {i}" for i in range(classes)]
    return Scored.of(softmax(logits), [names[i] for i in truth], names, [str(i) for i in range(n)])


def softmax(logits: Floats) -> Floats:
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


def naive_calibration_error(confidence: Floats, right: npt.NDArray[np.bool_]) -> float:
    """Fifteen bins of equally many photos, one after another."""
    pairs = sorted(zip(confidence.tolist(), right.tolist(), strict=True), key=lambda pair: pair[0])
    size, extra = divmod(len(pairs), 15)
    error, start = 0.0, 0
    for number in range(15):
        bin_ = pairs[start : start + size + (number < extra)]
        start += len(bin_)
        if bin_:
            mean = sum(c for c, _ in bin_) / len(bin_)
            share = sum(r for _, r in bin_) / len(bin_)
            error += len(bin_) / len(pairs) * abs(share - mean)
    return error


def estimates(found: Metrics) -> dict[str, Estimate]:
    return {name: getattr(found, name) for name in Metrics.model_fields}


@pytest.mark.parametrize(("n", "classes"), [(400, 8), (97, 30), (60, 2), (200, 5), (20, 6)])
def test_every_figure_is_scikit_learns(n: int, classes: int) -> None:
    scored = answers(n, classes, seed=n)
    found = score(scored)
    predicted = [scored.classes[i] for i in scored.predicted]
    assert found.accuracy.value == pytest.approx(sk.accuracy_score(scored.labels, predicted))
    top5 = sk.top_k_accuracy_score(scored.truth, scored.probabilities, k=5, labels=range(classes)) if classes > 5 else 1
    assert found.top5.value == pytest.approx(top5)
    present = sorted(set(scored.labels))
    f1 = sk.f1_score(scored.labels, predicted, labels=present, average="macro", zero_division=0)
    assert found.macro_f1.value == pytest.approx(f1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of predicted classes that are not in the truth
        balanced = sk.balanced_accuracy_score(scored.labels, predicted)
    assert found.balanced_accuracy.value == pytest.approx(balanced)
    loss = sk.log_loss(scored.truth, scored.probabilities, labels=range(classes))
    assert found.log_loss.value == pytest.approx(loss)
    error = naive_calibration_error(scored.confidence, scored.right)
    assert found.calibration_error.value == pytest.approx(error)
    assert all(estimate.n == n for estimate in estimates(found).values())


def test_a_label_that_the_model_does_not_know_is_a_mistake() -> None:
    known = answers(100, 6)
    labels = [*known.labels, *["dragon fruit"] * 25]
    scored = Scored.of(
        np.concatenate([known.probabilities, known.probabilities[:25]]),
        labels,
        known.classes,
        list(map(str, range(125))),
    )
    assert scored.truth[100:].tolist() == [-1] * 25
    found, before = score(scored), score(known)
    predicted = [scored.classes[i] for i in scored.predicted]
    assert found.accuracy.value == pytest.approx(before.accuracy.value * 100 / 125)
    assert found.top5.value == pytest.approx(before.top5.value * 100 / 125)
    classes = len(set(known.labels))
    assert found.balanced_accuracy.value == pytest.approx(before.balanced_accuracy.value * classes / (classes + 1))
    f1 = sk.f1_score(labels, predicted, labels=sorted(set(labels)), average="macro", zero_division=0)
    assert found.macro_f1.value == pytest.approx(f1)
    assert found.log_loss.value == pytest.approx((100 * before.log_loss.value + 25 * -math.log(1e-12)) / 125)
    error = naive_calibration_error(scored.confidence, scored.right)
    assert found.calibration_error.value == pytest.approx(error)


def test_classes_without_a_photo_do_not_count() -> None:
    scored = Scored.of(
        np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.1, 0.1, 0.8]]), ["a", "b", "b"], ["a", "b", "c"], ["1", "2", "3"]
    )
    found = score(scored)
    assert found.balanced_accuracy.value == pytest.approx((1 + 1 / 2) / 2)
    assert found.macro_f1.value == pytest.approx((1 + 2 / 3) / 2)


@pytest.mark.parametrize("right", [True, False])
def test_one_photo(right: bool) -> None:
    scored = Scored.of(np.array([[0.75, 0.25]]), ["a" if right else "b"], ["a", "b"], ["g"])
    found = score(scored)
    assert found.accuracy == wilson(int(right), 1)
    assert found.balanced_accuracy == Estimate(value=right, low=right, high=right, n=1)
    assert found.macro_f1.value == right
    assert found.log_loss.value == pytest.approx(-math.log(0.75 if right else 0.25))
    assert found.calibration_error.value == pytest.approx(0.25 if right else 0.75)
    assert found.top5.value == 1


def test_a_probability_of_zero_is_a_finite_loss() -> None:
    scored = Scored.of(np.array([[1.0, 0.0], [1.0, 0.0]]), ["a", "b"], ["a", "b"], ["1", "2"])
    assert score(scored).log_loss.value == pytest.approx(-math.log(1e-12) / 2)


def test_float32_scores_are_summed_in_float64() -> None:
    scored = answers(300, 5)
    single = dataclasses.replace(scored, probabilities=scored.probabilities.astype(np.float32))
    for name, estimate in estimates(score(single)).items():
        assert estimate.value == pytest.approx(getattr(score(scored), name).value, rel=1e-5)


# Wilson's interval


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        # Newcombe, Two-sided confidence intervals for the single proportion (1998), table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_against_published_intervals(successes: int, n: int, low: float, high: float) -> None:
    found = wilson(successes, n)
    assert found.value == successes / n
    assert found.low == pytest.approx(low, abs=5e-5)
    assert found.high == pytest.approx(high, abs=5e-5)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.integers(1, 10_000), st.floats(0, 1))
def test_wilson_is_symmetric_and_holds_the_share(n: int, share: float) -> None:
    successes = round(share * n)
    found, mirrored = wilson(successes, n), wilson(n - successes, n)
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.low == pytest.approx(1 - mirrored.high, abs=1e-12)


# Bootstrap intervals


def figures(scored: Scored, seed: int = 0) -> dict[str, tuple[float, float, float]]:
    return {name: (found.low, found.value, found.high) for name, found in estimates(score(scored, seed)).items()}


def test_a_seed_always_draws_the_same_interval() -> None:
    scored = answers(200, 6)
    assert figures(scored, 1) == figures(scored, 1)
    first, second = figures(scored, 1), figures(scored, 2)
    assert first["macro_f1"] != second["macro_f1"]
    assert first["macro_f1"][1] == second["macro_f1"][1]
    assert first["log_loss"][0] == pytest.approx(second["log_loss"][0], rel=0.05)


def test_the_order_of_photos_changes_no_figure() -> None:
    scored = answers(200, 6)
    order = np.random.default_rng(0).permutation(200)
    shuffled = Scored.of(
        scored.probabilities[order],
        [scored.labels[i] for i in order],
        scored.classes,
        [scored.groups[i] for i in order],
    )
    for name, found in figures(shuffled).items():
        assert found == pytest.approx(figures(scored)[name], rel=0.1), name


def test_copies_of_photos_add_no_certainty_when_they_are_one_group() -> None:
    once = answers(80, 4)
    copies = 5
    repeated: dict[str, object] = {
        "probabilities": np.repeat(once.probabilities, copies, axis=0),
        "labels": [label for label in once.labels for _ in range(copies)],
        "classes": once.classes,
    }
    grouped = Scored.of(**repeated, groups=[group for group in once.groups for _ in range(copies)])  # type: ignore[arg-type]
    alone = Scored.of(**repeated, groups=[str(i) for i in range(80 * copies)])  # type: ignore[arg-type]
    for name in ("balanced_accuracy", "macro_f1", "log_loss"):
        low, _, high = figures(grouped)[name]
        narrow_low, _, narrow_high = figures(alone)[name]
        once_low, _, once_high = figures(once)[name]
        assert high - low == pytest.approx(once_high - once_low, rel=0.02), name
        assert (high - low) / (narrow_high - narrow_low) == pytest.approx(math.sqrt(copies), rel=0.15), name


@pytest.mark.parametrize("groups", ["photos", "pairs"])
def test_intervals_hold_the_truth_about_95_times_in_100(groups: str) -> None:
    """The population is 5,000 photos whose figures are the truth; each simulation scores 100 of them."""
    population = answers(5_000, 4, seed=7)
    truth = figures(population)
    trials = 80
    held = dict.fromkeys(("balanced_accuracy", "macro_f1", "log_loss"), 0)
    random = np.random.default_rng(5)
    for _ in range(trials):
        drawn = random.choice(5_000, 50 if groups == "pairs" else 100)
        rows = np.repeat(drawn, 2) if groups == "pairs" else drawn
        sample = Scored.of(
            population.probabilities[rows],
            [population.labels[i] for i in rows],
            population.classes,
            [str(i) for i in (np.arange(100) // 2 if groups == "pairs" else np.arange(100))],
        )
        for name in held:
            low, _, high = figures(sample)[name]
            held[name] += low <= truth[name][1] <= high
    for name, count in held.items():
        # 95% of 80 is 76, give or take 1.9; a percentile bootstrap of small classes covers a little less.
        assert count / trials >= 0.87, name


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(1, 60), st.integers(2, 7), st.integers(0, 1000), st.floats(0, 6), st.integers(1, 5))
def test_intervals_hold_their_value_and_shares_stay_shares(
    n: int, classes: int, seed: int, sharpness: float, size: int
) -> None:
    scored = answers(n, classes, seed, sharpness)
    grouped = dataclasses.replace(scored, groups=[str(i // size) for i in range(n)])
    for name, (low, value, high) in figures(grouped).items():
        assert 0 <= low <= value <= high, name
        if name != "log_loss":
            assert high <= 1, name


def test_the_bootstrap_is_done_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    scored = answers(200, 4)
    whole = score(scored)
    monkeypatch.setattr(metrics, "_CHUNK", 200 * 64)
    chunks = metrics._resamples(scored.groups, 0)
    sizes = list(map(len, chunks))
    assert sum(sizes) == metrics.RESAMPLES
    assert max(sizes) <= 64
    assert not isinstance(chunks, Sequence)
    assert figures(scored)["log_loss"] == pytest.approx(
        (whole.log_loss.low, whole.log_loss.value, whole.log_loss.high), rel=0.05
    )


# Calibration bins


def test_calibration_bins_are_of_equal_mass_and_give_the_calibration_error() -> None:
    scored = answers(200, 6)
    bins = calibration_bins(scored)
    assert len(bins) == BINS
    assert {one.n for one in bins} == {13, 14}
    assert sum(one.n for one in bins) == 200
    assert [one.confidence for one in bins] == sorted(one.confidence for one in bins)
    error = sum(one.n * abs(one.accuracy - one.confidence) for one in bins) / 200
    assert error == pytest.approx(score(scored).calibration_error.value)


def test_fewer_photos_than_bins_are_a_bin_each() -> None:
    scored = answers(4, 3)
    assert [one.n for one in calibration_bins(scored)] == [1, 1, 1, 1]
    assert sorted(one.confidence for one in calibration_bins(scored)) == sorted(scored.confidence)


def test_a_calibrated_model_has_a_small_calibration_error() -> None:
    random = np.random.default_rng(0)
    probabilities = softmax(random.normal(size=(4_000, 5)) * 2)
    labels = [str(random.choice(5, p=row)) for row in probabilities]
    scored = Scored.of(probabilities, labels, [str(i) for i in range(5)], [str(i) for i in range(4_000)])
    assert score(scored).calibration_error.value < 0.03
