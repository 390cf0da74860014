"""Lines of breakpoints heard at a rate: a value for every sample, and for every short piece of a sound.

A sample has the value of its own moment whatever block it comes in, so that no block is seen in what is played.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from render.breakpoints import Breakpoints

Values = npt.NDArray[np.float64]

GRID = 64
"""Samples for which a plugin's parameter keeps still: 1.3 ms at 48 kHz, and a divisor of every block there is."""


class Curve:
    """``line`` at ``rate`` Hz, ``late_samples`` after its time: what a plugin that is late by so many is to get.

    >>> Curve(Breakpoints(((0.0, 0.0), (1.0, 4.0))), 4).of(0, 6)
    array([0., 1., 2., 3., 4., 4.])
    """

    def __init__(self, line: Breakpoints, rate: int, late_samples: int = 0) -> None:
        places = np.asarray([seconds for seconds, _ in line.points]) * rate
        whole = np.rint(places)
        # A time written in decimals means the sample that it was counted from.
        self._places = np.where(np.abs(places - whole) < 1e-6, whole, places) + late_samples
        self._values = np.asarray([value for _, value in line.points])

    @property
    def jumps(self) -> Values:
        """The samples from which on the value is another at once."""
        jumping = (np.diff(self._places) == 0) & (np.diff(self._values) != 0)
        return np.unique(np.ceil(self._places[1:][jumping]))

    def of(self, start: int, count: int) -> Values:
        """The values of ``count`` samples from ``start`` on."""
        return self.at(np.arange(start, start + count))

    def at(self, places: npt.ArrayLike) -> Values:
        """The values at ``places`` in samples, which may lie between two."""
        return np.asarray(np.interp(np.asarray(places, np.float64), self._places, self._values))


@dataclass
class Moves:
    """How the parameters of one plugin move, piece by piece, from the start of a sound on.

    A piece is `GRID` samples of a grid that begins with the sound, or less where a value jumps. Each parameter has the
    value of its line in the middle of a piece. The first piece is whole, because pedalboard forgets what it has heard
    when a call is longer than its first.
    """

    lines: Mapping[str, Breakpoints]
    rate: int
    late_samples: int = 0
    _at: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._curves = {name: Curve(line, self.rate, self.late_samples) for name, line in self.lines.items()}
        jumps = [curve.jumps for curve in self._curves.values()]
        self._jumps = np.unique(np.concatenate(jumps)) if jumps else np.zeros(0)

    def take(self, samples: int) -> tuple[list[int], dict[str, list[float]]]:
        """The lengths of the pieces of the next ``samples``, and each parameter's value in each of them."""
        start, end = self._at, self._at + samples
        low, high = np.searchsorted(self._jumps, (max(start, GRID - 1), end - 1), side="right")
        grid = range(start - start % GRID + GRID, end, GRID)
        edges = sorted({start, end, *grid, *(int(jump) for jump in self._jumps[low:high])})
        middles = [(a + b - 1) / 2 for a, b in pairwise(edges)]
        self._at = end
        values = {name: curve.at(middles).tolist() for name, curve in self._curves.items()}
        return [b - a for a, b in pairwise(edges)], values
