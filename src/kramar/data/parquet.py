"""Photos and labels in Parquet: plain tables of paths, and Hugging Face's, whose photos are inside.

pyarrow comes with the ``train`` extra and is imported only here, where it is used.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kramar.errors import DataError, MissingExtra, PhotoError
from kramar.records import writable


@dataclass(frozen=True, slots=True)
class ParquetPhoto:
    """A photo inside a Parquet file.

    Attributes:
        row: its number in the file, from 0.
        column: the binary column, or the binary field of a struct column (``image.bytes``).
    """

    file: Path
    row: int
    column: str = "image.bytes"

    def read(self) -> bytes:
        """The photo's encoded bytes. Safe from several threads; quick when rows are read nearly in order.

        Raises PhotoError where the file, the row or its bytes are not there or cannot be read.
        """
        try:
            content = _row_groups.cell(self.file, self.column, self.row)
        except FileNotFoundError:
            raise PhotoError("missing", f"no such file: {self.file}") from None
        except (DataError, OSError) as error:
            raise PhotoError("unreadable", str(error)) from error
        if content is None:
            raise PhotoError("missing", f"row {self.row} of {self.file} holds no photo")
        return content


def column_names(path: Path) -> list[str]:
    """The table's columns. Raises DataError for a broken file, MissingExtra without pyarrow."""
    with _opened(path) as file:
        return list(file.schema_arrow.names)


def read_rows(path: Path, columns: Mapping[str, str]) -> Iterator[tuple[int, dict[str, object]]]:
    """Each row's number (from 0) and fields, by the names on the left of ``columns``; no photo is loaded.

    A row whose photo is in the file has it as ``photo``; its ``image`` is then the name that the file gives
    it, or ``FILE#ROW``. Class numbers of Hugging Face become their names (-1, which means none, None).
    Raises DataError for a broken file or an image column of another type, MissingExtra without pyarrow.
    """
    image = columns["image"]
    with _opened(path) as file:
        schema = file.schema_arrow
        content, name = _image_columns(path, image, schema.field(image).type)
        names = _class_names(schema)
        others = [theirs for ours, theirs in columns.items() if ours != "image"]
        number = 0
        for group in range(file.num_row_groups):
            table = file.read_row_group(group, columns=[*filter(None, [name]), *others])
            held = _held(file, group, content)
            for offset, cells in enumerate(table.to_pylist()):
                fields = {
                    ours: _named(path, number, theirs, cells.get(theirs), names.get(theirs))
                    for ours, theirs in columns.items()
                }
                if isinstance(fields["image"], dict):
                    fields["image"] = fields["image"]["path"]
                if content and held[offset]:
                    fields["photo"] = ParquetPhoto(path, number, content)
                    fields["image"] = fields["image"] or f"{writable(path.name)}#{number}"
                yield number, fields
                number += 1


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise MissingExtra("train", "reading Parquet") from None
    try:
        # By bytes, since Arrow cannot name a path that is not UTF-8.
        with pa.OSFile(os.fsencode(path)) as opened, pq.ParquetFile(opened) as file:
            yield file
    except (pa.ArrowException, OSError) as error:
        what = " ".join(str(error).split())
        raise DataError(f"{path}: expected a Parquet file, found one that cannot be read ({what})") from error


def _image_columns(path: Path, image: str, kind: Any) -> tuple[str, str]:
    """The columns of the photos' bytes and of their paths or names; empty where there are none."""
    from pyarrow import types

    def is_bytes(kind: Any) -> bool:
        return bool(types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind))

    value = kind.value_type if types.is_dictionary(kind) else kind
    if types.is_string(value) or types.is_large_string(value) or types.is_string_view(value):
        return "", image
    if is_bytes(kind):
        return image, ""
    fields = {field.name: field.type for field in kind} if types.is_struct(kind) else {}
    content = f"{image}.bytes" if "bytes" in fields and is_bytes(fields["bytes"]) else ""
    name = f"{image}.path" if "path" in fields else ""
    if not content and not name:
        raise DataError(
            f"{path}: column {image!r}: expected paths, bytes or struct<bytes: binary, path: string>, "
            f"found {kind}; name the right column with --columns image=COLUMN"
        )
    return content, name


def _class_names(schema: Any) -> dict[str, list[str]]:
    """The names of the class numbers by column, from Hugging Face's document in the schema."""
    try:
        features = json.loads(schema.metadata[b"huggingface"])["info"]["features"].items()
        return {
            column: list(feature["names"])
            for column, feature in features
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        }
    except (AttributeError, KeyError, TypeError, ValueError):
        return {}


def _named(path: Path, row: int, column: str, value: object, names: list[str] | None) -> Any:
    if names is None or not isinstance(value, int):
        return value
    if value >= len(names):
        raise DataError(
            f"{path}: row {row}: column {column!r}: expected a number below {len(names)}, "
            f"the names in the file's metadata; found {value}"
        )
    return names[value] if value >= 0 else None


def _held(file: Any, group: int, content: str) -> list[bool]:
    """Whether each row of a row group holds a photo. Bytes are read only where the statistics don't say."""
    rows = file.metadata.row_group(group)
    if not content:
        return [False] * rows.num_rows
    leaf = next(i for i in range(rows.num_columns) if rows.column(i).path_in_schema == content)
    statistics = rows.column(leaf).statistics
    if statistics is not None and statistics.has_null_count and statistics.null_count in (0, rows.num_rows):
        return [statistics.null_count == 0] * rows.num_rows
    cells = file.read_row_group(group, columns=[content]).column(0)
    return [_content(cell) is not None for cell in cells]


def _content(cell: Any) -> bytes | None:
    value: Any = cell.as_py()
    content: bytes | None = next(iter(value.values())) if isinstance(value, dict) else value
    return content


@functools.lru_cache(maxsize=64)
def _starts(path: Path, version: tuple[int, int]) -> list[int]:  # noqa: ARG001 - a rewritten file is another
    """The first row of each row group, and the number of rows."""
    with _opened(path) as file:
        starts = [0]
        for group in range(file.num_row_groups):
            starts.append(starts[-1] + file.metadata.row_group(group).num_rows)
        return starts


class _RowGroups:
    """The photos of the row groups read last: as many as ``limit`` bytes hold, and at least two.

    At least two, so that threads on both sides of a border do not take turns in reading it anew. One thread
    reads at a time, since the others mostly wait for the same row group.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._groups: OrderedDict[tuple[Path, tuple[int, int], str, int], Any] = OrderedDict()

    def cell(self, path: Path, column: str, row: int) -> bytes | None:
        """The bytes in ``row``, None where there are none. Raises DataError and OSError."""
        status = path.stat()
        version = (status.st_mtime_ns, status.st_size)
        starts = _starts(path, version)
        if row >= starts[-1]:
            return None
        group = bisect_right(starts, row) - 1
        key = (path, version, column, group)
        with self._lock:
            if key not in self._groups:
                with _opened(path) as file:
                    self._groups[key] = file.read_row_group(group, columns=[column]).column(0)
                self._forget()
            self._groups.move_to_end(key)
            cells = self._groups[key]
        return _content(cells[row - starts[group]])

    def _forget(self) -> None:
        while len(self._groups) > 2 and sum(cells.nbytes for cells in self._groups.values()) > self._limit:
            self._groups.popitem(last=False)


_row_groups = _RowGroups(limit=256 << 20)
