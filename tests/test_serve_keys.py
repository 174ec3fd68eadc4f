"""Who may ask, from where, and how often."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from kramar.errors import InputError
from kramar.serving.keys import Keys, Rates
from kramar.serving.settings import Limits, ServeConfig
from served import PHOTOS, inside, model_file

# The same in each process: they are in the names of tests.
KEY, OTHER = (hashlib.sha256(name).hexdigest() for name in (b"a key", b"another"))
IMAGE = {"Content-Type": "image/png"}


def hashed(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "keys.txt"
    path.write_text(f"# those of the shop\n\nshop:{hashed(KEY)}\ndesk:{hashed(OTHER).upper()} # a person\n")
    return path


def test_a_key_is_its_owners(keys: Path) -> None:
    found = Keys.read(keys)
    assert found.owner(KEY) == "shop"
    assert found.owner(OTHER) == "desk"
    for wrong in ("", KEY[:-1], KEY.upper(), f"{KEY} ", hashed(KEY), "shop", "\ud800", "я" * 5000):
        assert found.owner(wrong) is None


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("", "expected a line NAME:SHA256, found none"),
        ("# nothing\n", "expected a line NAME:SHA256, found none"),
        (f"{KEY}\n", "line 1"),
        (f"shop:{hashed(KEY)}\nshop:{hashed(OTHER)}\n", "line 2"),
        (f"shop:{hashed(KEY)[:-1]}", "line 1"),
        (f"a shop:{hashed(KEY)}", "line 1"),
    ],
)
def test_a_file_that_is_none_is_told_without_its_content(tmp_path: Path, text: str, where: str) -> None:
    (tmp_path / "keys.txt").write_text(text)
    with pytest.raises(InputError) as refused:
        Keys.read(tmp_path / "keys.txt")
    assert where in str(refused.value)
    assert KEY not in str(refused.value)


def test_a_file_that_is_not_there_or_no_text(tmp_path: Path) -> None:
    (tmp_path / "keys.txt").write_bytes(b"\xff\xfe\0")
    for path in (tmp_path / "none.txt", tmp_path, tmp_path / "keys.txt"):
        with pytest.raises(InputError, match="--api-key-file"):
            Keys.read(path)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "shop.example", "", "127.1"])
def test_an_address_that_others_reach_needs_keys(tmp_path: Path, keys: Path, host: str) -> None:
    with pytest.raises(InputError, match="--api-key-file is needed"):
        ServeConfig(tmp_path, host=host)
    assert ServeConfig(tmp_path, host=host, keys=keys).host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.3.2.1", "::1", "localhost"])
def test_this_machine_needs_none(tmp_path: Path, host: str) -> None:
    assert ServeConfig(tmp_path, host=host).keys is None


def test_only_keys_are_let_in(tmp_path: Path, keys: Path) -> None:
    with inside(ServeConfig(model_file(tmp_path / "model.onnx"), keys=keys)) as client:
        for good in ({"Authorization": f"Bearer {KEY}"}, {"authorization": f"bearer {OTHER}"}, {"X-API-Key": KEY}):
            assert client.post("/v1/classify", content=PHOTOS[0], headers=IMAGE | good).status_code == 200
            assert client.get("/v1/model", headers=good).status_code == 200
            assert client.get("/metrics", headers=good).status_code == 200
        wrong = [{}, {"X-API-Key": ""}, {"X-API-Key": hashed(KEY)}, {"Authorization": f"Basic {KEY}"},
                 {"Authorization": KEY}, {"Authorization": f"Bearer {KEY}x"}, {"X-API-Key": "a" * 10_000}]  # fmt: skip
        for headers in wrong:
            answer = client.post("/v1/classify", content=PHOTOS[0], headers=IMAGE | headers)
            assert (answer.status_code, answer.json()["kind"]) == (401, "unauthorised")
            assert answer.headers["www-authenticate"] == "Bearer"
            assert client.get("/v1/model", headers=headers).status_code == 401
            assert client.get("/metrics", headers=headers).status_code == 401
        for path in ("/healthz", "/readyz", "/openapi.json"):
            assert client.get(path).status_code == 200
        description = client.get("/openapi.json").json()
    assert set(description["components"]["securitySchemes"]) == {"HTTPBearer", "APIKeyHeader"}
    assert "401" in description["paths"]["/v1/classify"]["post"]["responses"]


def test_a_rate_is_a_rate() -> None:
    now = 100.0
    rates = Rates(4, clock=lambda: now)
    assert [rates.wait("shop") for _ in range(8)] == [0.0] * 8
    assert rates.wait("shop") == pytest.approx(0.25)
    assert rates.wait("desk") == 0.0, "each has their own"
    now += 0.25
    assert rates.wait("shop") == 0.0
    assert rates.wait("shop") == pytest.approx(0.25)
    now += 3600.0
    assert [rates.wait("shop") for _ in range(9)] == [0.0] * 8 + [pytest.approx(0.25)]


def test_a_slow_rate_lets_one_in() -> None:
    now = 0.0
    rates = Rates(0.1, clock=lambda: now)
    assert rates.wait("shop") == 0.0
    assert rates.wait("shop") == pytest.approx(10.0)


def test_a_rate_without_keys_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--rate: requests are counted by API key, and there is no --api-key-file"):
        ServeConfig(tmp_path / "model.onnx", limits=Limits(rate=5))


def test_a_key_that_asks_too_often_is_told_when_to_come_back(tmp_path: Path, keys: Path) -> None:
    config = ServeConfig(model_file(tmp_path / "model.onnx"), keys=keys, limits=Limits(rate=0.01))
    with inside(config) as client:
        assert client.get("/v1/model", headers={"X-API-Key": KEY}).status_code == 200
        answer = client.get("/v1/model", headers={"X-API-Key": KEY})
        assert (answer.status_code, answer.json()["kind"]) == (429, "too_many_requests")
        assert 0 < int(answer.headers["retry-after"]) <= 100
        assert client.get("/v1/model", headers={"X-API-Key": OTHER}).status_code == 200


def test_pages_of_other_origins_may_ask_only_where_they_are_named(tmp_path: Path, keys: Path) -> None:
    model = model_file(tmp_path / "model.onnx")
    asks = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}
    with inside(ServeConfig(model)) as client:
        assert client.options("/v1/classify", headers=asks).status_code == 405
        answer = client.post("/v1/classify", content=PHOTOS[0], headers=IMAGE | asks)
        assert "access-control-allow-origin" not in answer.headers
    with inside(ServeConfig(model, keys=keys, cors=("https://shop.example",))) as client:
        asks["Access-Control-Request-Headers"] = "authorization,content-type"
        answer = client.options("/v1/classify", headers=asks)
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, "https://shop.example")
        evil = client.options("/v1/classify", headers=asks | {"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in evil.headers


@pytest.mark.parametrize("origin", ["*", "shop.example", "https://shop.example/", "https://a@b", "null", ""])
def test_an_origin_that_is_none(tmp_path: Path, origin: str) -> None:
    with pytest.raises(InputError, match="--cors: expected an origin such as"):
        ServeConfig(tmp_path, cors=(origin,))


def test_limits_that_cannot_be_kept() -> None:
    with pytest.raises(InputError, match="--max-waiting: expected room for the 32 photos of one request, found 31"):
        Limits(waiting=31)
    for seconds in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(InputError, match="--deadline: expected more than no time"):
            Limits(deadline=seconds)
        with pytest.raises(InputError, match="--body-timeout: expected more than no time"):
            Limits(body_timeout=seconds)
