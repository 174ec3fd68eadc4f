"""Tables of text with a delimiter, as spreadsheets and shops export them."""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TextIO

from kramar.data.columns import COLUMNS, Record, choose
from kramar.errors import DataError

_DELIMITERS = ",;\t|"


def delimited_rows(path: Path, columns: Mapping[str, str], required: Sequence[str], file: TextIO) -> Iterator[Record]:
    """The rows of the open ``file``, numbered as in a spreadsheet; its delimiter is found by the header.

    Raises DataError where a required column is missing, or where broken quotes hide other rows.
    """
    said = re.fullmatch(r"sep=(.)\s*", file.readline())  # Excel's way to name the delimiter
    wanted = {columns.get(ours, ours) for ours in COLUMNS}

    def fitness(delimiter: str) -> tuple[int, int]:
        file.seek(0)
        try:
            header = next(filter(None, csv.reader(file, delimiter=delimiter, strict=True)), [])
        except csv.Error:
            header = []
        return len(wanted.intersection(name.strip() for name in header)), len(header)

    delimiter = said[1] if said else max(_DELIMITERS, key=fitness)
    file.seek(0)
    header: list[str] = []
    names: dict[str, str] = {}
    for number, (where, cells) in enumerate(_spreadsheet_rows(path, file, delimiter), 1):
        if isinstance(cells, str):
            if not header:
                raise DataError(f"{path}: {where}: expected the names of the columns, found a broken row: {cells}")
            yield where, cells
        elif not cells or (said and number == 1):
            continue
        elif not header:
            header = [name.strip() for name in cells]
            names = choose(path, columns, required, header)
        elif len(cells) != len(header):
            yield where, f"expected {len(header)} fields as in the header, found {len(cells)}"
        else:
            fields = dict(zip(header, cells, strict=True))
            yield where, {ours: fields[theirs] for ours, theirs in names.items()}


def _spreadsheet_rows(path: Path, file: TextIO, delimiter: str) -> Iterator[tuple[str, list[str] | str]]:
    """Each row's place and its cells, or what is wrong with it. Raises DataError where more rows are lost."""
    rows = csv.reader(file, delimiter=delimiter, strict=True)
    for number in itertools.count(1):
        line = rows.line_num + 1
        where = f"row {number}" if line == number else f"row {number} (line {line})"
        try:
            yield where, next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            if rows.line_num > line:  # the rows in between are inside the broken one
                raise DataError(
                    f"{path}: {where}: expected a closing quote, found none that ends a field "
                    f"up to line {rows.line_num} ({error}); close or double the quotes"
                ) from error
            yield where, f"expected well quoted fields, found otherwise ({error})"
