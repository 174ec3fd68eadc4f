"""What studies write down."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from kramar.records import DataRecord, Epoch, Estimate, Metrics, Record, Verification
from kramar.study.settings import variant


class TrialRecord(Record):
    """One trial of a study: an architecture trained by a recipe, and what came of it.

    ``bytes`` and ``milliseconds`` (a photo, decoding excluded) are of its model file, ``photos_per_second`` of it on
    all cores; ``energy_joules`` is of the whole machine while it trained, where the machine tells.
    """

    architecture: str
    regime: str
    transfer: str
    seed: int
    size: int
    recipe: dict[str, Any]
    epochs: list[Epoch]
    metrics: dict[str, Metrics]
    parameters: int
    bytes: int
    milliseconds: float
    photos_per_second: float
    train_seconds: float
    seconds: float
    energy_joules: float | None
    weights_source: str
    weights_licence: str
    verification: Verification
    notes: list[str] = Field(default_factory=list)

    @property
    def variant(self) -> str:
        """What is compared, whatever the seed."""
        return variant(self.architecture, self.regime, self.transfer)

    @property
    def accuracy(self) -> Estimate | None:
        """On test, or on validation where there are no test photos."""
        shown = self.metrics.get("test") or self.metrics.get("val")
        return shown.accuracy if shown else None


class ComparisonRecord(Record):
    """Two models' accuracies on the same photos.

    ``difference`` is the first one's minus the second's; ``adjusted`` is ``p`` after Holm's correction for all pairs.
    """

    first: str
    second: str
    difference: Estimate
    p: float
    adjusted: float
    verdict: str


class GridRecord(Record):
    """``run.json`` of ``kramar compare``."""

    kramar: str
    command: str
    started: str
    seed: int
    machine: dict[str, str | int]
    data: DataRecord
    trials: list[TrialRecord]
    tests: list[ComparisonRecord]
    left_out_trials: list[str] = Field(default_factory=list)
    estimate: dict[str, float]
    seconds: dict[str, float | dict[str, float]]
    peak_memory_bytes: int
