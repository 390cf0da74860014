"""A daemon from its start to its end: the lock, the ledger, the workers, and the loop in `watch.service`."""

import logging
import os
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

from presets.library import default_library
from watch import journal, ledgerfile, names, recall, signals
from watch import lock as locks
from watch.config import Configs
from watch.errors import WatchError
from watch.ledger import Ledger
from watch.ledgerfile import LedgerCorrupt, LedgerUnavailable
from watch.lock import Lock, Locked
from watch.notify import Notifier
from watch.options import EXIT_LOCKED, RunOptions, state_folder
from watch.pool import Pool, command
from watch.service import Anew, Service, deadlines
from watch.signals import Wishes
from watch.tables import DaemonConfig
from watch.wake import Wake

log = logging.getLogger("watch")

_AGAIN_S = 1.0


def run(folder: Path, options: RunOptions, *, clock: Callable[[], float] = time.monotonic) -> int:
    """Watch ``folder`` until told to stop; the exit code: 0, 1 (``once``: not all is done), 75 locked, 130 interrupted.

    When the folder, or the state in it, is removed meanwhile, the daemon waits for it and begins again.
    """
    # A link to the folder stays one, so that it may be turned to another.
    root = Path(os.path.abspath(folder))  # noqa: PTH100
    state = Path(os.path.abspath(state_folder(root, options.state)))  # noqa: PTH100
    _occupy_standard_streams()
    told = journal.start(state, as_json=options.json_logs, verbose=options.verbose)
    try:
        return _Daemon(root, state, options, clock).run()
    finally:
        journal.stop(told)


def _occupy_standard_streams() -> None:
    """Open what was closed of stdin, stdout and stderr: else the next file gets its number, and what is written there.

    https://cwe.mitre.org/data/definitions/910.html
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free


class _Daemon:
    """What stays while the state is lost and found again."""

    def __init__(self, root: Path, state: Path, options: RunOptions, clock: Callable[[], float]) -> None:
        self._root, self._state, self._options, self._clock = root, state, options, clock
        self._library = default_library(options.library)
        self._configs = Configs(root, self._library)
        self._notifier = Notifier()
        self._said = ""

    def run(self) -> int:
        """Until the end."""
        settings = self._settings()
        wake = Wake(self._root, poll=settings.poll)
        with signals.listening(wake.wake) as wishes:
            wake.exclude([self._state])
            wake.start()
            try:
                first = True
                while not wishes.stops:
                    if (code := self._once(wake, wishes, first)) is not None:
                        return code
                    first = False
                return 130 if wishes.interrupted else 0
            finally:
                wake.stop()

    def _once(self, wake: Wake, wishes: Wishes, first: bool) -> int | None:
        """One life with one lock and one ledger; the exit code, or None to begin again."""
        if not self._root.is_dir():
            self._wait(wake, f"{self._root} is not there; waiting for it")
            return None
        try:
            self._make_state()
            with ExitStack() as held:
                lock = held.enter_context(Lock.acquire(self._state / locks.NAME, self._root))
                self._lock_folder(held)
                return self._live(lock, wake, wishes)
        except Locked as error:
            log.error("%s", error)
            return EXIT_LOCKED
        except (Anew, LedgerCorrupt) as error:
            log.warning("%s", error)
        except (LedgerUnavailable, OSError) as error:
            self._wait(wake, str(error))
        except WatchError as error:
            if first:
                log.error("%s", error)
                return 1
            self._wait(wake, str(error))
        return None

    def _make_state(self) -> None:
        """Make the folder of the state, and never the watched one above it, which may be a drive that is away."""
        inside = self._state.is_relative_to(self._root)
        above = (folder for folder in reversed(self._state.parents) if folder.is_relative_to(self._root))
        with suppress(OSError):  # the lock says what is wrong
            for folder in above if inside else ():
                if folder != self._root:
                    folder.mkdir(exist_ok=True)
            self._state.mkdir(parents=not inside, exist_ok=True)

    def _lock_folder(self, held: ExitStack) -> None:
        """With the state elsewhere, take the lock in the folder too, where that is possible; `Locked` if it is taken.

        Else two daemons with states of their own would each render every stem.
        """
        place = state_folder(self._root)
        if place.absolute() == self._state:
            return
        try:
            held.enter_context(Lock.acquire(place / locks.NAME, self._root))
        except Locked:
            raise
        except WatchError as error:
            log.debug("only the state is locked, not the folder itself: %s", error)

    def _live(self, lock: Lock, wake: Wake, wishes: Wishes) -> int:
        path = self._state / ledgerfile.NAME
        ledger, fresh = Ledger.open(path, clock=self._clock)
        with ledger:
            if fresh is not None and fresh.aside is not None:
                log.warning("%s", fresh)
            if fresh is not None and (again := recall.failed(self._root, ledger)):
                log.info("%d stems that failed earlier are known again; gramophone watch retry tries them", again)
            if back := ledger.adopt():
                log.info("%d stems that an earlier daemon had begun wait again", back)
            self._said = ""
            service = Service(
                self._root,
                ledger=ledger,
                lock=lock,
                wake=wake,
                configs=self._configs,
                settings=self._settings,
                pool=self._pool,
                wishes=wishes,
                notifier=self._notifier,
                owner=f"{socket.gethostname()}:{os.getpid()}",
                exclude=[self._state],
                library=self._library.folder,
                once=self._options.once,
                grace_s=self._options.grace_s,
                clock=self._clock,
            )
            log.info("watching %s", names.shown(str(self._root)))
            return service.serve()

    def _settings(self) -> DaemonConfig:
        """What watch.toml says of the daemon, under what was said when it was started."""
        settings, mistakes = self._configs.daemon()
        for mistake in mistakes:
            log.warning("%s", mistake)
        given = {name: getattr(self._options, name) for name in ("poll", "device", "workers")}
        return replace(settings, **{name: value for name, value in given.items() if value is not None})

    def _pool(self, settings: DaemonConfig, bell: int) -> Pool:
        size = settings.workers or 1
        threads = 0 if size == 1 else max(1, (os.cpu_count() or 1) // size)
        words = command(self._library.folder, settings.device, threads)
        return Pool(words, size=size, deadlines=deadlines(settings), bell=bell, clock=self._clock)

    def _wait(self, wake: Wake, why: str) -> None:
        """Wait a moment for what is missing, told once."""
        if why != self._said:
            log.warning("%s", why)
            self._said = why
        self._notifier.beat()
        wake.wait(_AGAIN_S)
