"""``kramar export``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kramar.cli.options import Columns, Json
from kramar.cli.terminal import printable, progress_bars
from kramar.data.columns import parse_columns
from kramar.exporting.formats import NAMES

if TYPE_CHECKING:
    from kramar.jobs.export import Export


def export(
    model: Annotated[Path, typer.Argument(help="A kramar model file.")],
    form: Annotated[str, typer.Option("--format", metavar="NAME", help=f"One of {', '.join(NAMES)}.")],
    out: Annotated[Path, typer.Option(help="The folder to write: a new one, or an earlier export of this format.")],
    photos: Annotated[
        str | None,
        typer.Option(
            metavar="PHOTOS", help="Photos to compare labels on: a folder or a table [default: noise, but for int8]."
        ),
    ] = None,
    package: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="For web: onnxruntime-web's tarball, instead of fetching it from npm."),
    ] = None,
    columns: Columns = "",
    as_json: Json = False,
) -> None:
    """Write a model file in another runtime's format.

    It is opened again, and kept where its labels are the model file's.
    """
    from kramar.jobs.export import export as job

    with progress_bars() as progress:
        done = job(
            model,
            out,
            format=form,
            photos=photos,
            package=package,
            columns=parse_columns(columns),
            progress=progress,
        )
    if as_json:
        print(printable(done.model_dump_json(indent=1)))
    else:
        _show(done)


def _show(done: Export) -> None:
    found = done.comparison
    same = found.photos - found.label_differences
    what = "drawn photos" if found.drawn else "photos"
    print(f"{'Format':<13} {done.format}, weights stored as {done.storage}")
    print(f"{'Folder':<13} {done.out}: {len(done.files)} files, {done.bytes / 1e6:.1f} MB")
    print(
        f"{'Labels':<13} as the model file's on {same:,} of {found.photos:,} {what}; "
        f"probabilities differ by up to {found.largest_difference:.1g}"
    )
    if done.format == "onnx-int8":
        print(f"{'Promises':<13} are estimates for this file: kramar decide {done.out}/model.onnx DATA")
