"""Planted near twins, found: ``python -m benchmarks.twins [grocery] [cifar10]``.

In a tenth of the photos, a copy of each is planted: resized to 60%, recompressed at quality 40, cropped to 95% of its
sides, mirrored, watermarked, a fifth brighter or darker. Recall is the share of copies that are grouped with their
original; precision, the share of the pairs with a copy that are with its original. Pairs of photos that were there
before are listed, and laid beside each other in a picture to look at.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFont, ImageOps

from kramar.data.manifest import Entry

SHARE = 0.1


def _cropped(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    width, height = round(0.95 * image.width), round(0.95 * image.height)
    left = int(generator.integers(0, image.width - width + 1))
    top = int(generator.integers(0, image.height - height + 1))
    return image.crop((left, top, left + width, top + height))


def _watermarked(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    del generator
    mark = Image.new("RGBA", image.size, (0, 0, 0, 0))
    font = ImageFont.load_default(size=max(6, image.width / 5))
    ImageDraw.Draw(mark).text((image.width / 2, image.height / 2), "kramar", (255, 255, 255, 150), font, anchor="mm")
    return Image.alpha_composite(image.convert("RGBA"), mark).convert("RGB")


Kind = Callable[[Image.Image, np.random.Generator], Image.Image]
KINDS: dict[str, Kind] = {
    "resized to 60%": lambda image, _: image.resize(
        (round(0.6 * image.width), round(0.6 * image.height)), Image.Resampling.BICUBIC
    ),
    "quality 40": lambda image, _: image,
    "cropped by 5%": _cropped,
    "mirrored": lambda image, _: ImageOps.mirror(image),
    "watermarked": _watermarked,
    "a fifth brighter": lambda image, _: ImageEnhance.Brightness(image).enhance(1.2),
    "a fifth darker": lambda image, _: ImageEnhance.Brightness(image).enhance(0.8),
}


@dataclass(frozen=True, slots=True)
class Bytes:
    """A photo in memory."""

    data: bytes

    def read(self) -> bytes:
        return self.data


def copy_of(entry: Entry, kind: str, generator: np.random.Generator) -> Entry:
    """A copy of a photo, as a JPEG."""
    out = io.BytesIO()
    with Image.open(io.BytesIO(entry.photo.read())) as image:
        made = KINDS[kind](image.convert("RGB"), generator)
    made.save(out, "JPEG", quality=40 if kind == "quality 40" else 90)
    data = out.getvalue()
    return replace(entry, image=f"{entry.image} {kind}", photo=Bytes(data), hash=hashlib.sha256(data).hexdigest())


def planted(entries: Sequence[Entry], seed: int = 0) -> tuple[list[Entry], dict[int, int], dict[int, str]]:
    """The photos and copies of some, the originals' places by those of the copies, and the copies' kinds."""
    generator = np.random.default_rng(seed)
    chosen = generator.permutation(len(entries))[: round(SHARE * len(entries))]
    found, origin, kinds = list(entries), {}, {}
    names = list(KINDS)
    for number, place in enumerate(chosen.tolist()):
        kind = names[number % len(names)]
        origin[len(found)], kinds[len(found)] = place, kind
        found.append(copy_of(entries[place], kind, generator))
    return found, origin, kinds
