"""Sound guards: what of a stem is kept from the style, whatever the recipe.

A guard takes a stem apart before it is restyled and puts it together after.  Both parts always add up to the stem, so a
recipe that changes nothing changes nothing behind a guard either.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from engine.method import Work
from engine.spectra import Resolution, istft, linked_magnitude, stft

Back = Callable[[Tensor], Tensor]


class Guard(Protocol):
    """Keeps something of ``[batch, channels, samples]`` out of the style's reach."""

    def split(self, x: Tensor, rate: int) -> tuple[Tensor, Back]:
        """What is to be restyled, and what makes the whole of it once it is."""
        ...


def band(x: Tensor, rate: int, low_hz: float, high_hz: float) -> Tensor:
    """``x`` between two crossovers of 24 dB an octave without phase: neighbouring bands add up to all of ``x``.

    The gain of a Linkwitz-Riley low-pass is 1 / (1 + (f/f₀)⁴), that of the high-pass what is missing to one.  0 and
    infinity are no crossover.
    """
    samples = x.shape[-1]
    size = 2 * samples + -(2 * samples) % 64
    spectrum = torch.fft.rfft(x, size)
    hz = torch.arange(spectrum.shape[-1], device=x.device, dtype=x.dtype) * (rate / size)

    def low_pass(crossover_hz: float) -> Tensor:
        if crossover_hz == float("inf"):
            return torch.ones_like(hz)
        return 1 / (1 + (hz / crossover_hz) ** 4) if crossover_hz > 0 else torch.zeros_like(hz)

    out: Tensor = torch.fft.irfft(spectrum * (low_pass(high_hz) - low_pass(low_hz)), size)[..., :samples]
    return out


@dataclass(frozen=True)
class DryBass:
    """Below ``hz`` the stem stays as it is: there are few bins there, and a bass line suffers first."""

    hz: float

    def split(self, x: Tensor, rate: int) -> tuple[Tensor, Back]:
        """All of the stem is restyled; the bass of the result is changed for the stem's."""

        def back(styled: Tensor) -> Tensor:
            return styled - band(styled - x, rate, 0, self.hz)

        return x, back


@dataclass(frozen=True)
class DryTransients:
    """Percussive sound stays as it is: what is restyled is the harmonic part (Fitzgerald 2010; Driedger et al. 2014).

    A bin is the more percussive the more the median over ``bins`` neighbours in frequency exceeds that over ``frames``
    neighbours in time; ``margin`` is how many times it has to for half of the bin to go.
    """

    margin: float = 2.0
    frames: int = 17
    bins: int = 31
    n_fft: int = 1024

    def split(self, x: Tensor, rate: int) -> tuple[Tensor, Back]:
        """The percussive part is added to the result."""
        res = Resolution.at(rate, self.n_fft)
        magnitude = linked_magnitude(x, res)
        sustained, struck = _median(magnitude, self.frames, 2), _median(magnitude, self.bins, 1)
        ratio = struck.square()
        mask = ratio / (ratio + (self.margin * sustained).square()).clamp_min(1e-12)
        percussive = istft(stft(x, res) * mask.mT[:, None], res, x.shape[-1])
        return x - percussive, lambda styled: styled + percussive


def _median(values: Tensor, width: int, axis: int) -> Tensor:
    """Moving medians of an odd ``width`` along ``axis``, the ends repeated."""
    size = values.shape[axis]
    index = torch.arange(-(width // 2), size + width // 2, device=values.device).clamp(0, size - 1)
    found: Tensor = values.index_select(axis, index).unfold(axis, width, 1).median(-1)[0]
    return found


def chosen(*, transients: bool, bass_hz: float) -> Sequence[Guard]:
    """The guards a user has asked for, in the order a stem goes through them."""
    guards: list[Guard] = []
    if bass_hz:
        guards.append(DryBass(bass_hz))
    if transients:
        guards.append(DryTransients())
    return guards


def behind(guards: Sequence[Guard], work: Work, rate: int, style: Callable[[Work], Tensor]) -> Tensor:
    """``work`` with only what the ``guards`` let through restyled by ``style``."""
    backs = []
    for guard in guards:
        x, back = guard.split(work.x, rate)
        start = None if work.start is None else work.start - (work.x - x)
        work = replace(work, x=x, start=start)
        backs.append(back)
    styled = style(work)
    for back in reversed(backs):
        styled = back(styled)
    return styled


#: With several resolutions: what a window is multiplied by, and the band in Hz that is taken from that pass.
LADDER: Sequence[tuple[float, float, float]] = ((2.0, 0.0, 500.0), (1.0, 500.0, 4000.0), (0.25, 4000.0, float("inf")))
