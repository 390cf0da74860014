"""The demo material is music: in key, in time, at a sane level, without clicks and the same on every run."""

import numpy as np
import pytest

from engine import material
from engine.errors import EngineError

NAMES = [*material.STEMS, *material.REFERENCES]
RATE = 44100


@pytest.fixture(scope="module")
def bars() -> dict[str, np.ndarray]:
    """Every stem and reference, one bar long at 44.1 kHz (a reference needs its swell, a stem its pattern)."""
    return {name: material.make(name, seconds=material.BAR_S) for name in NAMES}


def _spectrum(sound: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mono = sound.mean(axis=0, dtype=np.float64)
    return np.fft.rfftfreq(len(mono), 1.0 / RATE), np.abs(np.fft.rfft(mono * np.hanning(len(mono)))) ** 2


@pytest.mark.parametrize("name", NAMES)
def test_level_and_peak(name: str, bars: dict[str, np.ndarray]) -> None:
    """Every piece sits between −20 and −14 dBFS RMS with peaks below −1 dBFS, finite and float32 in stereo."""
    sound = bars[name]
    rms_db = 20.0 * np.log10(np.sqrt(np.mean(sound.astype(np.float64) ** 2)))
    assert sound.dtype == np.float32
    assert sound.shape == (2, round(material.BAR_S * RATE))
    assert -20.0 < rms_db < -14.0
    assert 0.1 < np.abs(sound).max() < 10.0 ** (-1.0 / 20.0)


@pytest.mark.parametrize("name", NAMES)
def test_stereo_image(name: str, bars: dict[str, np.ndarray]) -> None:
    """Two different channels, neither out of phase nor lopsided by more than 0.5 dB."""
    left, right = bars[name].astype(np.float64)
    assert 0.2 < np.corrcoef(left, right)[0, 1] < 0.995
    assert abs(20.0 * np.log10(left.std() / right.std())) < 0.5


@pytest.mark.parametrize("name", NAMES)
def test_no_click_at_the_edges(name: str, bars: dict[str, np.ndarray]) -> None:
    """A piece starts and ends within −60 dBFS of silence and carries no DC, so that players do not tick."""
    sound = bars[name].astype(np.float64)
    assert np.abs(sound[:, [0, 1, -2, -1]]).max() < 1e-3
    assert np.abs(sound.mean()) < 1e-3


@pytest.mark.parametrize("name", ["riff", "voice", "organ", "choir"])
def test_in_key(name: str, bars: dict[str, np.ndarray]) -> None:
    """Nine tenths of the energy from 120 to 480 Hz (above, fifth harmonics leave the key) are 60 cents from D minor."""
    f, power = _spectrum(bars[name])
    inside = (f > 120.0) & (f < 480.0)
    pitch = 69.0 + 12.0 * np.log2(f[inside] / 440.0)
    scale = np.array([2, 4, 5, 7, 9, 10, 0])
    distance = np.abs((pitch[:, None] - scale + 6.0) % 12.0 - 6.0).min(axis=1)
    assert power[inside][distance < 0.6].sum() > 0.9 * power[inside].sum()


def test_bass_holds_the_root(bars: dict[str, np.ndarray]) -> None:
    """The strongest partial of the first bar of bass is a low harmonic of its root, D at 73.4 Hz, within 1 %."""
    f, power = _spectrum(bars["bass"])
    harmonic = f[np.argmax(power)] / 73.42
    assert round(harmonic) in (1, 2)
    assert harmonic == pytest.approx(round(harmonic), rel=0.01)


def test_drums_on_the_beat(bars: dict[str, np.ndarray]) -> None:
    """The snare is on beats two and four: 2–9 kHz rises there more than tenfold within 20 ms."""
    mono = bars["drums"].mean(axis=0)
    crisp = np.convolve(mono, [1.0, -2.0, 1.0], "same") ** 2
    for beat in (1, 3):
        at = round(beat * material.BEAT_S * RATE)
        before = crisp[at - 1500 : at - 600].mean()
        assert crisp[at - 300 : at + 600].mean() > 10.0 * before


def test_stems_share_a_tempo() -> None:
    """Ten seconds are exactly four bars, so that stems of the default length loop and stack."""
    four_bars_s = 4.0 * material.BAR_S
    assert four_bars_s == pytest.approx(10.0, abs=1e-12)
    assert material.make("bass").shape == (2, 441000)


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_same_bytes(name: str) -> None:
    """The same seed gives the same bytes, another seed another take."""
    takes = [material.make(name, seconds=0.3, rate=16000, seed=seed).tobytes() for seed in (3, 3, 4)]
    assert takes[0] == takes[1]
    assert takes[0] != takes[2]


@pytest.mark.parametrize("rate", [8000, 96000])
@pytest.mark.parametrize("name", NAMES)
def test_any_rate_and_length(name: str, rate: int) -> None:
    """Every rate works down to 8 kHz, and a length is rounded to the nearest sample."""
    sound = material.make(name, seconds=0.1234, rate=rate)
    assert sound.shape == (2, round(0.1234 * rate))
    assert np.isfinite(sound).all()


def test_shortest_is_heard() -> None:
    """Even 50 ms of the riff hold sound, because a riff begins on the first beat."""
    assert np.abs(material.make("riff", seconds=0.05)).max() > 0.05


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"name": "organs"}, "did you mean 'organ'"),
        ({"name": "riff", "seconds": 0.0}, r"length is 0.0 s; expected 0.05 to 600 s"),
        ({"name": "riff", "seconds": float("nan")}, r"length is nan s"),
        ({"name": "riff", "rate": 4000}, "4000 Hz; expected 8000 to 192000 Hz"),
    ],
)
def test_mistakes_are_explained(asked: dict[str, object], message: str) -> None:
    """A wrong name, length or rate is refused with what was expected."""
    with pytest.raises(EngineError, match=message):
        material.make(**asked)  # type: ignore[arg-type]
