"""A search's account of itself: its ``run.json``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kramar import machine
from kramar.data.manifest import Entry
from kramar.files import sha256
from kramar.jobs.account import seconds
from kramar.jobs.gather import Gathered
from kramar.jobs.run import RunFolder
from kramar.records import LeftOut, ModelRecord
from kramar.study.records import TrialRecord
from kramar.study.search_finals import Finals
from kramar.study.search_records import SearchRecord, Tried
from kramar.study.settings import Setting
from kramar.version import __version__


@dataclass(frozen=True, slots=True)
class Searched:
    """What a search found, for the account.

    Attributes:
        base: where it started.
        asked: how many trials it was asked for.
        search_epochs: what each of them had at most.
        left_out: all of it, from every room.
        command: what does it again.
    """

    source: Path
    base: Setting
    asked: int
    search_epochs: int
    gathered: Gathered
    left_out: list[LeftOut]
    entries: Sequence[Entry]
    trials: Sequence[Tried]
    finals: Finals
    importance: dict[str, float]
    estimate: dict[str, float]
    command: str


def account(found: Searched, run: RunFolder) -> SearchRecord:
    """The record of a search whose model file is in place."""
    finals = found.finals
    after = finals.models[finals.chosen]
    shortened = found.search_epochs < found.base.recipe.epochs
    return SearchRecord(
        kramar=__version__,
        command=found.command,
        started=run.plan.started,
        seed=found.base.seed,
        machine=machine.describe(),
        data=found.gathered.record(found.source, found.entries, found.left_out, found.gathered.warnings),
        architecture=found.base.architecture.name,
        regime=found.base.regime,
        transfer=found.base.transfer,
        asked=found.asked,
        search_epochs=found.search_epochs,
        trials=list(found.trials),
        finals=finals.outcomes if shortened else {},
        chosen=finals.chosen,
        before=finals.models.get(0),
        after=after,
        tests=finals.tests,
        importance=found.importance,
        model=_model(run.path / "model.onnx", after),
        metrics=after.metrics,
        estimate=found.estimate,
        seconds=seconds(run),
        peak_memory_bytes=machine.peak_memory(),
    )


def _model(path: Path, made: TrialRecord) -> ModelRecord:
    return ModelRecord(
        file=path.name,
        bytes=made.bytes,
        sha256=sha256(path),
        backbone=made.architecture,
        rung="tune",
        storage="float32",
        parameters=made.parameters,
        milliseconds=made.milliseconds,
        input_size=made.size,
        weights_source=made.weights_source,
        weights_licence=made.weights_licence,
    )
