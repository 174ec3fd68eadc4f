"""Answers at each level of the category tree, and how far off mistakes are, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from kramar.evaluation.intervals import score_interval
from kramar.evaluation.levels import levels
from kramar.evaluation.metrics import Scored, wilson
from kramar.records import TreeScores

PATHS = {
    "gala": "Fruit/Apple/Gala",
    "fuji": "Fruit/Apple/Fuji",
    "lemon": "Fruit/Lemon",
    "oat": "Milk/Oat",
    "pear": "Fruit/Pear",
    "braeburn": "Fruit/Apple/Braeburn",
}
CLASSES = ["gala", "fuji", "lemon", "oat"]
# Truth and answer; the model knows neither pears nor Braeburns.
SHOP = [
    ("gala", "gala"),
    ("gala", "fuji"),
    ("fuji", "lemon"),
    ("lemon", "lemon"),
    ("lemon", "oat"),
    ("pear", "lemon"),
    ("braeburn", "gala"),
    ("oat", "oat"),
]


def told(
    answers: list[tuple[str, str]],
    paths: dict[str, str] = PATHS,
    classes: list[str] = CLASSES,
    groups: list[str] | None = None,
) -> TreeScores | None:
    probabilities = np.eye(len(classes))[[classes.index(answer) for _, answer in answers]]
    own = groups or [str(photo) for photo in range(len(answers))]
    return levels(Scored.of(probabilities, [truth for truth, _ in answers], classes, own), paths)


def test_every_level_has_its_categories_and_right_answers() -> None:
    found = told(SHOP)
    assert found is not None
    # A lemon is wrong as milk everywhere; a pear, and an apple as a lemon, are right as fruit; a Braeburn as an apple.
    assert [(one.level, one.categories, one.accuracy) for one in found.levels] == [
        (1, 2, wilson(7, 8)),
        (2, 3, wilson(5, 8)),
        (3, 4, wilson(3, 8)),
    ]


def test_mistakes_are_as_far_off_as_truth_and_answer_meet_high() -> None:
    found = told(SHOP)
    assert found is not None
    assert found.distance is not None
    assert (found.distance.value, found.distance.n) == (pytest.approx((1 + 2 + 3 + 2 + 1) / 5), 5)
    # 1.8 is four tenths of the way from 1 to 3.
    assert (found.distance.low, found.distance.high) == pytest.approx([1 + 2 * end for end in score_interval(0.4, 5)])
    by_chance = [
        (1 + 2 + 3) / 3,  # a Gala as Fuji, lemon, oat
        (1 + 2 + 3) / 3,
        (2 + 2 + 3) / 3,  # a lemon as Gala, Fuji, oat
        (2 + 2 + 2 + 3) / 4,  # a pear as any class
        (1 + 1 + 2 + 3) / 4,
    ]
    assert found.chance_distance == pytest.approx(sum(by_chance) / 5)


def test_without_mistakes_there_is_no_distance() -> None:
    found = told([("gala", "gala"), ("oat", "oat")])
    assert found is not None
    assert (found.distance, found.chance_distance) == (None, None)
    assert [one.accuracy for one in found.levels] == [wilson(2, 2)] * 3


def test_mistakes_that_are_all_alike_are_not_certain_and_those_of_a_product_are_one() -> None:
    alone, together = told([("gala", "fuji")] * 3), told([("gala", "fuji")] * 3, groups=["a", "a", "a"])
    assert alone is not None
    assert together is not None
    for found, mistakes in ((alone.distance, 3), (together.distance, 1)):
        assert found is not None
        assert (found.value, found.low, found.n) == (1, 1, 3)
        assert found.high == pytest.approx(1 + 2 * score_interval(0, mistakes)[1])


def test_classes_side_by_side_are_no_tree() -> None:
    assert told([("gala", "oat")], {label: label for label in CLASSES}) is None


def test_several_classes_of_one_path_stand_below_it() -> None:
    paths = {"gala": "Fruit", "fuji": "Fruit", "oat": "Milk"}
    found = told([("gala", "fuji"), ("oat", "oat"), ("oat", "gala")], paths, ["fuji", "gala", "oat"])
    assert found is not None
    assert [(one.categories, one.accuracy) for one in found.levels] == [(2, wilson(2, 3)), (3, wilson(1, 3))]
    assert found.distance is not None
    assert found.distance.value == pytest.approx((1 + 2) / 2)
    # Whatever else is named like it.
    clash = {"gala": "Fruit", "fuji": "Fruit", "other": "Fruit/gala"}
    found = told([("gala", "other")], clash, ["fuji", "gala", "other"])
    assert found is not None
    assert found.distance is not None
    assert found.distance.value == 1


def test_a_class_may_be_a_category_of_others() -> None:
    paths = {"fruit": "Fruit", "gala": "Fruit/Apple/Gala", "oat": "Milk"}
    found = told([("fruit", "gala"), ("gala", "fruit"), ("gala", "gala")], paths, ["fruit", "gala", "oat"])
    assert found is not None
    assert [one.accuracy.value for one in found.levels] == pytest.approx([1, 1 / 3, 1 / 3])
    assert found.distance is not None
    assert found.distance.value == 2
