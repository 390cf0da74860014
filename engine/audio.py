"""Sound files become tensors here, tensors become sound files, and nowhere else.

Audio is float32 ``[channels, samples]`` with full scale ±1: an integer sample k of b bits is k / 2^(b - 1), exactly, up
to 24 bits. What does not fit float32 (32-bit integers, doubles) is read as float64 with ``exact=True``, and
`keep_bits` gives the samples that nothing touched their own bits back before they are written.

Inputs are not trusted: the container is told from the file's bytes, its header is held against the file's length
before anything is allocated, and every sample must be a finite number. Encoding and decoding are libsndfile's.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import soundfile

from engine import container
from engine.errors import AudioError
from engine.formats import INTEGER_BITS, SAMPLE_BYTES, Format, output_format
from engine.quantise import Quantiser, keep_bits, overs, quantise
from engine.resample import resample, resampled_length

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

__all__ = [
    "Audio",
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
    "read_blocks",
    "resample",
    "resampled_length",
    "write",
]

StrPath = str | os.PathLike[str]
RATES_HZ = range(1000, 768_001)
CHANNELS = range(1, 65)
# The most samples `read` takes into memory at once: 8 GiB as float32, three hours of stereo at 96 kHz.
MAX_SAMPLES = 2**31
# Chunk sizes have 32 bits in WAV and 31 in AIFF; a little is left for the chunks around the audio.
WAV_BYTES = 2**32 - 2**20
AIFF_BYTES = 2**31 - 2**20
_BEYOND_FLOAT32 = ("PCM_32", "DOUBLE", "ALAC_32")
_BLOCK = 65536


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
    with _naming(path), _opened(Path(path)) as (_, info):
        return info


def read(path: StrPath, *, exact: bool = False) -> Audio:
    """The whole file, float32; with ``exact`` float64 where float32 loses bits (32-bit integers, doubles).

    `AudioError` as for `probe`, and for samples that are NaN or infinite, for audio that cannot be decoded to its
    promised end, and for more than `MAX_SAMPLES` samples.
    """
    import torch

    with _naming(path), _opened(Path(path)) as (file, info):
        wide = exact and info.format.subtype in _BEYOND_FLOAT32
        if info.channels * info.frames > MAX_SAMPLES:
            raise AudioError(f"is too long to hold in memory ({info.duration_s / 3600:.1f} hours); split the file")
        try:
            samples = torch.empty(info.channels, info.frames, dtype=torch.float64 if wide else torch.float32)
        except (MemoryError, RuntimeError):
            raise AudioError(f"needs more memory than there is ({info.duration_s:.0f} s); split the file") from None
        at = 0
        for block in _decoded(file, info, _BLOCK, "float64" if wide else "float32"):
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

    with _naming(path), _opened(path) as (file, info):
        for block in _decoded(file, info, block_samples, "float32"):
            yield torch.from_numpy(np.ascontiguousarray(block.T))


class Stem:
    """A sound file read at random, float32, in no more memory than is asked for; closed when its block is left.

    `AudioError` as for `probe` when it is opened. ``info`` says what it holds.
    """

    def __init__(self, path: StrPath) -> None:
        self._open = ExitStack()
        with _naming(path):
            self._file, self.info = self._open.enter_context(_opened(Path(path)))
        self.channels, self.samples, self.rate = self.info.channels, self.info.frames, self.info.rate
        # Where the decoder stands; None when a read ended in the middle.
        self._at: int | None = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._open.close()

    @property
    def wide(self) -> bool:
        """Whether float32 loses bits of it, so that `read_exact` says more than `read`."""
        return self.info.format.subtype in _BEYOND_FLOAT32

    def read(self, start: int, count: int) -> Tensor:
        """Samples ``start`` to ``start + count``, float32 ``[channels, count]``, the same however they are asked for.

        Only the last bit of an MP3 is not, whose decoder adds up in another order after a jump. `AudioError` for a
        span that is not in the file, and for samples there that are damaged or not finite.
        """
        return self._read(start, count, "float32")

    def read_exact(self, start: int, count: int) -> Tensor:
        """As `read`, but float64 when the file is `wide`."""
        return self._read(start, count, "float64" if self.wide else "float32")

    def _read(self, start: int, count: int, dtype: str) -> Tensor:
        import torch

        with _naming(self.info.path):
            if start < 0 or count < 0 or start + count > self.samples:
                raise AudioError(f"was asked for samples {start} to {start + count}; expected 0 to {self.samples}")
            block, done = np.empty((self.channels, count), dtype), 0
            self._go(start)
            self._at = None
            for part in _decoded(self._file, self.info, max(count, 1), dtype, start, start + count):
                block[:, done : done + len(part)] = part.T
                done += len(part)
            self._at = start + count
        return torch.from_numpy(block)

    def _go(self, start: int) -> None:
        """Stand before sample ``start``; a coder with memory hears the second before it, as it would have from 0 on."""
        if start == self._at:
            return
        lead = 0 if self.info.format.subtype in SAMPLE_BYTES else min(start, self.rate)
        try:
            self._file.seek(start - lead)
            for _ in _decoded(self._file, self.info, max(lead, 1), "float32", start - lead, start):
                pass
        except soundfile.SoundFileError as error:
            raise AudioError(
                f"cannot be read from {start / self.rate:.3f} s on ({_reason(error)}); convert it"
            ) from None
        self._at = start


class Writer:
    """A sound file being written block by block: the very bytes that `write` makes of all blocks in one.

    When its block is left whole, the header is finished and the file held against what was promised; when it is left
    by an exception, what is there stays half: write where that does no harm.
    """

    def __init__(
        self, path: StrPath, rate: int, channels: int, frames: int, format: Format, *, dither_seed: int = 0
    ) -> None:
        """For ``frames`` samples in each channel; `AudioError` when ``format`` cannot hold them or there is no room."""
        self.path, self.rate, self.channels, self.frames = Path(path), rate, channels, frames
        self.written = 0
        bits = INTEGER_BITS.get(format.subtype)
        self._bits, self._quantiser = bits or 0, Quantiser(bits, dither_seed) if bits else None
        with _naming(path):
            if frames < 1:
                raise AudioError(f"cannot be written with {frames} frames; expected at least 1")
            self.format = _roomy(format, channels * frames)
            with self._encoding():
                kind = (self.format.subtype, self.format.endian, self.format.container)
                self._file = soundfile.SoundFile(self.path, "w", rate, channels, *kind)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            # Whatever the disk says now, the exception on its way says more.
            with suppress(soundfile.SoundFileError, OSError):
                self._file.close()

    def write(self, block: Tensor) -> None:
        """Add ``block``, float32 or float64 ``[channels, n]``; `AudioError` when it is not finite or does not fit."""
        with _naming(self.path):
            _refuse_no_sound(block)
            if block.shape[0] != self.channels or self.written + block.shape[1] > self.frames:
                raise AudioError(
                    f"was given {list(block.shape)} samples after {self.written}; "
                    f"expected {self.channels} channels and {self.frames} frames in all"
                )
            rows = block.detach().cpu().numpy().T
            for at in range(0, len(rows), _BLOCK):
                part = rows[at : at + _BLOCK]
                _refuse_not_finite(part, self.written, self.rate)
                with self._encoding():
                    self._file.write(self._encoded(part))
                self.written += len(part)

    def close(self) -> None:
        """Finish the file; `AudioError` when it does not hold every frame that was promised."""
        with _naming(self.path):
            with self._encoding():
                self._file.close()
                _settle(self.path, self.format, self.written, self.channels)
            if self.written != self.frames:
                raise AudioError(f"was given {self.written} frames; expected {self.frames}")
            with _opened(self.path) as (_, info):
                if info.frames != self.frames:
                    raise AudioError(f"took only {info.frames} of {self.frames} frames; is the disk full?")

    def _encoded(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Rows ``[n, channels]`` as what libsndfile takes for the format without a change of its own."""
        if self._quantiser is not None:
            return self._quantiser(rows) << (32 - self._bits)
        if self.format.subtype in ("ULAW", "ALAW"):
            return np.clip(np.rint(rows * 32768.0), -32768, 32767).astype(np.int16)
        return rows.astype(np.float64 if self.format.subtype == "DOUBLE" else np.float32)

    @contextmanager
    def _encoding(self) -> Iterator[None]:
        try:
            yield
        # soundfile asserts that libsndfile took every frame, and checks its arguments with ValueError and TypeError.
        except (soundfile.SoundFileError, OSError, AssertionError, ValueError, TypeError) as error:
            raise AudioError(
                f"cannot be written as {self.channels} channels at {self.rate} Hz in {self.format.container} "
                f"{self.format.subtype} ({_reason(error)}); check that its folder exists, is writable and has room, "
                "or choose another format"
            ) from None


