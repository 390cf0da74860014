"""One daemon for a folder: the second is refused and told by whom, and a dead one is in nobody's way."""

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from watch import ledgerfile, lock
from watch.errors import WatchError
from watch.ledger import Ledger
from watch.lock import Lock, Locked

HOLD = """
import sys, time
from pathlib import Path
from watch.lock import Lock
held = Lock.acquire(Path(sys.argv[1]), Path("/stems"))
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the lock is, in a folder that does not exist yet."""
    return tmp_path / "state" / lock.NAME


def _hold(path: Path) -> "subprocess.Popen[str]":
    """Another process that holds the lock."""
    other = subprocess.Popen([sys.executable, "-c", HOLD, path], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    assert other.stdout.readline() == "held\n"
    return other


def _end(other: "subprocess.Popen[str]", how: signal.Signals = signal.SIGKILL) -> None:
    other.send_signal(how)
    other.communicate(timeout=20)


def test_the_second_is_refused_by_name(path: Path) -> None:
    """The message names the first one's process and host, and so does the error for programs."""
    other = _hold(path)
    try:
        with pytest.raises(Locked, match=f"process id {other.pid} on .*one daemon watches a folder") as caught:
            Lock.acquire(path, Path("/stems"))
        assert caught.value.holder is not None
        assert (caught.value.holder.pid, caught.value.holder.folder) == (other.pid, "/stems")
        found = lock.holder(path)
        assert found is not None
        assert found.pid == other.pid
    finally:
        _end(other)


def test_a_killed_daemon_is_in_nobodys_way(path: Path) -> None:
    """After SIGKILL the file still names the dead one, and the lock is free all the same."""
    _end(_hold(path))
    assert json.loads(path.read_text())["folder"] == "/stems"
    assert lock.holder(path) is None
    with Lock.acquire(path, Path("/other"), wall=lambda: 5e8):
        assert json.loads(path.read_text()) == {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "started": 5e8,
            "folder": "/other",
        }


def test_release_lets_the_next_in(path: Path) -> None:
    """In one process too: held, refused, released, held; the file is never deleted."""
    with Lock.acquire(path, Path("/stems")), pytest.raises(Locked):
        Lock.acquire(path, Path("/stems"), sleep=lambda _: None)
    assert path.exists()
    Lock.acquire(path, Path("/stems")).release()


def test_looking_keeps_nobody_out(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A status that looks at the very moment a daemon starts has the lock for an instant; the daemon tries again."""
    Lock.acquire(path, Path("/stems")).release()
    looking = os.open(path, os.O_RDONLY)
    assert lock._try(looking, shared=True)

    def sleep(seconds: float) -> None:
        nonlocal looking
        if looking >= 0:
            os.close(looking)
            looking = -1

    with Lock.acquire(path, Path("/stems"), sleep=sleep):
        assert looking == -1


def test_many_looks_at_once_see_no_daemon(path: Path) -> None:
    """Those who look do not take one another for a daemon."""
    Lock.acquire(path, Path("/stems")).release()
    first = os.open(path, os.O_RDONLY)
    try:
        assert lock._try(first, shared=True)
        assert lock.holder(path) is None
    finally:
        os.close(first)


def test_a_deleted_lock_is_noticed(path: Path) -> None:
    """A lock on a deleted file keeps nobody out: its holder can tell."""
    with Lock.acquire(path, Path("/stems")) as held:
        assert held.present()
        path.unlink()
        assert not held.present()
        with Lock.acquire(path, Path("/stems")) as other:
            assert other.present()
            assert not held.present()


def test_a_file_replaced_while_it_is_locked_is_locked_anew(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between opening and locking, another process may put a new file there: the lock is taken on that one."""
    path.parent.mkdir()
    path.write_text("")
    taken: list[int] = []
    real = lock._try

    def late(descriptor: int, *, shared: bool = False) -> bool:
        if not taken:
            path.unlink()
        taken.append(descriptor)
        return real(descriptor, shared=shared)

    monkeypatch.setattr(lock, "_try", late)
    with Lock.acquire(path, Path("/stems"), sleep=lambda _: None) as held:
        assert held.present()
    assert len(taken) == 2


@pytest.mark.parametrize("said", ["", "{", "[]", '{"pid": 1}', "\x00" * 9])
def test_a_record_that_tells_nothing_still_refuses(path: Path, said: str) -> None:
    """Whatever the file holds, the lock itself decides."""
    with Lock.acquire(path, Path("/stems")):
        path.write_text(said)
        with pytest.raises(Locked, match="another daemon"):
            Lock.acquire(path, Path("/stems"), sleep=lambda _: None)
        assert lock.holder(path) is not None


def test_a_full_disk_does_not_unlock(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing can be written the lock holds all the same, without a name in it."""

    def full(*arguments: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with Lock.acquire(path, Path("/stems")):
        monkeypatch.undo()
        with pytest.raises(Locked):
            Lock.acquire(path, Path("/stems"), sleep=lambda _: None)


def test_a_watched_folder_that_went_is_not_made_again(tmp_path: Path) -> None:
    """Its lock and its ledger are refused: a drive that is away must not become a folder on another disk."""
    state = tmp_path / "drive" / ".gramophone"
    with pytest.raises(WatchError, match="No such file"):
        Lock.acquire(state / lock.NAME, state.parent)
    with pytest.raises(WatchError, match="No such file"):
        Ledger.open(state / ledgerfile.NAME)
    assert not state.parent.exists()


def test_a_file_system_without_locks_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The remedy is a state folder elsewhere."""

    def none(*arguments: object, **more: object) -> bool:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock, "_try", none)
    with pytest.raises(WatchError, match="--state"):
        Lock.acquire(path, Path("/stems"))


def test_children_do_not_inherit_it(path: Path) -> None:
    """A worker that outlives the daemon for a moment does not hold the lock for it."""
    program = "import time; print(flush=True); time.sleep(60)"
    with Lock.acquire(path, Path("/stems")):
        child = subprocess.Popen([sys.executable, "-c", program], close_fds=False, stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        child.stdout.readline()  # it runs: until then it may be the copy of this process, which has everything
        Lock.acquire(path, Path("/stems"), sleep=lambda _: None).release()
    finally:
        child.kill()
        child.communicate()


def test_of_many_that_start_at_once_one_wins(path: Path) -> None:
    """Threads with descriptors of their own race as processes do: exactly one has it."""
    start = threading.Barrier(8)
    won: list[Lock] = []
    lost: list[Locked] = []

    def race() -> None:
        start.wait()
        try:
            won.append(Lock.acquire(path, Path("/stems"), sleep=lambda _: time.sleep(0.001)))
        except Locked as error:
            lost.append(error)

    threads = [threading.Thread(target=race) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(lost)) == (1, 7)
    won[0].release()


def test_no_lock_at_all_is_no_daemon(path: Path) -> None:
    """Looking where nothing is finds nobody, and makes nothing."""
    assert lock.holder(path) is None
    assert not path.parent.exists()
