"""A run that is killed, again and again: the same command ends with the same model and repeats nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kramar import Run
from kramar.models import backbones
from products import put_folder
from shell import command, contents

PHOTOS = 120


class Killed:
    """One run that was killed at three moments and then finished, and one that was left in peace."""

    def __init__(self, folder: Path, warm: Path) -> None:
        self.data = put_folder(folder / "shop", PHOTOS // 3, start=100)
        self.moments: list[str] = []
        self.peaceful = self._cache(folder / "peaceful", warm)
        peaceful = self._start(self.peaceful)
        self.killed = self._cache(folder / "killed", warm)
        self._kill("some photos seen", lambda: 0 < len(self.rows(self.killed)) < PHOTOS)
        self.rows_when_killed = self.rows(self.killed)
        self._kill("the head is fitted", lambda: any(self.killed.glob("run/models/*")))
        self._kill("the model file is there", (self.killed / "run" / "model.onnx").exists)
        self._finish(self._start(self.killed))
        self._finish(peaceful)

    @staticmethod
    def _cache(folder: Path, warm: Path) -> Path:
        """A cache of its own, which has the converted backbone but no photo."""
        (folder / "cache").mkdir(parents=True)
        (folder / "cache" / "backbones").symlink_to(warm / "backbones")
        return folder

    def _start(self, folder: Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command("train", "--rungs", "head", self.data, "--out", "run", "--json"),
            cwd=folder,
            env={**os.environ, "KRAMAR_CACHE": str(folder / "cache")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def _kill(self, moment: str, has_come: Callable[[], bool]) -> None:
        with self._start(self.killed) as process:
            while process.poll() is None and not has_come():
                time.sleep(0.002)
            if process.poll() is None and not (self.killed / "run" / "run.json").exists():
                self.moments.append(moment)
            process.send_signal(signal.SIGKILL)
            process.communicate()

    @staticmethod
    def _finish(started: subprocess.Popen[str]) -> None:
        with started as process:
            out, err = process.communicate()
        assert process.returncode == 0, err
        assert json.loads(out)["metrics"]["test"]

    @staticmethod
    def rows(folder: Path) -> list[bytes]:
        """The photos in the feature store, as often as they are in it."""
        data = b"".join(path.read_bytes() for path in folder.glob("cache/features/*/photos.sha256"))
        return [data[place : place + 32] for place in range(0, len(data), 32)]

    @staticmethod
    def embeddings(folder: Path) -> bytes:
        return b"".join(path.read_bytes() for path in folder.glob("cache/features/*/embeddings.f32"))


@pytest.fixture(scope="module")
def killed(trained: Run, tmp_path_factory: pytest.TempPathFactory) -> Killed:
    return Killed(tmp_path_factory.mktemp("kill"), Path(os.environ["KRAMAR_CACHE"]))


def test_it_was_killed_at_every_moment(killed: Killed) -> None:
    assert killed.moments == ["some photos seen", "the head is fitted", "the model file is there"]


def test_a_killed_run_ends_with_the_same_model(killed: Killed) -> None:
    ours, theirs = (folder / "run" / "model.onnx" for folder in (killed.killed, killed.peaceful))
    assert ours.read_bytes() == theirs.read_bytes()
    metrics = [json.loads((f / "run" / "run.json").read_text())["metrics"] for f in (killed.killed, killed.peaceful)]
    assert metrics[0] == metrics[1]


def test_a_killed_run_computes_no_feature_twice(killed: Killed) -> None:
    rows, width = killed.rows(killed.killed), backbones.find("efficientnet_lite0").width
    assert len(rows) == len(set(rows)) == PHOTOS
    assert len(killed.embeddings(killed.killed)) == PHOTOS * width * 4
    assert rows[: len(killed.rows_when_killed)] == killed.rows_when_killed
    assert len(killed.rows_when_killed) >= 64


def test_a_killed_run_leaves_no_temporary_file(killed: Killed) -> None:
    assert contents(killed.killed / "run").keys() == contents(killed.peaceful / "run").keys()
    times = [json.loads((f / "run" / "run.json").read_text())["seconds"] for f in (killed.killed, killed.peaceful)]
    assert times[0]["total"] > times[0]["rooms"]["features"], "seconds count what was spent before the kills"
