"""The spectra against torch's own, their transposes, and the physics of a tone."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from engine.spectra import (
    Resolution,
    chroma_filters,
    istft,
    linked_magnitude,
    mel_filters,
    stft,
    stft_adjoint,
)


@given(st.integers(1, 300), st.sampled_from([(16, 4), (16, 8), (32, 4)]))
@settings(max_examples=40, deadline=None)
def test_stft_comes_back(samples: int, sizes: tuple[int, int]) -> None:
    """istft(stft(x)) is x to 1e-12 for every length from one sample up."""
    res = Resolution(*sizes)
    x = torch.randn(2, samples, dtype=torch.float64)
    assert torch.allclose(istft(stft(x, res), res, samples), x, atol=1e-12)


def test_stft_is_torchs() -> None:
    """The frames are those of torch.stft, centred, with zeros beyond the ends (1e-12)."""
    x = torch.randn(1, 500, dtype=torch.float64)
    window = torch.hann_window(32, dtype=torch.float64)
    theirs = torch.stft(x, 32, 8, window=window, pad_mode="constant", return_complex=True)
    assert torch.allclose(stft(x, Resolution(32, 8)).mT, theirs, atol=1e-12)


def test_adjoint_is_the_transpose() -> None:
    """<F x, Y> = <x, Fᵀ Y> as real inner products (1e-10)."""
    res = Resolution(16, 4)
    x, y = torch.randn(1, 77, dtype=torch.float64), torch.randn(1, 20, 9, dtype=torch.complex128)
    f = stft(x, res)
    forth = (f.real * y.real + f.imag * y.imag).sum()
    assert float(forth) == pytest.approx(float((x * stft_adjoint(y.clone(), res, 77)).sum()), abs=1e-10)


def test_linked_magnitude_gradient() -> None:
    """The closed-form gradient through all channels is the derivative in double."""
    x = torch.randn(2, 2, 60, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda y: linked_magnitude(y, Resolution(16, 4, 0.5)), x)


def test_silence_has_no_gradient() -> None:
    """At digital silence the magnitude has no slope: the gradient is zero, not a NaN."""
    x = torch.zeros(1, 2, 100, requires_grad=True)
    linked_magnitude(x, Resolution(16, 4)).sum().backward()
    assert x.grad is not None
    assert not x.grad.any()


@pytest.mark.parametrize("rate", [22050, 44100, 48000, 96000])
def test_a_tone_has_the_same_picture_at_every_rate(rate: int) -> None:
    """The peak of a 1 kHz tone is as high at any rate as at 22.05 kHz, to the 15 % that lie between two bins."""
    tone = 0.1 * torch.sin(2 * math.pi * 1000 * torch.arange(rate) / rate)
    magnitude = linked_magnitude(tone[None, None], Resolution.at(rate, 2048))[0]
    peak = float(magnitude[:, magnitude.shape[1] // 2].max())
    assert peak == pytest.approx(0.1 * 2048 / 4, rel=0.15)
    assert abs(Resolution.at(rate, 2048).n_fft / rate / (2048 / 22050) - 1) < 0.02


def test_channels_are_linked_by_power() -> None:
    """Two equal channels have the magnitude of one; a silent second channel takes 3 dB off."""
    x, res = torch.randn(1, 1, 400, dtype=torch.float64), Resolution(32, 8)
    one = linked_magnitude(x, res)
    assert torch.allclose(linked_magnitude(x.expand(1, 2, -1), res), one)
    assert torch.allclose(linked_magnitude(torch.cat([x, 0 * x], 1), res), one / math.sqrt(2))


def test_mel_filters_cover_and_are_normalised() -> None:
    """Every band has unit sum, also where bands are narrower than bins."""
    for bands in (40, 128):
        assert torch.allclose(mel_filters(Resolution(512, 128), 44100, bands).sum(1), torch.ones(bands), atol=1e-5)


def test_chroma_hears_octaves_alike() -> None:
    """440 and 880 Hz fall on the same chroma band; nothing above the ceiling counts."""
    res = Resolution.at(22050, 4096)
    filters = chroma_filters(res, 22050)
    bins = [round(f * res.n_fft / 22050) for f in (440, 880)]
    assert int(filters[:, bins[0]].argmax()) == int(filters[:, bins[1]].argmax()) == 0
    assert float(filters[:, round(8000 * res.n_fft / 22050)].max()) < 1e-6
