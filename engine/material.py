"""Music for the demo, the tests and the bench, made by numpy from a seed: four stems and three references.

All is in D minor at 96 beats a minute: ten seconds are four bars (Dm, B♭, F, C), and the stems play together.
Signals are float32 ``[2, samples]`` near −19 dBFS RMS with peaks below −1 dBFS.
"""

import difflib
import zlib
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from engine import instruments, studio
from engine.errors import EngineError
from engine.instruments import Note
from engine.studio import Signal

BEAT_S = 60.0 / 96.0
BAR_S = 4.0 * BEAT_S
LEVEL_DB = -19.0
PEAK_DB = -1.5
_SWING = 0.16
_GUITAR_MODES_HZ = (104.0, 205.0, 232.0, 372.0, 436.0, 553.0, 702.0, 905.0, 1130.0, 1480.0, 2050.0, 2700.0)
_BASS_MODES_HZ = (61.0, 98.0, 160.0, 240.0, 390.0, 620.0, 1100.0)

Stereo = NDArray[np.float32]
Maker = Callable[[float, int, np.random.Generator], Signal]

# One row a bar: the strings of the riff, the parts of choir and organ, the bass notes (root, fifth, approach).
_RIFF = ((50, 57, 62, 65, 69), (46, 53, 58, 62, 65), (53, 57, 60, 65, 69), (48, 55, 60, 64, 67))
_PARTS = ((50, 57, 65, 69), (46, 58, 65, 70), (48, 57, 65, 69), (48, 55, 64, 67))
_BASS = ((38, 45, 36), (34, 41, 38), (41, 36, 38), (36, 43, 37))
# Sixteenth in the bar, string, velocity.
_PICKING = (
    (
        (0, 0, 1.0),
        (2, 2, 0.55),
        (3, 3, 0.7),
        (6, 4, 0.95),
        (8, 1, 0.7),
        (10, 3, 0.6),
        (11, 2, 0.45),
        (12, 4, 0.8),
        (14, 3, 0.6),
    ),
    (
        (0, 0, 0.95),
        (2, 2, 0.5),
        (3, 3, 0.75),
        (6, 4, 0.9),
        (8, 1, 0.65),
        (9, 2, 0.4),
        (11, 3, 0.7),
        (13, 4, 0.8),
        (15, 2, 0.5),
    ),
)
# Beats, MIDI pitch (0 rests), vowel: a four-bar tune.
_TUNE = (
    (1.5, 69, "a"), (0.5, 67, "o"), (1.0, 65, "e"), (0.5, 64, "a"), (0.5, 65, "o"),
    (2.5, 62, "a"), (0.5, 0, "a"), (0.5, 65, "u"), (0.5, 67, "o"),
    (1.5, 69, "a"), (1.0, 72, "e"), (0.5, 69, "a"), (1.0, 67, "o"),
    (1.0, 67, "u"), (0.5, 65, "o"), (1.5, 64, "a"), (1.0, 0, "a"),
)  # fmt: skip


def _at(bar: int, sixteenth: float) -> float:
    late = _SWING if sixteenth % 2 == 1 else 0.0
    return bar * BAR_S + (sixteenth + late) * BEAT_S / 4.0


def _bars(seconds: float) -> range:
    return range(int(np.ceil(seconds / BAR_S)))


def _riff(seconds: float, rate: int, rng: np.random.Generator) -> Signal:
    bus = np.zeros((2, round(seconds * rate)))
    for bar in _bars(seconds):
        for step, string, velocity in _PICKING[bar % 2]:
            note = Note(
                _at(bar, step) + rng.normal(0.0, 0.003),
                (3.2 - 0.3 * string) * BEAT_S / 2.0,
                _RIFF[bar % 4][string],
                velocity * rng.uniform(0.9, 1.05),
            )
            sound = instruments.pluck(note, rate, rng, point=0.14, bright_hz=6500.0, damping=(1.1, 0.3))
            studio.place(bus, studio.pan(sound, 0.12 * (string - 2)), max(0.0, note.start_s), rate)
    wood = instruments.body(_GUITAR_MODES_HZ, rate, rng)
    return studio.convolve(studio.convolve(bus, wood), studio.room(rate, rng, decay_s=0.9, level=0.22))


def _voice(seconds: float, rate: int, rng: np.random.Generator) -> Signal:
    notes, start = [], 0.02
    while start < seconds:
        for beats, pitch, vowel in _TUNE:
            if pitch:
                velocity = 0.55 + 0.06 * (pitch - 62)
                notes.append(Note(start, beats * BEAT_S - 0.045, pitch, min(1.0, velocity), vowel))
            start += beats * BEAT_S
    samples = round(seconds * rate)
    sung = instruments.sing(notes, samples, rate, rng, breath=0.06)
    bus = studio.pan(sung, 0.0)
    return studio.convolve(bus, studio.room(rate, rng, decay_s=1.6, level=0.30))


