"""The page in a browser: photos come in by every way, and what is said of them can be read, heard and downloaded."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, FilePayload, Page, Route, expect

import kramar
from browser import Watched, chromium, complaints, needs_axe, needs_chromium
from drawn import photo
from kramar.jobs.prediction_files import COLUMNS, row
from kramar.serving.settings import Limits, ServeConfig
from served import PHOTOS, SIZE, listening, model_file

pytestmark = needs_chromium

Opens = Callable[..., Watched]
LIMITS = Limits(body=200_000)
# All decisions are among them: sure, a group only, to check, unknown.
SOME = [2, 8, 0, 9]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_file(tmp_path_factory.mktemp("model") / "model.onnx", groups=True, maps=True)


@pytest.fixture(scope="module")
def address(model: Path) -> Iterator[str]:
    with listening(ServeConfig(model, limits=LIMITS)) as (host, port):
        yield f"http://{host}:{port}/"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def opens(browser: Browser, address: str) -> Iterator[Opens]:
    """Opens the page as a browser with the given settings would; at the end, nothing may have gone wrong."""
    opened = []

    def page(at: str = address, **settings: object) -> Watched:
        wide = {"width": 1280, "height": 800}
        context = browser.new_context(**{"locale": "en-GB", "viewport": wide, "reduced_motion": "reduce"} | settings)
        watched = Watched(context, at)
        opened.append(watched)
        watched.page.set_default_timeout(10_000)
        watched.page.goto(at)
        return watched

    yield page
    for watched in opened:
        watched.page.context.close()
        assert (watched.errors, watched.elsewhere) == ([], [])


def named(*numbers: int, suffix: str = "png") -> list[FilePayload]:
    return [{"name": f"{number}.{suffix}", "mimeType": "image/png", "buffer": PHOTOS[number]} for number in numbers]


def pick(page: Page, *files: FilePayload, selector: str = "#files") -> None:
    page.set_input_files(selector, list(files))
    finished(page)


def finished(page: Page) -> None:
    expect(page.locator("#rows li")).not_to_have_count(0)
    expect(page.locator("#rows li[data-kind=waiting]")).to_have_count(0)
    expect(page.locator("#progress.running")).to_have_count(0)


def rows(page: Page) -> list[str]:
    """The rows' decisions and titles, as they are shown."""
    return [
        f"{one.query_selector('.badge').text_content()}: {one.query_selector('h3').text_content()}"  # type: ignore[union-attr]
        for one in page.query_selector_all("#rows li")
    ]


def hold(page: Page, *files: FilePayload) -> None:
    """Put files where a script of the page would find what a hand holds: a paste or a drop cannot be had else."""
    page.evaluate(
        """(files) => {
          globalThis.held = new DataTransfer();
          for (const { name, type, data } of files)
            held.items.add(new File([Uint8Array.from(data)], name, { type }));
        }""",
        [{"name": one["name"], "type": one["mimeType"], "data": list(one["buffer"])} for one in files],
    )


def test_photos_are_picked_and_said_to_be_what_they_are(opens: Opens) -> None:
    page = opens().page
    expect(page.locator("#lead")).to_have_text(
        "This model knows 3 categories, and named 83.1% of its test photos right."
    )
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose photos").click()
    chooser.value.set_files(named(*SOME))
    finished(page)
    # By name: 0, 2, 8, 9
    assert rows(page) == ["To check: fig", "Sure: apple", "Group only: Old", "Unknown: None of the categories"]
    first = page.locator("#rows li").first
    expect(first.locator(".path")).to_have_text("Plants › Old")
    expect(first.locator(".num")).to_have_text("45.3%")
    expect(first.locator(".why")).to_have_text("Not sure enough: without a person, an answer needs 60.0%.")
    whys = page.locator("#rows .why").all_text_contents()
    assert whys[1:] == [
        "Sure enough: from 60.0% on, an answer needs no person.",
        "Not sure enough which one, but sure enough of the group.",
        "Unlike what the model learnt from: 0.65, where up to 0.62 is usual.",
    ]
    expect(page.locator("#rows li img")).to_have_count(4)
    expect(page.locator("#announcer")).to_have_text("All 4 photos answered.")


