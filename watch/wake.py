"""What wakes the daemon before its next scan is due: events of the file system, or a timer where there are none.

An event says only that it is time to look. Watchers lose events (a queue that overflows, a tree that is moved in, the
folder removed and made again, shares that other machines write to), so no event is ever taken for the truth.
"""

import contextlib
import os
import select
import socket
import sys
import threading
import time
import warnings
from collections.abc import Callable, Collection
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from watch import names

if TYPE_CHECKING:
    from watchdog.events import FileSystemEvent, FileSystemEventHandler
    from watchdog.observers.api import BaseObserver

TICK_S = 1.0
RETRY_S = 60.0
# So much more time goes between two polled looks than one of them takes, so that a large folder costs no more.
_POLL_SHARE = 200
_POLL_MAX_S = 30.0
_JOIN_S = 5.0


class Wake:
    """Wakes who waits when something happened below ``root``; with ``poll``, when it is time to look again.

    ``observer`` makes the watchdog observer. `start` and `stop` may be called once each. A thread of its own keeps
    the observer going: it is armed anew when it died, or when ``root`` was removed, moved away or made again.
    """

    def __init__(
        self,
        root: Path,
        poll: bool = False,
        *,
        observer: "Callable[[], BaseObserver] | None" = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.root = root
        self.poll = poll
        self._make = observer or _native
        self._clock = clock
        self._receiver, self._sender = socket.socketpair()
        self._receiver.setblocking(False)
        self._sender.setblocking(False)
        self._stopping = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="watch-wake", daemon=True)
        self._observer: BaseObserver | None = None
        self._home = _prefix(root)
        self._armed_on: tuple[int, int] | None = None
        self._retry_at = 0.0
        self._warning: str | None = None
        self._excluded: tuple[str, ...] = ()
        self._poll_s = TICK_S
        self._poll_at = 0.0

    @property
    def warning(self) -> str | None:
        """Why there are no events although they were wanted, or None; the same text as long as it lasts."""
        return self._warning

    @property
    def events(self) -> bool:
        """Whether the file system's events wake, and not the timer alone."""
        return self._observer is not None

    def start(self) -> None:
        """Begin to listen; whatever was dropped before is for the first scan to find."""
        self.check()
        self._keeper.start()

    def stop(self) -> None:
        """Listen no more and let all resources go; who waits is woken."""
        self._stopping.set()
        self.wake()
        if self._keeper.is_alive():
            self._keeper.join(_JOIN_S)
        self._disarm()
        self._receiver.close()
        self._sender.close()

    def wake(self) -> None:
        """Wake who waits; safe from any thread and from a signal handler."""
        # A full pipe wakes as well as one byte more would; a closed one has nobody left to wake.
        with contextlib.suppress(OSError):
            self._sender.send(b"!")

    def fileno(self) -> int:
        """What becomes readable when there is reason to wake: for a selector, with `clear` afterwards."""
        return self._receiver.fileno()

    def clear(self) -> bool:
        """Forget every reason to wake, and say whether there was any. Call it before the scan, never after."""
        woken = False
        with contextlib.suppress(OSError):
            while self._receiver.recv(4_096):
                woken = True
        return woken

    def wait(self, timeout: float | None) -> bool:
        """Wait ``timeout`` seconds at most, None for any time, and say whether there was reason to wake."""
        with contextlib.suppress(OSError, ValueError):
            select.select([self._receiver], [], [], timeout)
        return self.clear()

    def exclude(self, folders: Collection[Path]) -> None:
        """From now on do not wake for what happens in ``folders``: outputs, the state."""
        self._excluded = tuple(_prefix(self.root / folder) for folder in folders)

    def scanned(self, took_s: float) -> None:
        """Say how many seconds a scan took: where the timer wakes, it leaves the more time between two the longer."""
        self._poll_s = min(max(TICK_S, took_s * _POLL_SHARE), _POLL_MAX_S)

    def check(self) -> None:
        """See whether everything is as it should be, and mend it; the thread does so every second."""
        now = self._clock()
        if self.poll:
            self._tick(now)
            return
        there = _identity(self.root)
        if self._observer is not None and (there != self._armed_on or not _alive(self._observer)):
            self._disarm()
            self._retry_at = now
            self.wake()
        if self._observer is None and there is not None:
            if now >= self._retry_at:
                self._arm(there, now)
            if self._observer is None:
                self._tick(now)

    def _keep(self) -> None:
        while not self._stopping.wait(TICK_S):
            self.check()

    def _tick(self, now: float) -> None:
        if now >= self._poll_at:
            self._poll_at = now + self._poll_s
            self.wake()

    def _arm(self, there: tuple[int, int], now: float) -> None:
        """Start an observer; without one, say why once and let the timer wake until the next try."""
        from watchdog import events

        seen: list[type[FileSystemEvent]] = [
            *(events.FileCreatedEvent, events.FileMovedEvent, events.FileDeletedEvent, events.FileClosedEvent),
            *(events.DirCreatedEvent, events.DirMovedEvent, events.DirDeletedEvent),
        ]
        if not sys.platform.startswith("linux"):
            # Where the end of writing is no event.  With inotify every single write would be one, and a file that
            # grows is looked at again in any case.
            seen.append(events.FileModifiedEvent)
        handler = _handler(self._happened)
        observer: BaseObserver | None = None
        try:
            observer = self._make()
            # The folder itself and no link to it: inotify would watch the link.
            self._home = _prefix(self.root)
            observer.schedule(handler, self._home.rstrip(os.sep) or os.sep, recursive=True, event_filter=seen)
            observer.start()
        except (OSError, RuntimeError) as error:
            if observer is not None:
                _stop(observer)
            self._retry_at = now + RETRY_S
            if _identity(self.root) == there:
                reason = getattr(error, "strerror", None) or error
                self._warning = f"no events from {self.root} ({reason}); it is looked at every few seconds instead"
            return
        self._observer, self._armed_on, self._warning = observer, there, None
        # What came between the last scan and now had no event.
        self.wake()

    def _disarm(self) -> None:
        observer, self._observer = self._observer, None
        if observer is not None:
            _stop(observer)

    def _happened(self, *paths: str | bytes) -> None:
        if any(self._matters(os.fsdecode(path)) for path in paths if path):
            self.wake()

    def _matters(self, path: str) -> bool:
        if not path.startswith(self._home):
            return True  # the folder itself, or a path spelt in another way: look rather than miss it
        parts = PurePath(path[len(self._home) :]).parts
        if any(names.passed_over(part, top=depth == 0) for depth, part in enumerate(parts)):
            return False
        return not path.startswith(self._excluded)


def _prefix(folder: Path) -> str:
    """What the paths of all things in ``folder`` begin with, links resolved."""
    return os.path.realpath(folder).rstrip(os.sep) + os.sep


def _native() -> "BaseObserver":
    from watchdog.observers import Observer

    # Said on stderr, past the log, of folders that come and go at once; nothing that people can help.
    warnings.filterwarnings("ignore", category=RuntimeWarning, module=r"watchdog\.")
    return Observer()


def _handler(happened: Callable[..., None]) -> "FileSystemEventHandler":
    from watchdog.events import FileSystemEventHandler

    class Bell(FileSystemEventHandler):
        def on_any_event(self, event: "FileSystemEvent") -> None:
            happened(event.src_path, event.dest_path)

    return Bell()


def _alive(observer: "BaseObserver") -> bool:
    return observer.is_alive() and all(emitter.is_alive() for emitter in observer.emitters) and bool(observer.emitters)


def _stop(observer: "BaseObserver") -> None:
    # Whatever is left of it: an observer that died, or never started, refuses one or the other.
    for end in (observer.unschedule_all, observer.stop):
        with contextlib.suppress(OSError, RuntimeError, KeyError):
            end()
    if observer.is_alive():
        observer.join(_JOIN_S)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
