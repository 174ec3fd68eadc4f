"""A search for a better recipe: trials proposed by Optuna, one folder each, shared by all processes of a study.

The folders are the study. ``proposal.json`` says what a trial is, ``training.safetensors`` how far it is, and
``outcome.json`` what came of it; each is complete or absent, and whoever holds the folder's lock works on it. From
these, Optuna's study is made anew in memory for each proposal, with a sampler whose seed is the trial's number: what is
proposed depends on the trials before it and on nothing else, so that a killed search ends as one that was not. (Its
own journal takes a dozen lines for a trial; a kill between two of them would change what is proposed.)
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from accelerate import Accelerator
from filelock import FileLock, Timeout
from pydantic import TypeAdapter
from safetensors import safe_open

from kramar.errors import TrainingError
from kramar.files import make_folder, remove_leftovers, write_text
from kramar.progress import Progress
from kramar.records import Epoch
from kramar.study import search_optuna, trial
from kramar.study.grid import write_csv
from kramar.study.search_records import Ended, Known, Outcome, Proposal, Tried, finite
from kramar.study.search_space import Space
from kramar.study.settings import Setting
from kramar.training.material import Material
from kramar.training.recipe import Recipe

CHECKPOINT = "training.safetensors"
_RECIPE = TypeAdapter(Recipe)


class StoppedError(Exception):
    """A trial need not go on."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A trial that this process has taken: nobody else works on it until ``lock`` is released."""

    number: int
    proposal: Proposal
    lock: FileLock


