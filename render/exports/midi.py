"""The session's tempo, metre and markers as a Standard MIDI File without notes, to be imported by any DAW."""

from pathlib import Path

import mido

from render.exports.session import Session
from render.tempo import TempoMap

_TICKS_PER_QUARTER = 960


def write(session: Session, path: Path, part: Path) -> None:
    """Write ``session``, which will lie at ``path``, into the file ``part``; OSError when it cannot be.

    A session without a tempo is written at 120 a minute, as DAWs take it.
    """
    tempo = session.tempo or TempoMap(_TICKS_PER_QUARTER)
    events: list[tuple[int, mido.MetaMessage]] = [(0, mido.MetaMessage("track_name", name=session.title))]
    for bar in tempo.metres:
        message = mido.MetaMessage("time_signature", numerator=bar.numerator, denominator=bar.denominator)
        events.append((bar.tick, message))
    events += [(t.tick, mido.MetaMessage("set_tempo", tempo=t.us_per_quarter)) for t in tempo.tempos]
    events += [(round(tempo.tick(m.seconds)), mido.MetaMessage("marker", text=m.text)) for m in session.markers]
    events.append((max(round(tempo.tick(session.end_s)), *(tick for tick, _ in events)), _end()))
    song = mido.MidiFile(type=1, ticks_per_beat=tempo.ticks_per_quarter, charset="utf-8")
    track, now = song.add_track(), 0
    for tick, message in sorted(events, key=lambda event: event[0]):
        track.append(message.copy(time=tick - now))
        now = tick
    song.save(part)


def _end() -> mido.MetaMessage:
    return mido.MetaMessage("end_of_track")
