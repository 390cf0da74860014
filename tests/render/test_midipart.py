"""A part plays what its file means: in order, in time, with every note ended; a controller is a line."""

from collections import Counter
from pathlib import Path
from typing import Any

import mido
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from render import midipart
from render.breakpoints import Breakpoints
from render.errors import MidiError
from render.midi import Event, Score, Track
from render.tempo import Tempo, TempoMap

SLOWER = TempoMap(480, (Tempo(0, 500_000), Tempo(960, 1_000_000)))
On = tuple[int, str]


def on(tick: int, note: int = 60, channel: int = 0, velocity: int = 64) -> Event:
    """A note that begins."""
    return Event(tick, mido.Message("note_on", note=note, channel=channel, velocity=velocity))


def off(tick: int, note: int = 60, channel: int = 0) -> Event:
    """A note that ends."""
    return Event(tick, mido.Message("note_off", note=note, channel=channel))


def cc(tick: int, control: int, value: int, channel: int = 0) -> Event:
    """A controller that is set."""
    return Event(tick, mido.Message("control_change", control=control, value=value, channel=channel))


def score(*tracks: list[Event], names: tuple[str, ...] = (), end: int = 1920, independent: bool = False) -> Score:
    """A score of ``tracks`` that end at tick ``end``, at 120 and after two quarters at 60."""
    made = tuple(
        Track(k, names[k - 1] if names else "", tuple(events), end, SLOWER, ()) for k, events in enumerate(tracks, 1)
    )
    return Score(Path("song.mid"), made, independent)


def played(part: midipart.Part) -> list[tuple[float, str]]:
    """The messages of ``part`` with what matters in them."""
    return [(t.seconds, f"{t.message.type}:{getattr(t.message, 'note', '')}") for t in part.messages]


def test_seconds_go_by_the_tempo_map() -> None:
    """Notes before and after a change of tempo are at their seconds, and the part lasts as long as the file."""
    part = midipart.part(score([on(480), off(960), on(1440), off(1920)], end=2400))
    assert played(part) == [(0.5, "note_on:60"), (1.0, "note_off:60"), (2.0, "note_on:60"), (3.0, "note_off:60")]
    assert part.end_s == 4.0


def test_a_repeated_note_is_not_cut_off() -> None:
    """Where one note ends as the same begins again, in whatever order of tracks, the old one ends first."""
    part = midipart.part(score([on(480), off(960)], [on(0), off(480)]))
    assert played(part) == [(0.0, "note_on:60"), (0.5, "note_off:60"), (0.5, "note_on:60"), (1.0, "note_off:60")]


def test_a_note_of_no_length_begins_before_it_ends() -> None:
    """A note that begins and ends at one tick does so in that order, even when the file has it the other way round."""
    for events in ([on(480), off(480)], [off(480), on(480)]):
        assert played(midipart.part(score(events))) == [(0.5, "note_on:60"), (0.5, "note_off:60")]


def test_the_sound_is_chosen_before_it_plays() -> None:
    """Bank, program and controllers at the tick of a note come before it, from other tracks too."""
    program = Event(0, mido.Message("program_change", program=5))
    part = midipart.part(score([on(0), off(480)], [program, cc(0, 7, 100), cc(0, 0, 1)]))
    kinds = [(t.message.type, getattr(t.message, "control", None)) for t in part.messages[:4]]
    assert kinds == [("program_change", None), ("control_change", 0), ("control_change", 7), ("note_on", None)]
    assert part.programs
    assert not midipart.part(score([on(0), off(480)])).programs


def test_what_hangs_is_let_go_at_the_end() -> None:
    """A note that never ends, and a pedal that stays down, end with the file; ends of nothing are left out."""
    part = midipart.part(score([off(0, 50), cc(0, 64, 127, 3), on(0, channel=3)], end=960))
    last = [t.message.bytes() for t in part.messages[-2:]]
    assert last == [[0x83, 60, 64], [0xB3, 64, 0]]
    assert [t.seconds for t in part.messages] == [0.0, 0.0, 1.0, 1.0]


MOMENTS = st.integers(0, 6).map(lambda k: k * 240)
EVENTS = st.lists(
    st.one_of(
        st.builds(on, MOMENTS, st.integers(60, 61), st.integers(0, 1), st.sampled_from([0, 64])),
        st.builds(off, MOMENTS, st.integers(60, 61), st.integers(0, 1)),
        st.builds(cc, MOMENTS, st.sampled_from([64, 1]), st.sampled_from([0, 127]), st.integers(0, 1)),
    ),
    max_size=24,
)


@settings(deadline=None)
@given(EVENTS, EVENTS)
def test_every_note_begins_in_time_and_ends(first: list[Event], second: list[Event]) -> None:
    """Of any events: all notes begin when the file says, each ends once and never before, time never goes back."""
    tracks = [sorted(events, key=lambda e: e.tick) for events in (first, second)]
    begun = [e for events in tracks for e in events if e.message.type == "note_on" and e.message.velocity]
    if not begun:
        with pytest.raises(MidiError, match="no notes"):
            midipart.part(score(*tracks))
        return
    part = midipart.part(score(*tracks))
    times = [t.seconds for t in part.messages]
    assert times == sorted(times)
    open_now: Counter[tuple[int, int]] = Counter()
    begins, pedals = [], {}
    for timed in part.messages:
        message = timed.message
        if message.type == "control_change":
            if message.control == 64:
                pedals[message.channel] = message.value
            continue
        key = (message.channel, message.note)
        if message.type == "note_on" and message.velocity:
            begins.append((timed.seconds, *key))
            open_now[key] += 1
        else:
            open_now[key] -= 1
            assert open_now[key] >= 0
    assert not +open_now
    assert not any(pedals.values())
    assert sorted(begins) == sorted((SLOWER.seconds(e.tick), e.message.channel, e.message.note) for e in begun)


