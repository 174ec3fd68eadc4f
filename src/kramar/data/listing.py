"""What a folder or a table lists, before any photo is opened."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from kramar.errors import DataError, PhotoError
from kramar.records import LeftOut

SPLIT_NAMES = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
# The kind of what a system leaves beside the user's own files (``.DS_Store``): told, but nothing that could be mended.
HIDDEN = "hidden"


class Photo(Protocol):
    """Where a photo's bytes are."""

    def read(self) -> bytes:
        """The encoded file, whole. Raises PhotoError (``missing`` or ``unreadable``)."""


@dataclass(frozen=True, slots=True)
class PhotoFile:
    """A photo that is a file of its own."""

    path: Path

    def read(self) -> bytes:
        """The file's bytes. Raises PhotoError where it is not there or cannot be read."""
        try:
            return self.path.read_bytes()
        except FileNotFoundError:
            raise PhotoError("missing", "no such file") from None
        except OSError as error:
            raise PhotoError("unreadable", f"cannot be opened: {error.strerror or error}") from error
        except ValueError as error:  # a NUL in the name
            raise PhotoError("unreadable", f"cannot be opened: {error}") from error


@dataclass(frozen=True, slots=True)
class NoPhoto:
    """A place in a table or a folder where a photo was expected and none can be found."""

    kind: str
    detail: str

    def read(self) -> bytes:
        """Raises PhotoError, always."""
        raise PhotoError(self.kind, self.detail)


@dataclass(frozen=True, slots=True)
class Row:
    """One listed photo.

    Attributes:
        image: its name as the user knows it: the path inside the folder or table (unique in neither).
        label: its class; for nested folders the whole path (``Fruit/Apple``).
        category: its path in the category tree, with ``/``; the label where the data gives none.
        product: the product that it shows, or empty.
        split: ``train``, ``val``, ``test``, or empty where the data does not say.
    """

    image: str
    photo: Photo
    label: str
    category: str
    product: str = ""
    split: str = ""


@dataclass(frozen=True, slots=True)
class Listing:
    """All rows in the data's own order, and what could not be one.

    Attributes:
        split_from: ``table`` or ``folders`` where the data says which photo is in which part, else empty.
    """

    rows: list[Row]
    left_out: list[LeftOut] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    split_from: str = ""


def mendable(left_out: Iterable[LeftOut]) -> list[LeftOut]:
    """Those of ``left_out`` that ``--strict`` fails for: all but hidden files."""
    return [out for out in left_out if out.kind != HIDDEN]


def refuse(left_out: Sequence[LeftOut], source: Path) -> None:
    """Raise DataError for the first of ``left_out`` that a user could mend, if there is one: what ``--strict`` asks."""
    left_out = mendable(left_out)
    if left_out:
        first = left_out[0]
        raise DataError(
            f"{source}: --strict, and {len(left_out)} cannot be used, the first {first.image!r} "
            f"({first.kind}: {first.detail}); mend or remove it, or leave --strict away"
        )
