"""What a search writes down."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from kramar.records import DataRecord, Epoch, Metrics, ModelRecord, Record
from kramar.study.records import ComparisonRecord, TrialRecord
from kramar.study.search_space import Point, Value

Ended = Literal["complete", "pruned", "failed"]


class Proposal(Record):
    """``proposal.json``: a point in the space, and the recipe there."""

    point: Point
    recipe: dict[str, Any]


class Outcome(Record):
    """``outcome.json``: what came of a trial.

    ``value`` (accuracy on validation) and ``log_loss`` (nats) are of the epoch whose weights are kept: that of the
    lowest log loss. A pruned trial's are those until it was stopped; ``why`` says why it was.
    """

    state: Ended
    value: float | None
    log_loss: float | None
    seconds: float
    epochs: list[Epoch]
    why: str = ""

    @staticmethod
    def of(state: Ended, epochs: Sequence[Epoch], seconds: float, why: str = "") -> Outcome:
        """The outcome of a training; epochs whose loss is no number are left out."""
        learnt = [epoch for epoch in epochs if finite(epoch)]
        kept = min(learnt, key=lambda epoch: epoch.val_loss or 0.0, default=None)
        scored = kept is not None and state != "failed"
        return Outcome(
            state=state,
            value=round(kept.val_accuracy or 0.0, 6) if kept and scored else None,
            log_loss=kept.val_loss if kept and scored else None,
            seconds=seconds,
            epochs=learnt,
            why=why,
        )

    def __str__(self) -> str:
        came_to = "" if self.value is None else f", {self.value:.1%} of validation photos right"
        return f"{self.state}{came_to}" + (f"; {self.why}" if self.why else "")

    @property
    def rank(self) -> tuple[float, float]:
        """What the best has the most of: accuracy, and of equals the lower log loss."""
        return (-1.0, 0.0) if self.value is None else (self.value, -(self.log_loss or 0.0))


def finite(epoch: Epoch) -> bool:
    """Whether both of the epoch's losses are numbers."""
    return math.isfinite(epoch.train_loss) and epoch.val_loss is not None and math.isfinite(epoch.val_loss)


@dataclass(frozen=True, slots=True)
class Known:
    """A trial as its folder has it; ``outcome`` is None while it is not done."""

    number: int
    proposal: Proposal
    outcome: Outcome | None


class Tried(Record):
    """One trial in the search's record; ``parameters`` is what was searched."""

    number: int
    state: Ended | Literal["running"]
    value: float | None
    log_loss: float | None
    seconds: float
    why: str
    parameters: dict[str, Value | None]
    epochs: list[Epoch]


class SearchRecord(Record):
    """``run.json`` of ``kramar tune``.

    ``chosen`` is the number of the winner; ``before`` is trial 0, the recipe that the search started from, and
    ``after`` the winner, both tested once. ``before`` is None where it could not be trained to the end; ``tests`` holds
    their one comparison, where there are two models and test photos. Where the trials had fewer epochs
    (``search_epochs``) than the recipe, ``finals`` are the start and the best of them, trained anew in full, and
    the winner is the better one of these. ``importance`` sums to 1.
    """

    kramar: str
    command: str
    started: str
    seed: int
    machine: dict[str, str | int]
    data: DataRecord
    architecture: str
    regime: str
    transfer: str
    asked: int
    search_epochs: int
    trials: list[Tried]
    finals: dict[int, Outcome]
    chosen: int
    before: TrialRecord | None
    after: TrialRecord
    tests: list[ComparisonRecord]
    importance: dict[str, float]
    model: ModelRecord
    metrics: dict[str, Metrics]
    estimate: dict[str, float]
    seconds: dict[str, float | dict[str, float]]
    peak_memory_bytes: int
