"""Names of outputs: templates with fields in braces, made safe for every file system, never leaving their folder."""

import re
import string
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from engine.formats import SUFFIXES
from render.errors import RenderError, found, nearest

FIELDS: Mapping[str, str] = {
    "album": "the album's title",
    "index": "the track's number, from 1; {index:02d} pads it",
    "track": "the track's title",
    "title": "the same as track",
    "stem": "the stem's file name without its ending",
    "preset": "the preset's name, or the blend's",
    "quality": "draft, standard or fine",
    "seed": "the seed",
}
_NUMBERS = frozenset({"index", "seed"})
_NUMBER_FORMAT = re.compile(r"(0?[1-9])?d?")
UNWRITABLE = frozenset({".mp3", ".ogg", ".oga", ".opus", ".m4a", ".aac", ".wma", ".au", ".ape", ".wv"})
_FORBIDDEN = re.compile(r'[<>:"/\\|?*]')
_DEVICES = frozenset(["con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))])
# A temporary file's name and other systems' limits have to fit into the 255 bytes as well.
MAX_BYTES = 200


class NamingError(RenderError):
    """A template is not one, or asks for what there is not."""


@dataclass(frozen=True)
class Template:
    """A template taken apart: ``folder`` has no fields, ``parts`` are the rest of the path, ``suffix`` may be empty."""

    text: str
    folder: str
    parts: tuple[str, ...]
    suffix: str

    @property
    def container(self) -> str | None:
        """The audio container that the suffix asks for, or None without a suffix."""
        return SUFFIXES[self.suffix.lower()] if self.suffix else None

    def fill(self, values: Mapping[str, str | int], *, suffix: str) -> PurePosixPath:
        """The path below the output folder with ``values`` put in; ``suffix`` is appended when there is none yet.

        However odd the values, the result is relative, has no ``..`` and is a name that every system takes.
        """
        clean = {k: v if isinstance(v, int) else _clean(v) for k, v in values.items()}
        parts = [component(part.format_map(clean)) for part in self.parts[:-1]]
        name = self.parts[-1].format_map(clean)
        return PurePosixPath(*parts, component(name, self.suffix or suffix))


def parse(text: str, *, fields: Mapping[str, str] = FIELDS) -> Template:
    """The template ``text``; `NamingError` when it could leave its folder or names an unknown field or format.

    >>> parse("renders/{album}/{index:02d}_{track}.wav").folder
    'renders'
    """
    if not text.isprintable():
        raise NamingError(f"found {found(text)}; expected no line breaks or control characters")
    path = PurePosixPath(text.replace("\\", "/"))
    if path.is_absolute() or re.match(r"[A-Za-z]:", text):
        raise NamingError(f"found {found(text)}; expected a path relative to the manifest (--out puts it elsewhere)")
    if ".." in path.parts:
        raise NamingError(f"found {found(text)}; expected a path without .. (--out puts the outputs elsewhere)")
    if text.startswith("~"):
        raise NamingError(f"found {found(text)}; expected a path without ~ (--out puts the outputs elsewhere)")
    if not path.parts or text.endswith(("/", "\\")):
        raise NamingError(f"found {found(text)}; expected a file name at the end, like {{track}}_{{preset}}.wav")
    for part in path.parts:
        _check_fields(part, fields)
    parts, folder = list(path.parts), []
    while len(parts) > 1 and "{" not in parts[0]:
        folder.append(parts.pop(0))
    suffix = _suffix(parts[-1])
    parts[-1] = parts[-1][: len(parts[-1]) - len(suffix)]
    if not parts[-1]:
        raise NamingError(f"found {found(text)}; expected a name before {suffix}")
    return Template(text, "/".join(folder), tuple(parts), suffix)


def component(text: str, suffix: str = "") -> str:
    """``text`` as one name of a file or folder that every system takes, with ``suffix`` at its end.

    >>> component("Vox: take 1/2", ".wav")
    'Vox_ take 1_2.wav'
    """
    clean = _clean(text).lstrip(".").rstrip(". ").lstrip()
    room = MAX_BYTES - len(suffix.encode())
    while len(clean.encode()) > room:
        clean = clean[:-1].rstrip(". ")
    if not clean:
        clean = "untitled"
    if clean.split(".")[0].rstrip().casefold() in _DEVICES:
        clean = f"_{clean}"
    return clean + suffix


def collision_key(path: Path) -> str:
    """The same text for all paths that some file system takes for one: case and composition do not count."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", str(path)).casefold())


def _clean(text: str) -> str:
    composed = unicodedata.normalize("NFC", text)
    return "".join(_safe(character) for character in composed)


def _safe(character: str) -> str:
    if _FORBIDDEN.match(character) or not character.isprintable():
        # Line breaks, escape codes and the halves of undecodable file names are not printable.
        return "_"
    return character


def _suffix(name: str) -> str:
    ending = re.search(r"\.[A-Za-z0-9]{2,5}$", name)
    if ending is None:
        return ""
    if ending[0].lower() in SUFFIXES:
        return ending[0]
    if ending[0].lower() in UNWRITABLE:
        raise NamingError(f"found the ending {ending[0]!r}; expected .wav, .aiff, .flac or none")
    return ""


def _check_fields(part: str, fields: Mapping[str, str]) -> None:
    try:
        pieces = list(string.Formatter().parse(part))
    except ValueError as error:
        raise NamingError(f"found {found(part)}, no template: {error}; write a brace itself as {{{{") from error
    for _, name, form, conversion in pieces:
        if name is None:
            continue
        if name not in fields:
            raise NamingError(
                f"found {{{name}}}; expected one of {', '.join(f'{{{f}}}' for f in fields)}{nearest(name, fields)}"
            )
        numeric = name in _NUMBERS
        if conversion or (form and not (numeric and _NUMBER_FORMAT.fullmatch(form))):
            remedy = f"{{{name}}} or {{{name}:02d}}" if numeric else f"{{{name}}}"
            shown = f"{{{name}{f'!{conversion}' if conversion else ''}{f':{form}' if form else ''}}}"
            raise NamingError(f"found {shown}; expected {remedy}")
