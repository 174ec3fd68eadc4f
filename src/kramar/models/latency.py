"""How long model files take for one photo in OpenVINO, which is another engine than the one that serves them."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Sequence

from kramar.config import cores
from kramar.errors import ExportError
from kramar.runtime.model import Model
from kramar.runtime.session import any_photo, median_milliseconds


def in_openvino(models: Sequence[Model]) -> list[float] | None:
    """Median milliseconds of one ready photo on all cores, of models of one input size, which take turns; None where
    OpenVINO is not installed.

    Raises ExportError where it cannot run one of them.
    """
    if importlib.util.find_spec("openvino") is None:
        return None
    import openvino

    options = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": str(cores()),
    }
    photo = any_photo(models[0].card.resize.size)
    measured = []
    for model in models:
        try:
            compiled = openvino.Core().compile_model(str(model.path), "CPU", options)
            request = compiled.create_infer_request()
            request.infer({0: photo})
        except RuntimeError as error:
            reason = (str(error).strip() or "no message").splitlines()[-1]
            raise ExportError(f"{model.path}: OpenVINO cannot run it ({reason})") from error
        measured.append(functools.partial(request.infer, {0: photo}, share_inputs=True))
    return median_milliseconds(*measured)
