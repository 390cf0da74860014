"""Statistics: what of the features is compared, and how far apart two of them are.

``against(goal)`` computes the goal's statistic once and gives the distance to it as a function of `Layer`, one number
per problem of the batch.  The goal may be a batch of one (the style) or of as many as the problems (the stem).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from engine.parts.features import Layer

Distance = Callable[[Layer], Tensor]


class Statistic(Protocol):
    """A statistic of features."""

    def against(self, goal: Layer) -> Distance:
        """The distance ``[batch]`` of a layer's statistic from that of ``goal``."""
        ...


SCALES = ("sum", "mean", "maps", "relative")


def _scaled(total: Tensor, shape: torch.Size, size: Tensor, scale: str) -> Tensor:
    """A sum of squared differences of ``shape`` as it is, over how many there are, over the square of the number of
    maps (the first of ``shape``), or over the goal's own sum of squares.
    """
    if scale == "relative":
        # The root of the smallest number: a silent goal has a distance that is large, and still a number.
        return total / size.clamp_min(torch.finfo(size.dtype).tiny ** 0.5)
    count = {"mean": shape.numel(), "maps": shape[0] ** 2}.get(scale, 1)
    return total / count


@dataclass(frozen=True)
class Squares:
    """Squared differences of the features themselves, position by position (Gatys et al. 2016, eq. 1)."""

    scale: str = "sum"

    def against(self, goal: Layer) -> Distance:
        """The goal has as many positions as what it is compared with."""
        values, size = goal.values, goal.values.square().flatten(1).sum(1)

        def distance(layer: Layer) -> Tensor:
            total = (layer.values - values).square().flatten(1).sum(1)
            return _scaled(total, values.shape[1:], size, self.scale)

        return distance


@dataclass(frozen=True)
class Gram:
    """Squared Frobenius distance of Gram matrices, each a weighted mean over positions (and over rows).

    Means and not sums, so a style of another length needs no resizing.  Where there are more maps than positions,
    ``‖XXᵀ − AAᵀ‖² = ‖XᵀX‖² − 2‖XᵀA‖² + ‖AᵀA‖²`` is cheaper and no matrix of maps is ever formed.
    With ``rows`` each row has a Gram matrix of its own and their distances add up (Caracalla & Roebel 2019).
    """

    scale: str = "sum"
    rows: bool = False

    def _weighted(self, layer: Layer) -> Tensor:
        """Columns whose outer products sum to the Gram matrices: ``[batch, rows or 1, maps, columns]``."""
        weighted = layer.values * layer.weights.sqrt()[:, None, None]
        if self.rows:
            return weighted.transpose(1, 2)
        columns: Tensor = weighted.flatten(2)[:, None] / layer.values.shape[2] ** 0.5
        return columns

    def against(self, goal: Layer) -> Distance:
        """The goal's matrices, or its columns where they are fewer."""
        a = self._weighted(goal)
        rows, maps, columns = a.shape[1:]
        small = maps <= columns
        grams = a @ a.mT if small else a.mT @ a
        size = grams.square().sum((1, 2, 3))

        def distance(layer: Layer) -> Tensor:
            x = self._weighted(layer)
            if small:
                total = (x @ x.mT - grams).square().sum((1, 2, 3))
            else:
                own, cross = (x.mT @ x).square().sum((1, 2, 3)), (x.mT @ a).square().sum((1, 2, 3))
                total = own - 2 * cross + size
            return _scaled(total, torch.Size((maps, maps, rows)), size, self.scale)

        return distance


@dataclass(frozen=True)
class On:
    """The mean of ``statistic`` over the ``layers`` of these names; what else the network gives is not looked at.

    So terms that look at different layers share one pass through a network.
    """

    layers: tuple[str, ...]
    statistic: Statistic

    def against(self, goal: Layer) -> Distance:
        """Zero for a layer that is not among them."""
        if goal.name not in self.layers:
            return lambda layer: layer.values.new_zeros(layer.values.shape[0])
        distance, count = self.statistic.against(goal), len(self.layers)
        return lambda layer: distance(layer) / count
