"""A tempo map is exact, has its bars where the metres put them, and refuses what has no time."""

from fractions import Fraction
from pathlib import Path

import mido
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from render.tempo import Marker, Metre, Song, Tempo, TempoMap

CHANGES = st.lists(st.tuples(st.integers(0, 40_000), st.integers(1, 0xFFFFFF)), max_size=6)
METRES = st.lists(
    st.tuples(st.integers(0, 40_000), st.integers(1, 255), st.sampled_from([1, 2, 4, 8, 16, 32, 64])), max_size=4
)


@settings(deadline=None)
@given(st.integers(1, 32767), CHANGES, st.lists(st.integers(0, 100_000), min_size=1, max_size=8))
def test_seconds_are_midos_and_exact(per_quarter: int, changes: list[tuple[int, int]], ticks: list[int]) -> None:
    """Seconds are the exact fraction to the last bit, and mido's own running sum to a nanosecond."""
    tempo = TempoMap.of(per_quarter, changes)
    events = sorted([(tick, us) for tick, us in changes] + [(tick, None) for tick in ticks], key=lambda e: e[0])
    track, before = mido.MidiTrack(), 0
    for tick, us in events:
        message = mido.Message("note_on") if us is None else mido.MetaMessage("set_tempo", tempo=us)
        track.append(message.copy(time=tick - before))
        before = tick
    theirs, now = [], 0.0
    for message in mido.MidiFile(ticks_per_beat=per_quarter, tracks=[track]):
        now += message.time
        if message.type == "note_on":
            theirs.append(now)
    ours = [tempo.seconds(tick) for tick in sorted(ticks)]
    assert ours == pytest.approx(theirs, rel=1e-13, abs=1e-9)
    exact, last, us = Fraction(0), 0, 500_000
    walk = dict(sorted(changes, key=lambda c: c[0]))
    for tick in sorted({*walk, max(ticks)}):
        if tick > max(ticks):
            break
        exact += Fraction(us * (tick - last), 1_000_000 * per_quarter)
        last, us = tick, walk.get(tick, us)
    assert tempo.seconds(max(ticks)) == float(exact)


@settings(deadline=None)
@given(st.integers(1, 960), CHANGES, st.integers(0, 100_000))
def test_ticks_come_back(per_quarter: int, changes: list[tuple[int, int]], tick: int) -> None:
    """A tick's seconds lead back to the tick, within what a float of seconds can tell apart."""
    tempo = TempoMap.of(per_quarter, changes)
    seconds = tempo.seconds(tick)
    fastest = min(change.us_per_quarter for change in tempo.tempos)
    assert tempo.tick(seconds) == pytest.approx(tick, abs=seconds * 1e-15 * 1e6 * per_quarter / fastest + 1e-6)


@settings(deadline=None)
@given(st.integers(24, 960), METRES, st.integers(0, 45_000))
def test_bars_are_where_counting_puts_them(per_quarter: int, metres: list[tuple[int, int, int]], at: int) -> None:
    """The nearest bar is the nearest of all that are found by counting from the start."""
    tempo = TempoMap.of(per_quarter, [], metres)
    ends = [*(metre.tick for metre in tempo.metres[1:]), at + 4 * 255 * per_quarter + 40_001]
    bars: list[int] = []
    for metre, end in zip(tempo.metres, ends, strict=True):
        length, count = Fraction(4 * per_quarter * metre.numerator, metre.denominator), 0
        while metre.tick + count * length < end and metre.tick + (count - 2) * length < max(at, metre.tick):
            bars.append(metre.tick + round(count * length))
            count += 1
        bars = [bar for bar in bars if bar <= end]
    seconds = tempo.seconds(at)
    found = tempo.nearest_bar(seconds)
    assert found is not None
    nearest = min(abs(tempo.seconds(bar) - seconds) for bar in bars)
    assert abs(found - seconds) == pytest.approx(nearest, abs=1e-9)


def test_bars_follow_metre_and_tempo() -> None:
    """Three bars of 3/4 at 120 end at 4.5 s, and the 6/8 after them, at 60, begins bars every three seconds."""
    tempo = TempoMap(480, (Tempo(0, 500_000), Tempo(4320, 1_000_000)), (Metre(0, 3, 4), Metre(4320, 6, 8)))
    assert [tempo.nearest_bar(s) for s in (0.0, 1.4, 3.1, 4.4, 7.0, 10.6)] == [0.0, 1.5, 3.0, 4.5, 7.5, 10.5]
    assert tempo.quarters(7.5) == 12


def test_the_later_of_two_at_one_tick_holds() -> None:
    """Two tempos at one tick are one change, the one that was written last."""
    assert TempoMap.of(96, [(0, 400_000), (0, 300_000)]).tempos == (Tempo(0, 300_000),)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"ticks_per_quarter": 0}, "0 ticks"),
        ({"ticks_per_quarter": 1, "tempos": (Tempo(0, 0),)}, "tempo of 0"),
        ({"ticks_per_quarter": 1, "tempos": (Tempo(3, 1),)}, "expected 0 first"),
        ({"ticks_per_quarter": 1, "tempos": ()}, "expected 0 first"),
        ({"ticks_per_quarter": 1, "metres": (Metre(0, 4, 4), Metre(0, 3, 4))}, "each later"),
        ({"ticks_per_quarter": 1, "metres": (Metre(0, 0, 4),)}, "metre of 0/4"),
        ({"ticks_per_quarter": 1, "metres": (Metre(0, 4, 2**200),)}, "expected one like 4/4"),
    ],
)
def test_what_has_no_time_is_refused(arguments: dict[str, object], said: str) -> None:
    """A tempo of nothing, a metre of nothing and changes out of order are named, not divided by."""
    with pytest.raises(ValueError, match=said):
        TempoMap(**arguments)  # type: ignore[arg-type]


def test_a_clock_has_no_bars() -> None:
    """Ticks of a clock are seconds, and no bar begins anywhere."""
    clock = TempoMap(1200, (Tempo(0, 1_001_000),), timecode=True)
    assert clock.seconds(1200) == 1.001
    assert clock.nearest_bar(3.0) is None


def test_markers_come_before_bars() -> None:
    """A cut goes to the nearest marker in reach, else to the nearest bar in reach, else nowhere."""
    song = Song(Path("song.mid"), TempoMap(480), (Marker(4.3, "verse"), Marker(9.0, "chorus")))
    assert song.cut_near(4.1, 0.5) == 4.3
    assert song.cut_near(6.2, 0.5) == 6.0
    assert song.cut_near(7.0, 0.5) is None
    assert song.cut_near(8.6, 0.5) == 9.0
