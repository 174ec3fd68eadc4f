import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from drawn import Told
from kramar.config import DEFAULT_BACKBONE
from kramar.data.pixels import Pixels
from kramar.errors import FailedError
from kramar.models import engines
from kramar.models.backbones import Backbone, find, weights_hash
from kramar.models.engines import (
    ENGINES,
    Choice,
    Converted,
    Engine,
    TorchEngine,
    TorchRate,
    bare_rate,
    choose,
    is_installed,
    prepare,
    torch_precision,
)
from kramar.models.features import store_folder
from model_files import Made

BACKBONE = find(DEFAULT_BACKBONE)
Floats = npt.NDArray[np.float32]
Opened = Callable[[str], Engine]


@pytest.fixture(scope="module")
def opened(converted: Converted) -> Opened:
    """Each engine, opened once."""
    found: dict[str, Engine] = {}

    def of(name: str) -> Engine:
        if name not in found:
            found[name] = ENGINES[name](converted.path, BACKBONE)
        return found[name]

    return of


@pytest.fixture(scope="module")
def reference(made: Made) -> Floats:
    """Embeddings by PyTorch, in its default layout."""
    import torch

    from kramar.models.convert import load_torch

    with torch.inference_mode():
        return np.asarray(load_torch(BACKBONE)(torch.from_numpy(made.images))[1].numpy())


def differ(found: Floats, expected: Floats) -> float:
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize("name", ENGINES)
def test_all_engines_agree(name: str, opened: Opened, made: Made, reference: Floats) -> None:
    engine = opened(name)
    found = np.concatenate([engine.embed(made.images[:8]), engine.embed(made.images[8:])])
    assert engine.name == name
    assert found.shape == (10, BACKBONE.width)
    assert found.dtype == np.float32
    assert differ(found, reference) < 1e-4


@pytest.mark.parametrize("name", ENGINES)
def test_an_embedding_does_not_depend_on_its_batch(name: str, opened: Opened, made: Made) -> None:
    engine = opened(name)
    alone = np.concatenate([engine.embed(made.images[i : i + 1]) for i in range(3)])
    assert differ(alone, engine.embed(made.images[:8])[:3]) < 1e-5


