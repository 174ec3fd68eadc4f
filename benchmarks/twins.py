"""Planted near twins, found: ``python -m benchmarks.twins [grocery[:SEED]] [cifar10-test] [fashion] [time]``.

In a tenth of the photos, a copy of each is planted: resized to 60%, recompressed at quality 40, cropped to 95% of its
sides, mirrored, watermarked, a fifth brighter or darker. Recall is the share of copies that are grouped with their
original; precision, the share of the pairs with a copy that are of one original. Other pairs, with a copy and without,
are laid beside each other in a picture to look at: they may be twins that were there before.
"""

from __future__ import annotations

import hashlib
import io
import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFont, ImageOps

from benchmarks.harness import CIFAR10, FASHION, TABLE, bar
from kramar.auditing import glances, twins
from kramar.auditing.twins import Indices
from kramar.data.manifest import Entry, hash_photos
from kramar.data.pixels import decode
from kramar.data.sources import list_photos
from kramar.progress import Silent

SHARE = 0.1
# Draw 0 chose the rules.
SEED = 1


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


def planted(entries: Sequence[Entry], seed: int) -> tuple[list[Entry], dict[int, int], dict[int, str]]:
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


def photos(name: str) -> list[Entry]:
    """Grocery's photos, or CIFAR-10's test or training photos."""
    source = TABLE if name == "grocery" else next(CIFAR10.glob(f"{name.removeprefix('cifar10-')}-*.parquet"))
    return hash_photos(list_photos(source, {}), Silent())[0]


def tell(name: str, seed: int) -> None:
    """Plant, find, count."""
    entries = photos(name)
    found, origin, kinds = planted(entries, seed)
    seen, places = glances.of(found, Silent())
    assert len(places) == len(found)
    medoid, _ = twins.groups(seen)
    right = Counter(kinds[copy] for copy, place in origin.items() if medoid[copy] == medoid[place])
    for kind, of in Counter(kinds.values()).items():
        print(f"      {name}, {kind}: {right[kind]} of {of} found")
    pairs = [(first, second) for group in members(medoid) for first, second in combinations(group, 2)]
    with_copy = [pair for pair in pairs if pair[0] in origin or pair[1] in origin]
    wrong = [pair for pair in with_copy if origin.get(pair[0], pair[0]) != origin.get(pair[1], pair[1])]
    before = [pair for pair in pairs if pair[0] not in origin and pair[1] not in origin]
    recall, precision = right.total() / len(origin), 1 - len(wrong) / max(1, len(with_copy))
    bar(f"{name}: planted copies found", f"{recall:.2%} of {len(origin)}", ">= 99%", recall >= 0.99)
    bar(
        f"{name}: pairs with a copy, of one original",
        f"{precision:.2%} of {len(with_copy)}",
        ">= 99%",
        precision >= 0.99,
    )
    picture = Path(f"twins-{name}.png")
    lay_out(found, [*wrong, *before], picture)
    print(f"      {name}: {len(wrong)} pairs with a copy of another photo, and {len(before)} without: {picture}")


def catalogue() -> None:
    """What is taken for copies among thumbnails of clothes that all lie alike, and how much that stand out."""
    if not FASHION.is_file():
        print("      fashion: run make demo first, which makes its table")
        return
    entries = hash_photos(list_photos(FASHION, {}), Silent())[0]
    seen, _ = glances.of(entries, Silent())
    first, second, mirrored = twins.likely(seen)
    by_themselves = int(twins.compared(seen, first, second, mirrored).twins.sum())
    pairs = [pair for group in members(twins.groups(seen)[0]) for pair in combinations(group, 2)]
    lay_out(entries, pairs, Path("twins-fashion.png"))
    alike = f"{by_themselves:,} pairs are alike by themselves"
    print(f"      fashion, {len(entries):,} photos: {alike}, {len(pairs)} stand out: twins-fashion.png")


def members(medoid: Indices) -> list[list[int]]:
    """The groups of several photos."""
    found: dict[int, list[int]] = {}
    for place, lead in enumerate(medoid.tolist()):
        found.setdefault(lead, []).append(place)
    return [group for group in found.values() if len(group) > 1]


def lay_out(entries: Sequence[Entry], pairs: Sequence[tuple[int, int]], path: Path, side: int = 96) -> None:
    """Pairs beside each other, in one picture."""
    across = 8
    rows = -(-len(pairs) // across)
    sheet = Image.new("RGB", (across * (2 * side + 8), max(1, rows) * (side + 8)), "white")
    for number, pair in enumerate(pairs):
        x, y = number % across * (2 * side + 8), number // across * (side + 8)
        for place, index in enumerate(pair):
            small = decode(entries[index].photo.read(), side).resize((side, side))
            sheet.paste(small, (x + place * side, y))
    sheet.save(path)


def time_it() -> None:
    """How long 50,000 photos take once they were glanced at, and how that grows."""
    seen, _ = glances.of(photos("cifar10-train"), Silent())
    took = {}
    for number in (10_000, 20_000, 50_000):
        some = seen.some(np.arange(number))
        began = time.monotonic()
        twins.groups(some)
        took[number] = time.monotonic() - began
        print(f"      {number:,} photos: {took[number]:.1f} s")
    grown = took[50_000] / took[10_000]
    most = 5 * math.log(50_000) / math.log(10_000)
    bar("50,000 photos after glances", f"{took[50_000]:.0f} s", "<= 120 s", took[50_000] <= 120)
    bar("50,000 photos against 10,000", f"{grown:.2f} times", f"<= {most:.2f} (n log n)", grown <= most)


def main(arguments: Sequence[str] = ()) -> None:
    """Both sets, clothes and the time; or those that are named, with the draw's seed after a colon."""
    for name in arguments or ("grocery", "cifar10-test", "fashion", "time"):
        which, _, seed = name.partition(":")
        if which == "time":
            time_it()
        elif which == "fashion":
            catalogue()
        else:
            tell(which, int(seed or SEED))


if __name__ == "__main__":
    main(sys.argv[1:])
