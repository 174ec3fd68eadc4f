"""What a step of a training lowers: a criterion for each photo, on photos as they are or mixed with each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from kramar.config import SCALINGS
from kramar.errors import InputError
from kramar.training.recipe import Recipe

# The share of the loss that Inception's second classifier has (Szegedy et al. 2014, section 5).
AUXILIARY_SHARE = 0.3


class Taught(NamedTuple):
    """What photos are, and what a teacher says of them: classes ``[B]`` and logits ``[B, C]``."""

    truth: Tensor
    logits: Tensor


Target = Tensor | Taught
Output = Tensor | tuple[Tensor, Tensor]
# From a model's output and what it should be to one number a photo, ``[B]``.
Criterion = Callable[[Output, Target], Tensor]
# From a model, a batch's inputs and what they should give, to the number that a step lowers.
Loss = Callable[[nn.Module, Tensor, Target], Tensor]


def _of_each_classifier(judged: Callable[[Tensor, Any], Tensor]) -> Criterion:
    """The criterion that judges logits ``[B, C]``; Inception's second classifier has its share of it."""

    def criterion(out: Output, target: Target) -> Tensor:
        if isinstance(out, Tensor):
            return judged(out, target)
        first, second = out
        return judged(first, target) + AUXILIARY_SHARE * judged(second, target)

    return criterion


def cross_entropy(smoothing: float) -> Criterion:
    """The ordinary criterion, with label smoothing."""

    @_of_each_classifier
    def criterion(logits: Tensor, truth: Tensor) -> Tensor:
        return functional.cross_entropy(logits, truth, label_smoothing=smoothing, reduction="none")

    return criterion


def _soft_cross_entropy(logits: Tensor, taught: Taught, temperature: float) -> Tensor:
    """-sum_j p_j log a_j(T), ``[B]``; p are the teacher's probabilities at T = 1, as the thesis has it."""
    return -(taught.logits.softmax(dim=1) * functional.log_softmax(logits / temperature, dim=1)).sum(dim=1)


def thesis(temperature: float, weight: float) -> Criterion:
    """The thesis's distilled log loss.

    L = -(1/N) sum_ij p_ij log a_ij(T) - lambda (1/N) sum_ij y_ij log a_ij(1), where p are the teacher's probabilities
    at temperature 1, a(T) the student's softmax of logits / T, y the labels and lambda the ``weight``. There is no
    factor T squared. With T > 1 the student has to make its logits T times as large as the teacher's to lower the
    first term: at its minimum softmax(z / T) = p.
    """

    @_of_each_classifier
    def criterion(logits: Tensor, taught: Taught) -> Tensor:
        hard = functional.cross_entropy(logits, taught.truth, reduction="none")
        return _soft_cross_entropy(logits, taught, temperature) + weight * hard

    return criterion


def hinton(temperature: float, weight: float) -> Criterion:
    """Hinton, Vinyals and Dean (2015, section 2): both are softened, and the soft term is scaled by T squared.

    L = T^2 * -(1/N) sum_ij p_ij(T) log a_ij(T) + lambda * cross-entropy, where p(T) is the teacher's softmax of
    logits / T. The gradient of the soft term shrinks with 1/T^2, which the factor makes good, so that one lambda means
    the same at every T. At T = 1 it is the thesis's loss.
    """

    @_of_each_classifier
    def criterion(logits: Tensor, taught: Taught) -> Tensor:
        softened = Taught(taught.truth, taught.logits / temperature)
        soft = temperature**2 * _soft_cross_entropy(logits, softened, temperature)
        return soft + weight * functional.cross_entropy(logits, taught.truth, reduction="none")

    return criterion


def dist(temperature: float, weight: float) -> Criterion:
    """DIST (Huang et al. 2022): the student keeps the teacher's order rather than its numbers.

    T^2 * (1 - Pearson's correlation over classes, for each photo, + the same over photos, for each class) of the two
    softmax(logits / T), plus lambda times cross-entropy. A class's share is spread over its batch's photos.
    """

    @_of_each_classifier
    def criterion(logits: Tensor, taught: Taught) -> Tensor:
        ours = (logits / temperature).softmax(dim=1)
        theirs = (taught.logits / temperature).softmax(dim=1)
        between = 1 - _pearson(ours, theirs)
        within = (1 - _pearson(ours.t(), theirs.t())).mean()
        soft = temperature**2 * (between + within)
        return soft + weight * functional.cross_entropy(logits, taught.truth, reduction="none")

    return criterion


