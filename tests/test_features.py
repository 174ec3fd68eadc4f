import hashlib
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from drawn import Held, Told, encoded, photo, picture
from kramar.config import cores
from kramar.data.listing import Photo, PhotoFile
from kramar.data.manifest import Entry
from kramar.data.pixels import Pixels, prepare
from kramar.models import engines
from kramar.models.backbones import Backbone
from kramar.models.engines import Choice, Converted
from kramar.models.features import Pass, Worker, missing, store_folder
from kramar.models.store import FeatureStore, Rates
from kramar.progress import Silent
from kramar.records import ResizeRule

WIDTH = 6
RULE = ResizeRule(size=16, crop=0.875, filter="bicubic")
BACKBONE = Backbone("tiny", "tiny", "no-package", "no.pth", RULE, width=WIDTH)
CONVERTED = Converted(path=Path("tiny.onnx"), weights="0123456789ab")
PROJECTION = np.random.default_rng(0).normal(size=(16 * 16 * 3, WIDTH)).astype(np.float32)
Floats = npt.NDArray[np.float32]


class Tiny:
    """An engine of one matrix, which counts what it sees and fails on demand."""

    name = "tiny"
    streams = 2

    def __init__(self, converted: Path, backbone: Backbone) -> None:
        self.seen: Counter[bytes] = Counter()
        self.fail_after: int | None = None
        self._lock = threading.Lock()

    def embed(self, images: Pixels) -> Floats:
        assert images.shape[1:] == (16, 16, 3)
        assert images.dtype == np.uint8
        with self._lock:
            if self.fail_after is not None and self.seen.total() >= self.fail_after:
                raise KeyboardInterrupt
            self.seen.update(image.tobytes() for image in images)
        return images.reshape(len(images), -1).astype(np.float32) @ PROJECTION


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(engines.ENGINES, "tiny", Tiny)


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore(tmp_path / "store", WIDTH)


def worker() -> Worker:
    return Worker(Choice(engine="tiny", version="1", rates={"tiny": 2000.0}), CONVERTED, BACKBONE)


def engine(of: Worker) -> Tiny:
    assert isinstance(of.engine, Tiny)
    return of.engine


def entry(source: Photo, name: str, key: bytes | None = None) -> Entry:
    digest = hashlib.sha256(source.read() if key is None else key).hexdigest()
    return Entry(name, source, digest, "apple", "apple", "", "train")


def shop(count: int, first: int = 0) -> list[Entry]:
    return [entry(Held(photo(seed)), f"{seed}.png") for seed in range(first, first + count)]


def expected(entries: list[Entry]) -> Floats:
    images = np.stack([prepare(one.photo.read(), RULE) for one in entries])
    return np.asarray(images.reshape(len(images), -1).astype(np.float32) @ PROJECTION)


def hashes(entries: list[Entry]) -> list[str]:
    return [one.hash for one in entries]


@pytest.mark.parametrize("count", [1, 8, 77, 150])
def test_every_photo_gets_its_own_embedding(store: FeatureStore, count: int) -> None:
    entries, told = shop(count), Told()
    done = worker().fill(store, entries, told)
    assert (done.left_out, done.computed, done.reused) == ([], count, 0)
    assert store.gather(hashes(entries)) == pytest.approx(expected(entries), rel=1e-5)
    assert told.stages == [["Looking at photos", count, count]]


def test_what_is_in_the_store_is_not_computed_again(store: FeatureStore) -> None:
    first, second = worker(), worker()
    first.fill(store, shop(20), Silent())
    done = second.fill(store, shop(30), Silent())
    assert (done.computed, done.reused) == (10, 20)
    assert engine(second).seen.total() == 10
    assert not engine(first).seen.keys() & engine(second).seen.keys()
    third = worker()
    assert third.fill(store, shop(30), Silent()) == Pass([], 0, 30, store.rates(), measured=False)
    assert third._engine is None  # which costs seconds, was never opened


def test_copies_of_a_photo_are_computed_once(store: FeatureStore) -> None:
    entries = shop(10)
    copies = [*entries, *entries[:4], entries[0]]
    working = worker()
    done = working.fill(store, copies, Silent())
    assert (done.computed, done.reused) == (10, 5)
    assert set(engine(working).seen.values()) == {1}
    assert store.gather(hashes(copies)) == pytest.approx(expected(copies), rel=1e-5)


