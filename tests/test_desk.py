"""The desk's endpoints: who gets which photo, what is kept, who is refused, and which photos are shown."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from PIL import Image

from desks import KEYS, Desk, inside, put_keys, put_queue
from doubts import SOURCE, doubt
from drawn import encoded, picture
from kramar.desk.photos import TILE
from kramar.desk.settings import DeskConfig
from kramar.errors import InputError
from kramar.reviewing import adding
from kramar.reviewing.database import Database
from kramar.reviewing.records import SPOT_CHECK, Doubt

OPENLY = {"Host": "127.0.0.1:8000"}


@pytest.fixture
def config(tmp_path: Path) -> DeskConfig:
    return put_queue(tmp_path / "run", 8, checks=(6, 7))


@pytest.fixture
def desk(config: DeskConfig) -> Iterator[Desk]:
    with inside(config) as client:
        yield client


def kind(answer: object) -> tuple[int, str]:
    """The status of a refusal, and its word."""
    said = answer.json()  # type: ignore[attr-defined]
    assert said["error"] == said["error"].strip() != ""
    return answer.status_code, said["kind"]  # type: ignore[attr-defined]


def test_reviewers_get_different_photos(desk: Desk) -> None:
    first, second = desk.claim("Ann", 5), desk.claim("Ben", 5)
    assert (len(first), len(second)) == (5, 3)
    assert not {one["id"] for one in first} & {one["id"] for one in second}
    assert {one["id"] for one in desk.claim("Ann", 5)} == {one["id"] for one in first}
    assert desk.tell("release", "Ann").json() == {"released": True}
    assert {one["id"] for one in desk.claim("Ben", 12)} >= {one["id"] for one in first}


def test_a_decision_is_kept_once_and_taken_back(desk: Desk) -> None:
    item = desk.claim()[0]["id"]
    made = desk.tell("decisions", item=item, kind="category", label="kiwi").json()
    assert (made["reviewer"], made["kind"], made["label"]) == ("Ann", "category", "kiwi")
    # As after an answer that was lost.
    assert desk.tell("decisions", item=item, kind="category", label="kiwi").json() == made
    assert kind(desk.tell("decisions", item=item, kind="accept")) == (409, "decided")
    assert kind(desk.tell("decisions", "Ben", item=item, kind="accept")) == (409, "decided")
    assert kind(desk.tell("undo", "Ben", decision=made["id"])) == (403, "other")
    undone = desk.tell("undo", decision=made["id"]).json()
    assert (undone["undo"]["undoes"], undone["item"]["id"], undone["second"]) == (made["id"], item, False)
    assert kind(desk.tell("undo", decision=made["id"])) == (409, "decided")
    assert desk.tell("decisions", item=item, kind="unknown").status_code == 200
    found = desk.get("/v1/history").json()["entries"]
    assert [(one["kind"], one["stands"]) for one in found] == [("unknown", True), ("undo", False), ("category", False)]
    assert found[0]["image"] == f"{item - 1}.jpg"


def test_another_reviewers_photo_is_refused(desk: Desk) -> None:
    item = desk.claim("Ann", 1)[0]["id"]
    assert kind(desk.tell("decisions", "Ben", item=item, kind="accept")) == (409, "taken")


def test_a_decision_is_of_the_photo_that_was_seen(desk: Desk) -> None:
    item = desk.claim()[0]
    given = {"item": item["id"], "kind": "accept"}
    assert kind(desk.tell("decisions", **given, sha256="0" * 64)) == (404, "missing")
    assert desk.tell("decisions", **given, sha256=item["sha256"]).status_code == 200


def test_second_opinions(desk: Desk) -> None:
    first, second = desk.claim("Ann", 2)
    for one in (first, second):
        desk.tell("decisions", item=one["id"], kind="accept")
    assert desk.claim("Ann", second=True) == []
    assert [one["id"] for one in desk.claim("Ben", second=True)] == [second["id"], first["id"]]
    assert kind(desk.tell("decisions", "Ben", item=first["id"], kind="bad photo")) == (409, "decided")
    made = desk.tell("decisions", "Ben", item=first["id"], kind="bad photo", second=True)
    assert made.status_code == 200
    found = desk.tell("claims", "Ben", second=True).json()
    assert (len(found["items"]), found["seconds"], found["counts"]["disputed"]) == (1, 1, 1)
    assert desk.tell("undo", "Ben", decision=made.json()["id"]).json()["second"] is True


def test_categories(desk: Desk) -> None:
    item = desk.claim()[0]["id"]
    (model,) = desk.get("/v1/categories").json()["models"]
    assert {"label": "kiwi", "category": "Fruit/kiwi"} in model["classes"]
    assert kind(desk.tell("decisions", item=item, kind="category", label="Guava")) == (404, "missing")
    added = desk.tell("categories", label="Guava", category="Fruit/Guava").json()
    assert [one["label"] for one in desk.get("/v1/categories").json()["added"]] == ["Guava"]
    assert desk.tell("categories", "Ben", label="Guava", category="Fruit/Guava").json() == added
    assert kind(desk.tell("categories", label="Guava", category="Guava")) == (422, "invalid")
    assert kind(desk.tell("categories", label="kiwi", category="kiwi")) == (422, "invalid")
    assert desk.tell("decisions", item=item, kind="category", label="Guava").status_code == 200


def test_how_it_stands(desk: Desk, config: DeskConfig) -> None:
    check = desk.claim(most=1)[0]
    assert check["decision"] == "auto"
    desk.tell("decisions", item=check["id"], kind="accept")
    found = desk.get("/v1/standing").json()
    assert found["counts"] == {"waiting": 7, "leased": 0, "decided": 1, "disputed": 0}
    assert found["reviewers"] == [{"reviewer": "Ann", "decided": 1}]
    assert (found["agreement"], found["learn"]) == (None, "kramar learn run")
    (live,) = found["live"]
    assert (live["precision"]["value"], live["waiting"], live["alarm"], live["current"]) == (1.0, 1, False, False)


def test_the_model_that_is_there_is_shown_however_old_it_is(desk: Desk, config: DeskConfig) -> None:
    config.model.write_bytes(b"the first model")
    first = replace(SOURCE, sha256=hashlib.sha256(b"the first model").hexdigest())
    database = Database(config.database)
    for age, source in enumerate([replace(SOURCE, sha256=letter * 64) for letter in "bcd"] + [first]):
        found = doubt(100 + age, reason=SPOT_CHECK)
        adding.add(database, source, [found], datetime(2026, 1, 20 - age, tzinfo=UTC))
    database.close()
    live = desk.get("/v1/standing").json()["live"]
    assert [one["model"] for one in live] == [first.sha256, SOURCE.sha256, "b" * 64]
    assert [one["current"] for one in live] == [True, False, False]


def test_the_history_goes_on_where_it_ended(desk: Desk) -> None:
    for one in desk.claim(most=5):
        desk.tell("decisions", item=one["id"], kind="accept")
    page = desk.get("/v1/history?most=3").json()
    rest = desk.get(f"/v1/history?most=3&before={page['before']}").json()
    assert [one["id"] for one in page["entries"] + rest["entries"]] == [5, 4, 3, 2, 1]
    assert rest["before"] is None


def test_a_photo_is_small_and_kept_only_here(desk: Desk, config: DeskConfig) -> None:
    answer = desk.get("/v1/photos/1")
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert Image.open(io.BytesIO(answer.content)).size == (64, 48)


def add(config: DeskConfig, data: bytes, keep: float | None = None, path: Path | None = None) -> None:
    """One more photo in the queue."""
    made = doubt(99)
    found = Doubt(hashlib.sha256(data).hexdigest(), made.prediction, made.embedding, made.reason, path, data)
    database = Database(config.database)
    adding.add(database, SOURCE, [found], datetime.now(UTC), keep)
    database.close()


def test_a_photo_is_upright_and_bounded(desk: Desk, config: DeskConfig) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    add(config, encoded(picture(1200, 600, 5), "JPEG", exif=turned.tobytes()), keep=1)
    shown = Image.open(io.BytesIO(desk.get("/v1/photos/9").content))
    assert shown.size == (TILE // 2, TILE)
    assert not shown.getexif()


def test_a_photo_that_is_gone_replaced_or_broken_is_none(desk: Desk, config: DeskConfig, tmp_path: Path) -> None:
    photos = config.model.parent / "photos"
    (photos / "0.jpg").unlink()
    (photos / "1.jpg").write_bytes((photos / "2.jpg").read_bytes())
    assert kind(desk.get("/v1/photos/1")) == (410, "gone")
    assert str(photos / "0.jpg") in desk.get("/v1/photos/1").json()["error"]
    assert kind(desk.get("/v1/photos/2")) == (410, "replaced")
    add(config, b"no photo", path=tmp_path / "broken.jpg")
    assert kind(desk.get("/v1/photos/9")) == (410, "gone")
    (tmp_path / "broken.jpg").write_bytes(b"no photo")
    assert kind(desk.get("/v1/photos/9")) == (422, "unreadable")
    # It can be decided all the same.
    desk.claim()
    assert desk.tell("decisions", item=1, kind="bad photo").status_code == 200


@pytest.mark.parametrize("item", ["10", "0", "-1", "9223372036854775808", "..%2F..%2Fetc%2Fpasswd", "1.jpg"])
def test_only_photos_of_the_queue_are_shown(desk: Desk, item: str) -> None:
    answer = desk.get(f"/v1/photos/{item}")
    assert answer.status_code in (400, 404)
    assert answer.json()["kind"] in ("malformed", "missing", "not_found")


def test_with_keys_the_keys_name_decides(config: DeskConfig, tmp_path: Path) -> None:
    with inside(replace(config, keys=put_keys(tmp_path / "keys.txt"), host="0.0.0.0")) as desk:
        assert kind(desk.get("/v1/desk")) == (401, "unauthorised")
        assert kind(desk.get("/v1/photos/1", headers={"X-API-Key": "wrong"})) == (401, "unauthorised")
        assert desk.get("/").status_code == desk.get("/healthz").status_code == 200
        desk.headers["X-API-Key"] = KEYS["Olha"]
        assert desk.get("/v1/desk").json()["reviewer"] == "Olha"
        item = desk.claim("")[0]["id"]
        assert desk.tell("decisions", "Olha", item=item, kind="accept").json()["reviewer"] == "Olha"
        assert kind(desk.tell("claims", "Ivan")) == (400, "malformed")
        desk.headers["X-API-Key"] = KEYS["Ivan"]
        assert kind(desk.tell("decisions", "", item=item, kind="accept")) == (409, "decided")
        # Behind a proxy, the host is any.
        assert desk.get("/v1/desk", headers={"Host": "desk.shop.example"}).status_code == 200


def test_without_keys_other_machines_are_not_let_in(config: DeskConfig) -> None:
    with pytest.raises(
        InputError, match=r"--host: 0\.0\.0\.0 is reached from other machines, so --api-key-file is needed"
    ):
        replace(config, host="0.0.0.0")


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "[::1", "10.0.0.7", ""]
)
def test_a_name_that_leads_here_is_refused(desk: Desk, host: str) -> None:
    for path in ("/", "/v1/desk", "/v1/photos/1"):
        assert kind(desk.get(path, headers={"Host": host})) == (403, "elsewhere")
    assert kind(desk.post("/v1/release", json={"reviewer": "Ann"}, headers={"Host": host})) == (403, "elsewhere")


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "LOCALHOST:1", "[::1]:8000"])
def test_this_machines_names_are_let_in(desk: Desk, host: str) -> None:
    assert desk.get("/v1/desk", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:9999"}, 403),
        ({"Origin": "http://["}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Origin": "http://127.0.0.1:8000"}, 403),
        ({"Origin": "http://127.0.0.1:8000"}, 200),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://127.0.0.1:8000"}, 200),
        ({}, 200),
    ],
)
def test_another_page_cannot_decide(desk: Desk, headers: dict[str, str], status: int) -> None:
    item = desk.claim()[0]["id"]
    given = {"reviewer": "Ann", "item": item, "kind": "accept"}
    assert desk.post("/v1/decisions", json=given, headers=OPENLY | headers).status_code == status
    assert len(desk.get("/v1/history").json()["entries"]) == (status == 200)


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_what_a_form_could_send_is_no_decision(desk: Desk, content_type: str) -> None:
    sent = desk.post("/v1/release", content=b'{"reviewer": "Ann"}', headers={"Content-Type": content_type})
    assert kind(sent) == (415, "media_type")


@pytest.mark.parametrize(
    ("address", "given", "status"),
    [
        ("claims", {"most": 0}, 400),
        ("claims", {"most": 101}, 400),
        ("claims", {"most": 1, "reviewers": "Ann"}, 400),
        ("claims", {"reviewer": ""}, 422),
        ("claims", {"reviewer": "x" * 201}, 422),
        ("claims", {"reviewer": "x" * 1001}, 400),
        ("decisions", {"item": 1, "kind": "undo"}, 400),
        ("decisions", {"item": "one", "kind": "accept"}, 400),
        ("decisions", {"item": 2**31, "kind": "accept"}, 400),
        ("decisions", {"item": 99, "kind": "accept"}, 404),
        ("decisions", {"kind": "accept"}, 400),
        ("undo", {"decision": 1}, 404),
        ("categories", {"label": " ", "category": "x"}, 422),
        ("categories", {"label": "x"}, 400),
    ],
)
def test_what_is_wrong_is_said(desk: Desk, address: str, given: dict[str, object], status: int) -> None:
    assert kind(desk.post(f"/v1/{address}", json={"reviewer": "Ann"} | given))[0] == status


def test_what_is_no_json_or_too_much_of_it_is_refused(desk: Desk) -> None:
    headers = {"Content-Type": "application/json"}
    assert kind(desk.post("/v1/claims", content=b"{", headers=headers)) == (400, "malformed")
    assert kind(desk.post("/v1/claims", content=b"[]", headers=headers)) == (400, "malformed")
    assert kind(desk.post("/v1/claims", content=b" " * 70_000, headers=headers)) == (413, "too_large")
    assert kind(desk.put("/v1/claims", json={})) == (405, "wrong_method")
    assert kind(desk.get("/v1/other")) == (404, "not_found")
    assert kind(desk.get("/v1/history?most=x")) == (400, "malformed")


def test_a_database_that_says_no_is_asked_again(
    desk: Desk, config: DeskConfig, caplog: pytest.LogCaptureFixture
) -> None:
    database = Database(config.database)
    with database.writing() as session:
        session.connection().exec_driver_sql("ALTER TABLE leases RENAME TO elsewhere")
    database.close()
    caplog.set_level("INFO", "kramar.serving")
    answer = desk.tell("claims")
    assert kind(answer) == (503, "unavailable")
    assert answer.headers["retry-after"] == "2"
    (logged,) = caplog.records
    assert (logged.levelname, logged.problem) == ("ERROR", "unavailable")  # type: ignore[attr-defined]
    assert "no such table: leases" in logged.error  # type: ignore[attr-defined]
