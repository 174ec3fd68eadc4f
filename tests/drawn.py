"""Photos that the tests draw: smooth enough for JPEG, unequal enough that a wrong turn shows; and who listens."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from kramar.progress import Advance


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


class Told:
    """A listener that remembers: what was said, and each stage as (name, total, photos done)."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.said_something = threading.Event()
        self.stages: list[list[Any]] = []

    @contextmanager
    def stage(self, name: str, total: int) -> Iterator[Advance]:
        """See Progress."""
        stage: list[Any] = [name, total, 0]
        self.stages.append(stage)

        def advance(done: int) -> None:
            stage[2] += done

        yield advance

    def say(self, message: str) -> None:
        """See Progress."""
        self.said.append(message)
        self.said_something.set()
