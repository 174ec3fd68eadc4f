"""The thesis's own network, the baseline that the others are compared with."""

from __future__ import annotations

from torch import Tensor, nn

# As in the thesis: 15% of the values after each pooling.
DROPOUT = 0.15


class ConvNet(nn.Module):
    """Blocks of convolution, batch normalisation, activation, 3x3 max pooling and 15% dropout.

    Each of ``depth`` blocks halves the picture; widths, in whole eights, grow from ``width`` by a half a block. The
    thesis names the parts of one block; every block but the first has its convolution twice here, as in VGG (Simonyan
    and Zisserman 2014), which is worth more than a wider block of the same cost.
    """

    def __init__(self, depth: int, width: int) -> None:
        """A network of ``depth`` blocks, the first with ``width`` channels."""
        super().__init__()
        blocks: list[nn.Module] = []
        channels = 3
        for place in range(depth):
            wide = max(8, round(width * 1.5**place / 8) * 8)
            layers = [*_convolution(channels, wide)]
            if place:
                layers += _convolution(wide, wide)
            blocks.append(nn.Sequential(*layers, nn.MaxPool2d(3, stride=2, padding=1), nn.Dropout2d(DROPOUT)))
            channels = wide
        self.blocks = nn.Sequential(*blocks)
        self.width = channels

    def forward(self, pixels: Tensor) -> Tensor:
        """The feature map, float32 ``[N, width, h, w]``, of normalised pixels ``[N, 3, S, S]``."""
        seen: Tensor = self.blocks(pixels)
        return seen


def _convolution(channels: int, wide: int) -> list[nn.Module]:
    return [nn.Conv2d(channels, wide, 3, padding=1, bias=False), nn.BatchNorm2d(wide), nn.ReLU(inplace=True)]
