"""The default recipe: the infinitely wide random network, matched on the waveform.

`standard` and `fine` minimise a composed loss that keeps the stem's pitch and rhythm while three resolutions take on
the style; `draft` takes the fast road on one resolution (`engine.draft`).  Nothing is drawn at random but the probe of
a low-rank basis, which is seeded, so the same stem, target and settings give the same bytes.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import fields
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor

from engine import abreast, kernel, lbfgs, level
from engine.cookbook.kernel import RECIPE
from engine.draft import Budget, solve_draft
from engine.excerpts import select
from engine.level import PreEmphasis
from engine.method import OnIterate, Solver, Work
from engine.methods.guarded import guarded
from engine.precondition import Preconditioner
from engine.recipe import Recipe
from engine.recorded import Recorded
from engine.spectra import Resolution
from engine.target import Target, union
from engine.terms import (
    Chroma,
    Content,
    Energy,
    Goal,
    Moments,
    Picture,
    Rhythm,
    Style,
    Term,
    Weighted,
    Whitened,
)

#: n_fft at 22 050 Hz, overlap and weight of each resolution of the style term.
RESOLUTIONS = ((2048, 4, 0.35), (512, 2, 0.35), (4096, 4, 0.30))
EVALUATIONS = {"standard": 28, "fine": 84}
HISTORY = 5
ANCHOR = 1.0


class Kernel:
    """Learns weighted frames at three resolutions; restyles by gradient on the waveform."""

    def learn(self, references: Sequence[Tensor], rate: int, params: Mapping[str, Any]) -> Target:
        """Keep at most ``max_s`` seconds of excerpts (default 12) that stand for all references."""
        settings = RECIPE.check(params)
        excerpts = select(references, rate, float(settings["max_s"]))
        tensors: dict[str, Tensor] = {}
        for n_fft, overlap, _ in RESOLUTIONS:
            magnitude, weights = excerpts.frames(Resolution.at(rate, n_fft, overlap))
            tensors[f"magnitude.{n_fft}"], tensors[f"weights.{n_fft}"] = magnitude.half(), weights
        return Target("kernel", settings, rate, tensors)

    def blend(self, parts: Sequence[tuple[Target, float]]) -> Target:
        """The weighted union of the targets' patches."""
        return union(parts, (n_fft for n_fft, _, _ in RESOLUTIONS), kernel.WIDTH - 1)

    def solver(self, target: Target, power: Tensor, device: torch.device) -> Solver:
        """A solver that makes the target ready once for each way it is asked to go."""
        return guarded(_Solver(target, power, device), target.params, target.rate)


class _Solver:
    """Restyles the spans of one stem; see `engine.method.Solver`."""

    def __init__(self, target: Target, power: Tensor, device: torch.device) -> None:
        self.target, self.power, self.device = target, power, device
        self.rate = target.rate
        self.budget = Budget(**{f.name: target.params.get(f.name, f.default) for f in fields(Budget)})

    def __call__(self, work: Work, on_iterate: OnIterate) -> Tensor:
        return _solve(work, [(self, work.x.shape[0])], on_iterate)

    @property
    def key(self) -> Hashable:
        """Stems share a batch when they are solved at one rate and with one budget; a warm start is a stem's own."""
        return self.rate, self.device, self.budget, id(self) if self.budget.warm else None

    @classmethod
    def joined(cls, parts: Sequence[tuple["_Solver", int]]) -> Solver:
        """One solver for rows of several stems."""
        return lambda work, on_iterate: _solve(work, parts, on_iterate)

    def prepare(self, quality: str) -> None:
        """Make what ``quality`` needs, once, before several problems ask for it at a time."""
        _ = self.plain if quality == "draft" else self.emphasised

    @cached_property
    def plain(self) -> Goal:
        """The target at the main resolution as it is."""
        return self._goals(None, (2048,))[2048]

    @cached_property
    def emphasised(self) -> tuple[PreEmphasis, dict[int, Goal]]:
        """The emphasis this stem and the target share, and the target at all resolutions through it."""
        res = Resolution.at(self.rate, level.RESOLUTION)
        emphasis = PreEmphasis(self.power, self._mean_power(), res, self.rate)
        return emphasis, self._goals(emphasis, tuple(n_fft for n_fft, _, _ in RESOLUTIONS))

    def _mean_power(self) -> Tensor:
        """Mean power of each bin ``[bins]`` of the target, weighted as its patches are."""
        weights = kernel.frame_weights(self.target.tensors[f"weights.{level.RESOLUTION}"])
        return self.target.tensors[f"magnitude.{level.RESOLUTION}"].float().square() @ weights

    def _goals(self, emphasis: PreEmphasis | None, sizes: tuple[int, ...]) -> dict[int, Goal]:
        gain = 1.0
        if emphasis is not None:
            power = self._mean_power()
            bins = Resolution.at(self.rate, level.RESOLUTION).frequencies(self.rate)
            gain = float((power.sum() / (power * emphasis.gains(bins).square()).sum().clamp_min(1e-30)).sqrt())
        goals = {}
        for n_fft, overlap, _ in RESOLUTIONS:
            if n_fft not in sizes:
                continue
            res = Resolution.at(self.rate, n_fft, overlap)
            magnitude = self.target.tensors[f"magnitude.{n_fft}"].float()
            if emphasis is not None:
                magnitude = magnitude * (gain * emphasis.gains(res.frequencies(self.rate)))[:, None]
            weights = self.target.tensors[f"weights.{n_fft}"].float()
            goals[n_fft] = Goal.of(res, magnitude.to(self.device), weights.to(self.device))
        return goals


