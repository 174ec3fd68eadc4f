"""The photos of the queue as the desk shows them: small, upright, and the same that the model saw, or none."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

from kramar.config import cores
from kramar.data.listing import PhotoFile
from kramar.data.pixels import thumbnail
from kramar.errors import PhotoError
from kramar.reviewing.database import Database
from kramar.reviewing.items import Place, place

# Pixels of the longer side: of a tile on a sharp screen, and of one that fills a screen.
TILE, LARGE = 560, 1800
# Photos in memory at the same time: one of the largest takes 270 MB while it is decoded.
_decoding = threading.BoundedSemaphore(max(1, min(4, cores())))


def shown(database: Database, item: int, side: int) -> bytes:
    """An item's photo as a JPEG, at most ``side`` pixels wide and high.

    Raises ReviewError where there is no such item, and PhotoError (``gone`` and ``replaced`` among its kinds).
    """
    found = place(database, item)
    with _decoding:
        return thumbnail(_content(found), side, quality=85)


def _content(found: Place) -> bytes:
    if found.content is not None:
        return found.content
    if found.path is None:
        raise PhotoError("gone", "its bytes were not kept, or not any more, and it was no file")
    data = _read(found.path)
    if hashlib.sha256(data).hexdigest() != found.sha256:
        raise PhotoError("replaced", f"{found.path}: the file is another one since the model saw it")
    return data


def _read(path: Path) -> bytes:
    try:
        return PhotoFile(path).read()
    except PhotoError as error:
        raise PhotoError("gone" if error.kind == "missing" else error.kind, f"{path}: {error}") from error
