"""Samples that wait on the disk for a second pass, because memory is too small for a long stem."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from render.publish import partial

_BLOCK = 65_536


class Spool:
    """Blocks ``[channels, n]`` of one type of float, appended and then read from the start."""

    def __init__(self, path: Path, channels: int) -> None:
        self._file = path.open("w+b")
        self._channels = channels
        self._type: np.dtype[np.floating] | None = None

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def append(self, block: Tensor) -> None:
        """Add ``block``; `OSError` when the disk does not take it, `ValueError` when its type is not the others'."""
        rows = np.ascontiguousarray(block.detach().cpu().numpy().T)
        if rows.shape[1] != self._channels or rows.dtype != (self._type or rows.dtype):
            raise ValueError(f"{rows.shape[1]} channels of {rows.dtype} after {self._channels} of {self._type}")
        self._type = rows.dtype
        self._file.write(rows.data)

    def blocks(self) -> Iterator[Tensor]:
        """All that was appended, bit for bit, in blocks of another length."""
        self._file.seek(0)
        if self._type is None:
            return
        while data := self._file.read(_BLOCK * self._channels * self._type.itemsize):
            rows = np.frombuffer(data, self._type).reshape(-1, self._channels)
            yield torch.from_numpy(rows.T.copy())


@contextmanager
def beside(output: Path, channels: int) -> Iterator[Spool]:
    """A spool in the folder of ``output``, where there is room for it, gone when the block is left, however it is."""
    with partial(output) as path:
        spool = Spool(path, channels)
        try:
            yield spool
        finally:
            spool.close()
