"""The auditory model against what is known of noise and of modulated tones."""

import math

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from engine.parts.auditory import (
    COMPRESSION,
    ENVELOPE_HZ,
    HIGH_HZ,
    Cochlea,
    CrossCorrelations,
    ModulationCorrelations,
    ModulationPower,
    cochlear_filters,
    correlations,
    marginals,
    modulation_filters,
)
from engine.parts.features import Layer

RATE = 22050
BANDS = 32
SECONDS = 40


def heard(x: Tensor, rate: int = RATE, bands: int = BANDS) -> Layer:
    """Envelopes of ``[samples]``, all positions counting alike, less a tenth of a second at the ends."""
    envelopes = Cochlea(bands).envelopes(x[None], rate)[:, :, None, 40:-40]
    positions = envelopes.shape[-1]
    return Layer(envelopes, torch.full((1, positions), 1 / positions).to(x))


@pytest.fixture(scope="module")
def noise() -> Layer:
    """White noise of unit variance through the ear."""
    return heard(torch.randn(SECONDS * RATE, generator=torch.Generator().manual_seed(3)))


def filters(rate: int = RATE) -> tuple[Tensor, Tensor]:
    """Frequencies every 2 Hz, and the gains of all bands there."""
    hz = torch.arange(0, rate / 2, 2.0, dtype=torch.float64)
    return hz, cochlear_filters(hz, BANDS, min(HIGH_HZ, 0.45 * rate))


def moment(order: float) -> float:
    """E|z|^(0.3 · order) of a complex Gaussian of unit power: |z|² is exponential."""
    return math.gamma(1 + COMPRESSION * order / 2)


def test_filters_share_all_power() -> None:
    """Squares of neighbouring filters add up to one between the first middle and the last."""
    hz, gains = filters()
    middles = hz[gains.argmax(1)]
    inside = (hz > middles[0]) & (hz < middles[-1])
    torch.testing.assert_close(gains.square().sum(0)[inside], torch.ones(int(inside.sum()), dtype=torch.float64))


def test_white_noise_has_the_mean_of_its_rayleigh_envelopes(noise: Layer) -> None:
    """E a^0.3 = (2 σ²)^0.15 Γ(1.15), σ² the power of the band: to 3 % above 300 Hz, where 40 s hold enough of it."""
    hz, gains = filters()
    power = gains.square().sum(1) * 2.0 / (RATE / 2)  # unit variance is spread over the band up to Nyquist
    expected = (2 * power) ** (COMPRESSION / 2) * moment(1)
    found = marginals(noise)[0][0].double()
    above = hz[gains.argmax(1)] > 300
    assert float((found / expected - 1)[above].abs().max()) < 0.03


def test_white_noise_has_the_moments_of_its_rayleigh_envelopes(noise: Layer) -> None:
    """Variance over squared mean Γ(1.3)/Γ(1.15)² − 1 = 0.0300, skewness and kurtosis of a^0.3 in bands narrower than
    the envelopes' 200 Hz; wider ones lose variance to the slower rate.
    """
    _, gains = filters()
    narrow = (gains > 0).sum(1) * 2 < 150
    assert int(narrow.sum()) >= 6
    _, variance, skew, kurtosis = (block[0][narrow].double().mean() for block in marginals(noise))
    mean, square, cube, fourth = (moment(k) for k in (1, 2, 3, 4))
    spread = square - mean**2
    third = cube - 3 * mean * square + 2 * mean**3
    last = fourth - 4 * mean * cube + 6 * mean**2 * square - 3 * mean**4
    assert float(variance) == pytest.approx(spread / mean**2, rel=0.05)
    assert float(skew) == pytest.approx(third / spread**1.5, abs=0.1)
    assert float(kurtosis) == pytest.approx(last / spread**2, rel=0.1)


def _hypergeometric(square: Tensor) -> Tensor:
    """₂F₁(−0.15, −0.15; 1; ρ²): E|z₁z₂|^0.3 of complex Gaussians with correlation ρ, over E|z|^0.3 squared."""
    term, total = torch.ones_like(square), torch.ones_like(square)
    for k in range(200):
        term = term * (k - COMPRESSION / 2) ** 2 / (k + 1) ** 2 * square
        total = total + term
    return total


def test_bands_of_white_noise_are_correlated_where_they_overlap(noise: Layer) -> None:
    """Neighbours as ₂F₁ of their filters' common part says (to 0.05), any further apart not at all (0.1)."""
    _, gains = filters()
    found = correlations(noise.values[:, :, 0], noise.weights[:, None])[0].double()
    size = gains.square().sum(1).sqrt()
    common = (gains[1:] * gains[:-1]).sum(1) / (size[1:] * size[:-1])
    one = _hypergeometric(torch.ones(1, dtype=torch.float64)) - 1
    expected = (_hypergeometric(common.square()) - 1) / one
    wide = slice(8, None)  # lower bands change too slowly for 40 s to tell
    assert float((found.diagonal(1) - expected)[wide].abs().mean()) < 0.05
    for apart in (2, 3, 5, 8, 11, 16, 21):
        assert float(found.diagonal(apart)[wide].abs().max()) < 0.1
    assert CrossCorrelations().of(noise).shape == (1, sum(BANDS - k for k in CrossCorrelations().offsets))