def test_a_track_is_chosen_by_name_or_number() -> None:
    """A name in any case, or a number from 1; the part is as long as the whole file all the same."""
    both = score([on(0), off(480)], [on(960, 40), off(1200, 40)], names=("Drums", "Bass"))
    for track in ("bass", 2):
        part = midipart.part(both, track)
        assert [t.message.note for t in part.messages] == [40, 40]
        assert part.label == "track 2 'Bass'"
        assert part.end_s == 3.0
    assert midipart.part(both).label == "all tracks"


@pytest.mark.parametrize(
    ("made", "track", "said"),
    [
        (score([on(0)], [on(0)], names=("Bass", "Drums")), "Bas", "did you mean 'Bass'"),
        (score([on(0)], [cc(0, 1, 1)], names=("Bass", "Tempo")), 3, "one of 1 'Bass', 2 'Tempo' (no notes)"),
        (score([on(0)], names=("Bass",)), 0, "there is no track 0"),
        (score([on(0)], [on(0)], names=("Bass", "Bass")), "Bass", "tracks 1 and 2 are both called 'Bass'"),
        (score([on(0)], [cc(0, 1, 1)], names=("Bass", "Tempo")), "tempo", "has no notes"),
        (score([on(0)], [on(0)], independent=True), None, "independent"),
        (score([on(0)], end=480 * 100_000), None, "lasts 27.8 hours"),
    ],
)
def test_what_cannot_be_played_is_said(made: Score, track: str | int | None, said: str) -> None:
    """A track that is not there, or silent, or ambiguous, is told with what there is instead."""
    with pytest.raises(MidiError) as caught:
        midipart.part(made, track)
    assert said in str(caught.value)


def test_a_sequence_on_its_own_is_played() -> None:
    """One of independent sequences plays like any part."""
    assert played(midipart.part(score([on(0), off(480)], [on(1)], independent=True), 1))[1] == (0.5, "note_off:60")


def test_a_controller_is_a_line() -> None:
    """Each step of a controller is a short ramp to it, level in between; steps closer than that run into each other."""
    found = midipart.lane(score([cc(0, 74, 0), cc(480, 74, 127), cc(481, 74, 0), cc(960, 74, 0)]), "cutoff")
    assert [found.at(s) for s in (0.0, 0.49, 0.5, 0.9)] == [0.0, 0.0, 1.0, 0.0]
    assert found.at(0.4975) == pytest.approx(0.5)
    assert found.points[-1] == (1.0, 0.0)


def test_of_several_values_at_one_tick_the_last_holds() -> None:
    """A lane has one value at a time."""
    assert midipart.lane(score([cc(0, 1, 3), cc(0, 1, 127)]), 1).points == ((0.0, 1.0),)


def test_a_lane_may_be_of_one_channel() -> None:
    """Channels count from 1 and are told apart."""
    made = score([cc(0, 1, 0), cc(0, 1, 127, 9)])
    assert midipart.lane(made, 1, channel=10).points == ((0.0, 1.0),)
    assert midipart.lane(made, 1, channel=1).points == ((0.0, 0.0),)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"controller": "cutof"}, "did you mean 'cutoff'"),
        ({"controller": 128}, "found controller 128"),
        ({"controller": 7}, "controller 7 is never used there; it uses 1"),
        ({"controller": 1, "channel": 17}, "found channel 17"),
        ({"controller": 1, "channel": 2}, "it uses none"),
        ({"controller": 1, "track": "Bass"}, "no track 'Bass'"),
    ],
)
def test_a_lane_that_is_not_there_is_said(arguments: dict[str, Any], said: str) -> None:
    """A controller, channel or track of no events is an error and not a straight line."""
    with pytest.raises(MidiError, match=said):
        midipart.lane(score([cc(0, 1, 3)]), **arguments)


@pytest.mark.parametrize(
    ("points", "said"),
    [
        ((), "no points"),
        (((-1.0, 0.0),), "from 0 up"),
        (((0.0, float("nan")),), "and a value"),
        (((2.0, 0.0), (1.0, 0.0)), "in the order"),
    ],
)
def test_breakpoints_have_time(points: tuple[tuple[float, float], ...], said: str) -> None:
    """Points without order or number are refused."""
    with pytest.raises(ValueError, match=said):
        Breakpoints(points)


def test_breakpoints_may_jump() -> None:
    """Of two points at one time the value is the second's from then on."""
    jump = Breakpoints(((0.0, 0.0), (1.0, 1.0), (1.0, 5.0)))
    assert [jump.at(s) for s in (0.5, 1.0, 2.0)] == [0.5, 5.0, 5.0]
