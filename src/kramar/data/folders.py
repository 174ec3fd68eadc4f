"""Folders of labelled photos: the folder is the label, and folders in folders are the category tree."""

from __future__ import annotations

import errno
import os
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from kramar.config import RUNS_FOLDER
from kramar.data.listing import HIDDEN, SPLIT_NAMES, Listing, NoPhoto, Photo, PhotoFile, Row
from kramar.data.tables import list_table
from kramar.errors import DataError
from kramar.records import LeftOut, writable

PHOTO_SUFFIXES = frozenset((".jpg", ".jpeg", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif"))
# What Windows hides without a dot before the name.
_HIDDEN_NAMES = frozenset(("thumbs.db", "ehthumbs.db", "desktop.ini"))
_OTHER = "not_an_image"

_Parts = tuple[str, ...]


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
        label = unicodedata.normalize("NFC", "/".join(parts[1:-1] if is_split else parts[:-1]))
        if writable("/".join(parts)) != "/".join(parts):
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
    return Listing(rows, _in_order(found.left_out), warnings, "folders" if is_split and rows else "")


def search(root: Path) -> tuple[list[tuple[str, Photo]], list[LeftOut]]:
    """All photos in ``root`` and its folders, labelled or not, by name and sorted by path; and what is none.

    A link that leads nowhere or in a circle and a folder that cannot be opened may hide photos: each has a
    ``NoPhoto``. Raises DataError where ``root`` cannot be opened.
    """
    found = _walk(root)
    photos: dict[_Parts, Photo] = {parts: PhotoFile(path) for parts, path in found.photos.items()}
    no_photos: list[LeftOut] = []
    for parts, out in found.left_out.items():
        if out.kind in (HIDDEN, _OTHER):
            no_photos.append(out)
        else:
            photos[parts] = NoPhoto(out.kind, out.detail)
    return [(str(root.joinpath(*parts)), photo) for parts, photo in sorted(photos.items())], no_photos


@dataclass
class _Found:
    """What is in a folder, by its path's parts below the root."""

    photos: dict[_Parts, Path] = field(default_factory=dict)
    parquet: dict[_Parts, Path] = field(default_factory=dict)
    left_out: dict[_Parts, LeftOut] = field(default_factory=dict)

    def leave_out(self, parts: _Parts, kind: str, detail: str) -> None:
        self.left_out[parts] = LeftOut(image="/".join(parts), kind=kind, detail=detail)

    def is_folder(self, parts: _Parts, entry: os.DirEntry[str]) -> bool:
        """Whether ``entry`` is a folder to be searched; anything else is taken in."""
        # macOS leaves ._photo.jpg, which is no photo.
        if entry.name.startswith(".") or entry.name.lower() in _HIDDEN_NAMES:
            self.leave_out(parts, HIDDEN, "hidden")
            return False
        try:
            if entry.is_dir():
                # kramar's own, where it was run inside the data
                return parts != (RUNS_FOLDER,)
            if entry.is_file():
                self._add_file(parts, Path(entry.path))
            elif entry.is_symlink():
                self.leave_out(parts, "missing", "the link leads nowhere")
            else:
                self.leave_out(parts, _OTHER, "not a file")
        except OSError as error:
            if error.errno == errno.ELOOP:
                self.leave_out(parts, "symlink_loop", "the link leads to itself")
            else:
                self.leave_out(parts, "unreadable", f"cannot be opened: {error.strerror or error}")
        return False

    def _add_file(self, parts: _Parts, path: Path) -> None:
        suffix = path.suffix.lower()
        if suffix in PHOTO_SUFFIXES:
            self.photos[parts] = path
            return
        if suffix == ".parquet":
            self.parquet[parts] = path
        self.leave_out(parts, _OTHER, "not named like a photo")


def _walk(root: Path) -> _Found:
    found = _Found()
    folders: list[tuple[Path, _Parts, frozenset[tuple[int, int]]]] = [(root, (), frozenset())]
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
            if found.is_folder(inside, entry):
                folders.append((Path(entry.path), inside, ancestors | {identity}))
    return found


def _in_order(left_out: Mapping[_Parts, LeftOut]) -> list[LeftOut]:
    return sorted(left_out.values(), key=lambda out: out.image)


def _list_parts(root: Path, found: _Found, columns: Mapping[str, str]) -> Listing:
    """One listing of all Parquet files: their split column counts, else their names where these say train."""
    files = dict(sorted(found.parquet.items()))
    places = sorted({parts[:-1] for parts in files})
    if len(places) > 1:
        raise DataError(
            f"{root}: expected Parquet files in one folder, found them in "
            f"{', '.join('/'.join(place) or '.' for place in places)}; give one of these folders"
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
    others = _in_order({parts: out for parts, out in found.left_out.items() if parts not in files})
    left_out = [out for listing in listings.values() for out in listing.left_out]
    warnings = [warning for listing in listings.values() for warning in listing.warnings]
    from_table = "table" if any(said.values()) else ""
    return Listing(rows, others + left_out, warnings, "folders" if by_name else from_table)
