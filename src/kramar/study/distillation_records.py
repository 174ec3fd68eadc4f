"""What is written down of a distillation: ``run.json``, and ``distillation.csv``, a row a lesson."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from kramar.evaluation import paired
from kramar.records import DataRecord, Epoch, Estimate, Metrics, Record, Verification
from kramar.study import grid

# What the column ``scaling`` says of a student that learnt from labels alone.
ALONE = "none"
COLUMNS = (
    "teacher",
    "student",
    "start",
    "scaling",
    "temperature",
    "weight",
    "seed",
    "accuracy",
    "low",
    "high",
    "n",
    "seconds",
)


class LessonRecord(Record):
    """One lesson, and what came of it.

    ``accuracy`` is on test (on validation where there are no test photos); ``val_loss`` in nats at its own temperature.
    """

    student: str
    start: str
    scaling: str
    temperature: float
    weight: float
    seed: int
    metrics: dict[str, Metrics]
    val_loss: float | None
    epochs: list[Epoch]
    seconds: float

    @property
    def cell(self) -> tuple[float, float] | None:
        """Temperature and weight; None without a teacher."""
        return None if self.scaling == ALONE else (self.temperature, self.weight)

    @property
    def accuracy(self) -> Estimate | None:
        """On test, or on validation where there are no test photos."""
        shown = self.metrics.get("test") or self.metrics.get("val")
        return shown.accuracy if shown else None


class CellRecord(Record):
    """One temperature and weight, over its seeds, against the same student without a teacher on the same photos.

    ``accuracy`` is the mean over seeds; ``gain`` that minus the mean without a teacher, ``adjusted`` its p-value after
    Holm's correction for all cells. ``val_loss`` is the mean over seeds, by which the best cell is chosen.
    """

    temperature: float
    weight: float
    seeds: int
    accuracy: float
    gain: Estimate
    p: float
    adjusted: float
    val_loss: float | None

    @property
    def helps(self) -> bool:
        """Whether the teacher is shown to help."""
        return self.gain.value > 0 and self.adjusted <= paired.LEVEL

    @property
    def harms(self) -> bool:
        """Whether it is shown to harm."""
        return self.gain.value < 0 and self.adjusted <= paired.LEVEL


class TeacherRecord(Record):
    """Who teaches: a name, the file, and what it is worth on the same photos."""

    name: str
    file: str
    bytes: int
    milliseconds: float
    metrics: dict[str, Metrics]


class StudentRecord(Record):
    """The student that is kept: its cell, its file, and how it compares with the teacher, paired."""

    temperature: float | None
    weight: float | None
    seed: int
    file: str
    bytes: int
    milliseconds: float
    metrics: dict[str, Metrics]
    verification: Verification
    against_teacher: Estimate | None
    against_teacher_p: float | None


class DistillationRecord(Record):
    """``run.json`` of ``kramar distill``."""

    kramar: str
    command: str
    started: str
    seed: int
    machine: dict[str, str | int]
    data: DataRecord
    scaling: str
    teacher: TeacherRecord
    lessons: list[LessonRecord]
    cells: list[CellRecord]
    alone: float | None
    student: StudentRecord
    left_out_lessons: list[str] = Field(default_factory=list)
    estimate: dict[str, float]
    seconds: dict[str, float | dict[str, float]]
    peak_memory_bytes: int


def write_table(teacher: TeacherRecord, lessons: Sequence[LessonRecord], path: Path) -> None:
    """``distillation.csv``, a row a lesson, and one for the teacher, which has no student; accuracy is on test."""
    shown = teacher.metrics.get("test") or teacher.metrics.get("val")
    rows: list[tuple[object, ...]] = [(teacher.name, "", "", "", None, None, None, *_figures(shown), None)]
    for one in lessons:
        cell = (one.temperature, one.weight) if one.cell else (None, None)
        metrics = one.metrics.get("test") or one.metrics.get("val")
        name = teacher.name if one.cell else ""
        rows.append((name, one.student, one.start, one.scaling, *cell, one.seed, *_figures(metrics), one.seconds))
    grid.write_csv(path, COLUMNS, rows)


def _figures(metrics: Metrics | None) -> tuple[object, ...]:
    if metrics is None:
        return None, None, None, 0
    return metrics.accuracy.value, metrics.accuracy.low, metrics.accuracy.high, metrics.accuracy.n
