"""What wakes the daemon: events where there are some, a timer where there are none, and mending of what broke."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from watchdog.observers import Observer

from watch import wake as module
from watch.wake import Wake

# How long a test waits for an event before it fails; it comes within milliseconds on an idle machine.
SOON_S = 60.0
# How long nothing must come for a test to believe that nothing does; too short hides a fault, never makes one.
QUIET_S = 0.3


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A watched folder with a preset's folder in it."""
    (tmp_path / "stems" / "tape").mkdir(parents=True)
    return tmp_path / "stems"


@pytest.fixture
def started() -> Iterator[Callable[..., Wake]]:
    """Makes wakes that are stopped at the end, started and with nothing left to wake for."""
    made: list[Wake] = []

    def make(*args: Any, **kwargs: Any) -> Wake:
        made.append(Wake(*args, **kwargs))
        made[-1].start()
        made[-1].clear()
        return made[-1]

    yield make
    for one in made:
        one.stop()


class Clock:
    """A clock that goes when told to."""

    now = 100.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now


def quiet(wake: Wake) -> None:
    """Wait until no event comes any more."""
    while wake.wait(QUIET_S):
        pass


def hard_link(root: Path) -> None:
    """A stem that arrives as another name of one that is there already, outside."""
    source = root.parent / "outside.wav"
    source.write_bytes(b"sound")
    (root / "tape" / "vox.wav").hardlink_to(source)


def move_tree(root: Path) -> None:
    """A folder that arrives with all that is in it."""
    tree = root.parent / "outside"
    (tree / "deep").mkdir(parents=True)
    (tree / "deep" / "vox.wav").write_bytes(b"sound")
    tree.rename(root / "choir")


def rename_in(root: Path) -> None:
    """A stem that was uploaded under a temporary name."""
    part = root / "tape" / ".vox.wav.part"
    part.write_bytes(b"sound")
    part.rename(root / "tape" / "vox.wav")


@pytest.mark.parametrize(
    "arrive",
    [
        lambda root: (root / "tape" / "vox.wav").write_bytes(b"sound"),
        lambda root: (root / "tape" / "vox.toml").write_bytes(b"amount = 1"),
        lambda root: (root / "drums").mkdir(),
        rename_in,
        hard_link,
        move_tree,
    ],
    ids=["copy", "sidecar", "folder", "rename", "hard link", "tree"],
)
def test_whatever_arrives_wakes(root: Path, started: Callable[..., Wake], arrive: Callable[[Path], object]) -> None:
    """However it comes, who waits is woken at once and not when the next scan would be due."""
    wake = started(root)
    assert wake.events
    quiet(wake)
    arrive(root)
    assert wake.wait(SOON_S)


def test_more_of_a_stem_wakes_once_it_is_closed(root: Path, started: Callable[..., Wake]) -> None:
    """A file that is written over or grows needs no new name to be seen."""
    stem = root / "tape" / "vox.wav"
    stem.write_bytes(b"sound")
    wake = started(root)
    quiet(wake)
    with stem.open("ab") as file:
        file.write(b"more")
    assert wake.wait(SOON_S)


def test_what_is_no_input_does_not_wake(root: Path, started: Callable[..., Wake]) -> None:
    """Outputs, state, temporary files, excluded folders and mere reading: the daemon does not wake itself."""
    for folder in ("_out", ".gramophone", "tape/styled"):
        (root / folder).mkdir(parents=True)
    (root / "tape" / "vox.wav").write_bytes(b"sound")
    wake = started(root)
    wake.exclude([root / "tape" / "styled"])
    quiet(wake)
    (root / "_out" / "vox.wav").write_bytes(b"styled")
    (root / ".gramophone" / "ledger.sqlite").write_bytes(b"rows")
    (root / "tape" / ".vox.wav.part").write_bytes(b"half")
    (root / "tape" / "styled" / "vox.wav").write_bytes(b"styled")
    (root / "tape" / "vox.wav").read_bytes()
    list(root.rglob("*"))
    assert not wake.wait(QUIET_S)
    (root / "tape" / "styled.wav").write_bytes(b"sound")
    assert wake.wait(SOON_S)


