"""A cleaned table, and what was changed for it."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path

from kramar.auditing.cleaning import REMOVED, Change
from kramar.data.listing import PhotoFile, mendable
from kramar.data.manifest import Entry
from kramar.errors import DataError
from kramar.files import replacing
from kramar.jobs.gather import categories
from kramar.records import LeftOut

_COLUMNS = ("image", "label", "category", "product", "split")


def changes_file(table: Path) -> Path:
    """Beside the cleaned table: what was changed for it."""
    return table.with_name(f"{table.stem}-changes.csv")


def check_named(entries: Sequence[Entry], table: Path) -> None:
    """Raise DataError where a photo is no file of its own, which a cleaned ``table`` could not name."""
    if not all(isinstance(entry.photo, PhotoFile) for entry in entries):
        raise DataError(
            f"--fix: the photos are inside the table, and a cleaned one ({table}) could not name them; "
            "save them as files first, or drop the rows that issues.parquet names"
        )


def write_cleaned(
    table: Path, entries: Sequence[Entry], changes: Sequence[Change], left_out: Sequence[LeftOut]
) -> None:
    """Write the table that ``changes`` make of ``entries``, and those beside it with what could not be read at all.

    Paths are relative to the table's folder where they can be. Raises DataError for photos that are no files of their
    own, OutputError where the disk says no.
    """
    check_named(entries, table)
    changed = {one.image: one for one in changes}
    path_of = categories(entries)
    rows = []
    for entry in entries:
        change = changed.get(entry.image)
        if change is not None and change.change == REMOVED:
            continue
        label, category = entry.label, entry.category
        if change is not None:
            label, category = change.now, path_of[change.now]
        rows.append((_relative(entry, table), label, category, entry.product, entry.split))
    # Columns that say nothing are left out: a table whose split is empty would be no table with a split.
    kept = [place for place in range(len(_COLUMNS)) if place < 2 or any(row[place] for row in rows)]
    if all(row[1] == row[2] for row in rows):
        kept.remove(2)
    _write(table, [_COLUMNS[place] for place in kept], [[row[place] for place in kept] for row in rows])
    unread = [Change(out.image, REMOVED, "", "", f"{out.kind}: {out.detail}") for out in mendable(left_out)]
    _write(
        changes_file(table),
        ("image", "change", "label", "now", "reason"),
        [(one.image, one.change, one.label, one.now, one.reason) for one in (*changes, *unread)],
    )


def _relative(entry: Entry, table: Path) -> str:
    assert isinstance(entry.photo, PhotoFile), "check_named has seen to it"
    path = entry.photo.path.resolve()
    try:
        return Path(os.path.relpath(path, table.parent.resolve())).as_posix()
    except ValueError:  # another drive
        return path.as_posix()


def _write(path: Path, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    with (
        replacing(path) as temporary,
        temporary.open("w", encoding="utf-8", newline="", errors="surrogateescape") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)
