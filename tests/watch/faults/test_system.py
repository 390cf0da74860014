"""What the system does to a daemon: clocks, queues that overflow, limits, other daemons."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.watch.conftest import Daemon, User

EXIT_LOCKED = 75


@pytest.mark.parametrize("wall", ["back", "forward"])
def test_a_clock_that_is_set(daemon: "Daemon", tmp_path: Path, wall: str) -> None:
    """Set back or forward by days twice a second, the wall clock decides nothing: stems are still awaited and done."""
    gate = tmp_path / "gate"
    daemon.start(strange={"wall": wall}, env={"GRAMOPHONE_BARRIER": f"worker-render%slow:wait={gate}"})
    for number in range(3):
        daemon.drop(f"tape/{number}.wav")
        time.sleep(0.6)
    daemon.drop("tape/slow.wav")
    daemon.until(Path(f"{gate}.reached").exists, "the stem is under work")
    time.sleep(1.5)  # by the wall clock it takes weeks, or ended before it began
    gate.touch()
    daemon.until_ended(4)
    assert set(daemon.states().values()) == {"done"}
    assert "nothing came of it" not in daemon.log
    assert daemon.log.count("is ready on") == 1
    assert daemon.stop() == 0
    daemon.check()


def _overflow(folder: Path) -> None:
    """Make more events in ``folder`` than the queue of a watcher holds."""
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if limit > 100_000:
        pytest.skip(f"the queue holds {limit} events here: too many to make")
    names = [str(folder / name) for name in ("x", "y")]
    Path(names[0]).touch()
    for turn in range(limit // 2 + 1000):
        os.rename(names[turn % 2], names[1 - turn % 2])  # noqa: PTH104 - twenty thousand times


def _until_at_rest(daemon: "Daemon") -> None:
    """Wait until the daemon has used next to no time in a second."""
    used = [-1]

    def at_rest() -> bool:
        time.sleep(1.0)
        fields = Path(f"/proc/{daemon.pid}/stat").read_text().rpartition(")")[2].split()
        used.append(int(fields[11]) + int(fields[12]))  # hundredths of a second
        return 0 <= used[-1] - used[-2] <= 3 and len(used) > 2

    daemon.until(at_rest, "it is at rest")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="inotify is Linux's")
def test_an_overflow_of_events_loses_nothing(daemon: "Daemon") -> None:
    """Asleep while more happens than the queue holds, the daemon finds what no event told it, and goes on finding it.

    A folder whose making was lost is never watched: what is dropped there later is found by looking.
    """
    daemon.start()
    daemon.drop("tape/before.wav")
    daemon.until_states(tape__before="done")
    daemon.send(signal.SIGSTOP)
    _overflow(daemon.folder / "tape")
    daemon.drop("tape/lost.wav")
    (daemon.folder / "tape" / "new").mkdir()
    daemon.give()
    daemon.send(signal.SIGCONT)
    daemon.until_states(tape__lost="done")
    _until_at_rest(daemon)  # all events that there were have been heard; each is a reason to look
    daemon.drop("tape/new/later.wav")
    daemon.until_states(tape__new__later="done")
    daemon.check()


def test_events_that_are_lost_are_made_good(daemon: "Daemon") -> None:
    """Whatever loses events, and when nobody knows of it, a look now and then finds what is there and what is gone."""
    daemon.start(strange={"deaf": True})
    daemon.until(lambda: "is ready on" in daemon.log, "a worker is ready")
    time.sleep(1.0)
    first = daemon.drop("tape/new/first.wav")
    daemon.until_states(tape__new__first="done")
    daemon.command("pause")
    second = daemon.drop("tape/second.wav")
    daemon.until_states(tape__second="found")
    second.unlink()
    daemon.until_states(tape__second="gone")
    assert first.exists()
    daemon.check()


_TAKE_ALL = """
import ctypes, sys, time
libc = ctypes.CDLL(None)
while libc.inotify_init() >= 0:
    pass
