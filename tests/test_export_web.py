"""The exported web page in a browser, from a static host: answers, offline use, nothing from elsewhere."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

import kramar
from browser import Opens, complaints, finished, hold, named, needs_axe, needs_chromium, opening, pick, rows
from kramar.runtime.model import Model
from served import PHOTOS
from static_host import hosting

TARBALL = os.environ.get("KRAMAR_ONNXRUNTIME_WEB", "")
pytestmark = [
    needs_chromium,
    pytest.mark.skipif(not TARBALL, reason="needs the tarball that KRAMAR_ONNXRUNTIME_WEB names"),
]


@pytest.fixture(scope="module")
def folder(page_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("web") / "out"
    kramar.export(page_model, out, format="web", package=TARBALL)
    return out


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    """It is not at the host's root."""
    with hosting(folder.parent) as address:
        yield f"{address}{folder.name}/"


@pytest.fixture
def opens(chromium: Browser, address: str) -> Iterator[Opens]:
    with opening(chromium, address) as opens:
        yield opens


def ready(page: Page) -> Page:
    expect(page.locator("#model")).to_be_visible(timeout=60_000)
    return page


def table(page: Page) -> list[dict[str, str]]:
    with page.expect_download() as found:
        page.click("#csv")
    text = Path(found.value.path()).read_text(encoding="utf-8-sig")
    return list(csv.DictReader(io.StringIO(text)))


def test_answers_are_the_model_files(opens: Opens, page_model: Path) -> None:
    page = ready(opens().page)
    pick(page, *named(*range(len(PHOTOS))))
    found = {row["image"]: row for row in table(page)}
    model = Model(page_model)
    expected = model.classify(PHOTOS)
    assert {one.decision for one in expected} == {"auto", "coarse", "review", "unknown"}
    for number, one in enumerate(expected):
        row = found[f"{number}.png"]
        assert (row["label"], row["category"], row["decision"]) == (one.label, one.category, one.decision)
        assert json.loads(row["set"] or "[]") == one.set
        assert float(row["probability"]) == pytest.approx(one.probability, abs=1e-5)
        assert float(row["unknown_score"]) == pytest.approx(one.unknown_score, abs=1e-5)


def test_it_asks_its_own_host_for_files_and_nobody_for_answers(opens: Opens, address: str) -> None:
    watched = opens()
    page = ready(watched.page)
    page.evaluate("navigator.serviceWorker.ready.then(() => true)")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(f"{request.method} {request.url}"))
    pick(page, *named(2, 8))
    assert [one for one in asked if not one.startswith("GET blob:")] == []
    policy = page.get_attribute("meta[http-equiv=Content-Security-Policy]", "content") or ""
    assert "default-src 'none'" in policy
    assert "script-src 'self' 'wasm-unsafe-eval'" in policy
    assert "worker-src 'self'" in policy
    assert "unsafe-inline" not in policy


def test_it_works_without_a_network_once_it_was_loaded(opens: Opens) -> None:
    page = ready(opens().page)
    page.evaluate("navigator.serviceWorker.ready.then(() => true)")
    page.context.set_offline(True)
    page.reload()
    ready(page)
    pick(page, *named(2, 8))
    assert len(rows(page)) == 2
    page.context.set_offline(False)


def test_files_that_are_no_photos_are_told(opens: Opens) -> None:
    page = ready(opens().page)
    pick(page, {"name": "broken.png", "mimeType": "image/png", "buffer": b"apples and pears"}, *named(2))
    assert rows(page)[1] == "Error: This is no photo that can be read."
    assert page.locator("#rows li[data-kind=error]").text_content()


def test_photos_are_pasted_and_the_language_is_switched(opens: Opens) -> None:
    page = ready(opens().page)
    hold(page, *named(2))
    page.evaluate("document.dispatchEvent(new ClipboardEvent('paste', { clipboardData: held, cancelable: true }))")
    finished(page)
    page.click("[data-language=uk]")
    expect(page.locator("html")).to_have_attribute("lang", "uk")
    assert "лишаються на цьому пристрої" in (page.locator("[data-say=privacy]").text_content() or "")


def test_the_keyboard_goes_all_the_way(opens: Opens) -> None:
    page = ready(opens().page)
    pick(page, *named(2, 8))
    first = page.locator("#rows button.open").first
    # Answers may be there before the list is.
    expect(first).to_be_visible()
    first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator("#detail")).to_be_visible()
    assert "kramar serve" in (page.locator("#detail-body").text_content() or "")
    page.keyboard.press("Escape")
    expect(page.locator("#detail")).not_to_be_visible()


def test_a_device_that_computes_otherwise_is_told(folder: Path, chromium: Browser, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    shutil.copytree(folder, wrong)
    (wrong / "check.json").write_text(json.dumps({"probabilities": [0.1, 0.2, 0.7]}))
    with hosting(wrong) as address, opening(chromium, address) as opens:
        page = ready(opens().page)
        expect(page.locator("#notice")).to_contain_text("other things than where it was made")


def test_a_missing_model_is_told(folder: Path, chromium: Browser, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    (broken / "model.onnx").unlink()
    with hosting(broken) as address, opening(chromium, address) as opens:
        expect(opens().page.locator("#notice")).to_contain_text("could not be started", timeout=60_000)


@needs_axe
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_keeps_people_from_using_it(opens: Opens, scheme: str) -> None:
    page = ready(opens(color_scheme=scheme).page)
    assert complaints(page) == []
    pick(page, *named(2, 8, 0, 9))
    assert complaints(page) == []
