"""``kramar benchmark``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kramar.cli.options import Json, Size, whole
from kramar.cli.terminal import printable, progress_bars
from kramar.config import DEFAULT_BENCHMARK_BUDGET

if TYPE_CHECKING:
    from kramar.jobs.benchmark import Benchmark


def benchmark(
    out: Annotated[
        Path | None,
        typer.Option(
            help="The table that figures are added to, or its folder; several machines may share it "
            "[default: kramar-runs/benchmark]."
        ),
    ] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="<path>", help="A local copy of MNIST, Fashion-MNIST or CIFAR-10; may be given several times."
        ),
    ] = None,
    architectures: Annotated[
        str, typer.Option(help="Names of architectures whose photos/s are measured [default: all].")
    ] = "",
    size: Size = None,
    budget: Annotated[
        str, typer.Option(help="Time for the whole command, such as 90s, 10m, 1h30m.")
    ] = DEFAULT_BENCHMARK_BUDGET,
    name: Annotated[
        str | None, typer.Option(help="What this machine is called in the table [default: its host name and size].")
    ] = None,
    as_json: Json = False,
) -> None:
    """Time training and inference here, beside the thesis's times."""
    from kramar.jobs.benchmark import benchmark as job

    with progress_bars() as progress:
        done = job(
            out,
            data=data or [],
            architectures=architectures,
            size=whole(size, "--size"),
            budget=budget,
            name=name,
            progress=progress,
        )
    if as_json:
        print(printable(done.model_dump_json(indent=1)))
    else:
        _show(done)


def _show(done: Benchmark) -> None:
    from kramar.study.speed_file import INFERENCE, RATE, TRAINING, lines

    print(f"{'training time':<30} {'MNIST s':>9} {'CIFAR-10 s':>11}  {'source':<9} covers")
    for line in lines(done.rows):
        shown = [f"{line.times[name].value:g}" if name in line.times else "–" for name in ("MNIST", "CIFAR-10")]
        source = "measured" if line.measured else "quoted"
        print(f"{line.processor:<30} {shown[0]:>9} {shown[1]:>11}  {source:<9} {line.covers}")
    rates: dict[tuple[str, int | None, str], dict[str, str]] = {}
    for row in done.rows:
        if row.unit == RATE:
            rates.setdefault((row.architecture, row.pixels, row.processor), {})[row.what] = f"{row.value:g}"
    if rates:
        print(f"\n{'photos/s':<30} {'pixels':>6} {TRAINING:>9} {INFERENCE:>10}  processor")
    for (architecture, pixels, processor), of in rates.items():
        print(f"{architecture:<30} {pixels:>6} {of.get(TRAINING, '–'):>9} {of.get(INFERENCE, '–'):>10}  {processor}")
    print(f"\nTable         {done.file}\nReport        {done.report}")
    for reason in done.left_out:
        print(f"Left out      {reason}")
