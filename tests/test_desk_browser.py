"""The desk in a browser: all by keyboard, by several at once, and nothing lost where an answer is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from browser import Opens, complaints, needs_axe, needs_chromium, opening
from desks import KEYS, listening, put_keys, put_queue
from kramar.desk.settings import DeskConfig
from kramar.reviewing import findings
from kramar.reviewing.database import Database
from kramar.reviewing.queue import Queue
from kramar.reviewing.records import ACCEPT, CATEGORY, Entry

pytestmark = needs_chromium


@pytest.fixture
def config(tmp_path: Path) -> DeskConfig:
    return put_queue(tmp_path / "run", 30, checks=(3,))


@pytest.fixture
def page_address(config: DeskConfig) -> Iterator[str]:
    with listening(config) as address:
        yield address


@pytest.fixture
def database(config: DeskConfig) -> Iterator[Database]:
    opened = Database(config.database)
    yield opened
    opened.close()


def begin(page: Page, name: str = "Olha") -> Page:
    """Say who decides, and wait for the first photos."""
    page.locator("#name").fill(name)
    page.keyboard.press("Enter")
    expect(page.locator(".tile:focus")).to_be_visible()
    return page


def at_hand(page: Page) -> str:
    """The name of the photo that has the focus."""
    return page.locator(".tile:focus .name").inner_text()


def press(page: Page, *keys: str) -> str:
    """Press keys that decide; the photo that they were about has left then."""
    name = at_hand(page)
    for key in keys:
        page.keyboard.press(key)
    expect(page.locator(".tile .name").get_by_text(name, exact=True)).to_have_count(0)
    expect(page.locator("#trace.pending")).to_have_count(0)
    return name


def said(database: Database) -> dict[str, tuple[str, str]]:
    """What stands of each photo."""
    return {one.image: (one.kind, one.label) for one in reversed(findings.entries(database)) if one.stands}


def until(what: Callable[[], bool]) -> None:
    """Wait for something outside of the page."""
    for _ in range(600):
        if what():
            return
        time.sleep(0.05)
    pytest.fail("it did not come")


def test_all_can_be_decided_by_keyboard(opens: Opens, database: Database) -> None:
    page = begin(opens().page)
    expect(page.locator(".tile")).to_have_count(12)
    assert at_hand(page) == "3.jpg", "the spot check"
    expect(page.locator(".tile:focus .badge")).to_have_text("Spot check")
    expect(page.locator(".tile:focus h3")).to_have_text("apple")
    expected = {press(page, "Enter"): ("accept", "apple")}
    expect(page.locator("#trace-text")).to_have_text("apple → accepted")
    expected[press(page, " ")] = ("accept", "apple")
    page.keyboard.press("ArrowRight")
    expected[press(page, "a")] = ("accept", "apple")
    expected[press(page, "1")] = ("category", "fig")
    expect(page.locator("#trace-text")).to_have_text("apple → fig")
    expected[press(page, "u")] = ("unknown", "")
    expected[press(page, "b")] = ("bad photo", "")
    page.keyboard.press("c")
    page.keyboard.type("KIW")
    expect(page.get_by_role("combobox")).to_be_focused()
    expect(page.get_by_role("option", name="kiwi")).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Escape")
    expected[press(page, "/", "f", "r", "ArrowDown", "ArrowDown", "Enter")] = ("category", "kiwi")
    # A new one, with its path.
    name = at_hand(page)
    page.keyboard.press("c")
    page.keyboard.type("Guava")
    expect(page.get_by_role("option")).to_have_text(["Add category “Guava”…"])
    page.keyboard.press("Enter")
    expect(page.get_by_label("Its path")).to_have_value("Fruit/Guava")
    page.keyboard.press("Enter")
    expect(page.locator("#trace-text")).to_have_text("apple → Guava")
    expected[name] = ("category", "Guava")
    expect(page.locator(".tile:focus")).to_be_visible()
    assert said(database) == expected
    # New ones came when six were left.
    expect(page.locator(".tile")).to_have_count(10)
    expect(page.locator("#counts")).to_have_text("8 decided")


def test_what_is_opened_again_at_once_stays_open(opens: Opens, database: Database) -> None:
    page = begin(opens().page)
    name = at_hand(page)
    # Quicker than any hand: the browser has not told yet that the dialog was closed.
    page.evaluate("""() => {
      const press = (key) => document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
      for (const [key, dialog] of [["v", "large"], ["c", "picker"]]) {
        press(key);
        document.getElementById(dialog).close();
        press(key);
      }
    }""")
    page.keyboard.type("kiwi")
    expect(page.get_by_role("option", name="kiwi")).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Enter")
    expect(page.locator("#trace-text")).to_have_text("apple → kiwi")
    expect(page.locator("#large-body")).to_be_focused()
    expect(page.locator("#large .name")).not_to_have_text(name)
    assert said(database) == {name: ("category", "kiwi")}


def test_decisions_are_taken_back_in_order(opens: Opens, database: Database) -> None:
    page = begin(opens().page)
    names = [press(page, key) for key in ("a", "1", "u")]
    page.keyboard.press("z")
    expect(page.locator(".tile:focus .name")).to_have_text(names[2])
    expect(page.locator("#announcer")).to_have_text("Taken back: apple → unknown thing")
    page.keyboard.press("Control+z")
    expect(page.locator(".tile:focus .name")).to_have_text(names[1])
    assert list(said(database)) == names[:1]
    # Also after the page was left.
    page.reload()
    expect(page.locator(".tile:focus")).to_be_visible()
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".tile:focus .name")).to_have_text(names[0])
    assert said(database) == {}
    page.keyboard.press("z")
    expect(page.locator("#announcer")).to_have_text("There is nothing to take back.")
    press(page, "b")
    assert said(database) == {names[0]: ("bad photo", "")}


def test_the_large_view(opens: Opens, database: Database) -> None:
    page = begin(opens().page)
    first = at_hand(page)
    page.keyboard.press("v")
    large = page.get_by_role("dialog")
    expect(large.locator("img")).to_have_attribute("alt", f"Photo {first}")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("1")
    expect(large.locator("img")).not_to_have_attribute("alt", f"Photo {first}")
    second = large.locator(".name").inner_text()
    page.keyboard.press("Enter")
    expect(large.locator(".name")).not_to_have_text(second)
    page.keyboard.press("Escape")
    expect(page.locator(".tile:focus")).to_be_visible()
    expect(page.locator("#trace.pending")).to_have_count(0)
    assert said(database) == {first: ("category", "fig"), second: ("accept", "apple")}


def test_several_at_once_decide_each_photo_once(opens: Opens, database: Database) -> None:
    pages = [begin(opens().page, name) for name in ("Olha", "Ivan")]
    shown = [set(page.locator(".tile .name").all_inner_texts()) for page in pages]
    assert [len(one) for one in shown] == [12, 12]
    assert not shown[0] & shown[1]
    for key in ("a", "1", "u") * 8:
        for page in pages:
            # Not a word from one to the other but by the queue.
            if page.locator(".tile:focus").count():
                press(page, key)
    for page in pages:
        expect(page.locator("#nothing code")).to_have_text("kramar learn run")
    entries: list[Entry] = findings.entries(database)
    assert len(entries) == len({one.item for one in entries}) == 30
    assert {one.reviewer for one in entries} == {"Olha", "Ivan"}


def test_a_decision_whose_answer_is_lost_is_kept_once(opens: Opens, database: Database) -> None:
    watched = opens()
    page = begin(watched.page)
    asked = []

    def lose(route: Route) -> None:
        asked.append(route.request.post_data)
        if len(asked) > 2:
            route.continue_()
            return
        if len(asked) == 2:
            route.fetch()  # it is done, and nobody hears of it
        route.abort()

    page.route("**/v1/decisions", lose)
    name = at_hand(page)
    page.keyboard.press("1")
    expect(page.locator("#notice")).to_contain_text("The desk does not answer.")
    expect(page.locator(".tile[data-decided=true] .name")).to_have_text(name)
    # Work goes on meanwhile.
    after = at_hand(page)
    page.keyboard.press("a")
    expect(page.locator("#trace-text")).to_have_text("Sending 2 decisions…")
    expect(page.locator("#trace.pending")).to_have_count(0)
    expect(page.locator("#notice")).to_be_empty()
    assert said(database) == {name: ("category", "fig"), after: ("accept", "apple")}
    assert len(findings.entries(database)) == 2
    assert asked[0] == asked[1] == asked[2]
    # The browser's own words of the two.
    assert [one.rpartition(" ")[2] for one in watched.errors] == ["net::ERR_FAILED"] * 2
    watched.errors.clear()


def test_a_database_that_says_no_is_told_from_a_desk_that_is_away(opens: Opens, database: Database) -> None:
    page = begin(opens().page)

    def rename(table: str, name: str) -> None:
        with database.writing() as session:
            session.connection().exec_driver_sql(f"ALTER TABLE {table} RENAME TO {name}")

    rename("leases", "elsewhere")
    name = at_hand(page)
    page.keyboard.press("1")
    expect(page.locator("#notice")).to_have_text(
        "The database does not answer. What you decided is sent as soon as it does; leave this page open."
    )
    expect(page.locator("#trace.pending")).to_be_visible()
    rename("elsewhere", "leases")
    expect(page.locator("#trace.pending")).to_have_count(0)
    expect(page.locator("#notice")).to_be_empty()
    assert said(database) == {name: ("category", "fig")}


def test_what_somebody_else_decided_leaves(opens: Opens, database: Database) -> None:
    page = begin(opens().page)
    name, others = at_hand(page), Queue(database)
    # As after a lease that ended while the machine slept.
    others.release("Olha")
    (item,) = [one for one in others.claim("Ivan", 30) if one.image == name]
    others.decide(item.id, "Ivan", ACCEPT)
    page.keyboard.press("u")
    expect(page.locator("#notice")).to_have_text(f"{name}: Somebody else has decided it.")
    expect(page.locator(".tile .name").get_by_text(name, exact=True)).to_have_count(0)
    assert said(database) == {name: ("accept", "apple")}


def test_photos_go_to_others_when_the_page_is_left(opens: Opens, database: Database) -> None:
    page = begin(opens().page)
    assert findings.counts(database).leased == 12
    expect(page.locator(".tile img")).to_have_count(12)
    page.goto("about:blank")
    until(lambda: findings.counts(database).leased == 0)


def test_second_opinions(opens: Opens, database: Database) -> None:
    first = begin(opens().page)
    name = press(first, "a")
    page = begin(opens().page, "Ivan")
    page.get_by_role("radio", name="Second opinions 1").check()
    expect(page.locator(".tile .name")).to_have_text([name])
    page.locator(".tile").focus()
    press(page, "1")
    expect(page.locator("#nothing h2")).to_have_text("There is no photo that others decided and you did not.")
    assert findings.counts(database).disputed == 1
    page.get_by_role("tab", name="How it stands").click()
    expect(page.locator("#standing dd").nth(2)).to_contain_text("0.0%")
    rows = page.get_by_role("region", name="History").locator("tbody tr")
    assert [row.inner_text().split("\t")[1:] for row in rows.all()] == [
        ["Ivan", name, "apple → fig"],
        ["Olha", name, "apple, accepted"],
    ]


@pytest.mark.parametrize(
    ("right", "words"),
    [(0, "since spot check 4, the precision is below"), (20, "since spot check 24, answers of apple are worse")],
)
def test_an_alarm_says_what_raised_it(chromium: Browser, tmp_path: Path, right: int, words: str) -> None:
    config = put_queue(tmp_path / "run", right + 10, checks=range(right + 10))
    opened = Database(config.database)
    queue = Queue(opened)
    for place, item in enumerate(queue.claim("Ivan", right + 10)):
        queue.decide(item.id, "Ivan", *([ACCEPT] if place < right else [CATEGORY, "fig"]))
    opened.close()
    with listening(config) as address, opening(chromium, address) as opens:
        page = opens().page
        page.locator("#name").fill("Olha")
        page.keyboard.press("Enter")
        page.get_by_role("tab", name="How it stands").click()
        expect(page.locator("#standing .problem")).to_contain_text(words)


def test_a_photo_that_is_gone_says_where_it_was(opens: Opens, config: DeskConfig, database: Database) -> None:
    place = config.model.with_name("photos") / "3.jpg"
    place.unlink()
    page = opens().page
    asked = []
    page.on("request", lambda request: "/v1/photos/4" in request.url and asked.append(request.url))
    begin(page)
    tile = page.locator(".tile:focus")
    expect(tile.locator(".unpictured")).to_contain_text("The photo is not there any more.")
    expect(tile.locator(".unpictured")).to_contain_text(str(place))
    page.keyboard.press("c")
    expect(page.locator("#picker-photo .unpictured")).to_contain_text("The photo is not there any more.")
    page.keyboard.press("Escape")
    assert len(asked) == 1
    press(page, "b")
    assert said(database) == {"3.jpg": ("bad photo", "")}


def test_a_picture_that_failed_is_fetched_again(opens: Opens) -> None:
    page = opens().page
    page.route(
        "**/v1/photos/*", lambda route: route.fulfill(status=500, json={"kind": "failed", "error": "it was too busy"})
    )
    begin(page)
    expect(page.locator(".tile:focus .unpictured")).to_contain_text("The desk says: it was too busy")
    page.unroute("**/v1/photos/*")
    page.keyboard.press("c")
    expect(page.locator("#picker-photo img")).to_be_visible()


def test_it_speaks_ukrainian_and_knows_its_keyboard(opens: Opens, database: Database) -> None:
    page = begin(opens(locale="uk-UA").page, "Іван")
    expect(page).to_have_title("kramar: стіл перевірки")
    expect(page.locator(".tile:focus .badge")).to_have_text("Вибіркова перевірка")
    name = at_hand(page)
    # The key of the letter A, as a Ukrainian keyboard has it.
    page.evaluate(
        "document.activeElement.dispatchEvent(new KeyboardEvent('keydown', {key: 'ф', code: 'KeyA', bubbles: true}))"
    )
    expect(page.locator("#trace-text")).to_have_text("apple → підтверджено")
    assert said(database) == {name: ("accept", "apple")}
    page.get_by_role("button", name="English").click()
    expect(page.locator("#trace-text")).to_have_text("apple → accepted")
    expect(page.locator(".tile .accept").first).to_contain_text("Accept")
    page.reload()
    expect(page.locator("#who-name")).to_have_text("Іван")
    expect(page.locator("html")).to_have_attribute("lang", "en")
    page.get_by_role("button", name="Somebody else").click()
    begin(page, "Ганна")
    expect(page.locator("#who-name")).to_have_text("Ганна")
    expect(page.locator("#trace")).to_be_hidden()


def test_a_key_says_who_decides(chromium: Browser, config: DeskConfig, database: Database, tmp_path: Path) -> None:
    keyed = replace(config, keys=put_keys(tmp_path / "keys.txt"))
    with listening(keyed) as address, opening(chromium, address) as opens:
        page = opens().page
        page.get_by_label("API key").fill("wrong")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert").first).to_have_text("The desk does not know this key.")
        page.get_by_label("API key").fill(KEYS["Olha"])
        page.keyboard.press("Enter")
        expect(page.locator(".tile:focus img")).to_be_visible()
        expect(page.locator("#who-name")).to_have_text("Olha")
        press(page, "a")
        assert [one.reviewer for one in findings.entries(database)] == ["Olha"]


def test_a_key_that_is_asked_for_once_more_goes_on(
    chromium: Browser, config: DeskConfig, database: Database, tmp_path: Path
) -> None:
    queue = Queue(database)
    (before,) = queue.claim("Olha", 1)
    queue.decide(before.id, "Olha", ACCEPT)
    keyed = replace(config, keys=put_keys(tmp_path / "keys.txt"))
    with listening(keyed) as address, opening(chromium, address) as opens:
        page = opens().page
        refusal = {"kind": "unauthorised", "error": "no such key"}
        page.route("**/v1/categories", lambda route: route.fulfill(status=401, json=refusal), times=1)
        # The first is taken, but not when the photos are about to come.
        for _ in range(2):
            page.get_by_label("API key").fill(KEYS["Olha"])
            page.keyboard.press("Enter")
            expect(page.get_by_label("API key")).to_have_value("")
        expect(page.locator(".tile:focus")).to_be_visible()
        expect(page.locator("#key-form")).to_be_hidden()
        page.keyboard.press("z")
        expect(page.locator("#announcer")).to_have_text("Taken back: apple → accepted")
        page.keyboard.press("z")
        expect(page.locator("#announcer")).to_have_text("There is nothing to take back.")


@pytest.mark.parametrize("locale", ["en-GB", "uk-UA"])
def test_a_phone_scrolls_down_only(opens: Opens, locale: str) -> None:
    page = begin(opens(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True, locale=locale).page)
    is_too_wide = """[...document.querySelectorAll("html, dialog[open]")].some((one) => one.scrollWidth > 360)"""
    assert not page.evaluate(is_too_wide)
    for key in ("c", "v"):
        page.keyboard.press(key)
        expect(page.get_by_role("dialog")).to_be_visible()
        assert not page.evaluate(is_too_wide)
        page.keyboard.press("Escape")
    page.locator(".tile .accept").first.tap()
    expect(page.locator("#trace")).to_be_visible()
    page.locator("#tab-standing").tap()
    expect(page.locator("#standing table").first).to_be_visible()
    assert not page.evaluate(is_too_wide)


@needs_axe
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(opens: Opens, config: DeskConfig, scheme: str) -> None:
    (config.model.with_name("photos") / "3.jpg").unlink()
    page = opens(color_scheme=scheme).page
    assert complaints(page) == []
    begin(page)
    expect(page.locator(".tile img").first).to_be_visible()
    press(page, "1")
    assert complaints(page) == []
    page.keyboard.press("c")
    page.keyboard.type("f")
    assert complaints(page) == []
    page.keyboard.type("oo")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Its path")).to_be_visible()
    assert complaints(page) == []
    page.keyboard.press("Escape")
    page.keyboard.press("v")
    expect(page.get_by_role("dialog").locator("img")).to_be_visible()
    assert complaints(page) == []
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    assert complaints(page) == []
    page.keyboard.press("Escape")
    page.get_by_role("tab", name="How it stands").click()
    expect(page.locator("#standing table").last).to_be_visible()
    assert complaints(page) == []
