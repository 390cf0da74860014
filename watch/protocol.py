"""What the daemon and its workers say to each other: one JSON record a line, ASCII only, whatever a file is called."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from watch.errors import WatchError


class ProtocolError(WatchError):
    """A line is not a record that this side knows."""


@dataclass(frozen=True)
class Stem:
    """Render one stem (or, when ``album``, the manifest at ``path``).

    ``size``, ``mtime_ns`` and ``inode`` are those of the file that was found to be still. ``choices`` are those of
    `render.choices.Choices`; ``chain`` replaces the preset's (None leaves it) and its paths resolve against ``base``,
    as does a preset given as a file. The output goes to ``place`` below the folder ``out``, a relative path to which
    the format's ending comes: over the file ``mine`` if that still has the digest ``mine_sha256``, else to a free name,
    the ``number``-th or a later one. An ``album``'s go into the folder ``place``, named as the manifest has it.
    """

    id: int
    path: str
    size: int
    mtime_ns: int
    inode: int
    out: str
    place: str
    base: str
    choices: Mapping[str, Any] = field(default_factory=dict)
    chain: tuple[Mapping[str, Any], ...] | None = None
    mine: str | None = None
    mine_sha256: str | None = None
    number: int = 1
    album: bool = False


@dataclass(frozen=True)
class Recall:
    """Give back every stem that waits behind the one being worked on."""


@dataclass(frozen=True)
class Ready:
    """The engine is loaded; ``device`` is where stems are rendered when nothing else is asked for.

    ``devices`` is how many of its kind there are, each for a worker of its own.
    """

    device: str
    devices: int = 1


@dataclass(frozen=True)
class Started:
    """Stem ``id`` is whole and goes to the engine: ``duration_s`` of sound that takes about ``estimate_s``."""

    id: int
    duration_s: float
    estimate_s: float


@dataclass(frozen=True)
class Rendered:
    """The sound of stem ``id`` is whole in a temporary file, about to become ``output``."""

    id: int
    output: str


@dataclass(frozen=True)
class Published:
    """The ``output`` of stem ``id`` is durable under its name: ``frames`` long, ``already`` when it was there before.

    ``source_sha256`` is the digest of the stem and ``preset_hash`` that of what it went through. For an album
    ``output`` is the folder, ``outputs`` are all its files and ``frames`` is their sum. ``notes`` are what its sender
    should be told all the same.
    """

    id: int
    output: str
    sha256: str
    frames: int
    already: bool = False
    source_sha256: str = ""
    preset_hash: str = ""
    outputs: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Incomplete:
    """Stem ``id`` is not all there, or not the file it was when it was sent."""

    id: int
    reason: str
    changed: bool = False


@dataclass(frozen=True)
class Failed:
    """Stem ``id`` cannot be rendered; ``retry`` when another try may end otherwise."""

    id: int
    reason: str
    retry: bool = False


@dataclass(frozen=True)
class Waiting:
    """Something that is not the stem's fault keeps it: ``cause`` is preset, config, device or output."""

    id: int
    reason: str
    cause: str


@dataclass(frozen=True)
class Returned:
    """Stem ``id`` was recalled before anything was done with it."""

    id: int


Request = Stem | Recall
Answer = Ready | Started | Rendered | Published | Incomplete | Failed | Waiting | Returned
Verdict = Published | Incomplete | Failed | Waiting | Returned
Tell = Callable[[Started | Rendered], None]
_REQUESTS = {kind.__name__: kind for kind in (Stem, Recall)}
_ANSWERS = {
    kind.__name__: kind for kind in (Ready, Started, Rendered, Published, Incomplete, Failed, Waiting, Returned)
}


def numbered(bare: str, number: int) -> str:
    """The ``number``-th name like ``bare``, for both sides: ``vox``, ``vox (2)``, ``vox (3)``."""
    return bare if number == 1 else f"{bare} ({number})"


def line(record: Request | Answer) -> bytes:
    """``record`` as one line; a file name that is not Unicode comes through as it is."""
    return json.dumps([type(record).__name__, asdict(record)], separators=(",", ":")).encode("ascii") + b"\n"


def request(text: bytes) -> Request:
    """The request in one line; `ProtocolError` when it is none."""
    found: Request = _read(text, _REQUESTS)
    return found


def answer(text: bytes) -> Answer:
    """The answer in one line; `ProtocolError` when it is none."""
    found: Answer = _read(text, _ANSWERS)
    return found


def _read(text: bytes, kinds: Mapping[str, type]) -> Any:
    try:
        name, values = json.loads(text)
        kind = kinds[name]
        lists = {f.name for f in fields(kind) if isinstance(values.get(f.name), list)}
        return kind(**{key: tuple(value) if key in lists else value for key, value in values.items()})
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        expected = ", ".join(kinds)
        raise ProtocolError(f"found the line {text[:80]!r}; expected a record of {expected}") from error
