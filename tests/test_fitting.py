"""Decisions by photos: estimated by those that chose the model, guaranteed by others, and what they do."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from kramar.data.tree import Tree
from kramar.decisions import fitting
from kramar.decisions.calibration import log_loss, logits_of, stretched
from kramar.decisions.fitting import Asked
from kramar.evaluation.decided import decided
from kramar.evaluation.metrics import Scored
from kramar.records import ClassCard, Decisions, Promise
from kramar.runtime.rule import Rule

PATHS = ["Fruit/Apple/Gala", "Fruit/Apple/Fuji", "Fruit/Lemon", "Milk/Oat", "Milk/Soy"]
CARDS = [ClassCard(label=path.rpartition("/")[2], category=path) for path in PATHS]
LABELS = [card.label for card in CARDS]


def shop(photos: int, seed: int, groups: int | None = None) -> Scored:
    """Calibrated answers of a model that takes apples for each other, and some photos for anything."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, 5, photos)
    logits = np.zeros((photos, 5))
    clear = generator.uniform(size=photos) < 0.85
    seen = np.where(clear, 6.0, 1.0)
    logits[np.arange(photos), truth] += seen
    # Half of the apples could be either.
    apples = (truth < 2) & (generator.uniform(size=photos) < 0.5)
    logits[apples, 1 - truth[apples]] += seen[apples]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    # What is true is drawn from what is said, so that it is calibrated.
    drawn = (probabilities.cumsum(axis=1) > generator.uniform(size=(photos, 1))).argmax(axis=1)
    keys = [str(place % (groups or photos)) for place in range(photos)]
    return Scored.of(probabilities.astype(np.float32), [LABELS[place] for place in drawn], LABELS, keys)


def rule(decisions: Decisions) -> Rule:
    return Rule(decisions, CARDS)


def test_photos_that_chose_the_model_estimate_and_others_guarantee() -> None:
    known = fitting.estimated(shop(600, 0), PATHS, Asked(0.95, 0.9), 0)
    assert not known.auto.guaranteed
    assert known.auto.threshold is not None
    assert known.auto.needed is not None
    new = fitting.promised(shop(900, 1), PATHS, Asked(0.95, 0.9), 0)
    assert new.auto.guaranteed
    assert new.auto.photos == 900
    assert not new.coarse.guaranteed
    found = decided(shop(5000, 2), rule(new))
    assert found.guaranteed
    assert found.precision is not None
    assert found.precision.value >= 0.95
    assert found.coverage.value > 0.4
    # Apples that could be either are still apples.
    assert found.coarse.value > 0.05
    assert found.coarse_precision is not None
    assert found.coarse_precision.value > 0.9
    assert "2" in found.coarse_levels
    assert found.set_coverage is not None
    # Many probabilities are equal, and a set has all or none of those.
    assert found.set_coverage.value > 0.88
    assert found.set_size is not None
    assert 1 <= found.set_size < 2.5
    assert found.curve[-1].coverage == 1.0
    assert all(a.coverage < b.coverage for a, b in zip(found.curve, found.curve[1:], strict=False))


def test_a_stricter_promise_has_a_higher_threshold() -> None:
    loose, strict = (fitting.promised(shop(2000, 1), PATHS, Asked(share, 0.95), 0).auto for share in (0.8, 0.97))
    assert loose.guaranteed
    assert loose.threshold is not None
    assert strict.threshold is not None
    assert loose.threshold < strict.threshold


def test_few_photos_promise_nothing_and_say_how_many_would() -> None:
    few = fitting.promised(shop(60, 1), PATHS, Asked(0.98, 0.95), 0)
    assert not few.auto.guaranteed
    assert few.auto.photos == 60
    assert few.auto.needed is None or few.auto.needed >= 149 / 0.75


def test_a_group_counts_once() -> None:
    grouped = fitting.promised(shop(600, 1, groups=30), PATHS, Asked(0.95, 0.9), 0)
    assert grouped.auto.photos == 30
    assert not grouped.auto.guaranteed


def lopsided(photos: int, seed: int) -> Scored:
    """Answers of a model that is as sure of one class as of the others, and right in half of them."""
    generator = np.random.default_rng(seed)
    said = generator.integers(0, 5, photos)
    wrong = generator.uniform(size=photos) < np.where(said == 4, 0.5, 0.002)
    truth = np.where(wrong, (said + 1) % 5, said)
    sure = generator.uniform(0.9, 0.999, photos)
    probabilities = np.repeat((1 - sure)[:, None] / 4, 5, axis=1)
    probabilities[np.arange(photos), said] = sure
    keys = [str(place) for place in range(photos)]
    return Scored.of(probabilities.astype(np.float32), [LABELS[one] for one in truth], LABELS, keys)


