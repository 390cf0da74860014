"""systemd hears how the daemon is; without systemd, or with one that is away, nothing happens."""

import os
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from watch.notify import Notifier

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no Unix sockets here")

Said = Callable[[], list[str]]


@contextmanager
def _service(address: str) -> Iterator[Said]:
    """A service manager at ``address``; gives what it was sent since it was last asked."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("\0" + address[1:] if address.startswith("@") else address)
        listening.setblocking(False)

        def said() -> list[str]:
            heard = []
            while True:
                try:
                    heard.append(listening.recv(4096).decode())
                except BlockingIOError:
                    return heard

        yield said


@pytest.fixture
def address() -> Iterator[str]:
    """A path short enough for a socket."""
    with tempfile.TemporaryDirectory() as folder:
        yield str(Path(folder) / "notify")


def test_a_life_is_told(address: str) -> None:
    """Ready, status (only when it changes), reloading with the clock, ready again, stopping with its grace."""
    with _service(address) as said:
        notifier = Notifier({"NOTIFY_SOCKET": address}, clock=lambda: 12.5)
        notifier.ready("watching")
        notifier.status("watching")
        notifier.status("2 waiting")
        notifier.reloading()
        notifier.ready("watching")
        notifier.stopping(30)
        assert said() == [
            "READY=1\nSTATUS=watching",
            "STATUS=2 waiting",
            "RELOADING=1\nMONOTONIC_USEC=12500000",
            "READY=1\nSTATUS=watching",
            "STOPPING=1\nEXTEND_TIMEOUT_USEC=30000000",
        ]


def test_the_watchdog_hears_half_as_often_as_it_waits(address: str) -> None:
    """However often the main loop goes round: at most every half of the interval, on the given clock."""
    now = 0.0
    with _service(address) as said:
        notifier = Notifier({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "4000000"}, clock=lambda: now)
        assert notifier.interval_s == 2.0
        for step in range(41):
            now = step / 10
            notifier.beat()
        assert said() == ["WATCHDOG=1"] * 3


@pytest.mark.parametrize(
    "given", [{}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "x"}, {"WATCHDOG_USEC": "9", "WATCHDOG_PID": "1"}]
)
def test_a_watchdog_that_is_not_ours_hears_nothing(address: str, given: dict[str, str]) -> None:
    """No interval, a broken one, or one that is meant for another process."""
    with _service(address) as said:
        notifier = Notifier({"NOTIFY_SOCKET": address, **given})
        notifier.beat()
        assert notifier.interval_s is None
        assert said() == []


def test_a_watchdog_for_this_process_is_ours(address: str) -> None:
    """systemd names the process it means."""
    given = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "2000000", "WATCHDOG_PID": str(os.getpid())}
    assert Notifier(given).interval_s == 1.0


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "relative"}])
def test_without_systemd_nothing_happens(environ: dict[str, str]) -> None:
    """No socket, or no address of one: every call does nothing."""
    notifier = Notifier({**environ, "WATCHDOG_USEC": "2000000"})
    notifier.ready()
    notifier.beat()
    notifier.stopping()
    assert notifier.interval_s is None


def test_a_manager_that_is_away_or_asleep_stops_nothing(address: str) -> None:
    """A socket that is gone, and one whose queue is full because nobody reads: the daemon goes on at once."""
    Notifier({"NOTIFY_SOCKET": address}).ready()
    with _service(address):
        notifier = Notifier({"NOTIFY_SOCKET": address})
        for n in range(5000):
            notifier.status(str(n))


def test_a_status_cannot_forge_a_message(address: str) -> None:
    """A stem's name with a line break in it begins no line of its own; bytes that are no text are told as �."""
    with _service(address) as said:
        Notifier({"NOTIFY_SOCKET": address}).status("vox\nWATCHDOG=trigger\udcff.wav")
        assert said() == ["STATUS=vox�WATCHDOG=trigger�.wav"]


@pytest.mark.skipif(sys.platform != "linux", reason="the abstract namespace is Linux'")
def test_an_abstract_socket() -> None:
    """An address that begins with @ is no path."""
    address = f"@gramophone-test-{os.getpid()}"
    with _service(address) as said:
        Notifier({"NOTIFY_SOCKET": address}).ready()
        assert said() == ["READY=1\nSTATUS=watching"]
