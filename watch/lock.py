"""One daemon for a state folder: a lock the operating system takes away from a process that dies, however it dies."""

import contextlib
import errno
import json
import os
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from watch.errors import WatchError

NAME: Final = "lock"
# A look at the lock (`holder`) has it for an instant; whoever starts then must not take that for a daemon.
_TRIES: Final = 10
_BETWEEN_S: Final = 0.03
_TAKEN: Final = frozenset({errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK})
_RECORD_BYTES: Final = 4096


@dataclass(frozen=True)
class Holder:
    """The daemon that has the lock: its process id, its host, since when (wall clock) and what it watches."""

    pid: int
    host: str
    started: float
    folder: str


class Locked(WatchError):
    """Another daemon has the lock; ``holder`` is what it says of itself, when it has said so already."""

    def __init__(self, path: Path, holder: Holder | None) -> None:
        who = "another daemon" if holder is None else f"the daemon with process id {holder.pid} on {holder.host}"
        super().__init__(f"{path.parent} is in use by {who}: one daemon watches a folder; stop that one first")
        self.holder = holder


class Lock:
    """The lock itself, held from `acquire` until `release` or the end of the process. Also a context manager."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    @classmethod
    def acquire(
        cls,
        path: Path,
        folder: Path,
        *,
        wall: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> Self:
        """Take the lock at ``path`` for a daemon that watches ``folder``.

        Raises `Locked` when another daemon has it, `WatchError` when the file system knows no locks or lets nothing be
        written there. What a dead daemon left behind does not matter.
        """
        try:
            # Its folder alone: when the watched one went this very moment, it is not to be made again.
            path.parent.mkdir(exist_ok=True)
            descriptor = _taken(path, sleep)
        except OSError as error:
            raise WatchError(
                f"{path} cannot be locked ({error.strerror or error}); --state names a folder on a local disk instead"
            ) from error
        lock = cls(path, descriptor)
        holder = Holder(os.getpid(), socket.gethostname(), wall(), os.fspath(folder))
        with contextlib.suppress(OSError):  # a full disk: the lock holds all the same, only nobody learns whose it is
            os.ftruncate(descriptor, 0)
            os.lseek(descriptor, 0, os.SEEK_SET)
            os.write(descriptor, json.dumps(asdict(holder)).encode())
        return lock

    def present(self) -> bool:
        """Whether the file is still the one that is locked: one that was deleted keeps nobody out."""
        try:
            there, held = self.path.stat(), os.fstat(self._descriptor)
        except OSError:
            return False
        return (there.st_dev, there.st_ino) == (held.st_dev, held.st_ino)

    def release(self) -> None:
        """Let go. The file stays, for deleting it would let two in at once."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release it."""
        self.release()


def holder(path: Path) -> Holder | None:
    """The daemon that has the lock at ``path`` now; None when none has, whatever the file says."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        if _try(descriptor, shared=True):
            return None
        return _said(descriptor) or Holder(0, "?", 0.0, "?")
    except OSError:
        return None
    finally:
        os.close(descriptor)


def _taken(path: Path, sleep: Callable[[float], None]) -> int:
    """An open descriptor of ``path`` that holds the lock."""
    said: Holder | None = None
    for attempt in range(_TRIES):
        if attempt:
            sleep(_BETWEEN_S)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if _try(descriptor) and _is_at(descriptor, path):
                return descriptor
            said = _said(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
    raise Locked(path, said)


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether nobody deleted or replaced the file between opening and locking it."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _said(descriptor: int) -> Holder | None:
    try:
        os.lseek(descriptor, 0, os.SEEK_SET)
        return Holder(**json.loads(os.read(descriptor, _RECORD_BYTES)))
    except (OSError, ValueError, TypeError):
        return None


if sys.platform == "win32":
    import msvcrt

    # Locked bytes cannot be read on Windows: the lock is on one far behind the record.
    _FAR: Final = 1 << 30

    def _try(descriptor: int, *, shared: bool = False) -> bool:
        os.lseek(descriptor, _FAR, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            if error.errno in _TAKEN:
                return False
            raise
        finally:
            os.lseek(descriptor, 0, os.SEEK_SET)
        return True
else:
    import fcntl

    def _try(descriptor: int, *, shared: bool = False) -> bool:
        """Take the lock if nobody has it; whether that went well."""
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _TAKEN:
                return False
            raise
        return True
