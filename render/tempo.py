"""The time of a song: a tempo map over ticks, its bars, and markers; what places cuts on bars and travels to a DAW.

A tick is a fraction of a quarter note, as in a Standard MIDI File (MIDI 1.0, RP-001). Seconds are worked out in whole
numbers and divided once at the end, so that they do not drift however many changes a song has.
"""

import hashlib
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

DEFAULT_US = 500_000
"""Microseconds of a quarter note where no tempo is given: 120 a minute."""
SHORTEST_NOTE = 64
"""The smallest note that a metre may count in: a sixty-fourth."""


@dataclass(frozen=True)
class Tempo:
    """From ``tick`` on a quarter note lasts ``us_per_quarter`` microseconds."""

    tick: int
    us_per_quarter: int

    @property
    def bpm(self) -> float:
        """Quarter notes a minute."""
        return 60e6 / self.us_per_quarter


@dataclass(frozen=True)
class Metre:
    """From ``tick`` on, where a bar begins, a bar has ``numerator`` notes of 1 / ``denominator``."""

    tick: int
    numerator: int
    denominator: int


@dataclass(frozen=True)
class Marker:
    """A named moment of a song, at ``seconds``."""

    seconds: float
    text: str


@dataclass(frozen=True)
class TempoMap:
    """Tempo and metre of a whole song; both begin at tick 0 and go on for ever.

    ``timecode`` says that the ticks are those of a clock (SMPTE), not of music: then a "quarter" is a second of that
    clock and there are no bars. `ValueError` for what has no time: a tempo or metre of nothing, ticks out of order.

    >>> slower = TempoMap(480, (Tempo(0, 500_000), Tempo(960, 1_000_000)))
    >>> slower.seconds(1440), slower.tick(2.0), slower.nearest_bar(2.4)
    (2.0, 1440.0, 3.0)
    """

    ticks_per_quarter: int
    tempos: tuple[Tempo, ...] = (Tempo(0, DEFAULT_US),)
    metres: tuple[Metre, ...] = (Metre(0, 4, 4),)
    timecode: bool = False
    # Of each tempo: microseconds times ticks a quarter since the start, a whole number.
    _elapsed: tuple[int, ...] = field(default=(), init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.ticks_per_quarter < 1:
            raise ValueError(f"found {self.ticks_per_quarter} ticks a quarter note; expected 1 or more")
        for changes in (self.tempos, self.metres):
            ticks = [change.tick for change in changes]
            if ticks[:1] != [0] or any(b <= a for a, b in pairwise(ticks)):
                raise ValueError(f"found changes at ticks {ticks[:8]}; expected 0 first, then each later than the last")
        elapsed = [0]
        for tempo in self.tempos:
            if tempo.us_per_quarter < 1:
                raise ValueError(f"found a tempo of {tempo.us_per_quarter} microseconds a quarter note; expected 1 up")
        for before, after in pairwise(self.tempos):
            elapsed.append(elapsed[-1] + before.us_per_quarter * (after.tick - before.tick))
        object.__setattr__(self, "_elapsed", tuple(elapsed))
        for metre in self.metres:
            whole = metre.denominator in (1, 2, 4, 8, 16, 32, SHORTEST_NOTE)
            if metre.numerator < 1 or not whole:
                found = f"{metre.numerator}/{metre.denominator}"
                raise ValueError(f"found a metre of {found}; expected one like 4/4, in notes of 1 to 1/{SHORTEST_NOTE}")

    @classmethod
    def of(
        cls, ticks_per_quarter: int, tempos: Iterable[tuple[int, int]], metres: Iterable[tuple[int, int, int]] = ()
    ) -> "TempoMap":
        """The map of changes ``(tick, microseconds)`` and ``(tick, numerator, denominator)`` in any order.

        Of two at one tick the later one holds; before the first it is 120 a minute and 4/4.
        """
        fast = {0: DEFAULT_US} | dict(sorted(tempos, key=lambda change: change[0]))
        bars = {0: (4, 4)} | {tick: (n, d) for tick, n, d in sorted(metres, key=lambda change: change[0])}
        return cls(
            ticks_per_quarter,
            tuple(Tempo(tick, us) for tick, us in fast.items()),
            tuple(Metre(tick, n, d) for tick, (n, d) in bars.items()),
        )

    @property
    def _unit(self) -> int:
        return 1_000_000 * self.ticks_per_quarter

    def seconds(self, tick: int) -> float:
        """When ``tick`` is, from the start: the nearest float to the exact value."""
        k = max(0, bisect_right(self.tempos, tick, key=lambda tempo: tempo.tick) - 1)
        tempo = self.tempos[k]
        return (self._elapsed[k] + tempo.us_per_quarter * (tick - tempo.tick)) / self._unit

    def tick(self, seconds: float) -> float:
        """The tick at ``seconds``, with its fraction; the inverse of `seconds`."""
        elapsed = seconds * self._unit
        k = max(0, bisect_right(self._elapsed, elapsed) - 1)
        return self.tempos[k].tick + (elapsed - self._elapsed[k]) / self.tempos[k].us_per_quarter

    def quarters(self, seconds: float) -> float:
        """The position at ``seconds`` in quarter notes from the start."""
        return self.tick(seconds) / self.ticks_per_quarter

    def nearest_bar(self, seconds: float) -> float | None:
        """When the bar begins that begins nearest to ``seconds``; None for a clock, which has no bars."""
        if self.timecode:
            return None
        at = max(0.0, self.tick(seconds))
        k = max(0, bisect_right(self.metres, at, key=lambda metre: metre.tick) - 1)
        metre = self.metres[k]
        whole = 4 * self.ticks_per_quarter * metre.numerator  # of a bar, times the denominator
        number = int((at - metre.tick) * metre.denominator // whole)
        ticks = [metre.tick + round((number + step) * whole / metre.denominator) for step in (0, 1)]
        if k + 1 < len(self.metres):  # a new metre begins a new bar, wherever the last one was
            ticks = [min(tick, self.metres[k + 1].tick) for tick in ticks]
        return min((self.seconds(tick) for tick in ticks), key=lambda bar: abs(bar - seconds))


@dataclass(frozen=True)
class Song:
    """What a MIDI file at ``path`` says of a song's time: ``tempo``, and ``markers`` in order of their seconds."""

    path: Path
    tempo: TempoMap
    markers: tuple[Marker, ...] = ()

    @property
    def digest(self) -> str:
        """A sha256 of all that it says, which the notes in its file do not change."""
        return hashlib.sha256(repr((self.tempo, self.markers)).encode()).hexdigest()

    def cut_near(self, seconds: float, reach_s: float) -> float | None:
        """The marker nearest to ``seconds`` and within ``reach_s`` of it, or else the bar that is, or None."""
        low = bisect_right(self.markers, seconds - reach_s, key=lambda marker: marker.seconds)
        high = bisect_right(self.markers, seconds + reach_s, key=lambda marker: marker.seconds)
        if low < high:
            return min((m.seconds for m in self.markers[low:high]), key=lambda at: abs(at - seconds))
        bar = self.tempo.nearest_bar(seconds)
        return bar if bar is not None and abs(bar - seconds) <= reach_s else None
