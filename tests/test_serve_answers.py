"""``POST /v1/classify`` and its neighbours say what ``kramar.classify`` says, in every form that photos come in."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

import kramar
from drawn import encoded, picture
from kramar.records import Prediction
from kramar.serving.documents import ModelDescription, Predictions
from kramar.serving.problems import Problem
from kramar.serving.settings import Limits, ServeConfig
from served import FORM, FRUIT, PHOTOS, document, form, inside, model_file

FIELDS = ["image", "label", "probability", "category", "decision", "set", "unknown_score", "error", "top"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_file(tmp_path_factory.mktemp("model") / "model.onnx")


@pytest.fixture(scope="module")
def client(model: Path) -> Iterator[TestClient]:
    with inside(ServeConfig(model)) as client:
        yield client


def asked(client: TestClient, body: bytes, content_type: str) -> list[Prediction]:
    answer = client.post("/v1/classify", content=body, headers={"Content-Type": content_type})
    assert answer.status_code == 200, answer.text
    rows = answer.json()["predictions"]
    assert all(list(row) == FIELDS for row in rows)
    return Predictions.model_validate_json(answer.text).predictions


def test_every_form_gives_what_the_model_file_gives(client: TestClient, model: Path, tmp_path: Path) -> None:
    for number, data in enumerate(PHOTOS):
        (tmp_path / f"{number}.png").write_bytes(data)
    expected = list(kramar.classify(model, [tmp_path / f"{number}.png" for number in range(len(PHOTOS))]))
    assert {one.decision for one in expected} == {"auto", "review", "unknown"}
    sent = {
        "form": [row for data in PHOTOS for row in asked(client, form(data), FORM)],
        "forms": asked(client, form(*PHOTOS), FORM),
        "json": [row for data in PHOTOS for row in asked(client, document(data), "application/json")],
        "raw": [row for data in PHOTOS for row in asked(client, data, "image/png")],
        "bytes": [row for data in PHOTOS for row in asked(client, data, "application/octet-stream")],
    }
    for found in sent.values():
        assert [one.model_copy(update={"image": ""}) for one in found] == [
            one.model_copy(update={"image": ""}) for one in expected
        ]


def test_names_come_back(client: TestClient) -> None:
    names = ["a.png", "with spaces.png", "яблуко 🍎.png", "semi;colon.png", "back\\\\slash.png", 'quo\\"te.png', ""]
    rows = asked(client, form(*((name, PHOTOS[0]) for name in names)), FORM)
    assert [row.image for row in rows] == [*names[:4], "back\\slash.png", 'quo"te.png', ""]
    extended = form(PHOTOS[0]).replace(b'filename="0.png"', b"filename=\"x\"; filename*=UTF-8''caf%C3%A9.png")
    assert asked(client, extended, FORM)[0].image == "café.png"
    body = {"photos": [{"image": "shelf 3", "data": base64.b64encode(PHOTOS[0]).decode()}]}
    assert asked(client, json.dumps(body).encode(), "application/json")[0].image == "shelf 3"


def test_a_browsers_own_form(client: TestClient) -> None:
    answer = client.post("/v1/classify", files=[("photos", ("1.png", PHOTOS[1], "image/png"))])
    (row,) = answer.json()["predictions"]
    assert (row["image"], row["error"]) == ("1.png", "")


def test_a_bad_photo_among_good_ones_is_a_row(client: TestClient) -> None:
    bad = {"text.png": b"no photo", "empty.png": b"", "cut.png": PHOTOS[0][:80]}
    rows = asked(client, form(("good.png", PHOTOS[0]), *bad.items(), ("last.png", PHOTOS[1])), FORM)
    assert [row.image for row in rows] == ["good.png", *bad, "last.png"]
    assert [bool(row.error) for row in rows] == [False, True, True, True, False]
    for row in rows[1:4]:
        assert row == Prediction(image=row.image, error=row.error)
    assert "0 bytes" in rows[2].error


def test_photos_that_are_all_bad_are_rows_too(client: TestClient) -> None:
    assert all(row.error for row in asked(client, form(b"no photo", b"none either"), FORM))


def test_base64_that_is_none_is_a_row(client: TestClient) -> None:
    body = {"photos": [{"data": "€uro"}, {"data": "abc"}, {"data": base64.b64encode(PHOTOS[0]).decode()}]}
    rows = asked(client, json.dumps(body).encode(), "application/json")
    assert [row.error for row in rows] == ["not Base64", "not Base64", ""]


@pytest.mark.parametrize(
    ("body", "kind", "status", "message"),
    [
        (form(b"no photo"), FORM, 422, "not an image"),
        (b"no photo", "image/jpeg", 422, "not an image"),
        (b"", "image/jpeg", 422, "0 bytes"),
        (PHOTOS[0][:80], "application/octet-stream", 422, "broken"),
        (document(b""), "application/json", 422, "0 bytes"),
        (b"--cut-here--\r\n", FORM, 400, "no photo"),
        (form(PHOTOS[0], field="photo"), FORM, 400, "expected the form's field 'photos', found 'photo'"),
        (b"", FORM, 400, "first boundary"),
        (form(PHOTOS[0]), "multipart/form-data", 400, "without a boundary"),
        (b"", "application/json", 400, "JSON, the document"),
        (b"{}", "application/json", 400, "JSON, photos: Field required"),
        (b'{"photos": []}', "application/json", 400, "JSON, photos"),
        (b'{"photos": [{}]}', "application/json", 400, "expected one of 'data' and 'url'"),
        (b'{"photos": [{"data": "AAAA", "url": null}]}', "application/json", 400, "photos.0.url"),
        (b'{"photos": [{"data": null}]}', "application/json", 400, "photos.0.data"),
        (b'{"photos": [{"data": "", "url": ""}]}', "application/json", 400, "expected one of 'data' and 'url'"),
        (b'{"photos": [{"data": 7}]}', "application/json", 400, "JSON, photos.0.data"),
        (b'{"photos": [{"date": ""}]}', "application/json", 400, "JSON, photos.0.date"),
        (b'{"photos": [{"url": "https://shop.example/1.jpg"}]}', "application/json", 400, "--allow-urls"),
        (b"\xff\xfe", "application/json", 400, "JSON, the document"),
        (PHOTOS[0], "", 415, "no content type"),
        (PHOTOS[0], "application/x-www-form-urlencoded", 415, "expected multipart/form-data"),
        (PHOTOS[0], "text/plain; image/png", 415, "'text/plain'"),
    ],
)
def test_what_cannot_be_answered_says_why(
    client: TestClient, body: bytes, kind: str, status: int, message: str
) -> None:
    answer = client.post("/v1/classify", content=body, headers={"Content-Type": kind} if kind else {})
    assert answer.status_code == status, answer.text
    assert message in Problem.model_validate_json(answer.text).error


def test_a_compressed_body_is_told(client: TestClient) -> None:
    headers = {"Content-Type": "image/png", "Content-Encoding": "gzip"}
    assert client.post("/v1/classify", content=PHOTOS[0], headers=headers).status_code == 415


def test_the_model_describes_itself(client: TestClient, model: Path) -> None:
    found = ModelDescription.model_validate_json(client.get("/v1/model").text)
    card = kramar.load(model).card
    assert [one.label for one in found.classes] == list(FRUIT)
    assert (found.decisions, found.metrics, found.size) == (card.decisions, card.metrics, card.resize.size)
    assert found.provenance.data_fingerprint == card.data_fingerprint
    assert found.provenance.sha256 == client.get("/readyz").json()["sha256"]


def test_it_lives_and_is_ready(client: TestClient) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    ready = client.get("/readyz")
    assert (ready.status_code, ready.json()["ready"], ready.json()["reload_problem"]) == (200, True, "")


def test_other_paths_and_methods_are_told(client: TestClient) -> None:
    for path in ("/page", "/v1/classify/", "/docs", "/redoc"):
        answer = client.get(path)
        assert (answer.status_code, Problem.model_validate_json(answer.text).kind) == (404, "not_found")
    for method, path in (("GET", "/v1/classify"), ("DELETE", "/v1/model"), ("POST", "/healthz"), ("TRACE", "/metrics")):
        answer = client.request(method, path)
        assert (answer.status_code, Problem.model_validate_json(answer.text).kind) == (405, "wrong_method")
        assert answer.headers["allow"]


def figures(client: TestClient) -> dict[tuple[str, ...], float]:
    families = text_string_to_metric_families(client.get("/metrics").text)
    return {(one.name, *one.labels.values()): one.value for family in families for one in family.samples}


def test_figures_for_prometheus(model: Path) -> None:
    with inside(ServeConfig(model)) as client:
        rows = asked(client, form(*PHOTOS, b"no photo"), FORM)
        client.post("/v1/classify", content=b"no photo", headers={"Content-Type": "image/png"})
        client.get("/any/path")
        found = figures(client)
    decisions = {decision: sum(row.decision == decision for row in rows) for decision in ("auto", "review", "unknown")}
    for decision, count in (decisions | {"error": 2}).items():
        assert found["kramar_photos_total", decision] == count
    sure = [row.probability for row in rows if row.probability is not None]
    assert found["kramar_confidence_sum",] == pytest.approx(sum(sure))
    assert found["kramar_confidence_count",] == found["kramar_batch_photos_sum",] == len(PHOTOS)
    assert found["kramar_requests_total", "POST", "/v1/classify", "200"] == 1
    assert found["kramar_requests_total", "POST", "/v1/classify", "422"] == 1
    assert found["kramar_requests_total", "GET", "other", "404"] == 1
    assert found["kramar_queue_photos",] == 0


def test_the_description_is_whole(client: TestClient) -> None:
    description = client.get("/openapi.json").json()
    assert set(description["paths"]) == {"/v1/classify", "/v1/model", "/healthz", "/readyz", "/metrics"}
    said = description["paths"]["/v1/classify"]["post"]
    assert set(said["responses"]) == {"200", "400", "408", "409", "413", "415", "422", "429", "500", "503", "504"}
    assert set(said["requestBody"]["content"]) == {
        "multipart/form-data", "application/json", "image/*", "application/octet-stream"
    }  # fmt: skip
    assert "X-Kramar-Model" in said["responses"]["200"]["headers"]
    assert "Retry-After" in said["responses"]["429"]["headers"]
    for path in description["paths"].values():
        for endpoint in path.values():
            assert all("content" in answer for answer in endpoint["responses"].values())


def test_a_bug_is_told_as_one(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    with inside(ServeConfig(model)) as client:
        with monkeypatch.context() as patch:
            patch.setattr("kramar.runtime.model.Model.answers", broken)
            answer = client.post("/v1/classify", content=PHOTOS[0], headers={"Content-Type": "image/png"})
            assert (answer.status_code, answer.json()["kind"]) == (500, "failed")
            patch.undo()
            patch.setattr("kramar.runtime.model.Model.pixels", broken)
            assert client.post("/v1/classify", content=form(*PHOTOS), headers={"Content-Type": FORM}).status_code == 500
        assert not any(row.error for row in asked(client, form(*PHOTOS), FORM))
        assert figures(client)["kramar_queue_photos",] == 0


def test_a_photo_of_more_pixels_than_are_read(model: Path) -> None:
    large = encoded(picture(60, 50), "PNG")
    with inside(ServeConfig(model)) as client:
        assert asked(client, large, "image/png")
    with inside(ServeConfig(model, limits=Limits(pixels=2999))) as client:
        answer = client.post("/v1/classify", content=large, headers={"Content-Type": "image/png"})
        assert (answer.status_code, "60 x 50 pixels; at most 2,999" in answer.json()["error"]) == (413, True)
