"""Errors of the render house: each message says what was expected, what was found and what to do."""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


class RenderError(Exception):
    """Root of every error the render house raises on purpose."""


class ChainError(RenderError):
    """A plugin of a chain cannot do its work on this stem."""


class MidiError(RenderError):
    """A MIDI file cannot be read, or has nothing of what is asked of it."""


class PublishError(RenderError):
    """An output cannot be put in its place."""


@dataclass(frozen=True)
class Mistake:
    """One thing wrong in what the user asked for: which file, which key in it, and the rest of the line."""

    file: str
    key: str
    message: str

    def __str__(self) -> str:
        """The mistake in one line, whatever characters its parts hold."""
        line = ": ".join(part for part in (self.file, self.key, self.message) if part)
        return "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)


class InputError(RenderError):
    """What was asked for has ``mistakes``: all of them, one line each, found before any audio is touched."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        super().__init__("\n".join(str(m) for m in mistakes))
        self.mistakes = tuple(mistakes)


def found(value: object) -> str:
    """``value`` as a mistake shows it: as it would be written, cut at 60 characters."""
    if isinstance(value, bool):
        text = str(value).lower()
    elif isinstance(value, (str, int, float)):
        text = repr(value)
    else:
        text = "a table" if isinstance(value, dict) else "a list" if isinstance(value, list) else "a date or time"
    return text if len(text) <= 60 else f"{text[:59]}…"


def nearest(name: str, names: Iterable[str]) -> str:
    """``; did you mean 'NAME'?`` for the one of ``names`` most like ``name``, or nothing when none is like it.

    >>> nearest("Compresser", ["compressor", "chorus"])
    "; did you mean 'compressor'?"
    """
    plain = {n.replace("_", "").casefold(): n for n in names}
    near = difflib.get_close_matches(name.replace("_", "").replace("-", "").casefold(), plain, 1, 0.5)
    return f"; did you mean {plain[near[0]]!r}?" if near else ""
