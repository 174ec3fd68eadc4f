"""``kramar learn``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kramar.cli.options import Columns, Database, Json
from kramar.cli.show import show_learning
from kramar.cli.terminal import printable, progress_bars
from kramar.data.columns import parse_columns


def learn(
    model: Annotated[Path, typer.Argument(help="A run folder, or a kramar model file.")],
    database: Database = None,
    out: Annotated[Path | None, typer.Option(help="Write another file instead of the model's own.")] = None,
    data: Annotated[
        Path | None, typer.Option(help="The photos that it was trained on [default: where its run found them].")
    ] = None,
    columns: Columns = "",
    undo: Annotated[bool, typer.Option("--undo", help="Put back the model file before its last learning.")] = False,
    as_json: Json = False,
) -> None:
    """Learn from what people decided in the review queue, in seconds.

    The model file's last layer is fitted further, and takes its place when it is not worse on validation photos.
    """
    from kramar.jobs.learn import learn as job

    with progress_bars() as progress:
        learning = job(
            model,
            database=database,
            out=out,
            data=data,
            columns=parse_columns(columns) if columns else None,
            undo=undo,
            progress=progress,
        )
    if as_json:
        print(printable(learning.model_dump_json(indent=1)))
    else:
        show_learning(learning, undone=undo)
