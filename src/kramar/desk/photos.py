"""The photos of the queue as the desk shows them: small, upright, and the same that the model saw, or none."""

from __future__ import annotations

import threading

from kramar.config import cores
from kramar.data.pixels import thumbnail
from kramar.reviewing.database import Database
from kramar.reviewing.items import place

# Pixels of the longer side: of a tile on a sharp screen, and of one that fills a screen.
TILE, LARGE = 560, 1800
# Photos in memory at the same time: one of the largest takes 270 MB while it is decoded.
_decoding = threading.BoundedSemaphore(max(1, min(4, cores())))


def shown(database: Database, item: int, side: int) -> bytes:
    """An item's photo as a JPEG, at most ``side`` pixels wide and high.

    Raises ReviewError where there is no such item, and PhotoError (``gone`` and ``replaced`` among its kinds).
    """
    with _decoding:
        return thumbnail(place(database, item).read(), side, quality=85)
