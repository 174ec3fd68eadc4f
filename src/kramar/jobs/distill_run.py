"""One distillation in its folder, from decoding to report: the teacher, then every lesson, then the best student."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from kramar import machine
from kramar.config import TrainConfig, duration
from kramar.data import manifest
from kramar.data.split import assign
from kramar.errors import FailedError, InputError, ModelFileError, TrainingError
from kramar.evaluation import paired
from kramar.evaluation.metrics import score
from kramar.exporting import network_file
from kramar.files import make_folder, write_text
from kramar.jobs.account import seconds as spent
from kramar.jobs.gather import Gathered
from kramar.jobs.run import RunFolder
from kramar.jobs.study import command, model_card, readable, spoken
from kramar.models import squares, weights
from kramar.report.distillation import render_distillation
from kramar.runtime.model import Model
from kramar.runtime.session import Scores
from kramar.study import distillation, grid, trial
from kramar.study.distillation import Lesson
from kramar.study.distillation_records import (
    DistillationRecord,
    LessonRecord,
    StudentRecord,
    TeacherRecord,
    write_table,
)
from kramar.study.estimate import Estimator
from kramar.study.settings import Setting
from kramar.training import taught
from kramar.training.answers import answer
from kramar.training.device import device
from kramar.training.material import Material
from kramar.training.teacher import Teacher
from kramar.version import __version__

if TYPE_CHECKING:
    from accelerate import Accelerator

    from kramar.data.manifest import Entry

# Views that a student learns from: the teacher is asked once about each.
VIEWS = 8
_TEACHER = "teacher"

Right = npt.NDArray[np.bool_]


class Sweep:
    """One sweep: the teacher, all lessons that the budget has room for, the best student, the report."""

    def __init__(
        self,
        source: Path,
        options: TrainConfig,
        lessons: Sequence[Lesson],
        teacher: Path | Setting,
        gathered: Gathered,
        run: RunFolder,
    ) -> None:
        self._source, self._options, self._lessons, self._given = source, options, lessons, teacher
        self._gathered, self._run = gathered, run
        self._left_out = list(gathered.left_out)
        self._warnings = list(gathered.warnings)
        self._is_fair = True

    @machine.kept_memory()
    def finish(self, chosen: Mapping[str, str]) -> DistillationRecord:
        """The teacher, then all lessons that the budget has room for, then the best student."""
        run, options = self._run, self._options
        accelerator = device()
        settings = [self._lessons[0].setting, *([self._given] if isinstance(self._given, Setting) else [])]
        rules = list(dict.fromkeys(rule for one in settings for rule in trial.rules(one)))
        entries, unreadable = readable(self._gathered, rules, self._source, run, strict=options.strict)
        self._left_out += unreadable
        material = Material.of(entries, manifest.require_classes(entries, self._source))
        count = self._views(material)
        lessons, left_out, expected = self._affordable(material, accelerator, count)
        with run.room("teacher"):
            file = self._file(material, accelerator)
            teacher, right = self._judged(file, material)
        lessons, records, answers = self._learn(lessons, material, file, expected, accelerator, count, left_out)
        with run.room("evaluate"):
            groups = [entry.group for entry in material.parts["test"] or material.parts["val"]]
            cells = distillation.cells(records, answers, groups, options.seed)
            place = distillation.best(records)
        with run.room("export"):
            student = self._export(lessons[place], records[place], material, answers[place], right, groups)
        alone = [one.accuracy.value for one in records if one.cell is None and one.accuracy]
        record = DistillationRecord(
            kramar=__version__,
            command=command(self._source, chosen, run.path),
            started=run.plan.started,
            seed=options.seed,
            machine=machine.describe(),
            data=self._gathered.record(self._source, entries, self._left_out, self._warnings),
            scaling=chosen["--scaling"],
            teacher=teacher,
            lessons=records,
            cells=cells,
            alone=float(np.mean(alone)) if alone else None,
            student=student,
            left_out_lessons=left_out,
            estimate={"lessons": sum(expected.values()), "took": sum(one.seconds for one in records)},
            seconds=spent(run),
            peak_memory_bytes=machine.peak_memory(),
        )
        with run.room("report"):
            manifest.write_manifest(entries, run.path / "manifest.parquet")
            write_table(teacher, records, run.path / "distillation.csv")
            write_text(run.path / "report.html", render_distillation(record))
        record = record.model_copy(update={"seconds": spent(run)})
        write_text(run.path / "run.json", record.model_dump_json(indent=1))
        return record

    def _file(self, material: Material, accelerator: Accelerator) -> Path:
        """The teacher's model file, trained first where it is none yet."""
        if isinstance(self._given, Path):
            return self._given
        place = self._run.path / _TEACHER
        if trial.finished(place) is None:
            self._run.say(f"Training the teacher: {self._given.title}, {self._given.recipe.epochs} epochs")
            card = model_card(self._gathered, material, self._options.seed, "distill")
            trial.run(self._given, material, card, place, accelerator, self._run)
        return place / "model.onnx"

    def _judged(self, file: Path, material: Material) -> tuple[TeacherRecord, Right]:
        """The teacher on the same photos. Raises InputError where it knows other classes."""
        teacher = Teacher([file], "none", 0.0)
        if known := self._learnt_from(file, material):
            warning = (
                f"the teacher was made with {known} or more of the photos that it is tested on here, since its photos "
                "were split otherwise (another --seed, other products or twins, photos added since): its accuracy is "
                "too good, and the student is not compared with it"
            )
            self._warnings.append(warning)
            self._run.say(f"Warning: {warning}")
            self._is_fair = False
        if set(teacher.classes) != set(material.classes):
            missing = sorted(set(material.classes) - set(teacher.classes))
            found = f"it lacks {missing[0]!r}" if missing else "it has more"
            raise ModelFileError(
                f"--teacher: {file}: expected the {len(material.classes)} classes of the data; {found}"
            )
        scored = {
            part: material.scored(self._said(teacher, part, 0, material), 1.0, part)
            for part in ("val", "test")
            if material.parts[part]
        }
        shown = scored.get("test") or scored.get("val")
        model = Model(file)
        record = TeacherRecord(
            name=model.card.backbone if isinstance(self._given, Path) else self._given.architecture.name,
            file=str(file),
            bytes=file.stat().st_size,
            milliseconds=model.milliseconds(),
            metrics={part: score(one, self._options.seed) for part, one in scored.items()},
        )
        return record, shown.right if shown else np.zeros(0, bool)

    def _learnt_from(self, file: Path, material: Material) -> int:
        """How many of the photos that it is tested on the teacher learnt from, as far as that is known."""
        card, gathered = Model(file).card, self._gathered
        if card.data_fingerprint == gathered.fingerprint or manifest.keys(gathered.entries).isdisjoint(card.learnt):
            return 0
        tested = material.parts["test"] or material.parts["val"]
        if gathered.split_from != "kramar":
            return len(manifest.keys(tested) & set(card.learnt))
        # As the teacher's photos were split, by its own seed and twins.
        plain = [replace(entry, split="", tied="") for entry in gathered.entries]
        parts = {entry.image: entry.split for entry in assign(manifest.retied(plain, card.ties), card.seed)}
        return sum(parts[entry.image] != "test" for entry in tested)

    def _said(self, teacher: Teacher, part: str, view: int, material: Material) -> Scores:
        """The teacher's logits of a view, its classes in the material's order."""
        logits = teacher.logits(material.parts[part], view, self._run)
        return np.asarray(logits[:, [teacher.classes.index(label) for label in material.classes]])

    def _affordable(
        self, material: Material, accelerator: Accelerator, count: int
    ) -> tuple[list[Lesson], list[str], dict[str, float]]:
        """The lessons to give, those that the budget has no room for, and expected seconds by key.

        Before any of it the teacher is trained, if it has to be, and asked about ``count`` views of each photo.
        """
        run, budget = self._run, self._options.budget
        expected = run.plan.trials
        if expected is None:
            with run.room("estimate"):
                estimator = Estimator(material, accelerator)
                each = estimator.seconds(self._lessons[0].setting)
                teacher = self._teaching(estimator, material, count)
            if teacher > 1:
                run.say(f"The teacher takes about {spoken(teacher)} before the first lesson")
            left = budget - run.elapsed - teacher
            expected = grid.affordable({lesson.key: each for lesson in self._lessons}, left)
            run.say(f"All {len(self._lessons)} lessons take about {spoken(each * len(self._lessons))} on this machine")
            if len(expected) < 2:
                every = spoken(each * len(self._lessons))
                raise InputError(
                    f"--budget: {spoken(max(0.0, left))} are left for lessons, a lesson takes about {spoken(each)}, "
                    f"all {len(self._lessons)} of them {every}; the teacher takes {spoken(teacher)} before them"
                )
            run.choose(trials=expected)
        out = [one for one in self._lessons if one.key not in expected]
        if out:
            room = f"{len(expected)} of {len(self._lessons)} lessons"
            run.say(f"Warning: the budget of {duration(budget)} has room for {room}")
        names = [f"{one.title}: no time" for one in out]
        return [one for one in self._lessons if one.key in expected], names, dict(expected)

    def _teaching(self, estimator: Estimator, material: Material, count: int) -> float:
        """Seconds that the teacher takes before it is known what it says of ``count`` views of the training photos."""
        train, given = material.parts["train"], self._given
        if isinstance(given, Path):
            recipe = self._lessons[0].setting.recipe
            asking = Teacher([given], recipe.augment, recipe.strength).asking(train)
            return len(train) * sum(asking.seconds(view) for view in range(count))
        training = 0.0 if trial.finished(self._run.path / _TEACHER) else estimator.seconds(given)
        return training + count * len(train) / estimator.looking(given)

    def _views(self, material: Material) -> int:
        """How many views of each photo a student sees. Raises InputError where there is no room for one."""
        setting = self._lessons[0].setting
        a_view = len(material.parts["train"]) * setting.architecture.resize.size**2 * 3
        count = min(VIEWS, setting.recipe.epochs, int(self._options.cache_size / a_view))
        if not count:
            raise InputError(
                f"--cache-size: expected room for one view of all photos, {a_view / 1e6:.1f}MB, found less"
            )
        return count

    def _learn(
        self,
        lessons: Sequence[Lesson],
        material: Material,
        file: Path,
        expected: Mapping[str, float],
        accelerator: Accelerator,
        count: int,
        left_out: list[str],
    ) -> tuple[list[Lesson], list[LessonRecord], list[Right]]:
        """The lessons that came to something, what did, and whether each photo was right; the others are named in
        ``left_out``."""
        run, setting = self._run, lessons[0].setting
        recipe, rule = setting.recipe, setting.architecture.resize
        places = [run.path / "lessons" / one.key for one in lessons]
        records = [distillation.finished(place) for place in places]
        if not all(records):
            train: list[Entry] = material.parts["train"]
            teacher = Teacher([file], recipe.augment, recipe.strength)
            with run.room("views"):
                said = [self._said(teacher, "train", view, material) for view in range(count)]
            with (
                taught.drawn(train, rule, recipe, count, self._options.cache_size, run) as views,
                run.stage("Lessons", len(lessons)) as advance,
                run.room("lessons"),
            ):
                for number, (one, place) in enumerate(zip(lessons, places, strict=True)):
                    if records[number] is None:
                        about = spoken(expected[one.key])
                        run.say(f"Lesson {number + 1} of {len(lessons)}: {one.title}; about {about}")
                        try:
                            records[number] = distillation.run(one, material, views, said, place, accelerator, run)
                        except TrainingError as error:
                            run.say(f"Warning: {error}")
                            left_out.append(str(error))
                    advance(1)
        done = [(one, record, place) for one, record, place in zip(lessons, records, places, strict=True) if record]
        if not done:
            raise FailedError(f"{run.path}: no lesson came to its end: {'; '.join(left_out)}")
        learnt, found, kept = zip(*done, strict=True)
        return [*learnt], [*found], [np.load(place / "answers.npz")["right"] for place in kept]

    def _export(
        self,
        lesson: Lesson,
        record: LessonRecord,
        material: Material,
        right: Right,
        teachers: Right,
        groups: Sequence[str],
    ) -> StudentRecord:
        """The best student's model file, verified, and its comparison with the teacher."""
        run, setting = self._run, lesson.setting
        network = distillation.reopened(lesson, material, run.path / "lessons" / lesson.key)
        shown = material.parts["val"] or material.parts["train"][: trial.VERIFIED]
        logits = answer(network, squares.squares(shown, setting.architecture.resize))
        temperature = material.temperature(logits) if material.parts["val"] else 1.0
        located = weights.locate(setting.architecture) if record.start == "weights" else None
        card = model_card(self._gathered, material, self._options.seed, "distill")
        path = run.path / "model.onnx"
        make_folder(path.parent)
        verification = network_file.write(
            network,
            card(setting, record.metrics, temperature, located),
            path,
            [entry.photo for entry in shown],
            logits,
            run,
        )
        compared = len(right) > 0 and self._is_fair
        return StudentRecord(
            temperature=record.temperature if record.cell else None,
            weight=record.weight if record.cell else None,
            seed=record.seed,
            file=path.name,
            bytes=path.stat().st_size,
            milliseconds=Model(path).milliseconds(),
            metrics=record.metrics,
            verification=verification,
            against_teacher=paired.difference(right, teachers, groups, self._options.seed) if compared else None,
            against_teacher_p=paired.permutation(right, teachers, groups, self._options.seed) if compared else None,
        )
