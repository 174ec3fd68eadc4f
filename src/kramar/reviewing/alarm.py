"""Whether answers are still as precise as was promised, told while they come, without crying wolf.

Spot checks come one by one and are looked at after each, so that a test for a fixed number of them would reject sooner
or later whatever holds. What is tested here is a bet (Waudby-Smith and Ramdas 2024, Estimating means of bounded random
variables by betting, JRSS-B 86, arXiv:2010.09686): who bets on errors at the odds that the promise sets cannot be
expected to win, and by Ville's inequality has 1 / LEVEL times the stake at any time with a probability of at most LEVEL
as long as the promise holds. So the alarm is false with at most that probability, over all the life of a model file.
The stake is spread over error rates, and over the check from which the precision may have fallen (as in
e-detectors, Shin, Ramdas and Rinaldo 2024, arXiv:2203.03532, with weights that sum to one): what was right for months
does not cover up what is wrong since yesterday.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

# With this probability at most, the alarm is ever raised while the promise holds.
LEVEL = 0.05
# What is bet on: so many times as many errors as are promised, but at most half of what is promised to be right.
_MORE = (1.5, 2.0, 4.0, 8.0, 16.0)
# A bet on a fall begins with every so many checks: with each of them, a late one would have too small a stake.
_EVERY = 25


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


def rings(wrong: Iterable[bool], target: float) -> int | None:
    """The check, counted from 1, that raised the alarm; None where none did. What comes later does not take it back."""
    for number, wealth in enumerate(wealths(wrong, target), start=1):
        if wealth >= 1 / LEVEL:
            return number
    return None
