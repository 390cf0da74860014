"""Views of the waveform at the rate a network was trained at."""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torchaudio.transforms import Resample  # type: ignore[import-untyped]

from engine.terms import Picture


@lru_cache(maxsize=16)
def _resampler(rate: int, new_rate: int, device: torch.device, dtype: torch.dtype) -> Resample:
    # differentiable, and linear; zero crossings on each side of its kernel: 24, for 90 dB and more
    made: Resample = Resample(rate, new_rate, lowpass_filter_width=24, dtype=torch.float64).to(device, dtype)
    return made


@dataclass(frozen=True)
class Resampled:
    """The mean of the channels at ``rate_hz``, times ``scale``."""

    rate_hz: int
    scale: float = 1.0

    def keep(self, rate: int) -> None:
        """Waveforms."""
        return

    def __call__(self, picture: Picture, rate: int) -> Tensor:
        """``[batch, 1, 1, samples]``."""
        x = picture.x.mean(1)
        if rate != self.rate_hz:
            x = _resampler(rate, self.rate_hz, x.device, x.dtype)(x)
        return x[:, None, None] * self.scale


@dataclass(frozen=True)
class MuLaw:
    """`Resampled` under the µ-law, −1…1: ``sign(x) · log(1 + 255 |x|) / log 256``.

    Published rounded to 8 bits, which has no gradient; ours is the same curve without the steps.
    """

    rate_hz: int = 16000
    mu: float = 255.0

    def keep(self, rate: int) -> None:
        """Waveforms."""
        return

    def __call__(self, picture: Picture, rate: int) -> Tensor:
        """``[batch, 1, 1, samples]``."""
        x = Resampled(self.rate_hz)(picture, rate)
        return x.sign() * (self.mu * x.abs()).log1p() / math.log1p(self.mu)
