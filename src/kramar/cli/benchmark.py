"""``kramar benchmark``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kramar.cli.options import Json
from kramar.cli.terminal import printable, progress_bars
from kramar.config import DEFAULT_BENCHMARK_BUDGET, whole_number

if TYPE_CHECKING:
    from kramar.jobs.benchmark import Benchmark
    from kramar.study.speed_file import SpeedRecord


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
        typer.Option(help="A local copy of MNIST, Fashion-MNIST or CIFAR-10; may be given several times."),
    ] = None,
    architectures: Annotated[
        str, typer.Option(help="Names of architectures whose photos/s are measured [default: all].")
    ] = "",
    size: Annotated[
        str | None, typer.Option(metavar="<int>", help="Side of their input in pixels [default: each one's own].")
    ] = None,
    budget: Annotated[
        str, typer.Option(help="Time for the whole command, such as 90s, 10m, 1h30m.")
    ] = DEFAULT_BENCHMARK_BUDGET,
    name: Annotated[
        str | None, typer.Option(help="What this machine is called in the table [default: its host name and size].")
    ] = None,
    as_json: Json = False,
) -> None:
    """Time training and inference on every processor of this machine, beside the thesis's times."""
    from kramar.jobs.benchmark import benchmark as job

    with progress_bars() as progress:
        done = job(
            out,
            data=data or [],
            architectures=architectures,
            size=None if size is None else whole_number(size, "--size", 1),
            budget=budget,
            name=name,
            progress=progress,
        )
    if as_json:
        print(printable(done.model_dump_json(indent=1)))
    else:
        _show(done)


def _show(done: Benchmark) -> None:
    epochs = [row for row in done.rows if row.unit == "s"]
    if any(row.source == "measured" for row in epochs):
        print(f"{'training time':<30} {'MNIST s':>9} {'CIFAR-10 s':>11}  {'source':<9} covers")
        for processor in dict.fromkeys(row.processor for row in epochs):
            _show_epochs(processor, [row for row in epochs if row.processor == processor])
    rates = [row for row in done.rows if row.unit == "photos/s"]
    if rates:
        print(f"\n{'photos/s':<30} {'pixels':>6} {'training':>9} {'inference':>10}  processor")
    for key in dict.fromkeys((row.architecture, row.processor, row.pixels) for row in rates):
        of_key = {row.what: f"{row.value:.4g}" for row in rates if (row.architecture, row.processor, row.pixels) == key}
        print(f"{key[0]:<30} {key[2]:>6} {of_key.get('training', '–'):>9} {of_key.get('inference', '–'):>10}  {key[1]}")
    for reason in done.left_out:
        print(f"Left out      {reason}")
    print(f"\nTable         {done.file}\nReport        {done.report}")


def _show_epochs(processor: str, rows: list[SpeedRecord]) -> None:
    """A line of the thesis's table; notes follow the figure that they are of."""
    times = {row.dataset.rpartition("stands for ")[2]: row for row in rows}
    shown = [f"{times[name].value:g}" if name in times else "–" for name in ("MNIST", "CIFAR-10")]
    stands_in = next((f"; {row.dataset}" for row in rows if "stands for" in row.dataset), "")
    covers = "; ".join(dict.fromkeys(row.covers for row in rows))
    print(f"{processor:<30} {shown[0]:>9} {shown[1]:>11}  {rows[0].source:<9} {covers}{stands_in}")