def write(path: StrPath, samples: Tensor, rate: int, format: Format, *, dither_seed: int = 0) -> None:
    """Encode ``samples`` ``[channels, samples]`` (float32 or float64, full scale ±1) into the very file ``path``.

    Integer formats get TPDF dither from ``dither_seed`` on samples between two steps and none on those that sit on
    one, so what `read` returned is written back bit for bit (mu-law and A-law too, but for mu-law's negative zero,
    which is written as zero). Beyond full scale integers clip and never wrap: ask `overs` first. Float formats keep
    overs. The same samples make the same bytes at any time. A WAV beyond 4 GB becomes an RF64.

    `AudioError`, before anything is written, for samples that are empty, of another shape or not finite, and for a
    format that cannot hold them; after it, when the disk did not take all of it. Not atomic; an existing file is
    overwritten.
    """
    with _naming(path):
        _refuse_no_sound(samples)
        rows = samples.detach().cpu().numpy().T
        for at in range(0, len(rows), _BLOCK):
            _refuse_not_finite(rows[at : at + _BLOCK], at, rate)
    channels, frames = samples.shape
    with Writer(path, rate, channels, frames, format, dither_seed=dither_seed) as writer:
        writer.write(samples)


def _roomy(format: Format, count: int) -> Format:
    """``format``, or its 64-bit sibling where ``count`` samples do not fit the container."""
    size = count * SAMPLE_BYTES.get(format.subtype, 0)
    if format.container in ("WAV", "WAVEX") and size > WAV_BYTES:
        return Format("RF64", format.subtype)
    if format.container == "AIFF" and size > AIFF_BYTES:
        raise AudioError(f"cannot be written: {size / 2**30:.1f} GiB do not fit into an AIFF; choose WAV or FLAC")
    return format


