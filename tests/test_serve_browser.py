"""The page in a browser: photos come in by every way, and what is said of them can be read and downloaded."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from playwright.sync_api import FilePayload, expect

import kramar
from browser import SOME, Opens, finished, hold, named, needs_chromium, pick, rows
from kramar.jobs.prediction_files import COLUMNS, row
from served import PHOTOS, SIZE

pytestmark = needs_chromium


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
    expect(page.locator("#facts dd").nth(1)).to_have_text("83.1%95% interval 80.1% to 85.8%, 676 photos")
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


def test_a_folder_is_dropped(opens: Opens, tmp_path: Path) -> None:
    """As the system drops it, which no script of a page can make up."""
    for name in ("shop/10.png", "shop/9.png", "shop/in/2.png", "shop/list.csv", "1.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(PHOTOS[2])
    page = opens().page
    hand = page.context.new_cdp_session(page)
    held = {"items": [], "files": [str(tmp_path / "shop"), str(tmp_path / "1.png")], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        hand.send("Input.dispatchDragEvent", {"type": kind, "x": 400, "y": 300, "data": held})
    finished(page)
    names = page.locator("#rows .name").all_text_contents()
    assert names == ["1.png", "shop/9.png", "shop/10.png", "shop/in/2.png"]
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


def test_the_csv_is_that_of_classify(opens: Opens, page_model: Path, tmp_path: Path) -> None:
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
    opened = kramar.load(page_model)
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


def test_why_is_said_of_every_decision(opens: Opens) -> None:
    page = opens().page
    classes = [{"label": "apple", "category": "Fruit/apple"}, {"label": "fig", "category": ""}]
    decisions = {"auto": {"threshold": 0.93121}, "unknown_above": 1.2}
    row = {"label": "fig", "probability": 0.9, "decision": "review", "unknown_score": 1.5, "category": "fig"}

    def why(model: dict[str, object], **more: object) -> object:
        photo = {"row": row | more, "problem": None, "model": {"classes": classes} | model}
        return page.evaluate("async (photo) => (await import('/page/verdict.js')).why(photo)", photo)

    assert why({"decisions": decisions}) == "Not sure enough: without a person, an answer needs 93.2%."
    never = "No threshold keeps the promised precision, so a person looks at every such answer."
    assert why({"decisions": decisions | {"auto": {"threshold": None}}}) == never
    # A threshold a category, where the file has those.
    assert why({"decisions": decisions | {"auto_by_class": [0.5, None]}}) == never
    own = decisions | {"auto_by_class": [None, 0.95]}
    assert why({"decisions": own}) == "Not sure enough: without a person, an answer needs 95.0%."
    assert why({"decisions": None}, decision="") == "This model does not say when a person is needed."
