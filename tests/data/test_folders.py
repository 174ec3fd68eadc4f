import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from kramar.data.folders import PHOTO_SUFFIXES, list_folder, search
from kramar.data.listing import Listing, NoPhoto, PhotoFile, mendable
from kramar.errors import DataError

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="names or links that Windows does not have")


def fill(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"photo")


def labels(listing: Listing) -> list[tuple[str, str, str]]:
    return [(row.image, row.label, row.split) for row in listing.rows]


def left_out(listing: Listing) -> dict[str, str]:
    return {out.image: out.kind for out in listing.left_out}


def test_the_whole_path_is_the_label_and_the_category(tmp_path: Path) -> None:
    fill(tmp_path, "Fruit/Red/1.jpg", "Veg/Red/1.jpg", "Fruit/2.PNG")
    listing = list_folder(tmp_path)
    assert labels(listing) == [
        ("Fruit/2.PNG", "Fruit", ""),
        ("Fruit/Red/1.jpg", "Fruit/Red", ""),
        ("Veg/Red/1.jpg", "Veg/Red", ""),
    ]
    assert [row.category for row in listing.rows] == [row.label for row in listing.rows]
    assert listing.rows[0].photo == PhotoFile(tmp_path / "Fruit" / "2.PNG")
    assert listing.rows[0].photo.read() == b"photo"
    assert (listing.left_out, listing.warnings, listing.split_from) == ([], [], "")


def test_top_folders_named_like_splits_are_splits(tmp_path: Path) -> None:
    fill(tmp_path, "Train/A/1.jpg", "validation/A/B/2.jpg", "TEST/C/3.jpg", "notes/read.me", "train.csv")
    (tmp_path / "empty").mkdir()
    listing = list_folder(tmp_path)
    assert labels(listing) == [
        ("TEST/C/3.jpg", "C", "test"),
        ("Train/A/1.jpg", "A", "train"),
        ("validation/A/B/2.jpg", "A/B", "val"),
    ]
    assert listing.split_from == "folders"
    assert left_out(listing) == {"notes/read.me": "not_an_image", "train.csv": "not_an_image"}


def test_split_names_without_train_are_labels(tmp_path: Path) -> None:
    fill(tmp_path, "test/1.jpg", "val/1.jpg")
    listing = list_folder(tmp_path)
    assert labels(listing) == [("test/1.jpg", "test", ""), ("val/1.jpg", "val", "")]
    assert (listing.split_from, listing.warnings) == ("", [])


def test_a_class_folder_beside_splits_makes_them_labels_with_a_warning(tmp_path: Path) -> None:
    fill(tmp_path, "train/A/1.jpg", "test/A/1.jpg", "other/1.jpg")
    listing = list_folder(tmp_path)
    assert [row.label for row in listing.rows] == ["other", "test/A", "train/A"]
    assert len(listing.warnings) == 1
    assert "'other'" in listing.warnings[0]


def test_toy_trains_are_a_class(tmp_path: Path) -> None:
    fill(tmp_path, "train/1.jpg", "bus/1.jpg")
    assert [row.label for row in list_folder(tmp_path).rows] == ["bus", "train"]
    assert list_folder(tmp_path).warnings == []


def test_what_is_no_labelled_photo_is_left_out_by_kind(tmp_path: Path) -> None:
    hidden = ("A/.DS_Store", "A/._1.jpg", "A/Thumbs.db", "A/Desktop.ini")
    others = ("A/noending", "A/notes.txt")
    fill(tmp_path, "A/1.jpeg", *hidden, *others, "stray.jpg", ".git/config", ".git/2.jpg")
    (tmp_path / "A" / ".#2.jpg").symlink_to("ann@desk.4711")  # how Emacs marks a file that is open
    listing = list_folder(tmp_path)
    assert [row.image for row in listing.rows] == ["A/1.jpeg"]
    assert left_out(listing) == {
        **dict.fromkeys((*hidden, ".git", "A/.#2.jpg"), "hidden"),
        **dict.fromkeys(others, "not_an_image"),
        "stray.jpg": "no_label",
    }
    assert [out.image for out in mendable(listing.left_out)] == [*others, "stray.jpg"], "what --strict fails for"


def test_photos_directly_in_a_split_have_no_label(tmp_path: Path) -> None:
    fill(tmp_path, "train/A/1.jpg", "train/2.jpg")
    listing = list_folder(tmp_path)
    assert labels(listing) == [("train/A/1.jpg", "A", "train")]
    assert left_out(listing) == {"train/2.jpg": "no_label"}


@pytest.mark.parametrize("suffix", sorted(PHOTO_SUFFIXES))
def test_every_known_suffix_in_any_case(tmp_path: Path, suffix: str) -> None:
    fill(tmp_path, f"A/1{suffix}", f"B/2{suffix.upper()}")
    assert len(list_folder(tmp_path).rows) == 2


@posix_only
def test_odd_names_stay_as_they_are(tmp_path: Path) -> None:
    name = 'Сир «Їжак» 🧀/it\'s "new"\nline.jpg'
    fill(tmp_path, name)
    (row,) = list_folder(tmp_path).rows
    assert (row.image, row.label) == (name, "Сир «Їжак» 🧀")
    assert row.photo.read() == b"photo"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has names that are not UTF-8")
