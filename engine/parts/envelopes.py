"""Energy envelopes over frequency and over time, which Gram matrices lack (Verma & Smith 2018).

E_f(S) = mean over time of S², E_t(S) = mean over frequency of S², both divided by their greatest value, in log.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from engine.parts.features import Layer
from engine.parts.statistics import Distance

#: What is this far below the greatest value counts as nothing: 40 dB.
FLOOR = 1e-4


def _log(energy: Tensor) -> Tensor:
    """Log of ``[batch, any]`` over its greatest value."""
    peak = energy.amax(-1, keepdim=True).clamp_min(torch.finfo(energy.dtype).tiny ** 0.5)
    return (energy / peak + FLOOR).log()


@dataclass(frozen=True)
class FrequencyEnvelope:
    """Mean squared difference of the energy envelopes over rows (of views whose bins are rows)."""

    def _envelope(self, layer: Layer) -> Tensor:
        return _log((layer.values.square().mean(1) * layer.weights[:, None]).sum(-1))

    def against(self, goal: Layer) -> Distance:
        """Positions count by their weights, so lengths may differ."""
        theirs = self._envelope(goal)
        return lambda layer: (self._envelope(layer) - theirs).square().mean(-1)


@dataclass(frozen=True)
class TimeEnvelope:
    """Mean squared difference of the energy envelopes over positions.

    The goal has as many positions as what it is compared with, or is repeated (or cut) to be as long: never stretched.
    """

    def _envelope(self, layer: Layer) -> Tensor:
        return _log(layer.values.square().mean((1, 2)))

    def against(self, goal: Layer) -> Distance:
        """The goal's envelope as it is."""
        theirs = self._envelope(goal)

        def distance(layer: Layer) -> Tensor:
            own = self._envelope(layer)
            times = -(-own.shape[-1] // theirs.shape[-1])
            looped = theirs.repeat(1, times)[:, : own.shape[-1]]
            return (own - looped).square().mean(-1)

        return distance