def test_a_promise_of_each_class_leaves_out_those_that_do_not_show_it() -> None:
    together, each = (fitting.promised(lopsided(4000, 0), PATHS, Asked(0.85, by_class=one), 0) for one in (False, True))
    # All answers together keep it, and those of one class are wrong half of the time.
    assert together.auto.guaranteed
    assert together.auto_by_class == []
    assert decided(lopsided(20_000, 1), rule(together)).precision_by_class["Soy"].value < 0.6
    assert each.auto.guaranteed
    assert [one is None for one in each.auto_by_class] == [False] * 4 + [True]
    assert each.auto.threshold == min(one for one in each.auto_by_class if one is not None)
    found = decided(lopsided(20_000, 1), rule(each))
    assert found.by_class
    assert set(found.precision_by_class) == set(LABELS[:4])
    assert min(one.value for one in found.precision_by_class.values()) >= 0.85
    assert "at 85% precision of each category (guaranteed" in found.no_person()


def test_promises_of_all_classes_hold_together() -> None:
    # Five classes that are right in less than 90%: of 200 draws, at most 5% may promise 90% of any of them.
    broken = 0
    for seed in range(200):
        generator = np.random.default_rng(seed)
        said = generator.integers(0, 5, 1500)
        truth = np.where(generator.uniform(size=1500) < 0.895, said, (said + 1) % 5)
        probabilities = np.full((1500, 5), 0.01, np.float32)
        probabilities[np.arange(1500), said] = 0.96
        keys = [str(place) for place in range(1500)]
        scored = Scored.of(probabilities, [LABELS[one] for one in truth], LABELS, keys)
        broken += fitting.promised(scored, PATHS, Asked(0.9, by_class=True), 0).auto.guaranteed
    assert broken <= 10


def test_few_photos_of_each_class_only_estimate() -> None:
    # A fifth of three quarters test each class: 15 answers; all right, it takes 21 for 80% at a fifth of 5%.
    few = fitting.promised(lopsided(100, 0), PATHS, Asked(0.8, by_class=True), 0)
    assert not few.auto.guaranteed
    assert few.auto.threshold is not None
    assert few.auto_by_class[4] is None
    none = fitting.estimated(lopsided(40, 0), PATHS, Asked(0.98, by_class=True), 0)
    # What was asked for stays known where nothing was shown.
    assert (none.auto.threshold, none.auto_by_class) == (None, [None] * 5)
    assert none.auto.needed is None or none.auto.needed > 5 * 149 / 0.75


def test_labels_that_the_model_lacks_are_wrong_answers() -> None:
    sure = np.tile(np.array([[0.99, 0.01, 0, 0, 0]], np.float32), (300, 1))
    known = Scored.of(sure, ["Gala"] * 300, LABELS, [str(place) for place in range(300)])
    strange = Scored.of(sure, ["Brick"] * 300, LABELS, [str(place) for place in range(300)])
    assert fitting.promised(known, PATHS, Asked(0.98, 0.95), 0).auto.guaranteed
    none = fitting.promised(strange, PATHS, Asked(0.98, 0.95), 0)
    assert none.auto.threshold is None
    assert none.set_least is None
    found = decided(strange, rule(none))
    assert (found.coverage.value, found.precision, found.set_coverage) == (0.0, None, None)


def of(auto: float | None, coarse: float | None, least: float | None = None) -> Decisions:
    return Decisions(
        precision_target=0.9,
        auto=Promise(threshold=auto),
        coarse=Promise(threshold=coarse),
        set_coverage=0.9,
        set_least=least,
    )


SAID: npt.NDArray[np.float32] = np.array(
    [[0.95, 0.05, 0, 0, 0], [0.5, 0.45, 0.05, 0, 0], [0.3, 0.2, 0.2, 0.2, 0.1]], np.float32
)


def test_the_rule_says_what_is_done_with_each_answer() -> None:
    found = rule(of(0.9, 0.9, 0.3))(SAID)
    assert [one.decision for one in found] == ["auto", "coarse", "review"]
    assert [one.category for one in found] == ["Fruit/Apple/Gala", "Fruit/Apple", "Fruit/Apple/Gala"]
    assert [one.members for one in found] == [[0], [0, 1], [0]]


def test_without_thresholds_a_person_sees_all() -> None:
    found = rule(of(None, None))(SAID)
    assert [one.decision for one in found] == ["review"] * 3
    assert [one.members for one in found] == [[], [], []]
    assert Tree(PATHS).categories == ["Fruit", "Fruit/Apple", "Milk"]


