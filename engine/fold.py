"""Fewer numbers above 11 kHz, where pitch is noise: bins there enter the kernel in groups of eight.

The classic picture ends at 11 kHz (22 050 Hz audio).  At 44.1 kHz the other half of the bins would double the cost of
every matrix product; their patch products hardly change when each group is replaced by its mean times √8, which keeps
the sum of squares of a smooth spectrum.  Below 11 kHz nothing changes, so at 22 050 Hz the kernel is exact.
"""

import math

import torch
from torch import Tensor

from engine.spectra import Resolution

GROUP = 8


def fold(log: Tensor, res: Resolution) -> Tensor:
    """``[..., bins, frames]`` with the bins above ``res.low`` in groups (the last few, at the Nyquist, left out)."""
    groups = (res.bins - res.low) // GROUP if res.low else 0
    if groups <= 0:
        return log
    rows = log.mT
    treble = rows[..., res.low : res.low + groups * GROUP].unflatten(-1, (groups, GROUP)).mean(-1) * math.sqrt(GROUP)
    return torch.cat([rows[..., : res.low], treble], -1).mT