@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_takes_as_many_threads_as_it_has_streams(name: str, opened: Opened, made: Made) -> None:
    engine = opened(name)
    expected = engine.embed(made.images[:4])
    found: dict[int, Floats] = {}
    threads = [
        threading.Thread(target=lambda i=i: found.update({i: engine.embed(made.images[:4])}))
        for i in range(engine.streams)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == engine.streams
    for one in found.values():
        assert differ(one, expected) < 1e-5


@pytest.mark.parametrize("name", ENGINES)
def test_embeddings_outlive_the_next_batch(name: str, opened: Opened, made: Made) -> None:
    engine = opened(name)
    first = engine.embed(made.images[:2])
    before = first.copy()
    engine.embed(made.images[2:4])
    assert (first == before).all()


def test_a_backbone_is_converted_once(converted: Converted) -> None:
    told = Told()
    assert prepare(BACKBONE, told) == converted
    assert told.said == []
    measured = engines._torch_here(converted.path)
    assert measured is not None
    assert measured.precision == torch_precision()
    assert measured.rate > 1
    assert converted.weights == weights_hash(BACKBONE.weights_file())
    assert converted.path.is_file()
    for part in (BACKBONE.name, converted.weights, converted.graph, "224px"):
        assert part in converted.path.name


def test_a_machine_that_has_the_file_from_elsewhere_measures_pytorch_too(converted: Converted) -> None:
    rate = engines._torch_rate(converted.path)
    before = rate.read_bytes()
    try:
        rate.unlink()
        told = Told()
        assert prepare(BACKBONE, told) == converted
        assert told.said == [f"Measuring {BACKBONE.name} in PyTorch (once)"]
        assert engines._torch_here(converted.path) is not None
    finally:
        rate.write_bytes(before)


class Fake:
    """An engine that is as fast as its name says."""

    streams = 1

    def __init__(self, name: str) -> None:
        self.name = name

    def embed(self, images: Pixels) -> Floats:
        return np.zeros((len(images), 1), np.float32)


def put_torch_rate(converted: Converted, rate: float, precision: str) -> None:
    """What a conversion would have left beside the backbone."""
    path = engines._torch_rate(converted.path)
    path.write_text(TorchRate(precision=precision, rate=rate).model_dump_json(), encoding="utf-8")


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """The rates that a probe would find."""
    rates = {"onnxruntime": 100.0, "openvino": 90.0}

    def fake(name: str) -> Callable[[Path, Backbone], Engine]:
        return lambda converted, backbone: Fake(name)

    for name in ENGINES:
        monkeypatch.setitem(ENGINES, name, fake(name))
    monkeypatch.setattr(engines, "bare_rate", lambda engine, size: rates[engine.name])
    return rates


@pytest.mark.parametrize(
    ("rates", "torch", "best"),
    [
        ((100.0, 90.0), None, "onnxruntime"),
        ((90.0, 100.0), None, "openvino"),
        ((100.0, 90.0), 110.0, "onnxruntime"),
        ((100.0, 90.0), 120.0, "torch"),
        ((100.0, 150.0), 120.0, "openvino"),
    ],
)
def test_the_fastest_engine_is_chosen_torch_only_when_it_is_well_ahead(
    tmp_path: Path, measured: dict[str, float], rates: tuple[float, float], torch: float | None, best: str
) -> None:
    measured["onnxruntime"], measured["openvino"] = rates
    converted = Converted(path=tmp_path / "backbone.onnx", weights="0")
    if torch:
        put_torch_rate(converted, torch, torch_precision())
    choice = choose(BACKBONE, converted, Told())
    assert choice.engine == best
    assert choice.rates == measured | ({"torch": torch} if torch else {})
    assert choice.precision == (torch_precision() if best == "torch" else "float32")
    assert choice.version[0].isdigit()


def test_a_choice_is_measured_once_and_remembered(tmp_path: Path, measured: dict[str, float]) -> None:
    converted = Converted(path=tmp_path / "backbone.onnx", weights="0")
    told = Told()
    first = choose(BACKBONE, converted, told)
    assert told.said == ["Measuring which runtime is fastest here (once)"]
    measured["openvino"] = 1000.0
    assert choose(BACKBONE, converted, told) == first
    assert len(told.said) == 1
    moved = Converted(path=tmp_path / "other.onnx", weights="0")
    assert choose(BACKBONE, moved, told).engine == "openvino"


def test_pytorch_on_another_device_is_another_choice_and_another_store(
    tmp_path: Path, measured: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    converted = Converted(path=tmp_path / "backbone.onnx", weights="0")
    put_torch_rate(converted, 1000.0, "float32-cuda")
    monkeypatch.setattr(engines, "torch_precision", lambda: "float32-cuda")
    on_gpu = choose(BACKBONE, converted, Told())
    assert (on_gpu.engine, on_gpu.precision) == ("torch", "float32-cuda")
    assert is_installed(on_gpu)

    monkeypatch.setattr(engines, "torch_precision", lambda: "float32")
    assert not is_installed(on_gpu)
    without = choose(BACKBONE, converted, Told())
    assert (without.engine, without.precision) == ("onnxruntime", "float32")
    assert "torch" not in without.rates

    # The GPU is there again: both choices are remembered.
    monkeypatch.setattr(engines, "torch_precision", lambda: "float32-cuda")
    told = Told()
    assert choose(BACKBONE, converted, told) == on_gpu
    assert told.said == []

    put_torch_rate(converted, 1000.0, "float32")
    assert choose(BACKBONE, converted, Told()) == without  # a processor's rate says nothing of the GPU
    on_processor = on_gpu.model_copy(update={"precision": "float32"})
    assert not is_installed(on_processor)
    folders = [store_folder(BACKBONE, converted, choice).name for choice in (on_gpu, on_processor)]
    assert folders[0] == f"{folders[1]}-cuda"


def test_the_key_of_a_store_on_a_processor(tmp_path: Path) -> None:
    """Whoever changes it makes every user compute every photo again."""
    converted = Converted(path=tmp_path / "backbone.onnx", weights="0123456789ab", graph="a-graph")
    choice = Choice(engine="openvino", version="2026.1", rates={})
    expected = f"efficientnet_lite0-a-graph-0123456789ab-{BACKBONE.resize.key}-openvino-2026.1-float32"
    assert store_folder(BACKBONE, converted, choice).name == expected


def test_an_engine_of_another_version_is_not_installed() -> None:
    assert not is_installed(Choice(engine="onnxruntime", version="0.1", rates={}))
    assert not is_installed(Choice(engine="no-such-package", version="1", rates={}))


def precisions() -> tuple[str, str]:
    """Of a GPU's convolutions and matrix products, in PyTorch."""
    from torch.backends import cuda, cudnn

    return cudnn.conv.fp32_precision, cuda.matmul.fp32_precision


@pytest.fixture
def tf32() -> Iterator[None]:
    """Everything rounds to TF32, as another part of the process may want it."""
    from torch.backends import cuda, cudnn

    before = precisions()
    cudnn.conv.fp32_precision = cuda.matmul.fp32_precision = "tf32"
    yield
    cudnn.conv.fp32_precision, cuda.matmul.fp32_precision = before


def test_pytorch_computes_in_whole_float32_and_gives_the_setting_back(
    tf32: None, opened: Opened, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = opened("torch")
    assert isinstance(engine, TorchEngine)
    during = []
    hook = engine._module.register_forward_pre_hook(lambda module, images: during.append(precisions()))
    engine.embed(made.images[:1])
    hook.remove()
    assert during == [("ieee", "ieee")]
    assert precisions() == ("tf32", "tf32")

    def fail(images: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(engine, "_module", fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        engine.embed(made.images[:1])
    assert precisions() == ("tf32", "tf32")


@pytest.mark.gpu
def test_a_gpus_embeddings_are_whole_float32(tf32: None, opened: Opened, made: Made, reference: Floats) -> None:
    import torch

    engine = opened("torch")
    assert isinstance(engine, TorchEngine)
    found = differ(engine.embed(made.images), reference)
    with torch.inference_mode():
        rounded = engine._module(torch.from_numpy(made.images).cuda())[1].cpu().numpy()
    assert found < 1e-4
    # TF32 keeps 13 bits fewer; a GPU older than Ampere has none, and computes the same both ways.
    if torch.cuda.get_device_capability() >= (8, 0):
        assert differ(rounded, reference) > 5 * found


@pytest.mark.gpu
def test_a_gpu_has_a_store_of_its_own(opened: Opened, converted: Converted) -> None:
    engine = opened("torch")
    assert isinstance(engine, TorchEngine)
    assert engine.precision == torch_precision() == "float32-cuda"
    choice = Choice(engine="torch", version="2", precision=engine.precision, rates={})
    assert store_folder(BACKBONE, converted, choice).name.endswith("-torch-2-float32-cuda")


def test_the_rate_counts_photos_a_second() -> None:
    rate = bare_rate(Fake("fast"), 16, seconds=0.1)
    assert rate > 1000


def test_an_engine_that_finishes_nothing_is_a_failure() -> None:
    with pytest.raises(FailedError, match="slow did not finish a batch in 0 s"):
        bare_rate(Fake("slow"), 16, seconds=0)


def test_a_choice_survives_json() -> None:
    choice = Choice(engine="openvino", version="2026.1", rates={"openvino": 160.5})
    assert Choice.model_validate_json(choice.model_dump_json()) == choice


def test_engines_open_a_file_that_was_moved(converted: Converted, made: Made, tmp_path: Path) -> None:
    """The converted file is whole: it needs nothing beside it."""
    moved = shutil.copy(converted.path, tmp_path / "moved.onnx")
    engine = ENGINES["onnxruntime"](Path(moved), BACKBONE)
    assert engine.embed(made.images[:1]).shape == (1, BACKBONE.width)
