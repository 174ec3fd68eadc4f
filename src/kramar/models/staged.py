"""An ImageNet-trained EfficientNet-Lite as a chain of stages that can be cut: what comes before the cut runs once."""

from __future__ import annotations

from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from kramar.models import architectures, networks, weights
from kramar.models.backbones import Backbone
from kramar.models.convert import tap
from kramar.models.networks import Body


class Staged(Body):
    """The stages of a backbone, from normalised pixels to its feature map.

    Batch normalisation is folded into the convolution before it. With ImageNet's statistics, which is what small
    batches are best trained with, the two compute the same, and a step costs less without it.
    """

    spatial = True

    def __init__(self, model: Any, size: int) -> None:
        """The stages of ``model``, a timm EfficientNet in evaluation mode, for inputs of ``size`` pixels."""
        super().__init__()
        fold(model)
        stem = nn.Sequential(model.conv_stem, model.bn1)
        # A network that was cut short has none.
        top = [] if isinstance(model.conv_head, nn.Identity) else [nn.Sequential(model.conv_head, model.bn2)]
        self.stages = nn.ModuleList([stem, *model.blocks, *top])
        with torch.no_grad():
            maps = self.maps(torch.zeros(1, 3, size, size), 0)
        # The last stages before the ImageNet head know what it forgets; all maps of its resolution go along.
        last = maps[-1].shape[-2:]
        self.joined = next(place for place, one in enumerate(maps) if one.shape[-2:] == last)
        self.width = sum(one.shape[1] for one in maps[self.joined :])
        self.shapes = [(one.shape[1], one.shape[2], one.shape[3]) for one in maps]

    @property
    def cuts(self) -> list[int]:
        """Where it can be cut: before these stages, the earliest first."""
        return list(range(1, self.joined + 1))

    def maps(self, seen: Tensor, cut: int) -> list[Tensor]:
        """What each stage from ``cut`` on makes of what ``cut`` takes."""
        maps = []
        for stage in self.stages[cut:]:
            seen = stage(seen)
            maps.append(seen)
        return maps

    def joint(self, maps: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Feature map and embedding of the last stages' maps, whatever comes before them in ``maps``."""
        feature_map = torch.cat(maps[self.joined - len(self.stages) :], dim=1)
        return feature_map, feature_map.mean((2, 3))

    def before(self, pixels: Tensor, cut: int) -> Tensor:
        """The maps ``[N, c, h, w]`` that stage ``cut`` takes."""
        for stage in self.stages[:cut]:
            pixels = stage(pixels)
        return pixels

    def beyond(self, maps: Tensor, cut: int) -> tuple[Tensor, Tensor]:
        """Feature map and embedding of the maps that stage ``cut`` takes."""
        return self.joint(self.maps(maps, cut))

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """See Body."""
        return self.beyond(pixels, 0)


class FromPixels(nn.Module):
    """A backbone as it is converted: from uint8 ``[N, S, S, 3]`` to all that is ever asked of it."""

    def __init__(self, body: Staged, backbone: Backbone) -> None:
        super().__init__()
        self.body = body
        self.mean = nn.Buffer(255 * torch.tensor(backbone.mean).view(1, 3, 1, 1))
        self.std = nn.Buffer(255 * torch.tensor(backbone.std).view(1, 3, 1, 1))

    @property
    def outputs(self) -> list[str]:
        """Names of what `forward` gives."""
        return ["feature_map", "embedding", *(tap(cut) for cut in self.body.cuts)]

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Feature map ``[N, D, h, w]``, its spatial mean ``[N, D]``, and the maps at each cut."""
        pixels = (images.permute(0, 3, 1, 2).to(torch.float32) - self.mean) / self.std
        maps = self.body.maps(pixels, 0)
        return *self.body.joint(maps), *(maps[cut - 1] for cut in self.body.cuts)


def load(backbone: Backbone) -> Staged:
    """The backbone with its ImageNet weights, in evaluation mode. Raises InputError."""
    architecture = architectures.find(backbone.name, "--backbone")
    network: Any = timm.create_model(backbone.timm_name, pretrained=False, exportable=True)
    network.load_state_dict(weights.read(architecture, weights.Located("package", backbone.weights_file())))
    networks.shorten(network, architecture)
    return Staged(network.eval(), backbone.resize.size).eval()


def fold(module: nn.Module) -> None:
    """Fold each batch normalisation in ``module`` into the convolution before it, where its activation stays."""
    convolution = ""
    for name, child in list(module.named_children()):
        if isinstance(child, nn.Conv2d):
            convolution = name
        elif isinstance(child, _BatchNorm):
            fused = nn.utils.fuse_conv_bn_eval(getattr(module, convolution), child)
            # torch gives a bias that was not there before as one that never learns.
            fused.bias.requires_grad_(True)
            setattr(module, convolution, fused)
            setattr(module, name, getattr(child, "act", nn.Identity()))
        else:
            fold(child)