def test_the_model_is_shown(opens: Opens) -> None:
    page = opens().page
    expect(page.locator("#facts dd").nth(0)).to_have_text("3")
    expect(page.locator("#facts dd").nth(1)).to_have_text("83.1%80.1% to 85.8%, of 676 photos")
    expect(page.locator("#facts dd").nth(2)).to_have_text("98%of sure answers; estimated, not guaranteed")
    page.get_by_text("All categories").click()
    assert page.locator("#categories li").all_text_contents() == [
        "Plants › New › kiwi", "Plants › Old › apple", "Plants › Old › fig"
    ]  # fmt: skip


def test_photos_are_dropped(opens: Opens) -> None:
    page = opens().page
    text: FilePayload = {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"no photo"}
    hold(page, *named(2, 0), text)
    drag = """(kind) => document.body.dispatchEvent(
        new DragEvent(kind, { dataTransfer: held, bubbles: true, cancelable: true }))"""
    page.evaluate(drag, "dragenter")
    expect(page.locator("#overlay")).to_be_visible()
    assert page.evaluate(drag, "dragover") is False, "the browser would open it"
    assert page.evaluate(drag, "drop") is False
    expect(page.locator("#overlay")).to_be_hidden()
    finished(page)
    assert rows(page) == ["To check: fig", "Sure: apple"]
    expect(page.locator("#notice")).to_have_text("1 file is no photo by its name, and was left out.")


def test_photos_are_pasted(opens: Opens) -> None:
    page = opens().page
    hold(page, {"name": "image.png", "mimeType": "image/png", "buffer": PHOTOS[2]})
    for _ in range(2):
        page.evaluate(
            "document.body.dispatchEvent(new ClipboardEvent('paste', { clipboardData: held, bubbles: true }))"
        )
    finished(page)
    assert page.locator("#rows .name").all_text_contents() == ["pasted-1.png", "pasted-2.png"]


