"""``kramar tune``: a search for a better recipe of one architecture in one regime, by any number of processes."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from kramar.errors import DataError, FailedError, InputError, MissingExtra

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
from kramar.data import manifest
from kramar.data.manifest import Entry
from kramar.files import replacing, write_text
from kramar.jobs.gather import Gathered, gather, refuse
from kramar.jobs.run import holds, name_of
from kramar.jobs.search_account import Searched, account
from kramar.jobs.shared import SharedFolder, joined
from kramar.jobs.study import command, device, model_card, sized, spoken
from kramar.progress import Advance, Progress, Silent
from kramar.report.search import render_search
from kramar.runtime.model import Model
from kramar.study import grid, recipe_file, search_optuna, trial
from kramar.study.estimate import Estimator
from kramar.study.material import Material, decode
from kramar.study.search import Search, write_curves, write_trials
from kramar.study.search_budget import Expected
from kramar.study.search_finals import Final
from kramar.study.search_records import Known, SearchRecord
from kramar.study.search_space import Space
from kramar.study.search_start import start
from kramar.study.settings import NO_TRANSFER, REGIMES, Setting

if TYPE_CHECKING:
    from accelerate import Accelerator

FILES = (
    "run.json",
    "model.onnx",
    "best.toml",
    "trials.csv",
    "importance.csv",
    "study.journal",
    "report.html",
    "manifest.parquet",
)
# How often a process with nothing left to do looks whether another has died.
_LOOK_SECONDS = 0.5


@dataclass(frozen=True)
class Tuning:
    """A finished search.

    Attributes:
        path: the run folder.
        record: everything in its ``run.json``.
        was_finished: whether it was found finished, so that nothing was done.
    """

    path: Path
    record: SearchRecord
    was_finished: bool = False

    @property
    def best(self) -> Path:
        """The best recipe, as ``--config`` takes it."""
        return self.path / "best.toml"

    @property
    def report(self) -> Path:
        """The report, one self-contained HTML file."""
        return self.path / "report.html"

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
        budget=parse_duration(budget) if isinstance(budget, str) else float(budget),
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
    _validated(gathered.entries, source)
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
        "--columns": ",".join(f"{ours}={theirs}" for ours, theirs in sorted(options.columns.items())),
        # What --config had in it.
        "recipe": json.dumps(asdict(base.recipe)),
    }
    if holds(folder, chosen, gathered.fingerprint, FILES):
        listener.say(f"{folder} is finished already: nothing to do")
        return Tuning(folder, _read(folder), was_finished=True)
    with joined(folder, chosen, str(source), gathered.fingerprint, listener, started) as run:
        run.rooms["data"] = time.monotonic() - started
        return _Tuning(source, options, base, trials, gathered, run).finish(chosen)


def _validated(entries: Sequence[Entry], source: Path) -> None:
    """Raise DataError where there is no photo to choose by."""
    classes = {entry.label for entry in entries if entry.split == "train"}
    if not any(entry.split == "val" and entry.label in classes for entry in entries):
        raise DataError(
            f"{source}: tune chooses recipes by the validation photos, and there are none of classes that training "
            "has; set some aside (split val)"
        )


class _Tuning:
    """One search, from decoding to report."""

    def __init__(
        self,
        source: Path,
        options: TrainConfig,
        base: Setting,
        trials: int,
        gathered: Gathered,
        run: SharedFolder,
    ) -> None:
        self._source, self._options, self._base, self._trials = source, options, base, trials
        self._gathered, self._run = gathered, run
        self._left_out = list(gathered.left_out)

    def finish(self, chosen: Mapping[str, str]) -> Tuning:
        """Do trials while there are any to do; whoever comes first then tests the winner and reports."""
        run = self._run
        accelerator = device()
        with run.lock:
            material, entries = self._material()
            space = Space.of(self._base, len(material.parts["train"]))
            expected = self._expected(space, material, accelerator)
        search = Search(run.path / "trials", space.shortened(expected.epochs), self._trials)
        while True:
            with run.room("trials"), run.stage("Trials", self._trials) as advance:
                self._search(search, material, expected, accelerator, chosen, advance)
            with run.lock:
                if self._is_finished(chosen):
                    return Tuning(run.path, _read(run.path))  # by another process
                # One whose clock is a little behind may have found room for one more.
                if all(one.outcome for one in search.known()):
                    return self._end(search, material, entries, expected, accelerator, chosen)

    def _is_finished(self, chosen: Mapping[str, str]) -> bool:
        return holds(self._run.path, chosen, self._gathered.fingerprint, FILES)

    def _search(
        self,
        search: Search,
        material: Material,
        expected: Expected,
        accelerator: Accelerator,
        chosen: Mapping[str, str],
        advance: Advance,
    ) -> None:
        """Do trials until all are done, by this process or by others."""
        run, seen = self._run, 0
        while True:
            with run.lock:
                if self._is_finished(chosen):
                    return
                known = search.known()
                done = sum(one.outcome is not None for one in known)
                if done > seen:
                    self._keep(search, known)
                    advance(done - seen)
                    seen = done
                claim = search.claim(propose=self._has_room(search, known, expected))
            if claim is None and done == len(known):
                return
            if claim is None:
                # Others are at work; one of them may be killed.
                time.sleep(_LOOK_SECONDS)
                continue
            end = expected.end(search.pace(known))
            search.carry_out(claim, material, accelerator, run, lambda: self._left <= end)  # noqa: B023

    def _material(self) -> tuple[Material, list[Entry]]:
        """The photos that can be read."""
        run, recipe = self._run, self._base.recipe
        if REGIMES[self._base.regime].augment:
            # Whatever the recipe at the start has, others will need the photos' margins.
            recipe = replace(recipe, augment="shift")
        with run.room("decoding"):
            entries, unreadable = decode(self._gathered.entries, trial.rules(replace(self._base, recipe=recipe)), run)
        self._left_out += unreadable
        if self._options.strict:
            refuse(unreadable, self._source)
        if not entries:
            raise DataError(f"{self._source}: none of the photos can be read, the first: {unreadable[0].detail}")
        _validated(entries, self._source)
        return Material.of(entries, manifest.require_classes(entries, self._source)), entries

    def _expected(self, space: Space, material: Material, accelerator: Accelerator) -> Expected:
        """What trials take on this machine, measured once a study, and said. Raises InputError where none fits."""
        run, path = self._run, self._run.path / "expected.json"
        if path.is_file():
            return Expected.model_validate_json(path.read_text(encoding="utf-8"))
        with run.room("estimate"), run.stage("Measuring", 1) as advance:
            expected = Expected.of(space, Estimator(material, accelerator), self._trials, self._left)
            advance(1)
        left, whole = self._left, expected.whole(self._trials)
        if expected.alone > left:
            raise InputError(
                f"--budget: {spoken(left)} are left, and one trial and its test take about {spoken(expected.alone)}; "
                f"all {self._trials} trials {spoken(whole)}"
            )
        write_text(path, expected.model_dump_json(indent=1))
        run.say(f"{self._trials} trials take about {spoken(whole)} on this machine, weak ones stopped early")
        if expected.shortened:
            run.say(
                f"Warning: for the budget of {duration(self._options.budget)}, trials have {expected.epochs} of "
                f"{expected.full} epochs; the start and the best of them are then trained for all"
            )
        if (room := expected.room(left)) < self._trials:
            run.say(
                f"Warning: the budget of {duration(self._options.budget)} has room for about {room} of "
                f"{self._trials} trials"
            )
        return expected

    @property
    def _left(self) -> float:
        """Seconds of the budget."""
        return self._options.budget - self._run.elapsed

    def _has_room(self, search: Search, known: Sequence[Known], expected: Expected) -> bool:
        """Whether the budget has room for one more trial, judged by those that were trained to the end."""
        whole = [one.outcome.seconds for one in known if one.outcome and one.outcome.state == "complete"]
        next_one = sum(whole) / len(whole) if whole else expected.later
        return not known or self._left >= next_one + expected.end(search.pace(known))

    def _keep(self, search: Search, known: Sequence[Known]) -> None:
        """Leave what is known so far for whoever looks before the end, and nothing that is not needed any more."""
        search.tidy(known)
        search_optuna.write_study(search.space, known, self._run.path / "study.journal")
        write_trials(search.tried(known), self._run.path / "trials.csv")
        if best := search.best(known):
            recipe_file.write(self._final(search).setting(best), self._run.path / "best.toml")

    def _final(self, search: Search) -> Final:
        return Final(self._run.path / "final", search, self._base.recipe.epochs)

    def _end(
        self,
        search: Search,
        material: Material,
        entries: Sequence[Entry],
        expected: Expected,
        accelerator: Accelerator,
        chosen: Mapping[str, str],
    ) -> Tuning:
        """Choose between the best and the start, test both, and leave all that a finished run has."""
        run, known = self._run, search.known()
        best = search.best(known)
        if best is None:
            raise FailedError(
                f"{run.path}: none of {len(known)} trials could be trained to the end; start from a --config with a "
                "lower learning_rate or a smaller batch, and a new --out"
            )
        with run.room("final"):
            card = model_card(self._gathered, self._source, self._options.seed, "tune")
            final = self._final(search)
            finals = final.decide(known, best, material, card, accelerator, run)
        with run.room("report"):
            tried, importance = search.tried(known), search_optuna.importance(search.space, known)
            self._keep(search, known)
            recipe_file.write(final.setting(known[finals.chosen]), run.path / "best.toml")
            _copy(final.place(finals.chosen) / "model.onnx", run.path / "model.onnx")
            if 0 in finals.models:
                _copy(final.place(0) / "model.onnx", run.path / "before.onnx")
            write_curves(tried, run.path / "curves.csv")
            grid.write_tests(finals.tests, run.path / "tests.csv")
            grid.write_csv(run.path / "importance.csv", ["parameter", "importance"], list(importance.items()))
            manifest.write_manifest(entries, run.path / "manifest.parquet")
            seconds = [one.seconds for one in tried] + [one.seconds for one in finals.models.values()]
            found = Searched(
                source=self._source,
                base=self._base,
                asked=self._trials,
                search_epochs=expected.epochs,
                gathered=self._gathered,
                left_out=self._left_out,
                material=material,
                trials=tried,
                finals=finals,
                importance=importance,
                estimate={"whole": expected.whole(self._trials), "took": sum(seconds)},
                command=command(self._source, chosen, run.path),
            )
            record = account(found, run)
            write_text(run.path / "report.html", render_search(record))
        write_text(run.path / "run.json", record.model_dump_json(indent=1))
        return Tuning(run.path, _read(run.path))


def _copy(source: Path, target: Path) -> None:
    with replacing(target) as temporary:
        shutil.copyfile(source, temporary)


def _read(folder: Path) -> SearchRecord:
    return SearchRecord.model_validate_json((folder / "run.json").read_text(encoding="utf-8"))
