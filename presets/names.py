"""What a preset may be called: names that every file system, command line and blend can hold."""

import difflib
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from presets.errors import PresetError

SUFFIX = ".gram.safetensors"
MAX_CHARACTERS = 80
MAX_BYTES = 200  # in UTF-8: with the suffix it stays below the 255 bytes a file name may take

_EXTRA = " -_."
_DEVICES = frozenset(["con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in "0123456789¹²³")])


def validated(name: str) -> str:
    """``name`` in Unicode's composed form (NFC), or `PresetError` saying what is wrong with it.

    >>> validated("Tape & Choir")
    Traceback (most recent call last):
    presets.errors.PresetError: preset name 'Tape & Choir' has '&'; use letters, digits, space, - _ .
    """
    name = composed(name)
    if problem := _problem(name):
        raise PresetError(f"preset name {name[:MAX_CHARACTERS]!r} {problem}")
    return name


def from_path(path: Path) -> str:
    """The name a preset file gives its preset; what a name cannot hold becomes ``-``.

    >>> from_path(Path("from a friend/rain (v2).gram.safetensors"))
    'rain -v2-'
    """
    clean = "".join(c if _allowed(c) else "-" for c in stem_of(path)).lstrip(".- ").rstrip(". ")
    while len(clean) > MAX_CHARACTERS or len(clean.encode()) > MAX_BYTES:
        clean = clean[:-1].rstrip(". ")
    return f"preset {clean}".strip() if not clean or _problem(clean) else clean


def stem_of(path: Path) -> str:
    """The file's name without ``.gram.safetensors`` (or ``.safetensors``), in Unicode's composed form."""
    return re.sub(r"(\.gram)?\.safetensors$", "", composed(path.name), flags=re.IGNORECASE)


def composed(text: str) -> str:
    """``text`` in Unicode's composed form (NFC), as names are written here whatever the file system made of them."""
    return unicodedata.normalize("NFC", text)


def printable(text: str) -> str:
    """``text`` with a � for each character a terminal should not be sent: control codes, half surrogates."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def is_path(text: str) -> bool:
    """Whether ``text`` names a preset file rather than a preset of the library."""
    return text.lower().endswith(".safetensors")


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The one of ``names`` that ``name`` most likely meant, or None when nothing is near."""
    folded = {n.casefold(): n for n in names}
    near = difflib.get_close_matches(name.casefold(), folded, 1, 0.5)
    return folded[near[0]] if near else None


def _allowed(character: str) -> bool:
    return character in _EXTRA or unicodedata.category(character)[0] in "LMN"


def _problem(name: str) -> str | None:
    if not name:
        return "is empty; give it at least one letter"
    if len(name) > MAX_CHARACTERS:
        return f"is {len(name)} characters long; use at most {MAX_CHARACTERS}"
    if wrong := next((c for c in name if not _allowed(c)), None):
        return f"has {wrong!r}; use letters, digits, space, - _ ."
    if len(size := name.encode()) > MAX_BYTES:
        return f"takes {len(size)} bytes in UTF-8; use at most {MAX_BYTES}"
    if name[0] in ".- " or name[-1] in ". ":
        return "starts with . - or a space, or ends with . or a space; start with a letter or digit"
    if name.split(".")[0].rstrip().casefold() in _DEVICES:
        return "is the name of a device on Windows; choose another"
    if name.lower().endswith((".safetensors", ".gram")):
        return "ends like a preset file; leave out .gram and .safetensors"
    return None
