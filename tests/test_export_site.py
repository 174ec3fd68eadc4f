"""The web page's own pixels and decisions, in a browser, against Python's."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page

import kramar.exporting
from browser import needs_chromium
from drawn import encoded, picture, pixels
from kramar.data.pixels import Pixels, decode, prepare
from kramar.records import ClassCard, Decisions, Promise, ResizeRule
from kramar.runtime.rule import Rule
from static_host import hosting

pytestmark = needs_chromium

SITE = Path(kramar.exporting.__file__).with_name("site")
SQUARE = """async ([data, rule]) => {
  const { decode } = await import("/photo.js");
  const { square } = await import("/square.js");
  const file = new Blob([Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0))]);
  const found = square(await decode(file, Math.ceil(rule.size / rule.crop)), rule);
  let text = "";
  for (const one of found) text += String.fromCharCode(one);
  return btoa(text);
}"""
DECIDE = """async ([decisions, classes, scores]) => {
  const { Rule } = await import("/rule.js");
  const rule = new Rule(decisions, classes);
  return scores.map(([probabilities, unknown]) => rule.decide(Float32Array.from(probabilities), unknown));
}"""


@pytest.fixture(scope="module")
def page(chromium: Browser) -> Iterator[Page]:
    with hosting(SITE) as address:
        context = chromium.new_context()
        page = context.new_page()
        page.goto(f"{address}words.js")
        yield page
        context.close()


def in_browser(page: Page, data: bytes, rule: ResizeRule) -> Pixels:
    found = page.evaluate(SQUARE, [base64.b64encode(data).decode(), rule.model_dump()])
    return np.frombuffer(base64.b64decode(found), np.uint8).reshape(rule.size, rule.size, 3)


@pytest.mark.parametrize("filter_", ["bicubic", "bilinear"])
@pytest.mark.parametrize("crop", [1.0, 0.875, 0.95])
@pytest.mark.parametrize(
    ("width", "height", "size"),
    [
        (48, 40, 16),
        (300, 280, 224),
        (31, 57, 64),
        (64, 64, 64),
        (613, 401, 32),
        (1200, 900, 96),
        (1, 5, 8),
        (999, 77, 16),
    ],
)
def test_pixels_are_pillows_to_the_last_bit(
    page: Page, width: int, height: int, size: int, crop: float, filter_: str
) -> None:
    rule = ResizeRule(size=size, crop=crop, filter=filter_)
    noise = np.random.default_rng(width).integers(0, 256, (height, width, 3), np.uint8)
    for image in (picture(width, height, size), Image.fromarray(noise)):
        data = encoded(image, "PNG")
        assert np.array_equal(in_browser(page, data, rule), prepare(data, rule))


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG"])
def test_photos_are_turned_as_their_files_say(page: Page, kind: str, turn: int) -> None:
    rule = ResizeRule(size=32, crop=0.875, filter="bicubic")
    exif = Image.Exif()
    exif[0x0112] = turn
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(picture(60, 44), kind, exif=exif.tobytes(), **options)
    found, expected = in_browser(page, data, rule).astype(int), prepare(data, rule).astype(int)
    assert np.abs(found - expected).max() <= (2 if kind == "JPEG" else 0)


def test_broken_notes_of_a_photo_do_no_harm(page: Page) -> None:
    rule = ResizeRule(size=32, crop=0.875, filter="bicubic")
    data = encoded(picture(60, 44), "PNG", exif=b"Exif\0\0apples and pears")
    assert np.array_equal(in_browser(page, data, rule), prepare(data, rule))


def test_grey_palettes_and_cutouts_are_as_pillow_has_them(page: Page) -> None:
    rule = ResizeRule(size=32, crop=0.875, filter="bicubic")
    colours = picture(60, 44)
    hard = np.where(pixels(60, 44, 1)[..., :1] > 127, 255, 0).astype(np.uint8)
    cutout = Image.fromarray(np.concatenate([pixels(60, 44), hard], axis=2))
    for image in (colours.convert("L"), colours.convert("P"), cutout):
        data = encoded(image, "PNG")
        assert np.array_equal(in_browser(page, data, rule), prepare(data, rule)), image.mode
    for kind in ("BMP", "GIF"):
        data = encoded(colours, kind)
        assert np.array_equal(in_browser(page, data, rule), prepare(data, rule)), kind
    soft = Image.fromarray(np.concatenate([pixels(60, 44), pixels(60, 44, 2)[..., :1]], axis=2))
    data = encoded(soft, "PNG")
    assert np.abs(in_browser(page, data, rule).astype(int) - prepare(data, rule)).max() <= 1


@pytest.mark.parametrize(
    ("width", "height", "factor"), [(120, 140, 1), (300, 280, 2), (601, 473, 4), (1600, 1203, 8), (2400, 1800, 8)]
)
@pytest.mark.parametrize("subsampling", [0, 2])
def test_jpegs_differ_by_little(page: Page, width: int, height: int, factor: int, subsampling: int) -> None:
    rule = ResizeRule(size=96, crop=0.875, filter="bicubic")
    data = encoded(picture(width, height, width), "JPEG", quality=85, subsampling=subsampling)
    read = decode(data, math.ceil(rule.size / rule.crop))
    assert read.height == math.ceil(height / factor), "it is read at a smaller size"
    difference = np.abs(in_browser(page, data, rule).astype(int) - prepare(data, rule))
    assert difference.max() <= 3
    assert difference.mean() < 0.6


def test_what_is_no_photo_is_said_to_be_none(page: Page) -> None:
    script = """async (text) => {
      const { decode } = await import("/photo.js");
      return decode(new Blob([text]), 16).catch((problem) => [problem.kind, problem.message]);
    }"""
    assert page.evaluate(script, "") == ["unreadable", "the file is empty (0 bytes)"]
    assert page.evaluate(script, "apples and pears") == ["unreadable", "not an image that this browser can read"]


CLASSES = [
    ClassCard(label=path.rpartition("/")[2], category=path)
    for path in (
        "Fruit/Apple/Red",
        "Fruit/Apple/Green",
        "Fruit/Pear",
        "Fruit-Dried/Fig",
        "Milk/Oat",
        "Milk/Soy",
        "Ёлка",
    )
]


def decisions(**given: Any) -> Decisions:
    usual: dict[str, Any] = {
        "auto": Promise(threshold=0.7, photos=9),
        "coarse": Promise(threshold=0.6, photos=9),
        "unknown_above": 0.9,
        "set_least": 0.1,
    }
    return Decisions(precision_target=0.98, set_coverage=0.95, **usual | given)


@pytest.mark.parametrize(
    "chosen",
    [
        decisions(),
        decisions(auto=Promise(), coarse=Promise(threshold=0.5)),
        decisions(coarse=Promise(), unknown_above=None, set_least=None),
        decisions(auto_by_class=[0.5, None, 0.6, 0.7, 0.4, None, 0.9]),
        decisions(set_least_by_class=[0.05, None, 0.2, 0.3, None, 0.01, 0.02]),
    ],
    ids=["usual", "no auto", "no coarse, no sets", "by class", "sets by class"],
)
def test_decisions_are_pythons(page: Page, chosen: Decisions) -> None:
    random = np.random.default_rng(0)
    sharp = random.normal(size=(400, len(CLASSES))) * random.uniform(0, 5, (400, 1))
    probabilities = (np.exp(sharp) / np.exp(sharp).sum(axis=1, keepdims=True)).astype(np.float32)
    # Ties, and what is exactly as much as is asked for.
    probabilities[0] = np.float32(1 / len(CLASSES))
    probabilities[1, :3] = (0.7, 0.1, 0.2)
    unknown = random.uniform(0, 1, 400)
    expected = Rule(chosen, CLASSES)(probabilities, unknown)
    rows = [[row.tolist(), score] for row, score in zip(probabilities, unknown.tolist(), strict=True)]
    classes = [one.model_dump() for one in CLASSES]
    found = page.evaluate(DECIDE, [json.loads(chosen.model_dump_json()), classes, rows])
    assert [(one["decision"], one["category"], one["members"]) for one in found] == [
        (one.decision, one.category, one.members) for one in expected
    ]
    assert len({one.decision for one in expected}) > 1
