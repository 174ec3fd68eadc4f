"""An ONNX file, open for work."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from kramar.config import cores
from kramar.data.pixels import Pixels
from kramar.errors import ModelFileError

Scores = npt.NDArray[np.float32]


class OnnxSession:
    """ONNX Runtime on the CPU. ``run`` may be called from several threads."""

    def __init__(self, path: Path, threads: int | None = None) -> None:
        """Open ``path``. Raises ModelFileError where it is missing or not an ONNX model."""
        content = _openable(path)
        try:
            self._session = inference(content, threads)
        # ONNX Runtime's exceptions share no base class of their own.
        except Exception as error:
            raise ModelFileError(
                f"{path}: expected an ONNX model that ONNX Runtime {ort.__version__} can open, "
                f"found {_found(path, str(error))}"
            ) from error

    @property
    def metadata(self) -> dict[str, str]:
        """The file's own metadata."""
        return dict(self._session.get_modelmeta().custom_metadata_map)

    @property
    def inputs(self) -> dict[str, list[int | str]]:
        """Names and shapes of the inputs; dimensions that vary are names."""
        return {taken.name: taken.shape for taken in self._session.get_inputs()}

    @property
    def outputs(self) -> dict[str, list[int | str]]:
        """Names and shapes of the outputs; dimensions that vary are names."""
        return {output.name: output.shape for output in self._session.get_outputs()}

    def run(self, images: Pixels, outputs: Sequence[str]) -> list[Scores]:
        """The named outputs, float32 ``[N, ...]``, for uint8 ``[N, S, S, 3]`` images."""
        results: list[Scores] = self._session.run(list(outputs), {"images": images})
        return results


def inference(model: Path | bytes, threads: int | None = None) -> ort.InferenceSession:
    """A session on the CPU, on ``threads`` threads (default: all cores)."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or cores()
    options.log_severity_level = 3
    # A spinning pool would take the cores that decode the next photos.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def any_photo(size: int) -> Pixels:
    """One ready photo, uint8 ``[1, size, size, 3]``, to measure with: noise, always the same."""
    return np.random.default_rng(0).integers(0, 256, (1, size, size, 3), np.uint8)


def median_milliseconds(*measured: Callable[[], object], runs: int = 40) -> list[float]:
    """Median time of each of ``measured``, without the first quarter of its runs, in which an engine warms up.

    They take turns, so that a machine that slows down does so for all of them.
    """
    times: list[list[float]] = [[] for _ in measured]
    for _ in range(runs):
        for run, own in zip(measured, times, strict=True):
            start = time.perf_counter()
            run()
            own.append(time.perf_counter() - start)
    return [1000 * median(own[runs // 4 :]) for own in times]


def _openable(path: Path) -> Path | bytes:
    """``path``, or its content where ONNX Runtime, which takes UTF-8 only, cannot name it. Raises ModelFileError."""
    try:
        if not path.is_file():
            raise ModelFileError(f"{path}: no such model file; expected the model.onnx of a kramar run")
        with path.open("rb") as file:
            named = os.fsencode(path) == str(path).encode("utf-8", "surrogatepass")
            return path if named else file.read()
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be opened ({error.strerror or error}); check its permissions") from error


def _found(path: Path, error: str) -> str:
    """What is in the file that ONNX Runtime refused with ``error``, and what to do."""
    with path.open("rb") as file:
        start = file.read(32)
    if start.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer to one; fetch the file itself with git lfs pull"
    if not start:
        return "an empty file; copy it again from its run"
    if "PROTOBUF" in error or "No graph was found" in error:
        return f"{path.stat().st_size:,} bytes that are none, or only a part of one; copy it again from its run"
    # Without the error's number, the path and the C++ function: what is said of the model.
    said = re.sub(
        r"^\[ONNXRuntimeError\] : \d+ : \w+ : (Load model from .*? failed:)?(/\S+:\d+ .*?\) (?=[A-Z]))?", "", error
    )
    return f"one that it cannot run ({said.splitlines()[0][:160]}); upgrade with pip install -U onnxruntime"
