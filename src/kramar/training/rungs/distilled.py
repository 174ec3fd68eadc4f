"""Rung 5: the models so far, those that say most together, teach a small one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from accelerate import Accelerator

from kramar.decisions.calibration import log_loss, probabilities
from kramar.models import architectures
from kramar.models.engines import Opened
from kramar.training.climb import Climbed, Ground, Limits, Step
from kramar.training.ladder import best
from kramar.training.rungs import student
from kramar.training.rungs.quantised import reachable
from kramar.training.rungs.student import StudentLearner
from kramar.training.rungs.tail import RECIPE
from kramar.training.rungs.whole import WholeLearner
from kramar.training.teacher import Teacher

# A model does not teach where the others' log loss without it is at most this share of theirs with it.
WITHOUT = 0.99


class DistilledRung:
    """The best network of the first backbone, taught by what a larger one knows too; or, where no copy of it is
    small or fast enough, another architecture, taught by the best ones."""

    key = rung = "distilled"

    def __init__(self, ground: Ground, accelerator: Accelerator, backbone: str, opener: Callable[[], Opened]) -> None:
        self._ground, self._accelerator, self._backbone = ground, accelerator, backbone
        self._learner = WholeLearner(ground, accelerator, backbone, opener)

    def plan(self, seconds: float, climbed: Mapping[str, Climbed]) -> Step:
        """Who learns from whom, and how long."""
        limits = self._ground.limits
        if reachable(self._ground, self._backbone, min(one.milliseconds for one in climbed.values())):
            teachers = self._teachers(climbed, alike=True)
            if not teachers:
                return Step(do=False, why="no other network knows more than the one that would learn")
            return self._learner.plan(seconds, climbed, teachers)
        architecture = student.able(limits, self._ground.classes)
        if architecture is None:
            return Step(do=False, why=f"no architecture is within {limits.words()}")
        teachers = self._teachers(climbed, alike=False)
        asking = self._teacher([one.key for one in teachers]).asking(self._ground.material.parts["train"])
        step = StudentLearner(self._ground, self._accelerator, architecture).plan(seconds, asking)
        return step.model_copy(update={"models": [one.key for one in teachers], "student": architecture.name})

    def climb(self, step: Step, climbed: Mapping[str, Climbed]) -> Climbed:
        """Ask, learn, write."""
        if not step.student:
            return self._learner.learn(step, self.key, self.rung, climbed)
        learner = StudentLearner(self._ground, self._accelerator, architectures.find(step.student))
        return learner.learn(step, self.key, self.rung, self._teacher(step.models), " and ".join(step.models))

    def _teacher(self, keys: Sequence[str]) -> Teacher:
        return Teacher([self._ground.model_file(key) for key in keys], RECIPE.augment, RECIPE.strength)

    def _teachers(self, climbed: Mapping[str, Climbed], *, alike: bool) -> list[Climbed]:
        """Those of the trained networks that say most together, judged by validation; the frozen one, where that is
        best.

        Nobody for a student that is ``alike``: it learns nothing from its own like alone.
        """
        highest = best(list(climbed.values()), Limits())
        assert highest is not None, "the first rung is always climbed"
        if highest.head is not None:
            # Where a frozen network is best, training only made it worse.
            return [] if alike else [highest]
        chosen = self._together([one for one in climbed.values() if one.head is None and one.storage == "float32"])
        own = architectures.find(self._backbone).family
        return [] if alike and all(architectures.find(one.backbone).family == own for one in chosen) else chosen

    def _together(self, teachers: list[Climbed]) -> list[Climbed]:
        """All but those without whom the others' log loss on validation is lower (after Caruana et al. 2004)."""
        truth = np.array(self._ground.material.truth("val"), np.int64)
        known = truth >= 0
        if not known.any():
            return teachers
        said = {one.key: probabilities(self._ground.logits(one.key), one.temperature)[known] for one in teachers}

        def loss(some: Sequence[Climbed]) -> float:
            mean = np.mean([said[one.key] for one in some], axis=0)
            return log_loss(np.log(np.maximum(mean, 1e-12)), truth[known])

        while len(teachers) > 1:
            fewer = min(([other for other in teachers if other is not one] for one in teachers), key=loss)
            if loss(fewer) > WITHOUT * loss(teachers):
                break
            teachers = fewer
        return teachers
