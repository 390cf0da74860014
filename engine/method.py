"""What a recipe has to offer the front door, and how its module is found by name."""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from engine.recipes import find
from engine.target import Target

OnIterate = Callable[[int, int, float], None]


@dataclass(frozen=True)
class Work:
    """One span of a stem as a solver gets it, with what it may need to know of the whole.

    ``x`` is ``[batch, channels, samples]`` at the target's rate, each problem at the analysis level; ``power`` is the
    mean power of each bin ``[bins]`` of the whole stem at `engine.level.RESOLUTION`.
    """

    x: Tensor
    power: Tensor
    amount: float
    quality: str
    seed: int


class Method(Protocol):
    """A recipe's two halves: references to tensors, and a span of a stem to the same span restyled."""

    def learn(self, references: Sequence[Tensor], rate: int, params: Mapping[str, Any]) -> Target:
        """The target of ``references`` ``[channels, samples]`` at ``rate``; unknown ``params`` are refused."""
        ...

    def blend(self, parts: Sequence[tuple[Target, float]]) -> Target:
        """One target for several with positive weights that sum to one; they share recipe, parameters and rate."""
        ...

    def solve(self, work: Work, target: Target, on_iterate: OnIterate, device: torch.device) -> tuple[Tensor, float]:
        """``work.x`` restyled, same shape, and the loss reached."""
        ...


def method(recipe: str) -> Method:
    """The method of ``recipe``, its module imported when first asked for; `RecipeError` for an unknown name."""
    module = importlib.import_module(find(recipe).module)
    found: Method = module.METHOD
    return found
