"""Distillation: one student taught by every temperature and weight, and by labels alone, on the same views.

A lesson is the unit that is resumed: it goes on from its last epoch, and once ``lesson.json`` is there it is done.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from accelerate import Accelerator
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from kramar.errors import InputError, TrainingError
from kramar.evaluation import paired
from kramar.evaluation.metrics import score
from kramar.files import make_folder, remove_leftovers, replacing, write_text
from kramar.models import squares
from kramar.models.networks import Network
from kramar.progress import Progress
from kramar.runtime.session import Scores
from kramar.study import trial
from kramar.study.distillation_records import ALONE, CellRecord, LessonRecord
from kramar.study.settings import NO_TRANSFER, Setting
from kramar.training import losses, taught
from kramar.training.answers import answer
from kramar.training.material import Material
from kramar.training.seeds import derived
from kramar.training.tail import labels
from kramar.training.tail import taught as told
from kramar.training.taught import SquareJudge, View


@dataclass(frozen=True, slots=True)
class Lesson:
    """One training of the student.

    Attributes:
        setting: the student, its start, its recipe and seed.
        scaling: the loss by name (`losses.SCALINGS`), or ``none`` for labels alone.
        temperature, weight: T and lambda of that loss.
    """

    setting: Setting
    scaling: str = ALONE
    temperature: float = 1.0
    weight: float = 1.0

    @property
    def cell(self) -> str:
        """What is compared, whatever the seed."""
        if self.scaling == ALONE:
            return "without a teacher"
        return f"T = {self.temperature:g}, lambda = {self.weight:g}"

    @property
    def title(self) -> str:
        """What it is called."""
        return f"{self.cell}, seed {self.setting.seed}"

    @property
    def key(self) -> str:
        """A name for files."""
        how = ALONE if self.scaling == ALONE else f"{self.scaling}-T{self.temperature:g}-w{self.weight:g}"
        return re.sub(r"[^A-Za-z0-9_.+=-]+", "-", f"{how}-seed{self.setting.seed}")


def numbers(text: str | Sequence[float], option: str, *, least: float, above: bool) -> tuple[float, ...]:
    """The numbers in ``text``, separated by commas, from ``least`` on (or ``above`` it). Raises InputError."""
    bound = f"above {least:g}" if above else f"from {least:g}"
    given = text.split(",") if isinstance(text, str) else list(text)
    found = []
    for one in given:
        try:
            number = float(one)
        except ValueError:
            number = float("nan")
        if not (number > least if above else number >= least) or number == float("inf"):
            raise InputError(f"{option}: expected numbers {bound}, separated by commas; found {one!r}")
        found.append(number)
    return tuple(dict.fromkeys(found))


def plan(
    settings: Sequence[Setting], scaling: str, temperatures: Sequence[float], weights: Sequence[float]
) -> list[Lesson]:
    """All lessons, seed by seed, the student without a teacher first. Raises InputError for an unknown scaling."""
    losses.scaling(scaling)
    return [
        lesson
        for setting in settings
        for lesson in (Lesson(setting), *(Lesson(setting, scaling, t, w) for t in temperatures for w in weights))
    ]


def finished(folder: Path) -> LessonRecord | None:
    """The lesson in ``folder``, if it is done."""
    try:
        return LessonRecord.model_validate_json((folder / "lesson.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValidationError):
        return None


def run(
    lesson: Lesson,
    material: Material,
    views: Sequence[View],
    said: Sequence[Scores],
    folder: Path,
    accelerator: Accelerator,
    progress: Progress,
) -> LessonRecord:
    """Do the lesson, or what is left of it, in ``folder``.

    ``views`` and ``said`` are the views of the training photos, and the teacher's logits ``[N, C]`` of each. Leaves the
    student's weights, ``answers.npz`` (``right``, bool, for each scored photo) and ``lesson.json``. Raises OutputError
    and TrainingError.
    """
    make_folder(folder)
    remove_leftovers(folder)
    began = time.monotonic()
    setting, device = lesson.setting, accelerator.device
    network, _, _ = trial.start(setting, len(material.classes))
    truth = material.truth("train")
    if lesson.scaling == ALONE:
        targets, loss = labels(truth, device), losses.of(setting.recipe)
    else:
        criterion = losses.scaling(lesson.scaling)(lesson.temperature, lesson.weight)
        targets, loss = told(truth, said, device), losses.of(setting.recipe, criterion)
    rule = setting.architecture.resize
    known = material.known("val")
    try:
        epochs = taught.learn(
            network,
            views,
            targets,
            SquareJudge(squares.squares(known, rule), material.numbers(known)),
            setting.recipe,
            loss,
            seed=derived(setting.seed, 5),
            accelerator=accelerator,
            progress=progress,
            checkpoint=folder / "training.safetensors",
            body=[network.body] if setting.transfer != NO_TRANSFER else (),
        )
    except TrainingError as error:
        raise TrainingError(f"{lesson.title}: {error}") from None
    network.eval()
    logits = {part: answer(network, squares.squares(material.parts[part], rule)) for part in ("val", "test")}
    temperature = material.temperature(logits["val"])
    scored = {part: material.scored(logits[part], temperature, part) for part in logits if material.parts[part]}
    shown = scored.get("test") or scored.get("val")
    with replacing(folder / "answers.npz") as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, right=shown.right if shown else np.zeros(0, bool))
    with replacing(folder / "student.safetensors") as temporary:
        save_file({name: value.contiguous().cpu() for name, value in network.state_dict().items()}, temporary)
    metrics = {part: score(answers, setting.seed) for part, answers in scored.items()}
    record = LessonRecord(
        student=setting.architecture.name,
        start="scratch" if setting.transfer == NO_TRANSFER else "weights",
        scaling=lesson.scaling,
        temperature=lesson.temperature,
        weight=lesson.weight,
        seed=setting.seed,
        metrics=metrics,
        val_loss=metrics["val"].log_loss.value if "val" in metrics else None,
        epochs=epochs,
        seconds=sum(epoch.seconds for epoch in epochs) or time.monotonic() - began,
    )
    write_text(folder / "lesson.json", record.model_dump_json(indent=1))
    (folder / "training.safetensors").unlink(missing_ok=True)
    return record


def reopened(lesson: Lesson, material: Material, folder: Path) -> Network:
    """The student of a finished lesson."""
    network, _, _ = trial.start(lesson.setting, len(material.classes))
    network.load_state_dict(load_file(folder / "student.safetensors"))
    return network.eval()


def cells(
    lessons: Sequence[LessonRecord], right: Sequence[npt.NDArray[np.bool_]], groups: Sequence[str], seed: int
) -> list[CellRecord]:
    """Every temperature and weight against the student without a teacher, one family under Holm's correction; of the
    seeds that both have.

    ``right[i]``, bool ``[N]``, is of ``lessons[i]``; ``groups`` are the photos' keys.
    """
    by_cell: dict[tuple[float, float] | None, dict[int, int]] = {}
    for place, lesson in enumerate(lessons):
        by_cell.setdefault(lesson.cell, {})[lesson.seed] = place
    alone = by_cell.pop(None, {})
    if not alone or not len(right[next(iter(alone.values()))]):
        return []
    found = []
    for cell, by_seed in by_cell.items():
        assert cell is not None
        shared = [seed for seed in by_seed if seed in alone]
        if not shared:
            continue
        places = [by_seed[seed] for seed in shared]
        without = np.stack([right[alone[seed]] for seed in shared])
        answers = np.stack([right[place] for place in places])
        losses_ = [lessons[place].val_loss for place in places]
        found.append(
            CellRecord(
                temperature=cell[0],
                weight=cell[1],
                seeds=len(places),
                accuracy=float(answers.mean()),
                gain=paired.difference(answers, without, groups, seed),
                p=paired.permutation(answers, without, groups, seed),
                adjusted=1.0,
                val_loss=float(np.mean([loss for loss in losses_ if loss is not None]))
                if all(loss is not None for loss in losses_)
                else None,
            )
        )
    adjusted = paired.holm([cell.p for cell in found])
    return [cell.model_copy(update={"adjusted": p}) for cell, p in zip(found, adjusted, strict=True)]


def best(lessons: Sequence[LessonRecord]) -> int:
    """Which lesson's student to keep: of the cell with the lowest mean validation loss, the seed with the lowest.

    A cell that lacks a seed which another has is not compared with it. Without validation photos, the first taught one.
    """
    if any(lesson.val_loss is None for lesson in lessons):
        return next((place for place, lesson in enumerate(lessons) if lesson.cell is not None), 0)
    means: dict[tuple[float, float] | None, list[float]] = {}
    for lesson in lessons:
        means.setdefault(lesson.cell, []).append(lesson.val_loss or 0.0)
    most = max(map(len, means.values()))
    cell = min((one for one in means if len(means[one]) == most), key=lambda one: float(np.mean(means[one])))
    return min(
        (place for place, lesson in enumerate(lessons) if lesson.cell == cell),
        key=lambda place: lessons[place].val_loss or 0.0,
    )
