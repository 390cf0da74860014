"""Ulyanov & Lebedev 2016, 'Audio texture synthesis and style transfer': the reference everything is compared with.

log1p magnitude (2048/512 at 22 050 Hz), 4096 random filters of 11 frames, Gram over all frames, content weight 0.01;
L-BFGS on the spectrogram from small noise, then 500 Griffin-Lim steps from random phase.  Kept as published, with
four departures: any length (their code cuts to 430 frames), the Gram matrix divided by the number of patches of each
side (theirs crops the style to the content's length instead), our L-BFGS for SciPy's, and the channels of a stem take
one gain (theirs is mono): Griffin-Lim runs on their shared magnitude and starts from random phase, as theirs does.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from engine import lbfgs
from engine.draft import anchored, fast_griffin_lim
from engine.errors import RecipeError
from engine.excerpts import select
from engine.kernel import WIDTH
from engine.method import OnIterate, Solver, Work
from engine.random_network import RandomNetwork
from engine.recipe import Recipe
from engine.spectra import Resolution, log_magnitude
from engine.target import Target, union
from engine.terms import Picture

PARAMS: Mapping[str, Any] = {"filters": 4096, "alpha": 0.01, "iterations": 300, "griffin_lim": 500, "max_s": 12.0}


class Ulyanov:
    """Matches the Gram matrix of one random layer on the spectrogram, then inverts it."""

    def learn(self, references: Sequence[Tensor], rate: int, params: Mapping[str, Any]) -> Target:
        """Frames of the references; filters are drawn from the seed of a render, so they are not kept."""
        settings = {**PARAMS, **params}
        for name, value in settings.items():
            if name not in PARAMS:
                raise RecipeError(f"recipe 'ulyanov' has no parameter {name!r} (there are: {', '.join(PARAMS)})")
            if not isinstance(value, int | float) or isinstance(value, bool) or value <= 0:
                raise RecipeError(f"{name} is {value!r}; expected a number above 0")
        magnitude, weights = select(references, rate, float(settings["max_s"])).frames(Resolution.at(rate, 2048))
        tensors = {"magnitude.2048": magnitude.half(), "weights.2048": weights}
        return Target("ulyanov", settings, rate, tensors)

    def blend(self, parts: Sequence[tuple[Target, float]]) -> Target:
        """Gram matrices average as the frames' weights do."""
        return union(parts, (2048,), WIDTH - 1)

    def solver(self, target: Target, power: Tensor, device: torch.device) -> Solver:
        """Restyles each span of a batch by itself; a second pass has nothing to start from and starts anew."""

        def solve(work: Work, on_iterate: OnIterate) -> Tensor:
            pieces = [self._span(work.one(k).x, work, target, on_iterate) for k in range(work.x.shape[0])]
            return torch.stack(pieces)

        return solve

    def _span(self, x: Tensor, work: Work, target: Target, on_iterate: OnIterate) -> Tensor:
        res = Resolution.at(target.rate, 2048)
        params, stem = target.params, Picture(x).log(res)[0].contiguous()
        network = RandomNetwork(res.bins, int(params["filters"]), seed=work.seed).to(x)
        style = network.features(log_magnitude(target.tensors["magnitude.2048"].float().to(x)))
        style = style * target.tensors["weights.2048"].to(x).sqrt()
        grams, kept = style @ style.T, network.features(stem)
        alpha = params["alpha"] * anchored(work.amount)
        iterations = int(params["iterations"])

        def loss(log: Tensor) -> Tensor:
            features = network.features(log[0])
            gram = features @ features.T / features.shape[1]
            total: Tensor = (gram - grams).square().sum() + alpha * (features - kept).square().sum()
            return total[None]

        def report(progress: lbfgs.Progress) -> None:
            on_iterate(min(int(progress.iterations[0]), iterations), iterations, float(progress.losses[0]))

        generator = torch.Generator().manual_seed(work.seed)
        start = (torch.randn(stem.shape, generator=generator) * 1e-3).to(x)
        found = lbfgs.minimise(
            lbfgs.differentiate(loss, torch.Size((1, *stem.shape))),
            start.flatten()[None],
            evaluations=round(iterations * 1.07),  # what SciPy's line search takes for as many iterations
            on_progress=report,
        )
        magnitude = (found.x.view(1, *stem.shape).exp() - 1).clamp_min(0)
        return _from_random_phase(x, magnitude, res, int(params["griffin_lim"]), work.seed)[0]


def _from_random_phase(x: Tensor, magnitude: Tensor, res: Resolution, steps: int, seed: int) -> Tensor:
    """Griffin & Lim 1984 without momentum, from noise that all channels share in proportion to their level."""
    generator = torch.Generator().manual_seed(seed + 1)
    noise = torch.randn(x.shape[-1], generator=generator).to(x)
    share = x.square().mean(-1, keepdim=True).sqrt()
    share = share / (share.square().mean(1, keepdim=True).sqrt() + math.ulp(1.0))
    return fast_griffin_lim(share * noise, magnitude, res, steps, momentum=0.0)


METHOD = Ulyanov()


def method(recipe: Recipe) -> Ulyanov:
    """The method of ``recipe``, which is the only one of its kind."""
    return METHOD
