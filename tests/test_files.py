import errno
import os
import sys
import threading
from pathlib import Path

import pytest

from kramar.errors import OutputError
from kramar.files import make_folder, output_error, remove_leftovers, replacing, write_text


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_takes_its_place_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folders" / "model.onnx"
    with replacing(path) as temporary:
        assert temporary.parent == path.parent
        temporary.write_bytes(b"whole")
        assert not path.exists()
    assert path.read_bytes() == b"whole"
    assert names(path.parent) == ["model.onnx"]


def test_until_then_the_old_file_is_there(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"old")
    with replacing(path) as temporary:
        temporary.write_bytes(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), SystemExit(3)])
@pytest.mark.parametrize("old", [None, b"old"])
def test_a_block_that_fails_leaves_what_was_there(tmp_path: Path, error: BaseException, old: bytes | None) -> None:
    path = tmp_path / "model.onnx"
    if old:
        path.write_bytes(old)

    def fail() -> None:
        with replacing(path) as temporary:
            temporary.write_bytes(b"half")
            raise error

    with pytest.raises(type(error)):
        fail()
    assert names(tmp_path) == (["model.onnx"] if old else [])
    assert (path.read_bytes() if old else None) == old


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, "the disk is full; free some space"),
        (errno.EDQUOT, "the disk is full"),
        (errno.EACCES, r"not writable \(Permission denied\)"),
        (errno.EPERM, "not writable"),
        (errno.EROFS, "not writable"),
        (errno.ENOTDIR, "a file is where a folder was expected"),
        (errno.EIO, "could not be written"),
    ],
)
def test_what_the_disk_says_becomes_an_output_error(tmp_path: Path, number: int, message: str) -> None:
    path = tmp_path / "model.onnx"
    error = OSError(number, os.strerror(number))
    with pytest.raises(OutputError, match=f"model.onnx: {message}") as raised, replacing(path):
        raise error
    assert raised.value.__cause__ is error
    assert "\n" not in str(raised.value)
    assert names(tmp_path) == []


def test_an_error_without_a_number_is_told_too() -> None:
    assert str(output_error(Path("a"), OSError("odd"))) == "a: could not be written (odd)"


def test_a_block_that_takes_its_file_away_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="could not be written"), replacing(tmp_path / "a") as temporary:
        temporary.unlink()
    assert names(tmp_path) == []


def test_a_folder_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(OutputError):
        write_text(tmp_path / "a", "text")
    assert (tmp_path / "a").is_dir()
    assert names(tmp_path) == ["a"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device")
def test_a_full_disk(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="the disk is full"), replacing(tmp_path / "a"):
        Path("/dev/full").write_bytes(b"x")
    assert names(tmp_path) == []


def test_text_is_utf_8_whatever_the_locale(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "крамар ✓\n")
    assert path.read_bytes() == "крамар ✓\n".encode()


def test_half_a_character_is_escaped(tmp_path: Path) -> None:
    write_text(tmp_path / "page.html", "caf\udce9 ї")
    assert (tmp_path / "page.html").read_bytes() == b"caf\\udce9 \xd1\x97"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has names that are not UTF-8")
def test_a_name_that_is_not_utf_8(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9/1\xe9.txt"))
    make_folder(path.parent)
    write_text(path, "one")
    assert [os.fsencode(one.name) for one in path.parent.iterdir()] == [b"1\xe9.txt"]


def test_a_folder_is_made_and_proved(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    make_folder(folder)
    make_folder(folder)
    assert names(folder) == []


def test_a_folder_is_proved_while_others_tidy_it(tmp_path: Path) -> None:
    enough = threading.Event()

    def tidy() -> None:
        while not enough.is_set():
            remove_leftovers(tmp_path)

    others = threading.Thread(target=tidy)
    others.start()
    try:
        for _ in range(500):
            make_folder(tmp_path)
    finally:
        enough.set()
        others.join()
    assert names(tmp_path) == []


@pytest.mark.parametrize("inside", ["", "b"])
def test_a_file_where_a_folder_should_be_is_an_output_error(tmp_path: Path, inside: str) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(OutputError, match="a file is where a folder was expected"):
        make_folder(tmp_path / "a" / inside)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder that not even root may write to")
def test_a_folder_that_takes_no_files_is_an_output_error() -> None:
    with pytest.raises(OutputError):
        make_folder(Path("/proc/self"))


def test_leftovers_of_a_killed_process_are_removed_and_nothing_else(tmp_path: Path) -> None:
    kept = ["model.onnx", ".lock", "notes.tmp", ".hidden", ".notes.tmp"]
    for name in [*kept, ".model.onnx.0123abcd.tmp", ".probe.x1.tmp"]:
        (tmp_path / name).touch()
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / ".head.onnx.0123abcd.tmp").touch()
    remove_leftovers(tmp_path)
    assert names(tmp_path) == sorted([*kept, "models"])
    assert names(tmp_path / "models") == [".head.onnx.0123abcd.tmp"], "other folders may be the user's"
