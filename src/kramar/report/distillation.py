"""The page of one distillation: where the teacher helps, and what the student is worth beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kramar.records import Estimate
from kramar.report.grid import probability
from kramar.report.page import UNPRINTABLE, templates
from kramar.report.wording import DRAWN
from kramar.study.distillation_records import CellRecord, DistillationRecord

# Colours on each side of no gain.
LEVELS = 4


@dataclass(frozen=True, slots=True)
class Heat:
    """Gains over the student without a teacher: a row a weight, a column a temperature."""

    temperatures: list[float]
    weights: list[float]
    rows: list[list[CellRecord | None]]
    scale: float

    def level(self, cell: CellRecord) -> str:
        """The cell's colour: ``p1`` to ``p4`` for a gain, ``n1`` to ``n4`` for a loss, ``even`` for neither."""
        if not cell.gain.value:
            return "even"
        strength = max(1, round(LEVELS * abs(cell.gain.value) / self.scale))
        return f"{'p' if cell.gain.value > 0 else 'n'}{strength}"


def heat(cells: Sequence[CellRecord]) -> Heat:
    """The cells by temperature and weight."""
    found = {(cell.temperature, cell.weight): cell for cell in cells}
    temperatures = sorted({cell.temperature for cell in cells})
    weights = sorted({cell.weight for cell in cells})
    rows = [[found.get((temperature, weight)) for temperature in temperatures] for weight in weights]
    return Heat(temperatures, weights, rows, max((abs(cell.gain.value) for cell in cells), default=0.0))


@dataclass(frozen=True, slots=True)
class Row:
    """One model of the table."""

    name: str
    accuracy: Estimate | None
    bytes: int | None
    milliseconds: float | None
    kept: bool = False


def models(record: DistillationRecord) -> list[Row]:
    """The teacher, the student without one (each seed), and the student that is kept."""

    def shown(metrics: dict[str, object]) -> Estimate | None:
        part = metrics.get("test") or metrics.get("val")
        return getattr(part, "accuracy", None)

    teacher, student = record.teacher, record.student
    rows = [Row(f"{teacher.name}, the teacher", shown(dict(teacher.metrics)), teacher.bytes, teacher.milliseconds)]
    rows += [
        Row(f"{one.student} without a teacher, seed {one.seed}", one.accuracy, None, None)
        for one in record.lessons
        if one.cell is None
    ]
    taught = (
        f"taught at T = {student.temperature:g}, lambda = {student.weight:g}"
        if student.temperature is not None
        else "without a teacher"
    )
    name = f"{record.lessons[0].student} {taught}, seed {student.seed}, kept"
    return [*rows, Row(name, shown(dict(student.metrics)), student.bytes, student.milliseconds, kept=True)]


def cautions(record: DistillationRecord) -> list[str]:
    """What a reader must know before relying on the figures."""
    found = list(record.data.warnings)
    if record.left_out_lessons:
        found.append(f"Left out: {'; '.join(record.left_out_lessons)}.")
    if len({cell.seeds for cell in record.cells}) > 1:
        found.append("Cells that were trained from fewer seeds than others are compared on those.")
    tested = "test" in record.teacher.metrics
    if tested and record.data.split_from == "kramar":
        found.append(DRAWN)
    if not tested:
        found.append("Nothing was tested: the figures are from the validation photos, which choices were made on.")
    if len({lesson.seed for lesson in record.lessons}) == 1:
        found.append("Each cell was trained once, from one seed: another seed would give other figures.")
    found.append(
        "The kept student was chosen by its validation loss. The heat map's cells are measured on the "
        f"{'test' if tested else 'validation'} photos; the most favourable of many looks better than it is."
    )
    return found


def render_distillation(record: DistillationRecord) -> str:
    """The distillation's ``report.html``: one file that loads nothing from elsewhere."""
    page = (
        templates()
        .get_template("distillation.html.j2")
        .render(
            record=record,
            heat=heat(record.cells),
            models=models(record),
            helps=[cell for cell in record.cells if cell.helps],
            harms=[cell for cell in record.cells if cell.harms],
            best=max(record.cells, key=lambda cell: cell.gain.value, default=None),
            part="test" if "test" in record.teacher.metrics else "val",
            cautions=cautions(record),
            probability=probability,
        )
    )
    return UNPRINTABLE.sub("\ufffd", page)
