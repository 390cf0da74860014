"""Statistics that compare distributions by how far one has to be carried to become the other."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.parts.features import Layer
from engine.parts.quantiles import Quantiles, order
from engine.parts.statistics import Distance


@dataclass(frozen=True)
class Sliced:
    """Sliced Wasserstein distance of the features at all positions (Heitz et al. 2021, eq. 4).

    Features are projected on random directions, as many as there are maps or ``directions``; the values along each are
    sorted, and the mean squared difference of the quantiles is taken.  The source draws new directions at every step;
    here ``seed`` draws them once, as L-BFGS wants one loss.  Positions count by their weights, so lengths may differ;
    those of all rows are one distribution, or with ``rows`` each row has its own.  The mean over directions is
    multiplied by the number of maps: the expected value then does not depend on how many there are of either.
    """

    directions: int = 0
    rows: bool = False
    seed: int = 0

    def _projected(self, layer: Layer) -> tuple[Tensor, Tensor]:
        """``[batch, directions (of each row), values]`` and what each counts ``[batch, 1, values]``."""
        maps, rows = layer.values.shape[1:3]
        generator = torch.Generator().manual_seed(self.seed)
        drawn = torch.randn(self.directions or maps, maps, generator=generator, dtype=torch.float64)
        drawn = (drawn / drawn.norm(dim=1, keepdim=True)).to(layer.values)
        if self.rows:
            projected = torch.einsum("dm,bmrp->brdp", drawn, layer.values).flatten(1, 2)
            return projected, layer.weights[:, None]
        counts = (layer.weights / rows)[:, None].repeat(1, rows, 1).flatten(1)
        return drawn @ layer.values.flatten(2), counts[:, None]

    def against(self, goal: Layer) -> Distance:
        """The goal is projected and sorted once."""
        projected, counts = self._projected(goal)
        kept = [_sounding(p, c) for p, c in zip(projected, counts[:, 0], strict=True)]
        goals = [Quantiles.of(*pair) for pair in kept]
        maps = goal.values.shape[1]

        def distance(layer: Layer) -> Tensor:
            values, each = self._projected(layer)
            sorting = order(values)
            found = values.gather(-1, sorting)
            weights = each.expand_as(values).gather(-1, sorting)
            places = weights.cumsum(-1) - weights / 2
            theirs = torch.stack([goals[k % len(goals)].at(rows) for k, rows in enumerate(places)])
            return maps * (weights * (found - theirs).square()).sum(-1).mean(-1)

        return distance


def _sounding(values: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Columns that count; all of them where none does."""
    kept = counts > 0
    if not bool(kept.any()):
        return values, torch.full_like(counts, 1 / counts.shape[-1])
    return values[:, kept], counts[kept]


@dataclass(frozen=True)
class Gaussian:
    """Squared 2-Wasserstein distance between Gaussians of every map: (μ − μₛ)² + (σ − σₛ)², summed over maps.

    With ``rows`` each row of a map has a Gaussian of its own (their mean is taken).  ``scale`` is ``sum``, or
    ``relative``: over the goal's own Σ μₛ² + σₛ².
    """

    rows: bool = True
    scale: str = "relative"

    def _moments(self, layer: Layer) -> tuple[Tensor, Tensor]:
        """Mean and deviation ``[batch, maps, rows or 1]``."""
        weights = layer.weights[:, None, None]
        values = layer.values
        if not self.rows:
            rows = values.shape[2]
            values, weights = values.flatten(2)[:, :, None], weights.repeat(1, 1, 1, rows) / rows
        mean = (values * weights).sum(-1)
        variance = (values - mean[..., None]).square().mul(weights).sum(-1)
        # a deviation has no slope at zero without a floor under the root
        return mean, (variance + math.sqrt(torch.finfo(variance.dtype).eps) * 1e-4).sqrt()

    def against(self, goal: Layer) -> Distance:
        """Two numbers for each of the goal's maps (and rows)."""
        means, deviations = self._moments(goal)
        size = (means.square() + deviations.square()).sum(1).mean(1)

        def distance(layer: Layer) -> Tensor:
            mean, deviation = self._moments(layer)
            total = ((mean - means).square() + (deviation - deviations).square()).sum(1).mean(1)
            return total / size.clamp_min(torch.finfo(size.dtype).tiny) if self.scale == "relative" else total

        return distance
