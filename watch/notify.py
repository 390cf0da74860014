"""Telling systemd how the daemon is, by datagrams to the socket it names; without systemd, nothing.

The protocol is that of sd_notify(3): https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html
Everything is sent from the daemon's main loop, so that the watchdog hears from what must not hang.
"""

import os
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress


class Notifier:
    """Sends to ``$NOTIFY_SOCKET``. Never raises and never waits: a service manager that is away stops no daemon."""

    def __init__(
        self, environ: Mapping[str, str] | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        given = os.environ if environ is None else environ
        self._address = _address(given.get("NOTIFY_SOCKET", ""))
        self._clock = clock
        #: Seconds between two beats of the watchdog, half of what systemd allows; None without a watchdog.
        self.interval_s = _interval(given) if self._address is not None else None
        self._beaten: float | None = None
        self._said = ""

    def ready(self, status: str = "watching") -> None:
        """The daemon watches now (after starting, and after reloading)."""
        self._said = _line(status)
        self._send("READY=1", f"STATUS={self._said}")

    def status(self, text: str) -> None:
        """What `systemctl status` shows; sent when it differs from the last."""
        if _line(text) != self._said:
            self._said = _line(text)
            self._send(f"STATUS={self._said}")

    def reloading(self) -> None:
        """Settings are being read again; `ready` ends it."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={round(self._clock() * 1e6)}")

    def stopping(self, grace_s: float = 0.0) -> None:
        """The daemon ends, within ``grace_s`` seconds."""
        extend = (f"EXTEND_TIMEOUT_USEC={round(grace_s * 1e6)}",) if grace_s > 0 else ()
        self._send("STOPPING=1", *extend)

    def beat(self) -> None:
        """The main loop goes round: call it each time; the watchdog is told as often as it needs."""
        if self.interval_s is None:
            return
        now = self._clock()
        if self._beaten is None or now - self._beaten >= self.interval_s:
            self._beaten = now
            self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> None:
        if self._address is None:
            return
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sender.sendto("\n".join(lines).encode("utf-8", "replace"), self._address)


def _address(name: str) -> str | None:
    """The socket called ``name``: a path, or after @ a name in Linux' abstract space."""
    if not hasattr(socket, "AF_UNIX") or name[:1] not in ("/", "@"):
        return None
    return "\0" + name[1:] if name[0] == "@" else name


def _interval(environ: Mapping[str, str]) -> float | None:
    try:
        microseconds = int(environ["WATCHDOG_USEC"])
        meant = int(environ.get("WATCHDOG_PID") or os.getpid())
    except (KeyError, ValueError):
        return None
    return microseconds / 2e6 if microseconds > 0 and meant == os.getpid() else None


def _line(text: str) -> str:
    """``text`` on one line: a line break would begin another message."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
