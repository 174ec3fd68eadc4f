"""The page for everyone: in their language, by keyboard, on a phone, in the dark, and read aloud."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import FilePayload, expect

from browser import SOME, Opens, complaints, named, needs_axe, needs_chromium, pick, rows
from kramar.serving.settings import ServeConfig
from served import PHOTOS, listening

pytestmark = needs_chromium


def test_it_speaks_ukrainian(opens: Opens) -> None:
    page = opens(locale="uk-UA").page
    expect(page.locator("html")).to_have_attribute("lang", "uk")
    expect(page).to_have_title("kramar: що на фото")
    expect(page.locator("#lead")).to_have_text("Модель знає 3 категорії й правильно назвала 83,1% тестових фото.")
    pick(page, *named(2))
    assert rows(page) == ["Певно: apple"]
    page.get_by_role("button", name="English").click()
    expect(page.locator("html")).to_have_attribute("lang", "en")
    assert rows(page) == ["Sure: apple"]
    expect(page.locator("#progress-text")).to_have_text("1 photo answered.")
    page.reload()
    expect(page.locator("html")).to_have_attribute("lang", "en")
    expect(page.get_by_role("button", name="English")).to_have_attribute("aria-pressed", "true")


def test_numbers_have_their_forms(opens: Opens) -> None:
    page = opens(locale="uk").page
    say = "async (n) => (await import('/page/language.js')).say('leftOut', { n })"
    found = [page.evaluate(say, n).split(":")[0] for n in (1, 2, 5, 11, 21, 24, 1000)]
    assert found == [
        "Пропущено 1 файл", "Пропущено 2 файли", "Пропущено 5 файлів", "Пропущено 11 файлів", "Пропущено 21 файл",
        "Пропущено 24 файли", "Пропущено 1\xa0000 файлів",
    ]  # fmt: skip


def test_a_language_that_it_does_not_speak(opens: Opens) -> None:
    expect(opens(locale="de-DE").page.locator("html")).to_have_attribute("lang", "en")


def test_the_scheme_is_the_systems(opens: Opens) -> None:
    page = opens(color_scheme="dark").page
    background = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(background) == "rgb(18, 20, 22)"
    page.emulate_media(color_scheme="light")
    assert page.evaluate(background) == "rgb(255, 255, 255)"


@pytest.mark.parametrize("locale", ["en-GB", "uk-UA"])
def test_a_phone_scrolls_down_only(opens: Opens, locale: str) -> None:
    page = opens(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True, locale=locale).page
    is_too_wide = """[...document.querySelectorAll("html, dialog[open]")].some((one) => one.scrollWidth > 360)"""
    assert not page.evaluate(is_too_wide)
    long: FilePayload = {"name": "a-name-without-end-" * 9 + ".png", "mimeType": "image/png", "buffer": PHOTOS[0]}
    pick(page, *named(*SOME), long)
    assert not page.evaluate(is_too_wide)
    page.locator("#rows .open").last.click()
    expect(page.get_by_role("dialog")).to_be_visible()
    assert not page.evaluate(is_too_wide)


def test_all_can_be_done_with_the_keyboard(opens: Opens) -> None:
    page = opens().page
    pick(page, *named(*SOME))
    page.locator("body").press("Tab")
    page.keyboard.press("Enter")  # skip to the answers
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")  # the next filter
    assert rows(page) == ["Sure: apple"]
    page.keyboard.press("ArrowLeft")
    for _ in range(4):  # order, CSV, clear, the first row
        page.keyboard.press("Tab")
    expect(page.locator(":focus")).to_have_text("fig")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("End")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    detail = page.get_by_role("dialog")
    expect(detail.get_by_role("heading", level=2)).to_have_text("Old")
    page.keyboard.press("ArrowLeft")
    expect(detail.get_by_role("heading", level=2)).to_have_text("apple")
    for _ in range(3):  # beyond the first, and back
        page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowRight")
    expect(detail.get_by_role("heading", level=2)).to_have_text("apple")
    expect(detail.get_by_role("status")).to_have_text("apple, Sure, 80.0%")
    page.keyboard.press("h")
    expect(detail.get_by_role("status")).to_contain_text("Warm colours are where the model saw apple.")
    expect(detail.get_by_role("button", name="Where it was seen")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Escape")
    expect(detail).to_be_hidden()
    expect(page.locator(":focus")).to_have_text("Old")


@needs_axe
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(opens: Opens, scheme: str) -> None:
    page = opens(color_scheme=scheme).page
    expect(page.locator("#model")).to_be_visible()
    for summary in page.locator("summary").all():
        summary.click()
    assert complaints(page) == []
    pick(page, *named(*SOME), {"name": "bad.png", "mimeType": "image/png", "buffer": b"no photo"})
    assert complaints(page) == []
    page.locator("#rows .open").first.click()
    assert complaints(page) == []
    page.keyboard.press("h")
    expect(page.locator(".screen img")).to_have_attribute(
        "alt", "Where in the photo the model saw fig, in warm colours"
    )
    assert complaints(page) == []


@needs_axe
def test_axe_finds_nothing_serious_in_the_key_form(opens: Opens, page_model: Path, tmp_path: Path) -> None:
    (tmp_path / "keys.txt").write_text("shop:" + "0" * 64)
    with listening(ServeConfig(page_model, keys=tmp_path / "keys.txt")) as (host, port):
        page = opens(f"http://{host}:{port}/").page
        page.get_by_label("API key").fill("wrong")
        page.get_by_role("button", name="Use it").click()
        expect(page.get_by_role("alert")).to_be_visible()
        assert complaints(page) == []
        page.context.close()
