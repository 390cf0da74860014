"""What the networks see: librosa's mel power in decibels, the same at every rate; and pieces that add up again."""

import librosa
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from engine import material
from engine.errors import AudioError
from engine.resample import resample
from engine.spectra import stft
from engine.travelgan import clips, pieces, view
from engine.travelgan.clips import Clips


def played(x: Tensor, gain: Tensor, rate: int) -> Tensor:
    """``x`` ``[batch, channels, samples]`` with a gain in dB."""
    return view.played(stft(x, view.resolution(rate)), gain, rate, x.shape[-1])


def riff() -> Tensor:
    """Three seconds of the project's own music, ``[1, samples]`` at 22 050 Hz."""
    return torch.from_numpy(material.make("riff", seconds=3.0, rate=view.RATE_HZ)).float()[:1]


def test_the_published_picture() -> None:
    """librosa's mel power (128 bands, n_fft 2048, hop 512) as dB less 20, clipped and mapped, to 0.001 dB."""
    sound = torch.randn(1, 22050, generator=torch.Generator().manual_seed(0)) * 0.1
    power = librosa.feature.melspectrogram(
        y=sound[0].numpy(), sr=22050, n_fft=2048, hop_length=512, n_mels=128, pad_mode="constant"
    )
    expected = np.clip(10 * np.log10(np.maximum(power, 1e-12)) - 20, -100, 0)
    found = view.decibels(sound[None], 22050)[0]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-3)
    np.testing.assert_allclose(view.seen(found).numpy(), 2 * (expected + 100) / 100 - 1, atol=1e-4)


def test_levels_and_pictures_are_inverse() -> None:
    """From −100 to 0 dB and from −1 to 1."""
    levels = torch.tensor([-100.0, -50.0, 0.0])
    assert view.seen(levels).tolist() == [-1.0, 0.0, 1.0]
    torch.testing.assert_close(view.levels(view.seen(levels)), levels)


@pytest.mark.parametrize("rate", [44100, 48000])
def test_the_same_picture_at_any_rate(rate: int) -> None:
    """In cells within 40 dB of the loudest: a decibel in the mean, as windows and hops differ by 1 % at 48 kHz."""
    sound = riff()
    low = view.decibels(sound[None], view.RATE_HZ)[0]
    high = view.decibels(resample(sound, view.RATE_HZ, rate)[None], rate)[0]
    frames = min(low.shape[1], high.shape[1])
    at = (torch.arange(frames) * view.resolution(rate).hop / rate * view.RATE_HZ / 512).round().long()
    at = at.clamp_max(low.shape[1] - 1)
    low, high = low[:, at], high[:, :frames]
    loud = low > low.max() - 40
    assert float((low - high)[loud].abs().mean()) < 1.0


def test_no_gain_is_no_change() -> None:
    """What comes back is the stem, to float precision; every channel has the same gain."""
    sound = torch.randn(1, 2, 30000, generator=torch.Generator().manual_seed(0)) * 0.1
    nothing = torch.zeros_like(view.decibels(sound, 44100))
    torch.testing.assert_close(played(sound, nothing, 44100), sound, atol=1e-6, rtol=0)
    louder = played(sound, nothing + 6, 44100)
    torch.testing.assert_close(louder, sound * 10 ** (6 / 20), atol=1e-5, rtol=0)


def test_a_gain_goes_where_its_band_is() -> None:
    """Of two tones the one in a band that is turned up by 12 dB rises by that, the other stays (to 0.1 dB)."""
    rate, n = 44100, 44100
    at = torch.arange(n) / rate
    sound = (0.1 * torch.sin(2 * torch.pi * 440 * at) + 0.1 * torch.sin(2 * torch.pi * 4000 * at))[None, None]
    levels = view.decibels(sound, rate)
    gain = torch.zeros_like(levels)
    gain[:, 64:] = 12.0  # bands above 1.9 kHz
    spectrum = torch.fft.rfft(played(sound, gain, rate)[0, 0] * torch.hann_window(n)).abs() / n * 4
    assert 20 * float((spectrum[440] / 0.1).log10()) == pytest.approx(0, abs=0.1)
    assert 20 * float((spectrum[4000] / 0.1).log10()) == pytest.approx(12, abs=0.1)


