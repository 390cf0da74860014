"""What an instrument is to play: messages of one track or of all, in order and in seconds, and controllers as lines.

Files say much that a player must not take at its word: notes that end where they begin, end twice or never, a pedal
that stays down, and at one tick things in an order that would cut off what should sound.
"""

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import mido

from render.breakpoints import Breakpoints
from render.errors import MidiError, nearest
from render.midi import Event, Score, Track

LONGEST_S = 12 * 3600.0
STEP_S = 0.005
"""A controller's steps are ramps of this length: one at full range then adds nothing that is heard as a click."""
CONTROLLERS: Mapping[str, int] = {
    "modulation": 1,
    "breath": 2,
    "foot": 4,
    "volume": 7,
    "balance": 8,
    "pan": 10,
    "expression": 11,
    "effect_1": 12,
    "effect_2": 13,
    "sustain": 64,
    "resonance": 71,
    "release": 72,
    "attack": 73,
    "cutoff": 74,
    "reverb": 91,
    "chorus": 93,
}
_SUSTAIN, _BANK_HIGH, _BANK_LOW = 64, 0, 32
# At one tick: the sound is chosen, what was is ended and controls are set, notes begin, and end that have no length.
_CHOICE, _CHANGE, _BEGIN, _END = range(4)


@dataclass(frozen=True)
class Timed:
    """A message ``seconds`` after the start of its song."""

    seconds: float
    message: mido.Message


@dataclass(frozen=True)
class Part:
    """What the tracks called ``label`` of the file at ``path`` play: ``messages`` in order, until ``end_s``.

    Every note that begins ends, and no pedal is left down. ``end_s`` is the end of the whole file, so that all of its
    parts are of one length.
    """

    path: Path
    label: str
    messages: tuple[Timed, ...]
    end_s: float

    @property
    def programs(self) -> frozenset[int]:
        """The channels on which it chooses the instrument's sound by program changes."""
        return frozenset(t.message.channel for t in self.messages if t.message.type == "program_change")


def part(score: Score, track: str | int | None = None) -> Part:
    """The part of the one track of ``score`` with that name or number (from 1), or of all of them together.

    `MidiError` when there is no such track, or nothing to play, or more than twelve hours of it.
    """
    tracks = _chosen(score, track)
    tempo = tracks[0].tempo
    end = max(t.end_tick for t in (tracks if score.independent else score.tracks))
    label = "all tracks" if track is None else f"track {tracks[0]}"
    if not any(t.notes for t in tracks):
        raise MidiError(f"{score.path}: {label} has no notes; {_listed(score)}")
    end_s = tempo.seconds(end)
    if end_s > LONGEST_S:
        raise MidiError(f"{score.path} lasts {end_s / 3600:,.1f} hours; expected at most {LONGEST_S / 3600:g}")
    # As mido merges: by tick, and at one tick by track; the sort is stable.
    events = sorted((event for t in tracks for event in t.events), key=lambda event: event.tick)
    return Part(score.path, label, tuple(Timed(tempo.seconds(e.tick), e.message) for e in _ordered(events, end)), end_s)


def lane(
    score: Score, controller: str | int, *, track: str | int | None = None, channel: int | None = None
) -> Breakpoints:
    """The values from 0 to 1 of a controller (its number or a name of `CONTROLLERS`), with 5 ms between its steps.

    Of all tracks and channels, or of one of them (channels count from 1). `MidiError` when it is never used.
    """
    number = _controller(controller)
    if channel is not None and (isinstance(channel, bool) or not 1 <= channel <= 16):
        raise MidiError(f"found channel {channel}; expected one from 1 to 16")
    tracks = _chosen(score, track)
    changes = [
        (event.tick, event.message)
        for t in tracks
        for event in t.events
        if event.message.type == "control_change" and channel in (None, event.message.channel + 1)
    ]
    # Of several at one tick the last holds.
    steps = {tick: m.value / 127 for tick, m in sorted(changes, key=lambda c: c[0]) if m.control == number}
    if not steps:
        used = sorted({m.control for _, m in changes})
        there = f"it uses {', '.join(map(str, used))}" if used else "it uses none"
        raise MidiError(f"{score.path}: controller {controller} is never used there; {there}")
    points: list[tuple[float, float]] = []
    for tick, value in steps.items():
        at = tracks[0].tempo.seconds(tick)
        if points and value != points[-1][1]:
            points.append((max(points[-1][0], at - STEP_S), points[-1][1]))
        points.append((at, value))
    return Breakpoints(tuple(points))


