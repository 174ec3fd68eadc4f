"""Rung 5: the best model so far, or several of them together, teach a smaller one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from accelerate import Accelerator

from kramar.decisions.calibration import probabilities
from kramar.models.engines import Opened
from kramar.training.climb import Climbed, Ground, Limits, Step
from kramar.training.ladder import best
from kramar.training.rungs.tail import RECIPE, TailLearner
from kramar.training.teacher import Teacher

# Several models teach together where that is more accurate on validation by so much: they take longer to ask.
ENSEMBLE_GAIN = 0.005


class DistilledRung:
    """The tail of the first backbone, taught by what stands above it."""

    key = rung = "distilled"

    def __init__(self, ground: Ground, accelerator: Accelerator, backbone: str, opener: Callable[[], Opened]) -> None:
        self._ground, self._backbone = ground, backbone
        self._learner = TailLearner(ground, accelerator, opener)

    def plan(self, seconds: float, climbed: Mapping[str, Climbed]) -> Step:
        """Who teaches, and how long."""
        teachers = self._teachers(climbed)
        if not teachers:
            return Step(do=False, why="no model is better than the one that would learn")
        step = self._learner.plan(seconds, asking=self._teacher([one.key for one in teachers]).rate())
        return step.model_copy(update={"models": [one.key for one in teachers]})

    def climb(self, step: Step, climbed: Mapping[str, Climbed]) -> Climbed:
        """Ask, learn, write."""
        teacher = self._teacher(step.models)
        return self._learner.learn(step, self.key, self.rung, climbed, teacher, " and ".join(step.models))

    def _teacher(self, keys: Sequence[str]) -> Teacher:
        return Teacher([self._ground.model_file(key) for key in keys], RECIPE.augment, RECIPE.strength)

    def _teachers(self, climbed: Mapping[str, Climbed]) -> list[Climbed]:
        """The best model, with the second best where both together are better; none where the student is as good."""
        ranked: list[Climbed] = []
        others = [one for one in climbed.values() if one.head is None]
        while others:
            first = best(others, Limits())
            assert first is not None
            ranked.append(first)
            others.remove(first)
        if not ranked or (len(ranked) == 1 and ranked[0].backbone == self._backbone):
            return []
        if len(ranked) > 1 and self._ground.material.parts["val"]:
            pair = ranked[:2]
            truth = np.array(self._ground.material.truth("val"))
            said = [probabilities(self._ground.logits(one.key), one.temperature) for one in pair]
            alone, together = ((p.argmax(axis=1) == truth).mean() for p in (said[0], (said[0] + said[1]) / 2))
            if together >= alone + ENSEMBLE_GAIN or pair[0].backbone == self._backbone:
                return pair
        return ranked[:1]
