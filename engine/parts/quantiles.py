"""Distributions by their quantiles: one-dimensional optimal transport, with weights and for any two lengths."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


def order(values: Tensor) -> Tensor:
    """Where the values of each row come from when it is sorted, ``[..., n]``.

    On a CPU numpy sorts: with vector instructions it takes a sixth of the time.
    """
    if values.device.type == "cpu":
        return torch.from_numpy(np.argsort(values.detach().numpy(), -1))
    return values.argsort(-1)


@dataclass(frozen=True)
class Quantiles:
    """Sorted values and the share of all that lies below the middle of each, both ``[rows, values]``."""

    values: Tensor
    places: Tensor

    @classmethod
    def of(cls, values: Tensor, counts: Tensor) -> "Quantiles":
        """Those of each row of ``values`` ``[rows, n]`` whose columns count ``counts`` ``[n]`` (or ``[rows, n]``).

        One value alone is every quantile.
        """
        counts = counts.expand_as(values)
        if values.shape[-1] == 1:
            values, counts = values.expand(-1, 2), counts.expand(-1, 2) / 2
        places = order(values)
        each = counts.gather(-1, places)
        return cls(values.gather(-1, places), (each.cumsum(-1) - each / 2).contiguous())

    def at(self, places: Tensor) -> Tensor:
        """The values at ``places`` ``[rows, any]`` from 0 to 1: straight lines between neighbours, flat beyond."""
        high = torch.searchsorted(self.places, places.contiguous()).clamp(1, self.places.shape[-1] - 1)
        left, right = self.places.gather(-1, high - 1), self.places.gather(-1, high)
        low = self.values.gather(-1, high - 1)
        tiny = torch.finfo(places.dtype).tiny
        share = ((places - left) / (right - left).clamp_min(tiny)).clamp(0, 1)
        return low + share * (self.values.gather(-1, high) - low)
