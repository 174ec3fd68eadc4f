"""The page of an audit."""

from __future__ import annotations

import pytest

from drawn import photo
from kramar.auditing.issues import KINDS, Issue
from kramar.auditing.record import AuditRecord
from kramar.evaluation.metrics import wilson
from kramar.records import DataRecord, Leakage
from kramar.report.audit import ADVICE, SHOWN, render_audit, walls
from pages import Reader

HOSTILE = "\"><script>alert('1')</script>"


def record(**changes: object) -> AuditRecord:
    data = DataRecord(
        source="photos", photos=120, classes=3, fingerprint="f", split={}, split_from="", left_out={"unreadable": 1}
    )
    plain = AuditRecord(
        kramar="0.1.0",
        command="kramar audit photos",
        started="2026-11-27T10:00:00+00:00",
        seed=0,
        machine={},
        data=data,
        issues={},
        label_scores=wilson(100, 119),
        leakage=None,
        seconds={"total": 12.0},
        peak_memory_bytes=0,
    )
    return plain.model_copy(update=changes)


def test_every_kind_has_a_name_and_advice() -> None:
    assert list(KINDS) == list(ADVICE)


def test_walls_show_pictures_and_say_how_many_there_are() -> None:
    issues = [
        *(Issue(photo=f"{number}.jpg", kind="label", suggestion="Mug", detail="told") for number in range(SHOWN + 5)),
        Issue(photo="copy.jpg", kind="twin", group="first.jpg", detail="a copy of 'first.jpg'"),
        Issue(kind="small", group="Jug", suggestion="add photos", detail="'Jug': 3 photos"),
        Issue(photo="broken.jpg", kind="unreadable", detail="unreadable: broken"),
    ]
    asked: list[str] = []

    def thumbnail(image: str) -> bytes:
        asked.append(image)
        return photo(1)

    found = walls(issues, {"0.jpg": "Cup"}, thumbnail)
    assert [(wall.kind, wall.total, len(wall.exhibits), wall.pictured) for wall in found] == [
        ("label", SHOWN + 5, SHOWN, True),
        ("twin", 1, 1, True),
        ("small", 1, 1, False),
        ("unreadable", 1, 1, False),
    ]
    assert found[0].exhibits[0].label == "Cup"
    assert found[1].exhibits[0].beside is not None
    assert "broken.jpg" not in asked
    counts = {"label": SHOWN + 5, "twin": 1, "small": 1, "unreadable": 1}
    page = Reader(render_audit(record(issues=counts), issues, {"0.jpg": "Cup"}, thumbnail))
    assert f"{SHOWN + 8} things to look at in 120 photos." in page.text
    assert f"{SHOWN} of {SHOWN + 5} are shown" in page.text
    assert "'Jug': 3 photos" in page.text
    assert len(page.all("img")) == SHOWN + 2


def test_a_clean_shop_and_a_leaky_one_are_told_plainly() -> None:
    text = Reader(render_audit(record(), [], {}, lambda _: None)).text
    assert "Nothing wrong was found in 120 photos." in text
    assert "guesses its label in 84.0% of 119 photos" in text
    leaky = record(
        label_scores=None,
        leakage=Leakage(photos=9, accuracy=wilson(90, 100), without=wilson(70, 91)),
        issues={"leak": 9},
    )
    text = Reader(render_audit(leaky, [], {}, lambda _: None)).text
    assert "9 test photos have a copy in training or validation." in text
    assert "gets 90.0% of the test photos right" in text
    assert "76.9% of those without a copy" in text
    assert "too few photos to judge labels by" in text


@pytest.mark.parametrize("kind", list(KINDS))
def test_hostile_names_stay_text(kind: str) -> None:
    issue = Issue(photo=HOSTILE, kind=kind, group=HOSTILE, suggestion=HOSTILE, detail=HOSTILE)
    html = render_audit(record(issues={kind: 1}), [issue], {HOSTILE: HOSTILE}, lambda _: None)
    assert "<script" not in html
    assert "alert(" in Reader(html).text
