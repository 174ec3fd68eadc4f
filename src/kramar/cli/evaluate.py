"""``kramar evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kramar.cli.options import WHOLE, Columns, Json, Strict
from kramar.cli.show import show_evaluation, show_evaluations
from kramar.cli.terminal import printable, progress_bars
from kramar.config import parse_seed
from kramar.data.columns import parse_columns


def evaluate(
    model: Annotated[list[Path], typer.Argument(help="One kramar model file, or several to compare.")],
    data: Annotated[Path, typer.Argument(help="Labelled photos: a folder or a table.")],
    split: Annotated[
        str | None,
        typer.Option(help="train, val, test or all [default: test where the split is known]."),
    ] = None,
    seed: Annotated[
        str | None, typer.Option(metavar=WHOLE, help="Seed of the intervals [default: the model's own].")
    ] = None,
    columns: Columns = "",
    strict: Strict = False,
    as_json: Json = False,
) -> None:
    """Score a model file on labelled photos; several are compared on the same ones."""
    from kramar.jobs.evaluate import Evaluations
    from kramar.jobs.evaluate import evaluate as job

    with progress_bars() as progress:
        evaluation = job(
            model if len(model) > 1 else model[0],
            data,
            split=split,
            columns=parse_columns(columns),
            seed=None if seed is None else parse_seed(seed),
            strict=strict,
            progress=progress,
        )
    if as_json:
        print(printable(evaluation.model_dump_json(indent=1)))
    elif isinstance(evaluation, Evaluations):
        show_evaluations(evaluation)
    else:
        show_evaluation(evaluation)
