"""How much memory a step of a training takes."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def kept(model: nn.Module, inputs: Tensor) -> int:
    """Bytes that ``model`` keeps of ``inputs`` until their gradients are computed."""
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    found: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        found[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(inputs)
    return sum(tensor.untyped_storage().nbytes() for place, tensor in found.items() if place not in own)
