"""A stem of any length that takes no room: loops of generated music, made anew from the position at every reading."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from engine import material

#: What plays, and after how many seconds each comes round: together they repeat after seventy seconds.
LOOPS = (("riff", 10.0), ("drums", 7.0))


@dataclass(frozen=True)
class Endless:
    """A source of ``samples`` samples at ``rate`` Hz; ``loops`` are ``[channels, n]``, of lengths of their own."""

    loops: tuple[Tensor, ...]
    samples: int
    rate: int

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self.loops[0].shape[0]

    def read(self, start: int, count: int) -> Tensor:
        """Samples ``start`` to ``start + count``, the same bits however a reading is cut."""
        end = max(start, min(start + count, self.samples))
        # By slices, not by an index for every sample: a GPU renders faster than that.
        sound = torch.zeros(self.channels, end - start)
        for loop in self.loops:
            period, at = loop.shape[1], start
            while at < end:
                phase = at % period
                run = min(period - phase, end - at)
                sound[:, at - start : at - start + run] += loop[:, phase : phase + run]
                at += run
        return sound

    def of(self, seconds: float) -> "Endless":
        """The same stem, ``seconds`` long."""
        return Endless(self.loops, round(seconds * self.rate), self.rate)

    def parcel(self) -> dict[str, Any]:
        """All of it, to be sent to another process."""
        return {"loops": list(self.loops), "samples": self.samples, "rate": self.rate}


def unpacked(parcel: Mapping[str, Any]) -> Endless:
    """The source that was sent."""
    return Endless(tuple(parcel["loops"]), parcel["samples"], parcel["rate"])


def endless(seconds: float, rate: int, channels: int, *, loop_share: float = 1.0) -> Endless:
    """``seconds`` of music at ``rate``; every channel is another.

    Loops of ``loop_share`` of their usual lengths are made faster.
    """
    loops = []
    for name, loop_s in LOOPS:
        stereo = torch.from_numpy(material.make(name, seconds=loop_s * loop_share, rate=rate))
        loops.append(torch.stack([(1 - 0.1 * c) / len(LOOPS) * stereo[c % 2] for c in range(channels)]))
    return Endless(tuple(loops), round(seconds * rate), rate)


def style(rate: int, seconds: float = 10.0) -> Tensor:
    """The reference that it is played through, ``[2, samples]``."""
    return torch.from_numpy(material.make("organ", seconds=seconds, rate=rate))
