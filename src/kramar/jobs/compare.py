"""``kramar compare``: architectures and regimes on the same photos, split and seeds."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from kramar import machine
from kramar.config import (
    DEFAULT_GRID_BUDGET,
    DEFAULT_SEED,
    DEFAULT_SEEDS,
    RUNS_FOLDER,
    TrainConfig,
    duration,
    parse_duration,
    whole_number,
)
from kramar.data import manifest
from kramar.data.columns import spelt
from kramar.errors import FailedError, InputError, TrainingError
from kramar.files import write_text
from kramar.jobs.account import seconds as spent
from kramar.jobs.gather import Gathered, gather
from kramar.jobs.run import Finished, RunFolder, holds, name_of, opened
from kramar.jobs.study import command, model_card, readable, sized, spoken
from kramar.models import architectures as known
from kramar.progress import Progress, Silent
from kramar.report.grid import render_grid
from kramar.study import grid, recipe_file, trial
from kramar.study.estimate import Estimator, Views
from kramar.study.pictures import Pictures
from kramar.study.records import ComparisonRecord, GridRecord, TrialRecord
from kramar.study.settings import HEAD_LAYERS, REGIMES, TRANSFERS, Setting, parse_regimes, require_transfer
from kramar.study.settings import grid as settings_of
from kramar.training.device import device
from kramar.training.material import Material
from kramar.version import __version__

if TYPE_CHECKING:
    from accelerate import Accelerator

FILES = ("run.json", "comparison.csv", "tests.csv", "curves.csv", "report.html", "manifest.parquet")


class Grid(Finished[GridRecord]):
    """A finished comparison."""


def compare(
    data: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    architectures: str | Sequence[str],
    regimes: str = ",".join(REGIMES),
    transfer: str = TRANSFERS[0],
    head_layers: Sequence[int] | None = None,
    seeds: int = DEFAULT_SEEDS,
    budget: str | float = DEFAULT_GRID_BUDGET,
    size: int | None = None,
    epochs: int | None = None,
    config: str | os.PathLike[str] | None = None,
    seed: int = DEFAULT_SEED,
    columns: Mapping[str, str] | None = None,
    strict: bool = False,
    progress: Progress | None = None,
) -> Grid:
    """Train every architecture in every regime on the labelled photos in ``data``, and test them against each other.

    Args:
        data: a folder of class folders, or a CSV, JSONL or Parquet table.
        out: the run folder, by default ``kramar-runs/NAME_OF_DATA-compare``; an interrupted one goes on.
        architectures: names, each with its own options (``convnet:depth=5``) and size (``@96``) if wanted.
        regimes: ``weights``, ``weights+augment``, ``scratch+augment``, separated by commas.
        transfer: how weights are used: ``frozen`` (only layers on top learn) or ``full`` (all layers learn).
        head_layers: widths of the layers on top of a frozen body, before the last.
        seeds: trials of each architecture and regime.
        budget: wall time of the whole command, summed over resumes; what does not fit is left out, and said.
        size: side of the input in pixels, instead of each architecture's own.
        epochs: passes over the training photos, instead of the recipe's own.
        config: a recipe file (``best.toml`` of ``kramar tune``) for the trials that it was tuned for.
        seed: of the split; trials have the seeds from it on.
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
    names = architectures.split(",") if isinstance(architectures, str) else list(architectures)
    settings = plan_trials(names, regimes, transfer, head_layers, seeds, size, epochs, config, seed)
    layers = HEAD_LAYERS if head_layers is None else head_layers
    source = Path(data)
    folder = Path(out) if out is not None else Path(RUNS_FOLDER) / f"{name_of(source)}-compare"
    listener = progress or Silent()
    started = time.monotonic()
    gathered = gather(source, options, listener)
    sized(gathered.entries, settings, size)
    chosen = {
        "command": "compare",
        "--architectures": ",".join(dict.fromkeys(one.architecture.name for one in settings)),
        "--regimes": ",".join(dict.fromkeys(one.regime for one in settings)),
        "--transfer": transfer,
        "--head-layers": (",".join(map(str, layers)) or "none") if any(one.frozen for one in settings) else "",
        "--seeds": str(seeds),
        "--budget": duration(options.budget),
        "--size": str(size or ""),
        "--epochs": str(epochs or ""),
        "--config": str(config or ""),
        "--seed": str(seed),
        "--strict": str(strict),
        "--columns": spelt(options.columns),
        # What --config had in it.
        "recipes": json.dumps([asdict(one.recipe) for one in settings if one.seed == options.seed]) if config else "",
    }
    if holds(folder, chosen, gathered.fingerprint, FILES):
        listener.say(f"{folder} is finished already: nothing to do")
        return Grid(folder, _read(folder), was_finished=True)
    with opened(folder, chosen, str(source), gathered.fingerprint, listener, started) as run:
        run.rooms["data"] = time.monotonic() - started
        for warning in (unweighted := _unweighted(settings)):
            run.say(f"Warning: {warning}")
        gathered = replace(gathered, warnings=[*gathered.warnings, *unweighted])
        return _Comparison(source, options, settings, gathered, run).finish(chosen)


