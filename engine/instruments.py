"""Played by numpy: a string, a voice, a bowed pipe and drums, for the generated demo material.

Strings are the damped modes of a stiff string plucked at a point (Fletcher & Rossing, The Physics of Musical
Instruments, 2.18 and 9.2). Voices are harmonics through a cascade of resonances (Klatt 1980), summed as phasors.
Signals are float64 ``[samples]`` or ``[channels, samples]``; every random choice comes from the generator passed in.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.studio import CONTROL_HZ, Signal, band, convolve, glide, place, wander

# Formants of a sung alto in Hz (the table of the Csound manual, appendix D).
VOWELS = {
    "a": (800.0, 1150.0, 2800.0, 3500.0, 4950.0),
    "e": (400.0, 1600.0, 2700.0, 3300.0, 4950.0),
    "o": (450.0, 800.0, 2830.0, 3500.0, 4950.0),
    "u": (325.0, 700.0, 2530.0, 3500.0, 4950.0),
}


@dataclass(frozen=True)
class Note:
    """One note: from ``start_s`` for ``duration_s`` seconds at MIDI pitch ``pitch``, sung on ``vowel``."""

    start_s: float
    duration_s: float
    pitch: float
    velocity: float = 1.0
    vowel: str = "a"


def hz(pitch: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """Frequency of a MIDI pitch in Hz, A4 = 69 = 440 Hz."""
    return np.asarray(440.0 * 2.0 ** ((np.asarray(pitch) - 69.0) / 12.0))


def ring(freqs_hz: Signal, decays_per_s: Signal, amplitudes: Signal, samples: int, rate: int) -> Signal:
    """Σ a·exp(−d·t)·sin(2πft): factored into coarse and fine time, so that the sum over modes is one matrix product."""
    block = 256
    pole = (-decays_per_s + 2j * np.pi * freqs_hz) / rate
    coarse = amplitudes * np.exp(np.outer(np.arange(-(-samples // block)) * block, pole))
    fine = np.exp(np.outer(pole, np.arange(block)))
    product = coarse.real @ fine.imag + coarse.imag @ fine.real
    return np.asarray(product.reshape(-1)[:samples])


def pluck(
    note: Note, rate: int, rng: np.random.Generator, *, point: float, bright_hz: float, damping: tuple[float, float]
) -> Signal:
    """A plucked stiff string, mono; ``damping`` is the decay per second at 0 Hz and its growth per kHz²."""
    f0 = float(hz(note.pitch))
    k = np.arange(1, 1 + int(min(64, 0.45 * rate / f0)))
    f = k * f0 * np.sqrt(1.0 + 6e-5 * k**2)
    keep = f < 0.45 * rate
    k, f = k[keep], f[keep]
    point = point + rng.uniform(-0.015, 0.015)
    amplitude = np.sin(np.pi * k * point) / k * np.exp(-f / (bright_hz * (0.4 + 0.6 * note.velocity)))
    decay = damping[0] + damping[1] * (f / 1000.0) ** 2
    samples = round((note.duration_s + 0.25) * rate)
    # Two polarisations, one of them coupled less to the bridge, give the two-stage decay of a real string.
    sound = ring(
        np.concatenate([f * 0.9998, f * 1.0003]),
        np.concatenate([decay, 0.3 * decay]),
        np.concatenate([amplitude, 0.25 * amplitude]),
        samples,
        rate,
    )
    pick = band(rng.standard_normal(round(0.02 * rate)), rate, 600.0, 5000.0) * np.hanning(round(0.02 * rate)) * 0.04
    place(sound, pick * note.velocity, 0.0, rate)
    t = np.arange(samples) / rate
    damp = np.exp(-np.maximum(t - note.duration_s, 0.0) / 0.035) * np.minimum(1.0, t / 0.0008)
    return np.asarray(sound * damp * note.velocity * np.minimum(1.0, (samples - np.arange(samples)) / (0.01 * rate)))


def body(modes_hz: Sequence[float], rate: int, rng: np.random.Generator) -> Signal:
    """Stereo impulse response of a wooden body: the direct sound, its modes and a few milliseconds of diffusion."""
    modes = np.array([m for m in modes_hz if m < 0.45 * rate])
    n = round(0.12 * rate)
    response = np.zeros((2, n))
    diffuse = rng.standard_normal((2, n)) * np.exp(-np.arange(n) / (0.0025 * rate))
    for channel in response:
        decay = 25.0 + modes / 9.0
        gain = rng.uniform(1.5, 3.5, len(modes)) * (modes[0] / modes) ** 0.25
        channel += ring(modes, decay, gain * 2.0 * decay / rate, n, rate)
    response[:, 0] += 1.0
    return np.asarray(response + 0.06 * diffuse)


def harmonics(f0_hz: Signal, gains: NDArray[np.complex128], samples: int, rate: int) -> Signal:
    """Σ_k Re(g_k(t)·exp(ikφ(t))), pitch ``[frames]`` and complex gains ``[frames, partials]`` at the control rate."""
    hop = rate / CONTROL_HZ
    at = np.arange(samples) / hop
    phase = np.cumsum(np.interp(at, np.arange(len(f0_hz)), f0_hz)) * (2.0 * np.pi / rate)
    turn = np.exp(1j * (phase % (2.0 * np.pi))).astype(np.complex64)
    left = np.minimum(at.astype(np.int64), len(gains) - 2)
    share = (at - left).astype(np.float32)
    sound = np.zeros(samples, np.float32)
    # Stretches of a few thousand samples stay in the cache, which is twice as fast as whole rows.
    for start in range(0, samples, 8192):
        span = slice(start, min(start + 8192, samples))
        first, last = left[span][0], left[span][-1] + 2
        local, fraction = left[span] - first, share[span]
        phasor, step = turn[span].copy(), turn[span]
        for column in gains[first:last].T.astype(np.complex64):
            if column.any():
                gain = column[local] + fraction * (column[local + 1] - column[local])
                sound[span] += gain.real * phasor.real - gain.imag * phasor.imag
            phasor *= step
    return sound.astype(np.float64)


def resonances(f_hz: Signal, formants_hz: Signal) -> NDArray[np.complex128]:
    """Gain of a vocal tract at ``f_hz [frames, partials]`` for ``formants_hz [frames, 5]`` and the poles above them."""
    gain = np.ones(f_hz.shape, np.complex128)
    above = [np.full(len(formants_hz), f) for f in range(5950, 16000, 1000)]
    for centre in [*formants_hz.T, *above]:
        c = centre[:, None]
        gain *= c**2 / (c**2 - f_hz**2 + 1j * f_hz * (50.0 + 0.035 * c))
    return gain


def contour(notes: Sequence[Note], frames: int, *, glide_s: float) -> tuple[Signal, Signal, Signal]:
    """Pitch, loudness and formants of a line over time at the control rate; rests hold the pitch before them."""
    t = np.arange(frames) / CONTROL_HZ
    pitch = np.full(frames, notes[0].pitch)
    level = np.zeros(frames)
    formants = np.tile(VOWELS[notes[0].vowel], (frames, 1))
    for note in notes:
        pitch[t >= note.start_s - 0.03] = note.pitch
        formants[t >= note.start_s - 0.05] = VOWELS[note.vowel]
        level[(t >= note.start_s) & (t < note.start_s + note.duration_s)] = note.velocity
    return glide(pitch, glide_s), glide(level, 0.05), np.exp(glide(np.log(formants), 0.09))


def sing(
    notes: Sequence[Note],
    samples: int,
    rate: int,
    rng: np.random.Generator,
    *,
    size: float = 1.0,
    detune: float = 0.0,
    vibrato: float = 0.34,
    breath: float = 0.05,
    top_hz: float = 12000.0,
) -> Signal:
    """A voice on vowels, mono: glides, breath and a vibrato that comes late; pitches are in semitones.

    ``size`` scales the formants: below 1 is a larger throat.
    """
    frames = int(samples / rate * CONTROL_HZ) + 3
    pitch, level, formants = contour(notes, frames, glide_s=0.07)
    t = np.arange(frames) / CONTROL_HZ
    since = np.zeros(frames)
    for note in notes:
        since = np.where(t >= note.start_s, t - note.start_s, since)
    swing = np.clip((since - 0.18) / 0.35, 0.0, 1.0) * np.sin(
        2.0 * np.pi * np.cumsum(5.4 + 0.25 * wander(frames, rng, speed_hz=1.0)) / CONTROL_HZ + rng.uniform(0.0, 6.3)
    )
    scoop = -0.35 * np.exp(-since / 0.06)
    pitch = pitch + detune + vibrato * swing + scoop + 0.04 * wander(frames, rng, speed_hz=4.0)
    f0 = hz(pitch)
    partials = np.arange(1, 1 + int(min(top_hz, 0.45 * rate) / f0.min()))
    f = f0[:, None] * partials
    tract = resonances(f, formants * size)
    effort = level * (1.0 + 0.06 * swing + 0.05 * wander(frames, rng, speed_hz=3.0))
    # A louder voice is a brighter one: the source falls by 3 dB an octave when loud, 7 dB when soft.
    gains = tract * partials ** -(1.15 - 0.6 * np.clip(level, 0.0, 1.0))[:, None] * effort[:, None]
    sound = harmonics(f0, np.where(f < min(top_hz, 0.45 * rate), gains, 0.0), samples, rate)
    air = band(rng.standard_normal(samples), rate, 400.0, 9000.0, 1)
    inhale = np.clip(np.gradient(level) * 30.0, 0.0, 1.0)
    air *= np.interp(np.arange(samples) * CONTROL_HZ / rate, np.arange(frames), level + 0.6 * glide(inhale, 0.12))
    bins: Signal = np.linspace(0.0, rate / 2.0, 513)[None]
    throat = np.fft.irfft(resonances(bins, formants.mean(0)[None] * size)[0])
    return np.asarray(sound + breath * convolve(air, throat))


def bow(notes: Sequence[Note], samples: int, rate: int, rng: np.random.Generator) -> Signal:
    """A pipe that is bowed, mono: organ ranks (16', 8', 4', 2⅔') with a bow's swell, pressure and scrape."""
    frames = int(samples / rate * CONTROL_HZ) + 3
    pitch, level, _ = contour(notes, frames, glide_s=0.03)
    level = glide(level, 0.16)
    t = np.arange(frames) / CONTROL_HZ
    tremulant = np.sin(2.0 * np.pi * 5.9 * t + rng.uniform(0.0, 6.3))
    f0 = hz(pitch - 12.0 + 0.05 * tremulant + 0.03 * wander(frames, rng, speed_hz=3.0))
    top = min(9000.0, 0.45 * rate)
    partials = np.arange(1, 1 + int(min(72, top / f0.min())))
    rank = 0.30 + 0.9 * (partials % 2 == 0) + 0.5 * (partials % 4 == 0) + 0.4 * (partials % 6 == 0)
    f = f0[:, None] * partials
    wood = sum(g / (1.0 + ((f - c) / w) ** 2) for c, w, g in ((290, 90, 1.5), (620, 160, 1.2), (1350, 400, 1.6)))
    pressure = 1.05 - 0.18 * level + 0.06 * wander(frames, rng, speed_hz=2.5)
    gains = rank * (0.35 + wood) * partials ** -pressure[:, None] * np.exp(1j * 2.4 * partials**0.5)
    gains = gains * (level * (1.0 + 0.10 * tremulant))[:, None] / (1.0 + (f / 4500.0) ** 4)
    sound = harmonics(f0, np.where(f < top, gains, 0.0), samples, rate)
    at = np.arange(samples) * CONTROL_HZ / rate
    scrape = band(rng.standard_normal(samples), rate, 900.0, 5500.0, 1)
    grain = 0.6 + 0.4 * np.cos(np.cumsum(np.interp(at, np.arange(frames), f0)) * (2.0 * np.pi / rate))
    return np.asarray(sound + 0.035 * scrape * grain * np.interp(at, np.arange(frames), level))


