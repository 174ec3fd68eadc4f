"""Predictions as files: CSV, JSON lines, Parquet, each there when it is whole."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, TextIO

from kramar.errors import InputError, MissingExtra
from kramar.files import replacing
from kramar.records import Prediction

COLUMNS = ("image", "label", "probability", "category", "decision", "set", "unknown_score", "error")
_PARQUET_ROWS = 1000

Write = Callable[[Prediction], None]


@contextmanager
def nowhere() -> Iterator[Write]:
    """Writes no file."""
    yield lambda _prediction: None


def prediction_file(path: Path) -> AbstractContextManager[Write]:
    """Writes predictions to ``path`` in the format that it is named for. Raises InputError for another."""
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
