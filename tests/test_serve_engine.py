"""Batches, queue and deadline: what waits, what is refused, what is dropped."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from drawn import encoded
from kramar.data.pixels import Pixels
from kramar.errors import PhotoError, RequestError
from kramar.records import Prediction
from kramar.runtime.model import Answer, Model, PhotoLike
from kramar.serving import settings
from kramar.serving.engine import Asks, Engine
from kramar.serving.metrics import Metrics
from kramar.serving.settings import Limits, ServeConfig
from kramar.serving.submitted import Submitted
from served import FRUIT, PHOTOS, TREES, inside, model_file

T = TypeVar("T")


class Held(Model):
    """A model that remembers its batches, and sees none before ``may`` is set."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, threads=1)
        self.may, self.sees = threading.Event(), threading.Event()
        self.batches: list[int] = []
        self.fails = False
        self.decoders: list[str] = []

    def pixels(self, photo: PhotoLike) -> Pixels:
        self.decoders.append(threading.current_thread().name)
        return super().pixels(photo)

    def answers(self, images: Pixels) -> list[Answer]:
        self.batches.append(len(images))
        self.sees.set()
        self.may.wait()
        if self.fails:
            raise MemoryError
        return super().answers(images)


@pytest.fixture
def model(tmp_path: Path) -> Held:
    return Held(model_file(tmp_path / "model.onnx"))


@asynccontextmanager
async def engine(config: ServeConfig, *models: Held) -> AsyncIterator[Engine]:
    made = Engine(config, Metrics())
    try:
        yield made
    finally:
        for model in models:
            model.may.set()
        await asyncio.to_thread(made.close)


async def until(done: Callable[[], bool]) -> None:
    while not done():
        await asyncio.sleep(0.001)


def run(test: Callable[[], Awaitable[T]]) -> T:
    async def limited() -> T:
        async with asyncio.timeout(30):
            return await test()

    return asyncio.run(limited())


def photos(*data: bytes) -> list[Submitted]:
    return [Submitted(str(number), one) for number, one in enumerate(data)]


@pytest.fixture(autouse=True)
def one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "cores", lambda: 1)


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch, one_core: None) -> None:
    del one_core
    monkeypatch.setattr(settings, "cores", lambda: 2)


def test_batches_fill_while_the_model_is_busy(model: Held) -> None:
    async def test() -> None:
        async with engine(ServeConfig(model.path, max_batch=8), model) as made:
            first = asyncio.create_task(made.answer(model, photos(PHOTOS[0])))
            await until(model.sees.is_set)
            others = [asyncio.create_task(made.answer(model, photos(one))) for one in PHOTOS[1:11]]
            await until(lambda: len(made._ready) == 10)
            model.may.set()
            found = [row for task in (first, *others) for row in await task]
        assert model.batches == [1, 8, 2]
        assert [one.label for one in found if isinstance(one, Prediction)] == [
            one.label for one in model.classify(PHOTOS[:11])
        ]

    run(test)


@pytest.mark.usefixtures("two_cores")
def test_each_core_has_photos_of_its_own(model: Held) -> None:
    async def test() -> None:
        async with engine(ServeConfig(model.path), model) as made:
            tasks = [asyncio.create_task(made.answer(model, photos(*PHOTOS[:2]))) for _ in range(3)]
            # Nobody may be answered yet: two threads see photos at the same time, and no third one.
            await until(lambda: len(model.batches) == 2 and sum(model.batches) + len(made._ready) == 6)
            model.may.set()
            await asyncio.gather(*tasks)
        assert sum(model.batches) == 6

    run(test)


@pytest.mark.usefixtures("two_cores")
def test_a_photo_alone_has_all_cores_and_is_not_joined(model: Held) -> None:
    alone = Held(model.path)
    asks = Asks(model.answers, alone.answers)

    async def test() -> None:
        async with engine(ServeConfig(model.path), model, alone) as made:
            first = asyncio.create_task(made.answer(model, photos(PHOTOS[0]), asks))
            await until(alone.sees.is_set)
            second = asyncio.create_task(made.answer(model, photos(PHOTOS[1]), asks))
            await until(lambda: len(made._ready) == 1)
            assert not model.batches, "one more waits for all cores: it is answered sooner than by one of them"
            third = asyncio.create_task(made.answer(model, photos(PHOTOS[2]), asks))
            await until(model.sees.is_set)
            alone.may.set()
            model.may.set()
            await asyncio.gather(first, second, third)
            await made.answer(model, photos(PHOTOS[3]), asks)
        assert alone.batches == [1, 1]
        assert sum(model.batches) == 2

    run(test)


