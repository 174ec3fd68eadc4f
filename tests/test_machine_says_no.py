"""What the machine refuses, through the real command line: exit 1 and one line, and nothing is half-written."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kramar import Run
from products import put_folder
from shell import complaint, kramar, unfinished


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


FULL = ("the disk is full; free some space or write elsewhere", "File too large")


def test_disk_full_for_the_run(tmp_path: Path, shop: Path, trained: Run) -> None:
    disk = tmp_path / "disk"
    with full_disk(disk, 2048) as first:
        said = complaint(kramar("train", "--rungs", "head", shop, "--out", disk / "run", first=first), 1)
        assert any(full in said for full in FULL), said
        assert not unfinished(disk)


def test_disk_full_for_the_cache(tmp_path: Path, shop: Path, trained: Run) -> None:
    put_folder(tmp_path / "shop", 40, start=700)
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "backbones").symlink_to(Path(os.environ["KRAMAR_CACHE"]) / "backbones")
    with full_disk(cache / "features", 400) as first:
        done = kramar(
            "train", "--rungs", "head", "shop", "--out", "run", first=first, cwd=tmp_path, KRAMAR_CACHE=str(cache)
        )
        said = complaint(done, 1)
        assert any(full in said for full in FULL), said
        assert str(cache) in said
    assert not unfinished(tmp_path)


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_disk_full_for_predictions(tmp_path: Path, shop: Path, trained: Run, suffix: str) -> None:
    disk = tmp_path / "disk"
    with full_disk(disk, 1) as first:
        (disk / "others").write_bytes(bytes(4096))  # as much as the smallest disk holds
        out = disk / f"out.{suffix}"
        done = kramar("classify", trained.path / "model.onnx", *[shop] * 5, "--out", out, first=first)
        said = complaint(done, 1)
        assert any(full in said for full in FULL), said
        assert [path.name for path in disk.iterdir()] == ["others"]


def not_writable(tmp_path: Path) -> Path:
    """A folder in which this user, root or not, can make nothing."""
    if os.geteuid() == 0:
        return Path("/sys")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    return closed


def test_not_writable_for_the_run(tmp_path: Path, shop: Path, trained: Run) -> None:
    said = complaint(kramar("train", "--rungs", "head", shop, "--out", not_writable(tmp_path) / "kramar-run"), 1)
    assert "kramar-run: not writable (" in said
    assert "choose another place or change its permissions" in said


def test_not_writable_for_the_cache(tmp_path: Path, shop: Path, trained: Run) -> None:
    cache = not_writable(tmp_path) / "kramar-cache"
    done = kramar("train", "--rungs", "head", shop, "--out", tmp_path / "run", KRAMAR_CACHE=str(cache))
    assert "kramar-cache" in complaint(done, 1)
    assert not unfinished(tmp_path)


def test_not_writable_for_predictions(tmp_path: Path, shop: Path, trained: Run) -> None:
    out = not_writable(tmp_path) / "kramar.csv"
    done = kramar("classify", trained.path / "model.onnx", shop, "--out", out)
    assert "kramar.csv: not writable (" in complaint(done, 1)


@pytest.mark.parametrize("what", ["run", "cache", "predictions"])
def test_a_file_where_a_folder_should_be(tmp_path: Path, shop: Path, trained: Run, what: str) -> None:
    (tmp_path / "file").write_text("mine")
    below = tmp_path / "file" / "below"
    arguments: dict[str, list[str | Path]] = {
        "run": ["train", "--rungs", "head", shop, "--out", below],
        "cache": ["train", "--rungs", "head", shop, "--out", tmp_path / "run"],
        "predictions": ["classify", trained.path / "model.onnx", shop, "--out", below / "out.csv"],
    }
    cache = str(below) if what == "cache" else os.environ["KRAMAR_CACHE"]
    said = complaint(kramar(*arguments[what], KRAMAR_CACHE=cache), 1)
    assert "file" in said
    assert not unfinished(tmp_path)
    assert (tmp_path / "file").read_text() == "mine"
