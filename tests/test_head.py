from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import pytest
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, log_loss
from sklearn.preprocessing import StandardScaler

from kramar.decisions.calibration import fit_temperature, probabilities
from kramar.progress import Advance, Silent
from kramar.records import HeadRecord
from kramar.training import head as heads
from kramar.training.head import (
    BALANCED_GAIN,
    MIN_VALIDATION,
    MOST_STEPS,
    SHRINKAGE,
    START_C,
    STEP,
    Part,
    fit_head,
)

Floats = npt.NDArray[np.float32]


def photos(
    counts: Sequence[int], spread: float = 1.0, seed: int = 0, width: int = 12, groups: int = 1, name: str = "photo"
) -> Part:
    """``counts[c]`` embeddings around the centre of class c, on the uneven scales and offsets that backbones have."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(len(counts), width))
    truth = np.repeat(np.arange(len(counts)), counts)
    points = centres[truth] + spread * random.normal(size=(len(truth), width))
    embeddings = (points * np.geomspace(0.01, 10, width) + 3).astype(np.float32)
    return Part(embeddings, truth, [f"{name} {i // groups}" for i in range(len(truth))])


def nothing(width: int = 12) -> Part:
    return Part(np.zeros((0, width), np.float32), np.zeros(0, np.int64), [])


def reference(train: Part, record: HeadRecord) -> Callable[[Floats], npt.NDArray[np.float64]]:
    """Probabilities of scikit-learn's fit on whitened features, fitted to the end: WCCN as in its paper."""
    scaler = StandardScaler().fit(train.embeddings)
    points = scaler.transform(train.embeddings)
    means = np.stack([points[train.truth == c].mean(axis=0) for c in train.truth])
    within = np.cov((points - means).T, bias=True)
    spread = np.trace(within) / len(within)
    # The Cholesky factor of the inverse, as Hatch et al. have it.
    whiten = np.linalg.cholesky(np.linalg.inv(within + (SHRINKAGE * spread or 1) * np.eye(len(within))))
    whiten /= np.sqrt((points @ whiten).var(axis=0).mean())
    weight = "balanced" if record.class_weight == "balanced" else None
    model = LogisticRegression(C=record.regularisation, class_weight=weight, max_iter=5000, tol=1e-8)
    model.fit(points @ whiten, train.truth)
    return lambda embeddings: np.asarray(model.predict_proba(scaler.transform(embeddings) @ whiten))


def accuracy(logits: Floats, part: Part) -> float:
    return float((logits.argmax(axis=1) == part.truth).mean())


def test_separable_classes_are_recovered() -> None:
    train, val, test = (photos([n] * 5, spread=0.1, seed=seed) for seed, n in enumerate((20, 25, 40)))
    head, record = fit_head(train, val, 5, 0, Silent())
    assert head.weights.shape == (12, 5)
    assert head.weights.dtype == np.float32
    assert head.bias.shape == (5,)
    assert head.bias.dtype == np.float32
    assert accuracy(head(test.embeddings), test) == 1.0
    assert record.trials[0].accuracy == 1.0


def test_the_head_is_scikit_learns_on_whitened_features() -> None:
    train, val = photos([40] * 4, seed=1), photos([40] * 4, seed=2)
    head, record = fit_head(train, val, 4, 0, Silent())
    expected = reference(train, record)(val.embeddings)
    assert softmax(head(val.embeddings), axis=1) == pytest.approx(expected, abs=5e-3)


def test_two_classes_have_scikit_learns_probabilities() -> None:
    train, val = photos([60, 60], seed=1), photos([60, 60], seed=2)
    head, record = fit_head(train, val, 2, 0, Silent())
    expected = reference(train, record)(val.embeddings)
    assert head.weights.shape == (12, 2)
    assert softmax(head(val.embeddings), axis=1) == pytest.approx(expected, abs=5e-3)


def test_regularisation_is_the_best_that_was_tried_on_validation() -> None:
    train, val = photos([15] * 6, spread=1.5, seed=1), photos([30] * 6, spread=1.5, seed=2)
    head, record = fit_head(train, val, 6, 0, Silent())
    assert record.chosen_on == "validation (180 photos)"
    best = min(record.trials, key=lambda trial: trial.log_loss)
    assert record.regularisation == best.regularisation
    assert record.class_weight == best.class_weight == "none"
    tried = sorted(round(float(np.log10(trial.regularisation / START_C) / np.log10(STEP))) for trial in record.trials)
    assert tried == list(range(tried[0], tried[-1] + 1))
    assert 0 in tried
    assert 2 < len(tried) <= MOST_STEPS
    calibrated = softmax(head(val.embeddings) / record.temperature, axis=1)
    assert best.log_loss == pytest.approx(log_loss(val.truth, calibrated), abs=1e-5)
    assert best.accuracy == accuracy(head(val.embeddings), val)


