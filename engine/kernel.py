"""The infinitely wide random network in closed form: style and content losses without a single filter.

The classic method convolves log-magnitude frames with F random filters of ``width`` frames, rectifies, and matches Gram
matrices (Ulyanov & Lebedev 2016).  With Gaussian filters of variance σ² and F → ∞ both losses depend on inner products
of patches only, through the arc-cosine kernel of order 1 (Cho & Saul 2009, eq. 3 and 6):

    κ(x, y) = (√(n² − d²) + d (π − θ)) / 2π,   d = <x, y>,  n = |x||y|,  θ = arccos(d / n)
    style   = Σ uu' κ(x, x')² − 2 Σ uv κ(x, a)² + Σ vv' κ(a, a')²     (a squared MMD with kernel κ²; × F²σ⁴)
    content = Σ κ(x, x) + κ(c, c) − 2 κ(x, c)                           (× Fσ²)

A patch product is a sum of ``width`` products of frames along a diagonal of SᵀS', so one matrix product serves all.
The gradients are written out: ∂κ/∂d = (π − θ)/2π and ∂κ/∂n = sin θ/2π have no singularity where arccos has one.
Weights u, v (each summing to one) say how much a patch counts: silence counts nothing, a landmark counts for many.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from engine.fused import fused

WIDTH = 11


def diagonal_sum(products: Tensor, width: int) -> Tensor:
    """Sums of ``width`` entries down the diagonals: ``[..., T, U]`` to ``[..., T-width+1, U-width+1]``.

    Runs of a power of two are built by doubling, so 11 costs five additions and not ten.
    """
    rows, cols = products.shape[-2] - width + 1, products.shape[-1] - width + 1
    out: Tensor | None = None
    run, length, offset = products, 1, 0
    for bit in range(width.bit_length()):
        if width >> bit & 1:
            part = run[..., offset : offset + rows, offset : offset + cols]
            out = part.clone() if out is None else out.add_(part)
            offset += length
        if width >> (bit + 1):
            run = run[..., :-length, :-length] + run[..., length:, length:]
            length *= 2
    assert out is not None
    return out


@fused
def diagonal_spread(grad: Tensor, width: int) -> Tensor:
    """The transpose of `diagonal_sum`: ``[..., P, Q]`` to ``[..., P+width-1, Q+width-1]``."""
    pad = width - 1
    return diagonal_sum(torch.nn.functional.pad(grad, (pad, pad, pad, pad)), width)


def window_sum(values: Tensor, width: int) -> Tensor:
    """Moving sums of ``width`` values: ``[..., T]`` to ``[..., T-width+1]``."""
    return values.unfold(-1, width, 1).sum(-1)


def _window_spread(grad: Tensor, width: int) -> Tensor:
    return window_sum(torch.nn.functional.pad(grad, (width - 1, width - 1)), width)


def squared_norms(frames: Tensor, width: int) -> Tensor:
    """Squared patch norms ``[..., T-width+1]`` of frames ``[..., T, bins]``."""
    return window_sum(frames.square().sum(-1), width)


def arc_cosine(d: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """κ of order 1 and φ = π − θ from inner products ``d`` and squared norms ``x``, ``y`` (broadcast to ``d``)."""
    n = (x * y).sqrt_()
    c = (d / n.clamp_min(torch.finfo(d.dtype).tiny)).clamp_(-1, 1)
    phi = c.acos().neg_().add_(math.pi)
    kappa = (1 - c * c).sqrt_().addcmul_(c, phi).mul_(n).mul_(0.5 / math.pi)
    return kappa, phi


def _inverse(x: Tensor) -> Tensor:
    """1/x, and 0 where x is 0 (an empty patch has no direction to move in)."""
    return torch.where(x > 0, 1 / x.clamp_min(torch.finfo(x.dtype).tiny), 0.0)


def _product(a: Tensor, b: Tensor) -> Tensor:
    """``a @ b`` of ``[batch, n, m]`` and ``[batch, m, k]``; of one problem as matrices, which a CPU does faster."""
    return (a[0] @ b[0])[None] if a.shape[0] == 1 else a @ b


@fused
def arc_rows(products: Tensor, norms: Tensor, u: Tensor, weights: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """What the cross terms need of ``products`` ``[batch, rows, columns]`` of frames, with w = ``weights``.

    g = u w κ φ / π ``[batch, P, Q]``, and sums over its rows ``[batch, 3, P]``: of u w κ², of the part of that in the
    first P columns, where the stem meets itself, and of d g.  ``norms`` and ``weights`` are ``[batch, Q]``, ``u`` is
    ``[batch, P]``.
    """
    d = diagonal_sum(products, width)
    patches = d.shape[1]
    kappa, phi = arc_cosine(d, norms[:, :patches, None], norms[:, None, :])
    weighted = (u[:, :, None] * weights[:, None, :]).mul_(kappa)
    squares = kappa.mul_(weighted)
    own = squares[..., :patches].sum(-1)
    rows = squares[..., patches:].sum(-1) + own
    g = weighted.mul_(phi).mul_(1 / math.pi)
    return g, torch.stack([rows, own, d.mul_(g).sum(-1)], 1)


class _CrossTerms(torch.autograd.Function):
    """Σ uu' κ(x, x')² − 2 Σ uv κ(x, a)² with its gradient in the frames of x, all in matrix products.

    The frames of x and a stand in one row, so one product serves both sums; patches across the joint have no weight.
    """

    @staticmethod
    def forward(ctx: Any, s: Tensor, a: Tensor, u: Tensor, v: Tensor, width: int) -> Tensor:
        batch, frames, _ = s.shape
        row = torch.cat([s, a.expand(batch, *a.shape[-2:])], 1)
        norms = squared_norms(row, width)
        patches = frames - width + 1
        # each pair of x with x stands on both sides, so its gradient counts twice
        weights = torch.cat([2 * u, u.new_zeros(batch, width - 1), -2 * v.expand(batch, -1)], 1)
        g, sums = arc_rows(_product(s, row.mT), norms, u, weights, width)
        rows, own, pull = sums.unbind(1)
        gx = rows - 0.5 * pull
        spread = diagonal_spread(g, width)
        spread[..., :frames].diagonal(dim1=-2, dim2=-1).add_(
            2 * _window_spread(gx * _inverse(norms[:, :patches]), width)
        )
        ctx.save_for_backward(_product(spread, row))
        loss: Tensor = (rows - 0.5 * own).sum(-1)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None, None]:
        (saved,) = ctx.saved_tensors
        return saved * grad[:, None, None], None, None, None, None


class _Content(torch.autograd.Function):
    """Σ_t weight_t [κ(x,x) + κ(c,c) − 2κ(x,c)] over aligned patches with its gradient in the frames of x."""

    @staticmethod
    def forward(ctx: Any, s: Tensor, c: Tensor, weights: Tensor, width: int) -> Tensor:
        x, y = squared_norms(s, width), squared_norms(c, width)
        d = window_sum((s * c).sum(-1), width)
        kappa, phi = arc_cosine(d, x, y)
        loss = (weights * (0.5 * (x + y) - 2 * kappa)).sum(-1)
        gd = -weights * phi / math.pi
        gx = weights * (0.5 - (2 * kappa - d * phi / math.pi) * 0.5 * _inverse(x))
        grad = c * _window_spread(gd, width)[..., None]
        grad += s * (2 * _window_spread(gx, width))[..., None]
        ctx.save_for_backward(grad)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        (saved,) = ctx.saved_tensors
        return saved * grad[:, None, None], None, None, None


def cross_terms(s: Tensor, a: Tensor, u: Tensor, v: Tensor, *, width: int = WIDTH) -> Tensor:
    """The part of the style loss that depends on the stem, ``[batch]``.

    ``s`` is ``[batch, bins, frames]``, ``a`` ``[bins, frames]`` or ``[batch, bins, frames]``; ``u`` and ``v`` weigh the
    patches of each, ``[batch, patches]`` (``v`` also ``[patches]``), with patches = frames − width + 1.
    """
    out: Tensor = _CrossTerms.apply(s.mT, a.mT, u, v, width)  # type: ignore[no-untyped-call]
    return out


def self_term(a: Tensor, v: Tensor, *, width: int = WIDTH) -> Tensor:
    """Σ vv' κ(a, a')² of ``[..., bins, frames]``, shape ``[...]``: what `cross_terms` lacks to be a squared MMD."""
    frames = a.mT
    x = squared_norms(frames, width)
    kappa, _ = arc_cosine(diagonal_sum(frames @ frames.mT, width), x[..., :, None], x[..., None, :])
    return ((kappa.square_() @ v[..., None]).squeeze(-1) * v).sum(-1)


def content(s: Tensor, c: Tensor, weights: Tensor, *, width: int = WIDTH) -> Tensor:
    """Distance of each patch of ``s`` to the same patch of ``c`` (both ``[batch, bins, frames]``), summed: ``[batch]``.

    ``weights`` is ``[batch, patches]``; ones give the classic sum over time.
    """
    out: Tensor = _Content.apply(s.mT, c.mT, weights, width)  # type: ignore[no-untyped-call]
    return out


def style(s: Tensor, a: Tensor, u: Tensor, v: Tensor, *, width: int = WIDTH) -> Tensor:
    """Squared MMD with kernel κ² between weighted patches of ``s`` and ``a``, ``[batch]`` (see `cross_terms`)."""
    return cross_terms(s, a, u, v, width=width) + self_term(a, v, width=width)


def even_weights(patches: int, like: Tensor) -> Tensor:
    """Equal weights ``[patches]`` that sum to one."""
    return torch.full((patches,), 1.0 / max(patches, 1), dtype=like.dtype, device=like.device)


def network_scale(bins: int, filters: int = 4096, width: int = WIDTH) -> tuple[float, float]:
    """Factors that turn `style` and `content` into the losses expected of ``filters`` explicit filters.

    Returns (F²σ⁴, Fσ²) with the classic σ² = 4 / ((bins + F) · width).
    """
    variance = 4 / ((bins + filters) * width)
    return filters**2 * variance**2, filters * variance


def frame_weights(weights: Tensor, *, width: int = WIDTH) -> Tensor:
    """Patch weights ``[patches]`` shared out over the frames they are made of: ``[patches + width - 1]``."""
    return _window_spread(weights, width) / width
