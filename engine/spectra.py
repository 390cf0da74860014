"""Short-time spectra with closed-form gradients.

`linked_magnitude` is the picture every loss sees: one magnitude for all channels, ``sqrt(mean over channels |STFT|²)``,
so a stem keeps its stereo image and stereo costs one spectrum.  Windows are set in seconds: a `Resolution` is named by
its size at 22 050 Hz and scaled to any rate, with the magnitude scaled too, so that a band-limited sound has the same
picture at 22.05, 44.1 and 48 kHz.

Spectra are ``[batch, bins, frames]``; in memory a frame is contiguous, which is what the matrix products want.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from engine.fused import fused

REFERENCE_RATE_HZ = 22050


@dataclass(frozen=True)
class Resolution:
    """A Hann-window analysis: ``n_fft`` samples every ``hop`` samples, magnitudes multiplied by ``scale``.

    ``low`` is the number of bins up to 11 kHz (0: all of them), see `engine.fold`.
    """

    n_fft: int
    hop: int
    scale: float = 1.0
    low: int = 0

    def __post_init__(self) -> None:
        if self.n_fft % self.hop or self.n_fft % 2:
            raise ValueError(f"n_fft {self.n_fft} must be even and a multiple of hop {self.hop}")

    @classmethod
    def at(cls, rate: int, n_fft: int, overlap: int = 4) -> "Resolution":
        """The analysis that lasts as long as ``n_fft`` samples do at 22 050 Hz, with a size an FFT likes."""
        hop = _smooth_near(n_fft / overlap * rate / REFERENCE_RATE_HZ)
        low = round(REFERENCE_RATE_HZ / 2 * hop * overlap / rate) + 1
        return cls(hop * overlap, hop, n_fft / (hop * overlap), low)

    @property
    def bins(self) -> int:
        """Number of frequency bins, DC and Nyquist included."""
        return self.n_fft // 2 + 1

    def frames(self, samples: int) -> int:
        """Number of frames of ``samples`` samples, centred with zeros beyond both ends."""
        return 1 + samples // self.hop

    def frequencies(self, rate: int) -> Tensor:
        """Centre frequency of each bin in Hz, ``[bins]``."""
        return torch.arange(self.bins) * (rate / self.n_fft)


def _smooth_near(size: float) -> int:
    """The number nearest to ``size`` whose prime factors are 2, 3 and 5 only."""
    best = 1
    for twos in range(20):
        for threes in range(6):
            for fives in range(4):
                n = 2**twos * 3**threes * 5**fives
                if abs(n - size) < abs(best - size):
                    best = n
    return best


@lru_cache(maxsize=64)
def hann(n_fft: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Periodic Hann window ``[n_fft]``."""
    return torch.hann_window(n_fft, dtype=torch.float64).to(device, dtype)


def _pad(x: Tensor, res: Resolution) -> Tensor:
    """Zeros before and after ``[..., samples]`` so that frame t is centred on sample t * hop."""
    frames = res.frames(x.shape[-1])
    total = (frames - 1) * res.hop + res.n_fft
    before = res.n_fft // 2
    return torch.nn.functional.pad(x, (before, total - before - x.shape[-1]))


def frames_of(x: Tensor, res: Resolution) -> Tensor:
    """The overlapping frames of ``[..., samples]``, a view ``[..., frames, n_fft]``, without their window."""
    return _pad(x, res).unfold(-1, res.n_fft, res.hop)


def stft(x: Tensor, res: Resolution) -> Tensor:
    """Complex spectrum ``[..., frames, bins]`` of ``[..., samples]``, not scaled."""
    spectrum: Tensor = torch.fft.rfft(frames_of(x, res) * hann(res.n_fft, x.device, x.dtype))
    return spectrum


#: Samples that a core has in its own cache with all that is made of them on the way.
_IN_CACHE = 2**18


