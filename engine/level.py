"""Levels around the solver: one loudness going in, the stem's own coming out, and silence left alone."""

import math

import torch
from torch import Tensor

from engine.spectra import Resolution, mel_filters

ANALYSIS_RMS = 0.1
GATE_DBFS = -80.0
GATE_RMS = 10 ** (GATE_DBFS / 20)
RESOLUTION = 2048  # n_fft at 22 050 Hz of the spectra levels are taken from
BANDS = 40
BLOCK_S = 0.05
HUSH_S = 0.012
SILENCE_S = 0.02


def rms(x: Tensor) -> Tensor:
    """Root mean square over channels and samples of ``[..., channels, samples]``, shape ``[...]``."""
    return x.square().mean((-2, -1)).sqrt()


def block_samples(rate: int) -> int:
    """Samples in a block of 50 ms."""
    return max(1, round(BLOCK_S * rate))


def block_powers(x: Tensor, rate: int) -> Tensor:
    """Mean power of each 50 ms of ``[channels, samples]``; a last block that is shorter counts by what it holds."""
    size = block_samples(rate)
    power = torch.nn.functional.pad(x.square().mean(0), (0, -x.shape[-1] % size)).view(-1, size).mean(1)
    power[-1] *= size / (x.shape[-1] - (power.shape[0] - 1) * size)
    return power


def active_level(powers: Tensor) -> float:
    """RMS over the blocks that are above the gate and within 40 dB of the loudest; 0 if there is none."""
    loud = powers > max(1e-4 * float(powers.max()), GATE_RMS**2)
    return float(powers[loud].mean().sqrt()) if bool(loud.any()) else 0.0


def active_rms(x: Tensor, rate: int) -> float:
    """`active_level` of ``[channels, samples]``."""
    return active_level(block_powers(x, rate))


class PreEmphasis:
    """Half of the spectral tilt that stem and style share, taken off before analysis and put back after.

    Losses on log1p magnitude listen to loud bands; flattening half way (in dB, 40 mel bands, down to 50 dB below the
    loudest) lets the treble count without letting noise rule.  Zero phase, so nothing moves in time.
    """

    def __init__(self, stem_power: Tensor, style_power: Tensor, res: Resolution, rate: int) -> None:
        """``*_power`` is the mean power of each bin ``[bins]`` of the stem and the style at the same level."""
        self.rate = rate
        filters = mel_filters(res, rate, BANDS).to(stem_power)
        band = 10 * (filters @ (stem_power + style_power) / 2 + 1e-20).log10()
        db = (band.clamp_min(float(band.max()) - 50) / 2).double().cpu()
        self.db = db - db.mean()
        frequencies = res.frequencies(rate).double()
        self.centres = (filters.cpu().double() @ frequencies).clamp_min(1e-3)

    def gains(self, frequencies: Tensor) -> Tensor:
        """Linear gain of the emphasis at ``frequencies`` in Hz (below 1 in bands the pair is loud in)."""
        exact = frequencies.cpu().double().contiguous()  # some devices have no double of their own
        at = torch.searchsorted(self.centres, exact).clamp(1, BANDS - 1)
        low, high = self.centres[at - 1], self.centres[at]
        weight = ((exact - low) / (high - low)).clamp(0, 1)
        db = self.db[at - 1] * (1 - weight) + self.db[at] * weight
        return torch.pow(10.0, -db / 20).to(frequencies)

    def filter(self, x: Tensor, *, undo: bool = False) -> Tensor:
        """Filter ``[..., samples]`` by the emphasis, or by its inverse."""
        n = x.shape[-1]
        size = Resolution.at(self.rate, 8192).n_fft + n
        size += -size % 64
        spectrum = torch.fft.rfft(x, size)
        gain = self.gains(torch.arange(spectrum.shape[-1], device=x.device) * (self.rate / size))
        gain = 1 / gain if undo else gain
        filtered: Tensor = torch.fft.irfft(spectrum * gain.to(x), size)[..., :n]
        return filtered


def silence(x: Tensor, rate: int) -> Tensor:
    """How much of each sample of ``[channels, samples]`` is silence, ``[samples]``: 1 in runs of zeros of 20 ms or more
    (or all of it), falling to 0 over the millisecond around them.
    """
    zero = torch.nn.functional.pad((x == 0).all(0).to(torch.int8), (1, 1))
    edges = zero.diff()
    starts, ends = (edges == 1).nonzero()[:, 0], (edges == -1).nonzero()[:, 0]
    whole = (starts == 0) & (ends == x.shape[-1])
    keep = (ends - starts >= max(1, round(SILENCE_S * rate))) | whole
    if not bool(keep.any()):
        return torch.zeros(x.shape[-1], device=x.device)
    marks = torch.zeros(x.shape[-1] + 1, dtype=torch.int32)
    marks[starts[keep].cpu()] += 1
    marks[ends[keep].cpu()] -= 1
    silent = marks[:-1].cumsum(0).bool()
    width = _silence_fade(rate)
    padded = torch.nn.functional.pad(silent.float()[None, None], (width, width))
    near = torch.nn.functional.avg_pool1d(padded, 2 * width + 1, 1)[0, 0]
    return torch.where(silent, torch.ones_like(near), (2 * near).clamp(0, 0.999))


