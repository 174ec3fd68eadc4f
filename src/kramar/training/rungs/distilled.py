"""Rung 5: the best model so far, or the two best together, teach a smaller one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from accelerate import Accelerator

from kramar.decisions.calibration import probabilities
from kramar.models import architectures
from kramar.models.engines import Opened
from kramar.training.climb import Climbed, Ground, Limits, Step
from kramar.training.ladder import best
from kramar.training.rungs import student
from kramar.training.rungs.quantised import SHARES
from kramar.training.rungs.student import StudentLearner
from kramar.training.rungs.tail import RECIPE, TailLearner
from kramar.training.teacher import Teacher

# Several models teach together where that is more accurate on validation by so much: they take longer to ask.
ENSEMBLE_GAIN = 0.005


class DistilledRung:
    """The tail of the first backbone, or, where even its int8 file is too large, all of a smaller architecture."""

    key = rung = "distilled"

    def __init__(self, ground: Ground, accelerator: Accelerator, backbone: str, opener: Callable[[], Opened]) -> None:
        self._ground, self._accelerator, self._backbone = ground, accelerator, backbone
        self._learner = TailLearner(ground, accelerator, opener)

    def plan(self, seconds: float, climbed: Mapping[str, Climbed]) -> Step:
        """Who learns from whom, and how long."""
        limits = self._ground.limits
        sizes = [one.bytes for one in climbed.values() if one.backbone == self._backbone and one.storage == "float32"]
        other = ""
        if limits.size is not None and min(sizes) * SHARES["int8"] > limits.size:
            found = student.able(limits.size, self._ground.classes)
            if found is None:
                return Step(do=False, why=f"no architecture fits --max-size {limits.size / 1e6:.2f}MB")
            other = found.name
        teachers = self._teachers(climbed, alike=not other)
        if not teachers:
            return Step(do=False, why="no model is better than the one that would learn")
        asking = self._teacher([one.key for one in teachers]).rate()
        step = (
            StudentLearner(self._ground, self._accelerator, architectures.find(other)).plan(seconds, asking)
            if other
            else self._learner.plan(seconds, asking)
        )
        return step.model_copy(update={"models": [one.key for one in teachers], "student": other})

    def climb(self, step: Step, climbed: Mapping[str, Climbed]) -> Climbed:
        """Ask, learn, write."""
        teacher, by = self._teacher(step.models), " and ".join(step.models)
        if step.student:
            learner = StudentLearner(self._ground, self._accelerator, architectures.find(step.student))
            return learner.learn(step, self.key, self.rung, teacher, by)
        return self._learner.learn(step, self.key, self.rung, climbed, teacher, by)

    def _teacher(self, keys: Sequence[str]) -> Teacher:
        return Teacher([self._ground.model_file(key) for key in keys], RECIPE.augment, RECIPE.strength)

    def _teachers(self, climbed: Mapping[str, Climbed], *, alike: bool) -> list[Climbed]:
        """The best model, with the second best where both together are better.

        A student that is ``alike`` learns nothing from its own like alone.
        """
        others = list(climbed.values())
        ranked: list[Climbed] = []
        while others and len(ranked) < 2:
            first = best(others, Limits())
            assert first is not None
            ranked.append(first)
            others.remove(first)
        own = alike and ranked[0].backbone == self._backbone
        # Where a frozen network is best, training only made it worse.
        if alike and ranked[0].head is not None:
            return []
        if len(ranked) == 2 and ranked[1].head is None and self._ground.material.parts["val"]:
            truth = np.array(self._ground.material.truth("val"))
            said = [probabilities(self._ground.logits(one.key), one.temperature) for one in ranked]
            alone, together = ((p.argmax(axis=1) == truth).mean() for p in (said[0], (said[0] + said[1]) / 2))
            if own or together >= alone + ENSEMBLE_GAIN:
                return ranked
        return [] if own else ranked[:1]