def test_what_lies_beyond_goes_with_the_highest_band() -> None:
    """A tone at 15 kHz has the gain of the last band."""
    rate, n = 44100, 44100
    sound = (0.1 * torch.sin(2 * torch.pi * 15000 * torch.arange(n) / rate))[None, None]
    gain = torch.zeros_like(view.decibels(sound, rate))
    gain[:, -1] = -6.0
    middle = slice(n // 4, 3 * n // 4)
    ratio = played(sound, gain, rate)[..., middle].norm() / sound[..., middle].norm()
    assert 20 * float(ratio.log10()) == pytest.approx(-6, abs=0.05)


@given(st.integers(1, 700), st.booleans())
def test_pieces_add_up_again(frames: int, overlapped: bool) -> None:
    """Any number of frames comes back: bit for bit end to end, to float precision where fades add up."""
    picture = torch.arange(frames * 3.0).view(1, 3, frames) / 1000
    cut = pieces.cut(picture, overlapped=overlapped)
    assert cut.shape[2:] == (3, 86)
    back = pieces.reunite(cut, frames, overlapped=overlapped)
    torch.testing.assert_close(back, picture, atol=0 if not overlapped else 1e-6, rtol=0 if not overlapped else 1e-6)


def test_overlapped_pieces_hide_their_edges() -> None:
    """A generator that is wrong at the first and last frame of each piece by 1 is wrong by less than a thousandth."""
    picture = torch.zeros(1, 2, 300)
    wrong = torch.zeros(86)
    wrong[[0, -1]] = 1
    smooth = pieces.reunite(pieces.cut(picture) + wrong, 300)
    hard = pieces.reunite(pieces.cut(picture, overlapped=False) + wrong, 300, overlapped=False)
    assert float(smooth.max()) < 1e-3
    assert float(hard.max()) == 1


def test_fades_are_complementary() -> None:
    """Half a width apart they sum to one."""
    fade = pieces.fade(86, torch.zeros(1, dtype=torch.float64))
    torch.testing.assert_close(fade[:43] + fade[43:], torch.ones(43, dtype=torch.float64))


def test_crops_come_from_everywhere_and_never_over_a_joint() -> None:
    """Every place of every long clip is drawn, crops are whole, and clips too short for one are joined."""
    long = [torch.full((4, 20), float(k)) + torch.arange(20.0) / 100 for k in (1, 2)]
    short = [torch.full((4, 5), 3.0) + torch.arange(5.0) / 100, torch.full((4, 7), 4.0)]
    crops = Clips([long[0], short[0], long[1], short[1]], 10).draw(2000, torch.Generator().manual_seed(0))
    assert crops.shape == (2000, 1, 4, 10)
    starts = {round(float(value), 2) for value in crops[:, 0, 0, 0]}
    assert starts == {round(k + place / 100, 2) for k in (1, 2) for place in range(11)} | {3.0, 3.01, 3.02}
    whole = crops[crops[:, 0, 0, 0] < 3]
    assert torch.equal(whole.floor().amin(3), whole.floor().amax(3))


def test_too_little_for_a_crop_is_said_with_numbers() -> None:
    """How much there is and how much a crop takes."""
    with pytest.raises(AudioError, match=r"2\.0 s of sound; a crop takes 6\.0 s"):
        Clips([torch.zeros(128, 86)], 258)


def test_silence_is_no_picture_and_level_does_not_matter() -> None:
    """Sets are made at one level, as stems are played at."""
    sound = torch.randn(1, 22050, generator=torch.Generator().manual_seed(0))
    assert clips.picture(sound * 0) is None
    quiet, loud = clips.picture(sound * 0.01), clips.picture(sound * 0.5)
    assert quiet is not None
    assert loud is not None
    torch.testing.assert_close(quiet, loud, atol=1e-4, rtol=0)
    assert quiet.shape == (128, 44 - 4)