def test_modulations_of_white_noise_are_those_of_its_filters(noise: Layer) -> None:
    """Power in each modulation filter over all power of the envelope, as the autocorrelation of the band's filter says:
    to 15 % of the greatest, in the mean over narrow bands.
    """
    _, gains = filters()
    narrow = ((gains > 0).sum(1) * 2 < 150).nonzero()[:, 0].tolist()
    statistic = ModulationPower()
    found = statistic.of(noise)[0][:, narrow].double()
    size = 2**14
    expected = []
    for band in narrow:
        spectrum = torch.zeros(size, dtype=torch.float64)
        shape = gains[band][gains[band] > 0].square()
        spectrum[: shape.shape[0]] = shape
        # one bin of the filter is 2 Hz, so the transform is at 2 · size Hz
        rho = torch.fft.ifft(spectrum).abs() / (shape.sum() / size)
        power = torch.fft.rfft(_hypergeometric(rho.square()) - 1).real
        hz = torch.arange(power.shape[0], dtype=torch.float64) * 2
        through = modulation_filters(hz, statistic.middles).square() @ power
        expected.append(through / power.sum())
    wanted = torch.stack(expected, 1)
    low = statistic.middles > 6  # slower ones are narrower than the grid of 2 Hz
    error = (found - wanted).mean(1)[low].abs().max() / wanted[low].mean(1).max()
    assert float(error) < 0.15


def test_an_octave_in_phase_is_known_by_c2() -> None:
    """A tone modulated at 12.5 and 25 Hz: C2 is 1 where both are in phase, turns with the phase, and C1 is 1."""
    found = []
    time = torch.arange(6 * RATE) / RATE
    for phase in (0.0, math.pi / 2):
        level = 1 + 0.3 * torch.cos(2 * math.pi * 12.5 * time) + 0.3 * torch.cos(2 * math.pi * 25 * time + phase)
        # a tone in the middle of each of two bands
        hz, gains = filters()
        tones = sum(torch.cos(2 * math.pi * float(hz[gains[band].argmax()]) * time) for band in (24, 26))
        layer = heard(level ** (1 / COMPRESSION) * tones)
        within, across = ModulationCorrelations(offsets=(2,)).of(layer)
        c2 = across.view(2, 5, BANDS)[:, 2, 24]  # 12.5 Hz against 25 Hz
        found.append(c2)
        assert float(within.view(6, BANDS - 2)[2, 24]) == pytest.approx(1, abs=0.05)
    torch.testing.assert_close(found[0], torch.tensor([1.0, 0.0]), atol=0.12, rtol=0)
    torch.testing.assert_close(found[1], torch.tensor([0.0, 1.0]), atol=0.12, rtol=0)


@pytest.mark.parametrize("rate", [8000, 22050, 48000, 96000])
def test_envelopes_are_the_same_at_any_rate(rate: int) -> None:
    """A tone of 440 Hz modulated at 7 Hz has the envelope it was given, to 2 %, at 400 Hz."""
    time = torch.arange(2 * rate, dtype=torch.float64) / rate
    wanted = 1 + 0.5 * torch.sin(2 * math.pi * 7 * time)
    envelopes = Cochlea(BANDS).envelopes((wanted * torch.cos(2 * math.pi * 440 * time))[None], rate)[0]
    band = envelopes.mean(-1).argmax()
    found = envelopes[band]
    assert found.shape[0] == pytest.approx(2 * ENVELOPE_HZ, abs=2)
    at = (torch.arange(found.shape[0]) * (time.shape[0] / found.shape[0])).long()
    shape = wanted[at] ** COMPRESSION
    ratio = (found / shape)[40:-40]
    assert float(ratio.std() / ratio.mean()) < 0.02


def test_gradients_reach_the_waveform() -> None:
    """Envelopes have the gradient that finite differences see, and a finite one in silence."""
    x = 0.1 * torch.randn(1, 300, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    cochlea = Cochlea(4)
    assert gradcheck(lambda y: cochlea.envelopes(y, 4000), (x.requires_grad_(True),), atol=1e-6, fast_mode=True)
    silent = torch.zeros(1, 4000, requires_grad=True)
    cochlea.envelopes(silent, RATE).sum().backward()
    assert silent.grad is not None
    assert torch.isfinite(silent.grad).all()
