"""How long a search will take, and how many epochs of each trial it has time for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from kramar.records import Record
from kramar.study.estimate import Estimator, Views
from kramar.study.search_space import Space

# Of a trial that is trained to the end, what one takes on average where weak ones are stopped early: 0.45 was measured,
# of 14 trials; more of 30 are trained to the end, and smaller batches take longer.
_AVERAGE = 0.6
# Of the trials on a frozen body, those whose augmentation no earlier one had: 8 to 10 of 29.
_ANEW = 1 / 3
# A ranking after fewer epochs than this share of all says little of the ranking after all of them.
_LEAST = 0.2


class Expected(Record):
    """``expected.json``: wall seconds on this machine, and how far each trial of the search goes.

    ``looks`` are a frozen body's at all photos, ``again`` what a later trial takes of that on average; ``epoch`` and
    ``test`` are one of each. Trials of the search have ``epochs`` of the recipe's ``full``; where these are fewer, the
    start and the best are trained anew in full before their test.
    """

    looks: float
    again: float
    epoch: float
    test: float
    full: int
    epochs: int

    @staticmethod
    def of(space: Space, estimator: Estimator, trials: int, left: float) -> Expected:
        """Of a search of ``space`` in ``left`` seconds, measured on its start."""
        base = space.base

        looked: set[Views] = set()

        def seconds(epochs: int) -> float:
            return estimator.seconds(replace(base, recipe=replace(base.recipe, epochs=epochs)), looked)

        # A frozen body's looks count for the first trial alone.
        first, one, two = seconds(1), seconds(1), seconds(2)
        full = base.recipe.epochs
        whole = Expected(
            looks=first - one,
            again=_ANEW * (first - one) if "augment" in space.axes else 0.0,
            epoch=two - one,
            test=one - (two - one),
            full=full,
            epochs=full,
        )
        shorter = [
            whole.model_copy(update={"epochs": epochs})
            for epochs in range(full, max(1, math.ceil(_LEAST * full)) - 1, -1)
        ]
        # The longest trials of which there is time for all; else those of which there is time for most.
        return next((one for one in shorter if one.room(left) >= trials), max(shorter, key=lambda one: one.room(left)))

    @property
    def shortened(self) -> bool:
        """Whether trials of the search have fewer epochs than the recipe."""
        return self.epochs < self.full

    @property
    def later(self) -> float:
        """Seconds of a trial that is trained to the end, the first aside."""
        return self.again + self.epochs * self.epoch

    @property
    def _average(self) -> float:
        return self.again + _AVERAGE * self.epochs * self.epoch

    @property
    def alone(self) -> float:
        """Seconds of the start and its test, without which there is no answer at all."""
        return self.looks + self.full * self.epoch + self.test

    def end(self, epochs: Sequence[float] = ()) -> float:
        """Seconds from the last trial to the report; ``epochs`` are measured ones of the start and the best."""
        again = self.full * sum([*epochs, self.epoch, self.epoch][:2]) if self.shortened else 0.0
        return again + 2 * self.test

    def whole(self, trials: int) -> float:
        """Seconds of a search of so many trials."""
        first = self.looks + self.epochs * self.epoch
        return self.alone if trials == 1 else first + (trials - 1) * self._average + self.end()

    def room(self, left: float) -> int:
        """How many trials ``left`` seconds have room for."""
        if left < self.whole(2):
            return 1
        return 2 + int((left - self.whole(2)) / max(self._average, 1e-9))