def plan_trials(
    names: Sequence[str],
    regimes: str,
    transfer: str,
    head_layers: Sequence[int] | None,
    seeds: int,
    size: int | None,
    epochs: int | None,
    config: str | os.PathLike[str] | None,
    first_seed: int,
) -> list[Setting]:
    """The trials that were asked for. Raises InputError for whatever is wrong with what was asked, before any work."""
    require_transfer(transfer, head_layers or ())
    if seeds < 1:
        raise InputError(f"--seeds: expected at least one, found {seeds}")
    found = [known.find(name).at(size) for name in dict.fromkeys(name.strip() for name in names) if name]
    if not found:
        raise InputError(f"--architectures: expected at least one of {', '.join(known.ARCHITECTURES)}, found none")
    changes = {} if epochs is None else {"epochs": whole_number(epochs, "--epochs", 1)}
    wanted = range(first_seed, first_seed + seeds)
    layers = HEAD_LAYERS if head_layers is None else tuple(head_layers)
    settings = settings_of(found, parse_regimes(regimes), transfer, wanted, layers, changes)
    if head_layers is not None and not any(one.frozen for one in settings):
        raise InputError("--head-layers: layers go on top of a frozen body (--transfer frozen), which no trial has")
    if config is None:
        return settings
    tuned = recipe_file.read(Path(config))
    if not any(tuned.fits(one) for one in settings):
        raise InputError(f"--config: {tuned} fits none of these trials, the first of them {settings[0].title}")
    return [
        replace(one, recipe=replace(one.recipe, **{**tuned.recipe, **changes})) if tuned.fits(one) else one
        for one in settings
    ]


def _unweighted(settings: Sequence[Setting]) -> list[str]:
    """What to say of architectures that are not in all regimes."""
    regimes = {one.regime for one in settings}
    if not any(REGIMES[regime].weights for regime in regimes):
        return []
    names = {one.architecture.name: None for one in settings if not one.architecture.stock}
    return [f"{name} is compared from scratch only: there are no ImageNet weights for it" for name in names]


