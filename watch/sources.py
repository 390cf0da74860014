"""What becomes of a source once its stem has ended: moved aside, or deleted, and never a file that came in its place.

A file is taken by a rename, looked at, and given back when it is not the one that was meant. Nothing is overwritten.
"""

import errno
import os
import secrets
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Literal, Protocol

from render import publish
from render.errors import RenderError
from watch import names
from watch.errors import WatchError

Outcome = Literal["moved", "gone", "changed"]


class Content(Protocol):
    """The file that is meant."""

    @property
    def relative(self) -> str:
        """Its path below the watched folder."""
        ...

    @property
    def size(self) -> int:
        """Bytes."""
        ...

    @property
    def mtime_ns(self) -> int:
        """When it was written, as the file system says."""
        ...

    @property
    def ctime_ns(self) -> int:
        """When anything about it last changed; nobody can set it back."""
        ...

    @property
    def inode(self) -> int:
        """Its number."""
        ...


def place_aside(root: Path, top: str, relative: str) -> str:
    """Where ``relative`` can be put below ``top`` (``_done``, ``_failed``): a path below ``root`` that is free."""
    number = 1
    while True:
        free = f"{top}/{names.aside(relative, number)}"
        folder, _, name = free.rpartition("/")
        if not any(os.path.lexists(root / folder / taken) for taken in (name, names.reason(name))):
            return free
        number += 1


def move(root: Path, source: Content, target: str) -> Outcome:
    """Move ``source`` to the free path ``target`` below ``root``; `OSError` when the disk does not let it.

    ``gone`` when it is not there any more, ``changed`` when another file is in its place, which stays.
    """
    end = root / target
    if os.path.lexists(end):
        raise FileExistsError(errno.EEXIST, "is taken", os.fspath(end))
    outcome = _take(root, source, end)
    _sync(end.parent)
    _sync((root / source.relative).parent)
    return outcome


def delete(root: Path, source: Content) -> Outcome:
    """Delete ``source``; as `move`, with ``moved`` for deleted."""
    folder = (root / source.relative).parent
    hidden = folder / f".{secrets.token_hex(8)}.tmp"
    outcome = _take(root, source, hidden)
    if outcome == "moved":
        hidden.unlink()
    _sync(folder)
    return outcome


def explain(root: Path, aside: str, text: str) -> None:
    """Put the reason ``text`` beside the place ``aside`` of a failed source; `WatchError` when it cannot be."""
    path = root / aside
    try:
        publish.write_text(path.with_name(names.reason(path.name)), text)
    except (RenderError, OSError) as error:
        raise WatchError(f"the reason for {path} cannot be written: {error}") from error


def explained(root: Path, aside: str, text: str) -> bool:
    """Whether `explain` has said so already."""
    path = root / aside
    try:
        return path.with_name(names.reason(path.name)).read_text(encoding="utf-8") == text
    except (OSError, ValueError):
        return False


def is_there(root: Path, source: Content) -> bool:
    """Whether the very file ``source`` still lies in its place."""
    try:
        return _same(os.lstat(root / source.relative), source)
    except (OSError, ValueError):
        return False


def _take(root: Path, source: Content, end: Path) -> Outcome:
    """Rename ``source`` to ``end``, and back when it turns out to be another file."""
    path = root / source.relative
    if not is_there(root, source):
        return "changed" if os.path.lexists(path) else "gone"
    end.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.rename(end)
    except FileNotFoundError:
        return "gone"
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _across(path, end)
    # Between the look and the rename another file may have come.
    if _same(os.lstat(end), source, moved=True):
        return "moved"
    _give_back(end, path)
    return "changed"


def _across(path: Path, end: Path) -> None:
    """A rename to another file system: a copy that is durable before the source goes."""
    try:
        shutil.copy2(path, end)
        with end.open("rb") as copied:
            os.fsync(copied.fileno())
        path.unlink()
    except BaseException:
        if os.path.lexists(path):
            end.unlink(missing_ok=True)
        raise


def _give_back(taken: Path, path: Path) -> None:
    try:
        os.link(taken, path)
    except FileExistsError:
        # Yet another file is there by now: both are kept.
        taken.replace(path.with_name(f"{path.stem} ({secrets.token_hex(3)}){path.suffix}"))
        return
    except OSError:
        taken.replace(path)
        return
    taken.unlink()


def _same(status: os.stat_result, source: Content, *, moved: bool = False) -> bool:
    # A rename changes the number on another file system, and the time of change on any.
    there, known = (status.st_ino, status.st_ctime_ns), (source.inode, source.ctime_ns)
    alike = (status.st_size, status.st_mtime_ns) == (source.size, source.mtime_ns)
    return alike and (moved or there == known)


def _sync(folder: Path) -> None:
    """Make names in ``folder`` durable, where there is such a thing."""
    if os.name == "nt":
        return
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
