"""The one way from a photo's bytes to the pixels that a model sees.

Training, evaluation and serving all call this module, so no preprocessing can drift.
Pillow and numpy only.
"""

from __future__ import annotations

import contextlib
import io
import math
import struct
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, UnidentifiedImageError

from kramar.data.listing import Photo
from kramar.errors import PhotoError
from kramar.records import ResizeRule

# Pillow warns from this size on: 89 million pixels are 268 MB once decoded.
MAX_PIXELS = 89_478_485
# What shops have; Pillow knows others whose readers start programs.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "AVIF")
# Of many photos, enough to tell how large they are.
_SIZED = 200
_TRANSPARENT_MODES = frozenset({"RGBA", "LA", "PA", "RGBa", "La"})
_DEEP_GREY_MODES = frozenset({"I", "I;16", "I;16B", "I;16L", "I;16N", "F"})
# How a picture is turned that is stored in an orientation (EXIF 2.3, tag 274).
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

Pixels = npt.NDArray[np.uint8]
T = TypeVar("T")
R = TypeVar("R")


@cache
def _register_formats() -> None:
    # Pillow fills its format table on first use, which is not safe from several threads at once.
    Image.init()


_registering = threading.Lock()


def _deep_grey_to_8_bits(image: Image.Image) -> Image.Image:
    values = np.nan_to_num(np.asarray(image, dtype=np.float64), posinf=255.0, neginf=0.0)
    if image.mode == "F":
        scale = 255.0 if values.max(initial=0) <= 1.0 else 1.0
    else:
        scale = 1 / 257 if image.mode != "I" or values.max(initial=0) > 255 else 1.0
    return Image.fromarray(np.clip(values * scale + 0.5, 0, 255).astype(np.uint8))


def to_rgb(image: Image.Image) -> Image.Image:
    """``image`` in mode RGB: 16-bit grey scaled to 8, transparency composited on white (cut-outs), CMYK converted."""
    if image.mode in _DEEP_GREY_MODES:
        image = _deep_grey_to_8_bits(image)
    if image.mode in _TRANSPARENT_MODES or "transparency" in image.info:
        cutout = image.convert("RGBA")
        white = Image.new("RGBA", cutout.size, "white")
        return Image.alpha_composite(white, cutout).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def decode(data: bytes, short_side: int) -> Image.Image:
    """The photo in ``data``, upright and in RGB; a large JPEG at a reduced size of at least ``short_side`` pixels.

    The JPEG decoder's own down-scaling makes a 6-megapixel photo some seven times cheaper to read.
    GIF and other animations give their first frame. Raises PhotoError.
    """
    if not data:
        raise PhotoError("unreadable", "the file is empty (0 bytes)")
    with _registering:
        _register_formats()
    with _photo_errors(), Image.open(io.BytesIO(data), formats=FORMATS) as image:
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise PhotoError(
                "too_large",
                f"{width} x {height} pixels; at most {MAX_PIXELS:,} are read: shrink it first",
            )
        image.draft("RGB", (short_side, short_side))
        return to_rgb(_upright(image))


def _upright(image: Image.Image) -> Image.Image:
    """``image``, decoded and turned as its EXIF block says; as it is where that block is broken."""
    image.load()
    # Not ImageOps.exif_transpose: it writes the whole block anew, and fails where any of it is broken.
    try:
        orientation: Any = image.getexif().get(ExifTags.Base.Orientation)
        turn = _TURNS.get(orientation)
    except Exception:  # the parser trips over anything, and whatever it is, the pixels are there
        return image
    return image if turn is None else image.transpose(turn)


