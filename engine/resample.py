"""Change of sample rate by soxr, with the number of samples that was asked for.

soxr's one-shot resampler has linear phase and takes its own delay out, so output sample m sits at input time
m · from_rate / to_rate. What differs here: the input is followed by silence while the filter rings out, so that every
output sample up to the wanted length is filtered audio and none is made up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.errors import AudioError

if TYPE_CHECKING:
    from torch import Tensor


def resampled_length(length_samples: int, from_rate: int, to_rate: int) -> int:
    """Samples at ``to_rate`` that cover ``length_samples`` at ``from_rate``: rounded up, so that the way back fits.

    >>> resampled_length(44100, 44100, 48000)
    48000
    >>> resampled_length(1, 192000, 8000)
    1
    """
    return -(-length_samples * to_rate // from_rate)


def resample(samples: Tensor, from_rate: int, to_rate: int, length: int | None = None) -> Tensor:
    """``samples`` ``[channels, n]`` at ``from_rate`` Hz, resampled to ``to_rate`` Hz (soxr VHQ); dtype is kept.

    ``length`` is the exact number of samples to return, `resampled_length` of n by default: pass the stem's own length
    on the way back. Sample 0 stays sample 0. Equal rates return the same values. `AudioError` for rates below 1 Hz,
    for a length below 0 or for samples of another shape.
    """
    if samples.dim() != 2:
        raise AudioError(f"resample expects samples of shape [channels, samples], got {list(samples.shape)}")
    if from_rate < 1 or to_rate < 1:
        raise AudioError(f"resample expects rates of at least 1 Hz, got {from_rate} and {to_rate}")
    count = samples.shape[1]
    if length is None:
        length = resampled_length(count, from_rate, to_rate)
    if length < 0:
        raise AudioError(f"resample expects a length of at least 0 samples, got {length}")
    if from_rate == to_rate or count == 0 or length == 0:
        return _fit(samples, length).clone()

    import numpy as np
    import soxr
    import torch

    needed = resampled_length(length, to_rate, from_rate) + 1
    source = np.ascontiguousarray(_fit(samples.detach(), max(count, needed)).cpu().numpy().T)
    out = soxr.resample(source, from_rate, to_rate, quality="VHQ")
    return _fit(torch.from_numpy(np.ascontiguousarray(out.T)), length).contiguous().to(samples.device)


def _fit(samples: Tensor, length: int) -> Tensor:
    """``samples`` cut, or followed by silence, to ``length``."""
    if samples.shape[1] >= length:
        return samples[:, :length]
    import torch

    return torch.nn.functional.pad(samples, (0, length - samples.shape[1]))
