"""Renderings: a waveform for a magnitude somebody has found."""

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from engine.draft import fast_griffin_lim
from engine.spectra import Resolution, istft, stft


class Rendering(Protocol):
    """Turns a magnitude into sound."""

    def __call__(self, x: Tensor, magnitude: Tensor, res: Resolution, seed: int) -> Tensor:
        """Waveforms ``[batch, channels, samples]`` like the stem ``x`` with ``magnitude`` ``[batch, bins, frames]``."""
        ...


@dataclass(frozen=True)
class GriffinLim:
    """Griffin & Lim 1984, with ``momentum`` as Perraudin et al. 2013, all channels sharing one gain in a bin.

    ``start`` is ``random``: noise that all channels share in proportion to their level, or ``stem``: its phase.
    """

    steps: int = 32
    start: str = "random"
    momentum: float = 0.0

    def __call__(self, x: Tensor, magnitude: Tensor, res: Resolution, seed: int) -> Tensor:
        """As many steps as it has."""
        begin = x if self.start == "stem" else common_noise(x, seed + 1)
        return fast_griffin_lim(begin, magnitude, res, self.steps, momentum=self.momentum)


def common_noise(x: Tensor, seed: int) -> Tensor:
    """White noise at the level of each channel of ``x`` ``[batch, channels, samples]``, one for all channels."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(x.shape[-1], generator=generator).to(x)
    return x.square().mean(-1, keepdim=True).sqrt() * noise


@dataclass(frozen=True)
class ContentPhase:
    """The stem's own spectrum times a gain, the same for all channels: nothing moves in time or in the stereo image.

    The gain goes from ``low_db`` to ``high_db`` and, with ``smooth`` above 1, is averaged in dB over as many bins and
    frames, which takes away the twitter of single bins.
    """

    low_db: float = -24.0
    high_db: float = 18.0
    smooth: int = 3

    def __call__(self, x: Tensor, magnitude: Tensor, res: Resolution, seed: int) -> Tensor:
        """One pass; no iterations."""
        spectrum = stft(x, res)
        own = (spectrum.real.square() + spectrum.imag.square()).mean(1).sqrt_().mul_(res.scale).mT
        floor = 1e-4 * own.amax((1, 2), keepdim=True) + 1e-9
        log = ((magnitude + floor) / (own + floor)).log() * (20 / math.log(10))
        log = log.clamp(self.low_db, self.high_db)
        if self.smooth > 1:
            log = _box(_box(log, self.smooth, 1), self.smooth, 2)
        gain = (log * (math.log(10) / 20)).exp()
        return istft(spectrum.mul_(gain.mT[:, None]), res, x.shape[-1])


def _box(values: Tensor, width: int, axis: int) -> Tensor:
    """Moving averages of an odd ``width`` along ``axis``, the ends repeated; sums of shifts, which pooling is slower
    than.
    """
    edge, size = width // 2, values.shape[axis]
    first, last = (values.narrow(axis, at, 1) for at in (0, size - 1))
    padded = torch.cat([first] * edge + [values] + [last] * edge, axis)
    total = padded.narrow(axis, 0, size).clone()
    for shift in range(1, width):
        total += padded.narrow(axis, shift, size)
    return total / width
