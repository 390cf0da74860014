"""What in a watched folder is an input, and how everything that is made of it is called.

A name of an input is whatever the file system gives: it may hold line breaks, braces, a leading dash or bytes that are
no UTF-8 (surrogateescape). A name of an output is one that every system takes.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Literal

from engine.formats import SUFFIXES
from render import midifiles, naming
from render.naming import UNWRITABLE

OUT = "_out"
FAILED = "_failed"
DONE = "_done"
STATE = ".gramophone"
CONFIG = "watch.toml"
ALBUM = "album.toml"
TEMPLATE = "{folder}/{stem}"
FIELDS: Mapping[str, str] = {
    "folder": "the folder of the stem in the watched folder; alone between slashes it keeps its sub folders",
    "stem": naming.FIELDS["stem"],
    "preset": naming.FIELDS["preset"],
    "quality": naming.FIELDS["quality"],
    "seed": naming.FIELDS["seed"],
}
# What is dropped as sound, also when the engine cannot read it: a stem that fails is told, one that is passed over not.
SOUND = frozenset(SUFFIXES) | UNWRITABLE
# MIDI files, which are no stems: beside one of the same name they give it tempo and automation.
SONGS = midifiles.SUFFIXES
NAME_BYTES = 255

# Endings of files that a browser, a copying program or an upload has not finished.
_UNFINISHED = (
    *(".part", ".partial", ".tmp", ".temp", ".crdownload", ".download", ".filepart", ".opdownload", ".aria2"),
    *(".!ut", ".!qb", ".!sync", ".bts", ".swp", ".upload", "~"),
)
# How many parts of a folder's name may end in digits; each doubles the ways to read it as a blend.
_MAX_PARTS = 8
# What follows the last dot of a name is no ending when it is longer.
_MAX_ENDING = 16
_DIGITS = re.compile(r"[0-9]{1,2}\Z")

Kind = Literal["stem", "album", "config", "sidecar", "song"]


def passed_over(name: str, *, top: bool) -> bool:
    """Whether a file or folder called ``name`` is never an input, and nothing below it is: hidden, temporary, ours.

    ``top`` says that it lies in the watched folder itself, where a leading ``_`` is the watch house's own.

    >>> passed_over(".vox.wav.Xy12Zq", top=False), passed_over("_out", top=True), passed_over("_out", top=False)
    (True, True, False)
    """
    return name.startswith((".", "~")) or (top and name.startswith("_")) or name.casefold().endswith(_UNFINISHED)


def kind(name: str) -> Kind | None:
    """What a file called ``name`` is to the watch house; None for what it leaves alone.

    >>> kind("Vox.WAV"), kind("album.toml"), kind("watch.toml"), kind("vox.toml"), kind("vox.mid"), kind("notes.txt")
    ('stem', 'album', 'config', 'sidecar', 'song', None)
    """
    if name == CONFIG:
        return "config"
    if name.casefold() == ALBUM:
        return "album"
    suffix = ending(name).casefold()
    if suffix == ".toml":
        return "sidecar"
    return "song" if suffix in SONGS else "stem" if suffix in SOUND else None


def ending(name: str) -> str:
    """The ending of ``name`` with its dot, ``.wav``, or nothing.

    >>> ending("take 1.5.wav"), ending("README"), ending(".wav")
    ('.wav', '', '')
    """
    bare, dot, last = name.rpartition(".")
    return f"{dot}{last}" if bare.strip(".") and last else ""


def sidecar(relative: str) -> str | None:
    """The path of the sidecar of the stem at ``relative``, or None for a stem whose sidecar's name means another thing.

    >>> sidecar("tape/vox.wav"), sidecar("tape/album.wav")
    ('tape/vox.toml', None)
    """
    path = PurePosixPath(relative)
    beside = path.with_suffix(".toml")
    return None if kind(beside.name) != "sidecar" else str(beside)


def is_album(relative: str) -> bool:
    """Whether ``relative`` is the manifest of an album."""
    return kind(PurePosixPath(relative).name) == "album"


def is_input(relative: str) -> bool:
    """Whether the file at ``relative``, whose separators are ``/``, is a stem or an album by its name and place.

    >>> is_input("tape/vox.wav"), is_input("_out/tape/vox.wav"), is_input("tape/.tmp/vox.wav"), is_input("../vox.wav")
    (True, False, False, False)
    """
    parts = relative.split("/")
    if any(not part or passed_over(part, top=depth == 0) for depth, part in enumerate(parts)):
        return False
    return kind(parts[-1]) in ("stem", "album")


def relative(root: Path, path: Path) -> str:
    """``path``, which lies below ``root``, from there on and with ``/`` between its parts."""
    return path.relative_to(root).as_posix()


def folder_of(relative: str) -> str:
    """The folder that holds ``relative``, empty for the watched folder itself."""
    return relative.rpartition("/")[0]


def folders_above(relative: str) -> tuple[str, ...]:
    """Every folder on the way to ``relative``, the nearest first and the watched folder, ``""``, last.

    >>> folders_above("tape/drums/kick.wav")
    ('tape/drums', 'tape', '')
    """
    parts = relative.split("/")[:-1]
    return tuple("/".join(parts[:depth]) for depth in range(len(parts), -1, -1))


def shown(text: str) -> str:
    """``text`` in one line that a terminal or a log can show, each odd character as Python would write it.

    >>> print(shown("a\\nb" + chr(0xDCFF)))
    a\\nb\\udcff
    """
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def parse_template(text: str) -> naming.Template:
    """The output template ``text``; `NamingError` when it could leave the output folder or names an unknown field."""
    return naming.parse(text, fields=FIELDS)


def output(template: naming.Template, values: Mapping[str, str | int]) -> PurePosixPath:
    """The path below the output folder that ``template`` gives for ``values``, one for each of `FIELDS`.

    Unless the template has an ending, the path has none either: it goes with the format, which only the worker learns.
    However odd the values, it is relative, has no ``..`` and no part that a system refuses.
    """
    folder = str(values["folder"])
    parts: list[str] = template.folder.split("/") if template.folder else []
    for part in template.parts[:-1]:
        if part == "{folder}":
            parts += folder_place(folder).parts
        elif filled := _fill(part, values):
            parts.append(naming.component(filled))
    return PurePosixPath(*parts, naming.component(_fill(template.parts[-1], values), template.suffix))


def folder_place(folder: str) -> PurePosixPath:
    """Where below the output folder that goes which is made of the stems' folder ``folder``.

    >>> folder_place("tape/drums: takes")
    PurePosixPath('tape/drums_ takes')
    """
    return PurePosixPath(*(naming.component(name) for name in folder.split("/") if name))


def _fill(part: str, values: Mapping[str, str | int]) -> str:
    return part.format_map(values)


def unused(path: PurePosixPath, taken: Callable[[str], bool]) -> PurePosixPath:
    """``path``, or the first of ``path (2)``, ``path (3)`` … whose `key` is not ``taken``."""
    return next(p for p in _numbered(path) if not taken(key(p)))


def key(path: PurePosixPath) -> str:
    """The same text for all output paths that some file system takes for one, whatever their sound file ending.

    Case and composition do not count; neither does the ending, since ``vox.wav`` and ``vox.flac`` may well be written
    in one format.

    >>> key(PurePosixPath("Tape/Vox.wav")) == key(PurePosixPath("tape/vox")), key(PurePosixPath("a/take 1.5"))
    (True, 'a/take 1.5')
    """
    bare = path.with_suffix("") if path.suffix.lower() in SUFFIXES else path
    return naming.collision_key(Path(bare))


def _numbered(path: PurePosixPath) -> Iterator[PurePosixPath]:
    yield path
    suffix = path.suffix if path.suffix.lower() in SUFFIXES else ""
    bare = path.name[: len(path.name) - len(suffix)]
    number = 2
    while True:
        tail = f" ({number}){suffix}"
        yield path.with_name(_cut(bare, naming.MAX_BYTES - len(tail)) + tail)
        number += 1


def aside(relative: str, number: int = 1) -> str:
    """``relative`` as it is called where sources are put aside, the ``number``-th of that name there.

    The name stays the source's own, byte for byte, but for the number.

    >>> aside("tape/vox.wav"), aside("tape/vox.wav", 2)
    ('tape/vox.wav', 'tape/vox (2).wav')
    """
    if number < 2:
        return relative
    folder, slash, name = relative.rpartition("/")
    suffix = ending(name) if len(ending(name)) <= _MAX_ENDING else ""
    bare = name[: len(name) - len(suffix)]
    tail = f" ({number}){suffix}"
    return f"{folder}{slash}{_cut(bare, NAME_BYTES - len(_bytes(tail)))}{tail}"


def reason(name: str) -> str:
    """The name of the text that says why ``name`` failed: ``name`` and ``.txt``, shortened where that is too long.

    >>> reason("vox.wav")
    'vox.wav.txt'
    """
    whole = f"{name}.txt"
    if len(_bytes(whole)) <= NAME_BYTES:
        return whole
    # Two names that are cut to the same beginning still have reasons of their own.
    digest = hashlib.sha256(_bytes(name)).hexdigest()[:8]
    return f"{_cut(name, NAME_BYTES - 13)}-{digest}.txt"


def _cut(text: str, room: int) -> str:
    while len(_bytes(text)) > room:
        text = text[:-1]
    return text


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def blends(folder: str) -> tuple[Mapping[str, int], ...]:
    """Every blend that a folder called ``folder`` may stand for, in percent: ``tape70-choir30`` for tape and choir.

    A name of a preset may itself hold digits and dashes, so that there can be several; which one is meant is for the
    library to say.

    >>> blends("tape70-choir30")
    ({'tape': 70, 'choir': 30},)
    >>> blends("tape"), blends("tape70-choir99")
    ((), ())
    """
    pieces = folder.split("-")
    found: list[Mapping[str, int]] = []
    if sum(bool(_DIGITS.search(piece)) for piece in pieces) > _MAX_PARTS:
        return ()
    for parts in _splits(pieces, 100 + _MAX_PARTS // 2):
        weights = dict(parts)
        # Percentages are rounded, so that three thirds are 99.
        if len(parts) > 1 and len(weights) == len(parts) and abs(sum(weights.values()) - 100) <= len(parts) / 2:
            found.append(weights)
    return tuple(found)


def _splits(pieces: Sequence[str], room: int) -> Iterator[tuple[tuple[str, int], ...]]:
    """Every way to read ``pieces``, joined by dashes, as names with percentages that sum to ``room`` at most."""
    if not pieces:
        yield ()
        return
    for count in range(1, len(pieces) + 1):
        text = "-".join(pieces[:count])
        digits = _DIGITS.search(text)
        if digits is None:
            continue
        for length in range(1, len(digits[0]) + 1):
            name, weight = text[:-length], int(text[-length:])
            if name and 0 < weight <= room and not text[-length:].startswith("0"):
                for rest in _splits(pieces[count:], room - weight):
                    yield ((name, weight), *rest)
