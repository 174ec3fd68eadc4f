"""Bad photos among good ones: left out, counted and shown, and the run goes on in flat memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kramar import Run
from products import encoded, put, put_folder, put_huge
from shell import command, kramar

BAD = {
    "zero.jpg": ("unreadable", "the file is empty (0 bytes)"),
    "truncated.jpg": ("unreadable", "broken: "),
    "text.jpg": ("unreadable", "not an image that Pillow can read"),
    "huge.png": ("too_large", "pixels"),
    "loop": ("symlink_loop", "the link leads to a folder that it is in"),
    "selfish.jpg": ("symlink_loop", "the link leads to itself"),
    "nowhere.jpg": ("missing", "the link leads nowhere"),
    "notes.txt": ("not_an_image", "not named like a photo"),
}
GOOD = ("one pixel.png", "quote\"s and 'more'.jpg", "new\nline.jpg", "🍎 <b>яблуко.jpg")


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop whose class ``Box`` has every kind of bad photo, good ones with odd names, and a double, ``box ``."""
    shop = put_folder(tmp_path_factory.mktemp("mixed") / "shop", 10, start=800)
    box = shop / "Box"
    for number, name in enumerate(GOOD[1:]):
        (box / name).write_bytes(encoded("Box", 850 + number))
    for number in range(6):
        put(shop / "box " / f"{number}.jpg", "Box", 870 + number)
    Image.fromarray(np.full((1, 1, 3), 200, np.uint8)).save(box / GOOD[0])
    (box / "zero.jpg").write_bytes(b"")
    (box / "truncated.jpg").write_bytes(encoded("Box", 860)[:400])
    (box / "text.jpg").write_text("no photo")
    (box / "notes.txt").write_text("call the printer")
    put_huge(box / "huge.png")
    (box / "loop").symlink_to(box)
    (box / "selfish.jpg").symlink_to(box / "selfish.jpg")
    (box / "nowhere.jpg").symlink_to("gone.jpg")
    return shop


@pytest.fixture(scope="module")
def mixed_run(mixed: Path, trained: Run) -> Path:
    done = kramar("train", "--rungs", "head", mixed, "--out", mixed.parent / "run")
    assert done.returncode == 0, done.stderr
    assert "Left out      " in done.stdout
    assert "Warning: labels that differ only by case or spaces are kept apart: 'Box', 'box '" in done.stderr
    return mixed.parent / "run"


def test_bad_photos_are_counted_and_listed(mixed_run: Path) -> None:
    data = json.loads((mixed_run / "run.json").read_text(encoding="utf-8"))["data"]
    assert data["photos"] == 30 + 6 + len(GOOD)
    assert data["left_out"] == Counter(kind for kind, _ in BAD.values())
    listed = {item["image"]: (item["kind"], item["detail"]) for item in data["left_out_files"]}
    assert listed.keys() == {f"Box/{name}" for name in BAD}
    for name, (kind, detail) in BAD.items():
        assert listed[f"Box/{name}"][0] == kind, name
        assert detail in listed[f"Box/{name}"][1], name


def test_bad_photos_are_in_the_report(mixed_run: Path) -> None:
    page = (mixed_run / "report.html").read_text(encoding="utf-8")
    for name, (_, detail) in BAD.items():
        assert f"Box/{name}" in page
        assert detail in unescape(page)
    assert "<b>яблуко" not in page


def test_bad_photos_are_rows_with_an_error(trained: Run, mixed: Path) -> None:
    done = kramar("classify", trained.path / "model.onnx", mixed / "Box", "--json")
    assert done.returncode == 0, done.stderr
    rows = {Path(row["image"]).name: row for row in json.loads(done.stdout)["predictions"]}
    assert set(GOOD) <= rows.keys()
    assert not any(rows[name]["error"] for name in GOOD)
    for name in ("zero.jpg", "truncated.jpg", "text.jpg", "huge.png"):
        assert BAD[name][1] in rows[name]["error"]
        assert rows[name]["label"] == ""


def peak(*arguments: str | Path) -> float:
    """The most memory, in MB, that a command held."""
    with subprocess.Popen(command(*arguments), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def test_a_huge_photo_costs_no_memory(trained: Run, shop: Path, mixed: Path) -> None:
    without = peak("classify", trained.path / "model.onnx", shop / "Box")
    having = peak("classify", trained.path / "model.onnx", shop / "Box", mixed / "Box" / "huge.png")
    assert having < without + 40, "decoded it would be 7,500 MB"


def test_a_huge_photo_costs_no_memory_in_training(mixed_run: Path) -> None:
    assert json.loads((mixed_run / "run.json").read_text(encoding="utf-8"))["peak_memory_bytes"] < 1.5e9
