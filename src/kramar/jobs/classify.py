"""``kramar classify``: photos in, predictions out, in order and in constant memory."""

from __future__ import annotations

import csv
import glob
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from kramar.config import DEFAULT_TOP, whole_number
from kramar.data.folders import search
from kramar.data.listing import HIDDEN, NoPhoto, Photo, PhotoFile
from kramar.data.pixels import Pixels
from kramar.data.tables import SUFFIXES as TABLE_SUFFIXES
from kramar.data.tables import list_images
from kramar.errors import DataError, InputError, MissingExtra
from kramar.files import make_folder, replacing
from kramar.progress import Progress, Silent
from kramar.records import LeftOut, Prediction
from kramar.runtime.heat import HeatMaps
from kramar.runtime.model import Answer, Model

COLUMNS = ("image", "label", "probability", "category", "decision", "set", "unknown_score", "error")
_PARQUET_ROWS = 1000

Write = Callable[[Prediction], None]


@dataclass(frozen=True, slots=True)
class Named:
    """A photo and its name as the user gave it."""

    name: str
    photo: Photo

    def read(self) -> bytes:
        """See Photo."""
        return self.photo.read()


def classify(
    model: str | os.PathLike[str] | Model,
    photos: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    out: str | os.PathLike[str] | None = None,
    explain: str | os.PathLike[str] | None = None,
    top: int = DEFAULT_TOP,
    columns: Mapping[str, str] | None = None,
    strict: bool = False,
    progress: Progress | None = None,
) -> Iterator[Prediction]:
    """Predictions for photo files, folders, glob patterns and tables, as they are made.

    Args:
        model: a model file, or an open one.
        photos: what to classify; folders are searched in depth, tables give their ``image`` column. Links and folders
            that lead nowhere are predictions with ``error``; files that are no photos are counted to ``progress``.
        out: a ``.csv``, ``.jsonl`` or ``.parquet`` file to write them to as well; it is there when the last is made.
        explain: a folder for a heat map of each photo: where its label was seen (`heat_file` names it).
        top: how many of the most probable labels each prediction lists.
        columns: the table's column names by kramar's.
        strict: raise DataError after the last prediction where any has an ``error``; ``out`` is written all the same.
        progress: who listens; nobody by default.

    Raises:
        InputError: before the first prediction, where an argument names nothing, or the model has no heat maps.
        OutputError: a file cannot be written.
    """
    top = whole_number(top, "--top", 1)
    opened = model if isinstance(model, Model) else Model(model)
    given = [photos] if isinstance(photos, str | os.PathLike) else photos
    listener = progress or Silent()
    named = [photo for argument in given for photo in _listed(os.fspath(argument), columns or {}, listener)]
    if not named:
        raise InputError("no photos given; name files, folders, patterns or a table")
    writer = _writer(Path(out)) if out is not None else _nowhere()
    ask: Callable[[Pixels], Iterable[Answer]] = opened.answers
    if explain is not None:
        ask = HeatMaps(opened).explained
        make_folder(Path(explain))
    return _predict(opened, named, ask, top, writer, Path(explain or ""), listener, strict=strict)


def heat_file(folder: Path, image: str) -> Path:
    """Where in ``folder`` the heat map of the photo ``image`` is: under the photo's own folders."""
    path = Path(image)
    inside = [part for part in path.parts if part not in (path.anchor, "..")]
    return folder.joinpath(*inside[:-1], f"{inside[-1] if inside else 'photo'}.heat.jpg")


def _predict(
    model: Model,
    photos: Sequence[Named],
    ask: Callable[[Pixels], Iterable[Answer]],
    top: int,
    writer: AbstractContextManager[Write],
    explained: Path,
    listener: Progress,
    *,
    strict: bool,
) -> Iterator[Prediction]:
    bad = 0
    with writer as write, listener.stage("Classifying photos", len(photos)) as advance:
        for photo, found in model.stream_of(photos, ask):
            if isinstance(found, Exception):
                prediction = Prediction(image=photo.name, error=str(found))
            else:
                prediction = model.predict(photo.name, found, top)
                if found.heat_map:
                    with replacing(heat_file(explained, photo.name)) as temporary:
                        temporary.write_bytes(found.heat_map)
            write(prediction)
            bad += bool(prediction.error)
            advance(1)
            yield prediction
    if strict and bad:
        raise DataError(
            f"--strict, and {bad:,} of {len(photos):,} photos could not be read: their rows say why; "
            "mend or remove them, or leave --strict away"
        )


