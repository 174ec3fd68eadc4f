"""The live precision of ``auto``: its figures, and an alarm that is raised for a reason only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from doubts import SOURCE, Clock, doubt
from kramar.evaluation.metrics import wilson
from kramar.reviewing import adding
from kramar.reviewing.alarm import LEVEL, Raised, rings, rises, wealths
from kramar.reviewing.database import Database
from kramar.reviewing.live import live_precision
from kramar.reviewing.queue import Queue
from kramar.reviewing.records import ACCEPT, BAD_PHOTO, CATEGORY, SPOT_CHECK, UNKNOWN_THING


def alarms(share_wrong: float, checks: int, times: int, target: float, before: int = 0, seed: int = 0) -> float:
    """How often the alarm is raised in so many simulated weeks, of 20 categories alike; ``before`` them, as few are
    wrong as is promised."""
    random = np.random.default_rng(seed)
    raised = 0
    for _ in range(times):
        wrong = [*(random.random(before) < 1 - target), *(random.random(checks) < share_wrong)]
        categories = random.integers(0, 20, len(wrong)).astype(str).tolist()
        raised += rings(list(zip(categories, wrong, strict=True)), target, 20) is not None
    return raised / times


@pytest.mark.parametrize("target", [0.5, 0.9, 0.98, 0.995])
def test_it_is_hardly_ever_false(target: float) -> None:
    # As many wrong as the promise allows at most, looked at after each of 1,000 checks: 5% at most, and its noise.
    assert alarms(1 - target, 1000, 300, target) <= LEVEL + 0.03
    assert alarms((1 - target) / 2, 1000, 100, target) <= 0.01


@pytest.mark.parametrize(("share", "checks", "before"), [(0.10, 300, 0), (0.10, 400, 300), (0.06, 1200, 0)])
def test_it_is_raised_when_answers_become_worse(share: float, checks: int, before: int) -> None:
    assert alarms(share, checks, 100, 0.98, before) >= 0.95


def test_a_bet_cannot_be_expected_to_win() -> None:
    # Exactly as many wrong as promised: the mean over all sequences of 12 checks is the stake.
    target = 0.75
    total = 0.0
    for bits in range(2**12):
        wrong = [bool(bits >> place & 1) for place in range(12)]
        chance = (1 - target) ** sum(wrong) * target ** (12 - sum(wrong))
        total += chance * list(wealths(wrong, target))[-1]
    assert total == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("share", [0.02, 0.2, 0.5, 0.9])
@pytest.mark.parametrize("falls_to", [1.0, 0.4, 0.0])
def test_a_bet_on_a_rise_cannot_be_expected_to_win(share: float, falls_to: float) -> None:
    # Of any share of wrong answers, constant or falling: the mean over all sequences of 12 checks is at most the stake.
    total = 0.0
    for bits in range(2**12):
        wrong = [bool(bits >> place & 1) for place in range(12)]
        shares = [share] * 6 + [share * falls_to] * 6
        chance = float(np.prod([one if error else 1 - one for error, one in zip(wrong, shares, strict=True)]))
        total += chance * list(rises(wrong))[-1]
    assert 0 < total <= 1


def test_the_shares_that_never_rise_are_those_of_isotonic_regression() -> None:
    from sklearn.isotonic import IsotonicRegression

    from kramar.reviewing.alarm import _Falling

    wrong = np.random.default_rng(0).random(60) < 0.3
    falling, likelihood = _Falling(), 1.0
    for error in wrong.tolist():
        likelihood *= falling.add(error=error)
    shares = IsotonicRegression(increasing=False).fit_transform(np.arange(60), wrong.astype(float))
    assert likelihood == pytest.approx(float(np.prod(np.where(wrong, shares, 1 - shares))), rel=1e-9)


def checks(*parts: tuple[int, float, float], seed: int = 0) -> list[tuple[str, bool]]:
    """Checks of 10 categories, part by part: how many, which share is wrong of category "0", and of the others."""
    random, found = np.random.default_rng(seed), []
    for number, of_first, of_others in parts:
        drawn = random.integers(0, 10, number).tolist()
        found += [(str(one), bool(random.random() < (of_others if one else of_first))) for one in drawn]
    return found


def test_a_category_that_becomes_worse_raises_it_and_is_named() -> None:
    raised = [rings(checks((500, 0.0, 0.0), (250, 0.95, 0.0), seed=seed), 0.85, 10) for seed in range(20)]
    assert {one.category for one in raised if one} == {"0"}
    assert all(one and 500 < one.check <= 750 for one in raised)
    # All together keep the promise.
    assert all(
        max(wealths([wrong for _, wrong in checks((500, 0.0, 0.0), (250, 0.95, 0.0), seed=seed)], 0.85)) < 1 / LEVEL
        for seed in range(20)
    )


def test_a_category_that_was_worse_from_the_first_day_raises_nothing() -> None:
    assert [rings(checks((2000, 0.6, 0.0), seed=seed), 0.92, 10) for seed in range(20)] == [None] * 20
    # Nor does one that becomes better.
    assert [rings(checks((500, 0.6, 0.0), (500, 0.0, 0.0), seed=seed), 0.92, 10) for seed in range(20)] == [None] * 20


def test_all_together_raise_it_where_all_become_worse() -> None:
    found = rings(checks((300, 0.2, 0.2)), 0.98, 10)
    assert found == Raised(found.check if found else 0, "")


def test_nothing_is_told_before_the_first_check() -> None:
    assert rings([], 0.98, 3) is None
    assert list(rises([])) == []
    assert list(wealths([], 0.98)) == []
    # The first bet was placed before it: the wealth never falls below what was not bet.
    assert next(wealths([False], 0.98)) == pytest.approx(1.0, abs=0.5)


def test_checks_count_as_they_stand(tmp_path: Path) -> None:
    clock = Clock()
    database = Database(str(tmp_path / "review.sqlite"))
    checks = [doubt(number, 0.99, SPOT_CHECK, first="kiwi" if number % 2 else "apple") for number in range(8)]
    adding.add(database, SOURCE, [*checks, doubt(50)], clock())
    queue = Queue(database, now=clock)
    items = queue.claim("Ann", 9)
    assert live_precision(database, SOURCE.sha256).precision is None
    queue.decide(items[0].id, "Ann", ACCEPT)
    queue.decide(items[1].id, "Ann", CATEGORY, "fig")
    queue.decide(items[2].id, "Ann", UNKNOWN_THING)
    queue.decide(items[3].id, "Ann", BAD_PHOTO)
    queue.decide(items[4].id, "Ann", ACCEPT)
    queue.decide(items[4].id, "Bob", UNKNOWN_THING, second=True)
    queue.decide(items[5].id, "Ann", CATEGORY, "kiwi")
    queue.decide(items[8].id, "Ann", UNKNOWN_THING)  # no spot check
    live = live_precision(database, SOURCE.sha256)
    assert live.precision == wilson(2, 4)
    assert (live.wrong, live.left_out, live.waiting) == ({"apple": 1, "kiwi": 1}, 2, 2)
    assert (live.target, live.alarm, live.since, live.category) == (0.9, False, None, "")
    assert live_precision(database, "f" * 64).precision is None


def test_the_alarm_stays(tmp_path: Path) -> None:
    clock = Clock()
    database = Database(str(tmp_path / "review.sqlite"))
    adding.add(database, SOURCE, [doubt(number, 0.99, SPOT_CHECK) for number in range(60)], clock())
    queue = Queue(database, now=clock)
    for number, item in enumerate(queue.claim("Ann", 60)):
        queue.decide(item.id, "Ann", UNKNOWN_THING if 10 <= number < 20 else ACCEPT)
    live = live_precision(database, SOURCE.sha256)
    assert live.alarm
    assert live.since is not None
    assert 10 < live.since <= 20
