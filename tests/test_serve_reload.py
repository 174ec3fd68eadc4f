"""A model file that is replaced while it is served: no request fails, and each answer is wholly from one model."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from kramar.errors import ModelFileError
from kramar.serving.live_model import LiveModel
from kramar.serving.settings import ServeConfig
from served import FORM, FRUIT, PHOTOS, TREES, form, inside, model_file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return model_file(tmp_path / "model.onnx")


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_file_that_stays_is_left_alone(path: Path) -> None:
    live = LiveModel(path, 1)
    before = live.current
    assert live.look() is None
    assert live.current is before
    assert (before.sha256, live.problem) == (sha256(path), "")


def test_a_new_file_takes_the_old_ones_place(path: Path) -> None:
    live = LiveModel(path, 1)
    before = live.current
    model_file(path, TREES)
    assert live.look() is True
    assert (live.current.model.classes, live.current.sha256) == (list(TREES), sha256(path))
    assert before.model.classify(PHOTOS[:1])[0].label in FRUIT, "who has the old one keeps it"
    assert live.look() is None


def test_a_file_of_the_same_size_and_time_is_seen(path: Path) -> None:
    live, when = LiveModel(path, 1), path.stat()
    labels = ("fig", "apple", "kiwi")
    model_file(path, labels)
    os.utime(path, ns=(when.st_atime_ns, when.st_mtime_ns))
    assert path.stat().st_size == when.st_size
    assert live.look() is True
    assert live.current.model.classes == list(labels)


@pytest.mark.parametrize("content", [b"", b"no model", None], ids=["empty", "text", "half"])
def test_a_broken_file_changes_nothing_and_is_told_once(path: Path, content: bytes | None) -> None:
    live, good = LiveModel(path, 1), path.read_bytes()
    before = live.current
    path.write_bytes(good[: len(good) // 2] if content is None else content)
    assert live.look() is False
    assert live.current is before
    assert str(path) in live.problem
    assert live.look() is None, "told once"
    model_file(path, TREES)
    assert live.look() is True
    assert (live.current.model.classes, live.problem) == (list(TREES), "")


def test_a_file_that_is_gone_for_a_while(path: Path) -> None:
    live = LiveModel(path, 1)
    beside = path.rename(path.with_suffix(".away"))
    assert live.look() is False
    assert "no such model file" in live.problem
    beside.rename(path)
    assert live.look() is True
    assert live.problem == ""


def test_the_first_file_must_be_one(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError):
        LiveModel(tmp_path / "none.onnx", 1)


def ask(client: TestClient) -> tuple[int, set[str], str]:
    answer = client.post("/v1/classify", content=form(*PHOTOS[:3]), headers={"Content-Type": FORM})
    labels = {one["label"] for row in answer.json()["predictions"] for one in row["top"]}
    return answer.status_code, labels, answer.headers["x-kramar-model"]


def test_requests_while_the_file_is_replaced(path: Path) -> None:
    known = {sha256(path): set(FRUIT)}
    with inside(ServeConfig(path, poll=0.001)) as client, ThreadPoolExecutor(4) as clients:
        answers = []
        for number in range(8):
            labels = (TREES, FRUIT)[number % 2]
            answers += [clients.submit(ask, client) for _ in range(25)]
            if number == 3:
                path.with_suffix(".bad").write_bytes(b"no model")
                path.with_suffix(".bad").replace(path)
                while not client.get("/readyz").json()["reload_problem"]:
                    pass
            model_file(path, labels, sharpness=0.05 + number / 1000)
            known[sha256(path)] = set(labels)
            while client.get("/readyz").json()["sha256"] != sha256(path):
                pass
        found = [answer.result() for answer in answers]
        while 'kramar_model_reloads_total{result="loaded"} 8.0' not in (figures := client.get("/metrics").text):
            pass
    assert len(found) == 200
    for status, labels, model in found:
        assert (status, labels) == (200, known[model])
    assert 'kramar_model_reloads_total{result="refused"} 1.0' in figures
