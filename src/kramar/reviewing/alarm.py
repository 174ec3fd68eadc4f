"""Whether answers are still as precise as was promised, told while they come, without crying wolf.

Spot checks come one by one and are looked at after each, so that a test for a fixed number of them would reject sooner
or later whatever holds. What is tested here is a bet (Waudby-Smith and Ramdas 2024, Estimating means of bounded random
variables by betting, JRSS-B 86, arXiv:2010.09686): who bets on errors at the odds that the promise sets cannot be
expected to win, and by Ville's inequality has 1 / LEVEL times the stake at any time with a probability of at most LEVEL
as long as the promise holds.

Half of the stake is bet on all answers together. A category of a few in a hundred can go wrong without those becoming
much worse, so the other half is spread over the categories. Of them nothing was promised, and one that was wrong more
often than the promise has it from the first day breaks nothing: what is bet on there is that the share of its wrong
answers has risen. Whatever that share was, and however it fell, the bet against it cannot be expected to win
(universal inference, Wasserman, Ramdas and Balakrishnan 2020, PNAS 117(29), arXiv:1912.11436: the likelihood of who
predicts each check by those before it, over that of the shares that fit best and never rise). The mean of such bets is
one too. So where the promise holds and nothing becomes worse, the alarm is raised with a probability of at most LEVEL
over all the life of a model file.

The stake is spread over error rates, and over the check from which the precision may have fallen (as in
e-detectors, Shin, Ramdas and Rinaldo 2024, arXiv:2203.03532, with weights that sum to one): what was right for months
does not cover up what is wrong since yesterday.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

# With this probability at most, the alarm is ever raised while the promise holds and no category becomes worse.
LEVEL = 0.05
# What is bet on: so many times as many errors as are promised, but at most half of what is promised to be right.
_MORE = (1.5, 2.0, 4.0, 8.0, 16.0)
# A bet on a fall begins with every so many checks: with each of them, a late one would have too small a stake.
_EVERY = 25
# Of a category, there are fewer checks. A rise is bet on to shares that are these; before it, a share is thought to be
# as if so many wrong and right answers had been seen.
_EVERY_OF_ONE, _RISEN, _SEEN = 5, (0.1, 0.3, 0.5, 0.7, 0.9), (0.5, 5.0)


def wealths(wrong: Iterable[bool], target: float) -> Iterator[float]:
    """What a stake of 1 has become after each check, of answers promised to be right with the share ``target`` in
    (0, 1), of which these were ``wrong``."""
    allowed = 1 - target
    rates = sorted({min(more * allowed, (1 + allowed) / 2) for more in _MORE})
    stakes, unspent = [0.0] * len(rates), 1.0
    for number, error in enumerate(wrong):
        begun, into = divmod(number, _EVERY)
        spent = 0.0 if into else 1 / ((begun + 1) * (begun + 2))  # these sum to one
        unspent -= spent
        for place, rate in enumerate(rates):
            odds = rate / allowed if error else (1 - rate) / target
            stakes[place] = (stakes[place] + spent / len(rates)) * odds
        yield sum(stakes) + max(0.0, unspent)


def rises(wrong: Iterable[bool]) -> Iterator[float]:
    """What a stake of 1 on a rise has become after each answer of one category, of which these were ``wrong``."""
    stakes, unspent = [0.0] * len(_RISEN), 1.0
    # How probable who sees no rise had it, as a share of how probable it was at most.
    before, falling, errors = 1.0, _Falling(), 0
    for number, error in enumerate(wrong):
        begun, into = divmod(number, _EVERY_OF_ONE)
        spent = 1 / (begun * (begun + 1)) if begun and not into else 0.0  # these sum to one
        unspent -= spent
        less = falling.add(error=error)
        seen = _SEEN[0] + errors if error else _SEEN[1] + number - errors
        for place, rate in enumerate(_RISEN):
            stakes[place] = (stakes[place] + spent * before / len(_RISEN)) * (rate if error else 1 - rate) / less
        before *= seen / (sum(_SEEN) + number) / less
        errors += error
        yield sum(stakes) + max(0.0, unspent) * before


class _Falling:
    """The shares of wrong answers under which those that were seen are the most probable, and which never rise.

    They are constant over blocks of answers; the newest is pooled with those before it as long as it is higher.
    """

    def __init__(self) -> None:
        self._blocks: list[tuple[int, int]] = []

    def add(self, *, error: bool) -> float:
        """One answer more; by what it multiplies the probability of all."""
        wrong, answers, change = int(error), 1, 0.0
        while self._blocks and self._blocks[-1][0] * answers <= wrong * self._blocks[-1][1]:
            own, pooled = self._blocks.pop()
            change -= _log_likelihood(own, pooled)
            wrong, answers = wrong + own, answers + pooled
        self._blocks.append((wrong, answers))
        return math.exp(change + _log_likelihood(wrong, answers))


def _log_likelihood(wrong: int, answers: int) -> float:
    """Of so many wrong ones under the share that they are."""
    return sum(count * math.log(count / answers) for count in (wrong, answers - wrong) if count)


@dataclass(frozen=True, slots=True)
class Stakes:
    """After a check, what a stake of 1 has become on all answers together, and spread over the categories; ``alone``
    is what it has become on each of these, and goes on changing."""

    together: float
    spread: float
    alone: Mapping[str, float]


def stakes(checks: Sequence[tuple[str, bool]], target: float, categories: int) -> Iterator[Stakes]:
    """The same after each of the checks: the category of an answer, and whether it was wrong.

    ``target`` in (0, 1) is promised of all answers, which are of so many ``categories``.
    """
    own: dict[str, list[bool]] = {}
    for category, error in checks:
        own.setdefault(category, []).append(error)
    among = max(categories, len(own))
    alone = {category: rises(wrong) for category, wrong in own.items()}
    has, spread = dict.fromkeys(own, 1.0), 1.0
    together = wealths((error for _, error in checks), target)
    for (category, _), wealth in zip(checks, together, strict=True):
        now = next(alone[category])
        spread += (now - has[category]) / among
        has[category] = now
        yield Stakes(wealth, spread, has)


@dataclass(frozen=True, slots=True)
class Raised:
    """The alarm: by which check, counted from 1, and for which category; "" for all together."""

    check: int
    category: str


def rings(checks: Sequence[tuple[str, bool]], target: float, categories: int) -> Raised | None:
    """What raised the alarm, of checks as `stakes` takes them; None where nothing did.

    What comes later does not take it back.
    """
    for number, after in enumerate(stakes(checks, target, categories), start=1):
        if (after.together + after.spread) / 2 >= 1 / LEVEL:
            most = max(after.alone, key=after.alone.__getitem__)
            return Raised(
                number, most if after.alone[most] / max(categories, len(after.alone)) > after.together else ""
            )
    return None
