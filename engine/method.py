"""What a recipe has to offer the front door, and how its module is found by name."""

import importlib
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, Protocol, Self, runtime_checkable

import torch
from torch import Tensor

from engine.recipes import find
from engine.target import Target

OnIterate = Callable[[int, int, float], None]


@dataclass(frozen=True)
class Work:
    """A batch of spans of one stem as a solver gets them.

    ``x`` is ``[batch, channels, samples]`` at the target's rate, each problem at the analysis level.  ``start``, shaped
    like ``x``, is where a second pass begins (the first one's result; None: the stem), and ``share`` how much of the
    usual number of evaluations it may take.  Where each problem is ``alone``, the whole of its stem, it may have all
    cores to itself.
    """

    x: Tensor
    amount: float
    quality: str
    seed: int
    start: Tensor | None = None
    share: float = 1.0
    alone: bool = True

    def one(self, number: int) -> "Work":
        """Problem ``number`` of the batch by itself."""
        only = slice(number, number + 1)
        return replace(self, x=self.x[only], start=None if self.start is None else self.start[only])

    @property
    def kinship(self) -> Hashable:
        """Works of the same can be one batch."""
        wish = self.amount, self.quality, self.seed, self.share
        return wish, self.alone, self.start is None, self.x.shape[1:], self.x.device

    def budget(self, evaluations: int) -> int:
        """Evaluations to take where the usual number is ``evaluations``; at least three, to move at all."""
        return max(min(3, evaluations), round(self.share * evaluations))


class Method(Protocol):
    """A recipe's two halves: references to tensors, and a span of a stem to the same span restyled."""

    def learn(self, references: Sequence[Tensor], rate: int, params: Mapping[str, Any]) -> Target:
        """The target of ``references`` ``[channels, samples]`` at ``rate``; unknown ``params`` are refused."""
        ...

    def blend(self, parts: Sequence[tuple[Target, float]]) -> Target:
        """One target for several with positive weights that sum to one; they share recipe, parameters and rate."""
        ...

    def solver(self, target: Target, power: Tensor, device: torch.device) -> "Solver":
        """What restyles the spans of one stem; ``power`` is the mean power of each of its bins ``[bins]``.

        Power is taken at `engine.level.RESOLUTION` and the target's rate, with the stem at the analysis level.
        """
        ...


class Solver(Protocol):
    """A target made ready for one stem on one device."""

    def __call__(self, work: Work, on_iterate: OnIterate) -> Tensor:
        """``work.x`` restyled, same shape; each iteration is told with its number, their number and the mean loss."""
        ...


@runtime_checkable
class Joinable(Protocol):
    """A solver that can share a batch with those of other stems."""

    @property
    def key(self) -> Hashable:
        """Solvers of one class and key can be joined."""
        ...

    @classmethod
    def joined(cls, parts: Sequence[tuple[Self, int]]) -> Solver:
        """One solver for a batch in which the next so many rows are each solver's, in order."""
        ...


def kinship(solver: Solver) -> Hashable:
    """What solvers that can be `joined` have in common."""
    return (type(solver), solver.key) if isinstance(solver, Joinable) else id(solver)


def joined(solvers: Sequence[Solver]) -> Solver:
    """One solver for a batch with a row for each of ``solvers``, which are akin."""
    parts = [list(rows) for _, rows in groupby(solvers, key=id)]
    first = solvers[0]
    if len(parts) == 1 or not isinstance(first, Joinable):
        return first
    return type(first).joined([(rows[0], len(rows)) for rows in parts if isinstance(rows[0], type(first))])


def method(recipe: str) -> Method:
    """The method of ``recipe``, its module imported when first asked for; `RecipeError` for an unknown name."""
    known = find(recipe)
    found: Method = importlib.import_module(known.module).method(known)
    return found
