"""A rendered album as a DAW sees it, in no DAW's words: tracks, clips at their samples, tempo and markers.

Time zero is where the session starts. That is the song's start, or with stems that carry a time of day (the
TimeReference of Broadcast WAV) the whole hour before the first of them, which the session keeps as its own time.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from engine import audio
from engine.formats import Format
from render.tempo import Marker, Song, TempoMap

if TYPE_CHECKING:
    from render.plan import Job

_HOUR_S = 3600
_DAY_S = 24 * _HOUR_S


@dataclass(frozen=True)
class Clip:
    """All of the file at ``path``, from ``start_samples`` of its own ``rate`` after the session's start."""

    name: str
    path: Path
    start_samples: int
    length_samples: int
    rate: int
    channels: int
    format: Format

    @property
    def start_s(self) -> float:
        """The nearest float to the start in seconds."""
        return self.start_samples / self.rate

    @property
    def duration_s(self) -> float:
        """The nearest float to the length in seconds."""
        return self.length_samples / self.rate


@dataclass(frozen=True)
class Track:
    """One track of the mixer with the clips on it; an original stem is ``muted``."""

    name: str
    clips: tuple[Clip, ...]
    muted: bool = False

    @property
    def channels(self) -> int:
        """As many as its widest clip has."""
        return max((clip.channels for clip in self.clips), default=2)


@dataclass(frozen=True)
class Session:
    """A whole session at ``rate`` Hz; ``origin_s`` is the time of day at its start, ``tempo`` None when unknown."""

    title: str
    tracks: tuple[Track, ...]
    rate: int
    tempo: TempoMap | None = None
    markers: tuple[Marker, ...] = ()
    origin_s: int = 0

    @property
    def clips(self) -> tuple[Clip, ...]:
        """The clips of all tracks, in order."""
        return tuple(clip for track in self.tracks for clip in track.clips)

    @property
    def end_s(self) -> float:
        """Where the last clip ends."""
        return max((clip.start_s + clip.duration_s for clip in self.clips), default=0.0)


def compose(
    title: str,
    jobs: "Iterable[Job]",
    *,
    originals: bool = False,
    reference_of: Callable[[Path], int | None] = lambda path: None,
) -> Session:
    """The session of ``jobs``, whose outputs are there: a track for each, and one for its stem with ``originals``.

    A part of a MIDI file, which is no stem that could be heard, has no such track.

    ``reference_of`` gives the time of day at which a stem starts, in samples of its rate, or None; times that no day
    has count as none. A stem without one starts with the session. Tempo and markers are those of the song that most
    stems share; of one that begins elsewhere than the session only the markers fit. `AudioError` for an output that
    cannot be read.
    """
    jobs = list(jobs)
    starts = {job.index: _start_s(job, reference_of) for job in jobs}
    known = [start for start in starts.values() if start is not None]
    origin_s = int(min(known) // _HOUR_S) * _HOUR_S if known else 0
    tracks, songs = [], Counter[tuple[Song, float]]()
    for job in jobs:
        start = starts[job.index]
        offset = Fraction(0) if start is None else start - origin_s
        if job.song:
            songs[job.song, round(float(offset) - job.song_start_s, 6)] += 1
        tracks.append(_track(job.title, job.output, offset))
        if originals and job.performance is None:
            tracks.append(_track(f"{job.title} (original)", job.stem, offset, muted=True))
    rates = Counter(clip.rate for track in tracks for clip in track.clips)
    rate = max(rates, key=lambda hz: (rates[hz], hz), default=48_000)
    song, begin_s = max(songs, key=lambda pair: songs[pair], default=(None, 0.0))
    tempo = song.tempo if song and begin_s == 0 and not song.tempo.timecode else None
    placed = [Marker(m.seconds + begin_s, printable(m.text)) for m in song.markers] if song else []
    markers = tuple(marker for marker in placed if marker.seconds >= 0)
    return Session(printable(title), tuple(tracks), rate, tempo, markers, origin_s)


def printable(text: str) -> str:
    """``text`` in one line, without what XML and project files cannot hold: control codes, halves of characters."""
    return "".join(c if c.isprintable() else "�" for c in text)


def _start_s(job: "Job", reference_of: Callable[[Path], int | None]) -> Fraction | None:
    samples = reference_of(job.stem) if job.performance is None else None
    if samples is None or not 0 <= samples < _DAY_S * job.info.rate:
        return None
    return Fraction(samples, job.info.rate)


def _track(name: str, path: Path, start_s: Fraction, *, muted: bool = False) -> Track:
    info = audio.probe(path)
    start = round(start_s * info.rate)
    clip = Clip(printable(name), path, start, info.frames, info.rate, info.channels, info.format)
    return Track(printable(name), (clip,), muted)
