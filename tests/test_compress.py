"""Fewer channels and weights of four bits, without training."""

import numpy as np
import pytest
import torch
from torch import nn

from kramar.exporting.storage import pointwise
from kramar.models import backbones
from kramar.models.networks import Network
from kramar.training import backbone_network, compress

PHOTOS = np.random.default_rng(0).integers(0, 256, (12, 64, 64, 3), np.uint8)


@pytest.fixture
def network() -> Network:
    made = backbone_network.start(backbones.find("efficientnet_lite0@64"), 5).eval()
    torch.manual_seed(0)
    nn.init.normal_(made.head[-1].weight)  # type: ignore[index, arg-type]
    return made


def seen(network: Network) -> torch.Tensor:
    with torch.no_grad():
        return network.embed(torch.from_numpy(PHOTOS))


def test_weights_become_whole_numbers_and_say_more_than_rounded_ones(network: Network) -> None:
    before = seen(network)
    rounded = backbone_network.start(backbones.find("efficientnet_lite0@64"), 5).eval()
    with torch.no_grad():
        for layer in rounded.body.modules():
            if isinstance(layer, nn.Conv2d) and pointwise(layer.weight.shape):
                weights = layer.weight[:, :, 0, 0].double()
                step = compress._step(weights)
                layer.weight.copy_(compress._nearest(weights, step)[:, :, None, None])
    compress.compress(network, 1.0, PHOTOS)
    assert (seen(network) - before).norm() < 0.7 * (seen(rounded) - before).norm()
    layers = [m for m in network.body.modules() if isinstance(m, nn.Conv2d) and pointwise(m.weight.shape)]
    assert len(layers) > 30
    for layer in layers:
        assert max(len(channel.unique()) for channel in layer.weight.detach()[:, :, 0, 0]) <= 15


def test_the_share_that_fits_is_the_largest(network: Network) -> None:
    whole = compress._bytes(network)
    assert compress.share_within(network, whole + 1) == 1.0
    share = compress.share_within(network, 0.6 * whole)
    assert share is not None
    compress.compress(network, share, PHOTOS)
    assert 0.5 * whole < compress._bytes(network) <= 0.6 * whole
    assert network(torch.from_numpy(PHOTOS)).shape == (12, 5)
    assert network.embed(torch.from_numpy(PHOTOS)).shape == (12, network.body.width)
    assert compress.share_within(network, 1e5) is None


def test_a_channel_that_says_what_another_does_goes_without_loss() -> None:
    torch.manual_seed(0)

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv_pw, self.conv_dw = nn.Conv2d(4, 24, 1), nn.Conv2d(24, 24, 3, padding=1, groups=24)
            self.conv_pwl = nn.Conv2d(24, 4, 1)

        def forward(self, maps: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = self.conv_pwl(self.conv_dw(self.conv_pw(maps).relu()).relu())
            return found

    block, maps = Block(), [torch.randn(4, 4, 6, 6) for _ in range(4)]
    with torch.no_grad():
        # The last eight are multiples of the first.
        for layer in (block.conv_pw, block.conv_dw):
            for values in (layer.weight, layer.bias):
                assert values is not None
                values[16:] = (1 if layer is block.conv_dw else 2) * values[:8]
            if layer is block.conv_dw:
                assert layer.bias is not None
                layer.bias[16:] *= 2
        before = block(maps[0])
        kept = compress._narrow(block, 16, compress._inputs(block, block.conv_pwl, maps))
        after = block(maps[0])
    assert len(kept) == 16
    assert (block.conv_pw.out_channels, block.conv_dw.groups, block.conv_pwl.in_channels) == (16, 16, 16)
    assert (after - before).norm() < 0.01 * before.std() * before.numel() ** 0.5
