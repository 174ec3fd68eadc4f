"""The command line: reads arguments, calls one function, renders. Nothing else prints or exits."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
import traceback
import warnings
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from kramar.cli import weights
from kramar.cli.audit import audit
from kramar.cli.benchmark import benchmark
from kramar.cli.compare import compare
from kramar.cli.distill import distill
from kramar.cli.export import export
from kramar.cli.learn import learn
from kramar.cli.options import (
    WHOLE,
    CacheSize,
    ClassPrecision,
    ClassSets,
    Columns,
    Data,
    Database,
    Json,
    Precision,
    Strict,
)
from kramar.cli.serve import serve
from kramar.cli.show import (
    count_predictions,
    json_predictions,
    show_decision,
    show_evaluation,
    show_evaluations,
    show_predictions,
    show_run,
)
from kramar.cli.terminal import printable, progress_bars
from kramar.cli.tune import tune
from kramar.config import (
    DEFAULT_BACKBONE,
    DEFAULT_BUDGET,
    DEFAULT_CACHE_SIZE,
    DEFAULT_PRECISION,
    DEFAULT_SEED,
    DEFAULT_TOP,
    RUNGS,
    parse_seed,
    whole_number,
)
from kramar.data.columns import parse_columns
from kramar.errors import DataError, KramarError
from kramar.files import output_error
from kramar.models.backbones import BACKBONES
from kramar.version import __version__

INTERRUPTED = 130
_STANDARD_OUTPUT = Path("standard output")

app = typer.Typer(
    name="kramar",
    help="From a folder of labelled product photos to one small, accurate, calibrated model file.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

app.add_typer(weights.group, name="weights")


def run(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 done, 1 failed, 2 wrong input or call, 130 interrupted."""
    # Pillow warns without a photo's name; what a photo is left out for, we say.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    given = sys.argv[1:] if arguments is None else arguments
    command = typer.main.get_command(app)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A label that the terminal cannot show is no reason to stop.
            stream.reconfigure(errors="backslashreplace")
    try:
        # Not app(): that turns Ctrl-C, exit codes and broken pipes into return values of its own.
        with command.make_context("kramar", list(given) or ["--help"]) as context:
            command.invoke(context)
        _leave(0)
    except typer.Exit as leave:
        _leave(leave.exit_code)
    except KramarError as error:
        _complain(str(error))
        _leave(error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        _complain("interrupted; a training run goes on with the same command")
        _leave(INTERRUPTED)
    except BrokenPipeError:
        _leave(0)  # the reader has what it wants (`kramar classify ... | head`)
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            # Of a file that standard output goes to: errors of our own files are told where they are written.
            _complain(str(output_error(_STANDARD_OUTPUT, error)))
            _leave(1)
        # click's usage errors carry their own exit code and one-line message.
        if hasattr(error, "format_message"):
            _complain(error.format_message())
            _leave(2)
        traceback.print_exc()
        _complain(f"a bug in kramar {__version__}: {error}; please report it with the lines above")
        _leave(1)


def _leave(code: int) -> NoReturn:
    try:
        sys.stdout.flush()
    except OSError as error:
        # Python flushes once more as it ends.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if code == 0 and not isinstance(error, BrokenPipeError):
            _complain(str(output_error(_STANDARD_OUTPUT, error)))
            code = 1
    sys.exit(code)


def _complain(message: str) -> None:
    print(f"kramar: {' '.join(message.splitlines())}", file=sys.stderr)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"kramar {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """From a folder of labelled product photos to one small, accurate, calibrated model file."""


@app.command()
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


app.command()(audit)
app.command()(compare)
app.command()(tune)
app.command()(distill)


@app.command()
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


@app.command()
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


@app.command()
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
    spot_check: Annotated[
        str | None,
        typer.Option(metavar="<share>", help="And this share of the photos that need no person, such as 0.01."),
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


app.command()(export)
app.command()(learn)
app.command()(serve)
app.command()(benchmark)
