"""From a backbone's PyTorch weights to ONNX, once, in a process of its own: `kramar.models.conversion`.

PyTorch takes seconds to load and over a gigabyte, which a run that finds the converted file in the cache never pays.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kramar.errors import FailedError, MissingExtra
from kramar.files import make_folder
from kramar.models.backbones import Backbone

if TYPE_CHECKING:
    import torch

# Changes with anything that changes what the converted file computes.
GRAPH = "last-stages-v1"


def load_torch(backbone: Backbone) -> torch.nn.Module:
    """The backbone in PyTorch: uint8 ``[N, S, S, 3]`` to (feature map ``[N, D, h, w]``, its spatial mean ``[N, D]``).

    Raises MissingExtra without PyTorch and timm.
    """
    try:
        import timm
        import torch
    except ImportError:
        raise MissingExtra("train", f"converting {backbone.name}") from None

    network = timm.create_model(backbone.timm_name, pretrained=False, exportable=True)
    # Weights only: a pickle from a package must not run code.
    stored = torch.load(backbone.weights_file(), weights_only=True, map_location="cpu")
    own = network.state_dict()
    if [value.shape for value in own.values()] != [value.shape for value in stored.values()]:
        raise FailedError(f"{backbone.weights_file()}: its tensors do not fit {backbone.timm_name}")
    network.load_state_dict(dict(zip(own, stored.values(), strict=True)))

    class FromPixels(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network: Any = network
            self.mean = torch.nn.Buffer(255 * torch.tensor(backbone.mean).view(1, 3, 1, 1))
            self.std = torch.nn.Buffer(255 * torch.tensor(backbone.std).view(1, 3, 1, 1))

        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            pixels = images.permute(0, 3, 1, 2).to(torch.float32)
            seen = self.network.bn1(self.network.conv_stem((pixels - self.mean) / self.std))
            maps = []
            for stage in self.network.blocks:
                seen = stage(seen)
                maps.append(seen)
            maps.append(self.network.bn2(self.network.conv_head(seen)))
            # The last stages before the ImageNet head know what it forgets; all maps of its resolution go along.
            feature_map = torch.cat([m for m in maps if m.shape[-2:] == maps[-1].shape[-2:]], dim=1)
            return feature_map, feature_map.mean((2, 3))

    return FromPixels().eval()


def convert(backbone: Backbone, path: Path, rate: Path) -> None:
    """Leave the ONNX file at ``path`` and PyTorch's own speed (`engines.TorchRate`) at ``rate``.

    Where another process is at it already, waits for that one's file. Raises OutputError, or FailedError with the
    process's last words.
    """
    make_folder(path.parent)
    command = [sys.executable, "-m", "kramar.models.conversion", backbone.name, str(path), str(rate)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip() or "no message").splitlines()[-1]
        raise FailedError(f"converting {backbone.name} to ONNX failed: {last}")
