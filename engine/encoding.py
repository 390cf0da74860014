"""Sound becomes files: rounded and dithered by `engine.quantise`, encoded by libsndfile, looked at again at the end."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import soundfile

from engine import annotations as notes
from engine import container
from engine.annotations import Annotations
from engine.cues import chunk
from engine.decoding import StrPath, naming, opened, reason, refuse_not_finite
from engine.errors import AudioError
from engine.formats import INTEGER_BITS, SAMPLE_BYTES, Format
from engine.insertion import Insertion
from engine.quantise import Quantiser
from engine.tags import STRINGS

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

# Chunk sizes have 32 bits in WAV and 31 in AIFF; a little is left for the chunks around the audio.
WAV_BYTES = 2**32 - 2**20
AIFF_BYTES = 2**31 - 2**20
_BLOCK = 65536


class Writer:
    """A sound file being written block by block: the very bytes that `write` makes of all blocks in one.

    When its block is left whole, the header is finished and the file held against what was promised; when it is left
    by an exception, what is there stays half: write where that does no harm.
    """

    def __init__(
        self,
        path: StrPath,
        rate: int,
        channels: int,
        frames: int,
        format: Format,
        *,
        dither_seed: int = 0,
        annotations: Annotations | None = None,
    ) -> None:
        """For ``frames`` samples in each channel; `AudioError` when ``format`` cannot hold them or there is no room.

        What ``annotations`` say, as far as the format has a place for it, goes before the sound and changes no byte
        of it. `AudioError` when they count at another rate.
        """
        self.path, self.rate, self.channels, self.frames = Path(path), rate, channels, frames
        self.written = 0
        bits = INTEGER_BITS.get(format.subtype)
        self._bits, self._quantiser = bits or 0, Quantiser(bits, dither_seed) if bits else None
        with naming(path):
            if frames < 1:
                raise AudioError(f"cannot be written with {frames} frames; expected at least 1")
            said = _said(annotations, rate, format, frames)
            self.format = _roomy(format, channels * frames, len(said))
            self._insertion: Insertion | None = None
            with self._encoding():
                self._open(said)
                if annotations is not None and self.format.container in notes.TEXT_KIN:
                    for name, string in STRINGS.items():
                        if name in annotations.tags:
                            setattr(self._file, string, annotations.tags[name])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            # Whatever the disk says now, the exception on its way says more.
            with suppress(soundfile.SoundFileError, OSError):
                self._file.close()
            if self._insertion is not None:
                self._insertion.close()

    def _open(self, said: bytes) -> None:
        kind = (self.rate, self.channels, self.format.subtype, self.format.endian, self.format.container)
        if not said:
            self._file = soundfile.SoundFile(self.path, "w", *kind)
            return
        with ExitStack() as unfinished:
            insertion = Insertion(self.path.open("w+b", buffering=0))
            unfinished.callback(insertion.close)
            self._insertion = insertion
            self._file = soundfile.SoundFile(insertion, "w", *kind)
            unfinished.callback(self._file.close)
            insertion.insert(said)
            unfinished.pop_all()

    def write(self, block: Tensor) -> None:
        """Add ``block``, float32 or float64 ``[channels, n]``; `AudioError` when it is not finite or does not fit."""
        with naming(self.path):
            _refuse_no_sound(block)
            if block.shape[0] != self.channels or self.written + block.shape[1] > self.frames:
                raise AudioError(
                    f"was given {list(block.shape)} samples after {self.written}; "
                    f"expected {self.channels} channels and {self.frames} frames in all"
                )
            rows = block.detach().cpu().numpy().T
            for at in range(0, len(rows), _BLOCK):
                part = rows[at : at + _BLOCK]
                refuse_not_finite(part, self.written, self.rate)
                with self._encoding():
                    self._file.write(self._encoded(part))
                self.written += len(part)

    def close(self) -> None:
        """Finish the file; `AudioError` when it does not hold every frame that was promised."""
        with naming(self.path):
            with self._encoding():
                self._file.close()
                if self._insertion is not None:
                    self._insertion.grow()
                    self._insertion.close()
                _settle(self.path, self.format, self.written, self.channels)
            if self.written != self.frames:
                raise AudioError(f"was given {self.written} frames; expected {self.frames}")
            with opened(self.path) as (_, info):
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
            if self._insertion is not None and self._insertion.failure is not None:
                raise self._insertion.failure
        # soundfile asserts that libsndfile took every frame, and checks its arguments with ValueError and TypeError.
        except (soundfile.SoundFileError, OSError, AssertionError, ValueError, TypeError) as error:
            cause = (self._insertion and self._insertion.failure) or error
            raise AudioError(
                f"cannot be written as {self.channels} channels at {self.rate} Hz in {self.format.container} "
                f"{self.format.subtype} ({reason(cause)}); check that its folder exists, is writable and has room, "
                "or choose another format"
            ) from cause


def write(
    path: StrPath,
    samples: Tensor,
    rate: int,
    format: Format,
    *,
    dither_seed: int = 0,
    annotations: Annotations | None = None,
) -> None:
    """Encode ``samples`` ``[channels, samples]`` (float32 or float64, full scale ±1) into the very file ``path``.

    Integer formats get TPDF dither from ``dither_seed`` on samples between two steps and none on those that sit on
    one, so what `read` returned is written back bit for bit (mu-law and A-law too, but for mu-law's negative zero,
    which is written as zero). Beyond full scale integers clip and never wrap: ask `overs` first. Float formats keep
    overs. The same samples make the same bytes at any time. A WAV beyond 4 GB becomes an RF64. ``annotations`` are
    written as far as the format has a place for them, before the sound and without a change to it.

    `AudioError`, before anything is written, for samples that are empty, of another shape or not finite, and for a
    format that cannot hold them; after it, when the disk did not take all of it. Not atomic; an existing file is
    overwritten.
    """
    with naming(path):
        _refuse_no_sound(samples)
        rows = samples.detach().cpu().numpy().T
        for at in range(0, len(rows), _BLOCK):
            refuse_not_finite(rows[at : at + _BLOCK], at, rate)
    channels, frames = samples.shape
    with Writer(path, rate, channels, frames, format, dither_seed=dither_seed, annotations=annotations) as writer:
        writer.write(samples)


def _said(annotations: Annotations | None, rate: int, format: Format, frames: int) -> bytes:
    """The chunks for ``annotations`` in one piece, empty where there are none."""
    if annotations is None:
        return b""
    if annotations.rate != rate:
        raise AudioError(f"was given annotations that count at {annotations.rate} Hz; expected {rate} Hz (at_rate)")
    order = notes.byte_order(format)
    return b"".join(chunk(name, payload, order) for name, payload in notes.packed(annotations, format, frames))


def _roomy(format: Format, count: int, beside: int) -> Format:
    """``format``, or its 64-bit sibling where ``count`` samples and ``beside`` bytes do not fit the container."""
    size = count * SAMPLE_BYTES.get(format.subtype, 0) + beside
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


def _refuse_no_sound(samples: Tensor) -> None:
    if samples.dim() != 2 or not samples.is_floating_point() or 0 in samples.shape:
        raise AudioError(
            f"cannot be written from {samples.dtype} of shape {list(samples.shape)}; "
            "expected floats [channels, samples], at least one of each"
        )
