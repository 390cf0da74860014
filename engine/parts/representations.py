"""Representations: how a sound is written down before features are taken of it.

A representation turns a `Picture` of ``[batch, channels, samples]`` into a view ``[batch, planes, bins, frames]``.
Spectral views see one magnitude for all channels; views of the waveform and of complex spectra see the mean of the
channels, so that what changes is common to them and the stereo image stays.
"""

import math
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from engine.fold import fold
from engine.spectra import Resolution, stft
from engine.terms import Picture


class Representation(Hashable, Protocol):
    """A way to write a sound down; a frozen dataclass, as equal ones share what they compute."""

    def keep(self, rate: int) -> Resolution | None:
        """The resolution of the magnitudes a preset holds for it; None: it holds waveforms."""
        ...

    def __call__(self, picture: Picture, rate: int) -> Tensor:
        """The view ``[batch, planes, bins, frames]``."""
        ...


class Invertible(Representation, Protocol):
    """A representation a magnitude can be read from: what a spectrogram can be found in."""

    def magnitude(self, view: Tensor) -> Tensor:
        """The magnitude ``[batch, bins, frames]`` of a view, never below zero."""
        ...


def seen(representation: Representation, picture: Picture, rate: int) -> Tensor:
    """The view of a picture, computed once."""
    return picture.once(representation, lambda p: representation(p, rate))


@dataclass(frozen=True)
class LogMagnitude:
    """``log(1 + C·a) / log(1 + C)`` of the magnitude ``a``, or ``log(1 + a)`` where ``compression`` C is 0.

    ``n_fft`` is the size at 22 050 Hz and ``overlap`` how many windows cover a sample, see `Resolution.at`.  With
    ``folded`` the bins above 11 kHz come in groups (`engine.fold`), which is what patch products want.
    """

    n_fft: int = 2048
    overlap: int = 4
    compression: float = 0.0
    folded: bool = False

    def keep(self, rate: int) -> Resolution:
        """Magnitudes at its own resolution."""
        return Resolution.at(rate, self.n_fft, self.overlap)

    def __call__(self, picture: Picture, rate: int) -> Tensor:
        """``[batch, 1, bins, frames]``."""
        res = self.keep(rate)
        if self.compression:
            log = (picture.magnitude(res) * self.compression).log1p() / math.log1p(self.compression)
            return (fold(log, res) if self.folded else log)[:, None]
        return (picture.folded(res) if self.folded else picture.log(res))[:, None]

    def magnitude(self, view: Tensor) -> Tensor:
        """``[batch, bins, frames]``; what is below zero in the view is silence."""
        c = self.compression
        found = view[:, 0].expm1() if not c else (view[:, 0] * math.log1p(c)).expm1() / c
        return found.clamp_min(0)


@dataclass(frozen=True)
class RealImaginary:
    """Real and imaginary parts of the spectrum of the mean of the channels, ``2·sigmoid(gain·X/peak) − 1``.

    Published with the greatest magnitude of a clip as ``peak``; ours is a full sine's at the analysis level, so that
    the same sound has the same view in any clip.
    """

    n_fft: int = 512
    overlap: int = 4
    gain: float = 30.0

    def keep(self, rate: int) -> None:
        """Waveforms: a magnitude has no phase."""
        return

    def __call__(self, picture: Picture, rate: int) -> Tensor:
        """``[batch, 2, bins, frames]``."""
        res = Resolution.at(rate, self.n_fft, self.overlap)
        spectrum = stft(picture.x.mean(1), res).mT
        peak = 0.1 * math.sqrt(2) * res.n_fft / 4
        scaled = torch.stack([spectrum.real, spectrum.imag], 1) * (self.gain / peak)
        return 2 * scaled.sigmoid() - 1


@dataclass(frozen=True)
class Waveform:
    """The mean of the channels as it is, times ``scale``."""

    scale: float = 1.0

    def keep(self, rate: int) -> None:
        """Waveforms."""
        return

    def __call__(self, picture: Picture, rate: int) -> Tensor:
        """``[batch, 1, 1, samples]``."""
        return picture.x.mean(1)[:, None, None] * self.scale
