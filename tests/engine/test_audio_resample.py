"""Change of rate: exact lengths, nothing shifted, there and back."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.audio import resample, resampled_length
from engine.errors import AudioError

RATES = [8000, 11025, 22050, 37800, 44056, 44100, 48000, 96000, 192000]


def bump(samples: int, centre: float, width: float) -> torch.Tensor:
    """A Gaussian of ``width`` samples: band limited for every purpose here, and its centroid tells its place."""
    t = torch.arange(samples, dtype=torch.float64)
    return torch.exp(-(((t - centre) / width) ** 2))[None]


@pytest.mark.parametrize("to_rate", RATES)
@pytest.mark.parametrize("from_rate", [8000, 44056, 44100, 192000])
def test_nothing_is_shifted(from_rate: int, to_rate: int) -> None:
    """A bump keeps its place in time to 1e-3 of an input sample, a fractional place too."""
    width = 8 * max(1.0, from_rate / to_rate)
    centre = 1000.37
    out = resample(bump(2000, centre, width), from_rate, to_rate)[0]
    m = torch.arange(len(out), dtype=torch.float64) * from_rate / to_rate
    assert float((m * out).sum() / out.sum()) == pytest.approx(centre, abs=1e-3)


@pytest.mark.parametrize(("from_rate", "to_rate"), [(44100, 48000), (44056, 48000), (8000, 44100), (96000, 48000)])
def test_there_and_back_is_the_stem(from_rate: int, to_rate: int) -> None:
    """Sound below both Nyquist frequencies comes back within -120 dB of full scale, in float32."""
    stem = torch.cat([bump(3000, 700.5, 12), bump(3000, 2000.25, 20)]).float()
    back = resample(resample(stem, from_rate, to_rate), to_rate, from_rate, stem.shape[1])
    assert back.dtype == torch.float32
    assert float((back - stem).abs().max()) < 1e-6


@given(samples=st.integers(1, 5000), from_rate=st.sampled_from(RATES), to_rate=st.sampled_from(RATES))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_every_length_comes_back_exactly(samples: int, from_rate: int, to_rate: int) -> None:
    """From one sample up, the way out covers the stem and the way back has its exact length; all of it is finite."""
    stem = torch.ones(2, samples)
    out = resample(stem, from_rate, to_rate)
    assert out.shape == (2, resampled_length(samples, from_rate, to_rate))
    assert out.shape[1] * from_rate >= samples * to_rate
    back = resample(out, to_rate, from_rate, samples)
    assert back.shape == stem.shape
    assert bool(torch.isfinite(back).all())


@pytest.mark.parametrize("place", [0, 1, 499])
def test_the_first_and_last_samples_are_not_lost(place: int) -> None:
    """A click at either end comes back at its place, less its ringing outside the stem and above the band (> 0.75)."""
    stem = torch.zeros(1, 500)
    stem[0, place] = 1.0
    back = resample(resample(stem, 44100, 48000), 48000, 44100, 500)[0]
    assert int(back.abs().argmax()) == place
    assert float(back[place]) > 0.75


def test_the_end_asked_for_beyond_the_sound_is_its_decay() -> None:
    """A longer length is followed by the filter ringing into silence, and a shorter one is a cut of the same."""
    stem = torch.ones(1, 100)
    long, short = resample(stem, 44100, 48000, 400), resample(stem, 44100, 48000, 50)
    assert long.shape[1] == 400
    assert torch.allclose(long[:, :50], short, atol=1e-6)
    # 100 samples end at 108.8 of these: what follows rings (a step does, by hundredths) and then fades.
    assert float(long[0, 112:140].abs().max()) > 0.01
    assert float(long[0, 300:].abs().max()) < 0.01


def test_equal_rates_change_nothing() -> None:
    """The same rate gives the same bits in memory of their own, cut or padded to the length."""
    stem = torch.rand(2, 10)
    same = resample(stem, 44100, 44100)
    assert torch.equal(same, stem)
    assert same.data_ptr() != stem.data_ptr()
    assert resample(stem, 44100, 44100, 12)[:, 9:].tolist() == [[v, 0.0, 0.0] for v in stem[:, 9].tolist()]


def test_channels_do_not_leak() -> None:
    """Each channel is resampled on its own, bit for bit."""
    stem = torch.rand(6, 300) - 0.5
    out = resample(stem, 44100, 48000)
    for channel in range(6):
        assert torch.equal(out[channel], resample(stem[channel : channel + 1], 44100, 48000)[0])


@pytest.mark.parametrize(
    ("samples", "rates", "length", "told"),
    [
        (torch.zeros(5), (44100, 48000), None, r"\[channels, samples\], got \[5\]"),
        (torch.zeros(1, 5), (0, 48000), None, "at least 1 Hz, got 0 and 48000"),
        (torch.zeros(1, 5), (44100, 48000), -1, "at least 0 samples, got -1"),
    ],
)
def test_nonsense_is_refused(samples: torch.Tensor, rates: tuple[int, int], length: int | None, told: str) -> None:
    """A wrong shape, rate or length is an `AudioError` that says what was expected."""
    with pytest.raises(AudioError, match=told):
        resample(samples, *rates, length)