def _controller(controller: str | int) -> int:
    if isinstance(controller, str):
        if controller not in CONTROLLERS:
            names = ", ".join(CONTROLLERS)
            what = f"expected a number from 0 to 127 or one of {names}{nearest(controller, CONTROLLERS)}"
            raise MidiError(f"no controller is called {controller!r}; {what}")
        return CONTROLLERS[controller]
    if isinstance(controller, bool) or not 0 <= controller <= 127:
        raise MidiError(f"found controller {controller}; expected a number from 0 to 127")
    return controller


def _chosen(score: Score, track: str | int | None) -> tuple[Track, ...]:
    if track is None:
        if score.independent and len(score.tracks) > 1:
            raise MidiError(f"{score.path}: its sequences are independent (type 2); choose one: {_listed(score)}")
        return score.tracks
    if isinstance(track, str):
        name = track.strip().casefold()
        found = [t for t in score.tracks if t.name.casefold() == name]
        if len(found) > 1:
            numbers = " and ".join(str(t.number) for t in found)
            raise MidiError(f"{score.path}: tracks {numbers} are both called {track!r}; choose one by its number")
        near = nearest(track, [t.name for t in score.tracks if t.name])
    else:
        found, near = [t for t in score.tracks if t.number == track], ""
    if not found:
        raise MidiError(f"{score.path}: there is no track {track!r}; {_listed(score)}{near}")
    return (found[0],)


def _listed(score: Score) -> str:
    shown = score.tracks[:32]
    more = ", …" if len(score.tracks) > len(shown) else ""
    return f"expected one of {', '.join(str(t) for t in shown)}{more}"


def _ordered(events: Iterable[Event], end: int) -> list[Event]:
    """``events``, which come by tick, as they are to be played; all notes and pedals are let go at tick ``end``."""
    ranked: list[tuple[int, int, Event]] = []
    sounding: defaultdict[tuple[int, int], deque[int]] = defaultdict(deque)
    strays: set[tuple[int, int, int]] = set()
    pedals: set[int] = set()
    for event in events:
        message, rank = event.message, _CHANGE
        if message.type == "note_on" and message.velocity:
            sounding[message.channel, message.note].append(event.tick)
            rank = _BEGIN
        elif message.type in ("note_on", "note_off"):
            begun = sounding[message.channel, message.note]
            if not begun:
                strays.add((message.channel, message.note, event.tick))
                continue
            if begun.popleft() == event.tick:
                rank = _END
        elif message.type == "program_change" or _chooses_bank(message):
            rank = _CHOICE
        elif message.type == "control_change" and message.control == _SUSTAIN:
            (pedals.add if message.value >= 64 else pedals.discard)(message.channel)
        ranked.append((event.tick, rank, event))
    for (channel, note), begun in sounding.items():
        for tick in begun:
            # An end that came before its own beginning is one of no length; a note without any lasts to the end.
            last = tick if (channel, note, tick) in strays else max(end, tick)
            ranked.append((last, _END, Event(last, mido.Message("note_off", channel=channel, note=note))))
    let_go = (mido.Message("control_change", channel=c, control=_SUSTAIN, value=0) for c in sorted(pedals))
    ranked += [(end, _END, Event(end, message)) for message in let_go]
    return [event for _, _, event in sorted(ranked, key=lambda entry: entry[:2])]


def _chooses_bank(message: mido.Message) -> bool:
    return message.type == "control_change" and message.control in (_BANK_HIGH, _BANK_LOW)
