import hashlib
import os
import random
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from drawn import Held
from kramar.data.listing import Listing, NoPhoto, Photo, PhotoFile, Row
from kramar.data.manifest import Entry, fingerprint, hash_photos, require_classes, warnings, write_manifest
from kramar.errors import DataError, OutputError
from kramar.progress import Silent


def entry(key: str, label: str = "Apple", split: str = "train", product: str = "") -> Entry:
    data = key.encode()
    return Entry(f"{label}/{key}.jpg", Held(data), hashlib.sha256(data).hexdigest(), label, label, product, split)


def row(image: str, photo: Photo, label: str = "Apple") -> Row:
    return Row(image, photo, label, f"Fruit/{label}", "sku1", "val")


def test_every_photo_is_hashed_in_the_listings_order(tmp_path: Path) -> None:
    path = tmp_path / "1.jpg"
    path.write_bytes(b"one")
    rows = [row("1.jpg", PhotoFile(path)), *(row(f"{n}.jpg", Held(b"%d" % n)) for n in range(2, 40))]
    entries, left_out = hash_photos(Listing(rows), Silent())
    assert left_out == []
    assert [one.image for one in entries] == [f"{n}.jpg" for n in range(1, 40)]
    assert entries[0].hash == hashlib.sha256(b"one").hexdigest()
    assert entries[6].hash == hashlib.sha256(b"7").hexdigest()
    assert (entries[0].label, entries[0].category, entries[0].product, entries[0].split) == (
        "Apple",
        "Fruit/Apple",
        "sku1",
        "val",
    )


def test_photos_that_cannot_be_opened_are_left_out_by_kind(tmp_path: Path) -> None:
    rows = [
        row("gone.jpg", PhotoFile(tmp_path / "gone.jpg")),
        row("here.jpg", Held(b"x")),
        row("folder.jpg", PhotoFile(tmp_path)),
        row("none.jpg", NoPhoto("no_image", "row 4: no image")),
    ]
    entries, left_out = hash_photos(Listing(rows), Silent())
    assert [one.image for one in entries] == ["here.jpg"]
    assert [(out.image, out.kind) for out in left_out] == [
        ("gone.jpg", "missing"),
        ("folder.jpg", "unreadable"),
        ("none.jpg", "no_image"),
    ]
    assert left_out[2].detail == "row 4: no image"


def test_a_group_is_the_product_or_else_the_photo() -> None:
    assert entry("a", product="sku1").group == entry("b", product="sku1").group
    assert entry("a").group == entry("a", label="Pear").group != entry("b").group


def test_the_fingerprint_knows_neither_order_nor_paths() -> None:
    entries = [entry(key, label) for key in "abc" for label in ("Apple", "Pear")]
    found = fingerprint(entries)
    assert len(found) == 32
    moved = [replace(one, image=f"elsewhere/{one.image}", photo=Held(b"")) for one in entries]
    assert fingerprint(random.Random(1).sample(moved, len(moved))) == found


def test_the_fingerprint_changes_with_whatever_a_model_depends_on() -> None:
    entries = [entry(key) for key in "abc"]
    changes: list[dict[str, Any]] = [{field: "x"} for field in ("hash", "label", "category", "product")]
    others = [
        entries[:2],
        [*entries, entries[0]],
        *([replace(entries[0], **change), *entries[1:]] for change in changes),
        [replace(entries[0], split="test"), *entries[1:]],
    ]
    prints = [fingerprint(one) for one in (entries, *others)]
    assert len(set(prints)) == len(prints)


def test_fields_cannot_run_into_each_other() -> None:
    one = replace(entry("a"), label="ab", category="c")
    other = replace(entry("a"), label="a", category="bc")
    assert fingerprint([one]) != fingerprint([other])


def test_labels_that_differ_by_case_or_spaces_are_warned_of() -> None:
    said = warnings([entry("a", "Red Apple"), entry("b", "red  apple"), entry("c", "Pear")])
    assert len(said) == 1
    assert "'Red Apple', 'red  apple'" in said[0]
    assert "Pear" not in said[0]


def test_copies_with_different_labels_are_warned_of() -> None:
    said = warnings([entry("a", "Apple"), entry("a", "Pear"), entry("b", "Apple"), entry("b", "Apple")])
    assert [one for one in said if "1 photo(s) are there more than once with different labels" in one]


@pytest.mark.parametrize(("other", "leaks"), [("train", 1), ("val", 1), ("test", 0)])
def test_test_photos_that_are_trained_on_are_warned_of(other: str, leaks: int) -> None:
    said = warnings([entry("a", split="test"), entry("a", split=other), entry("b"), entry("b", split="val")])
    assert sum("byte for byte" in one for one in said) == leaks


def test_clean_data_is_not_warned_of() -> None:
    assert warnings([entry("a"), entry("b", "Pear", "test"), entry("c", "Pear")]) == []


def test_classes_are_the_labels_of_training_photos() -> None:
    entries = [entry("a", "Pear"), entry("b", "Apple"), entry("c", "Fig", "test"), entry("d", "Apple")]
    assert require_classes(entries, Path("shop")) == ["Apple", "Pear"]


@pytest.mark.parametrize(
    ("entries", "found"),
    [
        ([], "found none"),
        ([entry("a", "Pear", "test"), entry("b", "Apple", "val")], "found none"),
        ([entry("a", "Pear"), entry("b", "Apple", "test")], r"found one class \('Pear'\)"),
    ],
)
def test_fewer_than_two_classes_are_refused(entries: list[Entry], found: str) -> None:
    with pytest.raises(DataError, match=f"shop: expected training photos of at least two classes, {found}"):
        require_classes(entries, Path("shop"))


def test_the_manifest_is_a_parquet_of_one_row_a_photo(tmp_path: Path) -> None:
    entries = [entry("a", "Яблуко", product="sku1"), entry("b", "Pear", "test")]
    path = tmp_path / "manifest.parquet"
    write_manifest(entries, path)
    table = pq.read_table(path)
    assert table.column_names == ["image", "hash", "label", "category", "product", "split"]
    assert table.to_pylist()[0] == {
        "image": "Яблуко/a.jpg",
        "hash": hashlib.sha256(b"a").hexdigest(),
        "label": "Яблуко",
        "category": "Яблуко",
        "product": "sku1",
        "split": "train",
    }
    assert [one.name for one in tmp_path.iterdir()] == ["manifest.parquet"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has names that are not UTF-8")
def test_a_manifest_in_a_folder_whose_name_is_not_utf_8(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    write_manifest([entry("a")], folder / "manifest.parquet")
    assert pq.read_table(pa.BufferReader((folder / "manifest.parquet").read_bytes())).num_rows == 1


def test_a_manifest_that_cannot_be_written_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="a file is where a folder was expected"):
        write_manifest([entry("a")], tmp_path / "file" / "manifest.parquet")