def test_noisier_features_are_regularised_more() -> None:
    chosen = []
    for spread in (0.6, 2.0):
        train, val = photos([12] * 6, spread=spread, seed=1), photos([30] * 6, spread=spread, seed=2)
        chosen.append(fit_head(train, val, 6, 0, Silent())[1].regularisation)
    assert chosen[0] > chosen[1]


def test_the_temperature_is_that_of_the_held_out_scores() -> None:
    train, val = photos([15] * 4, spread=1.5, seed=1), photos([40] * 4, spread=1.5, seed=2)
    head, record = fit_head(train, val, 4, 0, Silent())
    assert record.temperature == pytest.approx(fit_temperature(head(val.embeddings), val.truth), rel=1e-4)


def test_few_validation_photos_leave_the_choice_to_folds() -> None:
    train, val = photos([15] * 4, seed=1), photos([5] * 4, seed=2, name="val")
    assert len(val.truth) < MIN_VALIDATION
    head, record = fit_head(train, val, 4, 0, Silent())
    assert record.chosen_on == "5 folds of training and validation (80 photos)"
    # The head itself has seen no validation photo.
    expected = reference(train, record)(val.embeddings)
    assert softmax(head(val.embeddings), axis=1) == pytest.approx(expected, abs=5e-3)


def test_without_validation_photos_folds_of_training_decide() -> None:
    head, record = fit_head(photos([20] * 3, spread=0.3), nothing(), 3, 0, Silent())
    assert record.chosen_on == "5 folds of training and validation (60 photos)"
    test = photos([20] * 3, spread=0.3, seed=3)
    assert accuracy(head(test.embeddings), test) == 1.0


def test_validation_photos_of_unknown_classes_choose_nothing() -> None:
    train, val = photos([20] * 4, seed=1), photos([30] * 4, seed=2)
    strange = Part(
        np.concatenate([val.embeddings, np.full((50, 12), 1e3, np.float32)]),
        np.concatenate([val.truth, np.full(50, -1)]),
        [*val.groups, *(f"strange {i}" for i in range(50))],
    )
    (one, how_one), (other, how_other) = (fit_head(train, part, 4, 0, Silent()) for part in (val, strange))
    assert how_one == how_other
    assert (one.weights == other.weights).all()


def test_unknown_classes_do_not_count_towards_enough_validation_photos() -> None:
    train, val = photos([20] * 4, seed=1), photos([30] * 4, seed=2)
    few = Part(val.embeddings, np.where(np.arange(120) < 50, val.truth, -1), val.groups)
    _, record = fit_head(train, few, 4, 0, Silent())
    assert record.chosen_on.startswith("5 folds")


@pytest.mark.parametrize("groups", [2, 5])
def test_folds_keep_groups_whole(groups: int) -> None:
    part = photos([20] * 4, groups=groups)
    folds = [heads._fold(part, rows) for rows in heads._folds(part, 0)]
    assert len(folds) == 5
    for fold in folds:
        assert not set(fold.train.groups) & set(fold.held_out.groups)
        assert len(fold.train.truth) + len(fold.held_out.truth) == 80
    held_out = sorted(group for fold in folds for group in fold.held_out.groups)
    assert held_out == sorted(part.groups)


def test_photos_are_judged_by_heads_that_have_not_learnt_from_them() -> None:
    part = photos([30] * 4, spread=0.8, groups=2)
    # One photo of the second class is labelled as the first, and one group has nothing to do with its label.
    truth = part.truth.copy()
    truth[[40, 41]] = 0
    searched, rows = heads.out_of_fold(Part(part.embeddings, truth, part.groups), 4, 0, Silent())
    given, same = heads.out_of_fold(Part(part.embeddings, truth, part.groups), 4, 0, Silent(), heads.START_C)
    assert sorted(rows.tolist()) == sorted(same.tolist()) == list(range(120))
    for said, places in ((searched, rows), (given, same)):
        assert said.dtype == np.float32
        judged = dict(zip(places.tolist(), said.argmax(axis=1).tolist(), strict=True))
        assert [judged[40], judged[41]] == [1, 1]
        assert np.mean([judged[row] == part.truth[row] for row in range(120)]) > 0.85


