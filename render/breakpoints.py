"""A value that changes with time, as straight lines between breakpoints."""

import hashlib
import math
from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Breakpoints:
    """``points`` of seconds and value in the order of their seconds; level before the first and after the last.

    Of two points at one time the value jumps to the second's. `ValueError` for no points, for times before the start
    or out of order, and for what is not finite.

    >>> fade = Breakpoints(((1.0, 0.0), (3.0, 0.5)))
    >>> fade.at(0), fade.at(2), fade.at(9)
    (0.0, 0.25, 0.5)
    """

    points: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        if not self.points:
            raise ValueError("found no points; expected at least one [seconds, value]")
        for seconds, value in self.points:
            if not (math.isfinite(seconds) and math.isfinite(value) and seconds >= 0):
                raise ValueError(f"found the point [{seconds:g}, {value:g}]; expected seconds from 0 up and a value")
        for (before, _), (after, _) in pairwise(self.points):
            if after < before:
                raise ValueError(f"found {after:g} s after {before:g} s; expected points in the order of their time")

    def at(self, seconds: float) -> float:
        """The value at ``seconds``."""
        k = bisect_right(self.points, seconds, key=lambda point: point[0])
        if k == 0:
            return self.points[0][1]
        if k == len(self.points):
            return self.points[-1][1]
        (start, low), (end, high) = self.points[k - 1], self.points[k]
        share = (seconds - start) / (end - start)
        return low * (1 - share) + high * share

    @property
    def low(self) -> float:
        """The lowest value there is."""
        return min(value for _, value in self.points)

    @property
    def high(self) -> float:
        """The highest value there is."""
        return max(value for _, value in self.points)

    @property
    def told(self) -> str:
        """The line in a few words, which are others for every other line."""
        digest = hashlib.sha256(repr([(float(s), float(v)) for s, v in self.points]).encode()).hexdigest()[:16]
        return f"{self.low:g} to {self.high:g} in {len(self.points)} points ({digest})"
