"""The engine's front door: learn a target from references, restyle a stem towards it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from engine import device as devices
from engine import level
from engine.errors import AudioError, EngineError, RecipeError
from engine.events import Iterate, OnEvent, SegmentDone, SegmentStarted
from engine.method import Work, method
from engine.segments import cut, join
from engine.spectra import Resolution, linked_magnitude
from engine.target import Target

__all__ = ["QUALITIES", "Settings", "Target", "blend", "learn", "restyle"]

QUALITIES = ("draft", "standard", "fine")


@dataclass(frozen=True)
class Settings:
    """How one stem is restyled; raises `EngineError` on a value out of range.

    ``amount`` is how much of the style is taken on (0 the stem, 1 all of it), ``mix`` the cross-fade from dry to wet.
    """

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
    device = devices.pick(settings.device)
    if settings.amount == 0 or settings.mix == 0 or not bool(stem.any()):
        return stem.clone()
    channels = stem[:1] if bool((stem == stem[:1]).all()) else stem
    with devices.arranged(device), torch.no_grad():
        at_rate = _resample(channels, rate, target.rate)
        changed = _restyle_at_rate(at_rate, target, settings, device, on_event or (lambda event: None))
        styled = (
            changed
            if rate == target.rate
            else channels + _resample(changed - at_rate, target.rate, rate, channels.shape[1])
        )
        styled = level.match(level.hush(styled, channels, rate), channels)
        if settings.mix < 1:
            styled = channels + settings.mix * (styled - channels)
        return level.keep_silence(styled, channels, rate).expand_as(stem).contiguous()


def _restyle_at_rate(stem: Tensor, target: Target, settings: Settings, device: torch.device, tell: OnEvent) -> Tensor:
    """All spans of a stem at the target's rate, solved one after the other and joined."""
    solver = method(target.recipe)
    spans = cut(stem.shape[1], target.rate)
    power = _mean_power(stem, target.rate)
    pieces = []
    for number, span in enumerate(spans):
        piece = stem[:, span.start : span.end]
        tell(SegmentStarted(number, len(spans), span.start / target.rate, (span.end - span.start) / target.rate))
        loud = level.active_rms(piece, target.rate)
        loss = 0.0
        if loud > level.GATE_RMS:
            work = Work(
                (_long_enough(piece, target.rate) * (level.ANALYSIS_RMS / loud))[None].to(device),
                power * (level.ANALYSIS_RMS / loud) ** 2,
                settings.amount,
                settings.quality,
                settings.seed,
            )
            solved, loss = solver.solve(work, target, partial(_tell_iterate, tell, number), device)
            if not torch.equal(solved, work.x):  # what was not touched keeps its own bits
                piece = level.match(solved[0].cpu()[:, : piece.shape[1]], piece)
        pieces.append(piece)
        tell(SegmentDone(number, len(spans), loss))
    return join(pieces, spans)


def _tell_iterate(tell: OnEvent, segment: int, iteration: int, iterations: int, loss: float) -> None:
    tell(Iterate(segment, iteration, iterations, loss))


def _mean_power(stem: Tensor, rate: int) -> Tensor:
    """Mean power of each bin ``[bins]`` of the stem, taken in blocks so that memory does not grow with length."""
    res = Resolution.at(rate, level.RESOLUTION)
    block = 512 * res.hop
    total, frames = torch.zeros(res.bins), 0
    for start in range(0, stem.shape[1], block):
        magnitude = linked_magnitude(stem[None, :, start : start + block], res)[0]
        total += magnitude.square().sum(1)
        frames += magnitude.shape[1]
    return total / max(frames, 1)


def _long_enough(piece: Tensor, rate: int) -> Tensor:
    """``[channels, samples]`` followed by silence if it is too short to hold patches at every resolution."""
    least = 16 * Resolution.at(rate, 4096).hop
    return torch.nn.functional.pad(piece, (0, max(0, least - piece.shape[1])))


def _resample(x: Tensor, rate: int, to: int, length: int | None = None) -> Tensor:
    if rate == to:
        return x
    from engine.resample import resample  # soxr is needed only here, and GPU boxes may not have it

    return resample(x, rate, to, length)


def _check(x: Tensor, what: str) -> None:
    """Refuse what is not float32 ``[channels, samples]`` of finite numbers."""
    if x.dtype != torch.float32 or x.dim() != 2 or 0 in x.shape:
        shape = f"{x.dtype} {list(x.shape)}"
        raise AudioError(f"{what} is {shape}; expected float32 [channels, samples], at least one of each")
    if not bool(torch.isfinite(x).all()):
        raise AudioError(f"{what} holds samples that are not finite numbers")
