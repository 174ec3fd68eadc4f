"""``POST /v1/classify?heat_map=true``: the same answers, each with the picture that ``classify --explain`` draws."""

from __future__ import annotations

import asyncio
import base64
import io
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from starlette.testclient import TestClient

from kramar.data.pixels import Pixels
from kramar.runtime.heat import HeatMaps
from kramar.runtime.model import Answer, Model
from kramar.serving import settings
from kramar.serving.documents import ExplainedPredictions
from kramar.serving.engine import Asks, Engine
from kramar.serving.metrics import Metrics
from kramar.serving.settings import ServeConfig
from kramar.serving.submitted import Submitted
from served import FORM, PHOTOS, SIZE, TREES, form, inside, model_file

HEADERS = {"Content-Type": FORM}
ASKED = "/v1/classify?heat_map=true"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_file(tmp_path_factory.mktemp("model") / "model.onnx", maps=True)


@pytest.fixture(scope="module")
def client(model: Path) -> Iterator[TestClient]:
    with inside(ServeConfig(model)) as client:
        yield client


def test_each_answer_has_its_own_picture_and_is_otherwise_the_same(client: TestClient, model: Path) -> None:
    plain = client.post("/v1/classify", content=form(*PHOTOS), headers=HEADERS).json()["predictions"]
    rows = client.post(ASKED, content=form(*PHOTOS), headers=HEADERS).json()["predictions"]
    assert all("heat_map" not in row for row in plain)
    opened = Model(model)
    maps = HeatMaps(opened)
    for row, before, photo in zip(rows, plain, PHOTOS, strict=True):
        picture = base64.b64decode(row.pop("heat_map"))
        assert row == before
        (expected,) = maps.explained(opened.pixels(photo)[None])
        assert picture == expected.heat_map
        with Image.open(io.BytesIO(picture)) as image:
            assert (image.format, image.size) == ("JPEG", (SIZE, SIZE))


def test_a_bad_photo_has_an_error_and_no_picture(client: TestClient) -> None:
    answer = client.post(ASKED, content=form(PHOTOS[0], b"no photo"), headers=HEADERS)
    rows = ExplainedPredictions.model_validate_json(answer.text).predictions
    assert [(bool(row.error), bool(row.heat_map)) for row in rows] == [(False, True), (True, False)]
    assert client.post(ASKED, content=form(b"no photo"), headers=HEADERS).status_code == 422


def test_a_model_without_a_feature_map_says_so(tmp_path: Path) -> None:
    with inside(ServeConfig(model_file(tmp_path / "model.onnx"))) as client:
        answer = client.post(ASKED, content=form(PHOTOS[0]), headers=HEADERS)
        assert (answer.status_code, answer.json()["kind"]) == (409, "no_heat_maps")
        assert client.get("/v1/model").json()["heat_maps"] is False
        for no in ("false", "0"):
            answer = client.post(f"/v1/classify?heat_map={no}", content=form(PHOTOS[0]), headers=HEADERS)
            assert answer.status_code == 200


def test_a_query_that_says_neither_yes_nor_no(client: TestClient) -> None:
    answer = client.post("/v1/classify?heat_map=perhaps", content=form(PHOTOS[0]), headers=HEADERS)
    assert (answer.status_code, answer.json()["kind"]) == (400, "malformed")
    assert "query.heat_map" in answer.json()["error"]


def test_the_description_has_them(client: TestClient) -> None:
    description = client.get("/openapi.json").json()
    endpoint = description["paths"]["/v1/classify"]["post"]
    (query,) = endpoint["parameters"]
    assert (query["name"], query["in"], query["required"]) == ("heat_map", "query", False)
    said = endpoint["responses"]["200"]["content"]["application/json"]["schema"]
    assert [one["$ref"].rpartition("/")[2] for one in said["anyOf"]] == ["Predictions", "ExplainedPredictions"]
    found = client.get("/v1/model").json()
    assert found["heat_maps"] is True
    assert found["limits"] == {"body": 20_000_000, "pixels": 50_000_000, "photos": 32}


def test_they_are_of_the_model_that_answers(tmp_path: Path) -> None:
    """Also when its file was replaced before anyone asked: a part of it is read for them."""
    path = model_file(tmp_path / "model.onnx", maps=True)
    with inside(ServeConfig(path, poll=3600)) as client:
        model_file(path, TREES, sharpness=-0.05, maps=True)
        (row,) = client.post(ASKED, content=form(PHOTOS[0]), headers=HEADERS).json()["predictions"]
        model_file(path, maps=True)
        opened = Model(path)
        (expected,) = HeatMaps(opened).explained(opened.pixels(PHOTOS[0])[None])
        assert base64.b64decode(row["heat_map"]) == expected.heat_map


def test_batches_are_asked_one_thing(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "cores", lambda: 1)
    opened = Model(model)
    maps, may, sees = HeatMaps(opened), threading.Event(), threading.Event()
    batches: list[tuple[str, int]] = []

    def plain(images: Pixels) -> list[Answer]:
        batches.append(("plain", len(images)))
        sees.set()
        may.wait()
        return opened.answers(images)

    def explained(images: Pixels) -> Iterator[Answer]:
        batches.append(("explained", len(images)))
        return maps.explained(images)

    async def test() -> None:
        engine = Engine(ServeConfig(model, max_batch=8), Metrics())
        given = [Submitted("", photo) for photo in PHOTOS[:2]]
        tasks = [asyncio.create_task(engine.answer(opened, given[:1], Asks(plain, plain)))]
        try:
            await asyncio.to_thread(sees.wait)
            for number, ask in enumerate((plain, explained, explained, plain)):
                tasks.append(asyncio.create_task(engine.answer(opened, given, Asks(ask, ask))))
                while len(engine._ready) < 2 * number + 2:
                    await asyncio.sleep(0.001)
        finally:
            may.set()
        await asyncio.gather(*tasks)
        await asyncio.to_thread(engine.close)

    asyncio.run(asyncio.wait_for(test(), 30))
    assert batches == [("plain", 1), ("plain", 2), ("explained", 4), ("plain", 2)]
