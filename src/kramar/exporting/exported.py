"""A model file in another format: written into a folder, opened again, compared with its source, then kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kramar.data.pixels import Pixels
from kramar.errors import ExportError, InputError
from kramar.exporting.own_folder import RECORD, hashes, own_folder
from kramar.files import sha256
from kramar.progress import Progress
from kramar.records import ModelCard, Record
from kramar.runtime.model import BATCH, Model
from kramar.runtime.session import Scores
from kramar.version import __version__

# What every format but a rounded one may differ from the model file in any probability.
TOLERANCE = 1e-4

Said = Callable[[Pixels], Scores]


@dataclass(frozen=True, slots=True)
class Source:
    """What is exported.

    Attributes:
        model: the open model file.
        photos: what both are compared on, and what ranges are measured on: uint8 ``[S, S, 3]`` each.
        drawn: whether they are noise of ours, because none were given.
        package: a local copy of the npm package that a format needs, where one was given.
    """

    model: Model
    photos: Sequence[Pixels]
    drawn: bool
    package: Path | None
    progress: Progress


@dataclass(frozen=True, slots=True)
class Format:
    """One format.

    Attributes:
        name: as ``--format`` has it.
        summary: what it is for, in a few words.
        write: writes the files into an empty folder and gives the card that is true of them.
        opened: opens them again: from uint8 ``[N, S, S, 3]`` to probabilities, float32 ``[N, C]``.
        agreement: the share of labels that have to agree; 1 asks for the probabilities within `TOLERANCE` too.
        measures: whether it has to be given photos, because it measures on them.
        package: the npm package that it takes; empty for none.
    """

    name: str
    summary: str
    write: Callable[[Source, Path], ModelCard]
    opened: Callable[[Path], Said]
    agreement: float = 1.0
    measures: bool = False
    package: str = ""


class Comparison(Record):
    """What the exported files, opened again, say of photos, beside what the model file says.

    ``largest_difference`` is in any probability; ``drawn`` photos are noise, because none were given.
    """

    photos: int
    drawn: bool
    label_differences: int
    largest_difference: float


class Exported(Record):
    """The document ``kramar.json`` in an exported folder.

    Attributes:
        kramar: the version that exported.
        source: SHA-256 of the model file.
        files: SHA-256 of the other files in the folder, by their paths.
        card: what a ``model.onnx`` carries in its metadata, which other formats cannot all hold.
    """

    schema_version: int = 1
    format: str
    kramar: str
    source: str
    files: dict[str, str]
    comparison: Comparison
    card: ModelCard


def export(form: Format, source: Source, out: Path) -> Exported:
    """Write ``source`` in the format ``form`` to the folder ``out``, in one step, when it has been verified.

    Raises InputError where ``out`` is something else, ExportError where the files do not say what the model file says.
    """
    if source.package is not None and not form.package:
        raise InputError(f"--package: the format {form.name} takes none; leave it away")
    if form.measures and source.drawn:
        raise InputError(
            f"--format {form.name}: needs photos such as the model will see, to measure on; "
            "give some hundred: --photos FOLDER_OR_TABLE"
        )
    with own_folder(out, form.name) as folder:
        card = form.write(source, folder)
        comparison = compared(source, form.opened(folder))
        _require(comparison, form)
        record = Exported(
            format=form.name,
            kramar=__version__,
            source=sha256(source.model.path),
            files=hashes(folder),
            comparison=comparison,
            card=card,
        )
        (folder / RECORD).write_text(record.model_dump_json(indent=1), encoding="utf-8")
    return record


def compared(source: Source, said: Said) -> Comparison:
    """What ``said`` says of the source's photos, beside its model file."""
    differing, largest = 0, 0.0
    with source.progress.stage("Comparing labels", len(source.photos)) as advance:
        for start in range(0, len(source.photos), BATCH):
            images = np.stack(source.photos[start : start + BATCH])
            expected, found = source.model.scores(images), said(images)
            best = np.sort(expected, axis=1)[:, -2:]
            # A tie has no label to give.
            tied = (best[:, -1] - best[:, 0] <= TOLERANCE) & (expected.shape[1] > 1)
            differing += int(((expected.argmax(axis=1) != found.argmax(axis=1)) & ~tied).sum())
            difference = float(np.abs(expected - found).max())
            # One that is no number is larger than any.
            largest = max(largest, difference if np.isfinite(difference) else np.inf)
            advance(len(images))
    return Comparison(
        photos=len(source.photos), drawn=source.drawn, label_differences=differing, largest_difference=largest
    )


def _require(comparison: Comparison, form: Format) -> None:
    share = 1 - comparison.label_differences / comparison.photos
    if form.agreement == 1 and not comparison.largest_difference <= TOLERANCE:
        raise ExportError(
            f"{form.name}: differs from the model file on {comparison.label_differences} of {comparison.photos} "
            f"labels and by up to {comparison.largest_difference:.2g} in probability (at most {TOLERANCE:g}); "
            "it was not kept. Where the file computes in int8, export a float32 one of its run's models/"
        )
    if share < form.agreement:
        raise ExportError(
            f"{form.name}: its labels agree with the model file's on {share:.1%} of {comparison.photos} photos "
            f"(at least {form.agreement:.0%}); it was not kept. Give more photos, such as the model will see, "
            "or let kramar train make a smaller file (--max-size)"
        )