def test_copies_in_one_group_do_not_make_the_head_look_better() -> None:
    """Embeddings of pure noise: out-of-fold accuracy is chance only where copies are not on both sides."""
    random = np.random.default_rng(0)
    once = random.normal(size=(60, 40)).astype(np.float32)
    truth = np.repeat(random.integers(0, 3, 60), 4)
    copies = np.repeat(once, 4, axis=0)
    whole = Part(copies, truth, [str(i // 4) for i in range(240)])
    cut = Part(copies, truth, [str(i) for i in range(240)])
    honest, flattered = (fit_head(part, nothing(40), 3, 0, Silent())[1] for part in (whole, cut))
    assert min(trial.log_loss for trial in honest.trials) > 1.0
    assert max(trial.accuracy for trial in honest.trials) < 0.5
    assert max(trial.accuracy for trial in flattered.trials) > 0.7


@pytest.mark.parametrize("val", ["few", "many"])
def test_a_class_of_one_photo(val: str) -> None:
    train = photos([30, 30, 1], spread=0.2)
    held_out = photos([5, 5, 0] if val == "few" else [60, 60, 0], spread=0.2, seed=2, name="val")
    head, record = fit_head(train, held_out, 3, 0, Silent())
    test = photos([10, 10, 0], spread=0.2, seed=3)
    assert np.isfinite(head.weights).all()
    assert accuracy(head(test.embeddings), test) == 1.0
    assert head(train.embeddings[-1:]).argmax() == 2
    assert np.isfinite([trial.log_loss for trial in record.trials]).all()


@pytest.mark.parametrize("counts", [[1, 1], [2, 1], [2, 2], [1, 1, 1], [3, 1], [1, 3], [40, 1]])
@pytest.mark.parametrize("val", [[0, 0], [1, 0], [1, 1]])
def test_the_smallest_shops_get_a_head_of_their_training_photos(counts: list[int], val: list[int]) -> None:
    train = photos(counts, spread=0.1)
    held_out = photos([*val, *[0] * (len(counts) - 2)], spread=0.1, seed=1, name="val")
    head, record = fit_head(train, held_out, len(counts), 0, Silent())
    assert head.weights.shape == (12, len(counts))
    expected = reference(train, record)(train.embeddings)
    assert softmax(head(train.embeddings), axis=1) == pytest.approx(expected, abs=0.02)


def test_one_group_leaves_nothing_to_hold_out() -> None:
    train = photos([3, 3], spread=0.1, groups=6)
    _, record = fit_head(train, nothing(), 2, 0, Silent())
    assert record.chosen_on == "the training photos themselves: too few to hold any out"


@pytest.mark.parametrize(("counts", "tried"), [([30, 10], True), ([29, 10], False), ([30, 30], False)])
def test_imbalance_tries_balanced_weights(counts: list[int], tried: bool) -> None:
    _, record = fit_head(photos(counts), photos([60, 60], seed=1), 2, 0, Silent())
    assert [trial.class_weight for trial in record.trials].count("balanced") == int(tried)
    best = min((trial for trial in record.trials if trial.class_weight == "none"), key=lambda trial: trial.log_loss)
    assert record.regularisation == best.regularisation


def test_balanced_weights_are_taken_where_they_help() -> None:
    train, val = photos([300, 12, 12], spread=1.2, seed=1), photos([50] * 3, spread=1.2, seed=2)
    head, record = fit_head(train, val, 3, 0, Silent())
    assert record.class_weight == "balanced"
    plain = min((trial for trial in record.trials if trial.class_weight == "none"), key=lambda trial: trial.log_loss)
    assert record.trials[-1].log_loss < BALANCED_GAIN * plain.log_loss
    # Validation is balanced, so its accuracy is balanced accuracy.
    assert balanced_accuracy_score(val.truth, head(val.embeddings).argmax(axis=1)) > plain.accuracy


def test_balanced_weights_are_left_where_they_hardly_help() -> None:
    train, val = photos([120, 30], spread=0.8, seed=1), photos([240, 60], spread=0.8, seed=2)
    _, record = fit_head(train, val, 2, 0, Silent())
    assert record.trials[-1].class_weight == "balanced"
    assert record.class_weight == "none"


def test_the_same_photos_and_seed_give_the_same_head() -> None:
    train = photos([15] * 3, seed=1)
    (one, how_one), (other, how_other) = (fit_head(train, nothing(), 3, 7, Silent()) for _ in range(2))
    assert how_one == how_other
    assert (one.weights == other.weights).all()
    assert (one.bias == other.bias).all()


def test_the_search_tells_of_itself() -> None:
    class Listener(Silent):
        stages: list[tuple[str, int]]
        done = 0

        @contextmanager
        def stage(self, name: str, total: int) -> Iterator[Advance]:
            self.stages = [(name, total)]

            def advance(photos: int) -> None:
                self.done += photos

            yield advance

    listener = Listener()
    _, record = fit_head(photos([15] * 3), photos([40] * 3, seed=1), 3, 0, listener)
    assert listener.stages == [("Fitting the head", MOST_STEPS)]
    assert listener.done == len(record.trials)


def test_probabilities_are_the_softmax_at_the_temperature() -> None:
    logits = np.random.default_rng(0).normal(size=(20, 5)).astype(np.float32)
    found = probabilities(logits, 1.7)
    assert found.dtype == np.float64
    assert found == pytest.approx(softmax(logits.astype(np.float64) / 1.7, axis=1), rel=1e-6)


def test_nothing_but_the_first_setting_is_tried_when_time_is_up() -> None:
    train, val = photos([80, 80, 20], spread=0.5), photos([60, 60, 60], spread=0.5, seed=1)
    _, in_time = fit_head(train, val, 3, 0, Silent())
    head, late = fit_head(train, val, 3, 0, Silent(), deadline=0.0)
    assert len(in_time.trials) > 1
    assert [trial.regularisation for trial in late.trials] == [START_C]
    assert accuracy(head(val.embeddings), val) > 0.6
