"""The fast road of the kernel recipe: a low-rank warm start, a few fast Griffin-Lim steps, a short waveform descent.

1. Stem and target frames nearly lie in a space of 64 dimensions.  In an orthonormal basis Q of it every patch product
   is one of 64 numbers and not of 2049, at twice the hop: S = C + (Z − Z_C) Qᵀ is found in a millisecond a step.
2. Fast Griffin-Lim (Perraudin, Balazs & Søndergaard 2013, momentum 0.99) from the stem's phase makes a waveform of it.
3. Preconditioned L-BFGS on the waveform takes off what phase reconstruction has added.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from engine import kernel, lbfgs
from engine.method import OnIterate, Work
from engine.precondition import Preconditioner
from engine.recorded import Recorded
from engine.spectra import Resolution, istft, stft
from engine.terms import Goal, Picture, active_patches

RANK = 64
WARM_WIDTH = 6  # at twice the hop: the same span of time as 11 frames


@dataclass(frozen=True)
class Budget:
    """What a draft may spend: evaluations of the warm start, Griffin-Lim steps, and evaluations on the waveform.

    ``alpha`` is the classic content weight.  The default has no warm start: over several pairs, a few evaluations from
    the stem itself keep chroma .9 where the warm start keeps .75 at the same style and cost.  With one (25, 8) the
    style loss falls furthest in the least time, which is what a drone or a texture may want.
    """

    warm: int = 0
    griffin_lim: int = 8
    waveform: int = 8
    alpha: float = 0.05


CLASSIC_PATCHES = 420  # of the ten seconds the classic content weight was set on
CLASSIC_BINS = 1025


def classic_weights(amount: float, alpha: float) -> tuple[float, float]:
    """Weights of the squared MMD and of the mean content distance of a patch, in the scale of 4096 explicit filters.

    Set for ten seconds at 22 050 Hz whatever the length and rate, so that ``alpha`` means the same everywhere.
    """
    style, content = kernel.network_scale(CLASSIC_BINS)
    return style, content * CLASSIC_PATCHES * alpha * anchored(amount)


def anchored(amount: float) -> float:
    """What an ``amount`` from 0 (excluded) to 1 multiplies the classic content weight by: ever more, the nearer to 0.

    300 puts half the amount between both ends, as the tests ask.
    """
    return 1 + 300 * (1 / amount - 1)


def basis(frames: Tensor, rank: int = RANK, seed: int = 0) -> Tensor:
    """Orthonormal ``[bins, rank]`` basis of ``[bins, frames]`` by one randomised power step (Halko et al. 2011)."""
    rank = min(rank, *frames.shape)
    probe = torch.randn(frames.shape[1], rank, generator=torch.Generator().manual_seed(seed)).to(frames)
    found: Tensor = torch.linalg.qr(frames @ (frames.mT @ (frames @ probe)))[0]
    return found


def warm_start(stem: Tensor, target: Tensor, v: Tensor, weights: tuple[float, float], evaluations: int) -> Tensor:
    """A log spectrum near the optimum, from a stem ``[batch, bins, frames]`` and target frames ``[bins, T]``."""
    batch, _, frames = stem.shape
    half = stem[..., ::2].contiguous()
    sparse, sparse_v = target[:, ::2], _every_second(v)
    q = torch.stack([basis(torch.cat([c, sparse], 1)) for c in half])
    start = (q.mT @ half).contiguous()
    goal = q.mT @ sparse
    u = active_patches(half.exp() - 1, WARM_WIDTH)
    style, content = weights
    even = torch.full_like(u, 1 / u.shape[1])

    def loss(z: Tensor) -> Tensor:
        pull = kernel.cross_terms(z, goal, u, sparse_v.expand(batch, -1), width=WARM_WIDTH)
        stay = kernel.content(z, start, even, width=WARM_WIDTH)
        scale = 11 / WARM_WIDTH  # patches hold fewer frames, so products are smaller
        return style * scale**2 * pull + content * scale * stay

    found = lbfgs.minimise(lbfgs.differentiate(loss, start.shape), start.flatten(1), evaluations=evaluations, history=6)
    change = found.x.view(start.shape) - start
    full = torch.nn.functional.interpolate(change, size=2 * change.shape[-1] - 1, mode="linear", align_corners=True)
    if full.shape[-1] < frames:
        full = torch.cat([full, full[..., -1:]], -1)
    # few dimensions can pile up in a few bins what no sound has there, and the exponential would make it a burst
    ceiling = torch.maximum(stem.amax(2, keepdim=True), target.amax(1)[:, None])
    return torch.minimum(stem + q @ full, ceiling)


def _every_second(v: Tensor) -> Tensor:
    """Weights of the patches left at twice the hop; a joint between excerpts stays weightless."""
    kept = v[::2]
    return kept / kept.sum().clamp_min(1e-12)


def fast_griffin_lim(x: Tensor, magnitude: Tensor, res: Resolution, steps: int, momentum: float = 0.99) -> Tensor:
    """Waveforms whose linked magnitude comes near ``magnitude`` ``[batch, bins, frames]``, from those of ``x``.

    Every channel takes the same gain in a bin, so the stereo image stays.
    """
    samples = x.shape[-1]
    goal = magnitude.mT[:, None] / res.scale
    spectrum = stft(x, res)
    previous = spectrum
    for step in range(steps):
        linked = (spectrum.real.square() + spectrum.imag.square()).mean(1, keepdim=True).sqrt_()
        x = istft(spectrum * (goal / linked.clamp_min(1e-8)), res, samples)
        if step + 1 < steps:
            projected = stft(x, res)
            spectrum = projected + momentum * (projected - previous)
            previous = projected
    return x


def solve_draft(work: Work, goal: Goal, rate: int, on_iterate: OnIterate, budget: Budget) -> Tensor:
    """``work.x`` restyled towards ``goal`` at the main resolution, by the classic loss."""
    res, x = goal.res, work.x
    picture = Picture(x)
    u = active_patches(picture.magnitude(res))
    even = torch.full_like(u, 1 / u.shape[1])
    style, content = classic_weights(work.amount, budget.alpha)
    start = x if work.start is None else work.start
    if budget.warm and work.start is None:
        log = warm_start(picture.log(res), goal.log, goal.weights, (style, content), budget.warm)
        start = fast_griffin_lim(x, (log.exp() - 1).clamp_min(0), res, budget.griffin_lim)
    stem, evaluations = picture.folded(res), work.budget(budget.waveform)

    def loss(y: Tensor) -> Tensor:
        log = Picture(y).folded(res)
        pull = kernel.cross_terms(log, goal.patches, u, goal.weights) + goal.constant
        return style * pull + content * kernel.content(log, stem, even)

    def report(progress: lbfgs.Progress) -> None:
        on_iterate(progress.evaluation, evaluations, float(progress.losses.mean()))

    found = lbfgs.minimise(
        Recorded(lbfgs.differentiate(loss, x.shape)),
        start.flatten(1),
        evaluations=evaluations,
        history=5,
        first_step=0.05,
        precondition=Preconditioner(Picture(start), Resolution.at(rate, 2048, 2)),
        on_progress=report,
    )
    return found.x.view(x.shape)
