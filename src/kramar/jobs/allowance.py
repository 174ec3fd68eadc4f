"""What of a run's budget its rungs may use."""

from __future__ import annotations

import math
from collections.abc import Sequence

from kramar.data.manifest import Entry
from kramar.jobs.seen import SHOWN
from kramar.models import architectures
from kramar.models.engines import Choice
from kramar.models.store import Rates
from kramar.records import ResizeRule
from kramar.training.budget import some
from kramar.training.climb import Climbed
from kramar.training.material import ASIDE, Material

# What the report takes at the end.
_FINISH_SECONDS = 4.0
# The share of the budget that training photos which tell what is known may take.
_SHOWN_SHARE = 0.05
# Labels are judged where that takes at most this share of the budget.
_JUDGING_SHARE = 0.05
# The share of the bare model's rate at which a model file scores photos that are decoded beside it.
_SCORING = 0.8


class Allowance:
    """The budget, less what comes after the rungs: judging labels, scoring, deciding, the report.

    Attributes:
        shown: the training photos that tell what is known, as many as a twentieth of the budget has time for; a start
            of the same run after a kill shows the same.
        judging: seconds that judging the labels takes; 0 where there is no time for it.
        decode: photos a second that one core makes ready from their files.
    """

    def __init__(
        self, budget: float, material: Material, choice: Choice, rates: Rates | None, resize: ResizeRule
    ) -> None:
        self._budget, self._resize = budget, resize
        self._bare = choice.rates[choice.engine]
        # Where photos are large, decoding them takes longer than looking at them.
        self._a_photo = max(1 / (_SCORING * self._bare), 1 / rates.features if rates else 0.0)
        self.decode = rates.decode if rates else math.inf
        train, in_time = material.parts["train"], _SHOWN_SHARE * budget * _SCORING * self._bare
        self.shown: list[Entry] = some(train, min(SHOWN, int(in_time)))
        self._scored = len(material.parts["test"])
        self._decided = len(material.parts["val"]) + len(material.parts[ASIDE]) + len(self.shown)
        self.judging = 0.0

    def judge(self, head: Climbed) -> None:
        """Leave time to judge the labels: a fit a fold takes about as long as the settings that the ``head`` was
        chosen from."""
        self.judging = head.seconds if head.seconds <= _JUDGING_SHARE * self._budget else 0.0

    def left(self, elapsed: float, climbed: Sequence[Climbed]) -> float:
        """Seconds for more rungs when so many have ``elapsed``; the scores of the head, the first that is ``climbed``,
        cost nothing."""
        side = self._resize.size
        longer = [(architectures.find(one.backbone).resize.size / side) ** 2 for one in climbed[1:]]
        each = [self._a_photo + (times - 1) / self._bare for times in longer]
        scoring = self._scored * sum(each)
        deciding = self._decided * max(each, default=self._a_photo)
        return self._budget - elapsed - _FINISH_SECONDS - self.judging - scoring - deciding
