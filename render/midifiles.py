"""What MIDI files are called, and the one that lies beside a stem: names only, nothing is read."""

from pathlib import Path

SUFFIXES = frozenset({".mid", ".midi", ".smf", ".rmi", ".kar"})
_ENDINGS = (".mid", ".midi", ".MID", ".MIDI", ".Mid")


def beside(stem: Path) -> Path | None:
    """The MIDI file with the name of ``stem`` in its folder, or None; never ``stem`` itself."""
    if stem.suffix.lower() in SUFFIXES:
        return None
    try:
        return next((path for ending in _ENDINGS if (path := stem.with_suffix(ending)).is_file()), None)
    except (OSError, ValueError):  # a name that no file can have
        return None
