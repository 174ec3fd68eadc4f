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

from kramar.data.folders import image_files
from kramar.data.listing import Photo, PhotoFile
from kramar.data.tables import SUFFIXES as TABLE_SUFFIXES
from kramar.data.tables import list_images
from kramar.errors import DataError, InputError, MissingExtra
from kramar.files import replacing
from kramar.records import Prediction
from kramar.runtime.model import Model

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
    top: int = 5,
    columns: Mapping[str, str] | None = None,
) -> Iterator[Prediction]:
    """Predictions for photo files, folders, glob patterns and tables, as they are made.

    Args:
        model: a model file, or an open one.
        photos: what to classify; folders are searched in depth, tables give their ``image`` column.
        out: a ``.csv``, ``.jsonl`` or ``.parquet`` file to write them to as well; it is there when the last is made.
        top: how many of the most probable labels each prediction lists.
        columns: the table's column names by kramar's.

    Raises:
        InputError: before the first prediction, where an argument names nothing. Single unreadable photos are
            predictions with ``error``.
    """
    if top < 1:
        raise InputError(f"--top: expected 1 or more, found {top}")
    opened = model if isinstance(model, Model) else Model(model)
    given = [photos] if isinstance(photos, str | os.PathLike) else photos
    sources = [_source(os.fspath(argument), columns or {}) for argument in given]
    if not sources:
        raise InputError("no photos given; name files, folders, patterns or a table")
    writer = _writer(Path(out)) if out is not None else _nowhere()
    return _predict(opened, (photo for source in sources for photo in source()), top, writer)


def _predict(
    model: Model, photos: Iterable[Named], top: int, writer: AbstractContextManager[Write]
) -> Iterator[Prediction]:
    with writer as write:
        for photo, found in model.stream_scores(photos):
            name = photo.name if isinstance(photo, Named) else ""
            prediction = (
                Prediction(image=name, error=str(found))
                if isinstance(found, Exception)
                else model.predict(name, found, top)
            )
            write(prediction)
            yield prediction


def _source(argument: str, columns: Mapping[str, str]) -> Callable[[], Iterable[Named]]:
    """What one argument stands for, looked up when its turn comes. Raises DataError where it is nothing."""
    path = Path(argument)
    if path.is_dir():
        if next(iter(image_files(path)), None) is None:
            raise DataError(f"{argument}: expected photos in the folder, found none")
        return lambda: (Named(_text_of(file), PhotoFile(file)) for file in image_files(path))
    if path.is_file():
        if path.suffix.lower() in TABLE_SUFFIXES:
            listed = list_images(path, columns)
            return lambda: (Named(image, photo) for image, photo in listed)
        return lambda: [Named(_text_of(argument), PhotoFile(path))]
    # A shell that finds nothing passes the pattern on; and some users have none that expands them.
    if glob.has_magic(argument) and (matches := sorted(glob.glob(argument, recursive=True))):  # noqa: PTH207 - Path.glob takes no absolute pattern
        return lambda: (named for match in matches for named in _source(match, columns)())
    raise DataError(f"{argument}: no such photo, folder or table, and no photo fits it as a pattern")


def _text_of(path: str | Path) -> str:
    """The path as text that any file can hold: bytes of a name that are not UTF-8 are escaped."""
    return str(path).encode("utf-8", "backslashreplace").decode()


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
    with replacing(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:

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
