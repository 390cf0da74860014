"""Folding: nothing below 11 kHz changes, and what is above keeps its energy in an eighth of the numbers."""

import pytest
import torch

from engine.fold import GROUP, fold
from engine.spectra import Resolution

SIZES = [(2048, 4), (512, 2), (4096, 4)]


@pytest.mark.parametrize(("n_fft", "overlap"), SIZES)
@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050])
def test_at_22050_hz_and_below_nothing_is_folded(rate: int, n_fft: int, overlap: int) -> None:
    """Up to the classic rate the very picture comes back."""
    res = Resolution.at(rate, n_fft, overlap)
    log = torch.rand(2, res.bins, 3)
    assert fold(log, res) is log
    plain = Resolution(64, 16)
    log = torch.rand(plain.bins, 3)
    assert fold(log, plain) is log


@pytest.mark.parametrize(("n_fft", "overlap"), SIZES)
@pytest.mark.parametrize("rate", [32000, 44100, 48000, 96000, 192000])
def test_below_11_khz_nothing_changes_and_above_energy_stays(rate: int, n_fft: int, overlap: int) -> None:
    """Bins to 11 kHz keep every bit; the sum of squares of a smooth treble stays to 1 %, in an eighth of the bins."""
    res = Resolution.at(rate, n_fft, overlap)
    frequencies = res.frequencies(rate)
    below = int((frequencies <= 11_000).sum())
    smooth = torch.exp(-frequencies / 8000)[:, None] * torch.tensor([1.0, 0.1])
    folded = fold(smooth, res)
    assert torch.equal(folded[:below], smooth[:below])
    low = int((frequencies <= 11_025 + rate / res.n_fft / 2).sum())
    assert folded.shape == (low + (res.bins - low) // GROUP, 2)
    kept = low + (res.bins - low) // GROUP * GROUP
    assert res.bins - kept < GROUP
    assert torch.allclose(folded[low:].square().sum(0), smooth[low:kept].square().sum(0), rtol=0.01)


def test_each_group_is_its_own_mean() -> None:
    """Eight neighbours become their mean times √8 and no others are heard in it (1e-6)."""
    res = Resolution(64, 16, 1.0, 17)
    log = torch.rand(2, res.bins, 4)
    wanted = log[:, 17:25].mean(1) * 8**0.5, log[:, 25:33].mean(1) * 8**0.5
    assert torch.allclose(fold(log, res)[:, 17:], torch.stack(wanted, 1), atol=1e-6)
    assert fold(log, res).shape == (2, 19, 4)
