import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from kramar.data.folders import list_folder
from kramar.data.listing import PhotoFile
from kramar.data.parquet import ParquetPhoto
from kramar.data.tables import list_images, list_table
from kramar.errors import DataError, MissingExtra, PhotoError

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

NAMES = ["Apple", "Сир"]


def hugging_face(path: Path, images: list[dict[str, Any] | None], labels: list[int | None], **options: Any) -> Path:
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": NAMES}}
    schema = pa.schema(
        [("image", kind), ("label", pa.int64())],
        metadata={b"huggingface": json.dumps({"info": {"features": features}}).encode()},
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"image": images, "label": labels}, schema), path, **options)
    return path


def photos(count: int, start: int = 0) -> list[dict[str, Any] | None]:
    return [{"bytes": b"photo %d" % number, "path": f"{number}.jpg"} for number in range(start, start + count)]


def test_class_numbers_become_names_and_photos_stay_in_the_file(tmp_path: Path) -> None:
    path = hugging_face(tmp_path / "shop.parquet", photos(5), [0, 1, 1, -1, None], row_group_size=2)
    listing = list_table(path, {})
    assert [(row.image, row.label) for row in listing.rows] == [
        ("0.jpg", "Apple"),
        ("1.jpg", "Сир"),
        ("2.jpg", "Сир"),
    ]
    assert listing.rows[2].photo == ParquetPhoto(path, 2)
    assert [row.photo.read() for row in listing.rows] == [b"photo 0", b"photo 1", b"photo 2"]
    assert [(out.kind, out.detail) for out in listing.left_out] == [
        ("no_label", "row 3: no label"),
        ("no_label", "row 4: no label"),
    ]


@pytest.mark.parametrize("statistics", [True, False])
def test_a_row_without_bytes_falls_back_to_its_path(tmp_path: Path, statistics: bool) -> None:
    (tmp_path / "beside.jpg").write_bytes(b"beside")
    images = [
        {"bytes": None, "path": "beside.jpg"},
        {"bytes": b"inside", "path": None},
        {"bytes": None, "path": "none.jpg"},
        {"bytes": None, "path": None},
        None,
    ]
    path = hugging_face(tmp_path / "shop.parquet", images, [0] * 5, write_statistics=statistics)
    listing = list_table(path, {})
    assert [row.image for row in listing.rows] == ["beside.jpg", "shop.parquet#1"]
    assert listing.rows[0].photo == PhotoFile(tmp_path / "beside.jpg")
    assert [row.photo.read() for row in listing.rows] == [b"beside", b"inside"]
    assert [out.kind for out in listing.left_out] == ["missing", "no_image", "no_image"]