def test_each_batch_is_of_one_model(model: Held, tmp_path: Path) -> None:
    newer = Held(model_file(tmp_path / "newer.onnx", TREES))

    async def test() -> None:
        async with engine(ServeConfig(model.path, max_batch=8), model, newer) as made:
            tasks = [asyncio.create_task(made.answer(model, photos(PHOTOS[0])))]
            await until(model.sees.is_set)
            for number, one in enumerate((model, newer, newer, model)):
                tasks.append(asyncio.create_task(made.answer(one, photos(*PHOTOS[:2]))))
                await until(lambda ready=2 * number + 2: len(made._ready) == ready)  # type: ignore[misc]
            model.may.set()
            newer.may.set()
            found = [await task for task in tasks]
        assert (model.batches, newer.batches) == ([1, 2, 2], [4])
        for rows, labels in zip(found, (FRUIT, FRUIT, TREES, TREES, FRUIT), strict=True):
            assert all(isinstance(row, Prediction) and row.label in labels for row in rows)

    run(test)


def test_what_cannot_be_read_is_in_its_place(model: Held) -> None:
    model.may.set()

    async def test() -> None:
        async with engine(ServeConfig(model.path, limits=Limits(pixels=2000)), model) as made:
            given = [
                *photos(PHOTOS[0], b"no photo", PHOTOS[1], b""),
                Submitted("a", problem=PhotoError("missing", "gone")),
            ]
            first = await made.answer(model, given)
            assert [isinstance(one, Prediction) for one in first] == [True, False, True, False, False]
            large = await made.answer(model, photos(*[PHOTOS[0]] * 2))
            assert [type(one) for one in large] == [Prediction, Prediction]

    run(test)


@pytest.mark.parametrize(
    ("kind", "side", "is_heavy"), [("PNG", 2829, True), ("PNG", 2828, False), ("JPEG", 2829, False)]
)
def test_large_photos_are_decoded_one_at_a_time(model: Held, kind: str, side: int, is_heavy: bool) -> None:
    model.may.set()
    large = encoded(Image.new("RGB", (side, side), (200, 9, 9)), kind)

    async def test() -> None:
        async with engine(ServeConfig(model.path), model) as made:
            found = await made.answer(model, photos(PHOTOS[0], large))
        assert [one.label for one in found if isinstance(one, Prediction)] == [
            one.label for one in model.classify([PHOTOS[0], large])
        ]

    run(test)
    decoders = [name.rpartition("_")[0] for name in model.decoders[:2]]
    assert sorted(decoders) == ["kramar-decode", "kramar-heavy" if is_heavy else "kramar-decode"]


def test_what_nobody_waits_for_is_dropped(model: Held) -> None:
    async def test() -> None:
        async with engine(ServeConfig(model.path), model) as made:
            first = asyncio.create_task(made.answer(model, photos(PHOTOS[0])))
            await until(model.sees.is_set)
            dropped = [asyncio.create_task(made.answer(model, photos(*PHOTOS[:4]))) for _ in range(3)]
            await until(lambda: len(made._ready) == 12)
            for task in dropped:
                task.cancel()
            kept = asyncio.create_task(made.answer(model, photos(PHOTOS[1])))
            await until(lambda: len(made._ready) == 13)
            model.may.set()
            assert len(await first) == len(await kept) == 1
        assert model.batches == [1, 1]

    run(test)


def test_a_model_that_fails_fails_those_requests_alone(model: Held) -> None:
    model.may.set()

    async def test() -> None:
        async with engine(ServeConfig(model.path), model) as made:
            model.fails = True
            with pytest.raises(MemoryError):
                await made.answer(model, photos(*PHOTOS))
            model.fails = False
            assert len(await made.answer(model, photos(*PHOTOS))) == len(PHOTOS)
            assert made.is_working

    run(test)


