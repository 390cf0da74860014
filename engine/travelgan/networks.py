"""Generator, siamese and critic, layer by layer as tabled for pieces of 128 mel bands by 86 frames.

A picture is ``[batch, 1, bands, frames]`` with values from −1 to 1 (`engine.travelgan.view`).  The first layer's
filters reach over all bands, so that everything after it runs along time alone.  Differs from the published code in the
zeros around the generator's time, which let 86 frames be halved twice, and in the siamese's spectral normalisation.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.travelgan.layers import BatchNorm, SpectralConv, SpectralDense, SpectralSpread, dense

BANDS = 128
WIDTH = 86
PIECES = 3
SLOPE = 0.2


def _leaky(x: Tensor) -> Tensor:
    return functional.leaky_relu(x, SLOPE)


def _wider(x: Tensor) -> Tensor:
    """A frame of zeros before and after."""
    return functional.pad(x, (1, 1))


def _twice(x: Tensor) -> Tensor:
    """Every frame twice."""
    return x.repeat_interleave(2, -1)


class Generator(nn.Module):
    """A piece of one set to the same piece of the other: a U-Net along time."""

    def __init__(self, filters: int = 256, bands: int = BANDS, seed: int = 0) -> None:
        super().__init__()
        g = torch.Generator().manual_seed(seed)
        self.first = SpectralConv(1, filters, (bands, 3), g)
        self.first_norm = BatchNorm(filters)
        self.halved = SpectralConv(filters, filters, (1, 9), g, stride=2, same=True)
        self.halved_norm = BatchNorm(filters)
        self.quartered = SpectralConv(filters, filters, (1, 7), g, stride=2, same=True)
        self.quartered_norm = BatchNorm(filters)
        self.up = SpectralConv(filters, filters, (1, 7), g, same=True)
        self.up_norm = BatchNorm(filters)
        self.upper = SpectralConv(2 * filters, filters, (1, 9), g, same=True)
        self.spread = SpectralSpread(2 * filters, bands, g)

    def forward(self, x: Tensor) -> Tensor:
        """``[batch, 1, bands, frames]`` to the same shape; two more frames must be a multiple of four."""
        whole = _wider(_leaky(self.first_norm(self.first(_wider(x)))))
        half = _leaky(self.halved_norm(self.halved(whole)))
        quarter = _leaky(self.quartered_norm(self.quartered(half)))
        up = _leaky(self.up_norm(self.up(_twice(quarter))))
        upper = _leaky(self.upper(_twice(torch.cat([up, half], 1))))
        made: Tensor = self.spread(torch.cat([upper, whole], 1)).tanh()
        return made[..., 1:-1]


class Siamese(nn.Module):
    """A piece to a point ``[batch, 128]``: what lies between two points is what makes two pieces differ."""

    def __init__(
        self, filters: int = 256, bands: int = BANDS, width: int = WIDTH, outputs: int = 128, seed: int = 0
    ) -> None:
        super().__init__()
        g = torch.Generator().manual_seed(seed)
        self.first = SpectralConv(1, filters, (bands, 3), g)
        self.first_norm = BatchNorm(filters)
        self.halved = SpectralConv(filters, filters, (1, 9), g, stride=2, same=True)
        self.halved_norm = BatchNorm(filters)
        self.quartered = SpectralConv(filters, filters, (1, 7), g, stride=2, same=True)
        self.quartered_norm = BatchNorm(filters)
        self.point = dense(filters * _quarter(width - 2), outputs, g)

    def forward(self, x: Tensor) -> Tensor:
        """``[batch, 1, bands, width]`` to ``[batch, outputs]``."""
        x = _leaky(self.first_norm(self.first(x)))
        x = _leaky(self.halved_norm(self.halved(x)))
        x = _leaky(self.quartered_norm(self.quartered(x)))
        point: Tensor = self.point(x.flatten(1))
        return point


class Critic(nn.Module):
    """Pieces side by side to a score ``[batch, 1]``: above 1 surely of the style, below −1 surely made."""

    def __init__(
        self, filters: int = 512, bands: int = BANDS, width: int = WIDTH, pieces: int = PIECES, seed: int = 0
    ) -> None:
        super().__init__()
        g = torch.Generator().manual_seed(seed)
        self.first = SpectralConv(1, filters, (bands, 3), g)
        self.halved = SpectralConv(filters, filters, (1, 9), g, stride=2, same=True)
        self.quartered = SpectralConv(filters, filters, (1, 7), g, stride=2, same=True)
        self.score = SpectralDense(filters * _quarter(pieces * width - 2), g)

    def forward(self, x: Tensor) -> Tensor:
        """``[batch, 1, bands, pieces · width]`` to ``[batch, 1]``."""
        x = _leaky(self.quartered(_leaky(self.halved(_leaky(self.first(x))))))
        score: Tensor = self.score(x.flatten(1))
        return score


def _quarter(frames: int) -> int:
    """Frames that are left after two halvings, each rounded up."""
    return ((frames + 1) // 2 + 1) // 2
