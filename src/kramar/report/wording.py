"""Figures in words: how the page writes counts, shares, sizes and times."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from math import ceil, floor, log10

from kramar.records import Estimate, percent

LONGEST_NAME = 160
PART_NAMES = {"train": "training", "val": "validation", "test": "test"}
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


# What is left out and why, in words that follow a number: for one, for several. Keys are ``left_out``'s kinds.
KINDS = {
    "unreadable": ("unreadable", "unreadable"),
    "missing": ("missing", "missing"),
    "too_large": ("too large", "too large"),
    "not_an_image": ("not a photo", "not photos"),
    "hidden": ("hidden", "hidden"),
    "no_label": ("without a label", "without a label"),
    "no_image": ("without a photo's name", "without a photo's name"),
    "bad_name": ("with an unreadable name", "with an unreadable name"),
    "bad_row": ("broken table row", "broken table rows"),
    "symlink_loop": ("link in a circle", "links in a circle"),
    "over_budget": ("for lack of time", "for lack of time"),
}
# How a model that was made in one step was made, by the step's name.
STEPS = {
    "head": "Its backbone was left as it came, trained on other pictures; only the layer on top, its head, learnt from "
    "these photos.",
}
SPLITS = {"kramar": "a random draw by kramar", "table": "the table", "folders": "the folders' names"}
# Of test photos that kramar drew itself.
DRAWN = (
    "The test photos are a random draw from these photos. Where the same item or shelf was photographed several times, "
    "and for photos from another place, new photos will do worse: name the products in a column 'product', or set "
    "aside test photos of your own."
)
# From so many photos on is a share worth telling of a thousand; below, its interval is many times wider.
THOUSAND = 1000


@dataclass(frozen=True, slots=True)
class Headline:
    """An estimated share as so many ``of`` 100 (or 1,000) photos, its interval rounded outwards."""

    of: int
    about: int
    low: int
    high: int


def unit(estimate: Estimate) -> int:
    """Of how many photos a page tells its shares: 100, or 1,000 where a share near an end was measured on enough."""
    near_an_end = estimate.value > 0.985 or estimate.value < 0.015
    return 1000 if near_an_end and estimate.n >= THOUSAND else 100


def headline(estimate: Estimate, of: int) -> Headline:
    """``estimate`` as whole photos of ``of``; what is not quite all or none of them never reads so."""
    about = floor(of * estimate.value + 0.5)
    if estimate.value < 1:
        about = min(about, of - 1)
    if estimate.value > 0:
        about = max(about, 1)
    # A hair is taken off so that 0.29 * 100 = 28.999... and its like stay what they are.
    low, high = floor(of * estimate.low + 1e-9), ceil(of * estimate.high - 1e-9)
    return Headline(of, about, max(low, 0), min(high, of))


def count(number: float) -> str:
    """``2485`` as ``2,485``."""
    return f"{number:,.0f}"


def counted(number: int, noun: str) -> str:
    """``1 photo``, ``2,485 photos``, ``2 categories``."""
    return f"{count(number)} {noun if number == 1 else several(noun)}"


def several(noun: str) -> str:
    """The plural of a regular ``noun``."""
    return f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"


def kind(key: str, number: int = 1) -> str:
    """Why ``number`` things were left out, in words; a kind that is not known here, as it is spelt."""
    one, more = KINDS.get(key, (spoken(key), spoken(key)))
    return one if number == 1 else more


def split_from(key: str) -> str:
    """Who chose the test photos."""
    return SPLITS.get(key, key)


def share(value: float) -> str:
    """``0.742`` as ``74.2%``; what is not quite all or nothing never reads so."""
    if 0.9995 <= value < 1:
        return ">99.9%"
    if 0 < value < 0.0005:
        return "<0.1%"
    return f"{value:.1%}"


def whole_share(value: float) -> str:
    """``0.742`` as ``74%``; what is not quite all or nothing never reads so."""
    if 0.995 <= value < 1:
        return ">99%"
    if 0 < value < 0.005:
        return "<1%"
    return f"{value:.0%}"


def size(number: float) -> str:
    """Bytes as ``13.9 MB`` (10^6 bytes) or ``1.9 GB`` (10^9 bytes)."""
    if number >= 1e9:
        return f"{number / 1e9:.1f} GB"
    return f"{number / 1e6:.1f} MB" if number >= 1e6 else f"{number / 1e6:.2g} MB"


def rate(value: float) -> str:
    """Three digits that matter: ``163``, ``6.24``."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def duration(seconds: float) -> str:
    """``0.8 s``, ``42 s``, ``4 min 12 s``, ``1 h 05 min``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def scientific(value: float) -> str:
    """``0.0000031`` as ``3.1 × 10⁻⁶``."""
    if value == 0:
        return "0"
    exponent = floor(log10(abs(value)))
    if -3 <= exponent <= 3:
        return f"{value:.2g}"
    return f"{value / 10**exponent:.1f} × 10{str(exponent).translate(_SUPERSCRIPTS)}"


def when(started: str) -> str:
    """An ISO date and time as ``4 March 2026, 14:02``; anything else as it is."""
    try:
        moment = datetime.fromisoformat(started)
    except ValueError:
        return started
    return f"{moment.day} {moment:%B %Y, %H:%M} {moment.tzname() or ''}".rstrip()


def name(text: str) -> str:
    """A label or file name on one line, its middle cut out where it is very long."""
    line = " ".join(text.split())
    if len(line) <= LONGEST_NAME:
        return line
    half = LONGEST_NAME // 2
    return f"{line[:half]} … {line[-half:]}"


def spoken(key: str) -> str:
    """A key of the record (``peak_memory``) as words."""
    return key.replace("_", " ")


def by_part(split: Mapping[str, int]) -> str:
    """``2,640 training, 296 validation, 2,485 test``."""
    return ", ".join(f"{photos:,} {PART_NAMES.get(part, part)}" for part, photos in split.items())


def last_part(source: str) -> str:
    """How a path of either kind ends: ``photos``, but ``grocery/products.csv``, since tables are named alike."""
    parts = [part for part in re.split(r"[\\/]", source) if part]
    return "/".join(parts[-2:] if parts and "." in parts[-1] else parts[-1:]) or source


def above(category: str) -> str:
    """The categories above the last one: ``Fruit/Apple/Gala`` as ``Fruit › Apple``."""
    return " › ".join(category.split("/")[:-1])


FILTERS: dict[str, Callable[..., str]] = {
    function.__name__: function
    for function in (
        above,
        by_part,
        count,
        counted,
        duration,
        kind,
        last_part,
        name,
        percent,
        rate,
        scientific,
        share,
        size,
        split_from,
        spoken,
        when,
        whole_share,
    )
}
