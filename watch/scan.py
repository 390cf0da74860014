"""One full look at a watched folder: what is there to take, and what is there but cannot be.

Only names and `lstat` are used: no file is opened, so that nothing that is no file (a pipe, a device) can block it, and
no link is followed, so that nothing outside the folder is ever reached. Whatever vanishes meanwhile is not found.
"""

import errno
import os
import stat
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from watch import names

MAX_DEPTH = 40
_LINK = "is a link; expected the file or folder itself (a hard link will do)"
_GONE = frozenset({errno.ENOENT, errno.ENOTDIR})
_Files = dict[str, tuple[names.Kind, "Snapshot"]]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What tells one state of a file from another without reading it: sizes in bytes, times in ns of the file system.

    Only whether two are equal means anything, so that no clock that is set back or forward confuses it.
    """

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    device: int

    @classmethod
    def of(cls, status: os.stat_result) -> "Snapshot":
        """The snapshot in what `os.lstat` says."""
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev)


@dataclass(frozen=True, slots=True)
class Found:
    """A stem, or the manifest of an album, as one scan saw it.

    ``relative`` leads from the watched folder to ``path``, with ``/`` between its parts and surrogateescape for bytes
    that are no UTF-8. ``beside`` are snapshots of the other files that say how it is rendered: its sidecar, the MIDI
    file of the same name, each watch.toml above it, an album's stems. It may be taken once all of them have been still.
    """

    path: Path
    relative: str
    kind: Literal["stem", "album"]
    snapshot: Snapshot
    beside: tuple[Snapshot, ...] = ()


@dataclass(frozen=True, slots=True)
class Refused:
    """Something that looks like an input and is none; the ``reason`` follows its path in a message."""

    path: Path
    reason: str


@dataclass(frozen=True)
class ScanResult:
    """What one scan saw, in the order of the paths.

    ``configs`` are the folders with a watch.toml, ``blind`` those that could not be looked into (their whole tree is
    unknown, not gone); ``""`` is the watched folder itself. ``songs`` are the MIDI files, by their relative paths.
    """

    found: tuple[Found, ...]
    refused: tuple[Refused, ...] = ()
    configs: Mapping[str, Snapshot] = field(default_factory=dict)
    blind: frozenset[str] = frozenset()
    songs: Mapping[str, Snapshot] = field(default_factory=dict)

    def missed(self, relative: str) -> bool:
        """Whether the scan could not see ``relative``, so that it may be there although it was not found."""
        return bool(self.blind) and any(folder in self.blind for folder in names.folders_above(relative))


def scan(root: Path, exclude: Collection[Path] = ()) -> ScanResult:
    """Every stem and album below ``root``, leaving out the trees in ``exclude``, which need not be there.

    Never raises for what it meets on the way: a folder that cannot be read is `ScanResult.blind`, and refused.
    """
    walk = _Walk(root, exclude)
    walk.folder("", os.fspath(root), 0, ())
    return ScanResult(
        tuple(sorted(walk.found, key=lambda found: found.relative)),
        tuple(sorted(walk.refused, key=lambda refused: refused.path)),
        walk.configs,
        frozenset(walk.blind),
        walk.songs,
    )


def look(root: Path, relative: str) -> Snapshot | None:
    """The snapshot of the file at ``relative`` now; None when it is gone, no regular file, or behind a link."""
    path = root
    try:
        for part in relative.split("/")[:-1]:
            path = path / part
            if not stat.S_ISDIR(os.lstat(path).st_mode):
                return None
        status = os.lstat(root / relative)
    except (OSError, ValueError):
        return None
    return Snapshot.of(status) if stat.S_ISREG(status.st_mode) else None


class _Walk:
    """What has been seen so far."""

    def __init__(self, root: Path, exclude: Collection[Path]) -> None:
        self.root = root
        self.found: list[Found] = []
        self.refused: list[Refused] = []
        self.configs: dict[str, Snapshot] = {}
        self.blind: set[str] = set()
        self.songs: dict[str, Snapshot] = {}
        self.excluded_paths = {os.path.normpath(root / path) for path in exclude}
        # A path that is spelt in another way, or a file system that knows no case, is still the same folder.
        self.excluded = {identity for path in exclude if (identity := _identity(root / path))}

    def folder(self, relative: str, path: str, depth: int, above: tuple[Snapshot, ...]) -> None:
        entries = self._entries(relative, path)
        files: _Files = {}
        folders = []
        for entry in entries:
            if names.passed_over(entry.name, top=depth == 0):
                continue
            try:
                if entry.is_dir(follow_symlinks=False) and not _is_junction(entry):
                    folders.append(entry)
                elif (kind := names.kind(entry.name)) or _leads_to_folder(entry):
                    self._file(entry, kind, files)
            except OSError as error:
                # It went while it was looked at; with any other error it is there, and said to be unreadable.
                if error.errno not in _GONE:
                    self._refuse(entry.path, f"cannot be looked at: {error.strerror or error}")
        if names.CONFIG in files:
            self.configs[relative] = files[names.CONFIG][1]
            above = (files[names.CONFIG][1], *above)
        self._take(relative, files, above)
        for entry in folders:
            self._down(relative, entry, depth, above)

    def _entries(self, relative: str, path: str) -> Sequence["os.DirEntry[str]"]:
        entries: list[os.DirEntry[str]] = []
        try:
            with os.scandir(path) as listing:
                entries.extend(listing)
        except OSError as error:
            # A folder that was removed is gone with all in it; a root that is away is more likely not mounted.
            if relative and error.errno in _GONE:
                return ()
            self.blind.add(relative)
            self._refuse(path, f"cannot be looked into: {error.strerror or error}")
        return entries

    def _file(self, entry: "os.DirEntry[str]", kind: names.Kind | None, files: _Files) -> None:
        # Windows leaves the identity out of what the listing says.
        status = os.lstat(entry.path) if os.name == "nt" else entry.stat(follow_symlinks=False)
        if stat.S_ISREG(status.st_mode) and kind:
            files[entry.name] = (kind, Snapshot.of(status))
        elif kind != "song":  # nobody has asked for one
            self._refuse(entry.path, _what(status.st_mode))

    def _take(self, relative: str, files: _Files, above: tuple[Snapshot, ...]) -> None:
        prefix = f"{relative}/" if relative else ""
        songs = {name: snapshot for name, (kind, snapshot) in files.items() if kind == "song"}
        self.songs |= {prefix + name: snapshot for name, snapshot in songs.items()}
        named: dict[str, list[Snapshot]] = {}
        for name in sorted(songs):
            named.setdefault(_bare(name), []).append(songs[name])
        for name, (kind, snapshot) in files.items():
            if kind != "stem" and kind != "album":
                continue
            sidecar = files.get(f"{_bare(name)}.toml") if kind == "stem" else None
            beside = (sidecar[1], *above) if sidecar and sidecar[0] == "sidecar" else above
            if kind == "stem":
                beside = (*named.get(_bare(name), ()), *beside)
            self.found.append(Found(self.root / (prefix + name), prefix + name, kind, snapshot, beside))

    def _down(self, relative: str, entry: "os.DirEntry[str]", depth: int, above: tuple[Snapshot, ...]) -> None:
        if os.path.normpath(entry.path) in self.excluded_paths or (
            self.excluded and _identity(Path(entry.path)) in self.excluded
        ):
            return
        if names.kind(entry.name) not in (None, "song"):
            self._refuse(entry.path, _what(stat.S_IFDIR))
        elif depth + 1 >= MAX_DEPTH:
            self.blind.add(f"{relative}/{entry.name}")
            self._refuse(entry.path, f"lies more than {MAX_DEPTH} folders deep; move it up")
        else:
            self.folder(f"{relative}/{entry.name}" if relative else entry.name, entry.path, depth + 1, above)

    def _refuse(self, path: str, reason: str) -> None:
        self.refused.append(Refused(Path(path), reason))


def _bare(name: str) -> str:
    return name[: len(name) - len(names.ending(name))]


def _what(mode: int) -> str:
    if stat.S_ISLNK(mode):
        return _LINK
    kinds = (
        (stat.S_ISDIR, "folder"),
        (stat.S_ISFIFO, "pipe"),
        (stat.S_ISSOCK, "socket"),
        (stat.S_ISCHR, "device"),
        (stat.S_ISBLK, "device"),
    )
    name = next((name for test, name in kinds if test(mode)), "special file")
    return f"is a {name}; expected a file"


def _leads_to_folder(entry: "os.DirEntry[str]") -> bool:
    """Whether ``entry`` is a link to a folder: whatever its name, someone expects its stems to be taken."""
    return (entry.is_symlink() and entry.is_dir()) or _is_junction(entry)


def _is_junction(entry: "os.DirEntry[str]") -> bool:
    test = getattr(entry, "is_junction", None)  # a folder's link on Windows, told apart from Python 3.12 on
    return bool(test and test())


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino
