"""Fewer numbers above 11 kHz, where pitch is noise: bins there enter the kernel in groups of eight.

The classic picture ends at 11 kHz (22 050 Hz audio).  At 44.1 kHz the other half of the bins would double the cost of
every matrix product; their patch products hardly change when each group is replaced by its mean times √8, which keeps
the sum of squares of a smooth spectrum.  Below 11 kHz nothing changes, so at 22 050 Hz the kernel is exact.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from engine.spectra import Resolution

GROUP = 8


def fold(log: Tensor, res: Resolution) -> Tensor:
    """``[..., bins, frames]`` with the bins above ``res.low`` in groups (the last few, at the Nyquist, left out)."""
    groups = (res.bins - res.low) // GROUP if res.low else 0
    if groups <= 0:
        return log
    out: Tensor = _Fold.apply(log.mT, res.low, groups)  # type: ignore[no-untyped-call]
    return out.mT


class _Fold(torch.autograd.Function):
    """`fold` of rows ``[..., bins]`` with its gradient written in one pass."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, low: int, groups: int) -> Tensor:
        ctx.low, ctx.bins = low, rows.shape[-1]
        treble = rows[..., low : low + groups * GROUP].unflatten(-1, (groups, GROUP)).sum(-1)
        return torch.cat([rows[..., :low], treble.mul_(GROUP**-0.5)], -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        low, groups = ctx.low, grad.shape[-1] - ctx.low
        out = grad.new_empty(*grad.shape[:-1], ctx.bins)
        out[..., :low] = grad[..., :low]
        out[..., low : low + groups * GROUP].unflatten(-1, (groups, GROUP)).copy_(
            (grad[..., low:] * GROUP**-0.5)[..., None].expand(*grad.shape[:-1], groups, GROUP)
        )
        out[..., low + groups * GROUP :] = 0
        return out, None, None
