"""What one evaluation of each quality has to compute and to move at least, and how near this machine comes to it.

Counted is what no implementation of the closed form can leave out: for every resolution the transform of the waveform
and its transpose, the products of patches forward (S·[S; A]ᵀ) and backward (E·[S; A]), each array that has to wait for
a later stage written once and read once by every stage that needs it; and the search's own passes over its history.
Arithmetic and memory are added, since on one device they take turns.  The terms that keep pitch, rhythm and level are
counted as one more read of each magnitude and one more pass over its gradient.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from engine.bench.machine import Ceilings
from engine.fold import fold
from engine.methods.kernel import HISTORY, RESOLUTIONS
from engine.spectra import Resolution
from engine.target import Target

REAL, COMPLEX = 4, 8  # bytes of a number


@dataclass(frozen=True)
class Floor:
    """What one evaluation must do: float operations in matrix products and in transforms, and bytes moved."""

    products: float
    transforms: float
    bytes: float

    def compute_s(self, ceilings: Ceilings) -> float:
        """Seconds of arithmetic at the pace of one big matrix product."""
        return (self.products + self.transforms) / ceilings.flops

    def memory_s(self, ceilings: Ceilings) -> float:
        """Seconds of traffic at the pace of one big copy."""
        return self.bytes / ceilings.bytes_s

    def seconds(self, ceilings: Ceilings) -> float:
        """Both, one after the other."""
        return self.compute_s(ceilings) + self.memory_s(ceilings)


@dataclass(frozen=True)
class Bound:
    """The floor of a quality's evaluation beside what one took."""

    quality: str
    floor: Floor
    compute_s: float
    memory_s: float
    measured_s: float | None

    @property
    def floor_s(self) -> float:
        """Arithmetic and memory, one after the other."""
        return self.compute_s + self.memory_s

    @property
    def gap(self) -> float | None:
        """How many times the floor an evaluation takes."""
        return None if self.measured_s is None else self.measured_s / self.floor_s

    @property
    def by(self) -> str:
        """What most of the floor is made of."""
        return "arithmetic" if self.compute_s > self.memory_s else "memory"


def floor(quality: str, target: Target, samples: int, channels: int) -> Floor:
    """The floor of one evaluation for ``samples`` samples of ``channels`` channels at the target's rate."""
    chosen = RESOLUTIONS[:1] if quality == "draft" else RESOLUTIONS
    products = transforms = 0.0
    wave = channels * samples * REAL
    # Two vectors a step in the history, each read for its products and for its share of the step, and the step itself.
    moved = (2 * 2 * HISTORY + 10) * wave
    for n_fft, overlap, _ in chosen:
        res = Resolution.at(target.rate, n_fft, overlap)
        frames, kept = res.frames(samples), target.tensors[f"magnitude.{n_fft}"].shape[1]
        rows = fold(torch.zeros(res.bins, 1), res).shape[0]
        products += 2 * 2 * frames * (frames + kept) * rows
        transforms += 2 * _fft(res.n_fft) * frames * channels
        spectrum, picture = COMPLEX * channels * frames * res.bins, REAL * frames * res.bins
        patches, sources = REAL * frames * (frames + kept), REAL * (frames + kept) * rows
        moved += 2 * wave + 2 * spectrum + (1 + 3) * picture + 2 * sources + 2 * 2 * patches
        if quality != "draft":
            moved += 3 * picture
    half = Resolution.at(target.rate, RESOLUTIONS[0][0], 2)
    transforms += 2 * _fft(half.n_fft) * half.frames(samples) * channels
    moved += 2 * wave
    return Floor(products, transforms, moved)


def bounds(floors: Mapping[str, Floor], measured_s: Mapping[str, float | None], ceilings: Ceilings) -> list[Bound]:
    """Each quality's floor at ``ceilings`` beside the seconds an evaluation was measured to take."""
    return [
        Bound(quality, found, found.compute_s(ceilings), found.memory_s(ceilings), measured_s.get(quality))
        for quality, found in floors.items()
    ]


def _fft(size: int) -> float:
    """Operations of a real transform of ``size`` samples."""
    return 2.5 * size * math.log2(size)
