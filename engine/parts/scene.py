"""What a solver works with: a batch of spans of one stem, the style, and the loss between them."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from engine.method import OnIterate, Work
from engine.parts.representations import Representation
from engine.parts.store import Piece, pieces
from engine.recipe import PACE
from engine.target import Target
from engine.terms import Picture, Term


@dataclass(frozen=True)
class Scene:
    """One batch on its way: ``stem`` is the picture of ``work.x``, ``loss`` the recipe's for this stem.

    ``loss`` is built when first asked for: a solver in closed form has none.
    """

    work: Work
    rate: int
    stem: Picture
    target: Target
    representations: tuple[Representation, ...]
    build: Callable[["Scene"], Term]
    tell: OnIterate
    device: torch.device
    _made: list[Term] = field(default_factory=list)

    @property
    def loss(self) -> Term:
        """The sum of the recipe's terms."""
        if not self._made:
            self._made.append(self.build(self))
        return self._made[0]

    def style(self, representation: Representation) -> list[Piece]:
        """The pieces of the references as ``representation`` needs them."""
        return pieces(self.target, representation.keep(self.rate), self.device)

    def budget(self, iterations: float) -> int:
        """Iterations for the quality and pass asked for, where the recipe says ``iterations``."""
        return self.work.budget(max(1, round(iterations * PACE[self.work.quality])))
