"""The engine's front door: learn a target from references, restyle a stem towards it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from engine.errors import EngineError, RecipeError
from engine.events import OnEvent

QUALITIES = ("draft", "standard", "fine")


@dataclass(frozen=True)
class Target:
    """What a recipe matches: named tensors with the recipe, its JSON parameters and the rate in Hz they hold for."""

    recipe: str
    params: Mapping[str, Any]
    rate: int
    tensors: Mapping[str, Tensor] = field(repr=False)


@dataclass(frozen=True)
class Settings:
    """How one stem is restyled; raises `EngineError` on a value out of range."""

    amount: float = 1.0
    mix: float = 1.0
    quality: str = "standard"
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        for name in ("amount", "mix"):
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0:
                raise EngineError(f"{name} is {value}; expected a number from 0 to 1")
        if self.quality not in QUALITIES:
            raise EngineError(f"quality is {self.quality!r}; expected one of {', '.join(QUALITIES)}")


def learn(
    references: Sequence[Tensor], rate: int, *, recipe: str = "kernel", params: Mapping[str, Any] | None = None
) -> Target:
    """Learn the target of ``references``, each float32 ``[channels, samples]`` at ``rate`` Hz."""
    return Target(recipe, dict(params or {}), rate, {"frames": torch.cat([r.mean(0) for r in references])[:1024]})


def blend(parts: Sequence[tuple[Target, float]]) -> Target:
    """The weighted blend of targets of one recipe and rate; weights must be positive."""
    first = parts[0][0]
    if any((t.recipe, t.rate) != (first.recipe, first.rate) for t, _ in parts):
        raise RecipeError("presets of different recipes or rates cannot be blended")
    total = sum(w for _, w in parts)
    n = min(len(t.tensors["frames"]) for t, _ in parts)
    mixed = sum((t.tensors["frames"][:n] * (w / total) for t, w in parts), torch.zeros(n))
    return Target(first.recipe, first.params, first.rate, {"frames": mixed})


def restyle(
    stem: Tensor, rate: int, target: Target, settings: Settings = Settings(), on_event: OnEvent | None = None
) -> Tensor:
    """Play ``stem`` (float32 ``[channels, samples]`` at ``rate`` Hz) through ``target``; same shape comes back."""
    return stem.clone()
