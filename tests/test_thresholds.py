"""The promise on answers that need no person: exact bounds, planned orders, and how often it is broken."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from kramar.decisions import thresholds
from kramar.decisions.thresholds import Answers


def answers_of(confidence: list[float], right: list[bool]) -> Answers:
    return Answers(np.array(confidence, np.float64), np.array(right, bool))


@settings(deadline=None)
@given(st.integers(0, 400), st.integers(0, 40), st.floats(0.001, 0.5))
def test_the_tail_is_the_binomial_one(answers: int, wrong: int, share: float) -> None:
    wrong = min(wrong, answers)
    assert thresholds.tail(wrong, answers, share) == pytest.approx(stats.binom.cdf(wrong, answers, share), abs=1e-12)


def test_the_tail_of_many_answers() -> None:
    for wrong in (0, 1_800, 2_000, 2_200):
        assert thresholds.tail(wrong, 100_000, 0.02) == pytest.approx(
            stats.binom.cdf(wrong, 100_000, 0.02), rel=1e-6, abs=1e-300
        )
    assert thresholds.tail(0, 10, 0.0) == 1.0
    assert thresholds.tail(3, 10, 1.0) == 0.0
    assert thresholds.tail(10, 10, 1.0) == 1.0


def test_the_arithmetic_of_the_promise() -> None:
    assert thresholds.fewest(0.98) == 149
    assert thresholds.fewest(0.98, wrong=1) == 236
    assert thresholds.fewest(0.95) == 59
    assert thresholds.fewest(0.5) == 5


def test_a_plan_begins_where_most_speaks_for_it() -> None:
    # 300 sure answers without a mistake, then 100 of which a fifth are wrong.
    confidence = [*np.linspace(1, 0.9, 300), *np.linspace(0.89, 0.5, 100)]
    right = [True] * 300 + [place % 5 > 0 for place in range(100)]
    answers = answers_of(confidence, right)
    tried = thresholds.candidates(answers.confidence)
    assert len(tried) == thresholds.TRIED
    order = thresholds.plan(answers.at, tried, 0.95)
    assert sorted(order) == tried
    assert 0.88 < order[0] < 0.92
    assert order.index(tried[0]) > order.index(tried[len(tried) // 2])
    assert thresholds.plan(answers.at, [1.1], 0.95) == []


def test_equally_sure_answers_stay_together() -> None:
    mixed = answers_of([0.9] * 60 + [0.5], [True] * 59 + [False, True])
    tried = thresholds.candidates(mixed.confidence)
    assert tried == [0.5, 0.9]
    assert mixed.at(0.9) == (60, 1)
    assert mixed.at(0.5) == (61, 1)


def test_an_estimate_is_the_lowest_threshold_whose_own_answers_show_it() -> None:
    sure = answers_of([0.9] * 236 + [0.7] * 100, [True] * 235 + [False] + [True] * 60 + [False] * 40)
    assert thresholds.estimated(sure.at, [0.7, 0.9], 0.98) == 0.9
    # At 98%, one mistake is one too many of 235 answers; their share alone, 99.6%, would have done.
    few = answers_of([0.9] * 235, [True] * 234 + [False])
    assert thresholds.estimated(few.at, [0.9], 0.98) is None
    assert thresholds.estimated(sure.at, [], 0.5) is None


def test_testing_ends_at_the_first_that_is_not_shown() -> None:
    sure = answers_of([0.9] * 200 + [0.7] * 200 + [0.5] * 200, [True] * 200 + [False] * 200 + [True] * 200)
    assert thresholds.certify(sure.at, [0.9, 0.7, 0.5], 0.95) == 0.9
    assert thresholds.certify(sure.at, [0.7, 0.9], 0.95) is None
    assert thresholds.certify(sure.at, [], 0.95) is None
    few = answers_of([0.9] * 58, [True] * 58)
    assert thresholds.certify(few.at, [0.9], 0.95) is None
    assert thresholds.certify(answers_of([0.9] * 59, [True] * 59).at, [0.9], 0.95) == 0.9


def test_more_photos_help_only_where_there_is_something_to_show() -> None:
    generator = np.random.default_rng(0)
    confidence = generator.uniform(0.5, 1, 500)
    good = Answers(confidence, generator.uniform(size=500) < 0.99)
    tried = thresholds.candidates(confidence)
    needed = thresholds.photos_for(good.at, tried, 500, 0.95)
    assert needed is not None
    assert 59 <= needed < 500
    wrong = Answers(confidence, np.zeros(500, bool))
    assert thresholds.photos_for(wrong.at, tried, 500, 0.95) is None


def test_the_promise_is_broken_no_more_often_than_said() -> None:
    """A population whose answers are as sure as they are right, drawn from 400 times."""
    generator = np.random.default_rng(1)
    confidence = 1 - generator.beta(0.4, 3, 20_000)
    right = generator.uniform(size=20_000) < confidence
    population = Answers(confidence, right)
    broken, coverage = 0, []
    for _ in range(400):
        drawn = generator.integers(0, 20_000, 900)
        planning, testing = (Answers(confidence[some], right[some]) for some in (drawn[:300], drawn[300:]))
        order = thresholds.plan(planning.at, thresholds.candidates(planning.confidence), 0.95)
        threshold = thresholds.certify(testing.at, order, 0.95)
        number, wrong = population.at(threshold) if threshold is not None else (0, 0)
        broken += wrong > 0.05 * number
        coverage.append(number / 20_000)
    # 5% of 400 is 20; 30 would be seen once in a hundred times.
    assert broken <= 30
    assert np.mean(coverage) > 0.3
