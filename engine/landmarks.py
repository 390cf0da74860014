"""Keep a long reference small: choose the excerpts whose patches, weighted, stand for all of it.

Excerpts and not single patches, because a patch is eleven neighbouring frames and a run of frames shares them.
Greedy kernel herding (Chen, Welling & Smola 2010) picks excerpts under the very kernel the style loss uses, then
non-negative weights are fitted to the whole reference's mean embedding, so the MMD of what is dropped is what is
minimised.
"""

import torch
from torch import Tensor

from engine import kernel

SKETCH_RANK = 64


def _sketch(frames: Tensor, seed: int = 0) -> Tensor:
    """Frames ``[bins, T]`` in an orthonormal basis of rank 64: nearly the same inner products, 30 times cheaper."""
    rank = min(SKETCH_RANK, *frames.shape)
    probe = torch.randn(frames.shape[1], rank, generator=torch.Generator().manual_seed(seed)).to(frames)
    basis = torch.linalg.qr(frames @ (frames.T @ (frames @ probe)))[0]
    sketch: Tensor = basis.T @ frames
    return sketch


def excerpt_kernel(frames: Tensor, length: int, active: Tensor, *, width: int = kernel.WIDTH) -> tuple[Tensor, Tensor]:
    """Mean κ² between the active patches of every two excerpts, ``[E, E]``, and active patches of each, ``[E]``.

    ``frames`` is ``[bins, E * length]`` of log magnitude; ``active`` marks patches ``[E, length - width + 1]``.
    """
    count = frames.shape[1] // length
    rows = _sketch(frames).T.reshape(count, length, -1)
    norms = kernel.squared_norms(rows, width)
    weights = active.to(frames) / active.sum(1, keepdim=True).clamp_min(1)
    out = frames.new_zeros(count, count)
    for e in range(count):
        d = kernel.diagonal_sum(rows[e] @ rows.mT, width)
        kappa, _ = kernel.arc_cosine(d, norms[e][:, None], norms[:, None, :])
        out[e] = ((kappa.square() @ weights[..., None])[..., 0] * weights[e]).sum(-1)
    return (out + out.T) / 2, active.sum(1)


def herd(similarity: Tensor, mass: Tensor, keep: int) -> tuple[Tensor, Tensor]:
    """The ``keep`` excerpts that stand best for all, in order of time, and their weights (summing to one).

    ``similarity`` is the excerpt kernel ``[E, E]``; ``mass`` ``[E]`` says how much each excerpt counts.
    """
    share = mass / mass.sum()
    mean = similarity @ share
    chosen: list[int] = []
    drift = torch.zeros_like(mean)
    for step in range(keep):
        score = mean - drift / (step + 1)
        score[chosen] = -torch.inf
        score[mass == 0] = -torch.inf
        best = int(score.argmax())
        if not torch.isfinite(score[best]):
            break
        chosen.append(best)
        drift = drift + similarity[best]
    index = torch.tensor(sorted(chosen))
    return index, _simplex_fit(similarity[index][:, index], mean[index])


def _simplex_fit(gram: Tensor, mean: Tensor, steps: int = 400) -> Tensor:
    """argmin w'Gw − 2w'm over w ≥ 0, Σw = 1, by multiplicative updates (all of G and m are positive)."""
    weights = torch.full_like(mean, 1 / mean.shape[0])
    for _ in range(steps):
        weights = weights * (mean / (gram @ weights).clamp_min(1e-30))
        weights = weights / weights.sum()
    return weights
