"""A set of sounds as pictures, and crops of them at random."""

from collections.abc import Sequence

import torch
from torch import Tensor

from engine import level
from engine.errors import AudioError
from engine.travelgan.view import N_FFT, RATE_HZ, decibels, resolution, seen


def picture(sound: Tensor) -> Tensor | None:
    """The picture ``[bands, frames]`` of ``[channels, samples]`` at 22 050 Hz, at the analysis level; None of silence.

    Frames that reach beyond an end see silence that was not there and are left out.
    """
    loud = level.active_rms(sound, RATE_HZ)
    if loud <= level.GATE_RMS:
        return None
    edge = N_FFT // 2 // resolution(RATE_HZ).hop
    whole = seen(decibels(sound[None] * (level.ANALYSIS_RMS / loud), RATE_HZ))[0]
    return whole[:, edge : whole.shape[1] - edge]


def seconds(frames: int) -> float:
    """How long ``frames`` frames are."""
    return frames * resolution(RATE_HZ).hop / RATE_HZ


class Clips:
    """Pictures that crops of ``frames`` frames are drawn from, every place in them as likely as any other.

    Those shorter than a crop are joined end to end, in order, into one.  `AudioError` when there is no crop in them.
    """

    def __init__(self, pictures: Sequence[Tensor], frames: int) -> None:
        short = [each for each in pictures if each.shape[1] < frames]
        long = [each for each in pictures if each.shape[1] >= frames]
        if sum(each.shape[1] for each in short) >= frames:
            long.append(torch.cat(short, 1))
        if not long:
            found = seconds(sum(each.shape[1] for each in pictures))
            raise AudioError(f"{found:.1f} s of sound; a crop takes {seconds(frames):.1f} s")
        self.frames = frames
        self.pictures = torch.cat(long, 1)
        lengths = torch.tensor([each.shape[1] for each in long])
        self._places = lengths - frames + 1
        self._firsts = lengths.cumsum(0) - lengths

    @property
    def seconds(self) -> float:
        """How much sound there is to draw from."""
        return seconds(self.pictures.shape[1])

    def to(self, device: torch.device) -> "Clips":
        """The same with its pictures on ``device``."""
        self.pictures = self.pictures.to(device)
        return self

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """``count`` crops ``[count, 1, bands, frames]``."""
        ends = self._places.cumsum(0)
        place = torch.randint(int(ends[-1]), (count,), generator=generator)
        clip = torch.searchsorted(ends, place, right=True)
        start = self._firsts[clip] + place - (ends - self._places)[clip]
        at = (start[:, None] + torch.arange(self.frames)).to(self.pictures.device)
        return self.pictures[:, at].movedim(0, 1)[:, None]
