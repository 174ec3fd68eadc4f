"""From a PyTorch module that takes uint8 photos to an ONNX graph."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

OPSET = 18


def to_onnx(module: nn.Module, size: int, path: Path, outputs: Sequence[str]) -> None:
    """Write ``module``, from uint8 images ``[N, size, size, 3]`` to a tuple of ``outputs``, to ``path``."""
    with torch.no_grad():  # else gradients are traced too, which takes a fifth longer
        torch.onnx.export(
            module.eval(),
            (torch.zeros((2, size, size, 3), dtype=torch.uint8),),
            path,
            input_names=["images"],
            output_names=list(outputs),
            dynamic_shapes=({0: torch.export.Dim("N")},),
            dynamo=True,
            opset_version=OPSET,
            external_data=False,
            verbose=False,
        )
