"""OpenVINO's own format: ``model.xml`` and ``model.bin``, for Intel's processors, graphics and NPUs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from kramar.data.pixels import Pixels
from kramar.errors import ExportError, MissingExtra
from kramar.exporting.exported import Format, Said, Source
from kramar.records import ModelCard
from kramar.runtime.session import Scores

_GRAPH = "model.xml"
# As a processor computes by itself where it can do no less; half precision would be its choice on newer ones.
_OPTIONS = {"INFERENCE_PRECISION_HINT": "f32"}


def _write(source: Source, folder: Path) -> ModelCard:
    openvino = _library()
    try:
        converted = openvino.convert_model(str(source.model.path))
        openvino.save_model(converted, str(folder / _GRAPH), compress_to_fp16=False)
    except Exception as error:  # its errors share no class
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ExportError(f"{source.model.path}: OpenVINO could not convert it ({said})") from error
    return source.model.card


def _opened(folder: Path) -> Said:
    compiled: Any = _library().Core().compile_model(str(folder / _GRAPH), "CPU", _OPTIONS)

    def said(images: Pixels) -> Scores:
        found: Scores = np.array(compiled({"images": images})["probabilities"])
        return found

    return said


def _library() -> Any:
    try:
        import openvino
    except ImportError:
        raise MissingExtra("train", "exporting to OpenVINO") from None
    return openvino


FORMAT = Format("openvino", "OpenVINO IR, for Intel's processors and graphics", _write, _opened)