def kick(rate: int, rng: np.random.Generator) -> Signal:
    """A bass drum, mono: a skin that falls from 160 to 49 Hz and a soft beater."""
    t = np.arange(round(0.42 * rate)) / rate
    skin = np.sin(2.0 * np.pi * (49.0 * t + (111.0 / 34.0) * (1.0 - np.exp(-34.0 * t)))) * np.exp(-t / 0.13)
    beater = band(rng.standard_normal(len(t)), rate, 900.0, 6000.0) * np.exp(-t / 0.004) * 0.25
    return np.asarray(
        (np.tanh(1.6 * skin) + beater) * np.minimum(1.0, t / 0.0015) * np.minimum(1.0, (t[-1] - t) / 0.05)
    )


def snare(rate: int, rng: np.random.Generator, *, tight: float = 1.0) -> Signal:
    """A snare drum, mono: four modes of the head and the rattle of the wires; ``tight`` < 1 is a ghost stroke."""
    n = round(0.32 * rate)
    t = np.arange(n) / rate
    modes = np.array([186.0, 284.0, 331.0, 476.0]) * rng.uniform(0.99, 1.01)
    head = ring(modes, np.array([22.0, 34.0, 30.0, 45.0]), np.array([1.0, 0.5, 0.6, 0.3]), n, rate)
    wires = band(rng.standard_normal(n), rate, 1400.0, 9000.0)
    wires = wires * (0.75 * np.exp(-t / (0.055 * tight)) + 0.12 * np.exp(-t / 0.12))
    crack = band(rng.standard_normal(n), rate, 2500.0, 12000.0) * np.exp(-t / 0.003)
    sound = 0.55 * head * tight + wires + 0.7 * tight * crack
    return np.asarray(sound * np.minimum(1.0, t / 0.0006) * np.minimum(1.0, (t[-1] - t) / 0.05))


def hat(rate: int, rng: np.random.Generator, *, open_s: float) -> Signal:
    """A hi-hat, mono: a dense cluster of high modes and hiss, dying in ``open_s`` seconds."""
    n = round((0.05 + 3.5 * open_s) * rate)
    t = np.arange(n) / rate
    modes = rng.uniform(min(5200.0, 0.3 * rate), min(15000.0, 0.45 * rate), 48)
    metal = ring(modes, np.full(48, 1.0 / open_s), rng.uniform(-1.0, 1.0, 48), n, rate) * 0.12
    hiss = band(rng.standard_normal(n), rate, 7000.0, 15000.0) * np.exp(-t / open_s)
    return np.asarray((metal + 0.6 * hiss) * np.minimum(1.0, t / 0.0008) * np.minimum(1.0, (t[-1] - t) / 0.03))
