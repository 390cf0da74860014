"""Sound files become tensors here, tensors become sound files, and nowhere else.

Audio is float32 ``[channels, samples]`` with full scale ±1: an integer sample k of b bits is k / 2^(b - 1), exactly, up
to 24 bits. What does not fit float32 (32-bit integers, doubles) is read as float64 with ``exact=True``, and
`keep_bits` gives the samples that nothing touched their own bits back before they are written.

Inputs are not trusted: the container is told from the file's bytes, its header is held against the file's length
before anything is allocated, and every sample must be a finite number. Encoding and decoding are libsndfile's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from engine.annotations import Annotations
from engine.bext import Broadcast
from engine.cues import Cue
from engine.decoding import BEYOND_FLOAT32, Info, StrPath, decoded, naming, opened, read_annotations
from engine.encoding import Writer, write
from engine.errors import AudioError
from engine.formats import Format, output_format
from engine.quantise import keep_bits, overs, quantise
from engine.resample import resample, resampled_length
from engine.stem import Stem

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "Annotations",
    "Audio",
    "Broadcast",
    "Cue",
    "Format",
    "Info",
    "Stem",
    "Writer",
    "keep_bits",
    "output_format",
    "overs",
    "probe",
    "quantise",
    "read",
    "read_annotations",
    "read_blocks",
    "resample",
    "resampled_length",
    "write",
]

# The most samples `read` takes into memory at once: 8 GiB as float32, three hours of stereo at 96 kHz.
MAX_SAMPLES = 2**31
_BLOCK = 65536


@dataclass(frozen=True)
class Audio:
    """A sound in memory: ``samples`` ``[channels, samples]``, ``rate`` in Hz, the format of the file it came from."""

    samples: Tensor = field(repr=False)
    rate: int
    format: Format

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return float(self.samples.shape[1] / self.rate)


def probe(path: StrPath) -> Info:
    """What is in the file at ``path``, without decoding it; a few milliseconds, no torch.

    `AudioError` with what, where and the remedy when it is no regular file, no sound file, empty, cut off, or holds
    less (or, for WAV and AIFF, far more) than its header says.
    """
    with naming(path), opened(Path(path)) as (_, info):
        return info


def read(path: StrPath, *, exact: bool = False) -> Audio:
    """The whole file, float32; with ``exact`` float64 where float32 loses bits (32-bit integers, doubles).

    `AudioError` as for `probe`, and for samples that are NaN or infinite, for audio that cannot be decoded to its
    promised end, and for more than `MAX_SAMPLES` samples.
    """
    import torch

    with naming(path), opened(Path(path)) as (file, info):
        wide = exact and info.format.subtype in BEYOND_FLOAT32
        if info.channels * info.frames > MAX_SAMPLES:
            raise AudioError(f"is too long to hold in memory ({info.duration_s / 3600:.1f} hours); split the file")
        try:
            samples = torch.empty(info.channels, info.frames, dtype=torch.float64 if wide else torch.float32)
        except (MemoryError, RuntimeError):
            raise AudioError(f"needs more memory than there is ({info.duration_s:.0f} s); split the file") from None
        at = 0
        for block in decoded(file, info, _BLOCK, "float64" if wide else "float32"):
            samples[:, at : at + len(block)] = torch.from_numpy(block.T)
            at += len(block)
    return Audio(samples, info.rate, info.format)


def read_blocks(path: StrPath, block_samples: int) -> Iterator[Tensor]:
    """The file as float32 blocks ``[channels, block_samples]``, the last one shorter, in constant memory.

    The header is checked at the call; bad samples and damage further in raise `AudioError` where they are met.
    """
    if block_samples < 1:
        raise AudioError(f"blocks of {block_samples} samples were asked for; expected at least 1")
    probe(path)
    return _blocks(Path(path), block_samples)


def _blocks(path: Path, block_samples: int) -> Iterator[Tensor]:
    import torch

    with naming(path), opened(path) as (file, info):
        for block in decoded(file, info, block_samples, "float32"):
            yield torch.from_numpy(np.ascontiguousarray(block.T))