def test_a_name_that_is_not_utf8_is_left_out(tmp_path: Path) -> None:
    fill(tmp_path, "A/1.jpg", os.fsdecode("Яблоко".encode("cp1251")) + "/1.jpg")
    listing = list_folder(tmp_path)
    assert [row.label for row in listing.rows] == ["A"]
    (out,) = listing.left_out
    assert out.kind == "bad_name"
    assert out.image.encode("utf-8")


@posix_only
def test_linked_folders_are_followed_and_loops_left_out(tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    fill(root, "A/1.jpg")
    fill(elsewhere, "2.jpg")
    (root / "B").symlink_to(elsewhere)
    (root / "A" / "up").symlink_to(root)
    (root / "A" / "again").symlink_to(root / "A")
    (root / "A" / "self.jpg").symlink_to(root / "A" / "self.jpg")
    (root / "A" / "gone.jpg").symlink_to(root / "nothing.jpg")
    listing = list_folder(root)
    assert labels(listing) == [("A/1.jpg", "A", ""), ("B/2.jpg", "B", "")]
    assert left_out(listing) == {
        "A/up": "symlink_loop",
        "A/again": "symlink_loop",
        "A/self.jpg": "symlink_loop",
        "A/gone.jpg": "missing",
    }


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """A folder, and for root the rights of nobody, since root may read everything."""
    if sys.platform == "win32":
        pytest.skip("no permission bits")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        fill(Path(folder), "A/1.jpg", "closed/2.jpg")
        (Path(folder) / "closed").chmod(0)
        user = os.geteuid()
        if user == 0:
            os.seteuid(65534)
        yield Path(folder)
        os.seteuid(user)
        (Path(folder) / "closed").chmod(0o755)


def test_a_closed_folder_is_left_out(unprivileged: Path) -> None:
    listing = list_folder(unprivileged)
    assert [row.image for row in listing.rows] == ["A/1.jpg"]
    assert left_out(listing) == {"closed": "unreadable"}
    with pytest.raises(DataError, match="closed: the folder cannot be opened"):
        list_folder(unprivileged / "closed")


def test_columns_are_for_tables(tmp_path: Path) -> None:
    fill(tmp_path, "A/1.jpg")
    with pytest.raises(DataError, match="--columns"):
        list_folder(tmp_path, {"image": "photo"})


def test_a_search_needs_no_labels(tmp_path: Path) -> None:
    fill(tmp_path, "2.jpg", "A/B/1.jpg", "notes.txt", "A/.DS_Store")
    photos, others = search(tmp_path)
    paths = [tmp_path / "2.jpg", tmp_path / "A" / "B" / "1.jpg"]
    assert photos == [(str(path), PhotoFile(path)) for path in sorted(paths)]
    assert {out.image: out.kind for out in others} == {"notes.txt": "not_an_image", "A/.DS_Store": "hidden"}


@posix_only
def test_a_search_has_a_place_for_what_may_hide_photos(tmp_path: Path) -> None:
    fill(tmp_path, "A/1.jpg", "B/3.jpg")
    (tmp_path / "A" / "0.jpg").symlink_to("gone.jpg")
    (tmp_path / "A" / "2.jpg").symlink_to("2.jpg")
    (tmp_path / "A" / "up").symlink_to(tmp_path)
    photos, others = search(tmp_path)
    assert photos == [
        (str(tmp_path / "A" / "0.jpg"), NoPhoto("missing", "the link leads nowhere")),
        (str(tmp_path / "A" / "1.jpg"), PhotoFile(tmp_path / "A" / "1.jpg")),
        (str(tmp_path / "A" / "2.jpg"), NoPhoto("symlink_loop", "the link leads to itself")),
        (str(tmp_path / "A" / "up"), NoPhoto("symlink_loop", "the link leads to a folder that it is in")),
        (str(tmp_path / "B" / "3.jpg"), PhotoFile(tmp_path / "B" / "3.jpg")),
    ]
    assert others == []


def test_a_search_has_a_place_for_a_closed_folder(unprivileged: Path) -> None:
    photos, others = search(unprivileged)
    assert photos == [
        (str(unprivileged / "A" / "1.jpg"), PhotoFile(unprivileged / "A" / "1.jpg")),
        (str(unprivileged / "closed"), NoPhoto("unreadable", "the folder cannot be opened (Permission denied)")),
    ]
    assert others == []
    with pytest.raises(DataError, match="closed: the folder cannot be opened"):
        search(unprivileged / "closed")


def test_kramars_own_runs_inside_the_data_are_not_data(tmp_path: Path) -> None:
    for name in ("Apple/1.jpg", "kramar-runs/shop/model.onnx", "kramar-runs/shop/sample.jpg", "Pear/kramar-runs/2.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    listing = list_folder(tmp_path)
    assert [row.image for row in listing.rows] == ["Apple/1.jpg", "Pear/kramar-runs/2.jpg"]
    assert listing.left_out == []
