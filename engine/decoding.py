"""A sound file opened and decoded: its header is held against its bytes, and every sample is a finite number."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile

from engine import annotations as notes
from engine import container
from engine.annotations import Annotations
from engine.errors import AudioError
from engine.formats import Format
from engine.tags import STRINGS

if TYPE_CHECKING:
    from numpy.typing import NDArray

StrPath = str | os.PathLike[str]
RATES_HZ = range(1000, 768_001)
CHANNELS = range(1, 65)
# Subtypes whose samples float32 cannot hold.
BEYOND_FLOAT32 = ("PCM_32", "DOUBLE", "ALAC_32")


@dataclass(frozen=True)
class Info:
    """What a sound file holds: ``rate`` in Hz, ``frames`` in samples per channel, checked against the file's bytes."""

    path: Path
    rate: int
    channels: int
    frames: int
    format: Format

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.frames / self.rate


@contextmanager
def naming(path: StrPath) -> Iterator[None]:
    """Put the file's name in front of what is wrong with it."""
    try:
        yield
    except AudioError as error:
        raise AudioError(f"{os.fspath(path)}: {error}") from None


@contextmanager
def opened(path: Path) -> Iterator[tuple[Any, Info]]:
    """The decoder of a file that passed every check a header allows, and what it holds."""
    declared = _declared(path)
    try:
        file = soundfile.SoundFile(path)
    except (soundfile.SoundFileError, OSError, TypeError) as error:
        raise AudioError(
            f"looks like {declared.container} but cannot be opened ({reason(error)}); export or convert it again"
        ) from None
    with file:
        yield file, _checked(path, file, declared)


def read_annotations(path: StrPath) -> Annotations:
    """What the file at ``path`` says beside its sound: where it starts, its markers, its texts; reads headers only.

    `AudioError` as for `engine.audio.probe`. What is damaged or beyond all measure is left out, and told in
    ``dropped``.
    """
    with naming(path), opened(Path(path)) as (file, info):
        try:
            with Path(path).open("rb") as stream:
                strings = {name: getattr(file, name) for name in STRINGS.values()}
                return notes.read(stream, rate=info.rate, frames=info.frames, strings=strings)
        except OSError as error:
            raise AudioError(f"cannot be read ({reason(error)})") from None


def _declared(path: Path) -> container.Declaration:
    try:
        # Asked before opening: to open a pipe is to wait for its writer, for ever.
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise AudioError("is a folder; expected a sound file")
        if not stat.S_ISREG(mode):
            raise AudioError("is a pipe, socket or device; expected a regular file (save the sound to one first)")
        with path.open("rb") as stream:
            return container.inspect(stream)
    except FileNotFoundError:
        raise AudioError("is not there; check the name and the folder") from None
    except PermissionError:
        raise AudioError("may not be read; check its permissions") from None
    except (OSError, ValueError) as error:
        raise AudioError(f"cannot be read ({reason(error)})") from None


def _checked(path: Path, file: Any, declared: container.Declaration) -> Info:
    rate, channels, found = file.samplerate, file.channels, file.frames
    if rate not in RATES_HZ or channels not in CHANNELS:
        raise AudioError(
            f"claims {channels} channels at {rate} Hz; expected {CHANNELS[0]} to {CHANNELS[-1]} channels at "
            f"{RATES_HZ[0]} to {RATES_HZ[-1]} Hz; its header is damaged, export it again"
        )
    frames = container.agreed_frames(declared, file.subtype, channels, found)
    if frames < 1:
        raise AudioError("holds no audio (0 frames); export it again")
    if declared.container == "FLAC":
        _reach_the_end(file, frames)
    return Info(path, rate, channels, frames, Format(file.format, file.subtype, file.endian))


def _reach_the_end(file: Any, frames: int) -> None:
    """Decode the last frame: a FLAC's length is a claim that its size says nothing about."""
    try:
        file.seek(frames - 1)
        reached = len(file.read(1)) == 1
        file.seek(0)
    except soundfile.SoundFileError:
        reached = False
    if not reached:
        raise AudioError(
            f"is cut off or damaged: the {frames} frames it promises are not there; export or copy it again"
        )


def decoded(
    file: Any, info: Info, block_samples: int, dtype: str, start: int = 0, stop: int | None = None
) -> Iterator[NDArray[Any]]:
    """Blocks ``[frames, channels]`` of finite samples from ``start``, where ``file`` stands, to ``stop`` or the end."""
    at, stop = start, info.frames if stop is None else stop
    while at < stop:
        try:
            block = file.read(min(block_samples, stop - at), dtype=dtype, always_2d=True)
        except soundfile.SoundFileError as error:
            raise AudioError(
                f"cannot be decoded beyond {at / info.rate:.3f} s ({reason(error)}); export or copy it again"
            ) from None
        if not len(block):
            raise AudioError(
                f"is cut off: {info.frames} frames promised, {at} decoded ({at / info.rate:.3f} s); "
                "export or copy it again"
            )
        refuse_not_finite(block, at, info.rate)
        yield block
        at += len(block)


def refuse_not_finite(block: NDArray[Any], start: int, rate: int) -> None:
    """`AudioError` with the time of the first sample of ``[frames, channels]`` that is NaN or infinite."""
    finite = np.isfinite(block)
    if not finite.all():
        row, channel = np.argwhere(~finite)[0]
        value = "NaN" if np.isnan(block[row, channel]) else "infinite"
        raise AudioError(
            f"has a sample that is {value} at {(start + row) / rate:.3f} s (sample {start + row}) in channel "
            f"{channel + 1}; expected finite numbers, render it again"
        )


def reason(error: Exception) -> str:
    """What libsndfile or the system has to say, for the middle of a sentence."""
    text = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
    return str(text).rstrip(".") or type(error).__name__
