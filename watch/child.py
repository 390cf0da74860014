"""A worker's process and its three pipes, none of which ever blocks the daemon; killed with all its children."""

import os
import selectors
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import IO

_PIPE_BYTES = 65_536
_KEPT_BYTES = 4000
_WAIT_S = 2.0
_POSIX = os.name == "posix"


class Child:
    """The process of ``command``, in a group of its own; its pipes are in ``selector`` with the data ``(key, name)``.

    Raises `OSError` when it cannot be started.
    """

    def __init__(
        self, command: Sequence[str], env: Mapping[str, str], selector: selectors.BaseSelector, key: object
    ) -> None:
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(env),
            bufsize=0,
            start_new_session=_POSIX,
        )
        self._selector, self._key = selector, key
        self._pipes: dict[str, IO[bytes]] = {}
        self._outbox, self._inbox, self._printed = bytearray(), bytearray(), bytearray()
        named = {"in": self._process.stdin, "out": self._process.stdout, "err": self._process.stderr}
        for name, pipe in named.items():
            assert pipe is not None
            os.set_blocking(pipe.fileno(), False)
            self._pipes[name] = pipe
            if name != "in":
                selector.register(pipe, selectors.EVENT_READ, (key, name))

    @property
    def pid(self) -> int:
        """The number of the process, and of its group."""
        return self._process.pid

    @property
    def silent(self) -> bool:
        """Whether it closed its stdout, which a healthy worker never does."""
        return "out" not in self._pipes

    @property
    def unfinished_bytes(self) -> int:
        """How long the line is that it has begun and not ended."""
        return len(self._inbox)

    @property
    def printed(self) -> str:
        """The last of what it wrote to stderr."""
        return self._printed.decode("utf-8", "replace").strip()

    def status(self) -> int | None:
        """Its exit status, negative for a signal; None while it lives."""
        return self._process.poll()

    def post(self, data: bytes = b"") -> None:
        """Send ``data`` as soon as the pipe takes it."""
        self._outbox += data
        pipe = self._pipes.get("in")
        if pipe is None:
            return
        try:
            while self._outbox:
                del self._outbox[: os.write(pipe.fileno(), self._outbox[:_PIPE_BYTES])]
        except BlockingIOError:
            pass
        except OSError:  # it is dead; its stdout says so
            self._outbox.clear()
        watched = pipe.fileno() in self._selector.get_map()
        if self._outbox and not watched:
            self._selector.register(pipe, selectors.EVENT_WRITE, (self._key, "in"))
        elif watched and not self._outbox:
            self._selector.unregister(pipe)

    def lines(self) -> list[bytes]:
        """The whole lines that came on stdout since they were last asked for."""
        self._read("out", self._inbox)
        *lines, rest = self._inbox.split(b"\n")
        self._inbox = rest
        return [bytes(line) for line in lines]

    def remarks(self) -> list[str]:
        """What came on stderr since it was last asked for."""
        before = len(self._printed)
        self._read("err", self._printed)
        text = self._printed[before:].decode("utf-8", "replace")
        del self._printed[:-_KEPT_BYTES]
        return [line for line in text.splitlines() if line.strip()]

    def close_stdin(self) -> None:
        """Tell it that there is no more to come."""
        self._close("in")

    def kill(self) -> None:
        """End it and its children, at once."""
        self._kill_group()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_WAIT_S)

    def bury(self) -> None:
        """Let go of a dead process; children that outlived it are killed."""
        if _POSIX:
            self._kill_group()
        for name in list(self._pipes):
            self._close(name)

    def _kill_group(self) -> None:
        with suppress(OSError):
            if _POSIX:
                os.killpg(self.pid, signal.SIGKILL)
            else:
                self._process.kill()

    def _read(self, name: str, buffer: bytearray) -> None:
        """Add to ``buffer`` all that there is."""
        while (pipe := self._pipes.get(name)) is not None:
            try:
                data = os.read(pipe.fileno(), _PIPE_BYTES)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            buffer += data
            if not data:
                self._close(name)

    def _close(self, name: str) -> None:
        pipe = self._pipes.pop(name, None)
        if pipe is None:
            return
        with suppress(KeyError, ValueError):
            self._selector.unregister(pipe)
        with suppress(OSError):
            pipe.close()


def ending(status: int) -> str:
    """How a process with this exit ``status`` ended, in words that follow "the worker".

    >>> ending(-11), ending(3)
    ('crashed (SIGSEGV)', 'ended with status 3')
    """
    if status >= 0:
        return f"ended with status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    return "was killed (SIGKILL), perhaps for its memory" if name == "SIGKILL" else f"crashed ({name})"
