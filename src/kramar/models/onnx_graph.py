"""From a PyTorch module that takes uint8 photos to an ONNX graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from kramar.errors import ExportError

if TYPE_CHECKING:
    from torch import nn

OPSET = 18


def to_onnx(module: nn.Module, size: int, path: Path, outputs: Sequence[str]) -> None:
    """Write ``module``, from uint8 images ``[N, size, size, 3]`` to a tuple of ``outputs``, to ``path``.

    It is left on the CPU, in evaluation mode.
    """
    import torch

    module.cpu()
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


def set_outputs(path: Path, target: Path, names: Sequence[str]) -> None:
    """Write the graph at ``path`` to ``target`` with these of its tensors, float32, as outputs."""
    import onnx
    from onnx import TensorProto, helper

    model = onnx.load(path)
    known = {value.name: value for value in (*model.graph.output, *model.graph.value_info)}
    outputs = [known.get(name) or helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names]
    # What is an output no more keeps its shape, by which it can be found again.
    hidden = [value for value in model.graph.output if value.name not in names]
    stays = [value for value in model.graph.value_info if value.name not in names]
    del model.graph.output[:], model.graph.value_info[:]
    model.graph.output.extend(outputs)
    model.graph.value_info.extend([*stays, *hidden])
    onnx.save(model, target)


def set_weights(path: Path, target: Path, weights: Mapping[str, npt.NDArray[np.float32]]) -> None:
    """Write the graph at ``path`` to ``target`` with these values in place of the initializers of the same names.

    Raises ExportError where one of them is not there in that shape: the graph is another network's.
    """
    import onnx
    from onnx import numpy_helper

    model = onnx.load(path)
    places = {tensor.name: tensor for tensor in model.graph.initializer}
    for name, value in weights.items():
        if name not in places or tuple(places[name].dims) != value.shape:
            raise ExportError(f"{path}: has no weights {name} of the shape {list(value.shape)}; please report this")
        places[name].CopyFrom(numpy_helper.from_array(np.ascontiguousarray(value), name))
    onnx.save(model, target)
