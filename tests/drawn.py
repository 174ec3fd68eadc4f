"""Photos that the tests draw: smooth enough for JPEG, unequal enough that a wrong turn shows."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image


def pixels(width: int, height: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    """Waves whose lengths, directions and phases follow from ``seed``; uint8 ``[height, width, 3]``."""
    random = np.random.default_rng(seed)
    x, y = np.linspace(0, 1, width), np.linspace(0, 1, height)[:, None]
    channels = []
    for _ in range(3):
        a, b, phase = random.uniform(1, 9), random.uniform(1, 9), random.uniform(0, 6)
        channels.append(127.5 + 90 * np.sin(a * x + b * y + phase) + 30 * (x - y))
    return np.clip(np.stack(channels, axis=-1), 0, 255).astype(np.uint8)


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    """The same as a Pillow image."""
    return Image.fromarray(pixels(width, height, seed))


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    """``image`` in the file format ``kind``."""
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def photo(seed: int, width: int = 48, height: int = 40) -> bytes:
    """A small PNG."""
    return encoded(picture(width, height, seed), "PNG")


@dataclass(frozen=True, slots=True)
class Held:
    """A photo in memory."""

    data: bytes

    def read(self) -> bytes:
        """See Photo."""
        return self.data