def _drums(seconds: float, rate: int, rng: np.random.Generator) -> Signal:
    bus = np.zeros((2, round(seconds * rate)))

    def hit(sound: Signal, bar: int, step: float, gain: float, position: float) -> None:
        at_s = max(0.0, _at(bar, step) + rng.normal(0.0, 0.002))
        studio.place(bus, studio.pan(sound, position) * gain * rng.uniform(0.92, 1.05), at_s, rate)

    for bar in _bars(seconds):
        for step, gain in ((0, 0.8), (3, 0.45), (6, 0.65), (10, 0.7)) + (((15, 0.6),) if bar % 2 else ()):
            hit(instruments.kick(rate, rng), bar, step, gain, 0.0)
        for step, gain in ((4, 0.62), (12, 0.66)) + (((14, 0.4), (15, 0.5)) if bar % 4 == 3 else ()):
            hit(instruments.snare(rate, rng), bar, step, gain, -0.08)
        for step in (7, 9):
            hit(instruments.snare(rate, rng, tight=0.5), bar, step, 0.13, -0.08)
        for step in range(16):
            if step % 2 == 0 or rng.uniform() < 0.45:
                accent = (0.34, 0.14, 0.24, 0.14)[step % 4]
                opened = 0.12 if step == 14 and bar % 2 == 1 else rng.uniform(0.018, 0.03)
                hit(instruments.hat(rate, rng, open_s=opened), bar, step, accent, 0.35)
    wet = studio.convolve(bus, studio.room(rate, rng, decay_s=0.6, level=0.40))
    return np.asarray(np.tanh(1.3 * wet))


def _bass(seconds: float, rate: int, rng: np.random.Generator) -> Signal:
    bus = np.zeros((2, round(seconds * rate)))
    pattern = (
        (0, 0, 2.6, 1.0),
        (3, 0, 0.8, 0.65),
        (6, 1, 1.8, 0.9),
        (8, 0, 1.6, 0.7),
        (10, 0, 2.5, 0.95),
        (14, 2, 1.7, 0.75),
    )
    for bar in _bars(seconds):
        for step, which, steps, velocity in pattern:
            note = Note(_at(bar, step), steps * BEAT_S / 4.0, _BASS[bar % 4][which], velocity * rng.uniform(0.93, 1.04))
            sound = instruments.pluck(note, rate, rng, point=0.21, bright_hz=1800.0, damping=(0.9, 2.5))
            studio.place(bus, studio.pan(sound, 0.0), note.start_s + abs(rng.normal(0.0, 0.003)), rate)
    wood = instruments.body(_BASS_MODES_HZ, rate, rng)
    bus = studio.convolve(bus, wood)
    driven = np.tanh(1.8 * bus / np.abs(bus).max())
    return studio.convolve(driven, studio.room(rate, rng, decay_s=0.35, level=0.10))


def _lines(seconds: float, vowels: str) -> list[list[Note]]:
    """The four parts of the progression, one long note a bar, each breathing at the bar line."""
    return [
        [
            Note(bar * BAR_S + 0.03 * part, BAR_S - 0.12, _PARTS[bar % 4][part], 0.9, vowels[bar % len(vowels)])
            for bar in _bars(seconds)
        ]
        for part in range(4)
    ]


def _organ(seconds: float, rate: int, rng: np.random.Generator) -> Signal:
    samples = round(seconds * rate)
    bus = np.zeros((2, samples))
    for part, notes in enumerate(_lines(seconds, "a")):
        bus += studio.pan(instruments.bow(notes, samples, rate, rng), (-0.5, 0.45, -0.2, 0.25)[part])
    return studio.convolve(bus, studio.room(rate, rng, decay_s=2.4, level=0.35))


def _choir(seconds: float, rate: int, rng: np.random.Generator) -> Signal:
    samples = round(seconds * rate)
    bus = np.zeros((2, samples))
    for part, notes in enumerate(_lines(seconds, "aoea")):
        for singer in range(3):
            late = rng.uniform(0.0, 0.07)
            own = [Note(n.start_s + late, n.duration_s, n.pitch, n.velocity, n.vowel) for n in notes]
            size = (0.86, 0.92, 1.0, 1.06)[part] * rng.uniform(0.97, 1.03)
            sung = instruments.sing(
                own, samples, rate, rng, size=size, detune=rng.normal(0.0, 0.07), vibrato=0.2, top_hz=7500.0
            )
            bus += studio.pan(sung, float(np.clip((part - 1.5) * 0.3 + (singer - 1) * 0.4, -0.9, 0.9)))
    wet = studio.convolve(bus, studio.room(rate, rng, decay_s=2.2, level=0.35))
    return studio.tape(wet / np.abs(wet).max(), rate, rng, drive=2.2)


