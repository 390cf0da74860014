"""The engine's front door: learn a target from references, restyle a stem towards it."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from engine import device as devices
from engine.errors import AudioError, RecipeError
from engine.events import OnEvent
from engine.method import method
from engine.settings import QUALITIES, Settings
from engine.stream import restyle_stream
from engine.survey import InMemory, Source
from engine.target import Target

__all__ = ["QUALITIES", "InMemory", "Settings", "Source", "Target", "blend", "learn", "restyle", "restyle_stream"]


def learn(
    references: Sequence[Tensor], rate: int, *, recipe: str = "kernel", params: Mapping[str, Any] | None = None
) -> Target:
    """Learn the target of ``references``, each float32 ``[channels, samples]`` at ``rate`` Hz.

    `AudioError` if there is nothing to hear in them, `RecipeError` for an unknown recipe or parameter.
    """
    if not references:
        raise AudioError("no reference was given; expected at least one")
    for reference in references:
        _check(reference, "a reference")
    with devices.arranged(torch.device("cpu")), torch.no_grad():
        return method(recipe).learn(references, rate, dict(params or {}))


def blend(parts: Sequence[tuple[Target, float]]) -> Target:
    """The blend of targets of one recipe, rate and parameters; weights are positive and need not sum to one."""
    if not parts or any(not weight > 0 for _, weight in parts):
        raise RecipeError("a blend takes at least one target, and each weight must be above 0")
    first = parts[0][0]
    for other, _ in parts[1:]:
        for what, mine, its in (
            ("recipe", first.recipe, other.recipe),
            ("rate", first.rate, other.rate),
            ("parameters", dict(first.params), dict(other.params)),
        ):
            if mine != its:
                raise RecipeError(f"targets of different {what} cannot be blended ({mine} and {its}); learn them alike")
    total = sum(weight for _, weight in parts)
    return method(first.recipe).blend([(target, weight / total) for target, weight in parts])


def restyle(
    stem: Tensor, rate: int, target: Target, settings: Settings = Settings(), on_event: OnEvent | None = None
) -> Tensor:
    """Play ``stem`` (float32 ``[channels, samples]`` at ``rate`` Hz) through ``target``; same shape comes back.

    The result has the stem's RMS and its digital silences.  Only what changes at the target's rate is brought back to
    the stem's, so a band above the target's Nyquist frequency, and a stem that is not changed, keep every bit.
    """
    _check(stem, "the stem")
    return torch.cat(list(restyle_stream(InMemory(stem, rate), target, settings, on_event)), 1)


def _check(x: Tensor, what: str) -> None:
    """Refuse what is not float32 ``[channels, samples]`` of finite numbers."""
    if x.dtype != torch.float32 or x.dim() != 2 or 0 in x.shape:
        shape = f"{x.dtype} {list(x.shape)}"
        raise AudioError(f"{what} is {shape}; expected float32 [channels, samples], at least one of each")
    if not bool(torch.isfinite(x).all()):
        raise AudioError(f"{what} holds samples that are not finite numbers")
