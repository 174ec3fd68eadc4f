"""The page when something is in the way: bad photos, a service that is busy, away or asks for a key, another model."""

from __future__ import annotations

import json
import time
from pathlib import Path

from playwright.sync_api import FilePayload, Route, expect

from browser import LIMITS, Opens, finished, named, needs_chromium, pick, rows
from drawn import photo
from kramar.serving.settings import ServeConfig
from model_files import card, tiny
from served import PHOTOS, TREES, listening, model_file

pytestmark = needs_chromium


def test_what_cannot_be_answered_says_why(opens: Opens) -> None:
    page = opens().page
    large: FilePayload = {"name": "large.png", "mimeType": "image/png", "buffer": photo(1) + bytes(LIMITS.body)}
    empty: FilePayload = {"name": "empty.png", "mimeType": "image/png", "buffer": b""}
    pick(page, empty, large, *named(2))
    assert rows(page) == [
        "Sure: apple",
        "Error: This is no photo that can be read.",
        "Error: The photo has 0.2 MB; this service takes up to 0.2 MB.",
    ]
    expect(page.locator("#rows .why").nth(1)).to_have_text("the file is empty (0 bytes)")
    expect(page.locator("#progress-text")).to_have_text("Finished: 2 of 3 could not be answered.")


def test_a_proxy_that_refuses_is_understood(opens: Opens) -> None:
    page = opens().page
    body = "<html><h1>413 Request Entity Too Large</h1></html>"
    page.route("**/v1/classify", lambda route: route.fulfill(status=413, content_type="text/html", body=body))
    pick(page, *named(2))
    assert rows(page) == ["Error: The photo is too large for this service."]
    expect(page.locator("#rows .why")).to_have_text("HTTP 413")


def test_a_busy_service_is_asked_again_when_it_says(opens: Opens) -> None:
    page = opens().page
    asked: list[float] = []

    def busy_once(route: Route) -> None:
        asked.append(time.monotonic())
        if len(asked) > 1:
            route.continue_()
            return
        answer = json.dumps({"kind": "queue_full", "error": "64 photos are waiting: ask again in 1 s"})
        route.fulfill(status=429, headers={"Retry-After": "1"}, content_type="application/json", body=answer)

    page.route("**/v1/classify", busy_once)
    page.set_input_files("#files", named(2))
    expect(page.locator("#progress-text")).to_have_text("The service is busy: going on in 1 second.")
    finished(page)
    assert rows(page) == ["Sure: apple"]
    assert len(asked) == 2
    assert asked[1] - asked[0] >= 0.99


def test_a_service_that_fails_may_be_asked_again(opens: Opens) -> None:
    page = opens().page
    answer = json.dumps({"kind": "failed", "error": "a bug"})
    page.route("**/v1/classify", lambda route: route.fulfill(status=500, content_type="application/json", body=answer))
    pick(page, *named(2))
    assert rows(page) == ["Error: Something went wrong in the service."]
    page.unroute("**/v1/classify")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#rows .badge")).to_have_text("Sure")


def test_a_service_that_is_away_is_asked_again(opens: Opens) -> None:
    watched = opens()
    page = watched.page
    page.route("**/v1/classify", lambda route: route.abort())
    page.set_input_files("#files", named(2))
    expect(page.locator("#progress-text")).to_have_text("The service cannot be reached: trying again in 1 second.")
    page.unroute("**/v1/classify")
    finished(page)
    assert rows(page) == ["Sure: apple"]
    watched.errors.clear()


def test_a_file_that_is_gone_is_told_from_a_service_that_is(opens: Opens, tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(PHOTOS[2])
    watched = opens()
    page = watched.page
    page.route("**/v1/classify", lambda route: route.fulfill(status=500, body=""))
    page.set_input_files("#files", tmp_path / "1.png")
    finished(page)
    page.unroute("**/v1/classify")
    (tmp_path / "1.png").unlink()
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#rows h3")).to_have_text("The file cannot be read any more: it was moved or changed.")
    watched.errors.clear()


def test_how_long_it_still_takes(opens: Opens) -> None:
    page = opens().page
    page.clock.install()
    held: list[Route] = []
    page.route("**/v1/classify", lambda route: held.append(route) if len(held) < 4 else route.continue_())
    page.set_input_files("#files", named(*range(12)))
    page.wait_for_timeout(300)
    for route in held[:3]:
        route.continue_()
    expect(page.locator("#rows li[data-kind=waiting]")).to_have_count(1)
    page.clock.fast_forward(60_000)
    page.evaluate("document.querySelector('[data-language=en]').click()")
    expect(page.locator("#progress-text")).to_have_text("11 of 12, about 10 seconds left")
    held[3].continue_()
    finished(page)


def test_a_key_is_asked_for_and_kept_only_where_that_is_wished(opens: Opens, page_model: Path, tmp_path: Path) -> None:
    # The SHA-256 of "open sesame".
    (tmp_path / "keys.txt").write_text("shop:41ef4bb0b23661e66301aac36066912dac037827b4ae63a7b1165a5aa93ed4eb")
    with listening(ServeConfig(page_model, keys=tmp_path / "keys.txt")) as (host, port):
        page = opens(f"http://{host}:{port}/").page
        field, use = page.get_by_label("API key"), page.get_by_role("button", name="Use it")
        expect(field).to_be_focused()
        field.fill("wrong")
        use.click()
        expect(page.get_by_role("alert")).to_have_text("The service does not know this key.")
        field.fill("open sesame")
        field.press("Enter")
        expect(page.locator("#key-form")).to_be_hidden()
        pick(page, *named(2))
        assert rows(page) == ["Sure: apple"]
        page.reload()
        expect(field).to_be_visible()
        field.fill("open sesame")
        page.get_by_label("Keep it until this tab is closed").check()
        use.click()
        expect(page.locator("#key-form")).to_be_hidden()
        page.reload()
        pick(page, *named(2))
        expect(page.locator("#key-form")).to_be_hidden()
        assert page.evaluate("[Object.keys(localStorage), Object.keys(sessionStorage)]") == [[], ["kramar-key"]]
        page.context.close()


def test_another_model_takes_its_place(opens: Opens, tmp_path: Path) -> None:
    path = model_file(tmp_path / "model.onnx")
    with listening(ServeConfig(path, poll=0.01)) as (host, port):
        page = opens(f"http://{host}:{port}/").page
        pick(page, *named(2))
        model_file(path, TREES)
        while rows(page)[-1] != "Sure: ash":
            page.get_by_role("button", name="Clear all").click()
            pick(page, *named(2))
        assert page.locator("#categories li").all_text_contents() == [f"Plants › {name}" for name in TREES]
        page.locator("#rows .open").click()
        expect(page.get_by_role("dialog")).to_contain_text("This model has no heat maps.")
        page.context.close()


def test_a_model_that_was_not_measured_and_promises_nothing(opens: Opens, tmp_path: Path) -> None:
    path = tiny(tmp_path / "model.onnx", card(16, ("red", "green", "blue")).model_dump_json())
    with listening(ServeConfig(path)) as (host, port):
        page = opens(f"http://{host}:{port}/").page
        expect(page.locator("#lead")).to_have_text("This model knows 3 categories.")
        assert page.locator("#facts dd").all_text_contents() == ["3", "–not measured", "–none"]
        pick(page, *named(2))
        assert rows(page)[0].startswith("Answered: ")
        page.locator("#rows .open").click()
        expect(page.get_by_role("dialog")).to_contain_text("This model does not say when a person is needed.")
        page.context.close()
