"""The session as a REAPER project, its media by paths relative to it.

Source: REAPER's project file as REAPER 7 writes it; times are in seconds, with as many digits as it takes.
"""

import os
from pathlib import Path

import rpp
from rpp import Element

from render.exports.session import Clip, Session, Track

_MEDIA = {"FLAC": "FLAC", "MP3": "MP3", "OGG": "VORBIS"}  # everything else is read by its WAVE source


def write(session: Session, path: Path, part: Path) -> None:
    """Write ``session``, which will lie at ``path``, into the file ``part``; OSError when it cannot be."""
    with part.open("w", encoding="utf-8", newline="\n") as file:
        rpp.dump(_project(session, path.parent), file)


def _project(session: Session, folder: Path) -> Element:
    tempo = session.tempo
    first = (_number(tempo.tempos[0].bpm), tempo.metres[0].numerator, tempo.metres[0].denominator) if tempo else None
    children: list[object] = [
        ["PROJOFFS", session.origin_s, 0, 0],
        ["SAMPLERATE", session.rate, 1, 0],
        ["TEMPO", *(first or (120, 4, 4))],
        ["TITLE", session.title],
    ]
    if tempo:
        children.append(_tempo(session))
    for number, marker in enumerate(session.markers, 1):
        children.append(["MARKER", number, _number(marker.seconds), marker.text, 0])
    children += [_track(track, folder) for track in session.tracks]
    return Element("REAPER_PROJECT", ["0.1", "7.0", "0"], children)


def _tempo(session: Session) -> Element:
    """One point for each tick at which tempo or metre change, square: a tempo holds until the next."""
    assert session.tempo is not None
    changes = {bar.tick: bar for bar in session.tempo.metres}
    points = []
    for tick in sorted({*changes, *(tempo.tick for tempo in session.tempo.tempos)}):
        bpm = [tempo for tempo in session.tempo.tempos if tempo.tick <= tick][-1].bpm
        point: list[object] = ["PT", _number(session.tempo.seconds(tick)), _number(bpm), 1]
        if bar := changes.get(tick):
            point += [bar.denominator << 16 | bar.numerator, 0, 1]
        points.append(point)
    return Element("TEMPOENVEX", [], [["ACT", 1, -1], ["VIS", 1, 0, 1], ["DEFSHAPE", 1, -1, -1], *points])


def _track(track: Track, folder: Path) -> Element:
    wide = max(2, track.channels + track.channels % 2)
    head: list[object] = [["NAME", track.name], ["MUTESOLO", int(track.muted), 0, 0], ["NCHAN", wide]]
    return Element("TRACK", [], head + [_item(clip, folder) for clip in track.clips])


def _item(clip: Clip, folder: Path) -> Element:
    source = Element("SOURCE", [_MEDIA.get(clip.format.container, "WAVE")], [["FILE", _relative(clip.path, folder)]])
    return Element(
        "ITEM",
        [],
        [
            ["POSITION", _number(clip.start_s)],
            ["LENGTH", _number(clip.duration_s)],
            ["LOOP", 0],
            ["FADEIN", 0, 0, 0],
            ["FADEOUT", 0, 0, 0],
            ["NAME", clip.name],
            ["SOFFS", 0],
            ["PLAYRATE", 1, 0, 0, -1],
            source,
        ],
    )


def _number(value: float) -> str:
    # Never 1e-05, which not every reader of numbers takes.
    return f"{value:.15f}".rstrip("0").rstrip(".")


def _relative(path: Path, folder: Path) -> str:
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:  # on another drive of Windows
        return path.resolve().as_posix()