def test_plain_binary_and_numbers_without_names(tmp_path: Path) -> None:
    path = tmp_path / "shop.parquet"
    pq.write_table(pa.table({"img": [b"a", b"b", None], "label": [3, 4, 5], "split": ["train", "test", None]}), path)
    listing = list_table(path, {"image": "img"})
    assert [(row.image, row.label, row.split) for row in listing.rows] == [
        ("shop.parquet#0", "3", "train"),
        ("shop.parquet#1", "4", "test"),
    ]
    assert [row.photo.read() for row in listing.rows] == [b"a", b"b"]
    assert [out.kind for out in listing.left_out] == ["no_image"]
    assert [name for name, *_ in list_images(path, {"image": "img"})[0]][:2] == [
        "shop.parquet#0",
        "shop.parquet#1",
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has names that are not UTF-8")
def test_a_file_whose_name_is_not_utf_8(tmp_path: Path) -> None:
    whole = hugging_face(tmp_path / "shop.parquet", [{"bytes": b"photo", "path": None}], [0])
    folder = tmp_path / "parts"
    folder.mkdir()
    path = whole.rename(os.fsdecode(os.fsencode(folder) + b"/train-caf\xe9.parquet"))
    for listing in (list_table(path, {}), list_folder(folder)):
        (row,) = listing.rows
        assert (row.image, row.label, row.photo.read()) == ("train-caf\\udce9.parquet#0", "Apple", b"photo")
        assert listing.left_out == []


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_paths_of_every_text_type(tmp_path: Path, kind: Any) -> None:
    (tmp_path / "1.jpg").write_bytes(b"1")
    path = tmp_path / "shop.parquet"
    pq.write_table(pa.table({"image": pa.array(["1.jpg", "2.jpg"], kind), "label": pa.array(["A", "B"], kind)}), path)
    listing = list_table(path, {})
    assert [(row.image, row.label, row.photo) for row in listing.rows] == [
        ("1.jpg", "A", PhotoFile(tmp_path / "1.jpg"))
    ]
    assert [out.kind for out in listing.left_out] == ["missing"]


def test_threads_read_the_right_photos(tmp_path: Path) -> None:
    path = hugging_face(tmp_path / "shop.parquet", photos(300), [0] * 300, row_group_size=7)
    rows = list_table(path, {}).rows
    with ThreadPoolExecutor(8) as pool:
        read = list(pool.map(lambda row: row.photo.read(), rows))
        backwards = list(pool.map(lambda row: row.photo.read(), rows[::-1]))
    assert read == backwards[::-1] == [b"photo %d" % number for number in range(300)]


def test_a_rewritten_file_is_read_anew(tmp_path: Path) -> None:
    path = hugging_face(tmp_path / "shop.parquet", photos(3), [0] * 3)
    assert ParquetPhoto(path, 1).read() == b"photo 1"
    hugging_face(path, photos(2, start=1000), [0] * 2)
    assert ParquetPhoto(path, 1).read() == b"photo 1001"
    with pytest.raises(PhotoError, match="holds no photo"):
        ParquetPhoto(path, 2).read()
    path.write_bytes(b"PAR1 no more")
    with pytest.raises(PhotoError, match="cannot be read") as unreadable:
        ParquetPhoto(path, 1).read()
    path.unlink()
    with pytest.raises(PhotoError) as missing:
        ParquetPhoto(path, 1).read()
    assert (unreadable.value.kind, missing.value.kind) == ("unreadable", "missing")


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"image": ["1.jpg"], "kind": ["A"]}, "name yours with --columns label=kind"),
        ({"image": [[1, 2]], "label": ["A"]}, "expected paths, bytes or struct"),
        ({"image": pa.array([], pa.string()), "label": pa.array([], pa.string())}, "found no row"),
        ({"image": ["s3://shop/1.jpg"], "label": ["A"]}, "row 0: expected a path"),
    ],
)
def test_tables_that_cannot_be_right_are_refused(tmp_path: Path, columns: dict[str, Any], expected: str) -> None:
    path = tmp_path / "shop.parquet"
    pq.write_table(pa.table(columns), path)
    with pytest.raises(DataError) as caught:
        list_table(path, {})
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_number_without_a_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="row 1: column 'label': expected a number below 2"):
        list_table(hugging_face(tmp_path / "shop.parquet", photos(2), [0, 2]), {})


def test_a_broken_file_is_refused_in_one_line(tmp_path: Path) -> None:
    path = hugging_face(tmp_path / "shop.parquet", photos(200), [0] * 200)
    for broken in (b"", b"image,label\n", path.read_bytes()[:-50]):
        path.write_bytes(broken)
        with pytest.raises(DataError, match="expected a Parquet file") as caught:
            list_table(path, {})
        assert "\n" not in str(caught.value)


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = hugging_face(tmp_path / "shop.parquet", photos(1), [0])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r"pip install 'kramar\[train\]'"):
        list_table(path, {})


def test_a_folder_of_parts_takes_splits_from_the_names(tmp_path: Path) -> None:
    for name in ("train-00000-of-00002", "train-00001-of-00002", "validation-00000-of-00001", "test"):
        hugging_face(tmp_path / "data" / f"{name}.parquet", photos(1), [0])
    (tmp_path / "README.md").write_text("about")
    listing = list_folder(tmp_path)
    assert [row.split for row in listing.rows] == ["test", "train", "train", "val"]
    assert listing.split_from == "folders"
    assert [(out.image, out.kind) for out in listing.left_out] == [("README.md", "not_an_image")]


def test_a_folder_of_parts_without_split_names(tmp_path: Path) -> None:
    pq.write_table(pa.table({"img": [b"a"], "label": ["A"]}), tmp_path / "part-0.parquet")
    pq.write_table(pa.table({"img": [b"b"], "label": ["B"]}), tmp_path / "part-1.parquet")
    listing = list_folder(tmp_path, {"image": "img"})
    assert [(row.label, row.split) for row in listing.rows] == [("A", ""), ("B", "")]
    assert listing.split_from == ""


@pytest.mark.parametrize("name", ["extra.parquet", "more/train.parquet"])
def test_a_stray_part_is_refused(tmp_path: Path, name: str) -> None:
    hugging_face(tmp_path / "train.parquet", photos(1), [0])
    hugging_face(tmp_path / name, photos(1), [0])
    with pytest.raises(DataError, match=r"expected (a split|Parquet files in one folder)"):
        list_folder(tmp_path)
