"""Limits of infinitely many random filters: a Gram loss is then an MMD with a squared kernel, in closed form.

For features f(x) of patches x with E f(x)·f(y) = F·k(x, y), the squared distance of mean Gram matrices tends to

    F² · MMD²,   MMD² = Σ uu' k(x, x')² − 2 Σ uv k(x, a)² + Σ vv' k(a, a')²

(Li et al. 2017 for plain products).  ``k`` is σ²·(d + 1) for filters with biases and without a rectifier, σ²·κ for
those with one and without biases (`engine.kernel`), and for two layers κ of the moving mean of κ: κ₂ = κ(Σ₂),
Σ₂[t, s] = (1/k) Σ_τ κ[t + τ, s + τ] with its own diagonals.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import avg_pool1d

from engine import kernel as limit
from engine.parts.features import Layer
from engine.parts.statistics import Distance

KERNELS = ("arc-cosine", "linear", "two-layer")


class _ArcCosine(torch.autograd.Function):
    """κ(d, x, y) of inner products and squared norms of one shape, its derivatives free of arccos's singularity."""

    @staticmethod
    def forward(ctx: Any, d: Tensor, x: Tensor, y: Tensor) -> Tensor:
        kappa, phi = limit.arc_cosine(d, x, y)
        ctx.save_for_backward(d, x, y, kappa, phi)
        return kappa

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        d, x, y, kappa, phi = ctx.saved_tensors
        along = phi / (2 * math.pi)
        # κ is homogeneous of degree 1/2 in each squared norm but for what d already says
        rest = 0.5 * grad * (kappa - d * along)
        tiny = torch.finfo(d.dtype).tiny
        return grad * along, rest / x.clamp_min(tiny), rest / y.clamp_min(tiny)


def arc_cosine(d: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """κ of inner products ``d`` and squared norms ``x``, ``y`` that broadcast to its shape; differentiable once."""
    x, y = x.expand_as(d), y.expand_as(d)
    out: Tensor = _ArcCosine.apply(d, x, y)  # type: ignore[no-untyped-call]
    return out


def products(s: Tensor, a: Tensor, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Inner products of all patches of frames ``[..., T, bins]``, ``[..., P, Q]``, and squared norms of both sides."""
    d = limit.diagonal_sum(s @ a.mT, width)
    return d, limit.squared_norms(s, width)[..., :, None], limit.squared_norms(a, width)[..., None, :]


def linear(s: Tensor, a: Tensor, width: int) -> Tensor:
    """Patch products, plus one for filters whose biases vary as much as their weights do."""
    return products(s, a, width)[0] + 1


def two_layer(s: Tensor, a: Tensor, width: int) -> Tensor:
    """κ of the second layer, both of ``width`` frames: ``[..., T − 2(width − 1), U − 2(width − 1)]``."""
    d, x, y = products(s, a, width)
    second = limit.diagonal_sum(arc_cosine(d, x, y), width) / width
    # κ(x, x) = |x|²/2
    norms = [limit.window_sum(n, width) / (2 * width) for n in (x[..., 0], y[..., 0, :])]
    return arc_cosine(second, norms[0][..., :, None], norms[1][..., None, :])


_PLAIN: dict[str, Callable[[Tensor, Tensor, int], Tensor]] = {"linear": linear, "two-layer": two_layer}


@dataclass(frozen=True)
class Mmd:
    """Squared MMD of patches of ``width`` frames under the square of ``kernel``, one of `KERNELS`.

    Each row of the features is compared by itself and the mean taken.  ``filters`` above 0 gives the loss expected of
    so many explicit filters of the classic variance (of both layers, where there are two).
    """

    kernel: str = "arc-cosine"
    width: int = limit.WIDTH
    filters: int = 0

    @property
    def reach(self) -> int:
        """Frames that a patch of the last layer sees."""
        return self.width if self.kernel != "two-layer" else 2 * self.width - 1

    def scale(self, inputs: int) -> float:
        """What the plain MMD is multiplied by for features of so many maps."""
        if not self.filters:
            return 1.0
        style, first = limit.network_scale(inputs, self.filters, self.width)
        if self.kernel != "two-layer":
            return style
        second = 4 / (2 * self.filters * self.width)  # variance of the second layer's filters
        return (self.filters * second * first * self.width) ** 2

    def against(self, goal: Layer) -> Distance:
        """The goal's own term is computed once."""
        a, v = self._rows(goal.values), self.patch_weights(goal)
        size, inputs = goal.values.shape[2], goal.values.shape[1]
        v = v.repeat_interleave(size, 0)
        factor = self.scale(inputs)
        own = self._own(a, v)

        def distance(layer: Layer) -> Tensor:
            s, u = self._rows(layer.values), self.patch_weights(layer).repeat_interleave(size, 0)
            times = s.shape[0] // a.shape[0]
            theirs, weights, constant = a.repeat(times, 1, 1), v.repeat(times, 1), own.repeat(times)
            total = self._cross(s, theirs, u, weights) + constant
            return factor * total.view(-1, size).mean(1)

        return distance

    def _rows(self, values: Tensor) -> Tensor:
        """``[batch · rows, frames, maps]``, followed by silence where there is no patch otherwise."""
        rows = values.permute(0, 2, 3, 1).flatten(0, 1)
        short = self.reach - rows.shape[1]
        return torch.nn.functional.pad(rows, (0, 0, 0, short)) if short > 0 else rows

    def patch_weights(self, layer: Layer) -> Tensor:
        """What each patch counts, ``[batch, patches]``: the mean of its frames; nothing across the end of a run."""
        reach, frames = self.reach, layer.weights
        short = reach - frames.shape[-1]
        if short > 0:
            frames = torch.nn.functional.pad(frames, (0, short))
        weights = avg_pool1d(frames[:, None], reach, 1)[:, 0]
        if len(layer.runs) > 1:
            whole = weights.clone()
            end = 0
            for run in layer.runs[:-1]:
                end += run
                weights[:, max(0, end - reach + 1) : end] = 0
            weights = weights if bool((weights > 0).any()) else whole
        return weights / weights.sum(-1, keepdim=True).clamp_min(torch.finfo(weights.dtype).tiny)

    def _own(self, a: Tensor, v: Tensor) -> Tensor:
        if self.kernel == "arc-cosine":
            return limit.self_term(a.mT, v, width=self.width)
        squares = _PLAIN[self.kernel](a, a, self.width).square()
        return ((squares @ v[..., None])[..., 0] * v).sum(-1)

    def _cross(self, s: Tensor, a: Tensor, u: Tensor, v: Tensor) -> Tensor:
        if self.kernel == "arc-cosine":
            return limit.cross_terms(s.mT, a.mT, u, v, width=self.width)
        of = _PLAIN[self.kernel]
        own = ((of(s, s, self.width).square() @ u[..., None])[..., 0] * u).sum(-1)
        cross = ((of(s, a, self.width).square() @ v[..., None])[..., 0] * u).sum(-1)
        return own - 2 * cross
