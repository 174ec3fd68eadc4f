"""Odd photos: those that show nothing, or not as the others do. Each check is one function in `CHECKS`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import PurePath

import numpy as np
import numpy.typing as npt

from kramar.auditing.glances import Glances
from kramar.auditing.issues import Issue
from kramar.data.manifest import Entry
from kramar.data.pixels import FORMATS

# In levels of 255. A photo of fewer differs by less than a camera's noise.
BLANK, DARK = 4.0, 20.0
# As if by a Gaussian of more than two pixels of 280; none of Grocery's 5,421 photos reaches it (0.69 at most).
BLURRED = 0.7
# Of shorter sides: in pixels, and against the others'.
TINY, SMALLER = 64, 1 / 3
EXTREME = 4.0
_SUFFIXES = {
    "JPEG": ("jpg", "jpeg", "jpe", "jfif", "mpo"),
    "PNG": ("png", "apng"),
    "WEBP": ("webp",),
    "GIF": ("gif",),
    "BMP": ("bmp", "dib"),
    "DIB": ("bmp", "dib"),
    "TIFF": ("tif", "tiff"),
    "AVIF": ("avif", "avifs"),
}
_KNOWN = {suffix for suffixes in _SUFFIXES.values() for suffix in suffixes}

Found = dict[int, tuple[float, str]]


def _where(found: npt.NDArray[np.bool_], scores: npt.NDArray[np.floating], say: Callable[[int], str]) -> Found:
    return {place: (float(scores[place]), say(place)) for place in np.flatnonzero(found).tolist()}


def blank(glances: Glances, entries: Sequence[Entry]) -> Found:
    """One colour, or nearly."""
    del entries
    spread = glances.contrast
    return _where(spread < BLANK, spread, lambda place: f"its brightness varies by {spread[place]:.1f} of 255 levels")


def dark(glances: Glances, entries: Sequence[Entry]) -> Found:
    """Hardly any light."""
    del entries
    mean = glances.brightness
    return _where(mean < DARK, mean, lambda place: f"its mean brightness is {mean[place]:.0f} of 255 levels")


def blurred(glances: Glances, entries: Sequence[Entry]) -> Found:
    """No sharp edge; those without any contrast are blank."""
    del entries
    told = (glances.blur > BLURRED) & (glances.contrast >= BLANK)
    return _where(told, glances.blur, lambda place: f"a blur would take {1 - glances.blur[place]:.0%} of its detail")


def tiny(glances: Glances, entries: Sequence[Entry]) -> Found:
    """Few pixels, where others have many."""
    del entries
    short = np.minimum(glances.width, glances.height)
    median = float(np.median(short)) if len(short) else 0.0
    return _where(
        (short < TINY) & (short < SMALLER * median),
        short,
        lambda place: (
            f"{glances.width[place]:.0f} x {glances.height[place]:.0f} px; half of all have {median:.0f} or more"
        ),
    )


def shape(glances: Glances, entries: Sequence[Entry]) -> Found:
    """So long that the middle, which a model sees, says little."""
    del entries
    short, long = np.minimum(glances.width, glances.height), np.maximum(glances.width, glances.height)
    return _where(
        long > EXTREME * short,
        long / np.maximum(short, 1),
        lambda place: f"{glances.width[place]:.0f} x {glances.height[place]:.0f} px: a model sees its middle square",
    )


def animated(glances: Glances, entries: Sequence[Entry]) -> Found:
    """Several pictures in one file."""
    del entries
    return _where(glances.animated > 0, glances.animated, lambda _: "several pictures in one file: the first is used")


def extension(glances: Glances, entries: Sequence[Entry]) -> Found:
    """A name that says another format."""
    formats = [FORMATS[int(place)] for place in glances.format]
    suffixes = [PurePath(entry.image.rsplit("#", 1)[0]).suffix[1:].lower() for entry in entries]
    wrong = np.array([s in _KNOWN and s not in _SUFFIXES[f] for s, f in zip(suffixes, formats, strict=True)], bool)
    return _where(wrong, wrong.astype(float), lambda place: f"named .{suffixes[place]}, but it is {formats[place]}")


CHECKS: dict[str, Callable[[Glances, Sequence[Entry]], Found]] = {
    check.__name__: check for check in (blank, dark, blurred, tiny, shape, animated, extension)
}


def odd(glances: Glances, entries: Sequence[Entry]) -> list[Issue]:
    """What each check finds; ``glances`` are of these ``entries``, in their order."""
    return [
        Issue(photo=entries[place].image, kind=kind, score=score, detail=detail)
        for kind, check in CHECKS.items()
        for place, (score, detail) in check(glances, entries).items()
    ]
