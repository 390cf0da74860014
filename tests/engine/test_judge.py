"""The judge: fixed points, what each figure answers to, and that its definitions are those of librosa."""

import math
import sys

import pytest
import torch
from torch import Tensor

from engine import judge as judging
from engine import material
from engine.errors import AudioError
from engine.judge import Judge, judge
from engine.resample import resample

RATE = 22050
SECONDS = 1.0
SAMPLES = round(RATE * SECONDS)


def _make(name: str, rate: int = RATE) -> Tensor:
    return torch.from_numpy(material.make(name, seconds=SECONDS, rate=rate))


def _noise(samples: int = SAMPLES, *, channels: int = 1, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(channels, samples, generator=torch.Generator().manual_seed(seed))


def _tone(hz: float) -> Tensor:
    """A note with overtones that is struck twice a second: something with pitch and rhythm."""
    t = torch.arange(SAMPLES) / RATE
    voice = sum(torch.sin(2 * math.pi * k * hz * t) / k for k in range(1, 5))
    return (0.2 * voice * torch.exp(-6 * torch.remainder(t, 0.5)))[None]


@pytest.fixture(scope="module")
def sounds() -> tuple[Tensor, Tensor]:
    """A riff and an organ, stereo at 22.05 kHz."""
    return _make("riff"), _make("organ")


@pytest.fixture(scope="module")
def sitting(sounds: tuple[Tensor, Tensor]) -> Judge:
    """The judge of both."""
    return Judge(*sounds, RATE)


def test_the_stem_itself(sounds: tuple[Tensor, Tensor], sitting: Judge) -> None:
    """Nothing was transferred and everything was kept: ratios, chroma and onset 1, gap and level 0 dB, all exactly."""
    verdict = sitting.verdict(sounds[0])
    assert verdict.style_ratio == 1
    assert verdict.mfcc_ratio == 1
    assert verdict.chroma == pytest.approx(1, abs=1e-6)  # the cosine's guard against silence costs 1e-9 a frame
    assert verdict.onset == pytest.approx(1, abs=1e-9)
    assert verdict.gap_db == verdict.level_db == 0
    assert verdict.peak == pytest.approx(float(sounds[0].abs().max()))
    assert verdict.missing is None


def test_the_style_itself(sounds: tuple[Tensor, Tensor], sitting: Judge) -> None:
    """Everything was transferred: both ratios are zero up to rounding, the stem's pitch and rhythm are gone."""
    verdict = sitting.verdict(sounds[1])
    assert verdict.style_ratio < 1e-6
    assert verdict.mfcc_ratio < 1e-6
    assert verdict.chroma is not None
    assert verdict.onset is not None
    assert verdict.chroma < 0.95
    assert verdict.onset < 0.5


def test_between_the_two(sounds: tuple[Tensor, Tensor], sitting: Judge) -> None:
    """More and more style in a mixture brings both ratios down and takes the stem's rhythm away."""
    stem, style = sounds
    verdicts = [sitting.verdict((1 - share) * stem + share * style) for share in (0.0, 0.3, 0.6, 1.0)]
    for figure in ("style_ratio", "mfcc_ratio", "onset"):
        values = [getattr(verdict, figure) for verdict in verdicts]
        assert values == sorted(values, reverse=True), figure


def test_level_changes_level_and_peak_only(sounds: tuple[Tensor, Tensor], sitting: Judge) -> None:
    """Half the amplitude is −6.02 dB and half the peak; every other figure stays, since sounds meet at one RMS."""
    full, half = sitting.verdict(sounds[0]), sitting.verdict(0.5 * sounds[0])
    assert half.level_db == pytest.approx(-6.0206, abs=1e-3)
    assert half.peak == pytest.approx(full.peak / 2)
    for figure in ("style_ratio", "chroma", "onset", "mfcc_ratio"):
        assert getattr(half, figure) == pytest.approx(getattr(full, figure), rel=1e-4), figure
    assert half.gap_db == pytest.approx(0, abs=1e-3)


def test_the_gap_is_measured_in_the_stems_quiet_tenth() -> None:
    """A pause 20 dB up with nothing changed elsewhere is a gap of 20 dB; a pause of the render's own is none of it."""
    quiet = _noise(seed=1)
    quiet[:, : SAMPLES // 3] *= 1e-3
    filled = quiet.clone()
    filled[:, : SAMPLES // 3] *= 10
    sitting = Judge(quiet, _noise(seed=2), RATE)
    verdict = sitting.verdict(filled)
    assert verdict.gap_db == pytest.approx(20, abs=0.2)  # the floor of -100 dBFS stands below the quiet part's -80
    assert abs(verdict.level_db) < 0.01
    assert sitting.verdict(quiet.flip(1)).gap_db == pytest.approx(60, abs=1)


def test_a_peak_in_one_channel_counts() -> None:
    """What cancels in the mean of the channels still peaks in the file."""
    stem = _noise(channels=2)
    loud = stem.clone()
    loud[0, 500], loud[1, 500] = 0.9, -0.9
    assert judge(stem, _noise(channels=2, seed=3), loud, RATE).peak == pytest.approx(0.9)


def test_chroma_answers_to_pitch_and_onset_to_rhythm() -> None:
    """A tritone away the rhythm is the stem's and the pitch is not; off the beat it is the other way round."""
    pytest.importorskip("librosa")
    stem = _tone(220.0)
    sitting = Judge(stem, _noise(), RATE)
    moved, late = sitting.verdict(_tone(311.13)), sitting.verdict(stem.roll(RATE // 4, 1))
    assert moved.chroma is not None
    assert moved.onset is not None
    assert late.chroma is not None
    assert late.onset is not None
    assert moved.chroma < 0.6 < late.chroma
    assert late.onset < 0.3 < moved.onset


def test_the_rate_does_not_matter(sounds: tuple[Tensor, Tensor], sitting: Judge) -> None:
    """The same three sounds at 44.1 kHz get the same verdict, within what two resamplers differ by at 11 kHz."""
    low = sitting.verdict(0.5 * (sounds[0] + sounds[1]))
    stem, style = (resample(sound, RATE, 2 * RATE) for sound in sounds)
    high = judge(stem, style, 0.5 * (stem + style), 2 * RATE)
    for figure in ("style_ratio", "chroma", "onset", "mfcc_ratio"):
        assert getattr(high, figure) == pytest.approx(getattr(low, figure), rel=0.03), figure
    assert high.level_db == pytest.approx(low.level_db, abs=0.01)


def test_its_network_is_one_draw_of_many(sounds: tuple[Tensor, Tensor], sitting: Judge) -> None:
    """The same seed gives the same verdict bit for bit, another seed one within the spread of 4096 filters."""
    mixed = 0.5 * (sounds[0] + sounds[1])
    first = sitting.verdict(mixed)
    assert sitting.verdict(mixed) == first
    other = judge(*sounds, mixed, RATE, seed=1)
    assert other.style_loss != first.style_loss
    assert other.style_ratio == pytest.approx(first.style_ratio, rel=0.1)


def test_spectra_and_mfcc_are_librosas(sounds: tuple[Tensor, Tensor]) -> None:
    """The network sees librosa's spectrogram, and timbre is librosa's MFCC, so figures compare with other judges'."""
    librosa = pytest.importorskip("librosa")
    sound = sounds[0].mean(0)
    level = sound / judging._rms(sound)
    spectrum = torch.from_numpy(abs(librosa.stft(0.15 * level.numpy(), n_fft=2048, hop_length=512))).log1p()
    torch.testing.assert_close(judging._log_magnitude(sound), spectrum, atol=1e-4, rtol=0)
    mfcc = torch.from_numpy(librosa.feature.mfcc(y=level.numpy(), sr=RATE, n_mfcc=20)[1:])
    expected = torch.cat([mfcc.mean(1), mfcc.std(1, correction=0)])
    torch.testing.assert_close(judging._timbre(sound), expected, atol=0.01, rtol=0)  # of coefficients up to 100


def test_without_librosa(sounds: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where librosa is not installed chroma and onset are None, the verdict says why, and the rest is there."""
    monkeypatch.setitem(sys.modules, "librosa", None)
    verdict = judge(*sounds, sounds[0], RATE)
    assert verdict.chroma is None
    assert verdict.onset is None
    assert verdict.missing is not None
    assert "librosa" in verdict.missing
    assert verdict.style_ratio == verdict.mfcc_ratio == 1


def test_a_silent_render(sitting: Judge) -> None:
    """Silence is judged, not refused: every figure is a number, and none of the pitch or rhythm is left."""
    verdict = sitting.verdict(torch.zeros(2, SAMPLES))
    figures = [value for value in verdict.record().values() if value is not None]
    assert all(math.isfinite(value) for value in figures)
    assert verdict.chroma == pytest.approx(0, abs=1e-6)
    assert verdict.onset == 0
    assert verdict.level_db < -200


@pytest.mark.parametrize(
    ("stem", "style", "words"),
    [
        (torch.zeros(1, SAMPLES), _noise(), "the stem is silent"),
        (_noise(), torch.zeros(2, SAMPLES), "the style is silent"),
        (_noise(5000), _noise(), "the stem lasts 0.23 s; expected at least 0.26 s"),
        (_noise(), torch.full((1, SAMPLES), math.nan), "the style holds samples that are not finite"),
        (_noise()[0], _noise(), r"expected floats \[channels, samples\]"),
    ],
)
def test_what_cannot_be_judged(stem: Tensor, style: Tensor, words: str) -> None:
    """Silence, a blink, NaN and other shapes are refused with what was found and what was expected."""
    with pytest.raises(AudioError, match=words):
        Judge(stem, style, RATE)
