"""What the user gives as DATA: a folder or a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from kramar.data.folders import list_folder
from kramar.data.listing import Listing
from kramar.data.tables import SUFFIXES, list_table
from kramar.errors import DataError


def list_photos(data: Path, columns: Mapping[str, str]) -> Listing:
    """The labelled photos in the folder or table ``data``; there is at least one.

    ``columns`` gives a table's names for kramar's columns. Raises DataError where ``data`` is not there, is
    of another kind, holds no labelled photo or is broken, and MissingExtra for Parquet without pyarrow.
    """
    try:
        is_folder, is_file = data.is_dir(), data.is_file()
    except OSError as error:
        raise DataError(f"{data}: cannot be opened ({error.strerror or error})") from error
    if is_file:
        return list_table(data, columns)
    if not is_folder:
        raise DataError(f"{data}: no such folder or table; check the path (it is looked up from {Path.cwd()})")
    listing = list_folder(data, columns)
    if not listing.rows:
        raise _no_photos(data, listing)
    return listing


def _no_photos(folder: Path, listing: Listing) -> DataError:
    kinds = Counter(out.kind for out in listing.left_out)
    others = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    tables = [out.image for out in listing.left_out if out.image.lower().endswith(SUFFIXES)]
    advice = "check the path"
    if tables:
        advice = f"if {tables[0]} is the table of the photos, give {folder / tables[0]}"
    elif kinds["no_label"]:
        advice = "put the photos into a folder a class"
    return DataError(
        f"{folder}: expected class folders with photos (such as {folder / 'Apple' / '1.jpg'}), "
        f"found {f'none but {others}' if others else 'nothing'}; {advice}"
    )