def _pearson(first: Tensor, second: Tensor) -> Tensor:
    """Pearson's correlation of each row of ``[R, K]`` with the same row of the other, ``[R]``."""
    first, second = (one - one.mean(dim=1, keepdim=True) for one in (first, second))
    return functional.cosine_similarity(first, second, dim=1, eps=1e-8)


_BY_NAME = dict(zip(SCALINGS, (thesis, hinton, dist), strict=True))


def scaling(name: str) -> Callable[[float, float], Criterion]:
    """The distillation loss called ``name``. Raises InputError."""
    if name not in _BY_NAME:
        raise InputError(f"--scaling: expected {', '.join(SCALINGS)}, found {name!r}")
    return _BY_NAME[name]


def of(recipe: Recipe, criterion: Criterion | None = None) -> Loss:
    """What a step of ``recipe`` lowers: ``criterion`` (by default cross-entropy), on photos mixed as it says."""
    judged = criterion or cross_entropy(recipe.label_smoothing)

    def plain(model: nn.Module, inputs: Tensor, target: Target) -> Tensor:
        return judged(model(inputs), target).mean()

    def mixing(model: nn.Module, inputs: Tensor, target: Target) -> Tensor:
        mixed, other, share = mix(inputs, recipe.mixup, recipe.cutmix)
        out = model(mixed)
        # Cross-entropies are linear in what they are told, so this is the criterion of the mixed target.
        return (share * judged(out, target) + (1 - share) * judged(out, _taken(target, other))).mean()

    return mixing if recipe.mixup or recipe.cutmix else plain


def matching(recipe: Recipe, asked: Callable[[Tensor], Tensor], labels: float) -> Loss:
    """Function matching (Beyer et al. 2022): the teacher sees what the student sees, mixtures of photos too.

    So it says something of its own even where it knows the photos by heart. (1 - labels) times the cross-entropy
    against its probabilities, ``asked`` of inputs, plus ``labels`` times the recipe's own loss.
    """
    judged = cross_entropy(recipe.label_smoothing)

    def loss(model: nn.Module, inputs: Tensor, target: Target) -> Tensor:
        assert isinstance(target, Tensor)
        mixed, other, share = mix(inputs, recipe.mixup, recipe.cutmix)
        out = model(mixed)
        hard = share * judged(out, target) + (1 - share) * judged(out, target[other])
        soft = functional.cross_entropy(out, asked(mixed), reduction="none")
        return ((1 - labels) * soft + labels * hard).mean()

    return loss


def mix(inputs: Tensor, mixup: float, cutmix: float) -> tuple[Tensor, Tensor, Tensor]:
    """``inputs`` ``[B, ...]`` mixed with each other, which with which (``[B]``), and the share each keeps (``[B]``).

    Mixup (Zhang et al. 2017) takes a share of the whole, drawn a photo from Beta(``mixup``, ``mixup``), the larger part
    for the photo itself; CutMix (Yun et al. 2019) puts in a rectangle, the same one in all photos of a batch, of pixels
    ``[B, h, w, 3]``. Where both are positive, each batch gets one of the two at random. Draws are of torch's generator.
    """
    other = torch.randperm(len(inputs))
    if cutmix and (not mixup or torch.rand(()) < 0.5):
        height, width = inputs.shape[1:3]
        cut = (1 - torch.distributions.Beta(cutmix, cutmix).sample()).sqrt()
        high, wide = round(float(height * cut)), round(float(width * cut))
        top, left = int(torch.randint(height - high + 1, ())), int(torch.randint(width - wide + 1, ()))
        mixed = inputs.clone()
        mixed[:, top : top + high, left : left + wide] = inputs[other, top : top + high, left : left + wide]
        kept = 1 - high * wide / (height * width)
        return mixed, other, torch.full((len(inputs),), kept, device=inputs.device)
    drawn = torch.distributions.Beta(mixup, mixup).sample((len(inputs),))
    share = torch.maximum(drawn, 1 - drawn).to(inputs.device)
    whole = inputs if inputs.is_floating_point() else inputs.float()
    return torch.lerp(whole[other], whole, share.view(-1, *[1] * (inputs.ndim - 1))), other, share


def _taken(target: Target, places: Tensor) -> Target:
    return Taught(target.truth[places], target.logits[places]) if isinstance(target, Taught) else target[places]
