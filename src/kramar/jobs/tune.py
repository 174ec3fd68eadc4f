"""``kramar tune``: a search for a better recipe of one architecture in one regime, by any number of processes."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path

from kramar.errors import MissingExtra

try:
    import optuna  # noqa: F401  (comes with all else that tuning needs)
except ImportError:
    raise MissingExtra("train", "tuning") from None

from kramar.config import (
    DEFAULT_SEED,
    DEFAULT_TRIALS,
    DEFAULT_TUNE_BUDGET,
    RUNS_FOLDER,
    TrainConfig,
    duration,
    parse_duration,
    whole_number,
)
from kramar.data.columns import spelt
from kramar.jobs.gather import gather
from kramar.jobs.run import Finished, holds, name_of
from kramar.jobs.search_run import FILES, SearchRun, read, require_validation
from kramar.jobs.shared import joined
from kramar.jobs.study import sized
from kramar.progress import Progress, Silent
from kramar.runtime.model import Model
from kramar.study.search_records import SearchRecord
from kramar.study.search_start import start
from kramar.study.settings import NO_TRANSFER


class Tuning(Finished[SearchRecord]):
    """A finished search."""

    @property
    def best(self) -> Path:
        """The best recipe, as ``--config`` takes it."""
        return self.path / "best.toml"

    @cached_property
    def model(self) -> Model:
        """The best trial's model file, open."""
        return Model(self.path / "model.onnx")


def tune(
    data: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    architecture: str,
    regime: str | None = None,
    transfer: str = "frozen",
    head_layers: Sequence[int] | None = None,
    trials: int = DEFAULT_TRIALS,
    budget: str | float = DEFAULT_TUNE_BUDGET,
    size: int | None = None,
    epochs: int | None = None,
    config: str | os.PathLike[str] | None = None,
    seed: int = DEFAULT_SEED,
    columns: Mapping[str, str] | None = None,
    strict: bool = False,
    progress: Progress | None = None,
) -> Tuning:
    """Search for the recipe with which an architecture is most accurate on the validation photos.

    The winner and the recipe that the search started from are then tested once, on the same test photos. Processes
    that are started with the same arguments and ``out`` share the trials.

    Args:
        data: a folder of class folders, or a CSV, JSONL or Parquet table.
        out: the run folder, by default ``kramar-runs/NAME_OF_DATA-tune``; an interrupted one goes on.
        architecture: a name with its own options (``convnet:depth=5``) and size (``@96``) if wanted.
        regime: ``weights``, ``weights+augment`` or ``scratch+augment``; by default with weights and augmentation where
            the architecture can have weights.
        transfer: how weights are used: ``frozen`` (only layers on top learn) or ``full`` (all layers learn).
        head_layers: widths of the layers on top of a frozen body, before the last, that the search starts from.
        trials: how many to try, the one that the search starts from among them.
        budget: wall time of the whole command, summed over resumes; where it has no room for all trials, each is
            trained for fewer epochs, and then there are fewer.
        size: side of the input in pixels, instead of the architecture's own.
        epochs: passes over the training photos, instead of the recipe's own.
        config: a recipe file (``best.toml`` of another search) to start from.
        seed: of the split, the trials and the search.
        columns: the table's column names by kramar's.
        strict: fail where any photo, row or file has to be left out.
        progress: who listens; nobody by default.

    Raises:
        InputError: the data or an option is wrong; nothing was trained.
        FailedError: the machine said no.
    """
    options = TrainConfig(
        budget=parse_duration(budget),
        seed=seed,
        strict=strict,
        columns=dict(columns or {}),
    )
    trials = whole_number(trials, "--trials", 1)
    base = start(architecture, regime, transfer, head_layers, size, epochs, config, options.seed)
    source = Path(data)
    folder = Path(out) if out is not None else Path(RUNS_FOLDER) / f"{name_of(source)}-tune"
    listener = progress or Silent()
    started = time.monotonic()
    gathered = gather(source, options, listener)
    sized(gathered.entries, [base], size)
    require_validation(gathered.entries, source)
    chosen = {
        "command": "tune",
        "--architecture": base.architecture.name,
        "--regime": base.regime,
        "--transfer": "" if base.transfer == NO_TRANSFER else base.transfer,
        "--head-layers": "" if head_layers is None else ",".join(map(str, head_layers)) or "none",
        "--trials": str(trials),
        "--budget": duration(options.budget),
        "--size": str(size or ""),
        "--epochs": str(epochs or ""),
        "--config": str(config or ""),
        "--seed": str(options.seed),
        "--strict": str(strict),
        "--columns": spelt(options.columns),
        # What --config had in it.
        "recipe": json.dumps(asdict(base.recipe)),
    }
    if holds(folder, chosen, gathered.fingerprint, FILES):
        listener.say(f"{folder} is finished already: nothing to do")
        return Tuning(folder, read(folder), was_finished=True)
    with joined(folder, chosen, str(source), gathered.fingerprint, listener, started) as run:
        run.rooms["data"] = time.monotonic() - started
        return Tuning(folder, SearchRun(source, options, base, trials, gathered, run).finish(chosen))
