"""One search in its folder, from decoding to report; several processes may be at it at the same time."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from kramar import machine
from kramar.config import TrainConfig, duration
from kramar.data import manifest
from kramar.data.manifest import Entry
from kramar.errors import DataError, FailedError, InputError
from kramar.files import replacing, write_text
from kramar.jobs.gather import Gathered
from kramar.jobs.run import holds
from kramar.jobs.search_account import Searched, account
from kramar.jobs.shared import SharedFolder
from kramar.jobs.study import command, model_card, readable, spoken
from kramar.progress import Advance
from kramar.report.search import render_search
from kramar.study import grid, recipe_file, search_optuna, trial
from kramar.study.estimate import Estimator
from kramar.study.search import Search, write_curves, write_trials
from kramar.study.search_budget import Expected
from kramar.study.search_finals import Final
from kramar.study.search_records import Known, SearchRecord
from kramar.study.search_space import Space
from kramar.study.settings import REGIMES, Setting
from kramar.training.device import device
from kramar.training.material import Material

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


class SearchRun:
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

    @machine.kept_memory()
    def finish(self, chosen: Mapping[str, str]) -> SearchRecord:
        """Do trials while there are any to do; whoever comes first then tests the winner and reports."""
        run = self._run
        accelerator = device()
        # Without the lock, for which those that train would have to wait.
        material, entries = self._material()
        with run.lock:
            space = Space.of(self._base, len(material.parts["train"]))
            expected = self._expected(space, material, accelerator)
        search = Search(run.path / "trials", space.shortened(expected.epochs), self._trials)
        while True:
            with run.room("trials"), run.stage("Trials", self._trials) as advance:
                self._search(search, material, expected, accelerator, chosen, advance)
            with run.lock:
                if self._is_finished(chosen):
                    return read(run.path)  # by another process
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
            deadline = time.monotonic() + self._left - expected.end(search.pace(known))
            search.carry_out(claim, material, accelerator, run, deadline)

    def _material(self) -> tuple[Material, list[Entry]]:
        """The photos that can be read."""
        run, recipe = self._run, self._base.recipe
        if REGIMES[self._base.regime].augment:
            # Whatever the recipe at the start has, others will need the photos' margins.
            recipe = replace(recipe, augment="shift")
        rules = trial.rules(replace(self._base, recipe=recipe))
        entries, unreadable = readable(self._gathered, rules, self._source, run, strict=self._options.strict)
        self._left_out += unreadable
        require_validation(entries, self._source)
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
    ) -> SearchRecord:
        """Choose between the best and the start, test both, and leave all that a finished run has."""
        run, known = self._run, search.known()
        best = search.best(known)
        if best is None:
            raise FailedError(
                f"{run.path}: none of {len(known)} trials could be trained to the end; start from a --config with a "
                "lower learning_rate or a smaller batch, and a new --out"
            )
        with run.room("final"):
            card = model_card(self._gathered, material, self._options.seed, "tune")
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
            took = sum(one.seconds for one in tried) + run.rooms["final"]
            found = Searched(
                source=self._source,
                base=self._base,
                asked=self._trials,
                search_epochs=expected.epochs,
                gathered=self._gathered,
                left_out=self._left_out,
                entries=entries,
                trials=tried,
                finals=finals,
                importance=importance,
                estimate={"whole": expected.whole(self._trials), "took": took},
                command=command(self._source, chosen, run.path),
            )
            record = account(found, run)
            write_text(run.path / "report.html", render_search(record))
        write_text(run.path / "run.json", record.model_dump_json(indent=1))
        return read(run.path)


def read(folder: Path) -> SearchRecord:
    """The record of a finished search."""
    return SearchRecord.model_validate_json((folder / "run.json").read_text(encoding="utf-8"))


def require_validation(entries: Sequence[Entry], source: Path) -> None:
    """Raise DataError where there is no photo to choose by."""
    classes = {entry.label for entry in entries if entry.split == "train"}
    if not any(entry.split == "val" and entry.label in classes for entry in entries):
        raise DataError(
            f"{source}: tune chooses recipes by the validation photos, and there are none of classes that training "
            "has; set some aside (split val)"
        )


def _copy(source: Path, target: Path) -> None:
    with replacing(target) as temporary:
        shutil.copyfile(source, temporary)
