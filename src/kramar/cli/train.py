"""``kramar train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kramar.cli.options import WHOLE, CacheSize, ClassPrecision, ClassSets, Columns, Data, Json, Precision, Strict
from kramar.cli.show import show_run
from kramar.cli.terminal import printable, progress_bars
from kramar.config import (
    DEFAULT_BACKBONE,
    DEFAULT_BUDGET,
    DEFAULT_CACHE_SIZE,
    DEFAULT_PRECISION,
    DEFAULT_SEED,
    RUNGS,
    parse_seed,
)
from kramar.data.columns import parse_columns
from kramar.models.backbones import BACKBONES


def train(
    data: Data,
    out: Annotated[Path | None, typer.Option(help="The run folder [default: kramar-runs/NAME_OF_DATA].")] = None,
    budget: Annotated[str, typer.Option(help="Time for the whole command, such as 90s, 10m, 1h30m.")] = DEFAULT_BUDGET,
    max_size: Annotated[
        str | None, typer.Option(metavar="<size>", help="The model file is at most so large, such as 4.4MB.")
    ] = None,
    max_latency: Annotated[
        str | None, typer.Option(metavar="<time>", help="One ready photo takes at most so long here, such as 20ms.")
    ] = None,
    backbone: Annotated[
        str, typer.Option(help=f"The network whose features are used: {', '.join(BACKBONES)}.")
    ] = DEFAULT_BACKBONE,
    rungs: Annotated[
        str, typer.Option(help="The rungs of the ladder that may be climbed, separated by commas.")
    ] = ",".join(RUNGS),
    cache_size: CacheSize = DEFAULT_CACHE_SIZE,
    precision: Precision = str(DEFAULT_PRECISION),
    class_precision: ClassPrecision = False,
    class_sets: ClassSets = False,
    seed: Annotated[str, typer.Option(metavar=WHOLE, help="Seed of the split and of everything drawn.")] = str(
        DEFAULT_SEED
    ),
    columns: Columns = "",
    strict: Strict = False,
    skip_audit: Annotated[
        bool, typer.Option("--skip-audit", help="Do not look for copies and odd photos first.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Train a model on labelled photos.

    The same command goes on with an interrupted run.
    """
    from kramar.jobs.train import train as job

    with progress_bars() as progress:
        done = job(
            data,
            out,
            budget=budget,
            max_size=max_size,
            max_latency=max_latency,
            backbone=backbone,
            rungs=rungs,
            cache_size=cache_size,
            precision=precision,
            class_precision=class_precision,
            class_sets=class_sets,
            seed=parse_seed(seed),
            columns=parse_columns(columns),
            strict=strict,
            skip_audit=skip_audit,
            progress=progress,
        )
    if as_json:
        print(printable(done.record.model_dump_json(indent=1)))
    else:
        show_run(done)
