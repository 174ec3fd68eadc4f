"""``kramar tune``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kramar.cli.options import WHOLE, Columns, Data, Epochs, Json, Size, Strict, Transfer, whole
from kramar.cli.terminal import printable, progress_bars
from kramar.config import DEFAULT_SEED, DEFAULT_TRIALS, DEFAULT_TUNE_BUDGET, parse_seed, whole_number
from kramar.data.columns import parse_columns
from kramar.study.settings import TRANSFERS, parse_head_layers

if TYPE_CHECKING:
    from kramar.jobs.tune import Tuning


def tune(
    data: Data,
    architecture: Annotated[
        str, typer.Option(metavar="NAME", help="What to tune: a name, with options (convnet:depth=5) or a size (@96).")
    ],
    out: Annotated[Path | None, typer.Option(help="The run folder [default: kramar-runs/NAME_OF_DATA-tune].")] = None,
    regime: Annotated[
        str | None,
        typer.Option(
            help="weights, weights+augment or scratch+augment [default: weights+augment where there are weights]."
        ),
    ] = None,
    transfer: Transfer = TRANSFERS[0],
    head_layers: Annotated[
        str | None,
        typer.Option(metavar="WIDTHS", help="Layers on a frozen body to start from, such as 512,256, or none."),
    ] = None,
    trials: Annotated[str, typer.Option(metavar=WHOLE, help="How many recipes to try, the start among them.")] = str(
        DEFAULT_TRIALS
    ),
    budget: Annotated[str, typer.Option(help="Time for the whole command, such as 30m, 2h.")] = DEFAULT_TUNE_BUDGET,
    size: Size = None,
    epochs: Epochs = None,
    config: Annotated[Path | None, typer.Option(help="A recipe to start from: best.toml of another search.")] = None,
    seed: Annotated[str, typer.Option(metavar=WHOLE, help="Seed of the split and of everything drawn.")] = str(
        DEFAULT_SEED
    ),
    columns: Columns = "",
    strict: Strict = False,
    as_json: Json = False,
) -> None:
    """Tune the recipe of one architecture.

    A search for optimiser, rates, augmentation and more, by validation accuracy; the best is tested against the start.
    The same command goes on with an interrupted search, and from other terminals helps with one.
    """
    from kramar.jobs.tune import tune as job

    with progress_bars() as progress:
        done = job(
            data,
            out,
            architecture=architecture,
            regime=regime,
            transfer=transfer,
            head_layers=None if head_layers is None else parse_head_layers(head_layers),
            trials=whole_number(trials, "--trials", 1),
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


def _show(done: Tuning) -> None:
    record = done.record
    part = "test" if "test" in record.metrics else "val"
    title = {"test": "Test accuracy", "val": "Validation"}[part]
    before = record.before.metrics[part].accuracy if record.before and record.chosen else None
    print(
        f"{title:<13} {record.after.metrics[part].accuracy.percent()}"
        + (f", before {before.percent()}" if before else "")
    )
    for test in record.tests:
        gain = test.difference
        print(
            f"{'Gain':<13} {100 * gain.value:+.1f} points ({100 * gain.low:+.1f} to {100 * gain.high:+.1f}), "
            f"p = {test.p:.2g}: {test.verdict}"
        )
    pruned = sum(one.state == "pruned" for one in record.trials)
    won = f"number {record.chosen} is the best" if record.chosen else "none beat the start"
    print(f"{'Trials':<13} {len(record.trials)}, {pruned} stopped early; {won}")
    print(f"{'Recipe':<13} {done.best}")
    print(f"{'Model':<13} {done.path / record.model.file}: {record.model.bytes / 1e6:.1f} MB")
    print(f"{'Report':<13} {done.report}")