def _settle(path: Path, format: Format, frames: int, channels: int) -> None:
    """Set right what libsndfile leaves in a header: the time of day, and a pad byte that an AIFF counts as a frame."""
    odd = format.container == "AIFF" and frames * channels * SAMPLE_BYTES[format.subtype] % 2
    if not (format.is_float or odd):
        return
    with path.open("r+b") as stream:
        for name, start, _ in container.chunks(stream):
            if name == b"PEAK":
                stream.seek(start + 4)
                stream.write(bytes(4))
            elif name == b"COMM" and odd:
                stream.seek(start + 2)
                stream.write(struct.pack(">I", frames))
            elif name == b"SSND" and odd:
                stream.seek(start - 4)
                stream.write(struct.pack(">I", 8 + frames * channels * SAMPLE_BYTES[format.subtype]))


@contextmanager
def _naming(path: StrPath) -> Iterator[None]:
    """Put the file's name in front of what is wrong with it."""
    try:
        yield
    except AudioError as error:
        raise AudioError(f"{os.fspath(path)}: {error}") from None


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Info]]:
    """The decoder of a file that passed every check a header allows, and what it holds."""
    declared = _declared(path)
    try:
        file = soundfile.SoundFile(path)
    except (soundfile.SoundFileError, OSError, TypeError) as error:
        raise AudioError(
            f"looks like {declared.container} but cannot be opened ({_reason(error)}); export or convert it again"
        ) from None
    with file:
        yield file, _checked(path, file, declared)


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
        raise AudioError(f"cannot be read ({_reason(error)})") from None


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


def _decoded(
    file: Any, info: Info, block_samples: int, dtype: str, start: int = 0, stop: int | None = None
) -> Iterator[NDArray[Any]]:
    """Blocks ``[frames, channels]`` of finite samples from ``start``, where ``file`` stands, to ``stop`` or the end."""
    at, stop = start, info.frames if stop is None else stop
    while at < stop:
        try:
            block = file.read(min(block_samples, stop - at), dtype=dtype, always_2d=True)
        except soundfile.SoundFileError as error:
            raise AudioError(
                f"cannot be decoded beyond {at / info.rate:.3f} s ({_reason(error)}); export or copy it again"
            ) from None
        if not len(block):
            raise AudioError(
                f"is cut off: {info.frames} frames promised, {at} decoded ({at / info.rate:.3f} s); "
                "export or copy it again"
            )
        _refuse_not_finite(block, at, info.rate)
        yield block
        at += len(block)


def _refuse_no_sound(samples: Tensor) -> None:
    if samples.dim() != 2 or not samples.is_floating_point() or 0 in samples.shape:
        raise AudioError(
            f"cannot be written from {samples.dtype} of shape {list(samples.shape)}; "
            "expected floats [channels, samples], at least one of each"
        )


def _refuse_not_finite(block: NDArray[Any], start: int, rate: int) -> None:
    finite = np.isfinite(block)
    if not finite.all():
        row, channel = np.argwhere(~finite)[0]
        value = "NaN" if np.isnan(block[row, channel]) else "infinite"
        raise AudioError(
            f"has a sample that is {value} at {(start + row) / rate:.3f} s (sample {start + row}) in channel "
            f"{channel + 1}; expected finite numbers, render it again"
        )


def _reason(error: Exception) -> str:
    text = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
    return str(text).rstrip(".") or type(error).__name__
