"""A network's last layer, fitted on what its body sees of photos, and of views of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from kramar.data.manifest import Entry
from kramar.data.pixels import Pixels
from kramar.decisions.calibration import fit_temperature
from kramar.models import squares
from kramar.models.linear import Linear
from kramar.models.networks import Network, last_layer
from kramar.models.squares import Squares, roomy
from kramar.progress import Progress
from kramar.records import ResizeRule
from kramar.runtime.session import Scores
from kramar.training.answers import calibrated, said
from kramar.training.augment import POLICIES, Policy, draw
from kramar.training.backbone_network import body_of
from kramar.training.budget import fit_seconds, some
from kramar.training.climb import Ground
from kramar.training.head import MIN_VALIDATION, Part, fit_head
from kramar.training.recipe import Recipe
from kramar.training.views import Views

# Views of each photo that a trained body's head is fitted on, and rows of them in all.
VIEWS, ROWS = 3, 20_000
# Validation photos that a head is judged on at most.
HEAD_VAL = 1000
# Photos a second that are looked at, against those of a training step.
LOOKING = 3
# What is said where a head was fitted anew.
ANEW = ", then the head's mean with one fitted anew"
# Embeddings ``[N, D]`` of a view of photos.
Embedded = Callable[[Sequence[Entry], int], Scores]


def part(ground: Ground, embedded: Embedded, entries: Sequence[Entry], views: int = 1) -> Part:
    """What is seen of photos of known class, and of views of them."""
    return Part(
        np.concatenate([embedded(entries, view) for view in range(views)]),
        np.tile(np.array(ground.material.numbers(entries), np.int64), views),
        [entry.group for entry in entries] * views,
    )


def fitted(ground: Ground, train: Part, val: Part) -> Linear:
    """A regularised layer, its logits divided by its temperature."""
    head, how = fit_head(train, val, ground.classes, ground.seed, ground.progress)
    return Linear(head.weights / how.temperature, head.bias / how.temperature)


def refit_seconds(photos: int, rate: float, width: int, classes: int, views: int = VIEWS) -> float:
    """What `refit` takes, with ``rate`` views a second through the body."""
    rows = min(views * photos, ROWS)
    return rows / rate + fit_seconds(rows, width, classes)


def refit(ground: Ground, network: Network, embedded: Embedded, train: list[Entry], views: int) -> bool:
    """Fit a trained network's head anew, in place, on ``views`` of each of ``train``; whether it did.

    A body that was trained together with a head, on mixtures and smoothed labels, sees more than that head makes of it;
    and a head that was fitted to photos as they are is too sure of what the body knows by heart. The mean of the two,
    as sure as each other, takes the place of the trained one where it lowers the log loss on validation photos. Too few
    of those to tell leave it as it is.
    """
    val = some(ground.material.known("val"), HEAD_VAL)
    if len(val) < MIN_VALIDATION:
        return False
    judged = part(ground, embedded, val)
    head = fitted(ground, part(ground, embedded, some(train, ROWS // views), views), judged)
    own = of(network)
    mean = mean_of(own, head, judged)
    truth = judged.truth.astype(np.int64)
    losses = [calibrated(one(judged.embeddings), truth)[0] for one in (mean, own)]
    better = losses[0] < losses[1]
    if better:
        put(network, mean)
    return better


def mean_of(own: Linear, head: Linear, judged: Part) -> Linear:
    """The mean of a trained head and one of calibrated logits, made as unsure as ``judged`` shows the first to be: so
    mixed and smoothed targets want it, and training can go on from it."""
    unsure = fit_temperature(own(judged.embeddings), judged.truth.astype(np.int64))
    weights, bias = (own.weights + unsure * head.weights) / 2, (own.bias + unsure * head.bias) / 2
    return Linear(np.asarray(weights, np.float32), np.asarray(bias, np.float32))


def of(network: Network) -> Linear:
    """The network's last layer."""
    layer = last_layer(network)
    return Linear(layer.weight.detach().cpu().numpy().T, layer.bias.detach().cpu().numpy())


def put(network: Network, head: Linear) -> None:
    """Let ``head`` be the network's last layer."""
    layer = last_layer(network)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(head.weights.T))
        layer.bias.copy_(torch.tensor(head.bias))


def of_photos(network: Network, rule: ResizeRule, recipe: Recipe, progress: Progress) -> Embedded:
    """What the body sees of photos, and of views that the recipe's augmentation draws of them."""
    policy = POLICIES[recipe.augment](rule, recipe.strength)

    def embedded(entries: Sequence[Entry], view: int) -> Scores:
        if not entries:
            return np.zeros((0, network.body.width), np.float32)
        shown = roomy(rule) if view else rule
        squares.cache(entries, shown, progress)
        photos: Squares = squares.squares(entries, shown)
        if view:
            photos = _View(photos, [entry.hash for entry in entries], policy, view)
        network.eval()
        return said(network.embed, last_layer(network).weight.device, photos)

    return embedded


def of_maps(network: Network, views: Views) -> Embedded:
    """What the stages beyond a cut see of cached views."""
    body, device = body_of(network), last_layer(network).weight.device

    def embedded(entries: Sequence[Entry], view: int) -> Scores:
        if not entries:
            return np.zeros((0, body.width), np.float32)
        rows, places = views.maps(entries, view)
        network.eval()

        def seen(maps: Tensor) -> Tensor:
            return body.beyond(maps.float().permute(0, 3, 1, 2), views.cut)[1]

        return said(seen, device, squares.Kept(rows, places))

    return embedded


class _View:
    """A view of photos, as squares."""

    def __init__(self, photos: Squares, hashes: Sequence[str], policy: Policy, number: int) -> None:
        self._photos, self._hashes, self._policy, self._number = photos, hashes, policy, number

    def __len__(self) -> int:
        return len(self._photos)

    def __getitem__(self, index: int) -> Pixels:
        return draw(self._policy, self._photos[index], self._hashes[index], self._number)