def test_the_queue_is_bounded(model: Held) -> None:
    model.may.set()

    async def test() -> None:
        async with engine(ServeConfig(model.path, limits=Limits(photos=4, waiting=6)), model) as made:
            with made.places(4):
                with made.places(2), pytest.raises(RequestError) as full, made.places(1):
                    pass
                assert (full.value.kind, full.value.retry_after) == ("queue_full", 1)
                with made.places(2):
                    assert made.waiting == 6
            assert made.waiting == 0
        with pytest.raises(RequestError) as ending, made.places(1):
            pass
        assert ending.value.kind == "unavailable"

    run(test)


def test_answers_are_those_of_the_batch_and_the_photo(model: Held) -> None:
    """Each photo's own, however they are mixed."""
    model.may.set()
    expected = model.classify(PHOTOS)
    order = np.random.default_rng(0).integers(0, len(PHOTOS), 200).tolist()

    async def test() -> None:
        async with engine(ServeConfig(model.path, limits=Limits(waiting=400)), model) as made:
            found = await asyncio.gather(*(made.answer(model, photos(PHOTOS[one])) for one in order))
        assert [row.model_copy(update={"image": ""}) for (row,) in found if isinstance(row, Prediction)] == [
            expected[one] for one in order
        ]

    run(test)


# Through the service: a host that does not answer holds a place in the queue for as long as a test wants.


class Host:
    """A host that answers only when it may, by ending the connection."""

    def __init__(self) -> None:
        self.may, self.asked = threading.Event(), threading.Event()

    def connect(self, _address: str, _port: int, _seconds: float) -> socket.socket:
        self.asked.set()
        self.may.wait()
        raise ConnectionResetError(104, "Connection reset by peer")


def held(client: TestClient) -> int:
    body = json.dumps({"photos": [{"url": "http://shop.example/1.jpg"}]})
    answer = client.post("/v1/classify", content=body, headers={"Content-Type": "application/json"})
    return int(answer.status_code)


def test_a_full_queue_is_told_and_when_to_come_back(tmp_path: Path) -> None:
    host = Host()
    config = ServeConfig(
        model_file(tmp_path / "model.onnx"), allow_urls=("http://shop.example",), limits=Limits(photos=1, waiting=1)
    )
    with (
        inside(config, resolve=lambda *_: ["8.8.8.8"], connect=host.connect) as client,
        ThreadPoolExecutor(1) as other,
    ):
        first = other.submit(held, client)
        host.asked.wait()
        answer = client.post("/v1/classify", content=PHOTOS[0], headers={"Content-Type": "image/png"})
        assert (answer.status_code, answer.json()["kind"], answer.headers["retry-after"]) == (429, "queue_full", "1")
        assert "kramar_queue_photos 1.0" in client.get("/metrics").text
        assert client.get("/readyz").status_code == 200
        host.may.set()
        assert first.result() == 422
        answer = client.post("/v1/classify", content=PHOTOS[0], headers={"Content-Type": "image/png"})
        assert answer.status_code == 200


def test_large_requests_at_the_same_time_are_too_many(tmp_path: Path) -> None:
    host, limits = Host(), Limits(body=60_000, held=60_000)
    config = ServeConfig(model_file(tmp_path / "model.onnx"), allow_urls=("http://shop.example",), limits=limits)
    with (
        inside(config, resolve=lambda *_: ["8.8.8.8"], connect=host.connect) as client,
        ThreadPoolExecutor(1) as other,
    ):
        first = other.submit(held, client)
        host.asked.wait()
        answer = client.post("/v1/classify", content=bytes(60_000), headers={"Content-Type": "image/png"})
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
        host.may.set()
        assert first.result() == 422
        answer = client.post("/v1/classify", content=bytes(60_000), headers={"Content-Type": "image/png"})
        assert answer.status_code == 422, "what was held is given back"


def test_a_request_has_a_deadline(tmp_path: Path) -> None:
    host = Host()
    limits = Limits(photos=1, waiting=1, deadline=0.05)
    config = ServeConfig(model_file(tmp_path / "model.onnx"), allow_urls=("http://shop.example",), limits=limits)
    with inside(config, resolve=lambda *_: ["8.8.8.8"], connect=host.connect) as client:
        assert held(client) == 504
        assert "kramar_queue_photos 0.0" in client.get("/metrics").text
        host.may.set()
