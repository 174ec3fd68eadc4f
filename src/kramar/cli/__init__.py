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
from kramar.cli.classify import classify
from kramar.cli.compare import compare
from kramar.cli.decide import decide
from kramar.cli.distill import distill
from kramar.cli.evaluate import evaluate
from kramar.cli.export import export
from kramar.cli.learn import learn
from kramar.cli.review import review
from kramar.cli.serve import serve
from kramar.cli.train import train
from kramar.cli.tune import tune
from kramar.errors import KramarError
from kramar.files import output_error
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


# In the order in which help lists them.
for command in (
    train, audit, compare, tune, distill, evaluate, decide, classify, export, review, learn, serve, benchmark
):  # fmt: skip
    app.command()(command)
