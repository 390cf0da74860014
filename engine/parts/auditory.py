"""The auditory texture model of McDermott & Simoncelli 2011: cochlear envelopes and their modulations.

Sound goes through half-cosine filters spaced as the ear's critical bands are (ERB: equivalent rectangular bandwidth,
Glasberg & Moore 1990); the Hilbert envelope of each band is raised to 0.3 and brought to 400 Hz.  Statistics of the
envelopes, and of the envelopes through modulation filters, are what a texture is recognised by.

All filters are applied to the spectrum of the whole sound.  A band's envelope is computed at the rate its width asks
for: bins of the band alone are transformed back, which is the band's analytic signal moved down in frequency.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from engine.parts.features import Layer, Maps, Network
from engine.parts.statistics import Distance

ENVELOPE_HZ = 400.0
LOW_HZ, HIGH_HZ = 52.0, 8844.0
COMPRESSION = 0.3
#: Rate of the analytic signals in units of the width of the widest band.
OVERSAMPLED = 2.0
#: Power below which an envelope is silent: 100 dB below the analysis level.
SILENT = 1e-12


def erbs(hz: Tensor) -> Tensor:
    """Number of critical bands below a frequency (Glasberg & Moore 1990)."""
    return 9.265 * torch.log(1 + hz / (24.7 * 9.265))


def _half_cosine(place: Tensor) -> Tensor:
    """1 in the middle, exactly 0 from −1 down and 1 up: what is nothing is not computed."""
    return torch.where(place.abs() < 1, torch.cos(math.pi / 2 * place), torch.zeros_like(place))


def cochlear_filters(hz: Tensor, bands: int, high_hz: float = HIGH_HZ) -> Tensor:
    """Gains ``[bands, frequencies]``: half cosines of two ERB steps, neighbours overlapping by half.

    Squares of all filters add up to one between the middles of the first and the last.
    """
    ends = erbs(torch.tensor([LOW_HZ, high_hz], dtype=hz.dtype))
    edges = torch.linspace(float(ends[0]), float(ends[1]), bands + 2, dtype=hz.dtype)
    place = (erbs(hz)[None] - edges[1:-1, None]) / (edges[1] - edges[0])
    return _half_cosine(place)


def modulation_filters(hz: Tensor, middles: Tensor, quality: float = 2.0) -> Tensor:
    """Gains ``[filters, frequencies]``: half cosines around ``middles`` in Hz whose bandwidth is middle / ``quality``.

    What is below none of them, the mean among it, is left out.
    """
    place = (hz[None] - middles[:, None]) / (middles[:, None] / quality)
    return _half_cosine(place)


def octave_filters(hz: Tensor, middles: Tensor) -> Tensor:
    """Gains ``[filters, frequencies]``: half cosines over an octave to either side, in log frequency."""
    place = torch.log2(hz.clamp_min(1e-6)[None] / middles[:, None])
    return _half_cosine(place)


def _five_smooth(least: float) -> int:
    """The smallest even number from ``least`` on whose prime factors are 2, 3 and 5."""
    size = 2 * math.ceil(least / 2)
    while True:
        rest = size
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return size
        size += 2


@dataclass(frozen=True)
class Cochlea:
    """Compressed envelopes at 400 Hz of critical bands of a waveform, each band a map.

    At rates too low for ``bands`` up to 8.8 kHz they end at 0.45 of the rate.
    """

    bands: int = 32

    def ready(self, view: Tensor, rate: int, seed: int) -> Network:
        """Nothing to draw."""
        return lambda v: [Maps(self.envelopes(v[:, 0, 0], rate)[:, :, None], width=0)]

    def envelopes(self, x: Tensor, rate: int) -> Tensor:
        """``[batch, bands, positions]`` of ``[batch, samples]``."""
        samples = x.shape[-1]
        # room for what rings beyond the end, so that it does not come back at the beginning
        size = _five_smooth(samples + 0.05 * rate)
        spectrum = torch.fft.rfft(x, size)
        hz = torch.arange(spectrum.shape[-1], dtype=torch.float64) * (rate / size)
        gains = cochlear_filters(hz, self.bands, min(HIGH_HZ, 0.45 * rate))
        first = [int((row > 0).nonzero()[0]) for row in gains]
        width = int((gains > 0).sum(1).max()) + 1
        place = torch.tensor(first)[:, None] + torch.arange(width)
        inside = (place < gains.shape[1]).to(gains)
        place = place.clamp_max(gains.shape[1] - 1)
        fine = _five_smooth(OVERSAMPLED * width)
        bins = spectrum[:, place.to(x.device)] * (gains.gather(1, place) * inside).to(x)
        analytic = torch.fft.ifft(bins, fine) * (2 * fine / size)
        envelope = (analytic.real.square() + analytic.imag.square() + SILENT) ** (COMPRESSION / 2)
        slow = 2 * max(1, round(size * ENVELOPE_HZ / rate / 2))
        low = torch.fft.rfft(envelope)[..., : slow // 2 + 1]
        coarse = torch.fft.irfft(pad(low, (0, slow // 2 + 1 - low.shape[-1])), slow) * (slow / fine)
        kept: Tensor = coarse[..., : max(1, math.ceil(samples * slow / size))]
        return kept


def _relative(own: Tensor, goal: Tensor) -> Tensor:
    """Squared error of ``[batch, any]`` over the goal's own sum of squares (never quite 0)."""
    error = (own - goal).square().mean(-1)
    out: Tensor = error / (goal.square().mean(-1) + 1e-8)
    return out


