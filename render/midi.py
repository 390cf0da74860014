"""Read a Standard MIDI File (MIDI 1.0, RP-001): tracks of mido's messages in absolute ticks, tempo, metre, markers.

The messages are mido's; the walk through the file is ours, because a file may come from anyone. mido 1.3 reads on past
the end of a chunk, takes a time of any number of bytes (a file of 0x80s keeps it busy for ever), and refuses whole
files for a key signature that nobody needs, for chunks of other kinds and for RIFF wrappers; of a file in SMPTE time it
makes negative seconds. Where it reads a file at all, both agree.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import mido

from render.errors import MidiError
from render.tempo import Marker, Song, TempoMap

MAX_BYTES = 16_000_000
MAX_EVENTS = 1_000_000

_TEXT = 200  # characters of a name that are kept
_NAME, _MARKER, _CUE, _END, _TEMPO, _METRE = 0x03, 0x06, 0x07, 0x2F, 0x51, 0x58
_EXPECTED = "expected a Standard MIDI File"


@dataclass(frozen=True)
class Event:
    """A channel message at ``tick`` from the start of its track."""

    tick: int
    message: mido.Message


@dataclass(frozen=True)
class Track:
    """One track: its ``number`` in the file from 1, its ``name`` or nothing, and its ``events`` in the file's order.

    ``end_tick`` is where it ends, which may be long after its last event. ``tempo`` is the whole file's, but where
    the tracks of a file are independent.
    """

    number: int
    name: str
    events: tuple[Event, ...]
    end_tick: int
    tempo: TempoMap
    markers: tuple[Marker, ...]

    @property
    def notes(self) -> int:
        """How many notes begin."""
        return sum(e.message.type == "note_on" and e.message.velocity > 0 for e in self.events)

    def __str__(self) -> str:
        """The track as a list of them shows it."""
        return f"{self.number}" + (f" {self.name!r}" if self.name else "") + ("" if self.notes else " (no notes)")


@dataclass(frozen=True)
class Score:
    """All that is kept of the MIDI file at ``path``; ``independent`` tracks do not belong together (type 2)."""

    path: Path
    tracks: tuple[Track, ...]
    independent: bool = False

    @property
    def song(self) -> Song:
        """Its tempo map and markers; `MidiError` when its tracks have one each."""
        if self.independent and len(self.tracks) > 1:
            what = f"holds {len(self.tracks)} independent sequences (type 2), each with a tempo of its own"
            raise MidiError(f"{self.path}: {what}; expected type 0 or 1: export it so")
        return Song(self.path, self.tracks[0].tempo, self.tracks[0].markers)


def read(path: Path) -> Score:
    """The MIDI file at ``path``; `MidiError` when it is none, is damaged or truncated, or is larger than any song."""
    try:
        if not path.is_file():
            what = "is a folder" if path.is_dir() else "is no file" if path.exists() else "does not exist"
            raise MidiError(f"{path} {what}; {_EXPECTED}")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a path that no file can have
        raise MidiError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    try:
        return _score(path, data)
    except _Damage as damage:
        raise MidiError(f"{path}: {damage}") from None


class _Damage(Exception):
    """What is wrong with the bytes of a file."""


@dataclass
class _Raw:
    """One track as it is being read."""

    name: str = ""
    events: list[Event] = field(default_factory=list)
    tempos: list[tuple[int, int]] = field(default_factory=list)
    metres: list[tuple[int, int, int]] = field(default_factory=list)
    markers: list[tuple[int, str]] = field(default_factory=list)
    end_tick: int = 0
    count: int = 0  # of events, those that are not kept among them


def _score(path: Path, data: bytes) -> Score:
    if not data:
        raise _Damage(f"is empty; {_EXPECTED}")
    if len(data) > MAX_BYTES:
        raise _Damage(f"is larger than {MAX_BYTES:,} bytes; {_EXPECTED} of one song")
    if data[:4] == b"RIFF" and data[8:12] == b"RMID":
        data = next((body for name, body in _chunks(data, 12, "<") if name == b"data"), b"")
    if data[:4] != b"MThd" or len(data) < 14:
        raise _Damage(f"begins with {data[:4]!r} and has {len(data)} bytes; {_EXPECTED}, which begins with b'MThd'")
    size, kind, count, division = struct.unpack(">IHHh", data[4:14])
    if size < 6 or kind > 2 or not count:
        raise _Damage(f"its header says type {kind}, {count} tracks; expected type 0, 1 or 2, and a track")
    raws: list[_Raw] = []
    room = MAX_EVENTS
    for name, body in _chunks(data, 8 + size, ">"):
        if name == b"MTrk" and len(raws) < count:
            raws.append(_track(body, len(raws) + 1, room))
            room -= raws[-1].count
    if len(raws) < count:
        raise _Damage(f"holds {len(raws)} of the {count} tracks that its header tells of; it is truncated: export it")
    try:
        tracks = _tracks(raws, division, independent=kind == 2)
    except ValueError as error:
        raise _Damage(f"{error}; export it again") from error
    return Score(path, tracks, kind == 2)


def _tracks(raws: list[_Raw], division: int, *, independent: bool) -> tuple[Track, ...]:
    if not independent:
        tempo, markers = _time(raws, division)
        return tuple(_made(number, raw, tempo, markers) for number, raw in enumerate(raws, 1))
    return tuple(_made(number, raw, *_time([raw], division)) for number, raw in enumerate(raws, 1))


def _made(number: int, raw: _Raw, tempo: TempoMap, markers: tuple[Marker, ...]) -> Track:
    return Track(number, raw.name, tuple(raw.events), raw.end_tick, tempo, markers)


def _time(raws: list[_Raw], division: int) -> tuple[TempoMap, tuple[Marker, ...]]:
    """The tempo map and the markers that ``raws`` have between them."""
    if division < 0:
        tempo = _clock(-(division >> 8), division & 0xFF)
    else:
        changes, metres = [t for raw in raws for t in raw.tempos], [m for raw in raws for m in raw.metres]
        tempo = TempoMap.of(division, changes, metres)
    markers = sorted((at, text) for raw in raws for at, text in raw.markers)
    return tempo, tuple(Marker(tempo.seconds(at), text) for at, text in markers)


def _clock(frames: int, ticks: int) -> TempoMap:
    """Time in ``ticks`` a frame of SMPTE, whose 29 are 30 000 / 1001 frames a second; tempos mean nothing there."""
    if frames not in (24, 25, 29, 30):
        raise ValueError(f"found time in {frames} frames a second; expected 24, 25, 29 or 30")
    whole, us = (30, 1_001_000) if frames == 29 else (frames, 1_000_000)
    steady = TempoMap.of(whole * ticks, [(0, us)])
    return TempoMap(steady.ticks_per_quarter, steady.tempos, steady.metres, timecode=True)


def _chunks(data: bytes, at: int, order: str) -> Iterator[tuple[bytes, bytes]]:
    """Name and body of each chunk from ``at`` on; those of RIFF (``<``) are padded to an even length."""
    while at + 8 <= len(data):
        name, size = struct.unpack(f"{order}4sI", data[at : at + 8])
        body = data[at + 8 : at + 8 + size]
        if len(body) < size and name in (b"MTrk", b"data"):
            raise _Damage(f"a track ends after {len(body)} of its {size} bytes; the file is truncated: export it again")
        yield name, body
        at += 8 + size + (size % 2 if order == "<" else 0)


def _track(body: bytes, number: int, most: int) -> _Raw:
    """The track in ``body``, of at most ``most`` events."""
    raw = _Raw()
    try:
        _walk(body, raw, most)
    except IndexError:
        raise _Damage(f"track {number} ends in the middle of an event; it is truncated: export it again") from None
    except _Damage as damage:
        raise _Damage(f"track {number} {damage}") from None
    return raw


def _walk(body: bytes, raw: _Raw, most: int) -> None:
    """Read ``body`` into ``raw``; IndexError where it ends too early."""
    at = status = 0
    while at < len(body):
        delta, at = _length(body, at)
        raw.end_tick += delta
        raw.count += 1
        if raw.count > most:
            raise _Damage(f"takes the file past {MAX_EVENTS:,} events; expected those of one song")
        if body[at] >= 0x80:
            head, at = body[at], at + 1
        elif status:
            head = status
        else:
            raise _Damage(f"has data without a status at byte {at}; it is damaged: export it again")
        if head < 0xF0:
            status = head
            size = 1 if 0xC0 <= head < 0xE0 else 2
            data, at = body[at : at + size], at + size
            if len(data) < size:
                raise IndexError
            if max(data) > 0x7F:
                raise _Damage(f"has {max(data):#04x} as data before byte {at}, expected at most 0x7f; export it again")
            raw.events.append(Event(raw.end_tick, mido.Message.from_bytes((head, *data))))
            continue
        if head not in (0xF0, 0xF7, 0xFF):
            raise _Damage(f"has the status {head:#04x} at byte {at - 1}, which no file holds; export it again")
        kind = body[at] if head == 0xFF else -1  # the rest is system exclusive, which is left out
        size, at = _length(body, at + (head == 0xFF))
        data, at = body[at : at + size], at + size
        if len(data) < size:
            raise IndexError
        if kind == _END:
            return
        _meta(raw, kind, data)


def _meta(raw: _Raw, kind: int, data: bytes) -> None:
    if kind == _TEMPO and len(data) == 3:
        raw.tempos.append((raw.end_tick, int.from_bytes(data, "big")))
    elif kind == _METRE and len(data) >= 2:
        raw.metres.append((raw.end_tick, data[0], 1 << data[1]))
    elif kind in (_MARKER, _CUE):
        raw.markers.append((raw.end_tick, _text(data)))
    elif kind == _NAME and not raw.name:
        raw.name = _text(data)


def _length(body: bytes, at: int) -> tuple[int, int]:
    """The number of variable length at ``at``, at most four bytes of it, and where it ends."""
    value = 0
    for end in range(at + 1, at + 5):
        value = value << 7 | body[end - 1] & 0x7F
        if body[end - 1] < 0x80:
            return value, end
    raise _Damage(f"has a number of more than four bytes at byte {at}; it is damaged: export it again")


def _text(data: bytes) -> str:
    """A name as it was meant: UTF-8 where it is, else Latin-1; without what does not print."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:_TEXT]