class _Comparison:
    """One comparison, from decoding to report."""

    def __init__(
        self,
        source: Path,
        options: TrainConfig,
        settings: Sequence[Setting],
        gathered: Gathered,
        run: RunFolder,
    ) -> None:
        self._source, self._options, self._settings = source, options, settings
        self._gathered, self._run = gathered, run
        self._left_out = list(gathered.left_out)

    @machine.kept_memory()
    def finish(self, chosen: Mapping[str, str]) -> Grid:
        """Go through all trials that the budget has room for."""
        run, options = self._run, self._options
        accelerator = device()
        rules = list(dict.fromkeys(rule for one in self._settings for rule in trial.rules(one)))
        entries, unreadable = readable(self._gathered, rules, self._source, run, strict=options.strict)
        self._left_out += unreadable
        material = Material.of(entries, manifest.require_classes(entries, self._source))
        trials, left_out, expected = self._affordable(material, accelerator)
        card = model_card(self._gathered, material, options.seed, "compare")
        records: list[TrialRecord] = []
        compared: list[Setting] = []
        with run.stage("Trials", len(trials)) as advance, run.room("trials"):
            for number, one in enumerate(trials, 1):
                place = run.path / "trials" / one.key
                done = trial.finished(place)
                if done is None:
                    run.say(f"Trial {number} of {len(trials)}: {one.title}; about {spoken(expected[one.key])}")
                    try:
                        done = trial.run(one, material, card, place, accelerator, run)
                    except TrainingError as error:
                        run.say(f"Warning: {error}")
                        left_out.append(str(error))
                advance(1)
                if done is not None:
                    records.append(done)
                    compared.append(one)
        if not records:
            raise FailedError(f"{run.path}: no trial could be trained to its end: {'; '.join(left_out)}")
        with run.room("evaluate"):
            tests = self._tests(compared, material)
        with run.room("report"):
            manifest.write_manifest(entries, run.path / "manifest.parquet")
            grid.write_table(records, run.path / "comparison.csv")
            grid.write_curves(records, run.path / "curves.csv")
            grid.write_tests(tests, run.path / "tests.csv")
            record = GridRecord(
                kramar=__version__,
                command=command(self._source, chosen, run.path),
                started=run.plan.started,
                seed=options.seed,
                machine=machine.describe(),
                data=self._gathered.record(self._source, entries, self._left_out, self._gathered.warnings),
                trials=records,
                tests=tests,
                left_out_trials=left_out,
                estimate={"trials": sum(expected.values()), "took": sum(one.seconds for one in records)},
                seconds=spent(run),
                peak_memory_bytes=machine.peak_memory(),
            )
            write_text(run.path / "report.html", render_grid(record, Pictures(self._settings, material)))
        write_text(run.path / "run.json", record.model_dump_json(indent=1))
        return Grid(run.path, record)

    def _affordable(
        self, material: Material, accelerator: Accelerator
    ) -> tuple[list[Setting], list[str], dict[str, float]]:
        """The trials to do, those that the budget has no room for, and expected seconds by key."""
        run, budget = self._run, self._options.budget
        expected = run.plan.trials
        if expected is None:
            estimator = Estimator(material, accelerator)
            with run.room("estimate"), run.stage("Measuring", len(self._settings)) as advance:
                every: dict[str, float] = {}
                looked: set[Views] = set()
                for one in self._settings:
                    every[one.key] = self._seconds(estimator, one, looked)
                    advance(1)
            left = budget - run.elapsed
            expected, looked = {}, set()
            for one in (one for one in self._settings if math.isfinite(every[one.key])):
                # What a trial that is left out would have looked at, the next one has to.
                with_it = set(looked)
                seconds = estimator.seconds(one, with_it)
                if sum(expected.values()) + seconds <= left:
                    expected[one.key], looked = seconds, with_it
            whole = sum(one for one in every.values() if math.isfinite(one))
            run.say(f"All {len(every)} trials take about {spoken(whole)} on this machine")
            if not expected:
                shortest = min(every.values())
                if math.isinf(shortest):
                    raise FailedError(f"{run.path}: no trial could be measured: out of memory; give a smaller --size")
                raise InputError(
                    f"--budget: {spoken(left)} are left, and the shortest of {len(every)} trials takes about "
                    f"{spoken(shortest)}; all of them {spoken(whole)}"
                )
            run.choose(trials=expected)
        out = [one.title for one in self._settings if one.key not in expected]
        if out:
            run.say(
                f"Warning: the budget of {duration(budget)} has room for {len(expected)} of {len(self._settings)} "
                f"trials; left out: {'; '.join(out)}"
            )
        trials = [one for one in self._settings if one.key in expected]
        return trials, [f"{title}: no time" for title in out], dict(expected)

    def _seconds(self, estimator: Estimator, one: Setting, looked: set[Views]) -> float:
        try:
            return estimator.seconds(one, looked)
        except torch.OutOfMemoryError:
            self._run.say(f"Warning: {one.title}: out of memory")
            return math.inf

    def _tests(self, trials: Sequence[Setting], material: Material) -> list[ComparisonRecord]:
        if not material.parts["test"]:
            return []
        right = [np.load(self._run.path / "trials" / one.key / "answers.npz")["right"] for one in trials]
        groups = [entry.group for entry in material.parts["test"]]
        return grid.tests([one.variant for one in trials], right, groups, self._options.seed)


def _read(folder: Path) -> GridRecord:
    return GridRecord.model_validate_json((folder / "run.json").read_text(encoding="utf-8"))