def spans(framed: Tensor) -> list[slice]:
    """Which of ``[..., frames, n_fft]`` to transform at a time: all, but on a CPU what stays in its cache (a fifth)."""
    frames, n_fft = framed.shape[-2:]
    rows = max(1, math.prod(framed.shape[:-2]))
    step = frames if framed.device.type != "cpu" else max(1, _IN_CACHE // (rows * n_fft))
    return [slice(k, min(k + step, frames)) for k in range(0, frames, step)]


class OverlapAdd:
    """Sums ``frames`` frames at their places, some at a time and in order.

    What overlaps is added from the earliest frame to the latest, so the bits do not depend on how many come at a time.
    """

    def __init__(self, framed: Tensor, frames: int, res: Resolution) -> None:
        """``framed`` ``[..., n, n_fft]`` is like what is to come."""
        self.res, self.parts = res, res.n_fft // res.hop
        self.sum = framed.new_zeros(*framed.shape[:-2], frames - 1 + self.parts, res.hop)

    def add(self, first: int, framed: Tensor) -> None:
        """Add ``[..., n, n_fft]``, the frames from ``first`` on."""
        count = framed.shape[-2]
        rows = framed.reshape(*framed.shape[:-1], self.parts, self.res.hop)
        for p in reversed(range(self.parts)):
            self.sum[..., first + p : first + p + count, :] += rows[..., p, :]

    def sound(self, samples: int) -> Tensor:
        """The ``[..., samples]`` between the paddings of `stft`."""
        before = self.res.n_fft // 2
        sound: Tensor = self.sum.flatten(-2)[..., before : before + samples]
        return sound


def overlap_add(framed: Tensor, res: Resolution, samples: int) -> Tensor:
    """Sum ``[..., frames, n_fft]`` at their places; the ``[..., samples]`` between the paddings of `stft`."""
    out = OverlapAdd(framed, framed.shape[-2], res)
    out.add(0, framed)
    return out.sound(samples)


@fused
def assembled(framed: Tensor, window: Tensor, gain: float, hop: int, samples: int) -> Tensor:
    """`overlap_add` of ``[..., frames, n_fft]`` times ``gain * window``."""
    return overlap_add(framed * (window * gain), Resolution(framed.shape[-1], hop), samples)


def _frames_back(spectrum: Tensor, res: Resolution) -> Tensor:
    """The transpose of the transform, ``[..., frames, bins]`` to ``[..., frames, n_fft]``, doubled; eats its input."""
    spectrum[..., 0] *= 2
    spectrum[..., -1] *= 2
    framed: Tensor = torch.fft.irfft(spectrum, res.n_fft, norm="forward")
    return framed


def stft_adjoint(spectrum: Tensor, res: Resolution, samples: int) -> Tensor:
    """The transpose of `stft` as a real map: ``[..., frames, bins]`` to ``[..., samples]``; overwrites its input."""
    framed = _frames_back(spectrum, res)
    return assembled(framed, hann(res.n_fft, framed.device, framed.dtype), 0.5, res.hop, samples)


def istft(spectrum: Tensor, res: Resolution, samples: int) -> Tensor:
    """Least-squares inverse of `stft` (Griffin & Lim 1984, eq. 6): ``[..., samples]``."""
    window = hann(res.n_fft, spectrum.device, spectrum.real.dtype)
    framed = torch.fft.irfft(spectrum, res.n_fft)
    return assembled(framed, window, 1.0, res.hop, samples) / _window_power(res, spectrum.shape[-2], samples, window)


def _window_power(res: Resolution, frames: int, samples: int, window: Tensor) -> Tensor:
    """Sum of squared windows over each of ``samples`` samples, never zero."""
    power = overlap_add((window * window).expand(frames, -1), res, samples)
    return power.clamp_min(1e-6)


def _joined(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts, 1)


@fused
def linked(spectrum: Tensor, factor: float) -> Tensor:
    """``sqrt(factor * Σ_channels |X|²)``, ``[batch, channels, frames, bins]`` to ``[batch, frames, bins]``.

    Squares are summed over channels before the real and imaginary parts meet: only contiguous numbers are multiplied.
    """
    parts = torch.view_as_real(spectrum).flatten(-2)
    squares = parts[:, 0] * parts[:, 0]
    for channel in range(1, parts.shape[1]):
        squares.addcmul_(parts[:, channel], parts[:, channel])
    return (squares[..., 0::2] + squares[..., 1::2]).mul_(factor).sqrt_()


@fused
def pulled(spectrum: Tensor, grad: Tensor, magnitude: Tensor, factor: float) -> Tensor:
    """``factor * grad / magnitude * X``, the gradient of `linked`; nothing where the magnitude is nothing."""
    pull = (grad * factor).div_(magnitude + torch.finfo(magnitude.dtype).tiny ** 0.5)
    # a complex tensor times a real one is four times faster in place: no complex copy of the real one is made
    return spectrum.clone().mul_(pull[:, None])


class _LinkedMagnitude(torch.autograd.Function):
    """a = scale * sqrt(mean_ch |X|²), with the gradient dX = da * scale² * X / (channels * a)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, res: Resolution) -> Tensor:
        framed, window = frames_of(x, res), hann(res.n_fft, x.device, x.dtype)
        ctx.res, ctx.samples, ctx.factor = res, x.shape[-1], res.scale**2 / x.shape[1]
        spectra = [torch.fft.rfft(framed[..., span, :] * window) for span in spans(framed)]
        magnitude = _joined([linked(spectrum, ctx.factor) for spectrum in spectra])
        ctx.save_for_backward(magnitude, *spectra)
        return magnitude

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        magnitude, *spectra = ctx.saved_tensors
        res: Resolution = ctx.res
        window = hann(res.n_fft, magnitude.device, magnitude.dtype)
        first, out = 0, None
        for spectrum in spectra:
            span = slice(first, first + spectrum.shape[-2])
            framed = _frames_back(pulled(spectrum, grad[:, span], magnitude[:, span], ctx.factor), res)
            if len(spectra) == 1:
                return assembled(framed, window, 0.5, res.hop, ctx.samples), None
            out = out or OverlapAdd(framed, magnitude.shape[1], res)
            out.add(first, framed.mul_(window / 2))
            first = span.stop
        assert out is not None
        return out.sound(ctx.samples), None


def linked_magnitude(x: Tensor, res: Resolution) -> Tensor:
    """Magnitude ``[batch, bins, frames]`` that all channels of ``[batch, channels, samples]`` share.

    Differentiable once; the gradient at an empty bin is zero.
    """
    out: Tensor = _LinkedMagnitude.apply(x, res)  # type: ignore[no-untyped-call]
    return out.mT


def log_magnitude(magnitude: Tensor) -> Tensor:
    """``log(1 + magnitude)``; `log1p` is ten times slower on a CPU and differs by 1e-7 only."""
    return (magnitude + 1).log()


def hz_to_mel(hz: float) -> float:
    """Slaney's mel scale: linear below 1 kHz, logarithmic above."""
    return hz * 3 / 200 if hz < 1000 else 15 + 27 * math.log(hz / 1000) / math.log(6.4)


def mel_to_hz(mel: Tensor) -> Tensor:
    """Inverse of `hz_to_mel` for a tensor of mels."""
    return torch.where(mel < 15, mel * 200 / 3, 1000 * torch.exp((mel - 15) * (math.log(6.4) / 27)))


@lru_cache(maxsize=32)
def mel_filters(res: Resolution, rate: int, bands: int, normalised: bool = True) -> Tensor:
    """Triangular mel filters ``[bands, bins]``, of unit sum if ``normalised`` (an empty one takes its nearest bin)."""
    edges = mel_to_hz(torch.linspace(0, hz_to_mel(rate / 2), bands + 2, dtype=torch.float64))
    freqs = res.frequencies(rate).double()
    low, mid, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    filters = torch.minimum((freqs - low) / (mid - low), (high - freqs) / (high - mid)).clamp_min(0)
    empty = filters.sum(1) == 0
    nearest = (freqs - mid[:, :1]).abs().argmin(1)
    filters[empty, nearest[empty]] = 1
    if normalised:
        filters = filters / filters.sum(1, keepdim=True)
    return filters.float()


@lru_cache(maxsize=32)
def chroma_filters(
    res: Resolution, rate: int, bands: int = 24, low_hz: float = 60.0, high_hz: float = 2500.0
) -> Tensor:
    """Octave-folded pitch filters ``[bands, bins]`` for tuning A = 440 Hz, from ``low_hz`` up to a soft ``high_hz``.

    A Gaussian of half a band around each pitch class, at least one bin wide (after Ellis 2007), without octave weights:
    the limit in frequency is what keeps a chroma loss from painting dotted lines in the treble.
    """
    freqs = res.frequencies(rate).double().clamp_min(1e-3)
    pitch = bands * torch.log2(freqs / 440.0)
    width = torch.diff(pitch, append=pitch[-1:] * 2 - pitch[-2:-1]).clamp_min(1.0)
    distance = torch.remainder(pitch - torch.arange(bands, dtype=torch.float64)[:, None] + bands / 2, bands) - bands / 2
    filters = torch.exp(-0.5 * (2 * distance / width) ** 2)
    filters = filters / filters.pow(2).sum(0, keepdim=True).sqrt()
    ceiling = torch.sigmoid((high_hz - freqs) / 150)
    return (filters * ceiling * (freqs >= low_hz)).float()
