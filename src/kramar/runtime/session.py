"""An ONNX file, open for work."""

from __future__ import annotations

import time
from collections.abc import Sequence
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
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads or cores()
        options.log_severity_level = 3
        # A spinning pool would take the cores that decode the next photos.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if not path.is_file():
            raise ModelFileError(f"{path}: no such model file; expected the model.onnx of a kramar run")
        try:
            self._session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        # ONNX Runtime's exceptions share no base class of their own.
        except Exception as error:
            raise ModelFileError(
                f"{path}: expected an ONNX model that ONNX Runtime {ort.__version__} can open, "
                f"found something else ({str(error).splitlines()[0][:120]})"
            ) from error

    @property
    def metadata(self) -> dict[str, str]:
        """The file's own metadata."""
        return dict(self._session.get_modelmeta().custom_metadata_map)

    @property
    def outputs(self) -> dict[str, list[int | str]]:
        """Names and shapes of the outputs; dimensions that vary are names."""
        return {output.name: output.shape for output in self._session.get_outputs()}

    def run(self, images: Pixels, outputs: Sequence[str]) -> list[Scores]:
        """The named outputs, float32 ``[N, ...]``, for uint8 ``[N, S, S, 3]`` images."""
        results: list[Scores] = self._session.run(list(outputs), {"images": images})
        return results

    def milliseconds(self, size: int, output: str, runs: int = 40) -> float:
        """Median time of one ready photo of ``size`` pixels, decoding excluded."""
        image = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), np.uint8)
        times = []
        for _ in range(runs):
            start = time.perf_counter()
            self.run(image, [output])
            times.append(time.perf_counter() - start)
        return 1000 * median(times[runs // 4 :])
