"""``kramar compare``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kramar.cli.options import WHOLE, Columns, Data, Epochs, Json, Size, Strict, Transfer, whole
from kramar.cli.terminal import printable, progress_bars
from kramar.config import DEFAULT_GRID_BUDGET, DEFAULT_SEED, DEFAULT_SEEDS, parse_seed, whole_number
from kramar.data.columns import parse_columns
from kramar.models.architectures import ARCHITECTURES
from kramar.study.settings import HEAD_LAYERS, REGIMES, TRANSFERS, parse_head_layers

if TYPE_CHECKING:
    from kramar.jobs.compare import Grid

_REGIMES = ",".join(REGIMES)

HeadLayers = Annotated[
    str | None,
    typer.Option(
        help="Widths of the layers added to a frozen network, before the last; none for no such layers "
        f"[default: {','.join(map(str, HEAD_LAYERS))}]."
    ),
]


def compare(
    data: Data,
    architectures: Annotated[
        str, typer.Option(help=f"Separated by commas: {', '.join(ARCHITECTURES)}, timm:MODEL; NAME@PIXELS for a size.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="The run folder [default: kramar-runs/NAME_OF_DATA-compare].")
    ] = None,
    regimes: Annotated[str, typer.Option(help=f"Separated by commas: {', '.join(REGIMES)}.")] = _REGIMES,
    transfer: Transfer = TRANSFERS[0],
    head_layers: HeadLayers = None,
    seeds: Annotated[str, typer.Option(metavar=WHOLE, help="Trials of each architecture and regime.")] = str(
        DEFAULT_SEEDS
    ),
    budget: Annotated[
        str, typer.Option(help="Time for the whole command, such as 40m, 2h; what does not fit is left out.")
    ] = DEFAULT_GRID_BUDGET,
    size: Size = None,
    epochs: Epochs = None,
    config: Annotated[
        Path | None, typer.Option(help="A recipe file for the trials that it was tuned for (best.toml).")
    ] = None,
    seed: Annotated[str, typer.Option(metavar=WHOLE, help="Seed of the split, and of the first trials.")] = str(
        DEFAULT_SEED
    ),
    columns: Columns = "",
    strict: Strict = False,
    as_json: Json = False,
) -> None:
    """Compare architectures on the same photos.

    Every architecture in every regime, by the same split and seeds; the same command goes on with an interrupted
    comparison.
    """
    from kramar.jobs.compare import compare as job

    with progress_bars() as progress:
        done = job(
            data,
            out,
            architectures=architectures,
            regimes=regimes,
            transfer=transfer,
            head_layers=None if head_layers is None else parse_head_layers(head_layers),
            seeds=whole_number(seeds, "--seeds", 1),
            budget=budget,
            size=whole(size, "--size"),
            epochs=whole(epochs, "--epochs"),
            config=config,
            seed=parse_seed(seed),
            columns=parse_columns(columns),
            strict=strict,
            progress=progress,
        )
    if as_json:
        print(printable(done.record.model_dump_json(indent=1)))
    else:
        _show(done)


def _show(done: Grid) -> None:
    from kramar.report.variants import Paired, scored_part, variants

    record = done.record
    found = variants(record.trials)
    tests = Paired.of(record.tests)
    part = {"test": "test photos", "val": "validation photos"}.get(scored_part(record.trials), "no photos")
    print(f"{'accuracy':>8}  {'95% interval':<16} {'MB':>6} {'ms':>7} {'trained in':>10}  on {part}")
    for one in found:
        accuracy = one.accuracy
        figures = (
            f"{accuracy.value:>8.1%}  {accuracy.low:.1%} to {accuracy.high:<8.1%}" if accuracy else f"{'':>8}  {'':<16}"
        )
        print(
            f"{figures} {one.figure('bytes') / 1e6:>6.1f} {one.figure('milliseconds'):>7.1f} "
            f"{one.figure('train_seconds'):>8.0f} s  {one.name}"
        )
    equals = tests.not_worse(found)
    if equals:
        print("Not shown to be worse than the first (paired tests, corrected):")
        for one in equals:
            print(f"  {one.name}")
    elif len(found) > 1 and record.tests:
        print("The first is better than each of the others (paired tests, corrected)")
    if record.left_out_trials:
        print(f"Left out      {len(record.left_out_trials)}, for reasons that are in run.json")
    print(f"Report        {done.report}")
