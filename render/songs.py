"""Which MIDI file gives a stem its bars: the one that was chosen, or the one of the same name beside it."""

from pathlib import Path

from render import midi
from render.errors import MidiError
from render.tempo import Song

_ENDINGS = (".mid", ".midi", ".MID", ".MIDI", ".Mid")


def beside(stem: Path) -> Path | None:
    """The MIDI file with the name of ``stem`` in its folder, or None; never ``stem`` itself."""
    if stem.suffix.lower() in midi.SUFFIXES:
        return None
    try:
        return next((path for ending in _ENDINGS if (path := stem.with_suffix(ending)).is_file()), None)
    except (OSError, ValueError):  # a name that no file can have
        return None


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