def test_a_folder_is_picked_in_depth(opens: Opens, tmp_path: Path) -> None:
    for name in ("shop/10.png", "shop/9.png", "shop/in/2.PNG", "shop/.hidden.png", "shop/Thumbs.db", "shop/list.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(PHOTOS[2])
    page = opens().page
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose a folder").click()
    chooser.value.set_files(tmp_path / "shop")
    finished(page)
    assert page.locator("#rows .name").all_text_contents() == ["shop/9.png", "shop/10.png", "shop/in/2.PNG"]
    expect(page.locator("#notice")).to_have_text("1 file is no photo by its name, and was left out.")


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
    page.keyboard.press("h")
    expect(detail.get_by_role("button", name="Where it was seen")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Escape")
    expect(detail).to_be_hidden()
    expect(page.locator(":focus")).to_have_text("Old")


def test_the_details(opens: Opens) -> None:
    page = opens().page
    pick(page, *named(0, 2))
    page.locator("#rows .open").first.click()
    expect(page.get_by_role("dialog", name="fig")).to_be_visible()
    detail = page.get_by_role("dialog")
    assert [one.split("\n")[0] for one in detail.locator(".runners li").all_inner_texts()] == ["fig", "kiwi", "apple"]
    shares = detail.locator(".runners .num").all_text_contents()
    assert sum(float(one.rstrip("%")) for one in shares) == pytest.approx(100, abs=0.2)
    widths = page.evaluate(
        "[...document.querySelectorAll('.runners .bar')].map(b => Number(b.style.getPropertyValue('--v')))"
    )
    assert widths == sorted(widths, reverse=True)
    expect(detail).to_contain_text("With 95% confidence, the right one is among these 2:")
    picture = detail.locator(".screen img")
    expect(picture).to_have_attribute("alt", "Photo 0.png")
    detail.get_by_role("button", name="Where it was seen").click()
    expect(picture).to_have_attribute("alt", "Where in the photo the model saw fig, in warm colours")
    assert picture.evaluate("async (image) => { await image.decode(); return image.naturalWidth; }") == SIZE
    expect(page.locator(":focus")).to_have_text("Where it was seen")
    detail.get_by_role("button", name="Next photo").click()
    expect(picture).to_have_attribute("alt", "Where in the photo the model saw apple, in warm colours")
    expect(detail).to_contain_text("With 95% confidence, it is this one.")


def test_filters_and_orders(opens: Opens) -> None:
    page = opens().page
    pick(page, *named(*SOME), {"name": "bad.png", "mimeType": "image/png", "buffer": b"no photo"})
    chips = page.locator("#filters label:visible")
    assert [one.replace("\n", " ") for one in chips.all_inner_texts()] == [
        "All 5", "Sure 1", "Group only 1", "To check 1", "Unknown 1", "Error 1"
    ]  # fmt: skip
    page.get_by_label("Order").select_option("least sure first")
    assert page.locator("#rows .num").all_text_contents() == ["34.6%", "45.3%", "56.8%", "80.0%"]
    page.get_by_label("Order").select_option("surest first")
    assert page.locator("#rows .num").all_text_contents() == ["80.0%", "56.8%", "45.3%", "34.6%"]
    assert rows(page)[-1].startswith("Error"), "what has no answer comes last"
    page.get_by_role("radio", name="Error 1").check()
    assert rows(page) == ["Error: This is no photo that can be read."]
    page.get_by_role("button", name="Clear all").click()
    expect(page.locator("#results")).to_be_hidden()
    expect(page.get_by_role("heading", level=1)).to_be_visible()


def test_the_csv_is_that_of_classify(opens: Opens, model: Path, tmp_path: Path) -> None:
    page = opens().page
    names = ["=cmd|' /C calc'!A1.png", "+1.png", "-2.png", "@sum.png", 'a "quoted", name.png', "яблуко.png"]
    # A photo a name, the numbers in the names' order.
    given = dict(zip(names, PHOTOS, strict=False))
    bad: FilePayload = {"name": "bad.png", "mimeType": "image/png", "buffer": b"no photo"}
    pick(page, *({"name": name, "mimeType": "image/png", "buffer": data} for name, data in given.items()), bad)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()
    assert download.value.suggested_filename == "predictions.csv"
    content = Path(download.value.path()).read_bytes()
    assert content.startswith(b"\xef\xbb\xbfimage,label,")
    found = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    assert tuple(found[0]) == COLUMNS
    assert {one["image"] for one in found} == {*("'" + name for name in names[:4]), *names[4:], "bad.png"}
    opened = kramar.load(model)
    for one in found:
        if one["image"] == "bad.png":
            assert (one["label"], one["probability"]) == ("", "")
            assert "not an image" in one["error"]
            continue
        (answer,) = opened.classify([given[one["image"].removeprefix("'")]])
        expected = row(answer) | {"image": one["image"]}
        for name in ("probability", "unknown_score"):
            assert float(one.pop(name)) == pytest.approx(expected.pop(name), abs=1e-6)
        assert one == expected


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


def test_the_key_is_asked_for_and_kept_only_where_that_is_wished(opens: Opens, model: Path, tmp_path: Path) -> None:
    # The SHA-256 of "open sesame".
    (tmp_path / "keys.txt").write_text("shop:41ef4bb0b23661e66301aac36066912dac037827b4ae63a7b1165a5aa93ed4eb")
    with listening(ServeConfig(model, keys=tmp_path / "keys.txt")) as (host, port):
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
def test_axe_finds_nothing_serious_in_the_key_form(opens: Opens, model: Path, tmp_path: Path) -> None:
    (tmp_path / "keys.txt").write_text("shop:" + "0" * 64)
    with listening(ServeConfig(model, keys=tmp_path / "keys.txt")) as (host, port):
        page = opens(f"http://{host}:{port}/").page
        page.get_by_label("API key").fill("wrong")
        page.get_by_role("button", name="Use it").click()
        expect(page.get_by_role("alert")).to_be_visible()
        assert complaints(page) == []
        page.context.close()