def test_a_folder_that_is_a_link_is_watched(root: Path, tmp_path: Path, started: Callable[..., Wake]) -> None:
    """Events come from what the link leads to."""
    (tmp_path / "link").symlink_to(root)
    wake = started(tmp_path / "link")
    quiet(wake)
    (root / "tape" / "vox.wav").write_bytes(b"sound")
    assert wake.wait(SOON_S)


def removed(root: Path) -> None:
    """The folder goes with all in it, and comes back."""
    shutil.rmtree(root)
    (root / "tape").mkdir(parents=True)


def moved_away(root: Path) -> None:
    """The folder gets another name, and another one gets its name."""
    root.rename(root.parent / "old")
    (root / "tape").mkdir(parents=True)


@pytest.mark.parametrize("change", [removed, moved_away])
def test_a_folder_that_was_made_again_is_watched_again(
    root: Path, started: Callable[..., Wake], change: Callable[[Path], None]
) -> None:
    """Watchers stay with what they began with; after a look at how things are, events come from what is there now."""
    wake = started(root)
    change(root)
    observer = wake._observer
    for _ in range(round(SOON_S / 0.1)):
        wake.check()
        if wake._observer is not observer and wake.events:
            break
        threading.Event().wait(0.1)  # a watcher dies in its own time
    quiet(wake)
    (root / "tape" / "vox.wav").write_bytes(b"sound")
    assert wake.wait(SOON_S)
    assert wake.warning is None


def test_the_thread_mends_by_itself(root: Path, started: Callable[..., Wake]) -> None:
    """Nobody has to ask: a folder that comes back wakes who waits for it, and so does what is dropped in it then."""
    wake = started(root)
    shutil.rmtree(root)
    for _ in range(round(SOON_S / 0.1)):
        wake.wait(0.1)
        if not wake.events:
            break
    assert not wake.events
    quiet(wake)
    (root / "tape").mkdir(parents=True)
    assert wake.wait(SOON_S)
    assert wake.events


def test_an_observer_that_died_is_replaced(root: Path, started: Callable[..., Wake]) -> None:
    """One thread of a watcher that ends, for whatever reason, is seen at the next look."""
    wake = started(root)
    dead = wake._observer
    assert dead is not None
    for emitter in dead.emitters:
        emitter.stop()
        emitter.join(SOON_S)
    wake.check()
    assert wake.events
    assert wake._observer is not dead
    quiet(wake)
    (root / "tape" / "vox.wav").write_bytes(b"sound")
    assert wake.wait(SOON_S)


class Exhausted:
    """An observer factory for a system that has no watchers left, until it has."""

    def __init__(self) -> None:
        self.tries = 0
        self.left = False

    def __call__(self) -> Any:
        """One more try."""
        self.tries += 1
        if not self.left:
            raise OSError(errno.EMFILE, "inotify instance limit reached")
        return Observer()


def test_without_watchers_a_timer_wakes_and_one_warning_is_given(root: Path) -> None:
    """The daemon goes on by looking; the warning stays the same, and goes once there are events again."""
    clock, factory = Clock(), Exhausted()
    wake = Wake(root, observer=factory, clock=clock)
    try:
        wake.check()
        warning = wake.warning
        assert warning is not None
        assert "inotify instance limit reached" in warning
        assert wake.clear()
        for _ in range(30):
            clock.now += 1.0
            wake.check()
            assert wake.clear()
            assert wake.warning == warning
        assert factory.tries == 1
        factory.left = True
        clock.now += module.RETRY_S
        wake.check()
        assert wake.events
        assert wake.warning is None
        assert wake.clear()  # what came in between had no event
    finally:
        wake.stop()


