"""Which photo is decided next."""

from __future__ import annotations

import numpy as np
import pytest

from kramar.errors import InputError
from kramar.reviewing.ordering import STRATEGIES, Waiting, ranked


def waiting(id_: int, margin: float, embedding: list[float], labels: tuple[str, str] = ("apple", "fig")) -> Waiting:
    return Waiting(id_, labels, margin, np.array(embedding, np.float16))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_each_gives_some_of_them_once(strategy: str) -> None:
    random = np.random.default_rng(0)
    some = [waiting(number, float(random.random()), random.normal(size=6).tolist()) for number in range(40)]
    found = ranked(strategy, some, 15, some[:3], np.random.default_rng(1))
    assert len(found) == len(set(found)) == 15
    assert found == ranked(strategy, some, 15, some[:3], np.random.default_rng(1))
    assert sorted(ranked(strategy, some, 100, [], np.random.default_rng(1))) == list(range(40))
    assert ranked(strategy, [], 5, [], random) == []


def test_the_most_uncertain_first() -> None:
    some = [waiting(number, margin, [1, 0]) for number, margin in enumerate((0.9, 0.1, 0.5))]
    assert ranked("uncertain", some, 3, [], np.random.default_rng(0)) == [1, 2, 0]


def test_diverse_ones_are_not_the_same_photo_again() -> None:
    burst = [waiting(number, 0.1, [5, 0.01 * number, 0]) for number in range(5)]
    others = [waiting(10, 0.3, [0, 5, 0]), waiting(11, 0.3, [0, 0, 5])]
    found = ranked("diverse", [*burst, *others], 3, [], np.random.default_rng(0))
    assert len([id_ for id_ in found if id_ < 10]) == 1
    # Nor what somebody else decides now.
    beside = [waiting(20, 0.1, [5, 0, 0])]
    assert ranked("diverse", [*burst, *others], 2, beside, np.random.default_rng(0)) in ([10, 11], [11, 10])
    # Of another model's width, nothing can be said.
    assert len(ranked("diverse", burst, 2, [waiting(20, 0.1, [5])], np.random.default_rng(0))) == 2


def test_classes_that_are_confused_often_come_first() -> None:
    random = np.random.default_rng(0)
    often = [waiting(number, 0.5, random.normal(size=8).tolist()) for number in range(9)]
    once = waiting(9, 0.5, random.normal(size=8).tolist(), ("kiwi", "lime"))
    assert 9 not in ranked("diverse", [*often, once], 5, [], random)


def test_an_unknown_order_is_told() -> None:
    with pytest.raises(InputError, match="expected one of diverse, uncertain, random, found 'best'"):
        ranked("best", [waiting(1, 0.1, [1])], 1, [], np.random.default_rng(0))
