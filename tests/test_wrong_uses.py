"""What goes wrong in a shop, each through the real command line: one line that says what to do, nothing half-written.

Exit 2 where the call or the data is wrong, 1 where the machine says no, 0 where single photos are.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import unescape
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from PIL import Image

from kramar import Run
from products import encoded, put, put_folder, put_huge
from shell import command, complaint, kramar, unfinished


@dataclass(frozen=True, slots=True)
class Place:
    """Where a wrong use happens: ``here`` is its own empty folder, in which kramar is called."""

    here: Path
    shop: Path
    run: Path

    @property
    def model(self) -> Path:
        """A good model file."""
        return self.run / "model.onnx"


@pytest.fixture
def place(tmp_path: Path, shop: Path, trained: Run) -> Place:
    return Place(tmp_path, shop, trained.path)


Use = Callable[[Place], list[str | Path]]
USES: dict[str, tuple[Use, str]] = {}


def wrong(message: str) -> Callable[[Use], Use]:
    """Register a use: it makes what it needs and gives the arguments; ``message`` is in the complaint."""

    def register(use: Use) -> Use:
        USES[use.__name__.replace("_", " ")] = use, message
        return use

    return register


@wrong("no-such-folder: no such folder or table; check the path (it is looked up from ")
def no_such_folder(place: Place) -> list[str | Path]:
    return ["train", "no-such-folder"]


@wrong("shop: expected class folders with photos (such as shop/Apple/1.jpg), found nothing; check the path")
def an_empty_folder(place: Place) -> list[str | Path]:
    (place.here / "shop").mkdir()
    return ["train", "shop"]


@wrong("found none but 1 no_label; put the photos into a folder a class")
def photos_without_class_folders(place: Place) -> list[str | Path]:
    put(place.here / "shop" / "1.jpg", "Box", 1)
    return ["train", "shop"]


@wrong("shop: expected training photos of at least two classes, found one class ('Box')")
def one_class_only(place: Place) -> list[str | Path]:
    put_folder(place.here / "shop", 9, ["Box"])
    return ["train", "shop"]


@wrong("products.csv: expected the column 'label', found 'image', 'group'; name yours with --columns label=group")
def a_table_with_a_wrong_column(place: Place) -> list[str | Path]:
    (place.here / "products.csv").write_text("image,group\n1.jpg,Box\n")
    return ["train", "products.csv"]


@wrong("expected rows with a photo and a label, found 1 missing (first: row 2: no file '1.jpg' in ")
def a_table_of_photos_that_are_not_there(place: Place) -> list[str | Path]:
    (place.here / "products.csv").write_text("image,label\n1.jpg,Box\n")
    return ["train", "products.csv"]


@wrong("found the URL 'https://shop.example/1.jpg'; download the photos first (wget -i urls.txt")
def a_table_of_image_urls(place: Place) -> list[str | Path]:
    (place.here / "products.csv").write_text("image,label\nhttps://shop.example/1.jpg,Box\n")
    return ["train", "products.csv"]


@wrong("a.xlsx: expected a folder or a table (.csv, ")
def a_table_of_another_kind(place: Place) -> list[str | Path]:
    (place.here / "a.xlsx").write_bytes(b"PK")
    return ["train", "a.xlsx"]


@wrong("shop: none of the 40 photos can be read, the first 'Box/0.jpg': not an image that Pillow can read")
def photos_that_are_all_unreadable(place: Place) -> list[str | Path]:
    for number in range(20):
        for label in ("Box", "Tent"):
            (place.here / "shop" / label).mkdir(parents=True, exist_ok=True)
            (place.here / "shop" / label / f"{number}.jpg").write_text(f"no photo {label} {number}")
    return ["train", "shop"]


@wrong("holds a run of other data (")
def a_run_of_other_data(place: Place) -> list[str | Path]:
    put_folder(place.here / "shop", 2)
    return ["train", "shop", "--out", place.run]


@wrong("expected an empty folder or a kramar run, found other files; use a new --out")
def a_folder_of_letters_for_a_run(place: Place) -> list[str | Path]:
    (place.here / "letters").mkdir()
    (place.here / "letters" / "one.txt").write_text("mine")
    return ["train", place.shop, "--out", "letters"]


@wrong("Missing argument 'data'")
def no_data(place: Place) -> list[str | Path]:
    return ["train"]


@wrong("--budget: expected a duration such as 90s, 10m or 1h30m, found 'soon'")
def a_budget_of_soon(place: Place) -> list[str | Path]:
    return ["train", place.shop, "--budget", "soon"]


@wrong("--seed: expected 0 or a positive whole number, found -1")
def a_negative_seed(place: Place) -> list[str | Path]:
    return ["train", place.shop, "--seed", "-1"]


@wrong("No such option: --bugdet (Possible options: --budget")
def an_unknown_option(place: Place) -> list[str | Path]:
    return ["train", place.shop, "--bugdet", "10m"]


@wrong("No such command 'trian'")
def an_unknown_command(place: Place) -> list[str | Path]:
    return ["trian", place.shop]


@wrong("no backbone called 'efficientnet_lite9'; did you mean efficientnet_lite")
def an_unknown_backbone(place: Place) -> list[str | Path]:
    return ["train", place.shop, "--backbone", "efficientnet_lite9"]


@wrong("--columns: expected pairs such as image=photo,label=group")
def columns_that_are_no_pairs(place: Place) -> list[str | Path]:
    return ["train", place.shop, "--columns", "photo"]


@wrong("expected a table for --columns, found a folder, which has no columns")
def columns_of_a_folder(place: Place) -> list[str | Path]:
    return ["train", place.shop, "--columns", "image=photo"]


@wrong("model.onnx: no such model file; expected the model.onnx of a kramar run")
def a_model_that_is_not_there(place: Place) -> list[str | Path]:
    return ["classify", "model.onnx", place.shop]


@wrong("model.onnx: expected an ONNX model that ONNX Runtime ")
def a_model_that_is_text(place: Place) -> list[str | Path]:
    (place.here / "model.onnx").write_text("version https://git-lfs.github.com/spec/v1\n")
    return ["classify", "model.onnx", place.shop]


@wrong("no such model file")
def a_model_that_is_a_folder(place: Place) -> list[str | Path]:
    return ["classify", place.run, place.shop]


@wrong("other.onnx: not a kramar model file (no 'kramar' metadata); use a kramar run's model.onnx")
def a_model_of_somebody_else(place: Place) -> list[str | Path]:
    kind = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "other",
        [helper.make_tensor_value_info("x", kind, [1])],
        [helper.make_tensor_value_info("y", kind, [1])],
    )
    other = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.save(other, place.here / "other.onnx")
    return ["evaluate", "other.onnx", place.shop]


@wrong("no-such.jpg: no such photo, folder or table, and no photo fits it as a pattern")
def classify_a_photo_that_is_not_there(place: Place) -> list[str | Path]:
    return ["classify", place.model, "no-such.jpg", "--out", "out.csv"]


@wrong("--out: expected a file ending in .csv, .jsonl, .parquet, found 'out.xlsx'")
def classify_into_an_unknown_format(place: Place) -> list[str | Path]:
    return ["classify", place.model, place.shop, "--out", "out.xlsx"]


@wrong("Missing argument 'photos'")
def classify_nothing(place: Place) -> list[str | Path]:
    return ["classify", place.model]


@wrong("--split: expected train, val, test or all, found 'exam'")
def evaluate_an_unknown_split(place: Place) -> list[str | Path]:
    return ["evaluate", place.model, place.shop, "--split", "exam"]


@wrong("expected labels of the model such as 'Box', found only others such as 'Lamp'")
def evaluate_on_unknown_labels(place: Place) -> list[str | Path]:
    put(place.here / "shop" / "Lamp" / "1.jpg", "Box", 1)
    return ["evaluate", place.model, "shop"]


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if not path.is_dir())


@pytest.mark.parametrize("name", USES)
def test_wrong_use_is_one_line_and_leaves_nothing(place: Place, name: str) -> None:
    use, message = USES[name]
    arguments = use(place)
    before = files(place.here)
    finished = {path: path.stat().st_mtime_ns for path in place.run.rglob("*")}
    done = kramar(*arguments, cwd=place.here)
    assert message in complaint(done, 2)
    assert not done.stdout
    assert files(place.here) == before
    assert {path: path.stat().st_mtime_ns for path in place.run.rglob("*")} == finished


# The machine says no


@contextmanager
def full_disk(folder: Path, kilobytes: int) -> Iterator[str]:
    """A disk of so many kilobytes at ``folder``; gives Python to run before kramar.

    Where nothing may be mounted, the process may write no file longer than that, which is as real a refusal.
    """
    folder.mkdir(parents=True)
    options = ["-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
    mounted = sys.platform == "linux" and os.geteuid() == 0
    mounted = mounted and not subprocess.run(["mount", *options], capture_output=True, check=False).returncode
    try:
        limit = 1024 * kilobytes
        yield "pass" if mounted else f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))"
    finally:
        if mounted:
            subprocess.run(["umount", str(folder)], check=True)


FULL = ("the disk is full; free some space or write elsewhere", "could not be written (File too large)")


def test_disk_full_for_the_run(place: Place) -> None:
    disk = place.here / "disk"
    with full_disk(disk, 2048) as first:
        said = complaint(kramar("train", place.shop, "--out", disk / "run", first=first), 1)
        assert any(full in said for full in FULL), said
        assert not unfinished(disk)
    done = kramar("train", place.shop, "--out", disk / "run", "--json")
    assert done.returncode == 0, "with space, the same command goes on"


def test_disk_full_for_the_cache(place: Place) -> None:
    put_folder(place.here / "shop", 40, start=700)
    cache = place.here / "cache"
    cache.mkdir()
    (cache / "backbones").symlink_to(Path(os.environ["KRAMAR_CACHE"]) / "backbones")
    with full_disk(cache / "features", 400) as first:
        done = kramar("train", "shop", "--out", "run", first=first, cwd=place.here, KRAMAR_CACHE=str(cache))
        said = complaint(done, 1)
        assert any(full in said for full in FULL), said
        assert str(cache) in said
    assert not unfinished(place.here)


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_disk_full_for_predictions(place: Place, suffix: str) -> None:
    disk = place.here / "disk"
    with full_disk(disk, 4) as first:
        out = disk / f"out.{suffix}"
        done = kramar("classify", place.model, *[place.shop] * 5, "--out", out, first=first)
        said = complaint(done, 1)
        assert any(full in said for full in FULL), said
        assert not list(disk.iterdir())


def not_writable(place: Place) -> Path:
    """A folder in which nobody, and root least of all, can make anything."""
    if os.geteuid():
        place.here.chmod(0o555)
        return place.here
    return Path("/sys")


def test_not_writable_for_the_run(place: Place) -> None:
    said = complaint(kramar("train", place.shop, "--out", not_writable(place) / "kramar-run"), 1)
    assert "kramar-run: not writable (" in said
    assert "choose another place or change its permissions" in said


def test_not_writable_for_the_cache(place: Place) -> None:
    cache = not_writable(place) / "kramar-cache"
    out = place.here / "run" if not os.geteuid() else place.run
    done = kramar("train", place.shop, "--seed", "3", "--out", out, KRAMAR_CACHE=str(cache))
    assert "kramar-cache" in complaint(done, 1)
    assert out == place.run or not unfinished(out)


def test_not_writable_for_predictions(place: Place) -> None:
    out = not_writable(place) / "kramar.csv"
    assert "kramar.csv: not writable (" in complaint(kramar("classify", place.model, place.shop, "--out", out), 1)


@pytest.mark.parametrize("what", ["run", "cache", "predictions"])
def test_a_file_where_a_folder_should_be(place: Place, what: str) -> None:
    (place.here / "file").write_text("mine")
    below = place.here / "file" / "below"
    arguments: dict[str, list[str | Path]] = {
        "run": ["train", place.shop, "--out", below],
        "cache": ["train", place.shop, "--out", place.here / "run"],
        "predictions": ["classify", place.model, place.shop, "--out", below / "out.csv"],
    }
    environment = {"KRAMAR_CACHE": str(below)} if what == "cache" else {}
    said = complaint(kramar(*arguments[what], **environment), 1)
    assert "file" in said
    assert not unfinished(place.here)
    assert (place.here / "file").read_text() == "mine"


# Single photos


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
GOOD = ("one pixel.png", "quote\"s and 'more'.jpg", "new\nline.jpg", "🍎 <b>яблуко</b>.jpg")


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop whose class ``Box`` has every kind of bad photo, and good ones with odd names."""
    shop = put_folder(tmp_path_factory.mktemp("mixed") / "shop", 10, start=800)
    box = shop / "Box"
    for number, name in enumerate(GOOD[1:]):
        (box / name).write_bytes(encoded("Box", 850 + number))
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
    done = kramar("train", mixed, "--out", mixed.parent / "run")
    assert done.returncode == 0, done.stderr
    assert "Left out      " in done.stdout
    return mixed.parent / "run"