def marginals(layer: Layer) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Mean, variance over squared mean, skewness and kurtosis of each band, ``[batch, bands]`` each."""
    values, weights = layer.values[:, :, 0], layer.weights[:, None]
    mean = (values * weights).sum(-1)
    centred = values - mean[..., None]
    variance, third, fourth = ((centred**k * weights).sum(-1) for k in (2, 3, 4))
    floor = variance + 1e-6 * mean.square() + 1e-12
    return mean, variance / (mean.square() + 1e-12), third / floor**1.5, fourth / floor.square()


def correlations(values: Tensor, weights: Tensor) -> Tensor:
    """Correlations over positions of all pairs of ``[..., signals, positions]``; weights ``[..., 1, positions]``."""
    centred = values - (values * weights).sum(-1, keepdim=True)
    variance = (centred.square() * weights).sum(-1, keepdim=True)
    unit = centred / _floored(variance).sqrt()
    return (unit * weights) @ unit.mT


def _neighbours(matrix: Tensor, offsets: tuple[int, ...]) -> Tensor:
    """Entries of ``[..., n, n]`` so many off the diagonal, ``[..., any]``."""
    return torch.cat([matrix.diagonal(k, -2, -1) for k in offsets if k < matrix.shape[-1]], -1)


@dataclass(frozen=True)
class Levels:
    """Mean of each band's envelope: mean squared relative error, so that a quiet band counts as a loud one."""

    def against(self, goal: Layer) -> Distance:
        """One number a band."""
        theirs = marginals(goal)[0]
        floor = 1e-2 * theirs.mean(-1, keepdim=True) + 1e-12
        return lambda layer: ((marginals(layer)[0] - theirs) / (theirs + floor)).square().mean(-1)


@dataclass(frozen=True)
class Marginals:
    """Variance over squared mean, skewness and kurtosis of each band, each block's squared error over its own sum of
    squares.
    """

    def against(self, goal: Layer) -> Distance:
        """Three numbers a band."""
        theirs = marginals(goal)[1:]

        def distance(layer: Layer) -> Tensor:
            blocks = [_relative(own, goal) for own, goal in zip(marginals(layer)[1:], theirs, strict=True)]
            return torch.stack(blocks).sum(0)

        return distance


@dataclass(frozen=True)
class CrossCorrelations:
    """Correlations of the envelopes of bands ``offsets`` apart."""

    offsets: tuple[int, ...] = (1, 2, 3, 5, 8, 11, 16, 21)

    def of(self, layer: Layer) -> Tensor:
        """``[batch, pairs]``."""
        return _neighbours(correlations(layer.values[:, :, 0], layer.weights[:, None]), self.offsets)

    def against(self, goal: Layer) -> Distance:
        """One number a pair."""
        theirs = self.of(goal)
        return lambda layer: _relative(self.of(layer), theirs)


