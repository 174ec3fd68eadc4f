"""A small network made of a trained one without training it: the channels that matter least go, and the weights of
pointwise convolutions become four bits each (`exporting.storage.int4_weights`).

Both follow the optimal brain surgeon (Hassibi and Stork 1993): on some photos, what a layer's outputs lose is a square
form in its weights, whose matrix are the second moments of its inputs, H = E[x x']; what stays takes over what it can.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kramar.exporting.storage import FEW_LEVELS, pointwise
from kramar.models.networks import Network, last_layer
from kramar.models.squares import Squares
from kramar.models.staged import Staged
from kramar.training.backbone_network import body_of

# Shares that are kept of the channels inside the last blocks, and of the last convolution's: the first that fits.
SHARES = tuple(share / 20 for share in range(20, 1, -1))
# Channels go so many at a time: processors like whole vectors of them.
_MULTIPLE = 8
# What H's diagonal grows by, as a share of its mean: few photos say little of some inputs (Frantar et al. 2022).
_DAMPED_ROUNDING, _DAMPED_PRUNING = 1e-2, 1e-3
# Of the step that just holds a channel's largest weight: clipping some brings the others closer.
_CLIPPED = tuple(share / 40 for share in range(40, 15, -1))
# Bytes of a channel's step and bias, and of the graph.
_A_CHANNEL, _GRAPH = 8, 9e4
_TOGETHER = 8
# Bytes that maps of photos may take; inside a block they are so much wider.
_BYTES, _WIDER = 2.5e8, 6


def share_within(network: Network, size: float) -> float | None:
    """The largest share of channels with which the file of such a network takes about ``size`` bytes; None where none
    is small enough."""
    for share in SHARES:
        smaller = copy.deepcopy(network)
        body = body_of(smaller)
        for block in _last_blocks(body):
            _keep_inside(block, torch.arange(_kept(block.conv_pwl.in_channels, share)))
        if (top := _top(body)) is not None:
            _keep_of_top(smaller, torch.arange(_kept(top.out_channels, share)))
        if _bytes(smaller) <= size:
            return share
    return None


def _kept(channels: int, share: float) -> int:
    return max(1, round(share * channels / _MULTIPLE)) * _MULTIPLE


def _bytes(network: Network) -> float:
    shapes = [tuple(parameter.shape) for parameter in network.body.parameters() if parameter.ndim > 1]
    weights = sum(math.prod(shape) * (0.5 if pointwise(shape) else 1.0) + _A_CHANNEL * shape[0] for shape in shapes)
    return weights + 2 * last_layer(network).weight.numel() + _GRAPH


@torch.no_grad()
def compress(network: Network, share: float, photos: Squares) -> None:
    """Make a backbone's network small, in place, stage by stage, so that each layer gives on ``photos`` what it gave
    before, whatever the layers below it have lost.

    Its body is another one then, to which its head has to be fitted anew.
    """
    body, original = body_of(network), copy.deepcopy(body_of(network))
    seen: list[Tensor] = []
    wanted: list[Tensor] = []
    for place, (stage, before) in enumerate(zip(body.stages, original.stages, strict=True)):
        count = min(len(photos), int(_BYTES / (_WIDER * 4 * math.prod(body.shapes[place]))) + 1)
        if count > sum(len(one) for one in seen):
            pixels = _pixels(network, photos, count)
            seen, wanted = (_through(stages[:place], pixels) for stages in (body.stages, original.stages))
        kept = None
        if (top := _top(body)) is not None and place == len(body.stages) - 1:
            features = torch.cat([stage(one).mean(dim=(2, 3)) for one in wanted])
            moved = features.std(dim=0) * last_layer(network).weight[:, -len(features[0]) :].norm(dim=0)
            kept = moved.topk(_kept(top.out_channels, share)).indices.sort().values
            _keep_of_top(network, kept)
        block: Any
        for block, old in zip(stage.children(), before.children(), strict=True):
            if hasattr(block, "conv_pwl") and place >= body.joined:
                kept = _narrow(block, _kept(block.conv_pwl.in_channels, share), _inputs(block, block.conv_pwl, seen))
            for layer, exact in zip(block.modules(), old.modules(), strict=True):
                if isinstance(layer, nn.Conv2d) and isinstance(exact, nn.Conv2d) and pointwise(layer.weight.shape):
                    rows = kept if len(layer.weight) != len(exact.weight) else None
                    _round(layer, exact, rows, _inputs(block, layer, seen), _inputs(old, exact, wanted))
            seen, wanted = _through([block], seen), _through([old], wanted)


def _pixels(network: Network, photos: Squares, count: int) -> list[Tensor]:
    """Of ``count`` photos, spread over all: they come class by class."""
    device = last_layer(network).weight.device
    places = [place * len(photos) // count for place in range(count)]
    batches = (np.stack([photos[place] for place in places[at : at + _TOGETHER]]) for at in range(0, count, _TOGETHER))
    return [network.normalised(torch.from_numpy(batch).to(device)) for batch in batches]


def _through(layers: Iterable[nn.Module], batches: Sequence[Tensor]) -> list[Tensor]:
    chain = nn.Sequential(*layers)
    return [chain(batch) for batch in batches]


def _last_blocks(body: Staged) -> list[Any]:
    """The blocks of the last resolution, which hold most of the weights: each widens its map, and narrows it again."""
    return [block for stage in body.stages[body.joined :] for block in stage.children() if hasattr(block, "conv_pwl")]


def _top(body: Staged) -> nn.Conv2d | None:
    """The convolution after the last block, where there is one."""
    first = next(body.stages[-1].children())
    return first if isinstance(first, nn.Conv2d) else None


class _Seen(Exception):  # noqa: N818 - no error: what was looked for was seen
    pass


def _inputs(block: nn.Module, layer: nn.Module, seen: Sequence[Tensor]) -> list[Tensor]:
    """What comes to a pointwise ``layer`` in a ``block`` that takes ``seen``, each ``[I + 1, n]`` with a one below."""
    found: list[Tensor] = []

    def look(_: nn.Module, inputs: tuple[Tensor]) -> None:
        flat = inputs[0].transpose(0, 1).flatten(start_dim=1)
        found.append(torch.cat([flat, flat.new_ones(1, flat.shape[1])]))
        raise _Seen

    handle = layer.register_forward_pre_hook(look)
    for one in seen:
        try:
            block(one)
        except _Seen:
            continue
    handle.remove()
    return found


def _moments(first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
    """E[x y'], float64."""
    total = torch.zeros(len(first[0]), len(second[0]), dtype=torch.float64)
    for one, other in zip(first, second, strict=True):
        total += (one @ other.T).double().cpu()
    return total / sum(one.shape[1] for one in first)


def _damping(moments: Tensor, share: float) -> Tensor:
    return share * moments.diagonal().mean() * torch.eye(len(moments), dtype=moments.dtype)


def _narrow(block: Any, count: int, inputs: Sequence[Tensor]) -> Tensor:
    """Leave ``count`` of the channels inside a block, and say which: one after the other, that goes whose going costs
    least.

    It costs |w|^2 / [H^-1]jj, for the column w of the layer that takes it, among its ``inputs`` (Hassibi and Stork
    1993, equation 5, for all outputs at once).
    """
    weights = block.conv_pwl.weight[:, :, 0, 0].double().cpu()
    moments = _moments(inputs, inputs)[:-1, :-1]
    inverse = torch.linalg.inv(moments + _damping(moments, _DAMPED_PRUNING))
    left = torch.ones(len(inverse), dtype=torch.bool)
    for _ in range(len(inverse) - count):
        costs = weights.square().sum(dim=0) / inverse.diagonal()
        place = int(torch.where(left, costs, math.inf).argmin())
        row = inverse[place] / inverse[place, place]
        weights -= torch.outer(weights[:, place].clone(), row)
        inverse -= torch.outer(inverse[:, place].clone(), row)
        # Its row is nothing now; a one keeps the divisions possible.
        inverse[place, place] = 1.0
        left[place] = False
    kept = left.nonzero().flatten()
    block.conv_pwl.weight.copy_(weights[:, :, None, None])
    _keep_inside(block, kept)
    return kept


def _keep_inside(block: Any, kept: Tensor) -> None:
    """The block with the ``kept`` channels of those that it widens its map to."""
    block.conv_pw = _part(block.conv_pw, kept)
    block.conv_dw = _part(block.conv_dw, kept)
    block.conv_pwl = _part(block.conv_pwl, inputs=kept)


def _keep_of_top(network: Network, kept: Tensor) -> None:
    """The network with the ``kept`` channels of its last convolution; its head loses what it had of the others."""
    body, head = body_of(network), last_layer(network)
    top = _top(body)
    assert top is not None
    others = body.width - top.out_channels
    stage = body.stages[-1]
    assert isinstance(stage, nn.Sequential)
    stage[0] = _part(top, kept)
    body.width = others + len(kept)
    columns = torch.cat([torch.arange(others), others + kept.cpu()])
    smaller = nn.Linear(body.width, head.out_features).to(head.weight.device)
    smaller.weight = nn.Parameter(head.weight.detach()[:, columns].clone())
    smaller.bias = head.bias
    assert isinstance(network.head, nn.Sequential)
    network.head[-1] = smaller


def _part(layer: nn.Conv2d, outputs: Tensor | None = None, inputs: Tensor | None = None) -> nn.Conv2d:
    """The convolution with these outputs, or of these inputs; its padding, of whatever kind, stays."""
    part, weight, bias = copy.deepcopy(layer), layer.weight.detach(), layer.bias
    assert bias is not None
    if outputs is not None:
        weight, bias = weight[outputs.to(weight.device)], bias[outputs.to(weight.device)]
    if inputs is not None:
        weight = weight[:, inputs.to(weight.device)]
    part.weight, part.bias = nn.Parameter(weight.clone()), nn.Parameter(bias.detach().clone())
    part.groups = len(weight) if layer.groups > 1 else 1
    part.out_channels, part.in_channels = len(weight), part.groups * weight.shape[1]
    return part


def _round(
    layer: nn.Conv2d, exact: nn.Conv2d, rows: Tensor | None, seen: Sequence[Tensor], wanted: Sequence[Tensor]
) -> None:
    """Give a pointwise layer weights that are whole numbers of a step a channel.

    First those that bring what it makes of its inputs ``seen`` closest to what the ``exact`` layer (those ``rows`` of
    it) makes of its own, ``wanted``; then they are rounded, input after input, those that come most first, and what
    each loses, the ones after it make good, at last the bias (GPTQ; Frantar et al. 2022, section 3).
    """
    moments, target, own = _moments(seen, seen), _matrix(exact), _matrix(layer)
    target = target if rows is None else target[rows.cpu()]
    damped = moments + _damping(moments, _DAMPED_ROUNDING)
    weights = own + torch.linalg.solve(damped, (target @ _moments(wanted, seen) - own @ moments).T).T
    last = len(moments) - 1
    order = torch.cat([moments.diagonal()[:last].argsort(descending=True), torch.tensor([last])])
    weights = weights[:, order]
    step = _step(weights[:, :last])
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped[order][:, order]))
    upper = torch.linalg.cholesky(inverse, upper=True)
    for place in range(last):
        rounded = _nearest(weights[:, place], step[:, 0])
        lost = (weights[:, place] - rounded) / upper[place, place]
        weights[:, place + 1 :] -= torch.outer(lost, upper[place, place + 1 :])
        weights[:, place] = rounded
    assert layer.bias is not None
    layer.bias.copy_(weights[:, last])
    layer.weight.copy_(weights[:, order[:last].argsort(), None, None])


def _matrix(layer: nn.Conv2d) -> Tensor:
    """Weights and bias ``[O, I + 1]``, float64, of a pointwise layer."""
    assert layer.bias is not None
    return torch.cat([layer.weight[:, :, 0, 0], layer.bias[:, None]], dim=1).double().cpu()


def _step(weights: Tensor) -> Tensor:
    """The step ``[O, 1]`` of each channel of ``weights`` ``[O, I]`` whose rounding has the least square error."""
    reach = weights.abs().amax(dim=1, keepdim=True).clamp_min(1e-12) / FEW_LEVELS
    errors = torch.stack([(_nearest(weights, share * reach) - weights).square().sum(dim=1) for share in _CLIPPED])
    return torch.tensor(_CLIPPED, dtype=weights.dtype)[errors.argmin(dim=0)][:, None] * reach


def _nearest(weights: Tensor, step: Tensor) -> Tensor:
    return (weights / step).round().clamp(-FEW_LEVELS, FEW_LEVELS) * step