def strange(photos: int, seed: int) -> Scored:
    """The shop's answers, a fifth of them of a label that the model does not have, with unknown scores."""
    known, generator = shop(photos, seed), np.random.default_rng(seed + 1)
    other = generator.uniform(size=photos) < 0.2
    labels = ["Brick" if own else label for own, label in zip(other, known.labels, strict=True)]
    scores = generator.uniform(size=photos) + 0.9 * other
    return Scored.of(known.probabilities, labels, LABELS, known.groups, scores.astype(np.float32))


def test_a_twentieth_of_known_photos_may_be_called_unknown() -> None:
    decisions = fitting.estimated(strange(2000, 0), PATHS, Asked(0.9, 0.9), 0)
    assert decisions.unknown_above is not None
    assert abs(decisions.unknown_above - 0.95) < 0.02
    found = decided(strange(5000, 9), rule(decisions))
    assert found.unknown_false is not None
    assert abs(found.unknown_false.value - 0.05) < 0.02
    assert found.unknown_found is not None
    assert found.unknown_found.value > 0.9
    assert found.unknown is not None
    assert abs(found.unknown.value - (0.8 * found.unknown_false.value + 0.2 * found.unknown_found.value)) < 0.02
    # What is called unknown is not answered, however sure the model is; so that other labels cost few answers.
    without = decided(shop(5000, 9), rule(decisions))
    assert (without.unknown, without.unknown_false, without.unknown_found) == (None, None, None)
    assert found.precision is not None
    assert found.precision.value > 0.88


def test_photos_that_plan_choose_from_where_a_photo_is_unknown() -> None:
    decisions = fitting.promised(strange(2000, 0), PATHS, Asked(0.8, 0.9), 0)
    assert decisions.auto.guaranteed
    assert decisions.unknown_above is not None
    assert decisions.unknown_above != fitting.estimated(strange(2000, 0), PATHS, Asked(0.8, 0.9), 0).unknown_above
    found = decided(strange(20_000, 9), rule(decisions))
    assert found.precision is not None
    assert found.precision.value >= 0.8
    few = fitting.estimated(strange(18, 0), PATHS, Asked(0.8, 0.9), 0)
    assert few.unknown_above is None
    assert not rule(few).unknown(np.array([9.0]), 1).any()


def test_an_unknown_photo_has_no_category() -> None:
    decisions = of(0.9, 0.9, 0.3).model_copy(update={"unknown_above": 0.5})
    found = rule(decisions)(SAID, np.array([0.6, 0.5, 0.7], np.float32))
    assert [(one.decision, one.category) for one in found] == [
        ("unknown", ""),
        ("coarse", "Fruit/Apple"),
        ("unknown", ""),
    ]
    assert [one.decision for one in rule(decisions)(SAID)] == ["auto", "coarse", "review"]


def test_new_photos_mend_a_temperature() -> None:
    sure = stretched(shop(1200, 3), 1 / 3)
    factor = fitting.stretch(sure, 0)
    assert abs(factor - 3) < 0.6
    assert log_loss(logits_of(sure.probabilities), sure.truth, factor) < log_loss(
        logits_of(sure.probabilities), sure.truth
    )
    # The temperature of a hundred photos or fewer would make a model too unsure.
    assert fitting.stretch(stretched(shop(396, 3), 1 / 3), 0) == 1.0
    assert fitting.stretch(stretched(shop(1200, 3, groups=300), 1 / 3), 0) == 1.0


def test_sets_of_each_class_by_its_own_photos() -> None:
    # A model that is half as sure of one class's photos, and then often of another.
    generator = np.random.default_rng(4)
    truth = generator.integers(0, 5, 6000)
    logits = generator.normal(size=(6000, 5))
    logits[np.arange(6000), truth] += np.where(truth == 4, 1.0, 4.0)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    scored = Scored.of(probabilities, [LABELS[one] for one in truth], LABELS, [str(one) for one in range(6000)])
    pooled, own = (
        decided(scored, rule(fitting.estimated(scored, PATHS, Asked(0.9, 0.9, class_sets=one), 0)))
        for one in (False, True)
    )
    assert min(one.value for one in pooled.set_by_class.values()) < 0.8
    assert set(own.set_by_class) == set(LABELS)
    assert all(one.value >= 0.9 - 0.01 for one in own.set_by_class.values())
    # Of few photos, the others' bound.
    few = fitting.estimated(shop(60, 1), PATHS, Asked(0.9, 0.95, class_sets=True), 0)
    assert few.set_least is not None
    assert None in few.set_least_by_class
    assert len(rule(few).sets(SAID)) == 3
