"""``kramar.classify``: any photos in, predictions out, in order, in constant memory, whole files or none."""

from __future__ import annotations

import csv
import itertools
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import kramar
from drawn import Told
from kramar import DataError, InputError, Model, Prediction, Run
from kramar.data.listing import PhotoFile
from products import encoded, put, put_folder

COLUMNS = ["image", "label", "probability", "category", "decision", "set", "unknown_score", "error"]
# What a shop's files are called.
NAMES = (
    "plain.jpg", "with spaces.jpg", "quote\"s and 'more'.jpg", "comma, semicolon;.jpg",
    "new\nline.jpg", "tab\there.jpg", "🍎 яблуко.jpg", "=1+1.jpg", "-o.jpg", "a[1].jpg", "50%.jpg",
)  # fmt: skip


@pytest.fixture(scope="module")
def model(trained: Run) -> Model:
    return kramar.load(trained.path / "model.onnx")


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of photos with odd names, and three that cannot be read."""
    folder = tmp_path_factory.mktemp("odd")
    for number, name in enumerate(NAMES):
        (folder / name).write_bytes(encoded("Box", 100 + number))
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "cut.jpg").write_bytes(encoded("Box", 200)[:300])
    (folder / "text.jpg").write_text("no photo")
    return folder


def images(predictions: Iterator[Prediction]) -> list[str]:
    return [prediction.image for prediction in predictions]


# What may be classified


def test_files_folders_patterns_and_tables_in_the_order_given(model: Model, shop: Path, tmp_path: Path) -> None:
    table = tmp_path / "some.csv"
    table.write_text(f"image\n{shop / 'Tent' / '3.jpg'}\n{shop / 'Box' / '1.jpg'}\n", encoding="utf-8")
    put_folder(tmp_path / "more", 2, ["Plate"])
    given: list[str | Path] = [str(shop / "Tent" / "9.jpg"), table, tmp_path / "more", str(shop / "Box" / "1?.jpg")]
    expected = [
        str(shop / "Tent" / "9.jpg"),
        str(shop / "Tent" / "3.jpg"),
        str(shop / "Box" / "1.jpg"),
        *(str(tmp_path / "more" / "Plate" / f"{number}.jpg") for number in range(2)),
        *(str(shop / "Box" / f"1{number}.jpg") for number in range(10)),
    ]
    assert images(kramar.classify(model, given)) == expected


def test_one_photo_as_text_or_path(model: Model, shop: Path) -> None:
    photo = shop / "Box" / "0.jpg"
    assert images(kramar.classify(model, str(photo))) == images(kramar.classify(model, photo)) == [str(photo)]


def test_it_gives_what_the_model_gives(model: Model, trained: Run, shop: Path) -> None:
    photos = sorted((shop / "Box").iterdir())
    predictions = list(kramar.classify(trained.path / "model.onnx", photos, top=2))
    assert predictions == model.classify(photos, top=2)
    for prediction in predictions:
        assert prediction.label in model.classes
        assert prediction.category == prediction.label
        assert prediction.top[0].label == prediction.label
        assert len(prediction.top) == 2
        assert prediction.probability == prediction.top[0].probability >= prediction.top[1].probability
        assert not prediction.error


def test_a_folder_in_a_folder_is_searched_and_other_files_are_no_photos(model: Model, tmp_path: Path) -> None:
    put(tmp_path / "a" / "b" / "1.png", "Box", 1)
    put(tmp_path / "2.webp", "Box", 2)
    (tmp_path / "notes.txt").write_text("no photo")
    (tmp_path / ".hidden.jpg").write_bytes(encoded("Box", 3))
    assert images(kramar.classify(model, tmp_path)) == [str(tmp_path / "2.webp"), str(tmp_path / "a" / "b" / "1.png")]


def test_a_table_needs_an_image_column_only(model: Model, shop: Path, tmp_path: Path) -> None:
    names = [f"{kind}/{number}.jpg" for kind in ("Tent", "Box") for number in (4, 2)]
    (tmp_path / "shop").symlink_to(shop)
    inside = [f"shop/{name}" for name in names]
    (tmp_path / "names.jsonl").write_text("".join(json.dumps({"photo": name}) + "\n" for name in inside))
    pq.write_table(pa.table({"image": [str(shop / name) for name in names]}), tmp_path / "names.parquet")
    assert images(kramar.classify(model, tmp_path / "names.jsonl", columns={"image": "photo"})) == inside
    assert images(kramar.classify(model, tmp_path / "names.parquet")) == [str(shop / name) for name in names]


def test_photos_inside_a_parquet_file(model: Model, tmp_path: Path) -> None:
    rows = [{"bytes": encoded("Box", 1), "path": "one.jpg"}, {"bytes": b"no photo", "path": "two.jpg"}]
    pq.write_table(pa.table({"image": rows}), tmp_path / "photos.parquet")
    first, second = kramar.classify(model, tmp_path / "photos.parquet")
    assert (first.image, first.error) == ("one.jpg", "")
    assert (second.image, second.label) == ("two.jpg", "")
    assert second.error


def test_rows_without_a_photo_are_errors_in_their_place(model: Model, shop: Path, tmp_path: Path) -> None:
    table = tmp_path / "some.csv"
    table.write_text(f"image\n{shop / 'Box' / '0.jpg'}\nnowhere.jpg\n{shop / 'Box' / '1.jpg'}\n", encoding="utf-8")
    found = list(kramar.classify(model, table))
    assert [bool(prediction.error) for prediction in found] == [False, True, False]
    assert "nowhere.jpg" in found[1].error


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """A folder with a photo, three things that may hide photos, and four that are none."""
    put(tmp_path / "mixed" / "b" / "1.jpg", "Box", 1)
    (tmp_path / "mixed" / "a.jpg").symlink_to("gone.jpg")
    (tmp_path / "mixed" / "b" / "2.jpg").symlink_to("2.jpg")
    (tmp_path / "mixed" / "b" / "up").symlink_to(tmp_path / "mixed")
    for name in (".DS_Store", "b/Thumbs.db", "notes.txt", "b/predictions.csv"):
        (tmp_path / "mixed" / name).write_text("no photo")
    return tmp_path / "mixed"


def test_nothing_in_a_folder_is_passed_over(model: Model, mixed: Path) -> None:
    told = Told()
    found = {row.image: row.error for row in kramar.classify(model, mixed, progress=told)}
    assert found == {
        f"{mixed}/a.jpg": "the link leads nowhere",
        f"{mixed}/b/1.jpg": "",
        f"{mixed}/b/2.jpg": "the link leads to itself",
        f"{mixed}/b/up": "the link leads to a folder that it is in",
    }
    assert list(found) == sorted(found)
    assert told.said == [f"{mixed}: left out 2 not named like photos, 2 hidden"]
    assert told.stages == [["Classifying photos", 4, 4]]


def test_strict_gives_every_row_and_then_fails(model: Model, mixed: Path, tmp_path: Path) -> None:
    predictions = kramar.classify(model, mixed, out=tmp_path / "out.csv", strict=True)
    assert [next(predictions).error for _ in range(4)].count("") == 1
    with pytest.raises(DataError, match="--strict, and 3 of 4 photos could not be read"):
        next(predictions)
    assert len((tmp_path / "out.csv").read_text(encoding="utf-8").splitlines()) == 5


def test_strict_minds_no_files_that_are_no_photos(model: Model, tmp_path: Path) -> None:
    put(tmp_path / "1.jpg", "Box", 1)
    for name in (".DS_Store", "Thumbs.db", "notes.txt"):
        (tmp_path / name).write_text("no photo")
    assert len(list(kramar.classify(model, tmp_path, strict=True))) == 1


def test_a_link_that_leads_nowhere_is_a_row_where_it_is_named(model: Model, shop: Path, tmp_path: Path) -> None:
    (tmp_path / "1.jpg").symlink_to(shop / "Box" / "1.jpg")
    (tmp_path / "2.jpg").symlink_to("gone.jpg")
    for given in ([tmp_path / "1.jpg", tmp_path / "2.jpg"], [str(tmp_path / "*.jpg")]):
        assert [row.error for row in kramar.classify(model, given)] == ["", "the link leads to no file"]


def test_a_folder_is_walked_once_and_before_the_first_prediction(
    model: Model, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    walked = []
    scandir = os.scandir

    def counted(folder: Any) -> Any:
        walked.append(folder)
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", counted)
    predictions = kramar.classify(model, shop)
    assert len(walked) == 4
    list(predictions)
    assert len(walked) == 4


def test_a_table_whose_encoding_is_a_guess_is_told(model: Model, tmp_path: Path) -> None:
    put(tmp_path / "яблуко.jpg", "Box", 1)
    (tmp_path / "some.csv").write_text("image\nяблуко.jpg\n", encoding="cp1251")
    told = Told()
    (prediction,) = kramar.classify(model, tmp_path / "some.csv", progress=told)
    assert not prediction.error
    assert told.said == [
        f"Warning: {tmp_path}/some.csv: not UTF-8, read as cp1251; if letters look wrong, save it as UTF-8"
    ]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("x" * 300, "cannot be opened (File name too long)"),
        ("tables", "found none but 1 not named like photos; if photos.csv is the table of the photos, give tables/"),
        ("no-such.jpg", "no such photo, folder or table"),
        ("*.jpg", "no photo fits it as a pattern"),
        ("empty", "expected photos in the folder, found none"),
        ("urls.csv", "found the URL 'https://shop.example/1.jpg'"),
        ("labels.csv", "expected the column 'image', found 'label'"),
    ],
)
def test_what_is_no_photo(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("tables").mkdir()
    Path("tables/photos.csv").write_text("image\n1.jpg\n")
    Path("urls.csv").write_text("image\nhttps://shop.example/1.jpg\n")
    Path("labels.csv").write_text("label\nBox\n")
    with pytest.raises(DataError) as refused:
        kramar.classify(model, [given], out="out.csv")
    assert message in str(refused.value)
    assert not Path("out.csv").exists()


def test_arguments_that_are_none(model: Model, shop: Path) -> None:
    with pytest.raises(InputError, match="no photos given"):
        kramar.classify(model, [])
    with pytest.raises(InputError, match="--top: expected a whole number from 1, found 0"):
        kramar.classify(model, shop, top=0)
    with pytest.raises(
        InputError, match=r"--out: expected a file ending in \.csv, \.jsonl, \.parquet, found 'a\.xlsx'"
    ):
        kramar.classify(model, shop, out="a.xlsx")


# What is written


def test_csv_holds_every_name_and_error(model: Model, odd: Path, tmp_path: Path) -> None:
    predictions = list(kramar.classify(model, odd, out=tmp_path / "out.csv"))
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == COLUMNS
    assert [row["image"] for row in rows] == [prediction.image for prediction in predictions]
    assert {Path(row["image"]).name for row in rows} == {*NAMES, "empty.jpg", "cut.jpg", "text.jpg"}
    bad = {Path(row["image"]).name: row for row in rows if row["error"]}
    assert bad.keys() == {"empty.jpg", "cut.jpg", "text.jpg"}
    assert "the file is empty (0 bytes)" in bad["empty.jpg"]["error"]
    for row in rows:
        if row["error"]:
            assert [row[name] for name in COLUMNS[1:-1]] == [""] * 6
        else:
            assert row["label"] in model.classes
            assert 0 < float(row["probability"]) <= 1
            assert row["decision"] in ("auto", "coarse", "review")
            assert not row["set"], "nine validation photos promise no sets"
            assert float(row["unknown_score"]) >= 0


def test_jsonl_holds_the_same_and_the_top(model: Model, odd: Path, tmp_path: Path) -> None:
    predictions = list(kramar.classify(model, odd, out=tmp_path / "out.jsonl", top=3))
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").split("\n")[:-1]]
    assert [list(row) for row in rows] == [[*COLUMNS, "top"]] * len(predictions)
    assert [Prediction(**row) for row in rows] == predictions
    assert all(len(row["top"]) == (0 if row["error"] else 3) for row in rows)
    assert set(rows[0]["top"][0]) == {"label", "probability"}


def test_parquet_holds_the_same(model: Model, odd: Path, tmp_path: Path) -> None:
    predictions = list(kramar.classify(model, odd, out=tmp_path / "out.parquet"))
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.column_names == COLUMNS
    assert table.schema.field("probability").type == pa.float64()
    for row, prediction in zip(table.to_pylist(), predictions, strict=True):
        assert (row["image"], row["label"], row["error"]) == (prediction.image, prediction.label, prediction.error)
        assert row["probability"] == prediction.probability


def test_parquet_of_more_rows_than_are_kept_waiting(
    model: Model, shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kramar.jobs.prediction_files._PARQUET_ROWS", 7)
    names = images(kramar.classify(model, shop, out=tmp_path / "out.parquet"))
    assert pq.read_table(tmp_path / "out.parquet")["image"].to_pylist() == names
    assert len(names) == 60


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("interruption", [KeyboardInterrupt, None], ids=["raised", "left early"])
def test_an_interruption_leaves_what_was_there(
    model: Model, shop: Path, tmp_path: Path, suffix: str, interruption: type[BaseException] | None
) -> None:
    out = tmp_path / f"out.{suffix}"
    for before in ({}, {out.name: b"of yesterday"}):
        for name, content in before.items():
            (tmp_path / name).write_bytes(content)
        predictions: Any = kramar.classify(model, shop, out=out)
        next(predictions)
        assert {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.suffix != ".tmp"} == before
        if interruption is None:
            predictions.close()
        else:
            with pytest.raises(interruption):
                predictions.throw(interruption())
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_finished_file_takes_the_place_of_an_old_one(model: Model, shop: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "out.csv"
    for kind in ("Box", "Tent"):
        list(kramar.classify(model, shop / kind, out=out))
        assert out.read_text(encoding="utf-8").count(f"/{kind}/") == 20
    assert list(out.parent.iterdir()) == [out]


# Names that are no UTF-8


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has names that are not UTF-8")
def test_a_name_that_is_not_utf_8(model: Model, tmp_path: Path) -> None:
    name = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jpg")
    Path(name).write_bytes(encoded("Box", 1))
    for given in ([name], str(tmp_path / "*.jpg"), [os.path.dirname(name)]):  # noqa: PTH120 - a str, as on a command line
        for suffix in ("csv", "jsonl", "parquet"):
            out = Path(os.fsdecode(os.fsencode(tmp_path) + b"/out/\xe9." + suffix.encode()))
            (prediction,) = kramar.classify(model, given, out=out)
            assert prediction.label in model.classes
            assert prediction.image == f"{tmp_path}/caf\\udce9.jpg"
            content = out.read_bytes()
            if suffix == "parquet":
                assert pq.read_table(pa.BufferReader(content))["image"].to_pylist() == [prediction.image]
            else:
                shown = json.dumps(prediction.image) if suffix == "jsonl" else prediction.image
                assert shown in content.decode()


# Memory


def test_an_endless_stream_is_read_only_a_little_ahead(model: Model) -> None:
    photo, taken = encoded("Box", 1), 0

    def endless() -> Iterator[bytes]:
        nonlocal taken
        for taken in itertools.count(1):  # noqa: B007 - the count is what the test looks at
            yield photo

    stream = model.stream(endless())
    for done in range(1, 101):
        next(stream)
        assert taken <= done + 64
    stream.close()  # type: ignore[attr-defined]


def test_photos_are_opened_only_a_little_ahead(model: Model, shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Path] = []
    read = PhotoFile.read

    def counted(photo: PhotoFile) -> bytes:
        opened.append(photo.path)
        return read(photo)

    monkeypatch.setattr(PhotoFile, "read", counted)
    predictions = kramar.classify(model, [shop, shop, shop])
    assert not opened, "nothing is read before the first prediction is asked for"
    next(predictions)
    assert len(opened) <= 64
    assert len(list(predictions)) == 179
    assert len(opened) == 180


# Products


def test_a_product_is_one_row_by_all_of_its_photos(model: Model, shop: Path, tmp_path: Path) -> None:
    names = [str(shop / "Tent" / "1.jpg"), str(shop / "Box" / "1.jpg"), str(shop / "Tent" / "2.jpg")]
    (tmp_path / "cut.jpg").write_bytes(encoded("Tent", 1)[:200])
    lines = [f"{names[0]},tent", f"{names[1]},", "cut.jpg,tent", "none.jpg,gone", f"{names[2]},tent", f"{names[1]},"]
    table = tmp_path / "goods.csv"
    table.write_text("\n".join(["image,product", *lines]), encoding="utf-8")
    told = Told()
    found = list(kramar.classify(model, table, products=True, out=tmp_path / "out.csv", progress=told))
    assert [one.image for one in found] == ["tent", names[1], "gone", names[1]]
    assert told.stages == [["Classifying products", 4, 4]]
    (said,) = told.said
    assert said.startswith("Warning: product 'tent': 'cut.jpg' is left out: ")
    assert "no file 'none.jpg'" in found[2].error
    alone = model.classify([names[0], names[2], names[1]])
    assert found[1].model_dump(exclude={"image"}) == alone[2].model_dump(exclude={"image"})
    # The geometric mean of two photos' probabilities, by hand.
    each = [{one.label: one.probability for one in photo.top} for photo in model.classify([names[0], names[2]], top=99)]
    means = {label: (each[0][label] * each[1][label]) ** 0.5 for label in each[0]}
    assert found[0].label == max(means, key=means.__getitem__)
    assert found[0].probability == pytest.approx(means[found[0].label] / sum(means.values()), abs=1e-4)
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == COLUMNS
    assert [row["image"] for row in rows] == ["tent", names[1], "gone", names[1]]
    with pytest.raises(DataError, match="1 of 4 products could not be read"):
        list(kramar.classify(model, table, products=True, strict=True))


def test_products_need_a_table_that_names_them(model: Model, shop: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--products: expected a table with a column product, found"):
        kramar.classify(model, shop, products=True)
    table = tmp_path / "goods.csv"
    table.write_text(f"image,item\n{shop / 'Tent' / '1.jpg'},7\n", encoding="utf-8")
    with pytest.raises(DataError, match="expected the column 'product', found 'image', 'item'"):
        kramar.classify(model, table, products=True)
    (found,) = kramar.classify(model, table, products=True, columns={"product": "item"})
    assert found.image == "7"
    with pytest.raises(InputError, match="leave --products away, or --explain"):
        kramar.classify(model, table, products=True, columns={"product": "item"}, explain=tmp_path / "heat")
