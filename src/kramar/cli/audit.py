"""``kramar audit``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kramar.cli.options import WHOLE, Columns, Data, Json, Strict
from kramar.cli.terminal import printable, progress_bars
from kramar.config import DEFAULT_BACKBONE, DEFAULT_SEED, parse_seed
from kramar.data.columns import parse_columns
from kramar.models.backbones import BACKBONES

if TYPE_CHECKING:
    from kramar.jobs.audit import Audit


def audit(
    data: Data,
    out: Annotated[
        Path | None, typer.Option(help="The audit's folder [default: kramar-runs/NAME_OF_DATA-audit].")
    ] = None,
    fix: Annotated[
        Path | None, typer.Option(metavar="<file>", help="Write a cleaned table (.csv); the data itself stays.")
    ] = None,
    backbone: Annotated[
        str, typer.Option(help=f"The network whose features labels are judged by: {', '.join(BACKBONES)}.")
    ] = DEFAULT_BACKBONE,
    seed: Annotated[str, typer.Option(metavar=WHOLE, help="Seed of what is drawn.")] = str(DEFAULT_SEED),
    columns: Columns = "",
    strict: Strict = False,
    as_json: Json = False,
) -> None:
    """Look for what is wrong with labelled photos: copies, odd ones, labels."""
    from kramar.jobs.audit import audit as job

    with progress_bars() as progress:
        done = job(
            data,
            out,
            fix=fix,
            backbone=backbone,
            seed=parse_seed(seed),
            columns=parse_columns(columns),
            strict=strict,
            progress=progress,
        )
    if as_json:
        print(printable(done.record.model_dump_json(indent=1)))
    else:
        _show(done, fix)


def _show(done: Audit, fix: Path | None) -> None:
    from kramar.auditing.issues import KINDS

    record = done.record
    print(f"{record.data.photos:,} photos, {record.data.classes:,} classes")
    if not done.issues:
        print("Nothing wrong was found")
    for kind, number in record.issues.items():
        if number:
            print(f"{number:>8,}  {kind:<11} {KINDS[kind]}")
    if leakage := record.leakage:
        print(f"Leakage       accuracy of a linear layer on all test photos {leakage.accuracy.percent()}")
        if leakage.without:
            print(f"              without the {leakage.photos:,} with a copy {leakage.without.percent()}")
    print(f"Issues        {done.path / 'issues.parquet'}")
    print(f"Report        {done.report}")
    if done.changes is not None and fix is not None:
        from kramar.jobs.cleaned import changes_file

        removed = sum(not change.now for change in done.changes)
        print(
            f"Cleaned       {fix}: {removed:,} photos fewer, {len(done.changes) - removed:,} labelled anew "
            f"({changes_file(fix)} says why)"
        )
