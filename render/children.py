"""Child processes that hold plugins: asked with a deadline, killed with all they started, kept for the next stem."""

import atexit
import os
import signal
import subprocess
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO, Any

from render import wire

_POSIX = os.name == "posix"
_PRINTED_BYTES = 4_000
_GONE_S = 5.0
_HEARD_S = 0.5
_COMMAND = (sys.executable, "-m", "render.pluginchild")


class PluginFault(Exception):
    """What a child or its plugin did wrong, as words to follow the plugin's name."""


class PluginTimeout(PluginFault):
    """The child did not answer in time and was killed."""


@dataclass(frozen=True)
class Deadlines:
    """How long a child may take: to scan or load a plugin, and for a block: ``block_s`` and ``times`` its length."""

    load_s: float = 120.0
    block_s: float = 20.0
    times: float = 20.0

    def block(self, seconds: float) -> float:
        """For a block of so many seconds of sound."""
        return self.block_s + self.times * seconds


class Child:
    """One child process; after a fault it is dead and must not be asked again."""

    def __init__(self, command: tuple[str, ...] = _COMMAND) -> None:
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
                start_new_session=_POSIX,
            )
        except OSError as error:
            raise PluginFault(f"cannot be given a process of its own: {error.strerror or error}") from error
        self._pipes = [pipe for pipe in (self._process.stdin, self._process.stdout, self._process.stderr) if pipe]
        self._printed = bytearray()
        self._listener = threading.Thread(target=self._listen, args=(self._pipes[2],), daemon=True)
        self._listener.start()
        self.alive = True

    @property
    def pid(self) -> int:
        """The number of the process, and of its group."""
        return self._process.pid

    def ask(self, header: Mapping[str, Any], data: bytes = b"", *, within_s: float) -> tuple[dict[str, Any], bytes]:
        """What the child answers to a message; `PluginFault` when it refuses, dies or takes longer than ``within_s``.

        A refusal leaves it alive; anything else that keeps an answer from coming kills it, an interrupt too.
        """
        late = threading.Event()

        def expire() -> None:
            late.set()
            self._strike()

        timer = threading.Timer(within_s, expire)
        timer.daemon = True
        timer.start()
        try:
            wire.send(self._pipes[0], header, data)
            reply, samples = wire.receive(self._pipes[1])
        except wire.WireError as error:
            ended = self.kill()
            if late.is_set():
                raise PluginTimeout(f"did not answer within {within_s:.3g} s and was stopped") from error
            raise PluginFault(f"{ended}{self._remark()}") from error
        except BaseException:
            self.kill()
            raise
        finally:
            timer.cancel()
            if late.is_set():  # an answer that came in the very moment is of no use to a child that is dead
                self.kill()
        if "error" in reply:
            raise PluginFault(f"refused: {str(reply['error']).rstrip('.')}")
        return reply, samples

    def kill(self) -> str:
        """End the process and all it started, and say how it ended."""
        self.alive = False
        with suppress(OSError):
            self._pipes[0].close()
        # It may be dying of a signal of its own, which is what to tell of; one that lives is killed at once.
        self._process.poll()
        with suppress(subprocess.TimeoutExpired):
            if self._process.returncode is None and self._at_end():
                self._process.wait(0.5)
        self._strike()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_GONE_S)
        # A process that got away may hold the child's standard error; who listens to that closes it when it ends.
        self._listener.join(_HEARD_S)
        for pipe in self._pipes[:2]:
            with suppress(OSError):
                pipe.close()
        return _ended(self._process.returncode)

    def lives(self) -> bool:
        """Whether it can be asked; one that died while nobody asked is put to rest."""
        if self.alive and self._process.poll() is not None:
            self.kill()
        return self.alive

    def _at_end(self) -> bool:
        """Whether the answers have ended, as they do when a process dies."""
        return self._pipes[1].closed or not _readable(self._pipes[1])

    def _strike(self) -> None:
        with suppress(OSError):
            if _POSIX:
                os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()

    def _listen(self, pipe: IO[bytes]) -> None:
        with suppress(OSError, ValueError), pipe:
            while piece := pipe.read1(4096):  # type: ignore[attr-defined]
                self._printed += piece
                del self._printed[:-_PRINTED_BYTES]

    def _remark(self) -> str:
        lines = self._printed.decode("utf-8", "replace").strip().splitlines()
        return f"; the last it said: {lines[-1][:200]}" if lines else ""


class Pool:
    """Children by what they hold, so that a plugin is loaded once for all the stems that play through it.

    ``most_idle`` are kept, or as many as were leased at one time, each for ``idle_s`` seconds of ``clock``.
    """

    def __init__(
        self, *, most_idle: int = 8, clock: Callable[[], float] = time.monotonic, idle_s: float = 300.0
    ) -> None:
        self._most_idle, self._clock, self._idle_s = most_idle, clock, idle_s
        self._idle: OrderedDict[int, tuple[str, Child, float]] = OrderedDict()
        self._lock = threading.Lock()
        self._next = self._leased = 0

    @contextmanager
    def lease(self, key: str, make: Callable[[], Child]) -> Iterator[Child]:
        """The child for ``key``, nobody else's meanwhile: one that is kept and lives, or what ``make`` gives."""
        child = self._taken(key) or make()
        with self._lock:
            self._leased += 1
            # As many as one chain has at once are kept for the next stem's.
            self._most_idle = max(self._most_idle, self._leased)
        try:
            yield child
        finally:
            with self._lock:
                self._leased -= 1
            if child.alive:
                self._keep(key, child)

    def close(self) -> None:
        """End all children that are kept."""
        with self._lock:
            idle, self._idle = list(self._idle.values()), OrderedDict()
        for _, child, _ in idle:
            child.kill()

    def _taken(self, key: str) -> Child | None:
        with self._lock:
            for number in [number for number, (name, _, _) in self._idle.items() if name == key]:
                child = self._idle.pop(number)[1]
                if child.lives():
                    return child
        return None

    def _keep(self, key: str, child: Child) -> None:
        now = self._clock()
        with self._lock:
            self._next += 1
            self._idle[self._next] = (key, child, now)
            old = [number for number, (_, _, since) in self._idle.items() if now - since > self._idle_s]
            old += list(self._idle)[: max(0, len(self._idle) - len(old) - self._most_idle)]
            ended = [self._idle.pop(number)[1] for number in dict.fromkeys(old)]
        for child in ended:
            child.kill()


POOL = Pool()
atexit.register(POOL.close)


def _readable(pipe: IO[bytes]) -> bool:
    if not _POSIX:
        return False  # nothing there asks a pipe without waiting for it; a child that dies may take its half second
    with suppress(OSError, ValueError):
        os.set_blocking(pipe.fileno(), False)
        return pipe.read(1) != b""
    return False


def _ended(status: int | None) -> str:
    if status is None:
        return "cannot be stopped"
    if status < 0:
        try:
            name = signal.Signals(-status).name
        except ValueError:
            name = f"signal {-status}"
        return "was killed (SIGKILL)" if name == "SIGKILL" else f"crashed ({name})"
    if status >= 0xC0000000:  # what Windows calls an exception that nobody caught: 0xC0000005 is a SIGSEGV
        return f"crashed (0x{status:08X})"
    return f"ended by itself with status {status}" if status else "ended by itself"
