"""Whatever is sent, the answer is one that the description has: its status, its type, its fields, and never a 5xx."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from kramar.serving.documents import Predictions
from kramar.serving.problems import STATUS, Problem
from kramar.serving.settings import Limits, ServeConfig
from served import FORM, PHOTOS, document, form, inside, model_file

CASES = settings(max_examples=150, deadline=None, derandomize=True)
LIMITS = Limits(body=5000, photos=3, waiting=3)

NAMES = st.sampled_from(["photos", "data", "image", "url", "photo", ""])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
ANY_JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=20
)
ALMOST = st.fixed_dictionaries({"photos": st.lists(st.dictionaries(NAMES, SCALARS, max_size=3), max_size=5)})
KINDS = [
    "application/json",
    "image/png",
    "application/octet-stream",
    "text/plain",
    FORM,
    "multipart/form-data",
    "a",
    "",
]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    model = model_file(tmp_path_factory.mktemp("model") / "model.onnx")
    with inside(
        ServeConfig(model, limits=LIMITS, allow_urls=("https://*.shop.example",)), resolve=lambda *_: []
    ) as one:
        yield one


def is_told(client: TestClient, body: bytes, kind: str) -> None:
    # That the description has the status and the type, the client sees to.
    answer = client.post("/v1/classify", content=body, headers={"Content-Type": kind} if kind else {})
    if answer.status_code == 200:
        assert Predictions.model_validate_json(answer.text).predictions
    else:
        problem = Problem.model_validate_json(answer.text)
        assert STATUS[problem.kind] == answer.status_code < 500
        assert problem.error == problem.error.strip() != ""


@CASES
@given(ANY_JSON | ALMOST)
def test_any_json(client: TestClient, document: object) -> None:
    is_told(client, json.dumps(document).encode("utf-8", "surrogatepass"), "application/json")


@CASES
@given(st.binary(max_size=300), st.sampled_from(KINDS))
def test_any_bytes(client: TestClient, body: bytes, kind: str) -> None:
    is_told(client, body, kind)


@CASES
@given(
    st.sampled_from([(form(*PHOTOS[:2]), FORM), (document(PHOTOS[0]), "application/json"), (PHOTOS[0], "image/png")]),
    st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=4), st.integers(0, 8)), min_size=1, max_size=4),
)
def test_any_damage(client: TestClient, sent: tuple[bytes, str], damage: list[tuple[float, bytes, int]]) -> None:
    body, kind = sent
    for share, put, cut in damage:
        at = round(share * len(body))
        body = body[:at] + put + body[at + cut :]
    is_told(client, body, kind)


@CASES
@given(st.text(max_size=60), st.text(max_size=60))
def test_any_name_and_url(client: TestClient, name: str, url: str) -> None:
    body = {"photos": [{"image": name, "url": url}, {"url": f"https://cdn.shop.example/{url}"}]}
    is_told(client, json.dumps(body).encode("utf-8", "surrogatepass"), "application/json")


def test_every_photo_that_is_described_is_read(client: TestClient, tmp_path: Path) -> None:
    description = client.get("/openapi.json").json()
    content = description["paths"]["/v1/classify"]["post"]["requestBody"]["content"]
    bodies = {
        "multipart/form-data": (form(PHOTOS[0]), FORM),
        "application/json": (document(PHOTOS[0]), "application/json"),
        "image/*": (PHOTOS[0], "image/webp"),
        "application/octet-stream": (PHOTOS[0], "application/octet-stream"),
    }
    assert bodies.keys() == content.keys()
    for body, kind in bodies.values():
        assert client.post("/v1/classify", content=body, headers={"Content-Type": kind}).status_code == 200
    photo = content["application/json"]["schema"]["properties"]["photos"]["items"]
    assert set(photo["properties"]) == {"image", "data", "url"}
    assert photo["oneOf"] == [{"required": ["data"]}, {"required": ["url"]}]
    with inside(ServeConfig(model_file(tmp_path / "model.onnx"))) as other:
        content = other.get("/openapi.json").json()["paths"]["/v1/classify"]["post"]["requestBody"]["content"]
    photo = content["application/json"]["schema"]["properties"]["photos"]["items"]
    assert (set(photo["properties"]), photo["required"]) == ({"image", "data"}, ["data"])
