import errno
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from kramar.data.store import let_go
from kramar.errors import OutputError
from kramar.models import store as stores
from kramar.models.store import FeatureStore, Rates

WIDTH = 4
Floats = npt.NDArray[np.float32]


def names(*numbers: int) -> list[str]:
    return [hashlib.sha256(str(number).encode()).hexdigest() for number in numbers]


def rows(*numbers: int) -> Floats:
    return np.array([[number, number + 0.25, -number, 1e-3 * number] for number in numbers], np.float32)


def opened(folder: Path) -> FeatureStore:
    return FeatureStore(folder, WIDTH)


def test_what_is_appended_is_gathered_in_any_order(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.append(names(1, 2, 3), rows(1, 2, 3))
    store.append(names(4), rows(4))
    assert len(store) == 4
    assert (store.gather(names(4, 1, 1, 3)) == rows(4, 1, 1, 3)).all()
    assert store.gather(names(2)).dtype == np.float32


def test_a_store_is_there_when_it_is_opened_again(tmp_path: Path) -> None:
    store = opened(tmp_path / "new" / "store")
    store.append(names(1, 2), rows(1, 2))
    store = opened(tmp_path / "new" / "store")
    assert len(store) == 2
    store.append(names(3), rows(3))
    assert (store.gather(names(3, 2, 1)) == rows(3, 2, 1)).all()


def test_a_store_knows_its_photos(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.append(names(1), rows(1))
    assert names(1)[0] in store
    assert names(1)[0].upper() in store
    assert names(2)[0] not in store
    assert 7 not in store
    with pytest.raises(KeyError):
        store.gather(names(1, 2))


def test_an_empty_store(tmp_path: Path) -> None:
    store = opened(tmp_path)
    assert len(store) == 0
    assert store.gather([]).shape == (0, WIDTH)
    store.append([], np.zeros((0, WIDTH), np.float32))
    assert len(store) == 0


def test_other_floats_are_stored_as_float32(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.append(names(1, 2), rows(1, 2).astype(np.float64))
    store.append(names(3, 4), np.asfortranarray(rows(3, 4)))
    assert (store.gather(names(1, 2, 3, 4)) == rows(1, 2, 3, 4)).all()


def test_duplicates_keep_their_first_row(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.append(names(1, 1, 2), rows(1, 9, 2))
    store.append(names(2, 3, 1), rows(8, 3, 7))
    assert len(store) == 3
    assert (store.gather(names(1, 2, 3)) == rows(1, 2, 3)).all()
    store = opened(tmp_path)
    assert len(store) == 3
    assert (store.gather(names(3, 2, 1)) == rows(3, 2, 1)).all()


@pytest.mark.parametrize(("name", "record"), [("embeddings.f32", 4 * WIDTH), ("photos.sha256", 32)])
def test_a_torn_tail_is_cut_off_and_nothing_before_it_is_lost(tmp_path: Path, name: str, record: int) -> None:
    whole = tmp_path / "whole"
    store = opened(whole)
    store.append(names(1, 2, 3), rows(1, 2, 3))
    for cut in range(1, record + 1):
        torn = tmp_path / str(cut)
        shutil.copytree(whole, torn)
        os.truncate(torn / name, 3 * record - cut)
        store = opened(torn)
        assert len(store) == 2
        assert names(3)[0] not in store
        assert (store.gather(names(1, 2)) == rows(1, 2)).all()
        store.append(names(4), rows(4))
        store = opened(torn)
        assert (store.gather(names(1, 2, 4)) == rows(1, 2, 4)).all()


def test_rows_without_hashes_are_cut_off(tmp_path: Path) -> None:
    """What a process leaves that is killed between the two writes."""
    store = opened(tmp_path)
    store.append(names(1), rows(1))
    with (tmp_path / "embeddings.f32").open("ab") as file:
        file.write(rows(7, 8).tobytes() + b"abc")
    store = opened(tmp_path)
    assert len(store) == 1
    store.append(names(2), rows(2))
    assert (store.gather(names(1, 2)) == rows(1, 2)).all()
    assert (tmp_path / "embeddings.f32").stat().st_size == 2 * 4 * WIDTH


class Full:
    """A disk that is full when the ``nth`` file is synced."""

    def __init__(self, nth: int) -> None:
        self._left = nth

    def fsync(self, descriptor: int) -> None:
        self._left -= 1
        if self._left == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fdatasync(descriptor)


@pytest.mark.parametrize("nth", [1, 2])
def test_a_full_disk_is_an_output_error_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    store = opened(tmp_path)
    store.append(names(1, 2), rows(1, 2))
    store = opened(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", Full(nth).fsync)
        with pytest.raises(OutputError, match=r"embeddings\.f32: the disk is full"):
            store.append(names(3), rows(3))
        assert names(3)[0] not in store
    store = opened(tmp_path)
    assert (store.gather(names(1, 2)) == rows(1, 2)).all()
    store.append(names(4), rows(4))
    assert (store.gather(names(4, 2)) == rows(4, 2)).all()


def test_a_store_where_there_can_be_none_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError):
        FeatureStore(tmp_path / "file" / "store", WIDTH)
    (tmp_path / "store" / "embeddings.f32").mkdir(parents=True)
    with pytest.raises(OutputError):
        opened(tmp_path / "store")


def test_two_that_fill_one_store_share_what_they_add(tmp_path: Path) -> None:
    one, other = opened(tmp_path), opened(tmp_path)
    one.append(names(1, 2), rows(1, 2))
    assert names(1)[0] not in other
    other.append(names(2, 3), rows(9, 3))
    one.append(names(4), rows(4))
    for store in (one, opened(tmp_path)):
        assert len(store) == 4
        assert (store.gather(names(1, 2, 3, 4)) == rows(1, 2, 3, 4)).all()
    assert (other.gather(names(1, 2, 3)) == rows(1, 2, 3)).all()


def test_processes_that_append_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    """Each of three processes adds its own photos and some that all add."""
    code = (
        "import sys, hashlib, numpy as np; from pathlib import Path; from kramar.models.store import FeatureStore\n"
        f"store, own = FeatureStore(Path(sys.argv[1]), {WIDTH}), int(sys.argv[2])\n"
        "for number in [n for i in range(60) for n in (i, 1000 * own + i)]:\n"
        "    name = hashlib.sha256(str(number).encode()).hexdigest()\n"
        f"    store.append([name], np.full((1, {WIDTH}), number, np.float32))\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(own)]) for own in (1, 2, 3)]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    numbers = [*range(60), *(1000 * own + i for own in (1, 2, 3) for i in range(60))]
    store = opened(tmp_path)
    assert len(store) == len(numbers)
    assert (store.gather(names(*numbers))[:, 0] == numbers).all()


def test_a_reader_leaves_an_unfinished_append_alone(tmp_path: Path) -> None:
    """Its row may be on the disk, and its hash not yet: another process is between the two writes."""
    store = opened(tmp_path)
    store.append(names(1), rows(1))
    with (tmp_path / "embeddings.f32").open("ab") as file:
        file.write(rows(2).tobytes())
    size = (tmp_path / "embeddings.f32").stat().st_size
    assert len(opened(tmp_path)) == 1
    assert (tmp_path / "embeddings.f32").stat().st_size == size


def test_rates_are_remembered(tmp_path: Path) -> None:
    rates = Rates(features=100.0, bare_model=160.0, decode=400.0)
    store = opened(tmp_path)
    assert store.rates() is None
    store.remember(rates)
    assert store.rates() == rates
    store = opened(tmp_path)
    assert store.rates() == rates
    (tmp_path / "rates.json").write_text("{", encoding="utf-8")
    assert store.rates() is None


def test_the_bound_is_model_time_plus_decode_time_a_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "cores", lambda: 4)
    rates = Rates(features=100.0, bare_model=160.0, decode=400.0)
    assert rates.bound == pytest.approx(1 / (1 / 160 + 1 / 1600))
    assert rates.figures() == {"features": 100.0, "bare_model": 160.0, "decode": 400.0, "bound": rates.bound}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_what_was_read_of_a_mapped_array_no_longer_counts_as_memory(tmp_path: Path) -> None:
    def resident() -> int:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("RssFile"))

    path = tmp_path / "rows"
    np.arange(2_000_000, dtype=np.float32).tofile(path)
    mapped = np.memmap(path, np.float32, "r")
    total = mapped.sum()
    before = resident()
    let_go(mapped)
    assert before - resident() > 6_000_000
    assert mapped.sum() == total
    let_go(np.zeros(3))
