"""A stem in the ledger: its states, the steps between them, and how a row of the database becomes a `Row`."""

import os
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import PurePosixPath
from typing import Any, Final, Literal, Protocol

from watch import names

Kind = Literal["stem", "album"]
State = Literal["found", "claimed", "rendered", "published", "done", "failed", "gone"]

STATES: Final[tuple[State, ...]] = ("found", "claimed", "rendered", "published", "done", "failed", "gone")
#: States in which a worker or the daemon has the stem in its hands.
WORKING: Final[tuple[State, ...]] = ("claimed", "rendered", "published")
#: States a stem stays in until it is replaced by another content, or retried.
ENDED: Final[tuple[State, ...]] = ("done", "failed", "gone")

#: The states each state can be reached from. Nothing else is a step.
STEPS: Final[Mapping[State, tuple[State, ...]]] = {
    "found": ("found", "claimed", "rendered", "done", "failed"),
    "claimed": ("found",),
    "rendered": ("claimed",),
    "published": ("claimed", "rendered"),
    "done": ("published",),
    "failed": ("found", "claimed", "rendered"),
    "gone": ("found", "claimed", "rendered", "failed"),
}

# Names on disk need not be text: what does not decode travels as lone surrogates, which SQLite's TEXT refuses.
_UNDECODABLE = "surrogatepass" if os.name == "nt" else "surrogateescape"
_PATHS = frozenset({"relative", "output", "moved_to", "reason"})
_WIDE = frozenset({"inode", "device"})  # may have more than SQLite's 63 bits


class Snapshot(Protocol):
    """What tells one content of a file from the next without reading it."""

    @property
    def size(self) -> int:
        """Bytes."""
        ...

    @property
    def mtime_ns(self) -> int:
        """When the content was last written, as the file system says."""
        ...

    @property
    def ctime_ns(self) -> int:
        """When anything about the file last changed; nobody can set it back."""
        ...

    @property
    def inode(self) -> int:
        """The file's number on its device."""
        ...

    @property
    def device(self) -> int:
        """The device's number, which a mount may change."""
        ...


@dataclass(frozen=True)
class Row:
    """One content of one stem (or album) and how far it has come.

    ``relative`` is the path below the watched folder. ``output``, and ``moved_to``, where an ended stem's source lies,
    are so too, or absolute when they are elsewhere. ``not_before`` is on the daemon's monotonic clock; the times that
    end in ``_at`` are wall-clock seconds, for people only. ``sha256`` and ``frames`` are those of the published output,
    ``content`` is the sha256 of the stem. ``current`` is false once the same path holds another content.
    """

    id: int
    relative: str
    kind: Kind
    incarnation: int
    current: bool
    state: State
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    device: int
    owner: str | None
    attempts: int
    interruptions: int
    not_before: float
    held: bool
    reason: str | None
    content: str | None
    preset_hash: str | None
    config_hash: str | None
    job_key: str | None
    output: str | None
    sha256: str | None
    frames: int | None
    moved_to: str | None
    found_at: float
    claimed_at: float | None
    ended_at: float | None
    retry_at: float | None

    def matches(self, snapshot: Snapshot) -> bool:
        """Whether ``snapshot`` is that of this very content; the device's number is not compared."""
        return (self.size, self.mtime_ns, self.ctime_ns, self.inode) == (
            snapshot.size,
            snapshot.mtime_ns,
            snapshot.ctime_ns,
            snapshot.inode,
        )


COLUMNS: Final[tuple[str, ...]] = tuple(field.name for field in fields(Row))


def packed(path: str | None) -> bytes | None:
    """``path`` (or any text with parts of one) as the database keeps it."""
    return None if path is None else path.encode("utf-8", _UNDECODABLE)


def unpacked(blob: bytes) -> str:
    """The text that was ``packed``."""
    return blob.decode("utf-8", _UNDECODABLE)


def output_key(output: str) -> bytes:
    """The same for all names of outputs that some file system, or another format, takes for one; see `names.key`."""
    return names.key(PurePosixPath(output)).encode("utf-8", _UNDECODABLE)


def row(record: sqlite3.Row) -> Row:
    """The `Row` of a record of the table ``stems``."""
    values: dict[str, Any] = {name: record[name] for name in COLUMNS}
    for name in _PATHS:
        values[name] = None if values[name] is None else unpacked(values[name])
    for name in _WIDE:
        values[name] = int(values[name])
    values["current"], values["held"] = bool(values["current"]), bool(values["held"])
    return Row(**values)
