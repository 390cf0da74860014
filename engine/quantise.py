"""Samples and the bits they keep: onto the grid of an integer depth, with dither only where rounding loses something.

Triangular (TPDF) dither of two steps peak to peak makes the rounding error's mean and variance independent of the
signal (Lipshitz, Wannamaker and Vanderkooy 1992, "Quantization and Dither: A Theoretical Survey"). Differs from the
paper because a sample that is on the grid already is left alone: silence stays silence, and a stem that nothing
touched comes back bit for bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor


class Quantiser:
    """Quantises the blocks of one signal in turn: the bytes depend on the seed and the signal, not on the blocks."""

    def __init__(self, bits: int, seed: int = 0) -> None:
        """For a depth of ``bits`` (8 to 32)."""
        self._steps = 2.0 ** (bits - 1)
        self._noise = np.random.PCG64(seed)

    def __call__(self, block: NDArray[np.floating]) -> NDArray[np.int32]:
        """The next block ``[frames, channels]``, full scale ±1, as whole steps, clipped at full scale."""
        steps = block.astype(np.float64) * self._steps
        nearest = np.rint(steps)
        if np.array_equal(nearest, steps):
            self._noise.advance(2 * steps.size)
        else:
            noise = np.random.Generator(self._noise).random((*steps.shape, 2))
            nearest = np.where(nearest == steps, nearest, np.rint(steps + noise[..., 0] - noise[..., 1]))
        return np.clip(nearest, -self._steps, self._steps - 1).astype(np.int32)


def quantise(samples: Tensor, bits: int, seed: int = 0) -> Tensor:
    """``samples`` ``[channels, n]`` of full scale ±1 as int32 steps of ``bits`` depth: k stands for k / 2^(bits - 1).

    TPDF dither from ``seed`` on samples between two steps, none on those that sit on one; never wraps: samples
    outside [-1, 1) come back as full scale (count them with `engine.audio.overs` first).
    """
    import torch

    steps = Quantiser(bits, seed)(samples.detach().cpu().numpy().T)
    return torch.from_numpy(np.ascontiguousarray(steps.T))


def overs(samples: Tensor) -> int:
    """How many samples are outside [-1, 1), where an integer file clips."""
    return int(((samples < -1.0) | (samples >= 1.0)).sum())


def keep_bits(samples: Tensor, exact: Tensor) -> Tensor:
    """``samples`` with its own bits given back to every sample that is still what float32 made of ``exact``.

    ``exact`` is what ``read(path, exact=True)`` returned and ``samples`` was made from ``exact.float()``, both
    ``[channels, samples]``. Nothing changes where ``exact`` is float32 itself.
    """
    import torch

    if exact.dtype == torch.float32:
        return samples
    return torch.where(samples == exact.to(samples.dtype), exact, samples.to(exact.dtype))