print("taken", flush=True)
sys.stdin.read()
"""


@pytest.mark.alone
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="inotify is Linux's")
def test_without_inotify_instances_it_is_looked_at(daemon: "Daemon", ordinary: "User") -> None:
    """When the same user has none left there is one warning, in the log and in the status, and stems are found."""
    taker = subprocess.Popen(
        [*ordinary.wrap, sys.executable, "-c", _TAKE_ALL], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with taker:
        try:
            assert taker.stdout is not None
            assert taker.stdout.readline() == b"taken\n"
            config = daemon.folder / "watch.toml"
            config.write_text(config.read_text().replace("rescan_s = 1.0", "rescan_s = 600"))
            daemon.start()
            for number in range(2):
                daemon.drop(f"tape/{number}.wav")
                daemon.until(lambda n=number: daemon.states().get(f"tape/{n}.wav") == "done", "done")  # type: ignore[misc]
            assert daemon.log.count("no events from") == 1
            assert "no events from" in str(daemon.status()["notices"])
            daemon.check()
        finally:
            taker.kill()


def test_many_daemons_at_once(make_daemon: "Callable[..., Daemon]", ordinary: "User") -> None:
    """Of five that start at the same moment one watches, and the others leave with 75; each stem is done once."""
    daemons = [make_daemon(user=ordinary) for _ in range(5)]
    daemons[0].drop("tape/vox.wav")
    for one in daemons:
        one.start(wait=False)
    first = daemons[0]
    first.until(lambda: sum(one.running for one in daemons) == 1, "one is left")
    [left] = [one for one in daemons if one.running]
    for one in daemons:
        if one is not left:
            assert one.wait() == EXIT_LOCKED
            assert "one daemon watches a folder" in one.log
    left.until_states(tape__vox="done")
    assert left.outputs() == ["tape/vox.wav"]
    assert left.stop() == 0
    left.check()


@pytest.mark.parametrize("inside_first", [True, False])
def test_two_daemons_with_states_of_their_own(
    make_daemon: "Callable[..., Daemon]", ordinary: "User", tmp_path: Path, inside_first: bool
) -> None:
    """A state elsewhere is no way around: the folder itself has one daemon, and the second names the first."""
    first, second = make_daemon(user=ordinary), make_daemon(user=ordinary)
    elsewhere = ("--state", str(tmp_path / "state"))
    first.start(*(() if inside_first else elsewhere))
    second.start(*(elsewhere if inside_first else ()), wait=False)
    assert second.wait() == EXIT_LOCKED
    assert f"process id {first.pid}" in second.log
    assert first.running


def test_a_folder_that_cannot_be_locked_is_watched_all_the_same(daemon: "Daemon", tmp_path: Path) -> None:
    """With its state elsewhere a folder may be one where nothing can be locked or written but the outputs."""
    (daemon.folder / ".gramophone").write_bytes(b"in the way")
    daemon.state = tmp_path / "state"
    daemon.start("--state", str(daemon.state))
    daemon.drop("tape/vox.wav")
    daemon.until_states(tape__vox="done")
    assert daemon.stop() == 0


def test_a_daemon_that_slept(daemon: "Daemon") -> None:
    """Stopped for a while in the middle of work, as a laptop is when it is closed, it goes on where it was."""
    daemon.start()
    for number in range(20):
        daemon.drop(f"tape/{number}.wav")
    daemon.until(lambda: daemon.outputs(), "something is done")
    daemon.send(signal.SIGSTOP)
    for worker in daemon.workers():
        os.kill(worker, signal.SIGSTOP)
    time.sleep(1.0)
    for pid in (*daemon.workers(), daemon.pid):
        os.kill(pid, signal.SIGCONT)
    daemon.until_ended(20)
    assert set(daemon.states().values()) == {"done"}
    daemon.check()
