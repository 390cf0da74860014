"""Which MIDI file gives a stem its bars: the one that was chosen, or the one of the same name beside it."""

from pathlib import Path

from engine import audio
from engine.errors import AudioError
from render import midi
from render.errors import MidiError
from render.midifiles import SUFFIXES, beside
from render.tempo import Song


def of_stem(stem: Path) -> tuple[Song | None, tuple[str, ...]]:
    """The song beside ``stem``, and notes: one that cannot be read is told of, and the stem does without.

    Nobody asked for it, and it may be there for something else.
    """
    path = beside(stem)
    if path is None:
        return None, ()
    try:
        return chosen(path), ()
    except MidiError as error:
        return None, (f"no tempo from the file beside it: {error}",)


def chosen(path: Path) -> Song:
    """The song of the MIDI file at ``path``; `MidiError` when there is none."""
    return midi.read(path).song


def into_session_s(stem: Path) -> float:
    """Where in its session ``stem`` begins: its time of day past the whole hour, where sessions start."""
    if stem.suffix.lower() in SUFFIXES:
        return 0.0
    try:
        return audio.read_annotations(stem).start_s % 3600
    except AudioError:  # it was read a moment ago, and is told of when it is rendered
        return 0.0
