"""Tables of labelled photos: CSV and its kin, JSON lines, Parquet."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TextIO

from kramar.data import parquet
from kramar.data.charset import encoding_of
from kramar.data.columns import COLUMNS, Record, choose
from kramar.data.delimited import delimited_rows
from kramar.data.listing import SPLIT_NAMES, Listing, NoPhoto, Photo, PhotoFile, Row
from kramar.errors import DataError
from kramar.records import LeftOut

SUFFIXES = (".csv", ".tsv", ".txt", ".jsonl", ".ndjson", ".parquet")
_URL = re.compile(r"\s*([a-z][a-z0-9+.-]+)://", re.IGNORECASE)
_DOWNLOADS = {
    "s3": "aws s3 cp --recursive s3://BUCKET/FOLDER .",
    "gs": "gcloud storage cp -r gs://BUCKET/FOLDER .",
}


class _CellError(Exception):
    """A cell that is no text."""


def list_table(path: Path, columns: Mapping[str, str]) -> Listing:
    """The labelled photos of a .csv, .tsv, .txt, .jsonl, .ndjson or .parquet table, in its order.

    ``columns`` gives the table's names for kramar's (``{"image": "photo"}``). Paths are relative to the
    table's own folder. CSV rows are numbered as in a spreadsheet (the header is row 1), JSON lines from 1,
    Parquet rows from 0.

    Raises DataError for an unknown format, a broken file, missing columns, image URLs, unknown or partly
    missing splits, and where no row is left; MissingExtra for Parquet without pyarrow.
    """
    rows: list[Row] = []
    left_out: list[LeftOut] = []
    warnings: list[str] = []
    without_split: list[str] = []
    for where, fields in _records(path, columns, ("image", "label"), warnings):
        row = _row(path, columns, where, fields)
        if isinstance(row, LeftOut):
            left_out.append(row)
            continue
        rows.append(row)
        if not row.split:
            without_split.append(where)
    if not rows:
        kinds = ", ".join(f"{count} {kind}" for kind, count in Counter(out.kind for out in left_out).items())
        found = f"{kinds} (first: {left_out[0].detail}); correct the table" if left_out else "no row"
        raise DataError(f"{path}: expected rows with a photo and a label, found {found}")
    if 0 < len(without_split) < len(rows):
        raise DataError(
            f"{path}: column {columns.get('split', 'split')!r}: expected a split in every row or in none, "
            f"found {len(without_split)} of {len(rows)} without (first: {without_split[0]}); fill them in"
        )
    return Listing(rows, left_out, warnings, "" if without_split else "table")


def list_images(
    path: Path, columns: Mapping[str, str], *, products: bool = False
) -> tuple[list[tuple[str, Photo, str]], list[str]]:
    """The image column of a table, labels or not: each row's name, photo and product, in its order; and warnings.

    A row in which no photo can be found has a ``NoPhoto``. ``products`` asks for a column of them; without, no row
    has one. Raises as ``list_table``, where there are no rows at all too.
    """
    images: list[tuple[str, Photo, str]] = []
    warnings: list[str] = []
    for where, fields in _records(path, columns, ("image", "product") if products else ("image",), warnings):
        image, photo = _photo(path, columns, where, fields)
        product = ""
        if products and not isinstance(fields, str):
            try:
                product = unicodedata.normalize("NFC", _text("product", fields.get("product")).strip())
            except _CellError as error:
                photo = NoPhoto("bad_row", f"{where}: {error}")
        images.append((image, photo, product))
    if not images:
        raise DataError(f"{path}: expected rows with a photo, found no row")
    return images, warnings


def _records(path: Path, columns: Mapping[str, str], required: Sequence[str], warnings: list[str]) -> Iterator[Record]:
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise DataError(
            f"{path}: expected a folder or a table ({', '.join(SUFFIXES)}), found {suffix or 'no suffix'!r}; "
            "save the table in one of these formats"
        )
    try:
        if suffix == ".parquet":
            names = choose(path, columns, required, parquet.column_names(path))
            yield from ((f"row {row}", fields) for row, fields in parquet.read_rows(path, names))
            return
        encoding, guessed = encoding_of(path)
        if guessed:
            warnings.append(f"{path}: not UTF-8, read as {encoding}; if letters look wrong, save it as UTF-8")
        with path.open(encoding=encoding, newline="") as file:
            read = _json_rows if suffix in (".jsonl", ".ndjson") else delimited_rows
            yield from read(path, columns, required, file)
    except UnicodeError as error:
        raise DataError(f"{path}: expected text, found broken characters ({error}); save it as UTF-8") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error


def _photo(
    table: Path, columns: Mapping[str, str], where: str, fields: Mapping[str, object] | str
) -> tuple[str, Photo]:
    """The row's photo and its name; the table's name where the row has none. Raises DataError for URLs."""
    if isinstance(fields, str):
        return table.name, NoPhoto("bad_row", f"{where}: {fields}")
    try:
        image = _text("image", fields["image"])
    except _CellError as error:
        return table.name, NoPhoto("bad_row", f"{where}: {error}")
    if isinstance(photo := fields.get("photo"), parquet.ParquetPhoto):
        return image, photo
    if not image.strip():
        return table.name, NoPhoto("no_image", f"{where}: no image")
    if url := _URL.match(image):
        download = _DOWNLOADS.get(url[1].lower(), "wget -i urls.txt, a file with a URL a line")
        raise DataError(
            f"{table}: {where}: expected a path in column {columns.get('image', 'image')!r}, found the URL "
            f"{image.strip()!r}; download the photos first ({download}), then put their names into the column"
        )
    found = _find(table.parent, image)
    return image, found or NoPhoto("missing", f"{where}: no file {image!r} in {table.parent}")


def _row(table: Path, columns: Mapping[str, str], where: str, fields: Mapping[str, object] | str) -> Row | LeftOut:
    image, photo = _photo(table, columns, where, fields)
    if isinstance(photo, NoPhoto):
        return LeftOut(image=image, kind=photo.kind, detail=photo.detail)
    assert not isinstance(fields, str)
    try:
        label, category, product, split = (_text(name, fields.get(name)) for name in COLUMNS[1:])
    except _CellError as error:
        return LeftOut(image=image, kind="bad_row", detail=f"{where}: {error}")
    if not label.strip():
        return LeftOut(image=image, kind="no_label", detail=f"{where}: no label")
    part = SPLIT_NAMES.get(split.strip().lower(), "")
    if split.strip() and not part:
        raise DataError(
            f"{table}: {where}: column {columns.get('split', 'split')!r}: expected one of "
            f"{', '.join(SPLIT_NAMES)}, found {split!r}; correct it"
        )
    label, category, product = (unicodedata.normalize("NFC", text) for text in (label, category, product.strip()))
    return Row(image, photo, label, category if category.strip() else label, product, part)


def _text(name: str, value: object) -> str:
    if value is None or value != value:  # noqa: PLR0124 - NaN is how tables write an empty number
        return ""
    if isinstance(value, dict | list | bytes):
        raise _CellError(f"{name}: expected text or a number, found {type(value).__name__}")
    # A column of whole numbers with gaps is one of fractions to whoever wrote it.
    text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise _CellError(f"{name}: expected text, found half a character in {text!a}")
    return text


def _find(folder: Path, image: str) -> PhotoFile | None:
    # A Mac writes accents as characters of their own, Excel does not.
    forms = (unicodedata.normalize(form, image) for form in ("NFC", "NFD"))
    for name in (image, image.replace("\\", "/"), *forms):
        try:
            if (folder / name).is_file():
                return PhotoFile(folder / name)
        except OSError:  # a name too long for a file, a folder that may not be entered
            continue
    return None


def _json_rows(path: Path, columns: Mapping[str, str], required: Sequence[str], file: TextIO) -> Iterator[Record]:
    found: dict[str, None] = {}
    for number, line in enumerate(file, 1):
        where = f"line {number}"
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield where, f"expected a JSON object, found no JSON ({error})"
            continue
        if not isinstance(record, dict):
            yield where, f"expected a JSON object, found {type(record).__name__}"
            continue
        found.update(dict.fromkeys(record))
        yield where, {ours: record.get(columns.get(ours, ours)) for ours in COLUMNS}
    if found:
        choose(path, columns, required, list(found))
