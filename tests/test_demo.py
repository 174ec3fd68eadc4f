"""The demo's data: idx archives become a folder and a table, whole or not at all, and once."""

from __future__ import annotations

import csv
import gzip
import hashlib
import importlib.util
import struct
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

SCRIPT = Path(__file__).resolve().parent.parent / "demo" / "fashion_mnist.py"
A_CLASS = {"train": 3, "t10k": 2}


def load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fashion_mnist", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


demo = load_script()


class Archives:
    """Four small idx archives, the sums of what they hold, and a way that hands them out and counts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls = 0
        self.images: dict[str, np.ndarray] = {}
        self.sums: dict[str, str] = {}
        random = np.random.default_rng(0)
        for part, count in A_CLASS.items():
            labels = np.tile(np.arange(10, dtype=np.uint8), count)
            self.images[part] = random.integers(0, 256, (len(labels), 28, 28), dtype=np.uint8)
            self.put(f"{part}-images-idx3-ubyte", self.images[part])
            self.put(f"{part}-labels-idx1-ubyte", labels)

    def put(self, name: str, values: np.ndarray) -> None:
        head = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape)
        content = head + values.tobytes()
        self.sums[name] = hashlib.sha256(content).hexdigest()
        (self.folder / f"{name}.gz").write_bytes(gzip.compress(content))

    def way(self, folder: Path) -> Path:
        self.calls += 1
        return self.folder

    def recipe(self, **changes: object) -> object:
        return demo.Recipe(**{"train": 2, "val": 1, "sums": self.sums, **changes})


@pytest.fixture
def archives(tmp_path: Path) -> Archives:
    folder = tmp_path / "archives"
    folder.mkdir()
    return Archives(folder)


def rows_of(table: Path) -> list[dict[str, str]]:
    with table.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_table_and_photos(tmp_path: Path, archives: Archives) -> None:
    table = demo.make(tmp_path / "cache", {"here": archives.way}, archives.recipe())
    rows = rows_of(table)
    assert table == tmp_path / "cache" / "fashion-mnist" / "products.csv"
    assert list(rows[0]) == ["image", "label", "split"]
    for split, count in (("train", 2), ("val", 1), ("test", 2)):
        labels = [row["label"] for row in rows if row["split"] == split]
        assert sorted(labels) == sorted(demo.LABELS * count)
    for row in rows:
        photo = Image.open(table.parent / row["image"])
        part, index = "t10k" if row["split"] == "test" else "train", int(Path(row["image"]).stem)
        assert (photo.mode, photo.format) == ("L", "PNG")
        assert demo.LABELS[index % 10] == row["label"]
        np.testing.assert_array_equal(np.asarray(photo), archives.images[part][index])
    official = [Path(row["image"]).name for row in rows if row["split"] != "test"]
    assert len(set(official)) == len(official), "training and validation share photos"


def test_the_seed_fixes_the_sample(tmp_path: Path, archives: Archives) -> None:
    samples = []
    for place, seed in (("a", 0), ("b", 0), ("c", 1)):
        table = demo.make(tmp_path / place, {"here": archives.way}, archives.recipe(seed=seed))
        samples.append(table.read_bytes())
    assert samples[0] == samples[1]
    assert samples[0] != samples[2]


def test_second_call_does_nothing(tmp_path: Path, archives: Archives) -> None:
    first = demo.make(tmp_path, {"here": archives.way}, archives.recipe())
    written = first.stat().st_mtime_ns
    second = demo.make(tmp_path, {"here": archives.way}, archives.recipe())
    assert (first, written, archives.calls) == (second, second.stat().st_mtime_ns, 1)


def test_other_content_is_refused(tmp_path: Path, archives: Archives) -> None:
    recipe = archives.recipe(sums=dict(archives.sums))
    archives.put("t10k-labels-idx1-ubyte", np.zeros(20, np.uint8))
    with pytest.raises(demo.DemoError, match=r"t10k-labels-idx1-ubyte\.gz is not the published one"):
        demo.make(tmp_path / "cache", {"here": archives.way}, recipe)
    assert list((tmp_path / "cache").iterdir()) == []


def test_cut_archive_is_refused(tmp_path: Path, archives: Archives) -> None:
    cut = archives.folder / "train-images-idx3-ubyte.gz"
    cut.write_bytes(cut.read_bytes()[:1000])
    with pytest.raises(demo.DemoError, match="cannot be unpacked"):
        demo.make(tmp_path / "cache", {"here": archives.way}, archives.recipe())


def test_next_way_is_taken(tmp_path: Path, archives: Archives) -> None:
    ways = {"there": lambda folder: folder, "here": archives.way}
    assert demo.make(tmp_path / "cache", ways, archives.recipe()).exists()


def test_failure_of_all_ways_is_one_line(tmp_path: Path, archives: Archives) -> None:
    def no_network(folder: Path) -> Path:
        raise OSError("no route to host")

    with pytest.raises(demo.DemoError) as failed:
        demo.make(tmp_path / "cache", {"a": no_network, "b": no_network}, archives.recipe())
    message = str(failed.value)
    assert "\n" not in message
    for part in ("a: no route to host; b: no route to host", "Connect to the network", "make demo DATA="):
        assert part in message


def test_interruption_leaves_nothing(tmp_path: Path, archives: Archives, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: Image.Image, path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Image.Image, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        demo.make(tmp_path / "cache", {"here": archives.way}, archives.recipe())
    assert list((tmp_path / "cache").iterdir()) == []


def test_missing_program_is_named(tmp_path: Path) -> None:
    with pytest.raises(demo.DemoError, match="no-such-program is not on this machine"):
        demo.call(["no-such-program"], tmp_path)


def test_unwritable_cache_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setattr(sys, "argv", ["fashion_mnist.py", str(tmp_path / "file" / "cache")])
    assert demo.main() == 1
    assert "choose another cache folder" in capsys.readouterr().err.splitlines()[0]
