"""What has to be known of a whole stem before its first segment is restyled, read in blocks and in constant memory."""

from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from engine import level
from engine.spectra import Resolution, linked_magnitude

BLOCK_S = 10.0


class Source(Protocol):
    """A stem that can be read anywhere: float32, finite, ``channels`` by ``samples`` at ``rate`` Hz."""

    @property
    def channels(self) -> int:
        """Number of channels."""
        ...

    @property
    def samples(self) -> int:
        """Length in samples."""
        ...

    @property
    def rate(self) -> int:
        """Samples per second."""
        ...

    def read(self, start: int, count: int) -> Tensor:
        """Samples ``start`` to ``start + count``, ``[channels, count]``."""
        ...


@dataclass(frozen=True)
class InMemory:
    """A stem that is a tensor ``[channels, samples]``."""

    sound: Tensor
    rate: int

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self.sound.shape[0]

    @property
    def samples(self) -> int:
        """Length in samples."""
        return self.sound.shape[1]

    def read(self, start: int, count: int) -> Tensor:
        """Samples ``start`` to ``start + count``."""
        return self.sound[:, start : start + count]


@dataclass(frozen=True)
class Survey:
    """What was found: ``twins``, all channels are the same; ``silent``, only zeros; ``loud``, RMS of what sounds.

    At and below ``floor_db`` the stem is quiet; ``power`` is the mean power of each bin ``[bins]`` at
    `engine.level.RESOLUTION`.
    """

    twins: bool
    silent: bool
    loud: float
    floor_db: float
    power: Tensor


def survey(source: Source) -> Survey:
    """Read all of ``source`` once."""
    rate = source.rate
    res = Resolution.at(rate, level.RESOLUTION)
    res = replace(res, hop=res.n_fft)  # a mean needs no overlap
    hop = level.hush_hop(rate)
    step = round(BLOCK_S / level.BLOCK_S) * level.block_samples(rate)
    twins = silent = True
    power, frames = torch.zeros(res.bins), 0
    levels = level.Histogram()
    size = level.block_samples(rate)
    powers, filled = torch.zeros(-(-source.samples // size)), 0  # at once: small pieces would fragment the heap
    for start in range(0, source.samples, step):
        x = source.read(start, min(step, source.samples - start))
        twins = twins and bool((x == x[:1]).all())
        silent = silent and not bool(x.any())
        levels.add(level.levels(x, hop))
        block = level.block_powers(x, rate)
        powers[filled : filled + block.shape[0]] = block
        filled += block.shape[0]
        magnitude = linked_magnitude(x[None], res)[0]
        power += magnitude.square().sum(1)
        frames += magnitude.shape[1]
    loud = level.active_level(powers)
    return Survey(twins, silent, loud, level.quiet_floor(loud, levels), power / max(frames, 1))
