"""A sound file that is read anywhere, as the engine reads its stems."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import soundfile

from engine.decoding import BEYOND_FLOAT32, StrPath, decoded, naming, opened, reason
from engine.errors import AudioError
from engine.formats import SAMPLE_BYTES

if TYPE_CHECKING:
    from torch import Tensor


class Stem:
    """A sound file read at random, float32, in no more memory than is asked for; closed when its block is left.

    `AudioError` as for `probe` when it is opened. ``info`` says what it holds.
    """

    def __init__(self, path: StrPath) -> None:
        self._open = ExitStack()
        with naming(path):
            self._file, self.info = self._open.enter_context(opened(Path(path)))
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
        return self.info.format.subtype in BEYOND_FLOAT32

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

        with naming(self.info.path):
            if start < 0 or count < 0 or start + count > self.samples:
                raise AudioError(f"was asked for samples {start} to {start + count}; expected 0 to {self.samples}")
            block, done = np.empty((self.channels, count), dtype), 0
            self._go(start)
            self._at = None
            for part in decoded(self._file, self.info, max(count, 1), dtype, start, start + count):
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
            for _ in decoded(self._file, self.info, max(lead, 1), "float32", start - lead, start):
                pass
        except soundfile.SoundFileError as error:
            raise AudioError(
                f"cannot be read from {start / self.rate:.3f} s on ({reason(error)}); convert it"
            ) from None
        self._at = start
