"""Random networks: filters nobody has trained, seeded, so that a seed is a network.

Weights are drawn when a stem is rendered and never stored.
"""

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.functional import conv1d, conv2d, pad

from engine.kernel import network_scale
from engine.parts.features import Maps, Network


def longer(view: Tensor, frames: int) -> Tensor:
    """``view`` followed by silence where it has fewer than ``frames`` frames."""
    short = frames - view.shape[-1]
    return pad(view, (0, short)) if short > 0 else view


@dataclass(frozen=True)
class Random:
    """Layers of Gaussian filters along time, frequencies as channels, ReLU after each (Ulyanov & Lebedev 2016).

    ``filters`` and ``width`` hold for all of ``layers``.  The variance of every layer is 4 / ((inputs + filters) ·
    width), the classic one.  ``all_layers`` compares each layer and not the last only.
    """

    filters: int = 4096
    width: int = 11
    layers: int = 1
    all_layers: bool = False

    def sizes(self, inputs: int) -> list[tuple[int, int, int]]:
        """Shape of each layer's weights for so many input channels."""
        channels = [inputs, *[self.filters] * self.layers]
        return [(out, into, self.width) for into, out in pairwise(channels)]

    def ready(self, view: Tensor, rate: int, seed: int) -> Network:
        """Draw the filters."""
        generator = torch.Generator().manual_seed(seed)
        weights = []
        for shape in self.sizes(view.shape[1] * view.shape[2]):
            _, scale = network_scale(shape[1], shape[0], self.width)
            weights.append((torch.randn(shape, generator=generator) * math.sqrt(scale / self.filters)).to(view))
        return lambda v: self._features(v, weights)

    def _features(self, view: Tensor, weights: list[Tensor]) -> list[Maps]:
        reach = 1 + (self.width - 1) * len(weights)
        values, found = longer(view.flatten(1, 2), reach), []
        for number, weight in enumerate(weights, 1):
            values = conv1d(values, weight).relu()
            found.append(Maps(values[:, :, None], 1 + (self.width - 1) * number))
        return found if self.all_layers else found[-1:]


@dataclass(frozen=True)
class Planes:
    """Random two-dimensional filters of several sizes side by side, ReLU (Caracalla & Roebel 2019).

    ``sizes`` are frequency × time, or one number for a square; ``filters`` of each, weights even in ± ``spread``, no
    bias.  Nothing is padded in time; in frequency a row has the filter's middle on it.  Each size is a layer, or with
    ``joint`` all are one.
    """

    sizes: tuple[int | tuple[int, int], ...] = (3, 5, 7, 11, 15, 19, 23, 27)
    filters: int = 128
    spread: float = 0.05
    joint: bool = False

    def shapes(self, planes: int) -> list[tuple[int, int, int, int]]:
        """Shape of the weights of each size for views of so many planes."""
        pairs = [(size, size) if isinstance(size, int) else size for size in self.sizes]
        return [(self.filters, planes, high, wide) for high, wide in pairs]

    def ready(self, view: Tensor, rate: int, seed: int) -> Network:
        """Draw the filters."""
        generator = torch.Generator().manual_seed(seed)
        weights = [
            ((2 * torch.rand(shape, generator=generator) - 1) * self.spread).to(view)
            for shape in self.shapes(view.shape[1])
        ]
        return lambda v: self._features(v, weights)

    def _features(self, view: Tensor, weights: list[Tensor]) -> list[Maps]:
        widest = max(weight.shape[-1] for weight in weights)
        view, found = longer(view, widest), []
        for weight in weights:
            high, wide = weight.shape[-2:]
            rows = pad(view, (0, 0, (high - 1) // 2, high // 2))
            found.append(Maps(conv2d(rows, weight).relu(), wide, share=1 / len(weights)))
        if not self.joint:
            return found
        # positions of all sizes whose middles are the same
        last = view.shape[-1] - widest + 1
        middles = [(widest - maps.width) // 2 for maps in found]
        joined = [maps.values[..., skip : skip + last] for maps, skip in zip(found, middles, strict=True)]
        return [Maps(torch.cat(joined, 1), widest)]
