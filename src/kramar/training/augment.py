"""Augmentation policies by name, from torchvision's v2 transforms. A new one is one decorated function."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

from kramar.records import ResizeRule

# Takes one photo, uint8 ``[3, W, W]``, to uint8 ``[3, S, S]``; draws from torch's generator.
Policy = Callable[[Tensor], Tensor]

# Rotations and shears of tensors know no bicubic filter.
_TURNED = InterpolationMode.BILINEAR

POLICIES: dict[str, Callable[[ResizeRule, float], Policy]] = {}


def policy(build: Callable[[ResizeRule, float], Policy]) -> Callable[[ResizeRule, float], Policy]:
    """Offer ``build``, which gets the network's rule and a strength in [0, 1], under its name."""
    POLICIES[build.__name__] = build
    return build


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
        v2.RandomCrop(rule.size, padding=round(rule.size * strength / 4), padding_mode="reflect"),
        v2.RandomHorizontalFlip(),
    )


@policy
def zoom(rule: ResizeRule, strength: float) -> Policy:
    """Cut out at another size and shape (Szegedy et al. 2014), and mirrored."""
    return _in_turn(
        v2.RandomResizedCrop(rule.size, scale=(1 - 0.9 * strength, 1.0), interpolation=_interpolation(rule)),
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
    return _in_turn(zoom(rule, strength), v2.TrivialAugmentWide(interpolation=_TURNED))


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
