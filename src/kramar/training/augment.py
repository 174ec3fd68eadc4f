"""Augmentation policies by name, from torchvision's v2 transforms. A new one is one decorated function."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

from kramar.data.pixels import Pixels
from kramar.records import ResizeRule
from kramar.training.seeds import derived

# Takes one photo, uint8 ``[3, W, W]``, to uint8 ``[3, S, S]``; draws from torch's generator.
Policy = Callable[[Tensor], Tensor]

# Rotations and shears of tensors know no bicubic filter.
_TURNED = InterpolationMode.BILINEAR

# Changes with what any policy draws: views, and what was said of them, are cached under it.
DRAWING = "v2"

POLICIES: dict[str, Callable[[ResizeRule, float], Policy]] = {}


def policy(build: Callable[[ResizeRule, float], Policy]) -> Callable[[ResizeRule, float], Policy]:
    """Offer ``build``, which gets the network's rule and a strength in [0, 1], under its name."""
    POLICIES[build.__name__] = build
    return build


def draw(policy: Policy, photo: Pixels, photo_hash: str, number: int) -> Pixels:
    """View ``number`` of a photo, uint8 ``[W, W, 3]`` to ``[S, S, 3]``: the same whoever asks, and whenever."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derived(number, int(photo_hash[:15], 16)))
        changed = policy(torch.from_numpy(photo).permute(2, 0, 1)).permute(1, 2, 0)
    return np.ascontiguousarray(changed.numpy())


class _Cut:
    """A part of the photo, of a share of its area from ``least`` on and of sides 3:4 to 4:3, at the rule's size.

    As torchvision's RandomResizedCrop, but what is drawn are shares of the sides: so two networks of different sizes
    see the same part (a student and its teacher must: Beyer et al. 2022).
    """

    def __init__(self, rule: ResizeRule, least: float) -> None:
        self._size, self._least, self._filter = rule.size, least, _interpolation(rule)

    def __call__(self, photo: Tensor) -> Tensor:
        area, ratio, left, top = torch.rand(4).tolist()
        area = self._least + (1 - self._least) * area
        ratio = (4 / 3) ** (2 * ratio - 1)
        side = photo.shape[-1]
        wide, high = (max(1, round(side * min(1.0, share**0.5))) for share in (area * ratio, area / ratio))
        cut: Tensor = v2.functional.resized_crop(
            photo,
            round(top * (side - high)),
            round(left * (side - wide)),
            high,
            wide,
            [self._size, self._size],
            interpolation=self._filter,
            antialias=True,
        )
        return cut


class _Shift:
    """Moved by up to ``most`` pixels each way, reflections of the photo filling the edge.

    As torchvision's RandomCrop with padding, but what is drawn are shares of what it may move (see `_Cut`).
    """

    def __init__(self, size: int, most: int) -> None:
        self._size, self._most = size, most

    def __call__(self, photo: Tensor) -> Tensor:
        top, left = (int(share * (2 * self._most + 1)) for share in torch.rand(2).tolist())
        padded = v2.functional.pad(photo, [self._most], padding_mode="reflect")
        moved: Tensor = v2.functional.crop(padded, top, left, self._size, self._size)
        return moved


def _moves(bins: int, height: int, width: int) -> Tensor:
    return torch.linspace(0.0, min(height, width) / 7, bins)


class _Trivial(v2.TrivialAugmentWide):  # type: ignore[misc]
    """Moves photos by a share of their side (see `_Cut`): of 224 pixels by up to 32, as torchvision does of any."""

    _AUGMENTATION_SPACE = v2.TrivialAugmentWide._AUGMENTATION_SPACE | dict.fromkeys(
        ("TranslateX", "TranslateY"), (_moves, True)
    )


def _interpolation(rule: ResizeRule) -> InterpolationMode:
    return InterpolationMode(rule.filter)


@policy
def none(rule: ResizeRule, strength: float) -> Policy:
    """The photo as it is."""
    del strength
    return _in_turn(v2.CenterCrop(rule.size))


@policy
def shift(rule: ResizeRule, strength: float) -> Policy:
    """Moved by up to a quarter of a side at full strength, and mirrored: what small pictures bear."""
    return _in_turn(
        v2.CenterCrop(rule.size),
        _Shift(rule.size, round(rule.size * strength / 4)),
        v2.RandomHorizontalFlip(),
    )


@policy
def zoom(rule: ResizeRule, strength: float) -> Policy:
    """Cut out at another size and shape (Szegedy et al. 2014), and mirrored."""
    return _in_turn(
        _Cut(rule, 1 - 0.9 * strength),
        v2.RandomHorizontalFlip(),
    )


@policy
def colour(rule: ResizeRule, strength: float) -> Policy:
    """As ``zoom``, with brightness, contrast and saturation changed too: other lamps and cameras."""
    by = 0.8 * strength
    return _in_turn(zoom(rule, strength), v2.ColorJitter(by, by, by))


@policy
def trivial(rule: ResizeRule, strength: float) -> Policy:
    """As ``zoom``, then one operation drawn at random (Müller and Hutter 2021, TrivialAugment)."""
    return _in_turn(zoom(rule, strength), _Trivial(interpolation=_TURNED))


@policy
def rand(rule: ResizeRule, strength: float) -> Policy:
    """As ``zoom``, then two operations of one magnitude (Cubuk et al. 2020, RandAugment)."""
    magnitude = round(20 * strength)
    return _in_turn(zoom(rule, strength), v2.RandAugment(2, magnitude, interpolation=_TURNED))


def _in_turn(*transforms: Policy) -> Policy:
    def changed(photo: Tensor) -> Tensor:
        for transform in transforms:
            photo = transform(photo)
        return photo

    return changed
