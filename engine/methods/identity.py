"""The stem, untouched: for testing everything around a recipe."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from engine.method import OnIterate, Solver, Work
from engine.recipe import Recipe
from engine.target import Target


class Identity:
    """Learns the length of its references and changes nothing."""

    def learn(self, references: Sequence[Tensor], rate: int, params: Mapping[str, Any]) -> Target:
        """A target that holds the mean of each reference, so that two different sounds differ."""
        means = torch.stack([r.double().mean() for r in references])
        return Target("identity", dict(params), rate, {"mean": means.float()})

    def blend(self, parts: Sequence[tuple[Target, float]]) -> Target:
        """The first target: all of them do the same."""
        return parts[0][0]

    def solver(self, target: Target, power: Tensor, device: torch.device) -> Solver:
        """A solver that gives back what it gets."""
        return _unchanged


def _unchanged(work: Work, on_iterate: OnIterate) -> Tensor:
    on_iterate(1, 1, 0.0)
    return work.x


METHOD = Identity()


def method(recipe: Recipe) -> Identity:
    """The method of ``recipe``, which is the only one of its kind."""
    return METHOD
