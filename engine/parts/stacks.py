"""Random stacks of small two-dimensional filters: the shape of image networks without their training."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import conv2d, max_pool2d, pad

from engine.parts.features import Maps, Network


@dataclass(frozen=True)
class Stack:
    """Convolutions of 3 × 3 with ReLU, halved in both directions by max-pooling after each but the last.

    The layers of Verma & Smith (2018)'s AlexNet, whose receptive fields are 3 × 3, with ``channels`` each; weights are
    Gaussian with variance 2 / inputs, which keeps the size of what passes (He et al. 2015).  Every layer is compared
    and counts alike.
    """

    channels: tuple[int, ...] = (32, 64, 64)

    def shapes(self, planes: int) -> list[tuple[int, int, int, int]]:
        """Shape of each layer's weights for views of so many planes."""
        inputs = [planes, *self.channels[:-1]]
        return [(out, into, 3, 3) for out, into in zip(self.channels, inputs, strict=True)]

    def ready(self, view: Tensor, rate: int, seed: int) -> Network:
        """Draw the filters."""
        generator = torch.Generator().manual_seed(seed)
        weights = [
            (torch.randn(shape, generator=generator) * math.sqrt(2 / (shape[1] * 9))).to(view)
            for shape in self.shapes(view.shape[1])
        ]
        return lambda v: self._features(v, weights)

    def _features(self, view: Tensor, weights: list[Tensor]) -> list[Maps]:
        least = 2 ** (len(weights) - 1)
        short = [max(0, least - size) for size in view.shape[-2:]]
        values, found = pad(view, (0, short[1], 0, short[0])), []
        for number, weight in enumerate(weights):
            if number:
                values = max_pool2d(values, 2)
            values = conv2d(values, weight, padding=1).relu()
            found.append(Maps(values, width=0, share=1 / len(weights)))
        return found
