"""The end of a search: the start and the best of the trials in full, the better of them chosen, both tested once."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from accelerate import Accelerator

from kramar.files import make_folder, replacing
from kramar.progress import Progress
from kramar.study import grid, trial
from kramar.study.records import ComparisonRecord, TrialRecord
from kramar.study.search import CHECKPOINT, Search
from kramar.study.search_records import Known, Outcome
from kramar.study.settings import Setting
from kramar.study.trial import Card
from kramar.training.material import Material

BEFORE, AFTER = "before", "after"


@dataclass(frozen=True, slots=True)
class Finals:
    """What came of the start and of the best trial; trial 0 is missing where it could not be trained to the end.

    Attributes:
        chosen: the winner on validation.
        outcomes: in full, by number.
        models: of the start and of the winner, by number.
        tests: the winner against the start, on the same test photos; empty where there are not both.
    """

    chosen: int
    outcomes: dict[int, Outcome]
    models: dict[int, TrialRecord]
    tests: list[ComparisonRecord]


class Final:
    """The last part of a search, each training in a folder of its own in ``folder``; it goes on where it was left."""

    def __init__(self, folder: Path, search: Search, epochs: int) -> None:
        """``epochs`` are the recipe's; the trials of ``search`` may have had fewer."""
        self._folder, self._search, self._epochs = folder, search, epochs

    def place(self, number: int) -> Path:
        """The folder of a trial's training in full."""
        return self._folder / str(number)

    def setting(self, one: Known) -> Setting:
        """What a trial would be in full."""
        setting = self._search.setting(one)
        return replace(setting, recipe=replace(setting.recipe, epochs=self._epochs))

    def decide(
        self,
        known: Sequence[Known],
        best: Known,
        material: Material,
        card: Card,
        accelerator: Accelerator,
        progress: Progress,
    ) -> Finals:
        """Train in full what was not, choose on validation, and test. Raises OutputError, ExportError."""
        entrants = {
            one.number: one
            for one in known
            if one.number in (0, best.number) and one.outcome and one.outcome.state == "complete"
        }
        outcomes = {number: self._in_full(one, material, accelerator, progress) for number, one in entrants.items()}
        chosen = max(outcomes, key=lambda number: outcomes[number].rank)
        models = {
            number: trial.finished(self.place(number))
            or trial.run(self.setting(one), material, card, self.place(number), accelerator, progress)
            for number, one in entrants.items()
            if number in (0, chosen)
        }
        return Finals(chosen, outcomes, models, self._tests(chosen, models, material))

    def _in_full(self, one: Known, material: Material, accelerator: Accelerator, progress: Progress) -> Outcome:
        place = self.place(one.number)
        make_folder(place)
        if done := trial.finished(place):
            return Outcome.of("complete", done.epochs, done.train_seconds)
        if one.outcome and one.proposal.recipe["epochs"] == self._epochs:
            if not (place / CHECKPOINT).exists():
                with replacing(place / CHECKPOINT) as temporary:
                    shutil.copyfile(self._search.place(one.number) / CHECKPOINT, temporary)
            return one.outcome
        progress.say(f"Trial {one.number} in full: {self._epochs} epochs")
        trained = trial.train(self.setting(one), material, accelerator, progress, checkpoint=place / CHECKPOINT)
        return Outcome.of("complete", trained.epochs, trained.seconds)

    def _tests(self, chosen: int, models: dict[int, TrialRecord], material: Material) -> list[ComparisonRecord]:
        if len(models) < 2 or not material.parts["test"]:
            return []
        right = [np.load(self.place(number) / "answers.npz")["right"] for number in (chosen, 0)]
        groups = [entry.group for entry in material.parts["test"]]
        return grid.tests([AFTER, BEFORE], right, groups, self._search.space.base.seed)