def _rain(seconds: float, rate: int, rng: np.random.Generator) -> Signal:
    samples = round(seconds * rate)
    drops = round(900 * seconds)
    length = round(0.016 * rate)
    t = np.arange(length) / rate
    # A drop is the ring of the bubble it leaves (Minnaert): small ones are many, high and quiet.
    size = rng.uniform(0.0, 1.0, drops) ** 2.5
    f = np.minimum(7500.0 * (1.0 - 0.82 * size) * rng.uniform(0.85, 1.15, drops), 0.4 * rate)
    chirp = 1.0 + rng.uniform(0.0, 6.0, (drops, 1)) * t
    sound = np.sin(2.0 * np.pi * f[:, None] * t * chirp) * np.exp(-t * (250.0 + f[:, None] / 12.0))
    sound *= (0.02 + size[:, None] ** 1.5) * rng.uniform(0.3, 1.0, (drops, 1)) * np.minimum(1.0, t / 0.0005)
    sound *= np.minimum(1.0, (length - np.arange(length)) / (0.003 * rate))
    at = rng.integers(0, samples, drops)
    angle = rng.uniform(0.0, np.pi / 2.0, (drops, 1))
    index = (at[:, None] + np.arange(length)).ravel()
    bus = np.stack(
        [
            np.bincount(index, (side * sound).ravel(), samples + length)[:samples]
            for side in (np.cos(angle), np.sin(angle))
        ]
    )
    common, wide = rng.standard_normal((1, samples)), rng.standard_normal((2, samples))
    frames = int(seconds * studio.CONTROL_HZ) + 3
    gust = 1.0 + 0.2 * studio.wander(frames, rng, speed_hz=0.4)
    swell = np.interp(np.arange(samples) * studio.CONTROL_HZ / rate, np.arange(frames), gust)
    bed = studio.band(0.4 * common + wide, rate, 500.0, 6500.0, 1) * swell * 0.035
    roof = studio.band(common + wide, rate, 90.0, 260.0) * swell * 0.06
    return studio.convolve(bus + bed + roof, studio.room(rate, rng, decay_s=0.7, level=0.25))


STEMS: Mapping[str, Maker] = MappingProxyType({"riff": _riff, "voice": _voice, "drums": _drums, "bass": _bass})
REFERENCES: Mapping[str, Maker] = MappingProxyType({"organ": _organ, "choir": _choir, "rain": _rain})


def _level(sound: Signal, rate: int) -> Stereo:
    """Centre the sound, open and close it without a click, bring it to its level and round off the peaks."""
    n = sound.shape[-1]
    ramp = np.minimum(1.0, np.minimum(np.arange(n) / (0.002 * rate), np.arange(n)[::-1] / (0.06 * rate)))
    sound = (sound - sound.mean(axis=-1, keepdims=True)) * ramp
    rms = np.sqrt(np.mean(sound**2, axis=-1, keepdims=True))
    sound = sound * 10.0 ** (LEVEL_DB / 20.0) / np.maximum(rms, 1e-12)
    size, peak = np.abs(sound), 10.0 ** (PEAK_DB / 20.0)
    knee = 0.6 * peak
    rounded = knee + (peak - knee) * np.tanh(np.maximum(size - knee, 0.0) / (peak - knee))
    level: Stereo = (np.sign(sound) * np.minimum(size, rounded)).astype(np.float32)
    return level


def make(name: str, *, seconds: float = 10.0, rate: int = 44100, seed: int = 0) -> Stereo:
    """The stem or reference called ``name``, float32 ``[2, round(seconds · rate)]``; the same bytes for the same seed.

    `EngineError` names the nearest name, or the range: 0.05 to 600 s, 8000 to 192000 Hz.
    """
    makers = {**STEMS, **REFERENCES}
    if name not in makers:
        near = difflib.get_close_matches(name, makers, 1, 0.4)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise EngineError(f"no demo material is called {name!r}{hint} (there are: {', '.join(makers)})")
    if not 0.05 <= seconds <= 600.0:
        raise EngineError(f"the material's length is {seconds} s; expected 0.05 to 600 s")
    if not 8000 <= rate <= 192000:
        raise EngineError(f"the material's rate is {rate} Hz; expected 8000 to 192000 Hz")
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    return _level(makers[name](seconds, rate, rng), rate)
