"""How loud a sound is and how high it peaks between its samples, heard block by block.

Loudness is the gated programme loudness of ITU-R BS.1770-5 (2023) in LUFS: K-weighting by pyloudnorm's filters, those
that give the standard's own coefficients at 48 kHz, and the two gates of its annex 1 over the energies of blocks of
400 ms, four for each 400 ms. True peak is that of annex 2 in dBTP: the largest magnitude after oversampling, fourfold
below 96 kHz, by soxr. Differs from the standard because a sound shorter than one block is measured as one block of its
own length, where the standard knows no loudness.
"""

import math
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyloudnorm
import soxr
from scipy import signal
from torch import Tensor

from engine import audio
from render.errors import RenderError
from render.spool import Spool

if TYPE_CHECKING:
    from numpy.typing import NDArray

# What EBU R 128 (2023) allows at most, where a loudness is asked for and no ceiling is.
CEILING_DBTP = -1.0
# Below this the filters of the K-weighting have no meaning: the shelf lies at 1.7 kHz.
MIN_RATE = 4_000
_ABSOLUTE_GATE_LUFS = -70.0
_RELATIVE_GATE_LU = -10.0
_HOPS = 4
_OFFSET_DB = -0.691
_BLOCK = 65_536
# Weights by channel, in the order of a WAV's speakers: what comes from the side counts 1.5 dB more, the LFE nothing.
_WEIGHTS: dict[int, tuple[float, ...]] = {
    4: (1.0, 1.0, 1.41, 1.41),
    5: (1.0, 1.0, 1.0, 1.41, 1.41),
    6: (1.0, 1.0, 1.0, 0.0, 1.41, 1.41),
    8: (1.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.41, 1.41),
}


@dataclass(frozen=True)
class Measure:
    """``lufs`` of programme loudness and ``dbtp`` of true peak; None where all is silence, or below the gate."""

    lufs: float | None
    dbtp: float | None


class Meter:
    """Hears a sound of ``channels`` at ``rate`` Hz in blocks; the memory it takes grows by 80 bytes a second.

    Raises `RenderError` for a rate below `MIN_RATE`.
    """

    def __init__(self, rate: int, channels: int) -> None:
        if rate < MIN_RATE:
            raise RenderError(f"loudness cannot be measured at {rate} Hz; expected at least {MIN_RATE} Hz")
        self._rate = rate
        self._weights = np.asarray(_WEIGHTS.get(channels, (1.0,) * channels))
        shelf = pyloudnorm.IIRfilter(3.99984385397, 0.7071752369554193, 1681.9744509555319, rate, "high_shelf_DeMan")
        rumble = pyloudnorm.IIRfilter(0.0, 0.5003270373253953, 38.13547087613982, rate, "high_pass_DeMan")
        self._filters = [(each.b * each.passband_gain, each.a) for each in (shelf, rumble)]
        self._states = [np.zeros((channels, max(len(b), len(a)) - 1)) for b, a in self._filters]
        # Energies of whole hops of 100 ms, and of the one that is not over yet.
        self._energies = array("d")
        self._open, self._heard = 0.0, 0
        self._peak = 0.0
        factor = 4 if rate < 96_000 else 2 if rate < 192_000 else 1
        self._finer = soxr.ResampleStream(rate, rate * factor, channels, "float32", "HQ") if factor > 1 else None

    def add(self, block: Tensor) -> None:
        """Hear ``block`` ``[channels, n]``, which follows what was heard."""
        rows = block.detach().cpu().numpy()
        if not rows.shape[1]:
            return
        self._weigh(rows)
        self._peak = max(self._peak, float(np.abs(rows).max()))
        if self._finer is not None:
            self._look(self._finer.resample_chunk(np.ascontiguousarray(rows.T, dtype=np.float32)))

    def close(self) -> "Measure":
        """What was heard, when that was all of it."""
        if self._finer is not None:
            self._look(self._finer.resample_chunk(np.zeros((0, len(self._weights)), np.float32), last=True))
            self._finer = None
        return Measure(self.lufs(), 20 * math.log10(self._peak) if self._peak > 0 else None)

    def lufs(self, gain_db: float = 0.0) -> float | None:
        """The loudness of what was heard, turned up by ``gain_db``: the absolute gate lets more of it through then."""
        energies = self._blocks() * 10 ** (gain_db / 10)
        with np.errstate(divide="ignore"):
            levels = _OFFSET_DB + 10 * np.log10(energies)
        loud = energies[levels > _ABSOLUTE_GATE_LUFS]
        if not len(loud):
            return None
        gate = _OFFSET_DB + 10 * math.log10(float(loud.mean())) + _RELATIVE_GATE_LU
        loud = energies[(levels > _ABSOLUTE_GATE_LUFS) & (levels > gate)]
        return _OFFSET_DB + 10 * math.log10(float(loud.mean()))

    def _weigh(self, rows: "NDArray[Any]") -> None:
        weighted = rows.astype(np.float64)
        for stage, (b, a) in enumerate(self._filters):
            weighted, self._states[stage] = signal.lfilter(b, a, weighted, axis=1, zi=self._states[stage])
        power = self._weights @ np.square(weighted)
        at = 0
        while at < len(power):
            # Hop k ends at sample k·rate/10, rounded down, so that hops of an odd rate do not drift.
            end = (len(self._energies) + 1) * self._rate // 10
            part = power[at : at + end - self._heard]
            self._open += float(part.sum())
            self._heard += len(part)
            at += len(part)
            if self._heard == end:
                self._energies.append(self._open)
                self._open = 0.0

    def _blocks(self) -> "NDArray[Any]":
        """The mean power of each whole block of 400 ms; of all there is when there is less."""
        if len(self._energies) < _HOPS:
            return np.asarray([(sum(self._energies) + self._open) / max(self._heard, 1)])
        sums = np.convolve(self._energies, np.ones(_HOPS), "valid")
        power: NDArray[np.float64] = np.maximum(sums, 0.0) / (_HOPS * self._rate / 10)
        return power

    def _look(self, rows: "NDArray[Any]") -> None:
        if rows.size:
            self._peak = max(self._peak, float(np.abs(rows).max()))


