"""``kramar decide``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kramar.cli.options import WHOLE, ClassPrecision, ClassSets, Columns, Json, Precision, Strict
from kramar.cli.show import show_decision
from kramar.cli.terminal import printable, progress_bars
from kramar.config import DEFAULT_PRECISION, parse_seed
from kramar.data.columns import parse_columns


def decide(
    model: Annotated[Path, typer.Argument(help="A kramar model file.")],
    data: Annotated[Path, typer.Argument(help="Labelled photos that it has not seen: a folder or a table.")],
    precision: Precision = str(DEFAULT_PRECISION),
    class_precision: ClassPrecision = False,
    class_sets: ClassSets = False,
    out: Annotated[Path | None, typer.Option(help="Write another file instead of the model's own.")] = None,
    split: Annotated[
        str | None,
        typer.Option(help="train, val, test or all [default: val where the split is known]."),
    ] = None,
    seed: Annotated[
        str | None, typer.Option(metavar=WHOLE, help="Seed of what is drawn [default: the model's own].")
    ] = None,
    columns: Columns = "",
    strict: Strict = False,
    as_json: Json = False,
) -> None:
    """Fit when answers need no person, without training."""
    from kramar.jobs.decide import decide as job

    with progress_bars() as progress:
        decision = job(
            model,
            data,
            precision=precision,
            class_precision=class_precision,
            class_sets=class_sets,
            out=out,
            split=split,
            columns=parse_columns(columns),
            seed=None if seed is None else parse_seed(seed),
            strict=strict,
            progress=progress,
        )
    if as_json:
        print(printable(decision.model_dump_json(indent=1)))
    else:
        show_decision(decision)
