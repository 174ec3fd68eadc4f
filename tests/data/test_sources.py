from pathlib import Path

import pytest

from kramar.data.sources import list_photos
from kramar.errors import DataError


def fill(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"photo")


def refusal(data: Path, columns: dict[str, str] | None = None) -> str:
    with pytest.raises(DataError) as caught:
        list_photos(data, columns or {})
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_folders_and_tables_are_told_apart(tmp_path: Path) -> None:
    fill(tmp_path, "A/1.jpg")
    (tmp_path / "shop.csv").write_text("image,label\nA/1.jpg,Apple\n")
    assert [row.label for row in list_photos(tmp_path, {}).rows] == ["A"]
    assert [row.label for row in list_photos(tmp_path / "shop.csv", {}).rows] == ["Apple"]


def test_nothing_there(tmp_path: Path) -> None:
    assert "no such folder or table" in refusal(tmp_path / "none")
    assert "no such folder or table" in refusal(tmp_path / "none.csv")


def test_an_unknown_kind_of_file(tmp_path: Path) -> None:
    fill(tmp_path, "shop.xlsx", "1.jpg")
    assert ".csv, .tsv, .txt, .jsonl, .ndjson, .parquet" in refusal(tmp_path / "shop.xlsx")
    assert "'.jpg'" in refusal(tmp_path / "1.jpg")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ((), "found nothing; check the path"),
        (("A/notes.doc", "b.doc", ".DS_Store"), "found none but 1 hidden, 2 not_an_image; check the path"),
        (("1.jpg", "2.jpg"), "found none but 2 no_label; put the photos into a folder a class"),
        (("shop.csv", "A/b.doc"), "if shop.csv is the table of the photos, give "),
    ],
)
def test_a_folder_without_labelled_photos(tmp_path: Path, names: tuple[str, ...], expected: str) -> None:
    fill(tmp_path, *names)
    message = refusal(tmp_path)
    assert message.startswith(f"{tmp_path}: expected class folders with photos")
    assert expected in message


def test_columns_with_a_folder(tmp_path: Path) -> None:
    fill(tmp_path, "A/1.jpg")
    assert "--columns" in refusal(tmp_path, {"image": "photo"})