def test_unreadable_photos_are_left_out_with_their_kind(store: FeatureStore, tmp_path: Path) -> None:
    good = shop(12)
    whole = encoded(picture(64, 48), "PNG")
    bad = [
        entry(Held(b"apples"), "text.jpg"),
        entry(Held(b""), "empty.jpg"),
        entry(Held(whole[: len(whole) // 2]), "half.png"),
        entry(PhotoFile(tmp_path / "gone.jpg"), "gone.jpg", b"it was there when it was hashed"),
    ]
    entries = [bad[0], *good[:5], bad[1], bad[2], *good[5:], bad[3], entry(Held(b"apples"), "copy of text.jpg")]
    told = Told()
    done = worker().fill(store, entries, told)
    assert [(out.image, out.kind) for out in done.left_out] == [
        ("text.jpg", "unreadable"),
        ("empty.jpg", "unreadable"),
        ("half.png", "unreadable"),
        ("gone.jpg", "missing"),
        ("copy of text.jpg", "unreadable"),
    ]
    assert done.left_out[1].detail == "the file is empty (0 bytes)"
    assert done.computed == 12
    assert len(store) == 12
    assert told.stages[0][1:] == [16, 16]
    assert missing(store, entries) == bad


def test_nothing_but_bad_photos(store: FeatureStore) -> None:
    done = worker().fill(store, [entry(Held(b"pears"), "1.jpg")], Silent())
    assert (done.computed, len(done.left_out), len(store)) == (0, 1, 0)


def test_nothing_is_computed_twice_after_an_interruption(tmp_path: Path) -> None:
    entries = shop(200)
    first, second = worker(), worker()
    engine(first).fail_after = 120
    store = FeatureStore(tmp_path, WIDTH)
    with pytest.raises(KeyboardInterrupt):
        first.fill(store, entries, Silent())
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("kramar-decode")]
    store = FeatureStore(tmp_path, WIDTH)
    kept = len(store)
    assert kept >= 64
    there = {one.hash for one in entries if one.hash in store}
    done = second.fill(store, entries, Silent())
    assert (done.computed, done.reused) == (200 - kept, kept)
    assert store.gather(hashes(entries)) == pytest.approx(expected(entries), rel=1e-5)
    again = {prepare(one.photo.read(), RULE).tobytes() for one in entries if one.hash in there}
    assert not again & engine(second).seen.keys()
    # Only what was in flight, less than a commit and the batches under way, is computed again.
    assert engine(first).seen.total() - kept <= 64 + 8 * 2 * Tiny.streams


def many(count: int) -> list[Entry]:
    """Photos that differ by name only."""
    data = photo(0, 24, 20)
    return [entry(Held(data), f"{n}.png", b"%d" % n) for n in range(count)]


@pytest.fixture
def probed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes that the bare model was measured on."""
    sizes: list[int] = []

    def bare_rate(of: Tiny, size: int) -> float:
        sizes.append(size)
        return 1000.0

    monkeypatch.setattr("kramar.models.features.bare_rate", bare_rate)
    return sizes


@pytest.mark.parametrize(("count", "bare", "sizes"), [(499, 2000.0, []), (500, 1000.0, [16])])
def test_a_long_pass_measures_the_bare_model_and_a_short_one_trusts_the_choice(
    store: FeatureStore, probed: list[int], count: int, bare: float, sizes: list[int]
) -> None:
    entries = many(count)
    working = worker()
    to_expect = working.expected(entries, [])
    rates = working.fill(store, entries, Silent()).rates
    assert probed == sizes
    assert rates is not None
    assert rates.bare_model == bare
    assert to_expect == pytest.approx(1 / (1 / bare + 1 / rates.decode / cores())) == rates.bound
    assert rates.features > 0
    assert store.rates() == rates


def test_a_short_pass_tells_of_the_long_one_before_it(store: FeatureStore, probed: list[int]) -> None:
    rates = worker().fill(store, many(500), Silent()).rates
    assert worker().fill(store, shop(3), Silent()).rates == rates == store.rates()


def test_the_bare_rate_counts_photos_a_second() -> None:
    rate = engines.bare_rate(Tiny(CONVERTED.path, BACKBONE), 16, seconds=0.1)
    assert rate > 100


def test_the_stores_folder_changes_with_whatever_an_embedding_depends_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KRAMAR_CACHE", "/cache")
    choice = Choice(engine="tiny", version="1", rates={"tiny": 5.0})
    folders = [
        store_folder(backbone, converted, chosen)
        for backbone, converted, chosen in (
            (BACKBONE, CONVERTED, choice),
            (Backbone("other", "tiny", "p", "w", RULE, width=WIDTH), CONVERTED, choice),
            (Backbone("tiny", "tiny", "p", "w", RULE.model_copy(update={"crop": 1.0}), width=WIDTH), CONVERTED, choice),
            (BACKBONE, CONVERTED.model_copy(update={"weights": "ba9876543210"}), choice),
            (BACKBONE, CONVERTED.model_copy(update={"graph": "another"}), choice),
            (BACKBONE, CONVERTED, choice.model_copy(update={"engine": "torch"})),
            (BACKBONE, CONVERTED, choice.model_copy(update={"version": "2"})),
            (BACKBONE, CONVERTED, choice.model_copy(update={"precision": "float16"})),
        )
    ]
    assert len(set(folders)) == len(folders)
    assert {folder.parent for folder in folders} == {Path("/cache/features")}
    faster = choice.model_copy(update={"rates": {"tiny": 9.0}})
    assert store_folder(BACKBONE, CONVERTED.model_copy(update={"path": Path("moved")}), faster) == folders[0]


def test_missing_photos_come_once_and_in_order(store: FeatureStore) -> None:
    entries = shop(4)
    store.append([entries[1].hash], np.zeros((1, WIDTH), np.float32))
    assert missing(store, [entries[3], *entries, entries[0]]) == [entries[3], entries[0], entries[2]]


def test_rates_of_another_kramar_are_no_rates(store: FeatureStore) -> None:
    store.remember(Rates(features=1.0, bare_model=1.0, decode=1.0))
    store._rates_path.write_text('{"features": "fast"}', encoding="utf-8")
    assert store.rates() is None
    rates = worker().fill(store, shop(1), Silent()).rates
    assert rates is not None
    assert rates.bare_model == 2000.0
