"""Random networks: filters nobody has trained, seeded, so that a seed is a network.

Weights are drawn when a stem is rendered and never stored.
"""

import math
from collections.abc import Sequence
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
class Linear:
    """One layer along time with biases and no rectifier, all weights even in ± 1/√(inputs · width) (Dipani).

    Its Gram matrix sees the second moments of patches only.  Silence of ``width // 2`` frames stands at both ends.
    """

    filters: int = 4096
    width: int = 3

    def sizes(self, inputs: int) -> list[tuple[int, ...]]:
        """Shapes of the weights and the biases for so many input channels."""
        return [(self.filters, inputs, self.width), (self.filters,)]

    def ready(self, view: Tensor, rate: int, seed: int) -> Network:
        """Draw weights, then biases."""
        generator = torch.Generator().manual_seed(seed)
        shapes = self.sizes(view.shape[1] * view.shape[2])
        bound = 1 / math.sqrt(shapes[0][1] * self.width)
        weight, bias = (even(shape, bound, generator).to(view) for shape in shapes)
        edge = self.width // 2

        def features(v: Tensor) -> list[Maps]:
            values = conv1d(v.flatten(1, 2), weight, bias, padding=edge)
            return [Maps(values[:, :, None], self.width, padding=edge)]

        return features


def even(shape: tuple[int, ...], bound: float, generator: torch.Generator) -> Tensor:
    """Numbers spread evenly over ± ``bound``."""
    return (2 * torch.rand(shape, generator=generator) - 1) * bound


@dataclass(frozen=True)
class Planes:
    """Random two-dimensional filters of several sizes side by side, ReLU (Caracalla & Roebel 2019).

    ``sizes`` are frequency × time, or one number for a square, ``filters`` of each.  Weights are even in ± ``spread``
    without biases, or where that is 0 even in ± 1/√(inputs) with biases.  A row has the filter's middle on it, with
    silence beyond the ends of the frequencies.  Each size is a layer of the patches that are whole in time, or with
    ``joint`` all are one layer with a position for every frame and silence beyond the ends.
    """

    sizes: tuple[int | tuple[int, int], ...] = (3, 5, 7, 11, 15, 19, 23, 27)
    filters: int = 128
    spread: float = 0.05
    joint: bool = False

    def shapes(self, planes: int) -> list[tuple[int, ...]]:
        """Shape of the weights of each size for views of so many planes, each followed by its biases' if it has any."""
        pairs = [(size, size) if isinstance(size, int) else size for size in self.sizes]
        found: list[tuple[int, ...]] = []
        for high, wide in pairs:
            found.append((self.filters, planes, high, wide))
            if not self.spread:
                found.append((self.filters,))
        return found

    def ready(self, view: Tensor, rate: int, seed: int) -> Network:
        """Draw the filters."""
        generator = torch.Generator().manual_seed(seed)
        shapes = self.shapes(view.shape[1])
        if self.spread:
            filters = [(even(shape, self.spread, generator).to(view), None) for shape in shapes]
            return lambda v: self._features(v, filters)
        drawn: list[tuple[Tensor, Tensor | None]] = []
        for shape, biases in zip(shapes[::2], shapes[1::2], strict=True):
            bound = 1 / math.sqrt(math.prod(shape[1:]))
            drawn.append((even(shape, bound, generator).to(view), even(biases, bound, generator).to(view)))
        return lambda v: self._features(v, drawn)

    def _features(self, view: Tensor, filters: Sequence[tuple[Tensor, Tensor | None]]) -> list[Maps]:
        found = []
        if not self.joint:
            view = longer(view, max(weight.shape[-1] for weight, _ in filters))
        for weight, bias in filters:
            high, wide = weight.shape[-2:]
            before, after = ((wide - 1) // 2, wide // 2) if self.joint else (0, 0)
            framed = pad(view, (before, after, (high - 1) // 2, high // 2))
            found.append(Maps(conv2d(framed, weight, bias).relu(), wide, padding=before, share=1 / len(filters)))
        if not self.joint:
            return found
        return [Maps(torch.cat([maps.values for maps in found], 1))]
