"""``kramar benchmark``: the data sets it finds, what it times, the table that machines share, and wrong uses."""

from __future__ import annotations

import csv
import gzip
import json
import math
import pickle
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from accelerate import Accelerator
from torch import Tensor

import kramar
from drawn import Told, encoded, picture
from kramar import cli
from kramar.errors import DataError, InputError
from kramar.jobs import benchmark as job
from kramar.models.architectures import ARCHITECTURES, find
from kramar.progress import Silent
from kramar.study import classics, speed, speed_file
from kramar.study.classics import CIFAR10, FASHION, MNIST, Bytes
from kramar.study.speed import Metered, Noise, Processor, Timed
from kramar.study.speed_file import SpeedRecord
from kramar.training.recipe import Recipe

pytestmark = pytest.mark.usefixtures("one_thread")

FIRST = {MNIST: [5, 0, 4, 1, 9, 2, 1, 3, 1, 4], FASHION: [9, 0, 0, 3, 0, 2, 7, 2, 5, 5]}
FASHION_LABELS = ["Ankle boot", "Bag", "Coat", "Dress", "Pullover", "Sandal", "Shirt", "Sneaker", "Top", "Trouser"]
SMALL = "convnet:depth=2:width=8@16"
CPU = speed.processors()[0]


def put_idx(path: Path, values: np.ndarray) -> None:
    content = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content, 1) if path.suffix == ".gz" else content)


def put_digits(folder: Path, name: str = MNIST, suffix: str = "", count: int = 60_000) -> Path:
    """A set of MNIST's shape that begins as the one of ``name``: black photos but for a corner of the first."""
    labels = np.resize(np.array(FIRST[name], np.uint8), count)
    photos = np.zeros((count, 28, 28), np.uint8)
    photos[0, 0, 1] = 200
    put_idx(folder / f"train-images-idx3-ubyte{suffix}", photos)
    put_idx(folder / f"train-labels-idx1-ubyte{suffix}", labels)
    return folder


def put_binary(folder: Path, count: int = 10_000) -> Path:
    """CIFAR-10's binary version: black photos, the very first of them with one red, green and blue value."""
    folder.mkdir(parents=True)
    for number in range(1, 6):
        records = np.zeros((count, 3073), np.uint8)
        records[:, 0] = np.arange(count) % 10
        if number == 1:
            records[0, [1 + 33, 1 + 1024 + 33, 1 + 2048 + 33]] = (10, 20, 30)
        (folder / f"data_batch_{number}.bin").write_bytes(records.tobytes())
    return folder


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return put_digits(tmp_path_factory.mktemp("mnist"))


