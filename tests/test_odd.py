"""Odd photos: each check on its edge."""

from __future__ import annotations

import numpy as np
import pytest

from drawn import Held
from kramar.auditing import odd
from kramar.auditing.glances import Glances
from kramar.data.manifest import Entry
from kramar.data.pixels import FORMATS

USUAL = {"width": 400, "height": 300, "format": 0, "animated": 0, "brightness": 120, "contrast": 50, "blur": 0.3}


def glances(*photos: dict[str, float]) -> Glances:
    facts = {name: np.array([{**USUAL, **one}[name] for one in photos], np.float32) for name in USUAL}
    count = len(photos)
    return Glances(np.zeros((count, 64, 64), np.uint8), np.zeros((count, 2, 16, 16), np.uint8), **facts)


def entry(name: str) -> Entry:
    return Entry(name, Held(b""), name, "Cup", "Cup", "", "")


ODD: dict[str, tuple[dict[str, float], dict[str, float], str]] = {
    "blank": ({"contrast": 3.9}, {"contrast": 4}, "its brightness varies by 3.9 of 255 levels"),
    "dark": ({"brightness": 19}, {"brightness": 20}, "its mean brightness is 19 of 255 levels"),
    "blurred": ({"blur": 0.85}, {"blur": 0.69}, "a blur would take 15% of its detail"),
    "tiny": ({"width": 50, "height": 60}, {"width": 101}, "50 x 60 px; half of all have 300 or more"),
    "shape": ({"width": 1300}, {"width": 1200}, "1300 x 300 px: a model sees its middle square"),
    "animated": ({"animated": 1}, {}, "several pictures in one file: the first is used"),
    "extension": ({"format": FORMATS.index("PNG")}, {}, "named .jpg, but it is PNG"),
}


def test_every_check_is_here() -> None:
    assert set(ODD) == set(odd.CHECKS)


@pytest.mark.parametrize("kind", ODD)
def test_what_is_odd_is_told_and_what_is_just_usual_is_not(kind: str) -> None:
    strange, usual, detail = ODD[kind]
    found = odd.odd(glances({}, strange, usual, {}, {}), [entry(f"{number}.jpg") for number in range(5)])
    assert [(issue.photo, issue.kind, issue.detail) for issue in found] == [("1.jpg", kind, detail)]
    assert found[0].score is not None


def test_what_says_nothing_else_is_blank_only_and_small_photos_among_their_like_are_no_matter() -> None:
    assert [one.kind for one in odd.odd(glances({"contrast": 0, "blur": 1.0}), [entry("a.jpg")])] == ["blank"]
    assert odd.odd(glances(*[{"width": 32, "height": 32}] * 3), [entry(name) for name in "abc"]) == []
    assert odd.odd(glances(), []) == []


@pytest.mark.parametrize(
    ("name", "form", "told"),
    [
        ("a.jpeg", "JPEG", False),
        ("a.JPG#2", "JPEG", False),
        ("a.tif", "TIFF", False),
        ("noname", "PNG", False),
        ("a.v2", "PNG", False),
        ("a.gif", "WEBP", True),
        ("a.png#3", "JPEG", True),
    ],
)
def test_names_are_right_where_they_may_be(name: str, form: str, told: bool) -> None:
    found = odd.odd(glances({"format": FORMATS.index(form)}), [entry(name)])
    assert bool(found) is told
