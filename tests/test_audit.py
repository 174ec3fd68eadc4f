"""``kramar.audit``: what is wrong with a shop's photos, found; and that training heeds it."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageOps

import kramar
from kramar import DataError, RunFolderError
from kramar.auditing.issues import KINDS
from products import put, put_folder
from shell import complaint
from shell import kramar as command


def copied(source: Path, target: Path, *, mirrored: bool = False) -> Path:
    """A copy at a lower quality."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(source) as image:
        (ImageOps.mirror(image) if mirrored else image).save(target, "JPEG", quality=70)
    return target


@pytest.fixture(scope="module")
def untidy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one thing wrong of most kinds."""
    folder = put_folder(tmp_path_factory.mktemp("untidy") / "photos", 24)
    shutil.copy(folder / "Box" / "1.jpg", folder / "Box" / "again.jpg")
    copied(folder / "Box" / "2.jpg", folder / "Box" / "copy.jpg", mirrored=True)
    copied(folder / "Box" / "3.jpg", folder / "Tent" / "box.jpg")
    Image.new("RGB", (64, 64), "white").save(folder / "Plate" / "blank.jpg")
    put(folder / "Plate" / "named.jpg", "Plate", 90)
    (folder / "Plate" / "named.jpg").rename(folder / "Plate" / "named.png")
    (folder / "Plate" / "broken.jpg").write_bytes(b"no photo")
    for number in range(3):
        put(folder / "plate" / f"{number}.jpg", "Plate", 50 + number)
    return folder


@pytest.fixture(scope="module")
def audited(untidy: Path, tmp_path_factory: pytest.TempPathFactory) -> kramar.Audit:
    place = tmp_path_factory.mktemp("audited")
    return kramar.audit(untidy, place / "audit", fix=place / "clean.csv")


def photos_of(audit: kramar.Audit, kind: str) -> list[str]:
    return [issue.photo for issue in audit.issues if issue.kind == kind]


def test_each_thing_that_is_wrong_is_found(audited: kramar.Audit) -> None:
    assert photos_of(audited, "duplicate") in (["Box/again.jpg"], ["Box/1.jpg"])
    assert photos_of(audited, "twin") in (["Box/copy.jpg"], ["Box/2.jpg"])
    assert set(photos_of(audited, "conflict")) == {"Box/3.jpg", "Tent/box.jpg"}
    assert photos_of(audited, "blank") == ["Plate/blank.jpg"]
    assert photos_of(audited, "extension") == ["Plate/named.png"]
    assert photos_of(audited, "unreadable") == ["Plate/broken.jpg"]
    assert [issue.group for issue in audited.issues if issue.kind == "alike"] == ["Plate | plate"]
    assert [issue.group for issue in audited.issues if issue.kind == "small"] == ["plate"]
    # Without a split of the data's own there is none that could leak.
    assert photos_of(audited, "leak") == []
    kinds = [issue.kind for issue in audited.issues]
    assert kinds == sorted(kinds, key=list(KINDS).index)


def test_its_table_record_and_page_say_the_same(audited: kramar.Audit) -> None:
    table = pq.read_table(audited.path / "issues.parquet")
    assert table.column_names == ["photo", "kind", "score", "group", "suggestion", "detail"]
    assert table.to_pylist() == [issue.model_dump(include=set(table.column_names)) for issue in audited.issues]
    record = json.loads((audited.path / "run.json").read_text(encoding="utf-8"))
    assert record["issues"] == {kind: sum(one.kind == kind for one in audited.issues) for kind in KINDS}
    assert record["data"]["photos"] == 80
    assert record["data"]["left_out"] == {"unreadable": 1}
    assert record["leakage"] is None
    assert record["label_scores"]["n"] > 70
    assert set(record["seconds"]["rooms"]) == {"data", "photos", "features", "labels", "report"}
    page = audited.report.read_text(encoding="utf-8")
    for kind in {issue.kind for issue in audited.issues}:
        assert f'<h2 id="{kind}">{KINDS[kind]}' in page
    assert page.count("data:image/jpeg") >= 10


def test_a_cleaned_table_lacks_what_is_wrong_and_can_be_trained_on(audited: kramar.Audit, untidy: Path) -> None:
    table = audited.path.parent / "clean.csv"
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    with (audited.path.parent / "clean-changes.csv").open(encoding="utf-8", newline="") as file:
        changes = {row["image"]: row for row in csv.DictReader(file)}
    assert len(rows) + sum(row["change"] == "removed" for row in changes.values()) == 81
    names = {(table.parent / row["image"]).resolve().relative_to(untidy.resolve()).as_posix() for row in rows}
    assert "Plate/blank.jpg" not in names
    assert len({"Box/1.jpg", "Box/again.jpg"} & names) == 1
    assert len({"Box/2.jpg", "Box/copy.jpg"} & names) == 1
    assert len({"Box/3.jpg", "Tent/box.jpg"} & names) <= 1
    assert changes["Plate/broken.jpg"]["reason"].startswith("unreadable: ")
    again = kramar.audit(table, audited.path.parent / "again")
    assert not {"duplicate", "twin", "conflict", "blank", "unreadable"} & {issue.kind for issue in again.issues}
    # The user's own files are as they were.
    assert sum(1 for path in untidy.rglob("*") if path.is_file()) == 81


def test_a_test_photo_with_a_copy_in_training_is_told_and_what_that_does_to_a_figure(tmp_path: Path) -> None:
    folder = put_folder(tmp_path / "photos" / "train", 24).parent
    put_folder(folder / "test", 8, start=100)
    for number in range(6):
        copied(folder / "train" / "Box" / f"{number}.jpg", folder / "test" / "Box" / f"leak{number}.jpg")
    found = kramar.audit(folder, tmp_path / "audit")
    assert sorted(photos_of(found, "leak")) == [f"test/Box/leak{number}.jpg" for number in range(6)]
    leakage = found.record.leakage
    assert leakage is not None
    assert (leakage.photos, leakage.accuracy.n) == (6, 30)
    assert leakage.without is not None
    assert leakage.without.n == 24
    assert "6 test photos have a copy in training or validation" in found.report.read_text(encoding="utf-8")
    told = command("audit", folder, "--out", tmp_path / "audit")
    assert "without the 6 with a copy" in told.stdout


def test_the_command_shows_what_it_found(untidy: Path, tmp_path: Path) -> None:
    done = command("audit", untidy, "--out", tmp_path / "audit", "--fix", tmp_path / "clean.csv")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("80 photos, 4 classes\n")
    assert "       2  conflict    One photograph under different labels\n" in done.stdout
    assert f"Cleaned       {tmp_path / 'clean.csv'}: " in done.stdout
    again = command("audit", untidy, "--out", tmp_path / "audit", "--json")
    assert json.loads(again.stdout)["issues"]["conflict"] == 2


def test_places_where_something_else_is_are_refused(untidy: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(RunFolderError, match=r"found other files \(mine.txt\); use a new --out"):
        kramar.audit(untidy, tmp_path / "full")
    with pytest.raises(
        DataError, match=r"--fix: expected the name of a new table that ends in .csv, found '.*clean.xlsx'"
    ):
        kramar.audit(untidy, tmp_path / "audit", fix=tmp_path / "clean.xlsx")
    table = tmp_path / "photos.csv"
    table.write_text("image,label\na.jpg,Cup\n")
    with pytest.raises(DataError, match="is the data itself, which is never touched"):
        kramar.audit(table, tmp_path / "audit", fix=table)
    mine = tmp_path / "mine.csv"
    mine.write_text("sku;price\n1;2\n")
    with pytest.raises(DataError, match=r"mine\.csv is there already, and no --fix made it"):
        kramar.audit(untidy, tmp_path / "audit", fix=mine)
    changes = tmp_path / "clean-changes.csv"
    changes.write_text("image,label\na.jpg,Cup\n")
    with pytest.raises(DataError, match=r"clean-changes\.csv is the data itself"):
        kramar.audit(changes, tmp_path / "audit", fix=tmp_path / "clean.csv")
    failed = command("audit", untidy, "--out", tmp_path / "audit", "--strict")
    assert "--strict, and 1 cannot be used, the first 'Plate/broken.jpg'" in complaint(failed, 2)
    assert not (tmp_path / "audit").exists()


def test_training_puts_copies_into_one_part_and_evaluation_knows_it(tmp_path: Path) -> None:
    folder = put_folder(tmp_path / "photos", 30)
    for kind in ("Box", "Plate", "Tent"):
        for number in range(0, 30, 3):
            copied(folder / kind / f"{number}.jpg", folder / kind / f"copy{number}.jpg", mirrored=number % 2 == 0)
    run = kramar.train(folder, tmp_path / "run", budget="60s", rungs="head")
    rows = {row["image"]: row["split"] for row in pq.read_table(run.path / "manifest.parquet").to_pylist()}
    for kind in ("Box", "Plate", "Tent"):
        for number in range(0, 30, 3):
            assert rows[f"{kind}/{number}.jpg"] == rows[f"{kind}/copy{number}.jpg"]
    assert (run.path / "run.log").read_text(encoding="utf-8")
    model = kramar.load(run.path / "model.onnx")
    assert len(model.card.ties) == 30
    again = kramar.evaluate(model, folder)
    assert again.split == "test"
    assert again.metrics.accuracy == run.record.metrics["test"].accuracy
    alone = kramar.train(folder, tmp_path / "alone", budget="60s", rungs="head", skip_audit=True)
    cut = {row["image"]: row["split"] for row in pq.read_table(alone.path / "manifest.parquet").to_pylist()}
    assert any(
        cut[f"{kind}/{n}.jpg"] != cut[f"{kind}/copy{n}.jpg"] for kind in ("Box", "Plate") for n in range(0, 30, 3)
    )
    assert "--skip-audit" in alone.record.command


def test_a_photo_in_memory_is_a_photo(tmp_path: Path) -> None:
    table = tmp_path / "photos.parquet"
    import pyarrow as pa

    rows = []
    for kind in ("Box", "Plate"):
        for number in range(22):
            out = io.BytesIO()
            with Image.open(put(tmp_path / "one.png", kind, number)) as image:
                image.save(out, "PNG")
            rows.append({"image": {"bytes": out.getvalue(), "path": f"{kind}{number}.png"}, "label": kind})
    pq.write_table(pa.Table.from_pylist(rows), table)
    assert kramar.audit(table, tmp_path / "audit").record.data.photos == 44
    with pytest.raises(DataError, match="the photos are inside the table"):
        kramar.audit(table, tmp_path / "audit", fix=tmp_path / "clean.csv")