class Search:
    """A search of ``space`` in as many as ``trials`` trials, each in a folder of its own in ``folder``.

    What reads all trials or takes one (`claim`, `tidy`) is called under a lock that all processes share.
    """

    def __init__(self, folder: Path, space: Space, trials: int) -> None:
        self._folder, self.space, self._trials = folder, space, trials
        self._done: dict[int, Known] = {}

    def known(self) -> list[Known]:
        """All trials so far, by number."""
        found: list[Known] = []
        while (self.place(len(found)) / "proposal.json").is_file():
            number = len(found)
            if number not in self._done:
                one = self._read(number)
                if one.outcome is None:
                    found.append(one)
                    continue
                self._done[number] = one
            found.append(self._done[number])
        return found

    def _read(self, number: int) -> Known:
        place = self.place(number)
        proposal = Proposal.model_validate_json((place / "proposal.json").read_text(encoding="utf-8"))
        try:
            outcome = Outcome.model_validate_json((place / "outcome.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            outcome = None
        return Known(number, proposal, outcome)

    def place(self, number: int) -> Path:
        """The folder of a trial."""
        return self._folder / str(number)

    def setting(self, one: Known | Claim) -> Setting:
        """What is trained in a trial."""
        return replace(self.space.base, recipe=_RECIPE.validate_python(one.proposal.recipe))

    def claim(self, *, propose: bool) -> Claim | None:
        """A trial to work on: one that a killed process left, or else a new one if ``propose`` and any are left.

        None where there is none. Raises OutputError.
        """
        known = self.known()
        for one in known:
            if one.outcome is None and (lock := self._lock(one.number)):
                if self._read(one.number).outcome is None:
                    return Claim(one.number, one.proposal, lock)
                # Whoever had the lock has just ended it.
                lock.release()
        if not propose or len(known) >= self._trials:
            return None
        number = len(known)
        make_folder(self.place(number))
        lock = self._lock(number)
        assert lock is not None
        proposal = self._propose(known)
        write_text(self.place(number) / "proposal.json", proposal.model_dump_json(indent=1))
        return Claim(number, proposal, lock)

    def _lock(self, number: int) -> FileLock | None:
        lock = FileLock(self.place(number) / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return None
        return lock

    def _propose(self, known: Sequence[Known]) -> Proposal:
        if not known:
            return Proposal(point=self.space.start, recipe=asdict(self.space.base.recipe))
        point = search_optuna.proposed(self.space, known, self._trials)
        return Proposal(point=point, recipe=asdict(self.space.recipe(point)))

    def carry_out(
        self,
        claim: Claim,
        material: Material,
        accelerator: Accelerator,
        progress: Progress,
        deadline: float,
    ) -> Outcome:
        """Train the trial of ``claim``, or what is left of it, until ``deadline`` (of ``time.monotonic``); release it.

        Trial 0, which the others are compared with, is never stopped early. Raises OutputError.
        """
        place, began = self.place(claim.number), time.monotonic()
        try:
            progress.say(f"Trial {claim.number}{', the start' if claim.number == 0 else ''}: {self._words(claim)}")
            remove_leftovers(place)
            checkpoint = place / CHECKPOINT
            epochs = _recorded(checkpoint)
            earlier = sum(epoch.seconds for epoch in epochs)
            stop = self._stop(claim, deadline)

            def after_epoch(all_epochs: Sequence[Epoch]) -> None:
                nonlocal epochs
                epochs = list(all_epochs)
                stop(epochs)

            state: Ended = "complete"
            why = ""
            try:
                # A killed process may not have come to judge its last epoch.
                stop(epochs)
                epochs = trial.train(
                    self.setting(claim),
                    material,
                    accelerator,
                    progress,
                    checkpoint=checkpoint,
                    after_epoch=after_epoch,
                ).epochs
            except StoppedError as stopped:
                state, why = "pruned", str(stopped)
            except TrainingError as error:
                state, why = "failed", str(error)
            outcome = Outcome.of(state, epochs, earlier + time.monotonic() - began, why)
            write_text(place / "outcome.json", outcome.model_dump_json(indent=1))
            progress.say(f"Trial {claim.number}: {outcome}")
            return outcome
        finally:
            claim.lock.release()

    def _words(self, claim: Claim) -> str:
        parameters = self.space.parameters(self.setting(claim).recipe)
        return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in parameters.items() if value is not None)

    def _stop(self, claim: Claim, deadline: float) -> Callable[[Sequence[Epoch]], None]:
        """Raises StoppedError where a trial with these epochs need not go on."""
        others = [one for one in self.known() if one.number != claim.number]
        pruning = search_optuna.Pruning(self.space, others, self._trials)

        def stop(epochs: Sequence[Epoch]) -> None:
            if epochs and not finite(epochs[-1]):
                raise StoppedError("its loss was no longer a number")
            weak = pruning.weak(epochs)
            if claim.number == 0 or len(epochs) == claim.proposal.recipe["epochs"]:
                return
            if time.monotonic() > deadline:
                raise StoppedError("the time was up")
            if weak:
                raise StoppedError(f"after {len(epochs)} epochs below the median of earlier trials")

        return stop

    def best(self, known: Sequence[Known]) -> Known | None:
        """The highest accuracy on validation, of equals the lowest log loss, of those the earlier; None without any."""
        ranked = [one for one in known if one.outcome and one.outcome.state == "complete"]
        return max(ranked, key=lambda one: one.outcome.rank if one.outcome else (), default=None)

    def pace(self, known: Sequence[Known]) -> list[float]:
        """Mean seconds of an epoch of trial 0 and of the best, as far as they are known."""
        best = self.best(known)
        both = [one for one in (known[0] if known else None, best) if one and one.outcome and one.outcome.epochs]
        return [fmean(epoch.seconds for epoch in one.outcome.epochs) for one in both if one.outcome]

    def tidy(self, known: Sequence[Known]) -> None:
        """Delete the checkpoints that nothing goes on from: all but those of trial 0, the best, and running ones."""
        best = self.best(known)
        for one in known:
            if one.outcome and one.number and (best is None or one.number != best.number):
                (self.place(one.number) / CHECKPOINT).unlink(missing_ok=True)

    def tried(self, known: Sequence[Known]) -> list[Tried]:
        """The trials for the record."""
        return [
            Tried(
                number=one.number,
                state=one.outcome.state if one.outcome else "running",
                value=one.outcome.value if one.outcome else None,
                log_loss=one.outcome.log_loss if one.outcome else None,
                seconds=one.outcome.seconds if one.outcome else 0.0,
                why=one.outcome.why if one.outcome else "",
                parameters=self.space.parameters(self.setting(one).recipe),
                epochs=one.outcome.epochs if one.outcome else [],
            )
            for one in known
        ]


def write_trials(trials: Sequence[Tried], path: Path) -> None:
    """``trials.csv``, a row a trial: number, state, accuracy on validation, seconds, and all that was searched."""
    names = list(trials[0].parameters) if trials else []
    rows = [
        (one.number, one.state, one.value, round(one.seconds, 2), *(one.parameters[name] for name in names))
        for one in trials
    ]
    write_csv(path, ["trial", "state", "value", "seconds", *names], rows)


def write_curves(trials: Sequence[Tried], path: Path) -> None:
    """``curves.csv``: every epoch of every trial."""
    rows = [
        (one.number, epoch.number + 1, epoch.train_loss, epoch.val_loss, epoch.val_accuracy, epoch.seconds)
        for one in trials
        for epoch in one.epochs
    ]
    write_csv(path, ["trial", "epoch", "train_loss", "val_loss", "val_accuracy", "seconds"], rows)


def _recorded(checkpoint: Path) -> list[Epoch]:
    """The epochs in a checkpoint; none where there is none. What was not a number when written (null) is none now."""
    if not checkpoint.is_file():
        return []
    with safe_open(checkpoint, "pt") as file:
        epochs: list[dict[str, Any]] = json.loads(file.metadata()["epochs"])
    return [
        Epoch.model_validate({name: math.nan if value is None else value for name, value in epoch.items()})
        for epoch in epochs
    ]
