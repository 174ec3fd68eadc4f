"""``kramar classify``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from kramar.cli.options import WHOLE, Columns, Database, Json, SpotCheck
from kramar.cli.show import count_predictions, json_predictions, show_predictions
from kramar.cli.terminal import progress_bars
from kramar.config import DEFAULT_TOP, whole_number
from kramar.data.columns import parse_columns
from kramar.errors import DataError


def classify(
    model: Annotated[Path, typer.Argument(help="A kramar model file.")],
    photos: Annotated[list[str], typer.Argument(help="Photos, folders, patterns or tables.")],
    out: Annotated[Path | None, typer.Option(help="Write to this .csv, .jsonl or .parquet file.")] = None,
    explain: Annotated[
        Path | None, typer.Option(help="A folder for heat maps: where in each photo its label was seen.")
    ] = None,
    products: Annotated[
        bool, typer.Option("--products", help="One row for each product of a table, by all of its photos.")
    ] = False,
    queue: Annotated[
        bool, typer.Option("--queue", help="Put what a person has to decide into the review queue.")
    ] = False,
    database: Database = None,
    spot_check: SpotCheck = None,
    keep_days: Annotated[
        str | None,
        typer.Option(metavar=WHOLE, help="Keep copies of the queued photos for so many days [default: their paths]."),
    ] = None,
    top: Annotated[str, typer.Option(metavar=WHOLE, help="How many of the most probable labels to list (JSON).")] = str(
        DEFAULT_TOP
    ),
    columns: Columns = "",
    strict: Annotated[bool, typer.Option("--strict", help="Fail (exit 2) where a photo cannot be read.")] = False,
    as_json: Json = False,
) -> None:
    """Classify photos, in order; unreadable ones are rows with an error."""
    from kramar.jobs.classify import classify as job
    from kramar.jobs.doubts import keep_days as days

    if as_json:
        show, bars = json_predictions, not sys.stdout.isatty()
    elif out is None:
        show, bars = show_predictions, False  # the rows show how far it is
    else:
        show, bars = count_predictions, True
    with progress_bars(bars=bars) as progress:
        predictions = job(
            model,
            photos,
            out=out,
            explain=explain,
            products=products,
            queue=queue,
            database=database,
            spot_check=spot_check,
            keep_days=days(keep_days),
            top=whole_number(top, "--top", 1),
            columns=parse_columns(columns),
            strict=strict,
            progress=progress,
        )
        done, bad = show(predictions)
    what = "products" if products else "photos"
    if out is not None:
        print(f"{done:,} {what} to {out}" + (f", {bad:,} of them with an error" if bad else ""), file=sys.stderr)
    if done and bad == done:
        raise DataError(f"none of the {done:,} {what} could be read: their rows say why; check the paths")
