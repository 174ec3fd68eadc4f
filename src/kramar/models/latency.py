"""How long a model file takes for one photo in OpenVINO, which is another engine than the one that serves it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from kramar.config import cores
from kramar.runtime.session import any_photo, median_milliseconds


def in_openvino(path: Path, size: int) -> float | None:
    """Median milliseconds of one ready photo of ``size`` pixels on all cores; None where OpenVINO is not installed."""
    if importlib.util.find_spec("openvino") is None:
        return None
    import openvino

    options = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": str(cores()),
    }
    request = openvino.Core().compile_model(str(path), "CPU", options).create_infer_request()
    photo = any_photo(size)
    return median_milliseconds(lambda: request.infer({0: photo}, share_inputs=True))
