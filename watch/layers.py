"""The files that say how a stem is rendered, read again when they change and never through a link or a pipe."""

import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import tomli

from render.errors import Mistake, found
from watch import names, tables
from watch.scan import Snapshot
from watch.tables import Checked, Level

MAX_BYTES = 1_000_000
_MAX_KEPT = 4_096
_CAREFUL = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


@dataclass(frozen=True)
class Layer:
    """One such file: ``folder`` holds it, ``name`` is its path from the watched folder, as messages show it."""

    level: Level
    folder: str
    name: str
    checked: Checked


class Layers:
    """Reads those files below ``root``, each once for as long as it stays the same."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._read: dict[str, tuple[Snapshot, Checked]] = {}

    def over(self, relative: str) -> list[Layer]:
        """What holds for the stem or album at ``relative``: its sidecar, then the watch.toml of each folder above."""
        beside = None if names.is_album(relative) else names.sidecar(relative)
        layers = [self.of_folder(folder) for folder in names.folders_above(relative)]
        if beside is not None:
            layers.insert(0, self._layer(names.folder_of(beside), PurePosixPath(beside).name, "sidecar"))
        return [layer for layer in layers if layer is not None]

    def of_folder(self, folder: str) -> Layer | None:
        """The watch.toml of ``folder``, or None when there is none; ``""`` is the watched folder itself."""
        return self._layer(folder, names.CONFIG, "folder" if folder else "root")

    def inside(self, layer: Layer, text: str, *, outside: bool = True) -> Path:
        """The path that ``text`` in ``layer`` means, links resolved; `ValueError` says why it may not be used.

        A relative one never leaves the watched folder, neither by .. nor by a link. A full one is somebody's word and
        may lead elsewhere, unless it stands in a sidecar, which comes with the stem, or ``outside`` is not allowed.
        """
        try:
            path = Path(os.path.expanduser(text))  # noqa: PTH111 - Path raises for a stranger's home
            place = real(self.root / layer.folder / path)
            outside = outside and layer.level != "sidecar"
            if within(self.root, place) or (path.is_absolute() and outside):
                return place
        except (OSError, ValueError, RuntimeError) as error:
            problem = getattr(error, "strerror", None) or error
            raise ValueError(f"found {found(text)}, which is no path: {problem}") from error
        remedy = "expected a path inside it, or a full one" if outside else "expected a path inside it"
        raise ValueError(f"found {found(text)}, which leads out of the watched folder; {remedy}")

    def _layer(self, folder: str, name: str, level: Level) -> Layer | None:
        relative = f"{folder}/{name}" if folder else name
        checked = self._checked(relative, level)
        return None if checked is None else Layer(level, folder, relative, checked)

    def _checked(self, relative: str, level: Level) -> Checked | None:
        try:
            now = os.lstat(self.root / relative)
            kept = self._read.get(relative)
            if kept and kept[0] == Snapshot.of(now):
                return kept[1]
            self._read.pop(relative, None)
            if not stat.S_ISREG(now.st_mode):
                return _unusable(relative, "is no file of its own; expected a file, and no link to one")
            snapshot, text = _text(self.root / relative)
        except FileNotFoundError:
            self._read.pop(relative, None)
            return None
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:  # a stem's name may be the longest there is, a sidecar's is longer
                return None
            return _unusable(relative, f"cannot be read: {error.strerror or error}")
        checked = _parse(text, relative, level)
        if len(self._read) >= _MAX_KEPT:
            self._read.clear()
        # A file that is written to while it is read has another snapshot next time, and is read again.
        self._read[relative] = (snapshot, checked)
        return checked


def real(path: Path) -> Path:
    """``path`` with every link in it resolved, as far as it is there."""
    return Path(os.path.realpath(path))


def within(folder: Path, path: Path) -> bool:
    """Whether ``path`` is ``folder`` or lies below it, links resolved."""
    return real(path).is_relative_to(real(folder))


def _unusable(relative: str, message: str) -> Checked:
    return Checked({}, (Mistake(relative, "", message),))


def _text(path: Path) -> tuple[Snapshot, bytes]:
    """The file at ``path``, or as much of it as shows that it is too large; never waits for a pipe's other end."""
    with os.fdopen(os.open(path, os.O_RDONLY | _CAREFUL), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(0, "it is no file any more")
        return Snapshot.of(status), file.read(MAX_BYTES + 1)


def _parse(text: bytes, relative: str, level: Level) -> Checked:
    if len(text) > MAX_BYTES:
        return _unusable(relative, f"is larger than {MAX_BYTES:,} bytes; expected a few lines of TOML")
    try:
        document = tomli.loads(text.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, tomli.TOMLDecodeError) else "not UTF-8 text, or nested too deeply"
        return _unusable(relative, f"not TOML: {reason}")
    return tables.check(document, relative, level)
