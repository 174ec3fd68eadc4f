"""Photos of three kinds of product, drawn rather than taken, that a small model can tell apart, mostly."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

KINDS = ("Plate", "Box", "Tent")
_CORNERS = {"Plate": 0, "Box": 4, "Tent": 3}


def photo(kind: str, number: int, size: int = 64) -> Image.Image:
    """The ``number``-th photo of a ``kind``: its shape, in any colour, half lost in noise; no two alike."""
    random = np.random.default_rng([KINDS.index(kind), number])
    image = Image.new("RGB", (size, size), tuple(random.integers(60, 200, 3).tolist()))
    pen = ImageDraw.Draw(image)
    colour = tuple(random.integers(0, 256, 3).tolist())
    radius = size * random.uniform(0.15, 0.35)
    x, y = random.uniform(radius, size - radius, 2)
    corners = _CORNERS[kind]
    if corners:
        pen.regular_polygon((x, y, radius), corners, int(random.integers(0, 360)), fill=colour)
    else:
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
    noisy = np.asarray(image) + random.normal(0, 20, (size, size, 3))
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def encoded(kind: str, number: int, form: str = "JPEG") -> bytes:
    """The photo as the bytes of a file of the format ``form``."""
    out = io.BytesIO()
    photo(kind, number).save(out, form)
    return out.getvalue()


def put(path: Path, kind: str, number: int) -> Path:
    """Write a photo to ``path`` in the format that its name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    photo(kind, number).save(path)
    return path


def put_folder(folder: Path, each: int, kinds: Sequence[str] = KINDS, start: int = 0) -> Path:
    """A folder a kind in ``folder``, with ``each`` photos numbered from ``start``."""
    for kind in kinds:
        for number in range(start, start + each):
            put(folder / kind / f"{number}.jpg", kind, number)
    return folder


def put_huge(path: Path, side: int = 50_000) -> Path:
    """A PNG of a few kB that says it is ``side`` x ``side`` pixels, and holds a few of its rows."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">2I5B", side, side, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(4_000_000), 9)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b""))
    return path
