"""``kramar export``: a model file for other runtimes, compared with it before it is kept."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from kramar.data.pixels import Pixels
from kramar.errors import DataError, InputError, PhotoError
from kramar.exporting import exported, formats
from kramar.exporting.exported import Comparison, Source
from kramar.exporting.storage import COMPARED
from kramar.jobs.classify import Listing
from kramar.progress import Progress, Silent
from kramar.records import Record
from kramar.runtime.model import Model

# Pictures of noise: a wrong conversion shows in far fewer than photos.
DRAWN = 32


class Export(Record):
    """A model file in another format.

    Attributes:
        out: the folder with its files and ``kramar.json``.
        bytes: what they take together.
        storage: how its weights are stored now.
        comparison: what the files, opened again, say beside the model file.
    """

    model: str
    format: str
    out: str
    files: list[str]
    bytes: int
    storage: str
    comparison: Comparison


def export(
    model: str | os.PathLike[str] | Model,
    out: str | os.PathLike[str],
    *,
    format: str,  # noqa: A002 - the option's name
    photos: str | os.PathLike[str] | None = None,
    package: str | os.PathLike[str] | None = None,
    columns: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> Export:
    """Write ``model`` in another format to the folder ``out``, when its labels are the model file's.

    Args:
        model: a model file, or an open one.
        out: a folder that is new, or that an earlier export in the same format wrote; it is whole or absent.
        format: one of `kramar.exporting.formats.NAMES`.
        photos: a folder, a table, a pattern or one photo: what both are compared on (1,200 of them at most), and what a
            format that rounds is measured on. Without any, 32 photos of noise.
        package: a local copy of the npm package that the format takes, where it takes one.
        columns: the table's column names by kramar's.
        progress: who listens; nobody by default.

    Raises:
        InputError: the model file, the photos or the folder cannot be used.
        ExportError: what was written does not say what the model file says; nothing is kept.
        FailedError: the npm package could not be fetched, or the disk says no.
    """
    listener = progress or Silent()
    form = formats.find(format)
    if columns and photos is None:
        raise InputError("--columns names those of a table: give one with --photos, or leave --columns away")
    opened = model if isinstance(model, Model) else Model(model)
    found = _drawn(opened.card.resize.size) if photos is None else _ready(opened, os.fspath(photos), columns, listener)
    source = Source(
        model=opened,
        photos=found,
        drawn=photos is None,
        package=None if package is None else Path(package),
        progress=listener,
    )
    record = exported.export(form, source, Path(out))
    files = sorted(path for path in Path(out).rglob("*") if path.is_file())
    return Export(
        model=str(opened.path),
        format=form.name,
        out=str(out),
        files=[path.relative_to(out).as_posix() for path in files],
        bytes=sum(path.stat().st_size for path in files),
        storage=record.card.storage,
        comparison=record.comparison,
    )


def _ready(model: Model, argument: str, columns: Mapping[str, str] | None, listener: Progress) -> list[Pixels]:
    """The photos that an argument names, spread over all of them, as the model takes them. Raises DataError."""
    named = Listing(columns or {}, listener, products=False).of(argument)
    chosen = [named[place * len(named) // COMPARED] for place in range(COMPARED)] if len(named) > COMPARED else named
    ready: list[Pixels] = []
    first: PhotoError | None = None
    with listener.stage("Reading photos", len(chosen)) as advance:
        for one, found in model.stream_of(chosen, list):
            if isinstance(found, PhotoError):
                first = first or found
                listener.say(f"Warning: {one.name!r} is left out: {found}")
            else:
                ready.append(found)
            advance(1)
    if not ready:
        raise DataError(f"{argument}: none of its {len(chosen):,} photos can be read, the first: {first}")
    return ready


def _drawn(size: int) -> list[Pixels]:
    """Noise from coarse to fine, always the same, so that a model says different things of it."""
    random = np.random.default_rng(0)
    drawn = []
    for place in range(DRAWN):
        grain = 2 ** (place % 6)
        coarse = random.integers(0, 256, (-(-size // grain), -(-size // grain), 3), np.uint8)
        drawn.append(coarse.repeat(grain, axis=0).repeat(grain, axis=1)[:size, :size])
    return drawn
