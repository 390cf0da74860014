"""The room the demo material is recorded in: filters, a stereo field, reverberation, slow movement and a tape machine.

Signals are float64 ``[samples]`` or ``[channels, samples]``; slow curves run at `CONTROL_HZ`.
Every random choice comes from the generator passed in.
"""

import numpy as np
from numpy.typing import NDArray

Signal = NDArray[np.float64]
CONTROL_HZ = 200.0


def convolve(signal: Signal, response: Signal) -> Signal:
    """Filter ``signal`` by an impulse response along the last axis, cut to the length of ``signal``; axes broadcast."""
    n = signal.shape[-1]
    size = 1 << (n + response.shape[-1] - 2).bit_length()
    spectrum = np.fft.rfft(signal, size) * np.fft.rfft(response, size)
    return np.asarray(np.fft.irfft(spectrum, size)[..., :n])


def band(signal: Signal, rate: int, low_hz: float, high_hz: float, order: int = 2) -> Signal:
    """Zero-phase band pass with Butterworth magnitudes; 0 or infinity leaves that side open."""
    f = np.fft.rfftfreq(signal.shape[-1], 1.0 / rate)
    gain = np.ones_like(f)
    if low_hz > 0.0:
        gain *= 1.0 - 1.0 / (1.0 + (f / low_hz) ** (2 * order))
    if np.isfinite(high_hz):
        gain /= 1.0 + (f / high_hz) ** (2 * order)
    return np.asarray(np.fft.irfft(np.fft.rfft(signal) * gain, signal.shape[-1]))


def place(bus: Signal, sound: Signal, at_s: float, rate: int) -> None:
    """Add ``sound`` to ``bus`` from ``at_s`` seconds on, losing what falls past the end."""
    start = max(0, round(at_s * rate))
    stop = min(bus.shape[-1], start + sound.shape[-1])
    if stop > start:
        bus[..., start:stop] += sound[..., : stop - start]


def pan(sound: Signal, position: float) -> Signal:
    """A mono sound in the stereo field: −1 left, 0 centre, 1 right, at constant power."""
    angle = (position + 1.0) * np.pi / 4.0
    return np.stack([np.cos(angle) * sound, np.sin(angle) * sound])


def room(rate: int, rng: np.random.Generator, *, decay_s: float, level: float) -> Signal:
    """Stereo impulse response of a room: 12 ms of delay, then noise whose treble dies first (60 dB in ``decay_s``)."""
    n = round(decay_s * rate)
    t = np.arange(n) / rate
    noise = rng.standard_normal((2, n))
    edges = (120.0, 500.0, 2000.0, 6000.0, 14000.0)
    tail = np.zeros((2, n))
    for low, high, share in zip(edges, edges[1:], (1.0, 0.85, 0.6, 0.35), strict=False):
        tail += band(noise, rate, low, high) * np.exp(-6.9 * t / (decay_s * share)) * share
    tail *= np.minimum(1.0, t / 0.015) * np.minimum(1.0, (t[-1] - t) / 0.05)
    tail *= level / np.sqrt(np.sum(tail**2, axis=-1, keepdims=True))
    response = np.pad(tail, ((0, 0), (round(0.012 * rate), 0)))
    response[:, 0] += 1.0
    return np.asarray(response)


def wander(frames: int, rng: np.random.Generator, *, speed_hz: float) -> Signal:
    """A smooth random walk around zero at the control rate, deviation 1, moving about ``speed_hz`` times a second."""
    width = CONTROL_HZ / speed_hz
    reach = np.arange(-round(2 * width), round(2 * width) + 1)
    kernel = np.exp(-0.5 * (reach / (0.5 * width)) ** 2)
    return np.convolve(rng.standard_normal(frames + 2 * len(reach)), kernel / np.linalg.norm(kernel), "same")[
        len(reach) : len(reach) + frames
    ]


def glide(steps: Signal, seconds: float) -> Signal:
    """Turn control-rate steps into legato: a Gaussian of that width along the first axis, edges held."""
    width = seconds * CONTROL_HZ / 2.0
    reach = max(1, round(3 * width))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
    kernel /= kernel.sum()
    held = np.pad(steps, [(reach, reach)] + [(0, 0)] * (steps.ndim - 1), "edge")
    return np.asarray(np.apply_along_axis(np.convolve, 0, held, kernel, "valid"))


def tape(sound: Signal, rate: int, rng: np.random.Generator, *, drive: float) -> Signal:
    """Through a worn tape machine: saturation, head bump, dull treble, wow, flutter and hiss; peak near 1 expected."""
    n = sound.shape[-1]
    frames = int(n / rate * CONTROL_HZ) + 3
    t = np.arange(frames) / CONTROL_HZ
    # Displacements in seconds: 0.7 Hz wow of ± 0.22 % in speed, 7.3 Hz flutter of ± 0.08 %, and its irregular part.
    shift = 0.0005 * np.sin(2.0 * np.pi * 0.7 * t) + 1.75e-5 * np.sin(2.0 * np.pi * 7.3 * t)
    shift = shift + 2.0e-5 * wander(frames, rng, speed_hz=9.0)
    at = np.arange(n) + np.interp(np.arange(n) * CONTROL_HZ / rate, np.arange(frames), shift) * rate
    base = np.floor(np.clip(at, 1.0, n - 3.0)).astype(np.int64)
    x = np.clip(at, 1.0, n - 3.0) - base
    before, left, right, after = (sound[..., base + offset] for offset in (-1, 0, 1, 2))
    moved = left + 0.5 * x * (
        right - before + x * (2 * before - 5 * left + 4 * right - after + x * (3 * (left - right) + after - before))
    )
    magnetised = np.tanh(drive * moved) / drive
    dull = band(magnetised, rate, 35.0, 9500.0, 1) + 0.35 * band(magnetised, rate, 55.0, 120.0)
    return np.asarray(dull + 0.006 * band(rng.standard_normal(sound.shape), rate, 1500.0, 11000.0, 1))
