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
    """Fifteen bins of equally many photos, one after another; fewer where they would have fewer than ten each."""
    pairs = sorted(zip(confidence.tolist(), right.tolist(), strict=True), key=lambda pair: pair[0])
    bins = 15 if len(pairs) >= 150 else max(1, len(pairs) // 10)
    size, extra = divmod(len(pairs), bins)
    error, start = 0.0, 0
    for number in range(bins):
        bin_ = pairs[start : start + size + (number < extra)]
        start += len(bin_)
        mean = sum(c for c, _ in bin_) / len(bin_)
        share = sum(r for _, r in bin_) / len(bin_)
        error += len(bin_) / len(pairs) * abs(share - mean)
    return error


def spread(estimate: Estimate) -> tuple[float, float]:
    return estimate.low, estimate.high


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
    assert found.balanced_accuracy == found.accuracy
    assert found.macro_f1 == found.accuracy
    # What the answer costs when it is right and when it is wrong, mixed as Wilson's interval of the accuracy allows.
    assert found.log_loss.value == pytest.approx(-math.log(0.75 if right else 0.25))
    mixed = [share * -math.log(0.75) + (1 - share) * -math.log(0.25) for share in spread(found.accuracy)]
    assert sorted(spread(found.log_loss)) == pytest.approx(sorted(mixed))
    assert found.calibration_error.value == pytest.approx(0.25 if right else 0.75)
    assert found.calibration_error.high >= max(abs(share - 0.75) for share in spread(found.accuracy))
    assert found.top5.value == 1


def test_float32_that_sums_to_more_than_one_is_no_gain() -> None:
    more = np.array([[1 + 1e-6, 0.0], [0.0, 1 + 1e-6]], np.float32)
    found = score(Scored.of(more, ["a", "b"], ["a", "b"], ["1", "2"]))
    assert found.log_loss.value == found.log_loss.low == 0


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


@dataclasses.dataclass(frozen=True)
class World:
    """Photos of whom a sample is scored; photos of one group are of one class and alike.

    ``sharpness`` 1 is about calibrated; at 3, logits are three times too large.
    """

    classes: int
    signal: float
    size: int = 1
    sharpness: float = 1.0

    def population(self) -> tuple[Floats, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Probabilities, classes and groups of 20,000 photos."""
        random = np.random.default_rng(3)
        shares = 1 / np.arange(1, self.classes + 1)
        group = np.arange(20_000) // self.size
        truth = random.choice(self.classes, group[-1] + 1, p=shares / shares.sum())[group]
        shared = 0.6 if self.size > 1 else 0.0
        logits = math.sqrt(1 - shared) * random.normal(size=(len(truth), self.classes))
        logits += math.sqrt(shared) * random.normal(size=(group[-1] + 1, self.classes))[group]
        logits[np.arange(len(truth)), truth] += self.signal
        return softmax(self.sharpness * self.signal * logits), truth, group


def true_figures(probabilities: Floats, truth: npt.NDArray[np.int64], bins: int) -> dict[str, Floats]:
    """Of a population: recall and F1 by class, log loss and calibration error."""
    n, classes = probabilities.shape
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    gap = (predicted == truth) - confidence
    return {
        "balanced_accuracy": sk.recall_score(truth, predicted, labels=range(classes), average=None),
        "macro_f1": sk.f1_score(truth, predicted, labels=range(classes), average=None),
        "log_loss": np.array([-np.log(probabilities[np.arange(n), truth]).mean()]),
        "calibration_error": np.array(
            [sum(abs(gap[one].sum()) for one in np.array_split(np.argsort(confidence), bins)) / n]
        ),
    }


@pytest.mark.parametrize(
    ("world", "n"),
    [
        (World(6, 2.0), 100),
        (World(6, 4.5), 30),  # 98% accuracy: one sample in two has no mistake
        (World(6, 4.5, sharpness=3), 100),
        (World(40, 3.5), 150),  # most classes have one or two photos
        (World(6, 2.5, size=4), 80),
        (World(20, 3.5, size=4), 200),
    ],
    ids=str,
)
def test_intervals_hold_the_truth_about_95_times_in_100(world: World, n: int) -> None:
    probabilities, truth, group = world.population()
    expected = true_figures(probabilities, truth, max(1, min(15, n // 10)))
    names = [str(i) for i in range(world.classes)]
    held = dict.fromkeys(expected, 0)
    random = np.random.default_rng(5)
    trials = 150
    for _ in range(trials):
        # Whole groups; one that is drawn twice counts as two.
        drawn = random.choice(group[-1] + 1, n // world.size)
        rows = (drawn[:, None] * world.size + np.arange(world.size)).ravel()
        groups = [str(i // world.size) for i in range(n)]
        found = figures(Scored.of(probabilities[rows], [names[i] for i in truth[rows]], names, groups))
        present = np.unique(truth[rows])
        for name, true in expected.items():
            low, _, high = found[name]
            held[name] += low <= (true[present] if len(true) > 1 else true).mean() <= high
    for name, count in held.items():
        # 95% of 150 is 142, give or take 2.7.
        assert count >= 137, f"{name}: {count}"


@pytest.mark.parametrize("n", [10, 100, 1000])
def test_photos_that_are_all_right_leave_wilsons_doubt(n: int) -> None:
    scored = perfect(n, 5)
    found = score(scored)
    assert found.balanced_accuracy.low == pytest.approx(wilson(n, n).low)
    assert found.macro_f1.low == pytest.approx(wilson(n, n).low)
    assert found.log_loss.high > 2 * found.log_loss.value
    # Were the model wrong as often as Wilson allows, it would be that much surer than right.
    assert found.calibration_error.high >= 0.99 - wilson(n, n).low - 1e-9
    assert found.calibration_error.high < 2 * (1 - wilson(n, n).low) + 0.01


def test_photos_of_one_group_are_one_photo_while_no_mistake_tells_more() -> None:
    scored = dataclasses.replace(perfect(100, 5), groups=[str(i // 25 + 4 * (i % 5)) for i in range(100)])
    # Twenty groups, each of five photos of one class.
    assert score(scored).balanced_accuracy.low == pytest.approx(wilson(20, 20).low)
    assert score(scored).macro_f1.low == pytest.approx(wilson(20, 20).low)


def test_the_calibration_error_of_a_calibrated_model_is_below_the_plug_in() -> None:
    """The plug-in is noise there, and the interval says so; where it is real, the interval is around it."""
    calibrated, sharp = World(6, 2.0), World(6, 2.0, sharpness=3)
    for world in (calibrated, sharp):
        probabilities, truth, _ = world.population()
        names = [str(i) for i in range(6)]
        rows = np.random.default_rng(0).choice(20_000, 300)
        labels = [names[i] for i in truth[rows]]
        found = score(Scored.of(probabilities[rows], labels, names, [str(i) for i in range(300)])).calibration_error
        true = float(true_figures(probabilities, truth, 15)["calibration_error"][0])
        assert found.low <= true <= found.high
        if world is calibrated:
            assert true < 0.02
            assert found.value > 0.03
            assert found.low < 0.005
        else:
            assert found.low + 0.03 < found.value < found.high - 0.03


def perfect(n: int, classes: int) -> Scored:
    """A model that is right with 99%, on as many photos of each class."""
    truth = np.arange(n) % classes
    probabilities = np.full((n, classes), 0.01 / (classes - 1))
    probabilities[np.arange(n), truth] = 0.99
    names = [str(i) for i in range(classes)]
    return Scored.of(probabilities, [names[i] for i in truth], names, [str(i) for i in range(n)])


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
    chunks = metrics._resamples(np.arange(200), np.random.default_rng(0))
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


@pytest.mark.parametrize(
    ("n", "sizes"), [(4, [4]), (19, [19]), (20, [10, 10]), (149, [11] * 9 + [10] * 5), (150, [10] * 15)]
)
def test_a_bin_has_ten_photos_or_there_are_fewer_bins(n: int, sizes: list[int]) -> None:
    scored = answers(n, 3)
    assert [one.n for one in calibration_bins(scored)] == sizes


def test_a_calibrated_model_has_a_small_calibration_error() -> None:
    random = np.random.default_rng(0)
    probabilities = softmax(random.normal(size=(4_000, 5)) * 2)
    labels = [str(random.choice(5, p=row)) for row in probabilities]
    scored = Scored.of(probabilities, labels, [str(i) for i in range(5)], [str(i) for i in range(4_000)])
    assert score(scored).calibration_error.value < 0.03
