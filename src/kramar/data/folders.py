"""Folders of labelled photos: the folder is the label, and folders in folders are the category tree."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from kramar.config import RUNS_FOLDER
from kramar.data.listing import SPLIT_NAMES, Listing, PhotoFile, Row
from kramar.data.tables import list_table
from kramar.errors import DataError
from kramar.records import LeftOut

PHOTO_SUFFIXES = frozenset((".jpg", ".jpeg", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif"))


def list_folder(root: Path, columns: Mapping[str, str] | None = None) -> Listing:
    """The photos in the class folders of ``root``, sorted by path.

    A photo's label and category are its folder's path (``Fruit/Apple``). Where all top folders with photos
    are named like splits and one of them is for training, they are the splits. A folder without photos of its
    own but with Parquet files is a table in parts, which ``columns`` are for, and their names
    (``train-00000-of-00001.parquet``) may say the split. Links to folders are followed.

    Raises DataError where ``root`` cannot be opened or has class folders and ``columns``, and what
    ``list_table`` raises.
    """
    found = _walk(root)
    if found.parquet and not found.photos:
        return _list_parts(root, found, columns or {})
    if columns:
        raise DataError(
            f"{root}: expected a table for --columns, found a folder, which has no columns; "
            "leave --columns out or give the table itself"
        )
    tops = sorted({parts[0] for parts in found.photos if len(parts) > 1})
    splits = {top: SPLIT_NAMES[top.lower()] for top in tops if top.lower() in SPLIT_NAMES}
    is_split = "train" in splits.values() and len(splits) == len(tops)
    rows: list[Row] = []
    for parts, path in sorted(found.photos.items()):
        label = "/".join(parts[1:-1] if is_split else parts[:-1])
        if _shown(parts) != "/".join(parts):
            found.leave_out(parts, "bad_name", "the name is not UTF-8; rename the file or its folder")
        elif label:
            split = splits[parts[0]] if is_split else ""
            rows.append(Row("/".join(parts), PhotoFile(path), label, category=label, split=split))
        else:
            found.leave_out(parts, "no_label", "not in a class folder")
    warnings: list[str] = []
    if not is_split and "train" in splits.values() and len(set(splits.values())) > 1:
        others = ", ".join(repr(top) for top in tops if top not in splits)
        warnings.append(
            f"{root}: the top folders {', '.join(splits)} are named like splits but are read as labels, "
            f"since {others} is beside them; move it away if they are splits"
        )
    return Listing(rows, found.left_out, warnings, "folders" if is_split and rows else "")


def image_files(root: Path) -> list[Path]:
    """All photos in ``root`` and its folders, sorted by path. Raises DataError if it can't be opened."""
    return [path for _, path in sorted(_walk(root).photos.items())]


@dataclass
class _Found:
    """What is in a folder, by its path's parts below the root."""

    photos: dict[tuple[str, ...], Path] = field(default_factory=dict)
    parquet: dict[tuple[str, ...], Path] = field(default_factory=dict)
    left_out: list[LeftOut] = field(default_factory=list)

    def leave_out(self, parts: tuple[str, ...], kind: str, detail: str) -> None:
        self.left_out.append(LeftOut(image=_shown(parts), kind=kind, detail=detail))

    def add(self, parts: tuple[str, ...], path: Path) -> None:
        hidden = parts[-1].startswith(".")  # macOS leaves ._photo.jpg, which is no photo
        if hidden or path.suffix.lower() not in PHOTO_SUFFIXES:
            if not hidden and path.suffix.lower() == ".parquet":
                self.parquet[parts] = path
            self.leave_out(parts, "not_an_image", "hidden file" if hidden else "not named like a photo")
        else:
            self.photos[parts] = path


def _shown(parts: tuple[str, ...]) -> str:
    """The path as text that can be written anywhere: names that are not UTF-8 are escaped."""
    return "/".join(parts).encode("utf-8", "backslashreplace").decode()


def _walk(root: Path) -> _Found:
    found = _Found()
    folders: list[tuple[Path, tuple[str, ...], frozenset[tuple[int, int]]]] = [(root, (), frozenset())]
    while folders:
        folder, parts, ancestors = folders.pop()
        try:
            status = folder.stat()
            identity = (status.st_dev, status.st_ino)
            if identity in ancestors:
                found.leave_out(parts, "symlink_loop", "the link leads to a folder that it is in")
                continue
            with os.scandir(folder) as scan:
                entries = sorted(scan, key=lambda entry: entry.name, reverse=True)
        except OSError as error:
            reason = error.strerror or str(error)
            if not parts:
                raise DataError(f"{root}: the folder cannot be opened ({reason})") from error
            found.leave_out(parts, "unreadable", f"the folder cannot be opened ({reason})")
            continue
        for entry in entries:
            inside = (*parts, entry.name)
            try:
                is_folder, is_file = entry.is_dir(), entry.is_file()
            except OSError as error:
                looped = error.errno == errno.ELOOP
                kind, detail = ("symlink_loop", "the link leads to itself") if looped else ("unreadable", str(error))
                found.leave_out(inside, kind, detail)
                continue
            if is_folder and not parts and entry.name == RUNS_FOLDER:
                continue  # kramar's own, where it was run inside the data
            if is_folder and entry.name.startswith("."):
                found.leave_out(inside, "not_an_image", "hidden folder")
            elif is_folder:
                folders.append((Path(entry.path), inside, ancestors | {identity}))
            elif is_file:
                found.add(inside, Path(entry.path))
            elif entry.is_symlink():
                found.leave_out(inside, "missing", "the link leads nowhere")
            else:
                found.leave_out(inside, "not_an_image", "not a file")
    found.left_out.sort(key=lambda out: out.image)
    return found


def _list_parts(root: Path, found: _Found, columns: Mapping[str, str]) -> Listing:
    """One listing of all Parquet files: their split column counts, else their names where these say train."""
    files = dict(sorted(found.parquet.items()))
    places = sorted({parts[:-1] for parts in files})
    if len(places) > 1:
        raise DataError(
            f"{root}: expected Parquet files in one folder, found them in "
            f"{', '.join(_shown(place) or '.' for place in places)}; give one of these folders"
        )
    listings = {path: list_table(path, columns) for path in files.values()}
    splits = {path: SPLIT_NAMES.get(re.split(r"[-_.]", path.name.lower())[0], "") for path in listings}
    by_name = "train" in splits.values() and not any(listing.split_from for listing in listings.values())
    said = {path: splits[path] if by_name else listing.split_from for path, listing in listings.items()}
    if any(said.values()) and not all(said.values()):
        stray = next(path for path, split in said.items() if not split)
        raise DataError(
            f"{stray}: expected a split as in the Parquet files beside it (train-*.parquet or a column), "
            "found none; rename it or move it away"
        )
    rows = [
        replace(row, split=splits[path]) if by_name else row
        for path, listing in listings.items()
        for row in listing.rows
    ]
    others = [out for out in found.left_out if out.image not in {_shown(parts) for parts in files}]
    left_out = [out for listing in listings.values() for out in listing.left_out]
    warnings = [warning for listing in listings.values() for warning in listing.warnings]
    from_table = "table" if any(said.values()) else ""
    return Listing(rows, others + left_out, warnings, "folders" if by_name else from_table)
