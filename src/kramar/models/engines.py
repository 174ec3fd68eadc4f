"""Runtimes that can run a backbone, and the probe that finds the fastest on this machine."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import platform
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from kramar.config import cache_folder, cores
from kramar.data.pixels import Pixels, in_order
from kramar.errors import FailedError
from kramar.files import replacing, write_text
from kramar.models.backbones import Backbone, weights_hash
from kramar.models.convert import GRAPH, convert, load_torch, tap
from kramar.progress import Progress
from kramar.records import Record
from kramar.runtime.session import OnnxSession, Scores

BATCH = 8
FLOAT32 = "float32"
_PROBE_SECONDS = 1.5
# PyTorch costs seconds and half a gigabyte to load: it must be well ahead to be worth it.
_TORCH_LEAD = 1.15


class Engine(Protocol):
    """Runs a backbone; ``embed`` and ``look`` may be called from ``streams`` threads at once."""

    name: str
    streams: int

    def embed(self, images: Pixels) -> Scores:
        """Embeddings, float32 ``[N, D]``, of uint8 ``[N, S, S, 3]`` images."""

    def look(self, images: Pixels) -> tuple[Scores, Scores]:
        """Maps ``[N, c, h, w]`` at the cut that it was opened for, and embeddings; float32."""


class OnnxRuntimeEngine:
    """ONNX Runtime on all cores, one batch at a time."""

    name = "onnxruntime"
    streams = 1

    def __init__(self, converted: Path, backbone: Backbone, cut: int = 0) -> None:  # noqa: ARG002 - engines open alike
        self._session = OnnxSession(_opened_at(converted, cut))
        self._tap = tap(cut)

    def embed(self, images: Pixels) -> Scores:
        """See Engine."""
        return self._session.run(images, ["embedding"])[0]

    def look(self, images: Pixels) -> tuple[Scores, Scores]:
        """See Engine."""
        maps, embeddings = self._session.run(images, [self._tap, "embedding"])
        return maps, embeddings


class OpenVinoEngine:
    """OpenVINO, a stream a core: less time lost in joining threads when the machine is busy."""

    name = "openvino"

    def __init__(self, converted: Path, backbone: Backbone, cut: int = 0) -> None:  # noqa: ARG002 - engines open alike
        import openvino

        self.streams = cores()
        self._compiled = openvino.Core().compile_model(
            str(_opened_at(converted, cut)),
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": "f32",
                "NUM_STREAMS": str(self.streams),
                "INFERENCE_NUM_THREADS": str(self.streams),
            },
        )
        self._tap = tap(cut)
        self._of_thread = threading.local()

    def embed(self, images: Pixels) -> Scores:
        """See Engine."""
        return self._run(images, ["embedding"])[0]

    def look(self, images: Pixels) -> tuple[Scores, Scores]:
        """See Engine."""
        maps, embeddings = self._run(images, [self._tap, "embedding"])
        return maps, embeddings

    def _run(self, images: Pixels, outputs: list[str]) -> list[Scores]:
        if not hasattr(self._of_thread, "request"):
            self._of_thread.request = self._compiled.create_infer_request()
        result = self._of_thread.request.infer({0: images}, share_inputs=True)
        return [np.array(result[self._compiled.output(name)]) for name in outputs]


@contextlib.contextmanager
def whole_float32() -> Iterator[None]:
    """Keep a GPU from rounding to TF32, by default PyTorch's way with convolutions: 10 bits of mantissa, not 23.

    The settings are the whole process's, so they are given back as they were.
    """
    from torch.backends import cuda, cudnn

    settings: tuple[Any, ...] = (cudnn.conv, cuda.matmul)  # type: ignore[attr-defined]
    before = [setting.fp32_precision for setting in settings]
    for setting in settings:
        setting.fp32_precision = "ieee"
    try:
        yield
    finally:
        for setting, precision in zip(settings, before, strict=True):
            setting.fp32_precision = precision


def _torch_device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def torch_precision() -> str:
    """What `TorchEngine` computes in here; a GPU is part of it, since it does not give a processor's last bits."""
    device = _torch_device()
    return FLOAT32 if device == "cpu" else f"{FLOAT32}-{device}"


class TorchEngine:
    """PyTorch in channels-last layout: the way onto a GPU."""

    name = "torch"
    streams = 1

    def __init__(self, converted: Path, backbone: Backbone, cut: int = 0) -> None:  # noqa: ARG002 - engines open alike
        import torch

        self.precision = torch_precision()
        self._cut = cut
        self._device = torch.device(_torch_device())
        self._module = load_torch(backbone).to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def embed(self, images: Pixels) -> Scores:
        """See Engine."""
        return self._run(images)[1]

    def look(self, images: Pixels) -> tuple[Scores, Scores]:
        """See Engine."""
        found = self._run(images)
        return found[1 + self._cut], found[1]

    def _run(self, images: Pixels) -> list[Scores]:
        import torch

        with torch.inference_mode(), whole_float32():
            found = self._module(torch.from_numpy(images).to(self._device))
            return [one.float().cpu().numpy() for one in found]


def _opened_at(converted: Path, cut: int) -> Path:
    """The converted file, with the maps before stage ``cut`` as an output beside the embedding; 0 for none."""
    if not cut:
        return converted
    path = converted.with_suffix(f".cut{cut}.onnx")
    if not path.is_file():
        from kramar.models.onnx_graph import set_outputs

        with replacing(path) as temporary:
            set_outputs(converted, temporary, ["embedding", tap(cut)])
    return path


