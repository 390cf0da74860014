"""Views that image networks and taggers see: decibels, and logarithms of mel bands."""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from engine.spectra import REFERENCE_RATE_HZ, Resolution, hz_to_mel, mel_to_hz
from engine.terms import Picture


@lru_cache(maxsize=16)
def mel_bands(res: Resolution, rate: int, bands: int, high_hz: float, per_hz: bool = False) -> Tensor:
    """Triangular filters ``[bands, bins]`` on Slaney's mel scale from 0 to ``high_hz``, whatever the rate.

    Each sums to one, or with ``per_hz`` is 2 / its width in Hz at its middle, as librosa has it.  One too narrow for a
    bin takes the nearest, and one above the Nyquist frequency hears nothing.
    """
    edges = mel_to_hz(torch.linspace(0, hz_to_mel(high_hz), bands + 2, dtype=torch.float64))
    freqs = res.frequencies(rate).double()
    low, mid, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    filters = torch.minimum((freqs - low) / (mid - low), (high - freqs) / (high - mid)).clamp_min(0)
    empty = (filters.sum(1) == 0) & (mid[:, 0] < rate / 2)
    filters[empty, (freqs - mid).abs().argmin(1)[empty]] = 1
    area = 2 / (high - low) if per_hz else 1 / filters.sum(1, keepdim=True).clamp_min(1e-9)
    return (filters * area).float()


@lru_cache(maxsize=16)
def between_bands(res: Resolution, rate: int, bands: int, high_hz: float) -> Tensor:
    """Weights ``[bands, bins]`` that interpolate along frequency between the middles of `mel_bands`.

    Columns sum to one; below the first middle and above the last what is there stays.
    """
    if bands == 1:
        return torch.ones(1, res.bins)
    middles = mel_to_hz(torch.linspace(0, hz_to_mel(high_hz), bands + 2, dtype=torch.float64))[1:-1]
    freqs = res.frequencies(rate).double().clamp(float(middles[0]), float(middles[-1]))
    above = torch.searchsorted(middles, freqs).clamp(1, bands - 1)
    share = (freqs - middles[above - 1]) / (middles[above] - middles[above - 1])
    weights = torch.zeros(bands, res.bins, dtype=torch.float64)
    columns = torch.arange(res.bins)
    weights[above - 1, columns] = 1 - share
    weights[above, columns] += share
    return weights.float()


@dataclass(frozen=True)
class Decibels:
    """Power in dB from ``floor_db`` (0) to that of a full sine at the analysis level (1), not clipped above it.

    Published with the greatest power of a clip as 0 dB and clipped at −80; ours has the same view of a sound in any
    clip, and bends into its floor, so that silence is flat and not a cliff.  With ``bands`` above 0 power is averaged
    over so many mel bands up to ``high_hz``.
    """

    n_fft: int = 2048
    overlap: int = 4
    bands: int = 0
    high_hz: float = 16000.0
    floor_db: float = -80.0

    def keep(self, rate: int) -> Resolution:
        """Magnitudes at its own resolution."""
        return Resolution.at(rate, self.n_fft, self.overlap)

    @property
    def _full(self) -> float:
        return (0.1 * math.sqrt(2) * self.n_fft / 4) ** 2

    def __call__(self, picture: Picture, rate: int) -> Tensor:
        """``[batch, 1, bins or bands, frames]``."""
        res = self.keep(rate)
        power = picture.magnitude(res).square()
        if self.bands:
            power = mel_bands(res, rate, self.bands, self.high_hz).to(power) @ power
        level = (power / self._full + 10 ** (self.floor_db / 10)).log10() * 10
        return (1 - level / self.floor_db)[:, None]

    def magnitude(self, view: Tensor) -> Tensor:
        """``[batch, bins, frames]`` of a view without bands."""
        level = (1 - view[:, 0]) * self.floor_db
        power = (10 ** (level / 10) - 10 ** (self.floor_db / 10)).clamp_min(0) * self._full
        return power.sqrt()


@dataclass(frozen=True)
class LogMel:
    """``log10(1 + 10 000 · P)`` of the mel power ``P`` as the music taggers of musicnn were trained on it.

    Their windows of 512 samples at 16 kHz, 96 bands to 8 kHz, at the stem's own rate: windows last as long and
    magnitudes are scaled, so nothing is resampled.
    """

    bands: int = 96
    high_hz: float = 8000.0
    window_s: float = 0.032
    trained_n_fft: int = 512

    def keep(self, rate: int) -> Resolution:
        """Windows of their length, half overlapping."""
        return Resolution.at(rate, round(self.window_s * REFERENCE_RATE_HZ), 2)

    def __call__(self, picture: Picture, rate: int) -> Tensor:
        """``[batch, 1, bands, frames]``."""
        res = self.keep(rate)
        power = picture.magnitude(res).square() * (self.trained_n_fft / (res.n_fft * res.scale)) ** 2
        mel = mel_bands(res, rate, self.bands, self.high_hz, per_hz=True).to(power) @ power
        return (1 + 10_000 * mel).log10()[:, None]
