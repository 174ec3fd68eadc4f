"""Runtimes that can run a backbone, and the probe that finds the fastest on this machine."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import platform
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from kramar.config import cache_folder, cores
from kramar.data.pixels import Pixels, in_order
from kramar.errors import FailedError
from kramar.files import write_text
from kramar.models.backbones import Backbone, weights_hash
from kramar.models.convert import GRAPH, convert, load_torch
from kramar.progress import Progress
from kramar.records import Record
from kramar.runtime.session import OnnxSession, Scores

BATCH = 8
_PROBE_SECONDS = 1.5
# PyTorch costs seconds and half a gigabyte to load: it must be well ahead to be worth it.
_TORCH_LEAD = 1.15


class Engine(Protocol):
    """Runs a backbone; ``embed`` may be called from ``streams`` threads at once."""

    name: str
    streams: int

    def embed(self, images: Pixels) -> Scores:
        """Embeddings, float32 ``[N, D]``, of uint8 ``[N, S, S, 3]`` images."""


class OnnxRuntimeEngine:
    """ONNX Runtime on all cores, one batch at a time."""

    name = "onnxruntime"
    streams = 1

    def __init__(self, converted: Path, backbone: Backbone) -> None:  # noqa: ARG002 - engines open alike
        self._session = OnnxSession(converted)

    def embed(self, images: Pixels) -> Scores:
        """See Engine."""
        return self._session.run(images, ["embedding"])[0]


class OpenVinoEngine:
    """OpenVINO, a stream a core: less time lost in joining threads when the machine is busy."""

    name = "openvino"

    def __init__(self, converted: Path, backbone: Backbone) -> None:  # noqa: ARG002 - engines open alike
        import openvino

        self.streams = cores()
        self._compiled = openvino.Core().compile_model(
            str(converted),
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": "f32",
                "NUM_STREAMS": str(self.streams),
                "INFERENCE_NUM_THREADS": str(self.streams),
            },
        )
        self._output = self._compiled.output("embedding")
        self._of_thread = threading.local()

    def embed(self, images: Pixels) -> Scores:
        """See Engine."""
        if not hasattr(self._of_thread, "request"):
            self._of_thread.request = self._compiled.create_infer_request()
        result = self._of_thread.request.infer({0: images}, share_inputs=True)
        return np.array(result[self._output])


class TorchEngine:
    """PyTorch in channels-last layout: the way onto a GPU."""

    name = "torch"
    streams = 1

    def __init__(self, converted: Path, backbone: Backbone) -> None:  # noqa: ARG002 - engines open alike
        import torch

        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._module = load_torch(backbone).to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def embed(self, images: Pixels) -> Scores:
        """See Engine."""
        import torch

        with torch.inference_mode():
            embedding: Scores = self._module(torch.from_numpy(images).to(self._device))[1].float().cpu().numpy()
            return embedding


ENGINES: dict[str, Callable[[Path, Backbone], Engine]] = {
    engine.name: engine for engine in (OnnxRuntimeEngine, OpenVinoEngine, TorchEngine)
}


class Choice(Record):
    """Which engine runs the backbone here, and how fast each was on ready photos (photos a second)."""

    engine: str
    version: str
    precision: str = "float32"
    rates: dict[str, float]


class Converted(Record):
    """A backbone, ready to run: its ONNX file in the cache and the hash of the weights that it holds."""

    path: Path
    weights: str
    graph: str = GRAPH


def prepare(backbone: Backbone, progress: Progress) -> Converted:
    """The backbone's ONNX file, converted on first use. Raises InputError where its weights are not installed."""
    weights = weights_hash(backbone.weights_file())
    path = cache_folder() / "backbones" / f"{backbone.name}-{GRAPH}-{weights}-{backbone.resize.size}px.onnx"
    if not path.is_file():
        progress.say(f"Converting {backbone.name} to ONNX (once)")
        convert(backbone, path, _torch_rate(path))
    return Converted(path=path, weights=weights)


def _torch_rate(converted: Path) -> Path:
    return converted.with_suffix(".torch-rate.json")


def choose(backbone: Backbone, converted: Converted, progress: Progress) -> Choice:
    """The fastest engine on this machine: measured once, then remembered, so that runs share one feature cache."""
    engines = ["onnxruntime"] + [name for name in ("openvino",) if importlib.util.find_spec(name)]
    versions = "-".join(f"{name}-{importlib.metadata.version(name)}" for name in engines)
    machine = f"{platform.node()}-{platform.machine()}-{cores()}"
    remembered = converted.path.with_suffix(f".{versions}.{machine}.json")
    if remembered.is_file():
        return Choice.model_validate_json(remembered.read_text(encoding="utf-8"))
    progress.say("Measuring which runtime is fastest here (once)")
    rates = {name: bare_rate(ENGINES[name](converted.path, backbone), backbone.resize.size) for name in engines}
    if _torch_rate(converted.path).is_file():
        rates["torch"] = json.loads(_torch_rate(converted.path).read_text(encoding="utf-8"))
    best = max(rates, key=lambda name: rates[name] / (_TORCH_LEAD if name == "torch" else 1.0))
    choice = Choice(engine=best, version=importlib.metadata.version(best), rates=rates)
    write_text(remembered, choice.model_dump_json())
    return choice


def is_installed(choice: Choice) -> bool:
    """Whether the engine of an earlier choice is there in the same version: another would mix two in one store."""
    try:
        return importlib.metadata.version(choice.engine) == choice.version
    except importlib.metadata.PackageNotFoundError:
        return False


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