def _silence_fade(rate: int) -> int:
    """Samples over which `silence` falls to 0: a millisecond."""
    return max(1, rate // 1000)


def silence_reach(rate: int) -> int:
    """Samples to either side that decide what `silence` says of one: the fade, and the shortest run beyond it."""
    return max(1, round(SILENCE_S * rate)) + _silence_fade(rate)


def keep_silence(styled: Tensor, stem: Tensor, silent: Tensor) -> Tensor:
    """``styled`` with the `silence` of ``stem`` given back exactly, both ``[channels, samples]``."""
    return torch.where(silent == 1, stem, styled + silent * (stem - styled))


def hush_hop(rate: int) -> int:
    """Samples between the levels `hush` compares."""
    return max(1, round(HUSH_S * rate / 4))


def levels(x: Tensor, hop: int) -> Tensor:
    """Level in dB (floor −120) of ``[channels, samples]`` around every multiple of ``hop``, over four hops."""
    power = torch.nn.functional.pad(x.square().mean(0), (2 * hop, 2 * hop + -x.shape[-1] % hop))
    blocks = power.view(-1, hop).mean(1)
    around = torch.nn.functional.avg_pool1d(blocks[None], 4, 1)[0]
    return 10 * (around + 1e-12).log10()


class Histogram:
    """How often each level from −120 to 80 dB occurs, to a tenth of a decibel: a quantile in constant memory."""

    LOW, HIGH, STEPS = -120.0, 80.0, 2000

    def __init__(self) -> None:
        self.counts = torch.zeros(self.STEPS)

    def add(self, db: Tensor) -> None:
        """Count the levels ``db`` of any shape."""
        self.counts += torch.histc(db.flatten(), self.STEPS, self.LOW, self.HIGH)

    def quantile(self, share: float) -> float:
        """The level that ``share`` of what was counted stays below."""
        reached = self.counts.cumsum(0) > share * float(self.counts.sum())
        step = int(reached.float().argmax()) if bool(reached.any()) else self.STEPS
        return self.LOW + step * (self.HIGH - self.LOW) / self.STEPS


def quiet_floor(active: float, counted: Histogram) -> float:
    """The level in dB at which a stem of ``active`` RMS is quiet: 18 dB down, or its quietest eighth if higher."""
    return max(20 * math.log10(max(active, 1e-6)) - 18, counted.quantile(1 / 8))


def hush(styled: Tensor, stem: Tensor, rate: int, floor_db: float) -> Tensor:
    """Turn ``styled`` down where it is louder than a quiet ``stem``: gaps and tails keep the stem's noise floor.

    Levels over 12 ms of ``[channels, samples]`` are compared.  At ``floor_db`` (see `quiet_floor`) the reduction goes
    to half a decibel above the stem; over the 4 dB above it fades out, so loud passages and sustained notes keep the
    style's envelope.
    """
    hop = hush_hop(rate)
    before, after = levels(stem, hop), levels(match(styled, stem), hop)
    quiet = ((floor_db + 4 - before) / 4).clamp(0, 1)
    gain = quiet * (before + 0.5 - after).clamp(-60, 0)
    return styled * torch.pow(10.0, _interpolate(gain, hop, stem.shape[-1]) / 20)


def _interpolate(values: Tensor, hop: int, samples: int) -> Tensor:
    """Straight lines through ``values``, one every ``hop`` samples: ``[samples]``."""
    rise = torch.arange(hop, dtype=values.dtype, device=values.device) / hop
    lines = values[:-1, None] + (values[1:] - values[:-1])[:, None] * rise
    return lines.flatten()[:samples]


def match(styled: Tensor, stem: Tensor) -> Tensor:
    """``styled`` at the RMS of ``stem``, each of ``[channels, samples]`` by itself, so that the balance stays too.

    A channel moves by at most 6 dB against the others.
    """
    whole = rms(stem) / rms(styled).clamp_min(1e-9)
    each = stem.square().mean(-1, keepdim=True).sqrt() / styled.square().mean(-1, keepdim=True).sqrt().clamp_min(1e-9)
    return styled * torch.clamp(each, min=whole / 2, max=whole * 2) if bool(whole > 0) else styled
