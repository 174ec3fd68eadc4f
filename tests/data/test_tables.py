import json
import shutil
import unicodedata
from pathlib import Path

import pytest

from kramar.data.listing import Listing, PhotoFile
from kramar.data.tables import list_images, list_table
from kramar.errors import DataError, PhotoError


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    for name in ("1.jpg", "2.jpg", "3.jpg"):
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path


def table(folder: Path, content: str | bytes, name: str = "products.csv", encoding: str = "utf-8") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return path


def labels(listing: Listing) -> list[tuple[str, str]]:
    return [(row.image, row.label) for row in listing.rows]


def left_out(listing: Listing) -> list[tuple[str, str]]:
    return [(out.kind, out.detail.partition(":")[0]) for out in listing.left_out]


def refusal(path: Path, columns: dict[str, str] | None = None) -> str:
    with pytest.raises(DataError) as caught:
        list_table(path, columns or {})
    message = str(caught.value)
    assert message.startswith(str(path))
    assert len(message.splitlines()) == 1
    return message.removeprefix(str(path))


def test_all_columns_are_read(shop: Path) -> None:
    content = (
        "split,product,category,label,image\nTrain,p1,Fruit/Apple,Apple,1.jpg\nvalid,,,Pear,2.jpg\ntest,p1,,Fig,3.jpg\n"
    )
    listing = list_table(table(shop, content), {})
    first, second, third = listing.rows
    assert (first.image, first.label, first.category, first.product) == (
        "1.jpg",
        "Apple",
        "Fruit/Apple",
        "p1",
    )
    assert (second.category, second.product) == ("Pear", "")
    assert [row.split for row in listing.rows] == ["train", "val", "test"]
    assert third.photo == PhotoFile(shop / "3.jpg")
    assert (listing.split_from, listing.left_out, listing.warnings) == ("table", [], [])


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_the_one_that_shows_the_columns(shop: Path, delimiter: str) -> None:
    rows = [["photo, new", "a;b", "group"], ["1.jpg", "x|y", "Сир, твердий"]]
    content = "\n".join(delimiter.join(f'"{cell}"' for cell in row) for row in rows)
    listing = list_table(table(shop, content), {"image": "photo, new", "label": "group"})
    assert labels(listing) == [("1.jpg", "Сир, твердий")]


def test_excels_delimiter_line(shop: Path) -> None:
    listing = list_table(table(shop, "sep=;\r\nimage;label\r\n1.jpg;A\r\nno.jpg;B\r\n"), {})
    assert labels(listing) == [("1.jpg", "A")]
    assert left_out(listing) == [("missing", "row 4")]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_marked_encodings_need_no_guess(shop: Path, encoding: str) -> None:
    listing = list_table(table(shop, "image,label\n1.jpg,Їжак\n", encoding=encoding), {})
    assert labels(listing) == [("1.jpg", "Їжак")]
    assert listing.warnings == []


def test_utf16_without_native_order(shop: Path) -> None:
    path = table(shop, b"\xfe\xff" + "image,label\n1.jpg,Сир\n".encode("utf-16-be"))
    assert labels(list_table(path, {})) == [("1.jpg", "Сир")]


def test_cp1251_with_semicolons_is_read_and_said(shop: Path) -> None:
    content = "image;label;category\r\n1.jpg;Яблуко;Фрукти/Яблуко\r\n2.jpg;Сир «Їжак»;\r\n"
    listing = list_table(table(shop, content, encoding="cp1251"), {})
    assert labels(listing) == [("1.jpg", "Яблуко"), ("2.jpg", "Сир «Їжак»")]
    assert listing.rows[0].category == "Фрукти/Яблуко"
    assert len(listing.warnings) == 1
    assert "cp1251" in listing.warnings[0]