Rows = Sequence[tuple[_Solver, int]]


def _solve(work: Work, parts: Rows, on_iterate: OnIterate) -> Tensor:
    """``work`` restyled, its rows belonging to ``parts`` in order."""
    first, _ = parts[0]
    # On a CPU a problem has its own cores and caches, and its sums do not depend on who else is in the batch.
    if first.device.type == "cpu" and not (work.alone and work.x.shape[0] == 1):
        for solver, _ in parts:
            solver.prepare(work.quality)
        owners = [solver for solver, count in parts for _ in range(count)]
        one = [partial(_batch, work.one(k), [(owner, 1)]) for k, owner in enumerate(owners)]
        if work.alone:
            return torch.cat([problem(on_iterate) for problem in one])
        return torch.cat(abreast.solved(one, on_iterate))
    return _batch(work, parts, on_iterate)


def _batch(work: Work, parts: Rows, on_iterate: OnIterate) -> Tensor:
    """``work`` restyled, all of its rows at once."""
    if work.quality == "draft":
        first, _ = parts[0]
        goal = Goal.joined([(solver.plain, count) for solver, count in parts])
        return solve_draft(work, goal, first.rate, on_iterate, first.budget)
    return _composed(work, parts, on_iterate)


def _composed(work: Work, parts: Rows, on_iterate: OnIterate) -> Tensor:
    """Preconditioned L-BFGS on the emphasised waveform, from the stem or from a first pass."""
    rate = parts[0][0].rate
    goals = {
        n_fft: Goal.joined([(solver.emphasised[1][n_fft], count) for solver, count in parts])
        for n_fft, _, _ in RESOLUTIONS
    }
    x = _filtered(work.x, parts)
    scale = level.ANALYSIS_RMS / level.rms(x)[:, None, None].clamp_min(1e-12)
    x = x * scale
    start = x if work.start is None else _filtered(work.start, parts) * scale
    loss = composed_loss(Picture(x), goals, rate, work.amount)
    budget = work.budget(EVALUATIONS[work.quality])

    def report(progress: lbfgs.Progress) -> None:
        on_iterate(progress.evaluation, budget, float(progress.losses.mean()))

    solution = lbfgs.minimise(
        Recorded(lbfgs.differentiate(lambda y: loss(Picture(y)), x.shape)),
        start.flatten(1),
        evaluations=budget,
        history=HISTORY,
        first_step=0.05,
        precondition=Preconditioner(Picture(start), Resolution.at(rate, 2048, 2)),
        on_progress=report,
    )
    # Only the change goes back through the filter, which rings beyond the ends: what did not change stays the same.
    return work.x + _filtered((solution.x.view(x.shape) - x) / scale, parts, undo=True)


def _filtered(x: Tensor, parts: Rows, *, undo: bool = False) -> Tensor:
    """Every row through the emphasis of its own stem."""
    rows = x.split([count for _, count in parts])
    return torch.cat(
        [solver.emphasised[0].filter(row, undo=undo) for (solver, _), row in zip(parts, rows, strict=True)]
    )


def composed_loss(stem: Picture, goals: Mapping[int, Goal], rate: int, amount: float) -> Weighted:
    """Style at three resolutions and band moments against pitch, timbre-blind content, rhythm and level."""
    terms: list[tuple[float, Term]] = [(weight, Style(goals[n_fft], stem)) for n_fft, _, weight in RESOLUTIONS]
    main = Resolution.at(rate, 2048)
    terms.append((0.4, Moments(goals[512], rate, stem)))
    terms.append((4.0, Chroma(Resolution.at(rate, 4096), rate, stem)))
    terms.append((0.15, Whitened(main, stem)))
    terms.append((0.1, Rhythm(main, rate, stem)))
    terms.append((0.1, Energy(main, stem)))
    if amount < 1:
        terms.append((ANCHOR * (1 / amount - 1), Content(main, stem)))
    return Weighted(terms)


METHOD = Kernel()


def method(recipe: Recipe) -> Kernel:
    """The method of ``recipe``, which is the only one of its kind."""
    return METHOD