def test_bad_photos_are_counted_and_listed(mixed_run: Path) -> None:
    data = json.loads((mixed_run / "run.json").read_text(encoding="utf-8"))["data"]
    assert data["photos"] == 30 + len(GOOD)
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
    assert "<b>яблуко</b>" not in page


def test_bad_photos_are_rows_with_an_error(place: Place, mixed: Path) -> None:
    done = kramar("classify", place.model, mixed / "Box", mixed / "Box" / "selfish.jpg", "--json")
    if done.returncode:  # a link to itself is no photo that could be named
        assert "selfish.jpg: no such photo" in complaint(done, 2)
        done = kramar("classify", place.model, mixed / "Box", "--json")
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


def test_a_huge_photo_costs_no_memory(place: Place, mixed: Path) -> None:
    without = peak("classify", place.model, place.shop / "Box")
    having = peak("classify", place.model, place.shop / "Box", mixed / "Box" / "huge.png")
    assert having < without + 40, "decoded it would be 7,500 MB"


def test_a_huge_photo_costs_no_memory_in_training(mixed_run: Path) -> None:
    assert json.loads((mixed_run / "run.json").read_text(encoding="utf-8"))["peak_memory_bytes"] < 1.5e9


def test_labels_that_differ_by_case_are_a_warning(tmp_path: Path, trained: Run) -> None:
    for start, label in enumerate(("Box", "box", "Box ")):
        for number in range(6):
            put(tmp_path / "shop" / label / f"{number}.jpg", "Box", 900 + 10 * start + number)
    done = kramar("train", "shop", cwd=tmp_path)
    assert done.returncode == 0
    assert "Warning: labels that differ only by case or spaces are kept apart: 'Box', 'Box ', 'box'" in done.stderr
