from pathlib import Path

import pytest

from kramar.data.listing import SPLIT_NAMES, Listing, PhotoFile, Row
from kramar.errors import PhotoError


def test_a_photo_file_gives_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"\xff\xd8 apples")
    assert PhotoFile(path).read() == b"\xff\xd8 apples"


def test_a_photo_that_is_not_there_is_missing(tmp_path: Path) -> None:
    with pytest.raises(PhotoError) as raised:
        PhotoFile(tmp_path / "photo.jpg").read()
    assert raised.value.kind == "missing"


@pytest.mark.parametrize("name", ["folder", "file/photo.jpg", "n" * 300, "nul\0.jpg"])
def test_what_cannot_be_opened_is_unreadable(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(PhotoError, match="cannot be opened") as raised:
        PhotoFile(tmp_path / name).read()
    assert raised.value.kind == "unreadable"


def test_listings_share_nothing_by_default() -> None:
    first, second = Listing([]), Listing([])
    assert first.left_out is not second.left_out
    assert first.warnings is not second.warnings
    assert first.split_from == ""
    row = Row("1.jpg", PhotoFile(Path("1.jpg")), "Apple", "Fruit/Apple")
    assert (row.product, row.split) == ("", "")


def test_every_split_name_means_one_of_the_three_parts() -> None:
    assert set(SPLIT_NAMES.values()) == {"train", "val", "test"}
    assert all(SPLIT_NAMES[part] == part for part in ("train", "val", "test"))
    assert SPLIT_NAMES["valid"] == SPLIT_NAMES["validation"] == "val"
