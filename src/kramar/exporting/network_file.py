"""A trained PyTorch network as a ``model.onnx``."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from kramar.data.listing import Photo
from kramar.exporting import onnx_file
from kramar.files import replacing
from kramar.models.networks import Network
from kramar.models.onnx_graph import to_onnx
from kramar.progress import Progress
from kramar.records import ModelCard, Verification
from kramar.runtime.model import Model
from kramar.runtime.session import OnnxSession, Scores, any_photo, median_milliseconds


class _Outputs(nn.Module):
    """What a model file gives, of one forward pass."""

    def __init__(self, network: Network, *, mapped: bool) -> None:
        super().__init__()
        self.network, self.mapped = network, mapped

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        feature_map, embedding = self.network.body(self.network.normalised(images))
        logits = self.network.head(embedding)
        return (logits, embedding, feature_map) if self.mapped else (logits, embedding)


def milliseconds(network: Network, size: int) -> float:
    """Median time of one ready photo of ``size`` pixels in a file of ``network``, in ONNX Runtime on all cores."""
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "network.onnx"
        to_onnx(_Outputs(network, mapped=False), size, path, ["logits", "embedding"])
        session = OnnxSession(path)
    (found,) = median_milliseconds(functools.partial(session.run, any_photo(size), ["logits"]))
    return found


def write(
    network: Network, card: ModelCard, path: Path, photos: Sequence[Photo], source: Scores, progress: Progress
) -> Verification:
    """Write the model file and verify it on ``photos``, whose source logits are ``source`` ``[N, C]``.

    ``feature_map`` is left out where the logits are not one layer away from its spatial mean. Raises ExportError.
    """
    linear = sum(isinstance(layer, nn.Linear) for layer in network.head.modules()) == 1
    mapped = linear and network.body.spatial
    names = ["logits", "embedding", *(["feature_map"] if mapped else [])]
    with replacing(path) as temporary:
        to_onnx(_Outputs(network, mapped=mapped), card.resize.size, temporary, names)
        onnx_file.finish(temporary, card)
        expected = torch.from_numpy(np.asarray(source)) / card.temperature
        return onnx_file.verify(Model(temporary), photos, expected.softmax(dim=1).numpy(), progress)
