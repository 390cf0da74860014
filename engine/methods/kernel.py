"""The default recipe: the infinitely wide random network, matched on the waveform.

`standard` and `fine` minimise a composed loss that keeps the stem's pitch and rhythm while three resolutions take on
the style; `draft` takes the fast road on one resolution (`engine.draft`).  Nothing is drawn at random but the probe of
a low-rank basis, which is seeded, so the same stem, target and settings give the same bytes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor

from engine import kernel, lbfgs, level
from engine.draft import Budget, solve_draft
from engine.errors import RecipeError
from engine.excerpts import select
from engine.method import OnIterate, Work
from engine.precondition import Preconditioner
from engine.spectra import Resolution, log_magnitude
from engine.target import Target
from engine.terms import (
    Chroma,
    Content,
    Energy,
    Moments,
    Picture,
    Rhythm,
    Style,
    Term,
    Weighted,
    Whitened,
    active_patches,
)

#: n_fft at 22 050 Hz, overlap and weight of each resolution of the style term.
RESOLUTIONS = ((2048, 4, 0.35), (512, 2, 0.35), (4096, 4, 0.30))
EVALUATIONS = {"standard": 40, "fine": 120}
HISTORY = 5
ANCHOR = 1.0
#: Seconds of reference kept, and what a draft may spend (see `engine.draft.Budget`).
PARAMS: Mapping[str, Any] = {"max_s": 12.0, **asdict(Budget())}
LIMITS: Mapping[str, tuple[float, float]] = {
    "max_s": (1, 600),
    "warm": (0, 1000),
    "griffin_lim": (0, 1000),
    "waveform": (1, 1000),
    "alpha": (0, 1000),
}


@dataclass(frozen=True)
class Frames:
    """A target at one resolution as a loss wants it: log magnitude ``[bins, frames]`` and patch weights."""

    log: Tensor
    weights: Tensor


class Kernel:
    """Learns weighted frames at three resolutions; restyles by gradient on the waveform."""

    def learn(self, references: Sequence[Tensor], rate: int, params: Mapping[str, Any]) -> Target:
        """Keep at most ``max_s`` seconds of excerpts (default 12) that stand for all references."""
        settings = {**PARAMS, **params}
        for name, value in settings.items():
            if name not in PARAMS:
                raise RecipeError(f"recipe 'kernel' has no parameter {name!r} (there are: {', '.join(PARAMS)})")
            low, high = LIMITS[name]
            whole = isinstance(PARAMS[name], int)
            if (
                isinstance(value, bool)
                or not isinstance(value, int if whole else int | float)
                or not low <= value <= high
            ):
                kind = "a whole number" if whole else "a number"
                raise RecipeError(f"{name} is {value!r}; expected {kind} from {low:g} to {high:g}")
        excerpts = select(references, rate, float(settings["max_s"]))
        tensors: dict[str, Tensor] = {}
        for n_fft, overlap, _ in RESOLUTIONS:
            magnitude, weights = excerpts.frames(Resolution.at(rate, n_fft, overlap))
            tensors[f"magnitude.{n_fft}"], tensors[f"weights.{n_fft}"] = magnitude.half(), weights
        return Target("kernel", settings, rate, tensors)

    def blend(self, parts: Sequence[tuple[Target, float]]) -> Target:
        """The weighted union of the targets' patches: their mean embeddings add up exactly."""
        tensors: dict[str, Tensor] = {}
        gap = torch.zeros(kernel.WIDTH - 1)
        for n_fft, _, _ in RESOLUTIONS:
            tensors[f"magnitude.{n_fft}"] = torch.cat([t.tensors[f"magnitude.{n_fft}"] for t, _ in parts], 1)
            weights = [piece for t, share in parts for piece in (t.tensors[f"weights.{n_fft}"] * share, gap)]
            tensors[f"weights.{n_fft}"] = torch.cat(weights[:-1])
        first = parts[0][0]
        return Target(first.recipe, first.params, first.rate, tensors)

    def solve(self, work: Work, target: Target, on_iterate: OnIterate, device: torch.device) -> tuple[Tensor, float]:
        """Restyle one batch of spans; see `engine.method.Method`."""
        if work.quality == "draft":
            frames, _ = _prepared(target, None, device, (2048,))
            budget = Budget(**{f.name: target.params.get(f.name, f.default) for f in fields(Budget)})
            return solve_draft(work, frames[2048].log, frames[2048].weights, target.rate, on_iterate, budget)
        n_fft = level.RESOLUTION
        emphasis = level.PreEmphasis(
            work.power.to(device), _mean_power(target, n_fft).to(device), Resolution.at(target.rate, n_fft), target.rate
        )
        frames, _ = _prepared(target, emphasis, device, tuple(n for n, _, _ in RESOLUTIONS))
        x = emphasis.filter(work.x)
        before = level.rms(x)[:, None, None].clamp_min(1e-12)
        x = x * (level.ANALYSIS_RMS / before)
        y, loss = _descend(x, work, frames, target.rate, on_iterate)
        return emphasis.filter(y * (before / level.ANALYSIS_RMS), undo=True), loss


