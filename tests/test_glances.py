"""A glance at each photo: what it keeps, and that it is kept."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from drawn import Held, Told, encoded, picture
from kramar.auditing import glances
from kramar.data.manifest import Entry
from kramar.data.pixels import FORMATS
from kramar.errors import PhotoError


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KRAMAR_CACHE", str(tmp_path / "cache"))


def entry(name: str, data: bytes) -> Entry:
    return Entry(name, Held(data), hashlib.sha256(data).hexdigest(), "Cup", "Cup", "", "", len(data))


def test_each_photo_is_looked_at_once_and_its_facts_are_its_own() -> None:
    wide = encoded(picture(320, 240, 1), "JPEG", quality=95)
    dark = encoded(Image.fromarray(np.full((50, 40, 3), 9, np.uint8)), "PNG")
    photos = [
        entry("wide.jpg", wide),
        entry("dark.png", dark),
        entry("broken.jpg", b"no photo"),
        entry("again.jpg", wide),
    ]
    told = Told()
    found, places = glances.of(photos, told)
    assert places == [0, 1, 3]
    assert told.stages == [["Glancing at photos", 3, 3]]
    assert found.width.tolist() == [320, 40, 320]
    assert found.height.tolist() == [240, 50, 240]
    assert [FORMATS[int(place)] for place in found.format] == ["JPEG", "PNG", "JPEG"]
    assert found.animated.tolist() == [0, 0, 0]
    assert found.brightness[1] == 9
    assert found.contrast[1] == 0
    grey = np.asarray(picture(320, 240, 1).convert("L"), np.float64)
    assert found.brightness[0] == pytest.approx(grey.mean(), abs=1)
    assert found.contrast[0] == pytest.approx(grey.std(), abs=1)
    small = np.asarray(picture(320, 240, 1).convert("L").resize((64, 64), Image.Resampling.BILINEAR), int)
    assert np.abs(found.luma[0].astype(int) - small).mean() < 2
    assert found.chroma.shape == (3, 2, 16, 16)
    assert np.abs(found.chroma[1].astype(int) - 128).max() <= 1
    # Only the broken one is tried again.
    again, _ = glances.of(photos, told)
    assert told.stages[1] == ["Glancing at photos", 1, 1]
    assert np.array_equal(again.luma, found.luma)
    assert again.some(np.array([1])).width.tolist() == [40]


def test_blur_grows_with_a_blur_and_a_moved_camera_counts() -> None:
    blocks = np.random.default_rng(0).integers(0, 255, (20, 26), np.uint8)
    noise = Image.fromarray(blocks).resize((260, 200), Image.Resampling.NEAREST)
    levels = [
        glances.blur(np.asarray(noise.filter(ImageFilter.GaussianBlur(radius)), np.float32)) for radius in (0, 2, 4)
    ]
    assert levels == sorted(levels)
    assert levels[0] < 0.3
    assert levels[2] > 0.75
    moved = np.asarray(noise, np.float32)
    moved = np.mean([np.roll(moved, step, axis=1) for step in range(20)], axis=0, dtype=np.float32)
    assert glances.blur(moved) > 0.7
    assert glances.blur(np.full((30, 30), 7, np.float32)) == 0
    assert glances.blur(np.zeros((4, 4), np.float32)) == 0


def test_several_pictures_in_one_file_and_no_photo() -> None:
    frames = [picture(30, 30, seed) for seed in (1, 2)]
    moving = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert glances.of([entry("a.gif", moving)], Told())[0].animated.tolist() == [1]
    with pytest.raises(PhotoError):
        glances.glance(b"no photo")
    found, places = glances.of([], Told())
    assert places == []
    assert found.luma.shape == (0, 64, 64)
