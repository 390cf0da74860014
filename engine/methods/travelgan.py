"""The method of the trained recipe: a stem's picture through generators, played as a gain."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from engine.errors import RecipeError
from engine.method import OnIterate, Solver, Work
from engine.recipe import Recipe
from engine.spectra import stft
from engine.target import Target
from engine.travelgan import pieces, view
from engine.travelgan.networks import Generator


def trained(recipe: Recipe, generator: Generator, rate: int, params: Mapping[str, Any]) -> Target:
    """The target that plays ``generator`` at ``rate``, which need not be the rate it was trained at."""
    tensors = {f"0.{name}": value.detach().cpu() for name, value in generator.state_dict().items()}
    return Target(recipe.name, recipe.check(params), rate, {**tensors, "shares": torch.ones(1)})


class Travelgan:
    """Plays what `engine.travelgan.training` has trained."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe

    def learn(self, references: Sequence[Tensor], rate: int, params: Mapping[str, Any]) -> Target:
        """Refused: `RecipeError` says how such a preset is made."""
        raise RecipeError(
            f"recipe {self.recipe.name!r} is trained between two sets of sounds, not learnt from references: "
            "gramophone preset train --content DIR --style DIR --name NAME"
        )

    def blend(self, parts: Sequence[tuple[Target, float]]) -> Target:
        """All generators side by side, each gain in dB counting by its share."""
        tensors: dict[str, Tensor] = {}
        shares: list[Tensor] = []
        for target, share in parts:
            own = target.tensors["shares"]
            first = sum(each.numel() for each in shares)
            for name, value in target.tensors.items():
                if name != "shares":
                    number, _, rest = name.partition(".")
                    tensors[f"{first + int(number)}.{rest}"] = value
            shares.append(own * share)
        return replace(parts[0][0], tensors={**tensors, "shares": torch.cat(shares)})

    def solver(self, target: Target, power: Tensor, device: torch.device) -> Solver:
        """A solver with the target's generators on ``device``; `RecipeError` when its tensors are none."""
        params = {**self.recipe.defaults, **target.params}
        return _Solver(
            target, self._generators(target, int(params["filters"]), device), bool(params["overlap"]), device
        )

    def _generators(self, target: Target, filters: int, device: torch.device) -> list[tuple[Generator, float]]:
        out = []
        try:
            for number, share in enumerate(target.tensors["shares"].tolist()):
                generator = Generator(filters)
                under = {k[len(f"{number}.") :]: v for k, v in target.tensors.items() if k.startswith(f"{number}.")}
                generator.load_state_dict(under)
                out.append((generator.to(device).eval().requires_grad_(False), share))
        except (KeyError, RuntimeError, TypeError) as error:
            said = " ".join(str(error).split())[:200]
            raise RecipeError(f"the preset holds no generator of {filters} filters ({said}); train it again") from error
        return out


class _Solver:
    """Restyles spans by gains; see `engine.method.Solver`.  A second pass does what a first does, having no search."""

    def __init__(
        self, target: Target, generators: Sequence[tuple[Generator, float]], overlapped: bool, device: torch.device
    ) -> None:
        self.target, self.generators, self.overlapped, self.device = target, generators, overlapped, device

    @property
    def key(self) -> Hashable:
        """Stems that play the same target share a batch."""
        return id(self.target), self.device

    @classmethod
    def joined(cls, parts: Sequence[tuple["_Solver", int]]) -> Solver:
        """The first: all of them do the same."""
        return parts[0][0]

    def __call__(self, work: Work, on_iterate: OnIterate) -> Tensor:
        """All pieces of the batch at once; on a CPU those of one span, so that others do not change its sums."""
        if self.device.type == "cpu" and work.x.shape[0] > 1:
            styled = torch.cat([self._played(work.one(k)) for k in range(work.x.shape[0])])
        else:
            styled = self._played(work)
        on_iterate(1, 1, 0.0)
        return styled

    def _played(self, work: Work) -> Tensor:
        rate = self.target.rate
        spectrum = stft(work.x, view.resolution(rate))
        gain = work.amount * self.gain(view.levels_of(spectrum, rate))
        return view.played(spectrum, gain, rate, work.x.shape[-1])

    def gain(self, levels: Tensor) -> Tensor:
        """The gain in dB for levels ``[batch, bands, frames]``, each generator's by its share, between its limits."""
        frames = levels.shape[-1]
        cut = pieces.cut(view.seen(levels), overlapped=self.overlapped)
        total = torch.zeros_like(levels)
        for generator, share in self.generators:
            made = generator(cut.reshape(-1, 1, *cut.shape[2:])).view(cut.shape)
            styled = view.levels(pieces.reunite(made, frames, overlapped=self.overlapped))
            total += share * (styled - levels).clamp(view.LEAST_DB, view.MOST_DB)
        return total


def method(recipe: Recipe) -> Travelgan:
    """The method of ``recipe``."""
    return Travelgan(recipe)
