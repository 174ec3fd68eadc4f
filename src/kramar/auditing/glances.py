"""A glance at each photo: a small picture to know it again by, and what its file and its pixels tell at once.

A glance depends on the photo alone, and is kept in the cache for all runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
from PIL import Image

from kramar.config import cache_folder, cores
from kramar.data.manifest import Entry
from kramar.data.pixels import FORMATS, decode, header, in_order
from kramar.data.store import RowStore
from kramar.errors import PhotoError
from kramar.progress import Progress

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

# Sides of the small picture, the whole photo squeezed into a square: brightness, and the two colour differences.
LUMA, CHROMA = 64, 16
# What the pixels tell is measured at this short side, about what a model sees.
_SEEN = 224
# Taps of the blur that a photo is compared with (Crété et al. 2007).
_TAPS = 9
_FACTS = ("width", "height", "format", "animated", "brightness", "contrast", "blur")
_PICTURE = LUMA * LUMA + 2 * CHROMA * CHROMA
_ROW = _PICTURE + 4 * len(_FACTS)
_COMMIT_EVERY = 256


@dataclass(frozen=True, slots=True)
class Glances:
    """Of N photos.

    Attributes:
        luma: small pictures, uint8 ``[N, 64, 64]``; ``chroma``, their colours, ``[N, 2, 16, 16]``.
        width, height: of the file, in pixels, ``[N]``; ``format``, an index into `FORMATS`; ``animated``, 0 or 1.
        brightness: the mean of all pixels in levels, 0 to 255, ``[N]``; ``contrast``, their standard deviation.
        blur: from 0 for the sharpest photo to 1 for none that could be blurred any further, ``[N]``.
    """

    luma: Bytes
    chroma: Bytes
    width: Floats
    height: Floats
    format: Floats
    animated: Floats
    brightness: Floats
    contrast: Floats
    blur: Floats

    def some(self, places: npt.NDArray[np.integer]) -> Glances:
        """Those at ``places``."""
        return Glances(*(getattr(self, field.name)[places] for field in fields(self)))


def of(entries: Sequence[Entry], progress: Progress) -> tuple[Glances, list[int]]:
    """Glances at the photos that can be read, and their places in ``entries``. Raises OutputError."""
    store = RowStore(cache_folder() / "glances-v1", "glances.u8", (_ROW,), np.uint8)
    pending = list({entry.hash: entry for entry in entries if entry.hash not in store}.values())

    def look(entry: Entry) -> tuple[str, Bytes | None]:
        try:
            return entry.hash, glance(entry.photo.read())
        except PhotoError:  # told by the room that needs its pixels
            return entry.hash, None

    with progress.stage("Glancing at photos", len(pending)) as advance:
        hashes: list[str] = []
        rows: list[Bytes] = []
        for photo_hash, row in in_order(look, pending, cores(), ahead=64):
            if row is not None:
                hashes.append(photo_hash)
                rows.append(row)
            if len(rows) == _COMMIT_EVERY:
                store.append(hashes, np.stack(rows))
                hashes, rows = [], []
            advance(1)
        if rows:
            store.append(hashes, np.stack(rows))
    places = [place for place, entry in enumerate(entries) if entry.hash in store]
    return _parted(store.gather([entries[place].hash for place in places])), places


def glance(data: bytes) -> Bytes:
    """One photo's row, uint8. Raises PhotoError."""
    told = header(data)
    image = decode(data, _SEEN)
    small = image.resize((LUMA, LUMA), Image.Resampling.BILINEAR).convert("YCbCr")
    luma, *chroma = small.split()
    colours = [np.asarray(band.resize((CHROMA, CHROMA), Image.Resampling.BOX)).ravel() for band in chroma]
    grey = image.convert("L")
    grey.thumbnail((2 * _SEEN, 2 * _SEEN), Image.Resampling.BILINEAR, reducing_gap=2.0)
    levels = np.asarray(grey, np.float32)
    facts = (
        told.width,
        told.height,
        FORMATS.index(told.format),
        told.animated,
        levels.mean(),
        levels.std(),
        blur(levels),
    )
    return np.concatenate([np.asarray(luma).ravel(), *colours, np.array(facts, np.float32).view(np.uint8)])


def blur(levels: Floats) -> float:
    """How little a photo, ``[h, w]``, changes when it is blurred: 0 to 1 (Crété et al. 2007, The Blur Effect).

    The share of the differences between neighbours that a blur along the same axis leaves; of the two axes the
    blurrier one, since a moved camera blurs along one only. 0 for a photo without any difference.
    """
    found = 0.0
    for image in (levels, levels.T):
        if image.shape[1] <= _TAPS + 1:
            continue
        # Every other line tells as much. Differences of running means are those of the ends, and levels are whole
        # numbers, so that float32 is exact.
        steps = np.diff(np.ascontiguousarray(image[::2]), axis=1)
        sums = np.cumsum(steps, axis=1)
        soft = np.abs(sums[:, _TAPS:] - sums[:, :-_TAPS]) / _TAPS
        sharp = np.abs(steps[:, _TAPS // 2 + 1 :][:, : soft.shape[1]])
        total = float(sharp.sum())
        if total > 0:
            found = max(found, 1 - float(np.maximum(0, sharp - soft).sum()) / total)
    return found


def _parted(rows: Bytes) -> Glances:
    facts = np.ascontiguousarray(rows[:, _PICTURE:]).view(np.float32)
    return Glances(
        rows[:, : LUMA * LUMA].reshape(-1, LUMA, LUMA),
        rows[:, LUMA * LUMA : _PICTURE].reshape(-1, 2, CHROMA, CHROMA),
        *(np.ascontiguousarray(facts[:, number]) for number in range(len(_FACTS))),
    )