ENGINES: dict[str, Callable[..., Engine]] = {
    engine.name: engine for engine in (OnnxRuntimeEngine, OpenVinoEngine, TorchEngine)
}


class Choice(Record):
    """Which engine runs the backbone here, and how fast each was on ready photos (photos a second).

    ``precision`` names the device too, where that is not the processor.
    """

    engine: str
    version: str
    precision: str = FLOAT32
    rates: dict[str, float]


class TorchRate(Record):
    """How fast PyTorch was while it was loaded for the conversion, in photos a second, and in which precision."""

    precision: str
    rate: float


class Converted(Record):
    """A backbone, ready to run: its ONNX file in the cache and the hash of the weights that it holds."""

    path: Path
    weights: str
    graph: str = GRAPH


@dataclass(frozen=True, slots=True)
class Opened:
    """A backbone as this machine runs it."""

    backbone: Backbone
    converted: Converted
    choice: Choice


def prepare(backbone: Backbone, progress: Progress) -> Converted:
    """The backbone's ONNX file, converted on first use. Raises InputError where its weights are not installed."""
    weights = weights_hash(backbone.weights_file())
    name = f"{backbone.file_name}-{GRAPH}-{weights}-{backbone.resize.size}px.onnx"
    path = cache_folder() / "backbones" / name
    rate = _torch_rate(path)
    if not path.is_file():
        progress.say(f"Converting {backbone.name} to ONNX (about 20 s, once)")
        convert(backbone, path, rate)
    elif not rate.is_file() and importlib.util.find_spec("torch"):
        progress.say(f"Measuring {backbone.name} in PyTorch (once)")
        convert(backbone, path, rate)
    return Converted(path=path, weights=weights)


def _machine() -> str:
    return f"{platform.node()}-{platform.machine()}-{cores()}"


def _torch_rate(converted: Path) -> Path:
    # Of this machine, and of this build: another may have no GPU, or know none.
    build = importlib.metadata.version("torch") if importlib.util.find_spec("torch") else "none"
    return converted.with_suffix(f".torch-{build}-rate.{_machine()}.json")


def _torch_here(converted: Path) -> TorchRate | None:
    """PyTorch's rate on this machine; None where it was not measured, or on a GPU that is not there now."""
    if not _torch_rate(converted).is_file():
        return None
    found = TorchRate.model_validate_json(_torch_rate(converted).read_text(encoding="utf-8"))
    # Only a GPU has to be looked for: that takes PyTorch, which is costly to load.
    return found if found.precision == FLOAT32 or found.precision == torch_precision() else None


def choose(backbone: Backbone, converted: Converted, progress: Progress) -> Choice:
    """The fastest engine on this machine: measured once, then remembered, so that runs share one feature cache."""
    engines = ["onnxruntime"] + [name for name in ("openvino",) if importlib.util.find_spec(name)]
    versions = [f"{name}-{importlib.metadata.version(name)}" for name in engines]
    torch = _torch_here(converted.path)
    if torch and torch.precision != FLOAT32:
        versions.append(f"torch-{importlib.metadata.version('torch')}-{torch.precision}")
    remembered = converted.path.with_suffix(f".{'-'.join(versions)}.{_machine()}.json")
    if remembered.is_file():
        choice = Choice.model_validate_json(remembered.read_text(encoding="utf-8"))
        if is_installed(choice):
            return choice
    progress.say("Measuring which runtime is fastest here (once)")
    rates = {name: bare_rate(ENGINES[name](converted.path, backbone), backbone.resize.size) for name in engines}
    precisions = dict.fromkeys(engines, FLOAT32)
    if torch:
        rates["torch"], precisions["torch"] = torch.rate, torch.precision
    lead = sorted(rates, key=lambda name: rates[name] / (_TORCH_LEAD if name == "torch" else 1.0), reverse=True)
    choices = (
        Choice(
            engine=name,
            version=importlib.metadata.version(name),
            precision=precisions[name],
            rates=rates,
        )
        for name in lead
    )
    choice = next(choice for choice in choices if is_installed(choice))
    write_text(remembered, choice.model_dump_json())
    return choice


def is_installed(choice: Choice) -> bool:
    """Whether the engine of an earlier choice is there in the same version, and on the same device.

    Another would mix two in one store.
    """
    try:
        if importlib.metadata.version(choice.engine) != choice.version:
            return False
    except importlib.metadata.PackageNotFoundError:
        return False
    return choice.engine != "torch" or choice.precision == torch_precision()


def bare_rate(engine: Engine, size: int, seconds: float = _PROBE_SECONDS) -> float:
    """Photos a second of ``engine`` alone, on ready pixels of ``size``."""
    batch = np.random.default_rng(0).integers(0, 256, (BATCH, size, size, 3), np.uint8)
    for _ in in_order(engine.embed, [batch] * engine.streams, engine.streams, engine.streams):
        pass
    start = time.perf_counter()
    done = 0

    def batches() -> Any:
        while time.perf_counter() - start < seconds:
            yield batch

    for embeddings in in_order(engine.embed, batches(), engine.streams, 2 * engine.streams):
        done += len(embeddings)
    if not done:
        raise FailedError(f"{engine.name} did not finish a batch in {seconds:g} s")
    return done / (time.perf_counter() - start)