def _filtered(layer: Layer, middles: Tensor, *, octaves: bool = False) -> Tensor:
    """Envelopes through filters around ``middles``, ``[batch, filters, bands, positions]``; complex if ``octaves``.

    Each run of positions is filtered by itself, less its mean.
    """
    found = []
    for run in layer.values[:, :, 0].split(layer.runs or (layer.values.shape[-1],), -1):
        size = _five_smooth(run.shape[-1] + ENVELOPE_HZ)
        spectrum = torch.fft.rfft(run - run.mean(-1, keepdim=True), size)
        hz = torch.arange(spectrum.shape[-1], dtype=torch.float64) * (ENVELOPE_HZ / size)
        gains = (octave_filters(hz, middles) * 2 if octaves else modulation_filters(hz, middles)).to(run)
        through = spectrum[:, None] * gains[:, None]
        if octaves:
            through = torch.fft.ifft(pad(through, (0, size - through.shape[-1])), size)
        else:
            through = torch.fft.irfft(through, size)
        found.append(through[..., : run.shape[-1]])
    return torch.cat(found, -1)


def _floored(power: Tensor) -> Tensor:
    """``[batch, ...]`` kept away from zero: 40 dB below the mean."""
    mean = power.flatten(1).mean(1).view(-1, *[1] * (power.dim() - 1))
    return power + 1e-4 * mean + 1e-12


@dataclass(frozen=True)
class ModulationPower:
    """Power of the envelopes in ``filters`` bands from 0.5 to 200 Hz, of quality 2, over the envelope's variance."""

    filters: int = 20

    @property
    def middles(self) -> Tensor:
        """Middle of each filter in Hz."""
        return torch.logspace(math.log10(0.5), math.log10(200), self.filters, dtype=torch.float64)

    def of(self, layer: Layer) -> Tensor:
        """``[batch, filters, bands]``."""
        envelopes, weights = layer.values[:, :, 0], layer.weights[:, None]
        mean = (envelopes * weights).sum(-1, keepdim=True)
        variance = ((envelopes - mean).square() * weights).sum(-1)
        power = (_filtered(layer, self.middles).square() * weights[:, None]).sum(-1)
        return power / _floored(variance)[:, None]

    def against(self, goal: Layer) -> Distance:
        """A number for each filter and band."""
        theirs = self.of(goal).flatten(1)
        return lambda layer: _relative(self.of(layer).flatten(1), theirs)


@dataclass(frozen=True)
class ModulationCorrelations:
    """C1 and C2 of the envelopes in ``filters`` octaves up to 100 Hz.

    C1: correlations of bands ``offsets`` apart within an octave; C2: of each octave with the next in one band, the
    slower doubled in phase, E[(aₙ²/|aₙ|)* aₙ₊₁] / (σₙ σₙ₊₁), real and imaginary.
    """

    filters: int = 6
    offsets: tuple[int, ...] = (1, 2)

    def of(self, layer: Layer) -> tuple[Tensor, Tensor]:
        """C1 ``[batch, any]`` and C2 ``[batch, any]``."""
        middles = 100.0 / 2 ** torch.arange(self.filters - 1, -1, -1, dtype=torch.float64)
        analytic = _filtered(layer, middles, octaves=True)
        real, imaginary = analytic.real, analytic.imag
        weights = layer.weights[:, None, None]
        within = _neighbours(correlations(real, weights), self.offsets).flatten(1)
        power = real.square() + imaginary.square()
        deviation = _floored((power * weights).sum(-1)).sqrt()
        modulus = (power + 1e-12).sqrt()
        # a²/|a|: the same size at twice the phase
        p, q = ((real.square() - imaginary.square()) / modulus)[:, :-1], (2 * real * imaginary / modulus)[:, :-1]
        r, i = real[:, 1:], imaginary[:, 1:]
        scale = deviation[:, :-1] * deviation[:, 1:]
        products = p * r + q * i, p * i - q * r
        across = torch.cat([((product * weights).sum(-1) / scale).flatten(1) for product in products], 1)
        return within, across

    def against(self, goal: Layer) -> Distance:
        """Both blocks count alike."""
        theirs = self.of(goal)

        def distance(layer: Layer) -> Tensor:
            within, across = (_relative(own, goal) for own, goal in zip(self.of(layer), theirs, strict=True))
            return within + across

        return distance
