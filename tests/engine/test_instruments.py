"""The instruments obey their physics: pitch, decay, resonance, width and reverberation are where the names say."""

import numpy as np
import pytest

from engine import instruments, studio
from engine.instruments import Note

RATE = 22050


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator with a fixed seed."""
    return np.random.default_rng(7)


def _peak_hz(sound: np.ndarray, low_hz: float, high_hz: float) -> float:
    power = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), 8 * len(sound)))
    f = np.fft.rfftfreq(8 * len(sound), 1.0 / RATE)
    return float(f[np.argmax(np.where((f > low_hz) & (f < high_hz), power, 0.0))])


def test_ring_is_the_sum_it_factors() -> None:
    """The matrix product over coarse and fine time equals the plain sum of damped sines to 1e-12."""
    freqs, decays, gains = np.array([110.0, 333.0, 1234.5]), np.array([2.0, 5.0, 90.0]), np.array([1.0, -0.5, 0.3])
    t = np.arange(1000) / RATE
    plain = sum(a * np.exp(-d * t) * np.sin(2 * np.pi * f * t) for f, d, a in zip(freqs, decays, gains, strict=True))
    np.testing.assert_allclose(instruments.ring(freqs, decays, gains, 1000, RATE), plain, atol=1e-12)


def test_harmonics_are_the_sum_they_factor() -> None:
    """Phasors in blocks equal the plain sum of cosines for a steady tone, to 1e-4 (single precision, 20000 samples)."""
    frames = 220
    gains = np.tile(np.array([1.0, 0.0, 0.25j]), (frames, 1))
    sound = instruments.harmonics(np.full(frames, 200.0), gains, 20000, RATE)
    phase = 2 * np.pi * 200.0 * np.arange(1, 20001) / RATE
    np.testing.assert_allclose(sound, np.cos(phase) - 0.25 * np.sin(3 * phase), atol=1e-4)


def test_convolve_is_convolution(rng: np.random.Generator) -> None:
    """The FFT filter equals the sum it stands for, does not wrap around, and keeps the length."""
    signal, response = rng.standard_normal(300), rng.standard_normal((2, 90))
    expected = [np.convolve(signal, r)[:300] for r in response]
    np.testing.assert_allclose(studio.convolve(signal, response), expected, atol=1e-10)


@pytest.mark.parametrize("pitch", [38, 57, 69])
def test_pluck_is_in_tune(pitch: int, rng: np.random.Generator) -> None:
    """The fundamental of a plucked string is within 5 cents of its MIDI pitch."""
    sound = instruments.pluck(Note(0.0, 1.0, pitch), RATE, rng, point=0.14, bright_hz=4000.0, damping=(1.0, 0.3))
    f0 = float(instruments.hz(pitch))
    assert 1200.0 * abs(np.log2(_peak_hz(sound, 0.8 * f0, 1.2 * f0) / f0)) < 5.0


def test_pluck_loses_its_treble_first(rng: np.random.Generator) -> None:
    """High partials die faster than low ones, as on a real string."""
    sound = instruments.pluck(Note(0.0, 1.0, 50), RATE, rng, point=0.14, bright_hz=4000.0, damping=(1.0, 0.6))
    early, late = sound[2000:6000], sound[16000:20000]
    treble = [np.sum(studio.band(part, RATE, 1500.0, np.inf) ** 2) / np.sum(part**2) for part in (early, late)]
    assert treble[1] < 0.3 * treble[0]


@pytest.mark.parametrize(("vowel", "formant_hz"), [("a", 800.0), ("o", 450.0), ("u", 325.0)])
def test_vowels_have_their_formant(vowel: str, formant_hz: float) -> None:
    """The strongest gain of the vocal tract is at the vowel's first formant, within 5 %."""
    f = np.linspace(50.0, 2000.0, 2000)[None]
    gain = np.abs(instruments.resonances(f, np.array([instruments.VOWELS[vowel]])))[0]
    assert f[0, np.argmax(gain)] == pytest.approx(formant_hz, rel=0.05)


def test_sung_pitch_and_rest(rng: np.random.Generator) -> None:
    """A sung A4 averages 440 Hz within 10 cents, vibrato and all, and a rest is 40 dB below the note."""
    sound = instruments.sing([Note(0.0, 1.2, 69)], 2 * RATE, RATE, rng)
    assert 1200.0 * abs(np.log2(_peak_hz(sound[6000:24000], 380.0, 500.0) / 440.0)) < 30.0
    assert np.std(sound[36000:42000]) < 0.01 * np.std(sound[6000:24000])


def test_pan_keeps_power() -> None:
    """Panning moves a sound without changing its power: the squares of the sides add up to 1."""
    for position in (-1.0, -0.3, 0.0, 0.8, 1.0):
        sides = studio.pan(np.ones(1), position)
        assert np.sum(sides**2) == pytest.approx(1.0, abs=1e-12)
    assert studio.pan(np.ones(1), -1.0)[1, 0] == pytest.approx(0.0, abs=1e-12)


def test_room_keeps_the_direct_sound(rng: np.random.Generator) -> None:
    """A room answers with the sound itself at once, then 12 ms of nothing, then a tail of the level asked for."""
    response = studio.room(RATE, rng, decay_s=0.4, level=0.3)
    quiet = round(0.012 * RATE)
    np.testing.assert_allclose(response[:, 0], 1.0)
    assert np.abs(response[:, 1:quiet]).max() == 0.0
    np.testing.assert_allclose(np.sqrt(np.sum(response[:, quiet:] ** 2, axis=1)), 0.3, rtol=1e-9)


def test_place_loses_only_what_overhangs() -> None:
    """A sound placed near the end is cut there; one past the end changes nothing."""
    bus = np.zeros(10)
    studio.place(bus, np.ones(4), 8.0, 1)
    studio.place(bus, np.ones(4), 12.0, 1)
    np.testing.assert_array_equal(bus, [0.0] * 8 + [1.0] * 2)


def test_tape_wavers(rng: np.random.Generator) -> None:
    """The tape bends a steady 1 kHz by about ± 0.3 % around its pitch, and keeps length and channels."""
    t = np.arange(4 * RATE) / RATE
    tone = np.stack([np.sin(2 * np.pi * 1000.0 * t)] * 2)
    worn = studio.tape(tone, RATE, rng, drive=1.5)
    assert worn.shape == tone.shape
    around = [_peak_hz(worn[0, i : i + 8000], 950.0, 1050.0) for i in range(4000, 70000, 4000)]
    assert 2.0 < max(around) - min(around) < 12.0
    assert abs(np.mean(around) - 1000.0) < 2.0
