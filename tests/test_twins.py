"""Near twins: copies are found, other photos of the same thing are not, and nothing is chained."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps

from drawn import Held, Told
from kramar.auditing import glances, overlay, twins
from kramar.auditing.glances import Glances
from kramar.data.manifest import Entry

SIZE = (300, 240)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KRAMAR_CACHE", str(tmp_path / "cache"))


def scene(seed: int, size: tuple[int, int] = SIZE) -> Image.Image:
    """Shapes on a ground, as many as make every scene its own."""
    random = np.random.default_rng(seed)
    image = Image.new("RGB", size, tuple(random.integers(60, 200, 3).tolist()))
    pen = ImageDraw.Draw(image)
    for _ in range(30):
        x, y = random.uniform(0, size[0]), random.uniform(0, size[1])
        radius = random.uniform(8, 45)
        colour = tuple(random.integers(0, 256, 3).tolist())
        if random.uniform() < 0.5:
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
        else:
            pen.regular_polygon((x, y, radius), 3, int(random.integers(0, 360)), fill=colour)
    return image.filter(ImageFilter.GaussianBlur(1))


def looked_at(images: list[Image.Image], quality: int = 92) -> Glances:
    entries = []
    for number, image in enumerate(images):
        out = io.BytesIO()
        image.save(out, "JPEG", quality=quality)
        data = out.getvalue()
        name = f"{number}.jpg"
        entries.append(Entry(name, Held(data), hashlib.sha256(data + bytes([number])).hexdigest(), "", "", "", ""))
    found, places = glances.of(entries, Told())
    assert len(places) == len(images)
    return found


def marked(image: Image.Image) -> Image.Image:
    mark = Image.new("RGBA", image.size, (0, 0, 0, 0))
    pen = ImageDraw.Draw(mark)
    pen.text((image.width / 2, image.height / 2), "kramar", (255, 255, 255, 130), anchor="mm", font_size=40)
    return Image.alpha_composite(image.convert("RGBA"), mark).convert("RGB")


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "smaller": lambda image: image.resize((180, 144), Image.Resampling.BICUBIC),
    "cropped": lambda image: image.crop((3, 10, 288, 238)),
    "mirrored": ImageOps.mirror,
    "marked": marked,
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.2),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.8),
}


@pytest.mark.parametrize("kind", COPIES)
def test_a_copy_is_found_among_other_photos(kind: str) -> None:
    others = [scene(seed) for seed in range(20)]
    found, likeness = twins.groups(looked_at([*others, COPIES[kind](others[7])]))
    assert found[7] == found[20]
    assert len(set(found.tolist())) == 20
    assert likeness.min() > 0.9


def test_a_copy_is_found_at_a_poor_quality_and_in_few_pixels() -> None:
    others = [scene(seed) for seed in range(12)]
    poor = looked_at([*others, others[3].copy()], quality=40)
    assert twins.groups(poor)[0][12] == twins.groups(poor)[0][3]
    tiny = [image.resize((40, 32), Image.Resampling.BICUBIC) for image in others]
    found, _ = twins.groups(looked_at([*tiny, tiny[5].resize((24, 19), Image.Resampling.BICUBIC)], quality=90))
    assert found[12] == found[5]
    assert len(set(found.tolist())) == 12


def test_another_photo_of_the_same_thing_is_no_twin() -> None:
    def taken(seed: int, *, shift: int = 0, colour: str = "navy", label: str = "OAT") -> Image.Image:
        image = Image.new("RGB", SIZE, "white")
        pen = ImageDraw.Draw(image)
        pen.rounded_rectangle((90 + shift, 30, 210 + shift, 220), 20, fill=colour)
        pen.ellipse((110 + shift, 60, 190 + shift, 120), fill="gold")
        pen.text((150 + shift, 170), label, "white", anchor="mm", font_size=44)
        noise = np.random.default_rng(seed).normal(0, 2, (SIZE[1], SIZE[0], 3))
        return Image.fromarray((np.asarray(image) + noise).clip(0, 255).astype(np.uint8))

    shelf = [taken(1), taken(2, colour="darkred"), taken(3, label="SOY"), taken(4, shift=45)]
    found, _ = twins.groups(looked_at(shelf))
    assert found.tolist() == [0, 1, 2, 3]
    same, _ = twins.groups(looked_at([taken(1), taken(5)]))
    assert same.tolist() in ([0, 0], [1, 1])


def test_medoids_lead_and_nothing_is_chained() -> None:
    # A burst: each matches the next only.
    first, second = np.array([0, 1, 2, 3]), np.array([1, 2, 3, 4])
    lead, likeness = twins.medoids(6, first, second, np.full(4, 0.95, np.float32))
    assert lead.tolist() == [1, 1, 1, 3, 3, 5]
    assert likeness.tolist() == pytest.approx([0.95, 1, 0.95, 1, 0.95, 1])
    # The one that most others match leads, whatever its number.
    star, _ = twins.medoids(5, np.array([0, 1, 2]), np.array([4, 4, 4]), np.ones(3, np.float32))
    assert star.tolist() == [4, 4, 4, 3, 4]
    alone, _ = twins.medoids(2, np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))
    assert alone.tolist() == [0, 1]


def test_more_copies_than_neighbours_are_one_group() -> None:
    copies = [ImageEnhance.Brightness(scene(1)).enhance(0.8 + 0.01 * step) for step in range(4 * twins.NEIGHBOURS)]
    others = [scene(seed) for seed in range(2, 8)]
    found, _ = twins.groups(looked_at([*copies, *others]))
    assert len(set(found[: len(copies)].tolist())) == 1
    assert len(set(found.tolist())) == 1 + len(others)


def test_one_photo_or_none_has_no_twin() -> None:
    assert twins.groups(looked_at([scene(1)]))[0].tolist() == [0]
    assert twins.groups(looked_at([]))[0].tolist() == []


def test_pictures_are_laid_over_each_other_where_they_were_moved_from() -> None:
    random = np.random.default_rng(0)
    big = np.asarray(
        Image.fromarray(random.integers(0, 255, (8, 8), np.uint8)).resize((400, 400), Image.Resampling.BICUBIC)
    )
    whole = np.asarray(Image.fromarray(big).resize((64, 64), Image.Resampling.BOX), np.float32)[None]
    part = np.asarray(Image.fromarray(big[10:390, 0:380]).resize((64, 64), Image.Resampling.BOX), np.float32)[None]
    found = overlay.laid(whole, 0.9 * part + 12, 8)
    assert found.edges[0] > 0.99
    assert found.share[0] > 0.8
    # 95% of both sides: cut on the right, and on both ends from top to bottom.
    assert found.moved[0] == pytest.approx([0.95, -0.05, 0.95, 0.0], abs=0.01)
    other = overlay.laid(whole, whole[:, ::-1], 8)
    assert other.edges[0] < 0.7


def test_means_over_a_grid_are_those_of_whole_blocks() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (2, 64, 64), np.uint8)
    blocks = picture.reshape(2, 16, 4, 16, 4).mean(axis=(2, 4))
    assert twins.shrunk(picture, 16) == pytest.approx(blocks, abs=1e-3)
    assert twins.shrunk(picture, 20).mean() == pytest.approx(picture.mean(), abs=1e-2)
