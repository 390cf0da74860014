"""Sound as an image: levels in dB over time and log frequency. Numbers only; `presets.picture` draws them.

Each row sums the power in a triangular band around a frequency on a log scale, never narrower than one FFT bin, so a
sine keeps its level wherever it lies. Each column is the mean of the frames it covers: a long stem loses no event.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

WINDOW_S = 0.093  # the engine's own window: what it sees is what is drawn
ROWS = 360
COLUMNS = 1000
FLOOR_DB = -200.0
_LOWEST_HZ = 40.0
_MAX_FRAMES = 60_000  # beyond about 20 minutes frames are taken further apart
_BLOCK_FRAMES = 256


@dataclass(frozen=True)
class Image:
    """Levels in dB ``[rows, columns]``, low frequencies first, over ``lowest_hz`` to ``highest_hz`` on a log scale."""

    levels_db: Floats
    lowest_hz: float
    highest_hz: float
    duration_s: float

    @property
    def top_db(self) -> float:
        """The loudest level, rounded up to a whole dB."""
        return math.ceil(float(self.levels_db.max()))


def of_samples(samples: Any, rate: int) -> Image:
    """The image of ``samples``, ``[channels, samples]`` or ``[samples]``, a tensor or an array, at ``rate`` Hz.

    Channels are averaged in power. A full-scale sine is about 0 dB; samples that are not finite count as silence,
    those beyond a million times full scale as that.
    """
    audio = np.atleast_2d(np.asarray(samples, dtype=np.float32))
    return of_spans(lambda start, count: audio[:, start : start + count], audio.shape[-1], rate)


def of_spans(read: Callable[[int, int], Any], length: int, rate: int) -> Image:
    """The image of ``length`` samples that ``read(start, count)`` gives, ``[channels, count]``, span after span.

    The same as `of_samples` makes of all of them, in memory that does not grow with the length.
    """
    size = max(64, 1 << round(math.log2(rate * WINDOW_S)))
    hop = max(size // 4, math.ceil(length / _MAX_FRAMES))
    frames = max(1, math.ceil(length / hop))
    columns = min(frames, COLUMNS)
    window = np.hanning(size).astype(np.float32) * np.float32(4 / size)
    column = np.arange(frames) * columns // frames
    power = np.zeros((columns, size // 2 + 1), np.float32)
    for first in range(0, frames, _BLOCK_FRAMES):
        count = min(_BLOCK_FRAMES, frames - first)
        audio = _span(read, first * hop - size // 2, (count - 1) * hop + size, length)
        view = np.lib.stride_tricks.sliding_window_view(audio, size, axis=-1)[:, ::hop]
        block = np.abs(np.fft.rfft(view * window)) ** 2
        here, firsts = np.unique(column[first : first + count], return_index=True)
        power[here] += np.add.reduceat(block.mean(0), firsts, axis=0)
    power /= np.bincount(column, minlength=columns)[:, None].astype(np.float32)
    return _image(power.T, rate, length / rate)


def _span(read: Callable[[int, int], Any], start: int, count: int, length: int) -> Floats:
    """Samples ``start`` to ``start + count`` ``[channels, count]``, silence outside of the file and for nonsense."""
    low, high = min(max(0, start), length), max(0, min(start + count, length))
    found = np.asarray(read(low, max(0, high - low)), dtype=np.float32)
    found = np.nan_to_num(found, nan=0.0, posinf=0.0, neginf=0.0).clip(-1e6, 1e6)
    before = min(count, max(0, -start))
    return np.pad(found, ((0, 0), (before, count - before - found.shape[-1])))


def of_magnitudes(magnitudes: Any, rate: int) -> Image:
    """The image of linear spectral ``magnitudes`` ``[bins, frames]``, bins from 0 Hz to half of ``rate``.

    Its loudest level is 0 dB; ``duration_s`` counts frames, which need not follow each other in time.
    """
    found = np.abs(np.nan_to_num(np.asarray(magnitudes, dtype=np.float32)))
    # Scaled before it is squared: a square of what float32 holds need not fit it.
    power: Floats = np.square(found / np.float32(max(float(found.max()), 1e-20)))
    return _image(power, rate, power.shape[1])


def _image(power: Floats, rate: int, duration_s: float) -> Image:
    lowest_hz, highest_hz = min(_LOWEST_HZ, rate / 20), rate / 2
    bins = np.linspace(0, highest_hz, len(power))
    centres = np.geomspace(lowest_hz, highest_hz, ROWS)
    widths = np.maximum(highest_hz / max(1, len(power) - 1), np.gradient(centres))
    bands = np.maximum(0, 1 - np.abs(bins - centres[:, None]) / widths[:, None]).astype(np.float32)
    levels_db = 10 * np.log10(np.maximum(bands @ power, np.float32(10 ** (FLOOR_DB / 10))))
    return Image(levels_db.astype(np.float32), lowest_hz, highest_hz, duration_s)