@pytest.fixture(scope="module")
def cifar10(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return put_binary(tmp_path_factory.mktemp("cifar10") / "cifar-10-batches-bin")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measurements end with their first step, however fast the machine would be with all of them."""
    monkeypatch.setattr(speed, "PROBE_SECONDS", 0.0)
    monkeypatch.setattr(job, "_EPOCHS_SHARE", 0.0)


@pytest.fixture
def no_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine may have Fashion-MNIST."""
    monkeypatch.setattr(classics, "STAND_INS", ())


def no_network(name: str, folder: Path) -> tuple[Bytes, Sequence[int]]:
    raise OSError(None, "Name or service not known")


# The data sets


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize(("inner", "name"), [(".", FASHION), ("MNIST/raw", MNIST), ("FashionMNIST/raw", FASHION)])
def test_idx_files_are_told_apart_by_their_labels(inner: str, name: str, suffix: str, tmp_path: Path) -> None:
    put_digits(tmp_path / inner, name, suffix)
    found = classics.read(tmp_path, Silent())
    assert (found.name, found.stands_for, found.repeated) == (name, MNIST, False)
    assert found.title == (MNIST if name == MNIST else "Fashion-MNIST, stands for MNIST")
    assert (found.photos.shape, found.photos.dtype) == ((60_000, 28, 28, 3), np.uint8)
    assert found.photos[0, 0, 1].tolist() == [200, 200, 200]
    assert list(found.truth[:10]) == FIRST[name]


def test_the_binary_version_is_read_channel_by_channel(cifar10: Path) -> None:
    for place in (cifar10, cifar10.parent):
        found = classics.read(place, Silent())
        assert (found.title, found.photos.shape) == (CIFAR10, (50_000, 32, 32, 3))
        assert found.photos[0, 1, 1].tolist() == [10, 20, 30]
        assert found.photos.sum(dtype=np.int64) == 60
        assert list(found.truth[9_998:10_002]) == [8, 9, 0, 1]


def put_table(path: Path, side: int, labels: Sequence[str], count: int) -> Path:
    photos = [encoded(picture(side, side, number), "PNG") for number in range(10)]
    images = [{"bytes": photos[number % 10], "path": None} for number in range(count)]
    names = [labels[number % len(labels)] for number in range(count)]
    pq.write_table(pa.table({"image": images, "label": names}), path)
    return path


def test_a_sample_of_fashion_mnist_is_repeated(tmp_path: Path) -> None:
    put_table(tmp_path / "train-00000-of-00002.parquet", 28, FASHION_LABELS, 700)
    put_table(tmp_path / "train-00001-of-00002.parquet", 28, FASHION_LABELS, 500)
    put_table(tmp_path / "test-00000-of-00001.parquet", 28, FASHION_LABELS, 9)
    told = Told()
    found = classics.read(tmp_path, told)
    assert told.stages == [["Decoding Fashion-MNIST", 1200, 1200]]
    assert found.repeated
    assert found.photos.shape == (60_000, 28, 28, 3)
    assert np.array_equal(found.photos[:1200], found.photos[1200:2400])
    assert len({bytes(photo) for photo in found.photos[:10]}) == 10
    assert list(found.truth[:3]) == [0, 1, 2]


def test_torchvision_s_own_folder_needs_no_network(tmp_path: Path) -> None:
    raw = put_digits(tmp_path / "MNIST" / "raw")
    put_idx(raw / "t10k-images-idx3-ubyte", np.zeros((1, 28, 28), np.uint8))
    put_idx(raw / "t10k-labels-idx1-ubyte", np.zeros(1, np.uint8))
    photos, truth = classics.from_torchvision(MNIST, tmp_path)
    assert photos.shape == (60_000, 28, 28)
    assert truth[:10] == FIRST[MNIST]


class Trap:
    """Unpickled, it leaves a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.path,)


def test_pickles_that_are_not_the_published_ones_stay_closed(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for name in ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "batches.meta"):
        (folder / name).write_bytes(pickle.dumps(Trap(tmp_path / "opened")))
    for place in (tmp_path, folder):
        with pytest.raises(DataError, match=r"expected the published files.*take CIFAR-10's binary version"):
            classics.read(place, Silent())
    assert not (tmp_path / "opened").exists()


def cut(folder: Path) -> None:
    put_digits(folder)
    path = folder / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-1])


def broken_archive(folder: Path) -> None:
    put_digits(folder, suffix=".gz", count=100)
    path = folder / "train-labels-idx1-ubyte.gz"
    path.write_bytes(path.read_bytes()[:20])


def other_digits(folder: Path) -> None:
    put_idx(folder / "train-images-idx3-ubyte", np.zeros((100, 28, 28), np.uint8))
    put_idx(folder / "train-labels-idx1-ubyte", np.zeros(100, np.uint8))


def four_batches(folder: Path) -> None:
    put_binary(folder / "cifar-10-batches-bin", 10)
    (folder / "cifar-10-batches-bin" / "data_batch_5.bin").unlink()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (cut, "train-images-idx3-ubyte: expected an idx file of bytes, found another or a part of one"),
        (broken_archive, "train-labels-idx1-ubyte.gz: expected MNIST's training part, found a file that cannot be"),
        (other_digits, "expected MNIST or Fashion-MNIST, found labels of another set"),
        (lambda folder: put_digits(folder, MNIST, count=1000), "MNIST: expected 60,000 training photos of 28 x 28 pix"),
        (four_batches, "data_batch_5.bin: cannot be read"),
        (lambda folder: put_binary(folder / "cifar-10-batches-bin", 10), "found 50 of 32 x 32 and 50 labels"),
        (lambda folder: put_table(folder / "train-1.parquet", 32, FASHION_LABELS[:3], 20), "found 20 photos, the firs"),
        (lambda folder: put_table(folder / "train-1.parquet", 28, FASHION_LABELS, 20), "found 20 photos, the first of"),
    ],
)
def test_other_data_is_refused(make: object, message: str, tmp_path: Path) -> None:
    make(tmp_path)  # type: ignore[operator]
    with pytest.raises(DataError) as refused:
        classics.read(tmp_path, Silent())
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_local_copies_come_before_the_network(digits: Path, cifar10: Path, tmp_path: Path) -> None:
    asked: list[str] = []

    def fetch(name: str, folder: Path) -> tuple[Bytes, Sequence[int]]:
        asked.append(name)
        return np.zeros((50_000, 32, 32, 3), np.uint8), [0] * 50_000

    found, missing = classics.gather([cifar10, digits], fetch, Silent())
    assert ([one.title for one in found], missing, asked) == ([MNIST, CIFAR10], [], [])
    found, missing = classics.gather([put_digits(tmp_path, FASHION)], fetch, Silent())
    assert [one.title for one in found] == ["Fashion-MNIST, stands for MNIST", CIFAR10]
    assert (missing, asked) == ([], [CIFAR10])


def test_without_a_network_fashion_mnist_of_this_machine_stands_in(
    cifar10: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classics, "STAND_INS", (tmp_path / "nothing", put_digits(tmp_path / "debian", FASHION, ".gz")))
    found, missing = classics.gather([cifar10], no_network, Silent())
    assert [one.title for one in found] == ["Fashion-MNIST, stands for MNIST", CIFAR10]
    assert not missing


@pytest.mark.usefixtures("no_stand_in")
def test_a_set_that_cannot_be_had_is_told(digits: Path) -> None:
    found, missing = classics.gather([digits], no_network, Silent())
    assert [one.title for one in found] == [MNIST]
    assert missing == ["CIFAR-10: no local copy, and it could not be fetched (Name or service not known)"]
    with pytest.raises(
        InputError, match=r"--data: MNIST: no local copy.*; CIFAR-10: no local copy.*; give a local copy"
    ):
        classics.gather([], no_network, Silent())


# What is timed


class Steps:
    """Seven batches of four."""

    def __len__(self) -> int:
        return 7

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        for _ in range(7):
            yield torch.zeros(4, 2), torch.zeros(4)


@pytest.mark.usefixtures("quick")
def test_an_epoch_is_timed_whole_where_it_fits_and_else_from_its_first_steps() -> None:
    whole, part = (Metered(Steps(), CPU, allowed) for allowed in (math.inf, 0.0))
    assert len(list(whole.epoch(0))) == speed.WARM_STEPS
    assert not hasattr(whole, "timed")
    assert len(list(whole.epoch(1))) == 7
    assert (whole.timed.steps, whole.timed.photos, whole.timed.whole) == (7, 28, True)
    assert whole.timed.epoch == whole.timed.seconds
    assert len(list(part.epoch(1))) == 1
    assert (part.timed.steps, part.timed.of, part.timed.photos, part.timed.whole) == (1, 7, 4, False)
    assert part.timed.epoch == pytest.approx(7 * part.timed.seconds)


def test_nothing_is_cut_short_before_the_least_time() -> None:
    metered = Metered(Steps(), CPU, 0.0)
    assert len(list(metered.epoch(1))) == 7


def test_a_time_is_a_rate() -> None:
    timed = Timed(steps=5, of=20, photos=160, seconds=2.0)
    assert (timed.rate, timed.epoch) == (80.0, 8.0)


def test_training_that_is_timed_is_training() -> None:
    with speed.alone(CPU) as accelerator:
        network = speed.build(find(SMALL), 3, CPU)
        before = [value.clone() for value in network.parameters()]
        photos = np.stack([Noise(16)[number] for number in range(48)])
        timed = speed.train(network, photos, [0, 1, 2] * 16, Recipe(batch=8), CPU, accelerator, math.inf)
        assert (timed.steps, timed.photos, timed.whole) == (6, 48, True)
        assert 0 < timed.seconds < 60
        assert not any(torch.equal(old, new) for old, new in zip(before, network.parameters(), strict=True))


@pytest.mark.usefixtures("quick")
def test_looking_is_in_evaluation_mode_and_changes_nothing() -> None:
    network = speed.build(find("mobilenet_v2@32"), 3, CPU)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    noise = Noise(32)
    assert speed.look(network, [noise[number] for number in range(4)], 0.01) > 0
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_noise_is_the_same_and_ends() -> None:
    one, other = Noise(8), Noise(8)
    assert (one[3] == other[3]).all()
    assert len(list(iter(one[index] for index in range(100)))) == 100
    with pytest.raises(IndexError):
        one[len(one)]


def test_a_processor_is_lent_and_given_back() -> None:
    with speed.alone(CPU) as accelerator:
        assert accelerator.device == torch.device("cpu")
        assert accelerator.mixed_precision == "no"
        assert torch.get_num_threads() == CPU.threads
    assert torch.get_num_threads() == 1
    # Accelerate would refuse another precision in the same process.
    assert Accelerator(cpu=True, mixed_precision="bf16").mixed_precision == "bf16"
    with speed.alone(CPU) as accelerator:
        assert accelerator.mixed_precision == "no"


@pytest.mark.gpu
def test_every_gpu_is_timed_by_itself() -> None:
    _, *gpus = speed.processors()
    assert len({gpu.name for gpu in gpus}) == len(gpus) == torch.cuda.device_count()
    noise = Noise(32)
    for gpu in gpus:
        with speed.alone(gpu) as accelerator:
            network = speed.build(find("mobilenet_v2@32"), 10, gpu)
            assert next(network.parameters()).device == gpu.device
            timed = speed.train(network, noise, [0] * len(noise), Recipe(batch=32), gpu, accelerator)
            assert timed.rate > 0
            assert speed.look(network, [noise[number] for number in range(32)], 0.01) > 0


# The table


def row(**changes: object) -> SpeedRecord:
    values: dict[str, object] = {
        "machine": "till-7: 2 cores, 8 GB",
        "processor": "AMD EPYC",
        "dataset": "Fashion-MNIST, stands for MNIST",
        "architecture": "convnet",
        "what": "training",
        "covers": "epoch",
        "value": 61.2,
        "unit": "s",
        "source": "measured",
        "when": "2026-03-04T14:02:11+00:00",
        "pixels": 28,
        "batch": 64,
        "threads": 2,
        "software": "kramar 0.1.0, torch 2.14.1",
    }
    return SpeedRecord.model_validate(values | changes)


def test_a_new_table_has_the_thesis_s_times_as_printed(tmp_path: Path) -> None:
    path = tmp_path / "shared" / "benchmark.csv"
    speed_file.create(path)
    speed_file.create(path)
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert ",".join(list(rows[0])[:10]) == ("machine,processor,dataset,architecture,what,covers,value,unit,source,when")
    assert {one["source"] for one in rows} == {"quoted"}
    assert {one["covers"] for one in rows} == {"not said"}
    times = {(one["processor"], one["dataset"]): float(one["value"]) for one in rows}
    assert times == {
        ("Titan XP", MNIST): 0.005,
        ("Titan XP", CIFAR10): 21.10,
        ("GTX 1080 Ti", MNIST): 0.005,
        ("GTX 1080 Ti", CIFAR10): 26.45,
        ("GTX 1080", MNIST): 0.0055,
        ("GTX 1080", CIFAR10): 27.8,
        ("GTX 1070", MNIST): 0.0055,
        ("GTX 1070", CIFAR10): 29.6,
        ("Intel Core i7", MNIST): 0.3777,
        ("Intel Core i7", CIFAR10): 1665.7,
    }
    assert speed_file.read(path) == (speed_file.THESIS, 0)


def test_what_is_written_is_read_and_the_newest_counts(tmp_path: Path) -> None:
    path = tmp_path / "benchmark.csv"
    speed_file.create(path)
    older, other, newer = row(), row(machine='a "desk", 4 cores'), row(value=50.0, threads=None)
    speed_file.append(path, [older, other])
    speed_file.append(path, [newer])
    assert speed_file.read(path) == ([*speed_file.THESIS, other, newer], 0)


def test_several_processes_append_at_once(tmp_path: Path) -> None:
    path = tmp_path / "benchmark.csv"
    script = (
        "import sys; from pathlib import Path; from kramar.study import speed_file as f\n"
        "f.create(Path(sys.argv[1]))\n"
        "for number in range(25):\n"
        "    one = f.THESIS[0].model_copy(update={'machine': sys.argv[2], 'architecture': f'{number}', 'value': 1.0})\n"
        "    f.append(Path(sys.argv[1]), [one])\n"
    )
    working = [subprocess.Popen([sys.executable, "-c", script, str(path), name]) for name in "abcd"]
    assert [one.wait(60) for one in working] == [0, 0, 0, 0]
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) == 1 + len(speed_file.THESIS) + 100
    records, broken = speed_file.read(path)
    assert broken == 0
    assert len({one.key for one in records if one.machine in "abcd"}) == 100


@pytest.mark.parametrize("kept", [8, 45, 70, -60])
def test_a_row_that_was_cut_costs_no_other(kept: int, tmp_path: Path) -> None:
    path = tmp_path / "benchmark.csv"
    speed_file.create(path)
    whole = path.read_bytes()
    speed_file.append(path, [row(value=1.0)])
    path.write_bytes(whole + path.read_bytes()[len(whole) :][:kept])
    speed_file.append(path, [row(value=2.0)])
    records, broken = speed_file.read(path)
    assert records == [*speed_file.THESIS, row(value=2.0)]
    assert broken == 1


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "fast"])
def test_a_figure_that_is_none_is_no_figure(value: str, tmp_path: Path) -> None:
    path = tmp_path / "benchmark.csv"
    speed_file.create(path)
    with path.open("a", encoding="utf-8") as file:
        file.write(f"till,CPU,MNIST,convnet,training,epoch,{value},s,measured,today,,,,\n")
    assert speed_file.read(path) == (speed_file.THESIS, 1)


def test_another_version_s_columns_keep_their_places(tmp_path: Path) -> None:
    path = tmp_path / "benchmark.csv"
    path.write_text("colour," + ",".join(reversed(speed_file.STABLE)) + "\n", encoding="utf-8")
    speed_file.create(path)
    speed_file.append(path, [row()])
    with path.open(newline="", encoding="utf-8") as file:
        (found,) = csv.DictReader(file)
    assert (found["colour"], found["value"], found["machine"]) == ("", "61.2", row().machine)
    assert speed_file.read(path)[0] == [row(pixels=None, batch=None, threads=None, software="")]


@pytest.mark.parametrize(
    "content", [b"architecture,regime,accuracy\nconvnet,weights,0.6\n", b"\x89PNG\r\n\x1a\n\0\xff", b"once upon a time"]
)
def test_another_file_is_refused_and_left_alone(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "comparison.csv"
    path.write_bytes(content)
    for use in (speed_file.check, speed_file.create, lambda path: speed_file.append(path, [row()]), speed_file.read):
        with pytest.raises(DataError, match="expected the results of kramar benchmark"):
            use(path)
    assert path.read_bytes() == content


# The command


@pytest.mark.usefixtures("quick", "no_stand_in")
def test_a_run_measures_says_and_appends(digits: Path, tmp_path: Path) -> None:
    told = Told()
    done = kramar.benchmark(
        tmp_path / "both.csv", data=[digits], architectures=SMALL, name="till-1", progress=told, fetch=no_network
    )
    measured = [one for one in done.rows if one.source == "measured"]
    assert [(one.dataset, one.architecture, one.what, one.unit, one.pixels, one.batch) for one in measured] == [
        ("MNIST", "convnet", "training", "s", 28, 64),
        ("noise", SMALL, "inference", "photos/s", 16, 32),
        ("noise", SMALL, "training", "photos/s", 16, 32),
    ]
    assert [one.covers for one in measured] == ["epoch, scaled up from 1 of 937 steps", "photo", "step"]
    assert all(one.value > 0 and one.machine == "till-1" and one.threads == CPU.threads for one in measured)
    assert done.rows[3:] == speed_file.THESIS
    assert done.left_out == ["CIFAR-10: no local copy, and it could not be fetched (Name or service not known)"]
    assert f"Warning: left out {done.left_out[0]}" in told.said
    assert ["Measuring", 2, 2] in told.stages
    assert speed_file.read(Path(done.file)) == ([*speed_file.THESIS, *measured], 0)

    again = kramar.benchmark(tmp_path / "both.csv", data=digits, architectures=SMALL, name="till-2", fetch=no_network)
    records, _ = speed_file.read(tmp_path / "both.csv")
    assert records == [*speed_file.THESIS, *measured, *again.rows[:3]]
    page = Path(again.report).read_text(encoding="utf-8")
    assert Path(again.report) == tmp_path / "both.html"
    assert "till-1" in page
    assert "till-2" in page


@pytest.mark.usefixtures("no_stand_in")
def test_what_the_budget_has_no_room_for_is_told(digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "PROBE_SECONDS", 0.05)
    done = kramar.benchmark(tmp_path, data=[digits], architectures=f"{SMALL},convnet@16", budget=0.01, fetch=no_network)
    assert [one.dataset for one in done.rows if one.source == "measured"] == ["MNIST"]
    assert done.left_out[1:] == [
        f"{name} on {CPU.name}: the budget of 0.01s has no room for it" for name in (SMALL, "convnet@16")
    ]


def call(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as left:
        cli.run(["benchmark", *map(str, arguments)])
    assert isinstance(left.value.code, int)
    return left.value.code


@pytest.mark.usefixtures("quick")
def test_the_command_prints_the_table_or_one_document(
    digits: Path, cifar10: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--out", tmp_path / "runs", "--data", digits, "--data", cifar10, "--architectures", SMALL)
    assert call(*options) == 0
    said = capsys.readouterr().out
    lines = said.splitlines()
    assert lines[0].split() == ["training", "time", "MNIST", "s", "CIFAR-10", "s", "source", "covers"]
    assert "measured" in lines[1]
    assert "MNIST: epoch, scaled up from 1 of 937 steps; CIFAR-10: epoch, scaled up from 1 of 781 steps" in lines[1]
    assert [line.split("  ")[0] for line in lines[2:7]] == list(speed_file._THESIS)
    assert lines[3].split() == ["GTX", "1080", "Ti", "0.005", "26.45", "quoted", "not", "said"]
    assert f"Table         {tmp_path}/runs/benchmark.csv\nReport        {tmp_path}/runs/benchmark.html\n" in said
    assert call(*options, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert [one["source"] for one in document["rows"]] == ["measured"] * 4 + ["quoted"] * 10
    assert document["left_out"] == []
    with (tmp_path / "runs" / "benchmark.csv").open(encoding="utf-8") as file:
        assert sum(1 for _ in file) == 1 + 10 + 4 + 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--architectures", "mobilnet_v2"], "--architectures: no architecture called 'mobilnet_v2'; did you mean mob"),
        (["--architectures", " , "], "--architectures: expected at least one of convnet, "),
        (
            ["--architectures", "inception_v3", "--size", "64"],
            "--size: inception_v3 takes photos of at least 75 pixels",
        ),
        (["--size", "big"], "--size: expected a whole number from 1, found 'big'"),
        (["--budget", "soon"], "--budget: expected a duration such as 90s, 10m or 1h30m, found 'soon'"),
        (["--budget", "0s"], "--budget: expected more than no time"),
        (["--out", "other.csv"], "--out: other.csv: expected the results of kramar benchmark (machine,processor,"),
        (["--data", "shop"], "shop: expected MNIST (60,000 training photos of 28 pixels) or CIFAR-10 (50,000 of 32)"),
        (["--data", "nothing"], "nothing: no such folder or table"),
    ],
)
def test_wrong_uses_are_one_line_before_any_work(
    options: list[str],
    message: str,
    shop: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("shop").symlink_to(shop)
    Path("other.csv").write_text("image,label\n1.jpg,Box\n")
    before = sorted(tmp_path.iterdir())
    assert call(*options) == 2
    said = capsys.readouterr()
    assert not said.out
    assert [line for line in said.err.splitlines() if line.startswith("kramar: ")] == said.err.splitlines()[-1:]
    assert message in said.err
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.usefixtures("no_stand_in")
def test_neither_data_nor_network_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="give a local copy"):
        kramar.benchmark(tmp_path / "here", fetch=no_network)
    assert not (tmp_path / "here").exists()


def test_all_architectures_are_as_small_as_was_asked_or_as_they_can_be() -> None:

    sizes = {one.name: one.resize.size for one in job._architectures("", 64)}
    assert list(sizes) == list(ARCHITECTURES)
    assert (sizes["inception_v3"], sizes["mobilenet_v2"]) == (75, 64)
    assert [one.resize.size for one in job._architectures((), None)] == [
        one.resize.size for one in ARCHITECTURES.values()
    ]


def test_processors_begin_with_the_cpu() -> None:
    assert speed.processors()[0] == Processor(torch.device("cpu"), CPU.name, CPU.threads)
    assert CPU.name
    assert len(speed.processors()) == 1 + torch.cuda.device_count()
