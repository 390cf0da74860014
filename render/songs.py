"""Which MIDI file gives a stem its bars: the one that was chosen, or the one of the same name beside it."""

from pathlib import Path

from render import midi
from render.errors import MidiError
from render.midifiles import beside
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