def measure(path: Path) -> Measure:
    """How loud the sound file at ``path`` is; `AudioError` when it cannot be read, `RenderError` below `MIN_RATE`."""
    info = audio.probe(path)
    meter = Meter(info.rate, info.channels)
    for block in audio.read_blocks(path, _BLOCK):
        meter.add(block)
    return meter.close()


class Levelling:
    """One gain for a whole sound, found in a first pass and played in a second; what it was and did is told after.

    ``loudness_lufs`` is met as far as ``ceiling_dbtp`` lets it (`CEILING_DBTP` where there is none); a ceiling alone
    only turns down. ``full_scale`` is the largest magnitude the output can hold. `RenderError` below `MIN_RATE`.
    """

    def __init__(
        self,
        rate: int,
        channels: int,
        *,
        loudness_lufs: float | None = None,
        ceiling_dbtp: float | None = None,
        full_scale: float = 1.0,
    ) -> None:
        self._before, self._after = Meter(rate, channels), Meter(rate, channels)
        self._loudness_lufs = loudness_lufs
        ceiling_dbtp = CEILING_DBTP if ceiling_dbtp is None else ceiling_dbtp
        self._ceiling_dbtp = min(ceiling_dbtp, 20 * math.log10(full_scale))
        self.gain_db = 0.0
        self.before = self.after = Measure(None, None)

    def play(self, blocks: Iterable[Tensor], spool: Spool) -> Iterator[Tensor]:
        """``blocks`` ``[channels, n]`` at their new level, once all have gone into ``spool``; bit for bit at 0 dB."""
        for block in blocks:
            self._before.add(block)
            spool.append(block)
        self.before = self._before.close()
        self.gain_db = gain_for(
            self._before, self.before.dbtp, loudness_lufs=self._loudness_lufs, ceiling_dbtp=self._ceiling_dbtp
        )
        gain = 10 ** (self.gain_db / 20)
        for block in spool.blocks():
            levelled = block * gain if self.gain_db else block
            self._after.add(levelled)
            yield levelled
        self.after = self._after.close()


def gain_for(meter: Meter, dbtp: float | None, *, loudness_lufs: float | None, ceiling_dbtp: float | None) -> float:
    """The gain in dB that brings what ``meter`` heard to ``loudness_lufs``, as far as ``ceiling_dbtp`` lets it.

    Without a loudness it only turns down what peaks (``dbtp``) above the ceiling. It is a whole number of thousandths,
    rounded down, and 0 for silence. One gain for the whole sound: no dynamics are touched, and no sample is clipped.
    """
    gain_db = 0.0
    if loudness_lufs is not None:
        # The absolute gate makes loudness not quite linear in the gain; each step corrects what the last one let in.
        for _ in range(8):
            now = meter.lufs(gain_db)
            if now is None or abs(loudness_lufs - now) < 1e-4:
                break
            gain_db += loudness_lufs - now
    if ceiling_dbtp is not None and dbtp is not None:
        gain_db = min(gain_db, ceiling_dbtp - dbtp)
    return math.floor(gain_db * 1000 + 1e-6) / 1000
