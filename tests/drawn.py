"""Photos that are drawn rather than taken: three kinds of product that a small model tells apart."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

KINDS = ("Plate", "Box", "Scarf")
_COLOURS = {"Plate": (230, 230, 225), "Box": (150, 95, 40), "Scarf": (40, 70, 170)}


def photo(kind: str, number: int, size: int = 64) -> Image.Image:
    """The ``number``-th photo of a ``kind``: its shape somewhere on a noisy ground, no two alike."""
    random = np.random.default_rng([KINDS.index(kind), number])
    ground = random.normal(random.integers(90, 170), 25, (size, size, 3)).clip(0, 255).astype(np.uint8)
    image = Image.fromarray(ground)
    pen = ImageDraw.Draw(image)
    colour = tuple(int(part + random.integers(-20, 21)) for part in _COLOURS[kind])
    side = int(size * random.uniform(0.5, 0.75))
    left, top = (int(random.uniform(0.1, 0.9) * (size - side)) for _ in range(2))
    box = (left, top, left + side, top + side)
    if kind == "Plate":
        pen.ellipse(box, fill=colour, outline=(20, 20, 20), width=2)
        pen.ellipse((left + side // 4, top + side // 4, left + 3 * side // 4, top + 3 * side // 4), outline=(90, 90, 90))
    elif kind == "Box":
        pen.rectangle(box, fill=colour, outline=(20, 20, 20), width=2)
        pen.line((left, top + side // 2, left + side, top + side // 2), fill=(220, 200, 150), width=4)
    else:
        for offset in range(0, size, 8):
            pen.line((offset, 0, offset, size), fill=colour, width=4)
    return image


def encoded(kind: str, number: int, size: int = 64, kind_of_file: str = "JPEG") -> bytes:
    """The photo as the bytes of a file."""
    out = io.BytesIO()
    photo(kind, number, size).save(out, kind_of_file)
    return out.getvalue()


def draw(path: Path, kind: str, number: int, size: int = 64) -> Path:
    """Write a photo to ``path`` in the format that its name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    photo(kind, number, size).save(path)
    return path


def draw_folder(folder: Path, each: int, kinds: Sequence[str] = KINDS, start: int = 0) -> Path:
    """A folder a kind in ``folder``, with ``each`` photos numbered from ``start``."""
    for kind in kinds:
        for number in range(start, start + each):
            draw(folder / kind / f"{number}.jpg", kind, number)
    return folder


def huge_png(path: Path, width: int = 50_000, height: int = 50_000) -> Path:
    """A valid black PNG of ``width`` x ``height`` pixels in a few kB: 1 bit a pixel, deflated twice over."""