def test_a_watcher_that_fails_to_start_leaves_nothing_behind(root: Path) -> None:
    """Some fail only when they are started: their threads and descriptors are let go all the same."""
    before = set(threading.enumerate())

    class Failing(Observer):  # type: ignore[valid-type,misc]
        def start(self) -> None:
            raise OSError(errno.ENOSPC, "inotify watch limit reached")

    wake = Wake(root, observer=Failing)
    wake.check()
    assert not wake.events
    assert wake.warning is not None
    wake.stop()
    assert set(threading.enumerate()) <= before  # one of another test may have ended meanwhile


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="inotify is Linux's")
def test_without_inotify_instances_the_folder_is_polled(root: Path) -> None:
    """The real thing: every instance that this user may have is taken by somebody else."""
    script = textwrap.dedent(
        """
        import ctypes, os, sys
        from pathlib import Path
        from watch.wake import Wake
        libc = ctypes.CDLL(None)
        taken = []
        while (instance := libc.inotify_init()) >= 0:
            taken.append(instance)
        wake = Wake(Path(sys.argv[1]))
        wake.start()
        for instance in taken:
            os.close(instance)
        wake.clear()
        assert not wake.events
        assert "too many open files" in wake.warning.lower() or "limit" in wake.warning, wake.warning
        assert wake.wait(50)
        wake.stop()
        """
    )
    run = subprocess.run(
        [sys.executable, "-c", script, str(root)], capture_output=True, text=True, timeout=120, check=False
    )
    assert run.returncode == 0, run.stderr


def test_polling_asks_for_no_events(root: Path) -> None:
    """On request nothing is watched, and the timer wakes; the longer a look takes, the rarer."""
    clock = Clock()
    factory = Exhausted()
    wake = Wake(root, poll=True, observer=factory, clock=clock)
    try:
        wake.check()
        assert wake.clear()
        wake.check()
        assert not wake.clear()
        clock.now += module.TICK_S
        wake.check()
        assert wake.clear()
        assert (factory.tries, wake.events, wake.warning) == (0, False, None)
        wake.scanned(0.05)
        clock.now += module.TICK_S
        wake.check()
        wake.clear()
        clock.now += 9.0
        wake.check()
        assert not wake.clear()
        clock.now += 1.0
        wake.check()
        assert wake.clear()
        wake.scanned(1_000.0)
        clock.now += 10.0
        wake.check()
        wake.clear()
        clock.now += 30.0
        wake.check()
        assert wake.clear()
    finally:
        wake.stop()


def test_a_folder_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    """It is no reason for a warning, nor for waking again and again."""
    wake = Wake(tmp_path / "later")
    try:
        wake.check()
        assert (wake.events, wake.warning, wake.clear()) == (False, None, False)
        (tmp_path / "later").mkdir()
        wake.check()
        assert wake.events
        assert wake.clear()
    finally:
        wake.stop()


def test_waiting_ends_for_whoever_wakes(root: Path, started: Callable[..., Wake]) -> None:
    """From another thread, from a signal handler, many times at once: one reason is as good as a thousand."""
    wake = started(root, poll=True)
    wake._poll_at = float("inf")
    quiet(wake)
    assert not wake.wait(0.0)
    threading.Timer(0.05, wake.wake).start()
    assert wake.wait(SOON_S)
    for _ in range(100_000):
        wake.wake()
    assert wake.wait(0.0)
    assert not wake.wait(0.0)
    if hasattr(signal, "SIGHUP"):
        before = signal.signal(signal.SIGHUP, lambda *_: wake.wake())
        try:
            threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGHUP)).start()
            assert wake.wait(SOON_S)
        finally:
            signal.signal(signal.SIGHUP, before)


def test_stopping_lets_everything_go(root: Path) -> None:
    """No thread and no descriptor is left, who waited is woken, and a late event harms nobody."""
    before = set(threading.enumerate())
    descriptors = len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").exists() else 0
    wake = Wake(root)
    wake.start()
    wake.stop()
    wake.wake()
    assert not wake.wait(0.0)
    assert set(threading.enumerate()) <= before
    if descriptors:
        assert len(list(Path("/proc/self/fd").iterdir())) == descriptors
