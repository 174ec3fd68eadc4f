"""What a cleaned table leaves out and labels anew."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from drawn import Held
from kramar.auditing.cleaning import REMOVED, Judged, changes
from kramar.auditing.copies import Copies, copy_issues, exact
from kramar.auditing.issues import KINDS, Issue
from kramar.data.listing import PhotoFile
from kramar.data.manifest import Entry
from kramar.errors import DataError
from kramar.jobs.cleaned import changes_file, write_cleaned
from kramar.records import LeftOut


def entry(name: str, label: str = "Cup", split: str = "", key: str = "") -> Entry:
    return Entry(name, PhotoFile(Path(name)), key or name, label, f"Home/{label}", "", split)


def told(kind: str, photo: str) -> Issue:
    return Issue(photo=photo, kind=kind, detail="so it is")


def kept(entries: list[Entry], **given: object) -> dict[str, str]:
    found = changes(entries, **{"copied": [], "issues": [], "judged": {}, "own_split": False, **given})  # type: ignore[arg-type]
    assert all(one.reason for one in found)
    return {one.image: one.now or one.change for one in found}


def test_one_copy_stays_and_of_a_test_photo_that_one() -> None:
    entries = [entry("a", split="train"), entry("b", split="test"), entry("c")]
    copied = [Copies(["a", "b"], [1, 0.97])]
    assert kept(entries, copied=copied) == {"b": REMOVED}
    assert kept(entries, copied=copied, own_split=True) == {"a": REMOVED}


def test_of_several_labels_the_one_stays_that_a_model_supports() -> None:
    entries = [entry("a", "Cup"), entry("b", "Mug"), entry("c", "Cup")]
    copied = [Copies(["a", "b", "c"], [1, 1, 1])]
    assert kept(entries, copied=copied) == {"a": REMOVED, "b": REMOVED, "c": REMOVED}
    assert kept(entries, copied=copied, judged={"b": Judged("Cup", 0.9)}) == {"b": REMOVED, "c": REMOVED}
    # Another class is none of its labels, and two that disagree support none.
    assert len(kept(entries, copied=copied, judged={"b": Judged("Jug", 0.9)})) == 3
    assert len(kept(entries, copied=copied, judged={"a": Judged("Cup", 0.9), "b": Judged("Mug", 0.9)})) == 3
    assert len(kept(entries, copied=copied, judged={"b": Judged("Cup", 0.4)})) == 3


def test_a_label_is_replaced_where_another_is_sure_and_each_photo_changes_once() -> None:
    entries = [entry("a"), entry("b"), entry("c"), entry("d")]
    issues = [told("label", "a"), told("label", "b"), told("blank", "c"), told("label", "c"), told("dark", "d")]
    judged = {"a": Judged("Mug", 0.95), "b": Judged("Mug", 0.3), "c": Judged("Mug", 0.95)}
    assert kept(entries, issues=issues, judged=judged) == {"a": "Mug", "b": REMOVED, "c": REMOVED}


def test_issues_of_copies_say_what_is_with_what() -> None:
    entries = [
        entry("a", split="test", key="1"),
        entry("b", split="train", key="1"),
        entry("c", split="train"),
        entry("d", "Mug", split="val", key="2"),
        entry("e", "Cup", split="val", key="2"),
    ]
    assert [one.images for one in exact(entries)] == [["a", "b"], ["d", "e"]]
    copied = [Copies(["a", "b", "c"], [1, 1, 0.95]), Copies(["d", "e"], [1, 1])]
    found = [(issue.kind, issue.photo, issue.group) for issue in copy_issues(copied, entries, own_split=True)]
    assert found == [
        ("leak", "a", "a"),
        ("duplicate", "b", "a"),
        ("twin", "c", "a"),
        ("conflict", "d", "d"),
        ("conflict", "e", "d"),
    ]
    without = {issue.kind for issue in copy_issues(copied, entries, own_split=False)}
    assert without == {"duplicate", "twin", "conflict"}
    assert {kind for kind, *_ in found} <= KINDS.keys()


def test_a_cleaned_table_is_beside_what_was_changed(tmp_path: Path) -> None:
    entries = [
        entry(str(tmp_path / name), label) for name, label in (("a.jpg", "Cup"), ("b.jpg", "Mug"), ("c.jpg", "Mug"))
    ]
    found = changes(
        entries,
        [],
        [told("label", entries[0].image), told("blank", entries[2].image)],
        {entries[0].image: Judged("Mug", 0.9)},
        own_split=False,
    )
    table = tmp_path / "new" / "clean.csv"
    left_out = [
        LeftOut(image="d.jpg", kind="unreadable", detail="broken"),
        LeftOut(image=".x", kind="hidden", detail=""),
    ]
    write_cleaned(table, entries, found, left_out)
    with table.open(encoding="utf-8", newline="") as file:
        assert list(csv.DictReader(file)) == [
            {"image": "../a.jpg", "label": "Mug", "category": "Home/Mug"},
            {"image": "../b.jpg", "label": "Mug", "category": "Home/Mug"},
        ]
    with changes_file(table).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(Path(row["image"]).name, row["change"], row["label"], row["now"]) for row in rows] == [
        ("a.jpg", "relabelled", "Cup", "Mug"),
        ("c.jpg", "removed", "Mug", ""),
        ("d.jpg", "removed", "", ""),
    ]
    assert rows[2]["reason"] == "unreadable: broken"


def test_photos_inside_a_table_cannot_be_named_by_another(tmp_path: Path) -> None:
    inside = Entry("1", Held(b""), "1", "Cup", "Cup", "", "")
    with pytest.raises(DataError, match="the photos are inside the table"):
        write_cleaned(tmp_path / "clean.csv", [inside], [], [])
    assert not list(tmp_path.iterdir())
