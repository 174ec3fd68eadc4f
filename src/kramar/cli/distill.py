"""``kramar distill``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kramar.cli.options import WHOLE, CacheSize, Columns, Data, Epochs, Json, Size, Strict, whole
from kramar.cli.terminal import printable, progress_bars
from kramar.config import (
    DEFAULT_CACHE_SIZE,
    DEFAULT_DISTILL_SEEDS,
    DEFAULT_GRID_BUDGET,
    DEFAULT_SEED,
    DEFAULT_TEMPERATURES,
    DEFAULT_WEIGHTS,
    SCALINGS,
    parse_seed,
    whole_number,
)
from kramar.data.columns import parse_columns

if TYPE_CHECKING:
    from kramar.jobs.distill import Distillation


def distill(
    data: Data,
    teacher: Annotated[
        str, typer.Option(help="A run folder, a model file, or an architecture, which is then trained first.")
    ],
    student: Annotated[str, typer.Option(help="An architecture; NAME@PIXELS for a size.")],
    out: Annotated[
        Path | None, typer.Option(help="The run folder [default: kramar-runs/NAME_OF_DATA-distill].")
    ] = None,
    temperature: Annotated[
        str, typer.Option(help="T of the loss, several separated by commas.")
    ] = DEFAULT_TEMPERATURES,
    weight: Annotated[str, typer.Option(help="Lambda of the loss, several separated by commas.")] = DEFAULT_WEIGHTS,
    scaling: Annotated[
        str, typer.Option(help=f"The loss: {', '.join(SCALINGS)} (no factor; T squared; correlations).")
    ] = SCALINGS[0],
    start: Annotated[
        str | None, typer.Option(help="weights or scratch [default: weights, where there are some].")
    ] = None,
    seeds: Annotated[str, typer.Option(metavar=WHOLE, help="Trainings of each temperature and weight.")] = str(
        DEFAULT_DISTILL_SEEDS
    ),
    budget: Annotated[
        str, typer.Option(help="Time for the whole command, such as 40m, 2h; what does not fit is left out.")
    ] = DEFAULT_GRID_BUDGET,
    size: Size = None,
    epochs: Epochs = None,
    teacher_epochs: Annotated[
        str | None, typer.Option(metavar=WHOLE, help="Passes of a teacher that is trained first.")
    ] = None,
    cache_size: CacheSize = DEFAULT_CACHE_SIZE,
    seed: Annotated[str, typer.Option(metavar=WHOLE, help="Seed of the split, and of the first lessons.")] = str(
        DEFAULT_SEED
    ),
    columns: Columns = "",
    strict: Strict = False,
    as_json: Json = False,
) -> None:
    """Let a large model teach a small one.

    Over temperatures and weights, beside the same student without a teacher; the same command goes on with an
    interrupted sweep.
    """
    from kramar.jobs.distill import distill as job

    with progress_bars() as progress:
        done = job(
            data,
            out,
            teacher=teacher,
            student=student,
            temperature=temperature,
            weight=weight,
            scaling=scaling,
            start=start,
            seeds=whole_number(seeds, "--seeds", 1),
            budget=budget,
            size=whole(size, "--size"),
            epochs=whole(epochs, "--epochs"),
            teacher_epochs=whole(teacher_epochs, "--teacher-epochs"),
            cache_size=cache_size,
            seed=parse_seed(seed),
            columns=parse_columns(columns),
            strict=strict,
            progress=progress,
        )
    if as_json:
        print(printable(done.record.model_dump_json(indent=1)))
    else:
        _show(done)


def _show(done: Distillation) -> None:
    record = done.record
    part = "test" if "test" in record.teacher.metrics else "val"
    if part in record.teacher.metrics:
        print(f"Teacher       {record.teacher.name}: {record.teacher.metrics[part].accuracy.percent()}")
    if record.alone is not None:
        print(f"Alone         {record.lessons[0].student}: {record.alone:.1%} without a teacher (mean of its seeds)")
    for cell in sorted(record.cells, key=lambda one: -one.gain.value):
        shown = "better" if cell.helps else "worse" if cell.harms else "no difference shown"
        print(
            f"  T = {cell.temperature:<4g} lambda = {cell.weight:<5g} {cell.accuracy:6.1%}  "
            f"{100 * cell.gain.value:+.1f} points ({100 * cell.gain.low:+.1f} to {100 * cell.gain.high:+.1f})  {shown}"
        )
    student = record.student
    if part in student.metrics:
        print(f"Student       {student.metrics[part].accuracy.percent()}")
    print(
        f"Model         {done.path / student.file}: {student.bytes / 1e6:.1f} MB, {student.milliseconds:.1f} ms a photo"
    )
    if record.left_out_lessons:
        print(f"Left out      {len(record.left_out_lessons)}, for reasons that are in run.json")
    print(f"Report        {done.report}")
