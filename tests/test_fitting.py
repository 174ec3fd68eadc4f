"""Decisions by photos: estimated by those that chose the model, guaranteed by others, and what they do."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from kramar.data.tree import Tree
from kramar.decisions import fitting
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
    known = fitting.estimated(shop(600, 0), PATHS, 0.95, 0.9, 0)
    assert not known.auto.guaranteed
    assert known.auto.threshold is not None
    assert known.auto.needed is not None
    new = fitting.promised(shop(900, 1), PATHS, 0.95, 0.9, 0)
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
    loose, strict = (fitting.promised(shop(2000, 1), PATHS, share, 0.95, 0).auto for share in (0.8, 0.97))
    assert loose.guaranteed
    assert loose.threshold is not None
    assert strict.threshold is not None
    assert loose.threshold < strict.threshold


def test_few_photos_promise_nothing_and_say_how_many_would() -> None:
    few = fitting.promised(shop(60, 1), PATHS, 0.98, 0.95, 0)
    assert not few.auto.guaranteed
    assert few.auto.photos == 60
    assert few.auto.needed is None or few.auto.needed >= 149


def test_a_group_counts_once() -> None:
    grouped = fitting.promised(shop(600, 1, groups=30), PATHS, 0.95, 0.9, 0)
    assert grouped.auto.photos == 30
    assert not grouped.auto.guaranteed


def test_labels_that_the_model_lacks_are_wrong_answers() -> None:
    sure = np.tile(np.array([[0.99, 0.01, 0, 0, 0]], np.float32), (300, 1))
    known = Scored.of(sure, ["Gala"] * 300, LABELS, [str(place) for place in range(300)])
    strange = Scored.of(sure, ["Brick"] * 300, LABELS, [str(place) for place in range(300)])
    assert fitting.promised(known, PATHS, 0.98, 0.95, 0).auto.guaranteed
    none = fitting.promised(strange, PATHS, 0.98, 0.95, 0)
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
