"""How much memory a step of a training takes, and what it is when there is not enough."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from kramar.errors import TrainingError


@contextmanager
def enough() -> Iterator[None]:
    """Within it, a GPU's memory that is full is a TrainingError."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise TrainingError("out of memory") from None


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