def test_quoted_newlines_and_odd_names(shop: Path) -> None:
    name = 'it\'s a "new",\nline 🧀.jpg'
    (shop / name).write_bytes(b"odd")
    quoted = name.replace('"', '""')
    listing = list_table(table(shop, f'image,label\n"{quoted}","two\nlines"\nnone.jpg,B\n'), {})
    assert labels(listing) == [(name, "two\nlines")]
    assert listing.rows[0].photo.read() == b"odd"
    assert listing.left_out[0].detail.startswith("row 3 (line 5):")


def test_labels_are_kept_as_written(shop: Path) -> None:
    listing = list_table(table(shop, "image,label\n1.jpg, Apple\n2.jpg,apple \n3.jpg,007\n"), {})
    assert [row.label for row in listing.rows] == [" Apple", "apple ", "007"]


def test_rows_that_cannot_be_used_are_left_out_by_kind(shop: Path) -> None:
    content = 'image,label\n,A\n1.jpg, \n\n1.jpg,A,extra\n1.jpg\n"a"b,C\nnone.jpg,A\n2.jpg,A\n'
    listing = list_table(table(shop, content), {})
    assert labels(listing) == [("2.jpg", "A")]
    assert left_out(listing) == [
        ("no_image", "row 2"),
        ("no_label", "row 3"),
        ("bad_row", "row 5"),
        ("bad_row", "row 6"),
        ("bad_row", "row 7"),
        ("missing", "row 8"),
    ]


def test_paths_are_relative_to_the_table_absolute_or_with_backslashes(shop: Path) -> None:
    (shop / "sub").mkdir()
    (shop / "sub" / "4.jpg").write_bytes(b"4")
    absolute = shop / "1.jpg"
    content = f"image,label\nsub\\4.jpg,A\n{absolute},B\n~/1.jpg,C\nsub,D\n{'x' * 300}.jpg,E\n"
    listing = list_table(table(shop, content), {})
    assert [row.photo for row in listing.rows] == [PhotoFile(shop / "sub" / "4.jpg"), PhotoFile(absolute)]
    assert listing.rows[0].image == "sub\\4.jpg"
    assert [out.kind for out in listing.left_out] == ["missing"] * 3


def test_missing_columns_are_named_with_the_nearest(shop: Path) -> None:
    message = refusal(table(shop, "images;group;price\n1.jpg;A;2\n"), {"label": "groups"})
    assert "expected the columns 'image', 'groups', found 'images', 'group', 'price'" in message
    assert message.endswith("--columns label=group,image=images")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "no row"),
        ("image,label\n", "no row"),
        ("image,label\nnone.jpg,A\n", "1 missing (first: row 2"),
        ("image,label,label\n1.jpg,A,B\n", "one column 'label', found 2"),
        (
            "image,label\n1.jpg,A\nhttps://shop.ua/2.jpg,B\n",
            "row 3: expected a path in column 'image', found the URL",
        ),
        ("image,label\nS3://shop/2.jpg,B\n", "aws s3 cp"),
        ("image,label,split\n1.jpg,A,holdout\n", "row 2: column 'split': expected one of train, val"),
        ("image,label,split\n1.jpg,A,train\n2.jpg,A,\n3.jpg,B,\n", "2 of 3 without (first: row 3)"),
        ('image,label\n1.jpg,"A\n2.jpg,B\n3.jpg,C\n', "row 2: expected a closing quote"),
        ('"image"x,label\n1.jpg,A\n', "row 1"),
        (b"image,label\n1.jpg,\0\n", "binary"),
        ("image,label\n1.jpg,とうもろこし\n".encode("shift_jis"), "UTF-8"),
        ("image,label\n1.jpg,A\n".encode("utf-16")[:-1], "broken characters"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "binary"),
    ],
)
def test_what_cannot_be_right_is_refused_in_one_line(shop: Path, content: str | bytes, expected: str) -> None:
    assert expected in refusal(table(shop, content))


def test_an_empty_split_column_says_nothing(shop: Path) -> None:
    listing = list_table(table(shop, "image,label,split\n1.jpg,A,\n2.jpg,B,\n"), {})
    assert listing.split_from == ""


