"""The live precision of ``auto``: its figures, and an alarm that is raised for a reason only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from doubts import SOURCE, Clock, doubt
from kramar.evaluation.metrics import wilson
from kramar.reviewing import adding
from kramar.reviewing.alarm import LEVEL, rings, wealths
from kramar.reviewing.database import Database
from kramar.reviewing.live import live_precision
from kramar.reviewing.queue import Queue
from kramar.reviewing.records import ACCEPT, BAD_PHOTO, CATEGORY, SPOT_CHECK, UNKNOWN_THING


def alarms(share_wrong: float, checks: int, times: int, target: float, before: int = 0, seed: int = 0) -> float:
    """How often the alarm is raised in so many simulated weeks; ``before`` them, as few are wrong as is promised."""
    random = np.random.default_rng(seed)
    raised = 0
    for _ in range(times):
        wrong = [*(random.random(before) < 1 - target), *(random.random(checks) < share_wrong)]
        raised += rings(wrong, target) is not None
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


def test_nothing_is_told_before_the_first_check() -> None:
    assert rings([], 0.98) is None
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
    assert (live.target, live.alarm, live.since) == (0.9, False, None)
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