@contextmanager
def _photo_errors() -> Iterator[None]:
    """Whatever Pillow raises in the block becomes a PhotoError."""
    try:
        yield
    except UnidentifiedImageError:
        raise PhotoError("unreadable", "not an image that Pillow can read") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):  # the warning where warnings are errors
        raise PhotoError("too_large", f"more than {MAX_PIXELS:,} pixels: shrink it first") from None
    # Decoders signal broken files with whatever their parser trips over.
    except (
        OSError,
        ValueError,
        SyntaxError,
        IndexError,
        KeyError,
        TypeError,
        RuntimeError,  # AVIF's
        EOFError,
        struct.error,
    ) as error:
        raise PhotoError("unreadable", f"broken: {error or type(error).__name__}".splitlines()[0]) from error


@dataclass(frozen=True, slots=True)
class Header:
    """What a photo's file says of itself: one of `FORMATS`, its sides in pixels, and whether it moves."""

    format: str
    width: int
    height: int
    animated: bool


def header(data: bytes) -> Header:
    """The header of the photo in ``data``. Raises PhotoError."""
    with _registering:
        _register_formats()
    with _photo_errors(), Image.open(io.BytesIO(data), formats=FORMATS) as image:
        # A phone's JPEG that holds a preview beside the photo calls itself MPO.
        own = "JPEG" if image.format == "MPO" else str(image.format)
        return Header(own, *image.size, own == image.format and bool(getattr(image, "is_animated", False)))


def short_side(photo: Photo) -> int:
    """The shorter side of a photo in pixels, from its header; 0 where it cannot be read."""
    with contextlib.suppress(PhotoError):
        found = header(photo.read())
        return min(found.width, found.height)
    return 0


def median_side(photos: Sequence[Photo]) -> int:
    """The median shorter side of photos in pixels, of some of them where they are many; 0 where none can be read."""
    sides = sorted(side for photo in photos[:: max(1, len(photos) // _SIZED)] if (side := short_side(photo)))
    return sides[len(sides) // 2] if sides else 0


def square(image: Image.Image, rule: ResizeRule) -> Pixels:
    """The model's input: uint8 ``[size, size, 3]``, RGB, by ``rule``."""
    side = rule.crop * min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    resized = image.resize(
        (rule.size, rule.size),
        Image.Resampling[rule.filter.upper()],
        box=(left, top, left + side, top + side),
        reducing_gap=3.0,
    )
    return np.array(resized)  # a copy that can be written to, which torch asks for


def prepare(data: bytes, rule: ResizeRule) -> Pixels:
    """From encoded bytes to the model's input. Raises PhotoError."""
    return square(decode(data, math.ceil(rule.size / rule.crop)), rule)


def thumbnail(data: bytes, size: int, quality: int = 80) -> bytes:
    """A JPEG of at most ``size`` x ``size`` pixels. Raises PhotoError."""
    image = decode(data, size)
    image.thumbnail((size, size), Image.Resampling.BICUBIC)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return out.getvalue()


def in_order(work: Callable[[T], R], items: Iterable[T], threads: int, ahead: int) -> Iterator[R]:
    """``work(item)`` for each item, in order, on ``threads`` threads, at most ``ahead`` items under way.

    Unlike Executor.map, it takes items only as results are taken: memory stays constant on an endless input.
    """
    waiting: list[Future[R]] = []
    executor = ThreadPoolExecutor(threads, thread_name_prefix="kramar-decode")
    try:
        for item in items:
            waiting.append(executor.submit(work, item))
            if len(waiting) >= ahead:
                yield waiting.pop(0).result()
        while waiting:
            yield waiting.pop(0).result()
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def as_image(photo: Any) -> Image.Image:
    """A Pillow image or a uint8 array ``[h, w, 3 or 4]`` or ``[h, w]``, upright and in RGB. Raises PhotoError."""
    if isinstance(photo, np.ndarray):
        colours = photo.shape[2:] in ((), (3,), (4,)) and photo.ndim >= 2 and photo.size > 0
        if photo.dtype != np.uint8 or not colours:
            raise PhotoError("unreadable", f"expected a uint8 array [h, w, 3], found {photo.dtype} {list(photo.shape)}")
        photo = Image.fromarray(photo)
    with _photo_errors():
        return to_rgb(_upright(photo))