def test_unknown_formats_are_refused(shop: Path) -> None:
    assert ".parquet" in refusal(table(shop, "", name="products.xlsx"))


def test_json_lines(shop: Path) -> None:
    lines = [
        json.dumps({"image": "1.jpg", "group": 7, "split": None}),
        "",
        json.dumps({"image": "2.jpg", "group": "Сир", "product": 12.5}, ensure_ascii=False),
        "{broken",
        "[1]",
        json.dumps({"image": "3.jpg", "group": ["A"]}),
        json.dumps({"image": "3.jpg", "group": "\ud800"}),
        json.dumps({"image": "3.jpg", "group": float("nan")}),
        json.dumps({"group": "A"}),
    ]
    listing = list_table(table(shop, "\n".join(lines), name="products.jsonl"), {"label": "group"})
    assert labels(listing) == [("1.jpg", "7"), ("2.jpg", "Сир")]
    assert listing.rows[1].product == "12.5"
    assert left_out(listing) == [
        ("bad_row", "line 4"),
        ("bad_row", "line 5"),
        ("bad_row", "line 6"),
        ("bad_row", "line 7"),
        ("no_label", "line 8"),
        ("no_image", "line 9"),
    ]


def test_json_lines_without_the_column(shop: Path) -> None:
    message = refusal(table(shop, '{"image": "1.jpg", "group": "A"}\n', name="products.ndjson"))
    assert message.endswith("found 'image', 'group'; name yours with --columns label=group")


def test_images_need_no_labels(shop: Path) -> None:
    path = table(shop, "photo;price\n1.jpg;1\n;2\nnone.jpg;3\n2.jpg\n")
    images, warnings = list_images(path, {"image": "photo"})
    assert warnings == []
    assert [name for name, *_ in images] == ["1.jpg", "products.csv", "none.jpg", "products.csv"]
    assert images[0][1].read() == b"1.jpg"
    kinds = []
    for _, photo, _ in images[1:]:
        with pytest.raises(PhotoError) as caught:
            photo.read()
        kinds.append(caught.value.kind)
    assert kinds == ["no_image", "missing", "bad_row"]


def test_images_of_a_table_whose_encoding_is_a_guess(shop: Path) -> None:
    _, (warning,) = list_images(table(shop, "image,label\n1.jpg,Яблуко\n", encoding="cp1251"), {})
    assert "not UTF-8, read as cp1251" in warning


def test_images_of_an_empty_table(shop: Path) -> None:
    with pytest.raises(DataError, match="found no row"):
        list_images(table(shop, "image\n"), {})


def test_products_are_the_same_however_they_are_spelt(shop: Path) -> None:
    rows = "image,label,product\n1.jpg,A,A-17\n2.jpg,A,A-17 \n3.jpg,A, \n"
    assert [row.product for row in list_table(table(shop, rows), {}).rows] == ["A-17", "A-17", ""]
    lines = '{"image": "1.jpg", "label": 12, "product": 7}\n{"image": "2.jpg", "label": 12.0, "product": 7.0}\n'
    first, second = list_table(table(shop, lines, name="products.jsonl"), {}).rows
    assert (first.label, first.product) == (second.label, second.product) == ("12", "7")


def test_accents_are_the_same_however_they_are_written(shop: Path) -> None:
    name = "\u0457\u0436\u0430"  # with a letter that a Mac writes as two characters
    assert unicodedata.normalize("NFD", name) != name
    shutil.copy(shop / "1.jpg", shop / unicodedata.normalize("NFD", f"{name}.jpg"))
    rows = f"image,label\n{name}.jpg,{name}\n1.jpg,{unicodedata.normalize('NFD', name)}\n"
    listing = list_table(table(shop, rows), {})
    assert [row.label for row in listing.rows] == [name, name]
    assert not listing.left_out