def _listed(argument: str, columns: Mapping[str, str], listener: Progress) -> list[Named]:
    """The photos that one argument stands for. Raises DataError where it is nothing."""
    path = Path(argument)
    try:
        is_folder, is_file = path.is_dir(), path.is_file()
    except OSError as error:
        raise DataError(f"{argument}: cannot be opened ({error.strerror or error})") from error
    if is_folder:
        return _in_folder(path, listener)
    if is_file and path.suffix.lower() in TABLE_SUFFIXES:
        return _in_table(path, columns, listener)
    if is_file:
        return [Named(argument, PhotoFile(path))]
    if path.is_symlink():  # one of the names that a shell's pattern found, most likely
        return [Named(argument, NoPhoto("missing", "the link leads to no file"))]
    # A shell that finds nothing passes the pattern on; and some users have none that expands them.
    if glob.has_magic(argument) and (matches := sorted(glob.glob(argument, recursive=True))):  # noqa: PTH207 - Path.glob takes no absolute pattern
        return [photo for match in matches for photo in _listed(match, columns, listener)]
    raise DataError(f"{argument}: no such photo, folder or table, and no photo fits it as a pattern")


def _in_table(table: Path, columns: Mapping[str, str], listener: Progress) -> list[Named]:
    images, warnings = list_images(table, columns)
    for warning in warnings:
        listener.say(f"Warning: {warning}")
    return [Named(image, photo) for image, photo in images]


def _in_folder(folder: Path, listener: Progress) -> list[Named]:
    photos, others = search(folder)
    if not photos:
        found = f"none but {_counted(others)}" if others else "none"
        tables = [folder / out.image for out in others if out.image.lower().endswith(TABLE_SUFFIXES)]
        advice = f"if {tables[0].name} is the table of the photos, give {tables[0]}" if tables else "check the path"
        raise DataError(f"{folder}: expected photos in the folder, found {found}; {advice}")
    if others:
        listener.say(f"{folder}: left out {_counted(others)}")
    return [Named(name, photo) for name, photo in photos]


def _counted(others: Sequence[LeftOut]) -> str:
    hidden = sum(out.kind == HIDDEN for out in others)
    counts = {"not named like photos": len(others) - hidden, "hidden": hidden}
    return ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)


@contextmanager
def _nowhere() -> Iterator[Write]:
    yield lambda _prediction: None


def _writer(path: Path) -> AbstractContextManager[Write]:
    """The writer for ``path``'s format. Raises InputError for another."""
    suffix = path.suffix.lower()
    if suffix not in _WRITERS:
        raise InputError(f"--out: expected a file ending in {', '.join(_WRITERS)}, found {str(path)!r}")
    return _WRITERS[suffix](path)


def row(prediction: Prediction) -> dict[str, Any]:
    """The prediction under the columns' names; a set is JSON, so that labels may hold any character."""
    fields = prediction.model_dump(include=set(COLUMNS))
    fields["set"] = json.dumps(fields["set"], ensure_ascii=False) if fields["set"] else ""
    return {name: fields[name] for name in COLUMNS}


@contextmanager
def _text(path: Path) -> Iterator[TextIO]:
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        yield file


@contextmanager
def _csv(path: Path) -> Iterator[Write]:
    with _text(path) as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        yield lambda prediction: writer.writerow(row(prediction))


@contextmanager
def _jsonl(path: Path) -> Iterator[Write]:
    with _text(path) as file:
        yield lambda prediction: _write_line(file, prediction)


def _write_line(file: TextIO, prediction: Prediction) -> None:
    file.write(prediction.model_dump_json() + "\n")


@contextmanager
def _parquet(path: Path) -> Iterator[Write]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise MissingExtra("train", "writing Parquet") from None

    numbers = {"probability": pa.float64(), "unknown_score": pa.float64()}
    schema = pa.schema([(name, numbers.get(name, pa.string())) for name in COLUMNS])
    waiting: list[dict[str, Any]] = []
    with (
        replacing(path) as temporary,
        pa.OSFile(os.fsencode(temporary), "wb") as file,  # by bytes, since Arrow names no path that is not UTF-8
        pq.ParquetWriter(file, schema, compression="zstd") as writer,
    ):

        def flush() -> None:
            writer.write_table(pa.Table.from_pylist(waiting, schema))
            waiting.clear()

        def write(prediction: Prediction) -> None:
            waiting.append(row(prediction))
            if len(waiting) == _PARQUET_ROWS:
                flush()

        yield write
        if waiting:
            flush()


_WRITERS: dict[str, Callable[[Path], AbstractContextManager[Write]]] = {
    ".csv": _csv,
    ".jsonl": _jsonl,
    ".parquet": _parquet,
}