def _mean_power(target: Target, n_fft: int) -> Tensor:
    """Mean power of each bin ``[bins]`` of the target, weighted as its patches are."""
    weights = kernel.frame_weights(target.tensors[f"weights.{n_fft}"])
    return target.tensors[f"magnitude.{n_fft}"].float().square() @ weights


def _prepared(
    target: Target, emphasis: level.PreEmphasis | None, device: torch.device, sizes: tuple[int, ...]
) -> tuple[dict[int, Frames], float]:
    """The target's frames at analysis level, through the emphasis where there is one."""
    out, gain = {}, 1.0
    if emphasis is not None:
        power = _mean_power(target, level.RESOLUTION)
        bins = Resolution.at(target.rate, level.RESOLUTION).frequencies(target.rate)
        gain = float((power.sum() / (power * emphasis.gains(bins).square()).sum().clamp_min(1e-30)).sqrt())
    for n_fft, overlap, _ in RESOLUTIONS:
        if n_fft not in sizes:
            continue
        magnitude = target.tensors[f"magnitude.{n_fft}"].float()
        if emphasis is not None:
            bins = Resolution.at(target.rate, n_fft, overlap).frequencies(target.rate)
            magnitude = magnitude * (gain * emphasis.gains(bins))[:, None]
        log = log_magnitude(magnitude).mT.contiguous().mT.to(device)
        out[n_fft] = Frames(log, target.tensors[f"weights.{n_fft}"].float().to(device))
    return out, gain


def composed_loss(stem: Picture, frames: Mapping[int, Frames], rate: int, amount: float) -> Weighted:
    """Style at three resolutions and band moments against pitch, timbre-blind content, rhythm and level."""
    terms: list[tuple[float, Term]] = []
    for n_fft, overlap, weight in RESOLUTIONS:
        res = Resolution.at(rate, n_fft, overlap)
        u = active_patches(stem.magnitude(res))
        terms.append((weight, Style(res, frames[n_fft].log, frames[n_fft].weights, u, stem)))
    main = Resolution.at(rate, 2048)
    fast, timbre = Resolution.at(rate, 512, 2), frames[512]
    terms.append((0.4, Moments(fast, rate, timbre.log, kernel.frame_weights(timbre.weights), stem)))
    terms.append((3.0, Chroma(Resolution.at(rate, 4096), rate, stem)))
    terms.append((0.12, Whitened(main, stem)))
    terms.append((0.1, Rhythm(main, rate, stem)))
    terms.append((0.1, Energy(main, stem)))
    if amount < 1:
        terms.append((ANCHOR * (1 / amount - 1), Content(main, stem)))
    return Weighted(terms)


def _descend(
    x: Tensor, work: Work, frames: Mapping[int, Frames], rate: int, on_iterate: OnIterate
) -> tuple[Tensor, float]:
    """Preconditioned L-BFGS on the waveform, from the stem."""
    stem = Picture(x)
    loss = composed_loss(stem, frames, rate, work.amount)
    shape, budget = x.shape, EVALUATIONS[work.quality]

    def report(progress: lbfgs.Progress) -> None:
        on_iterate(progress.evaluation, budget, float(progress.losses.mean()))

    solution = lbfgs.minimise(
        lbfgs.differentiate(lambda y: loss(Picture(y)), shape),
        x.flatten(1),
        evaluations=budget,
        history=HISTORY,
        first_step=0.05,
        precondition=Preconditioner(stem, Resolution.at(rate, 2048, 2)),
        on_progress=report,
    )
    return solution.x.view(shape), float(solution.losses.mean())


METHOD = Kernel()
