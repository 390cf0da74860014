"""Workers are fed, watched, killed and replaced, and whatever happens to a stem is told exactly once."""

import os
import select
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from watch.pool import Deadlines, Died, Lost, Pool, PoolEvent, Printed, Warm, command, environment
from watch.protocol import Published, Returned, Started, Stem

PATIENCE_S = 120.0

# A worker without an engine: what it does with a stem stands in the stem's place.
WORKER = """
import os, signal, subprocess, sys, threading, time
from collections import deque
from watch import protocol
from watch.protocol import *
out, waiting, filled, closed = sys.stdout.buffer, deque(), threading.Condition(), []

def say(record):
    out.write(protocol.line(record)); out.flush()

def read():
    for line in sys.stdin.buffer:
        record = protocol.request(line)
        with filled:
            if isinstance(record, Recall):
                while waiting:
                    say(Returned(waiting.popleft().id))
            else:
                waiting.append(record); filled.notify()
    os._exit(0)

threading.Thread(target=read, daemon=True).start()
if len(sys.argv) > 1:
    exec(sys.argv[1])
say(Ready("cpu"))
while True:
    with filled:
        filled.wait_for(lambda: waiting)
        stem = waiting.popleft()
    say(Started(stem.id, 0.1, 0.1))
    exec(stem.place)
    say(Published(stem.id, "out", "00", 1))
"""


class Clock:
    """A clock that goes as fast as a test likes: real time and what was added, or with `stand` that alone."""

    def __init__(self) -> None:
        self.added_s = 0.0
        self._stands_at: float | None = None

    def stand(self) -> None:
        """Go no more by itself: nothing takes time, however busy the machine is."""
        self._stands_at = self()

    def __call__(self) -> float:
        """Seconds."""
        return (time.monotonic() if self._stands_at is None else self._stands_at) + self.added_s


Maker = Callable[..., Pool]


@pytest.fixture
def clock() -> Clock:
    """A clock that can be put forward."""
    return Clock()


@pytest.fixture
def make_pool(tmp_path: Path, clock: Clock) -> Iterator[Maker]:
    """A maker of pools of workers without an engine, that run ``first`` before they are ready."""
    script = tmp_path / "worker.py"
    script.write_text(textwrap.dedent(WORKER), encoding="utf-8")
    made: list[Pool] = []

    def make(first: str = "", *, size: int = 1, deadlines: Deadlines | None = None, bell: int | None = None) -> Pool:
        words = [sys.executable, str(script), first]
        made.append(Pool(words, size=size, deadlines=deadlines, bell=bell, clock=clock))
        return made[-1]

    yield make
    for pool in made:
        pool.stop(0.0)


def stem(id: int, does: str = "") -> Stem:
    """Stem ``id``, with which the worker ``does`` something."""
    return Stem(id, "x", 1, 1, 1, "out", does, ".")


def gated(gate: Path, then: str = "") -> str:
    """What a worker does that waits for the file ``gate``: only so it is sure what it has not done yet."""
    return f"while not os.path.exists({str(gate)!r}): time.sleep(0.005)\n{then}"


def until(pool: Pool, wanted: Callable[[list[PoolEvent]], object]) -> list[PoolEvent]:
    """Everything that happened until ``wanted`` is true of it."""
    seen: list[PoolEvent] = []
    end = time.monotonic() + PATIENCE_S
    while not wanted(seen):
        assert time.monotonic() < end, f"waited in vain; there was {seen}"
        seen += pool.poll(0.05)
    return seen


def kinds(seen: list[PoolEvent], kind: type) -> list[PoolEvent]:
    """Those of ``seen`` that are of one kind."""
    return [event for event in seen if isinstance(event, kind)]


def warm(pool: Pool, count: int = 1) -> None:
    """Wait until ``count`` workers are ready."""
    until(pool, lambda seen: len(kinds(seen, Warm)) == count)


def test_nothing_is_sent_before_the_engine_is_there(make_pool: Maker) -> None:
    """A worker that still loads has no room; once it has said so, it has."""
    pool = make_pool("time.sleep(0.2)")
    pool.start()
    assert pool.room == 0
    with pytest.raises(ValueError, match="room"):
        pool.send(stem(1))
    warm(pool)
    assert pool.room > 0


def test_stems_are_answered_in_order(make_pool: Maker) -> None:
    """Quick stems are sent ahead of need, and each is answered once."""
    pool = make_pool()
    warm(pool)
    sent = 0
    answered: list[int] = []
    while len(answered) < 200:
        while pool.room and sent < 200:
            sent += 1
            pool.send(stem(sent))
        answered += [event.id for event in pool.poll(1.0) if isinstance(event, Published)]
    assert answered == list(range(1, 201))
    assert pool.busy == 0


def test_the_bell_ends_a_poll(make_pool: Maker) -> None:
    """Who waits for workers is woken by the bell as well."""
    receiver, sender = os.pipe()
    try:
        pool = make_pool(bell=receiver)
        warm(pool)
        os.write(sender, b"!")
        assert pool.poll(None) == []
        assert select.select([receiver], [], [], 0)[0], "the bell is left for its owner to clear"
    finally:
        pool.stop(0.0)
        os.close(receiver)
        os.close(sender)


def test_a_crash_is_blamed_on_the_stem_under_work_alone(make_pool: Maker) -> None:
    """The stem that a worker died of is blamed, those behind it are given back, and another worker comes."""
    pool = make_pool()
    warm(pool)
    pool.send(stem(1, "time.sleep(0.2); os.kill(os.getpid(), signal.SIGSEGV)"))
    pool.send(stem(2))
    seen = until(pool, lambda seen: len(kinds(seen, Lost)) == 2 and kinds(seen, Warm))
    assert kinds(seen, Lost) == [
        Lost(1, "the worker crashed (SIGSEGV)", blame=True),
        Lost(2, "the worker crashed (SIGSEGV)", blame=False),
    ]
    pool.send(stem(2))
    until(pool, lambda seen: kinds(seen, Published))


def test_what_was_published_before_a_crash_is_not_lost(make_pool: Maker) -> None:
    """An answer that was sent counts, though the worker died right after it."""
    pool = make_pool()
    warm(pool)
    pool.send(stem(1, 'say(Published(stem.id, "out", "00", 1)); os.kill(os.getpid(), signal.SIGKILL)'))
    seen = until(pool, lambda seen: kinds(seen, Died))
    assert [event.id for event in seen if isinstance(event, Published)] == [1]
    assert kinds(seen, Lost) == []


def test_an_answer_that_came_in_time_counts(make_pool: Maker, clock: Clock, tmp_path: Path) -> None:
    """A daemon that looks too late (the machine slept) still takes the answer that lies in the pipe."""
    pool = make_pool(deadlines=Deadlines(render_s=100.0, factor=0.0))
    warm(pool)
    pool.send(stem(1, gated(tmp_path / "gate")))
    until(pool, lambda seen: kinds(seen, Started))
    (tmp_path / "gate").touch()
    worker = pool._places[0].child
    assert worker is not None
    assert select.select([worker._pipes["out"]], [], [], PATIENCE_S)[0], "the answer lies in the pipe"
    clock.added_s += 1000.0
    seen = until(pool, lambda seen: kinds(seen, Died))
    assert [event.id for event in seen if isinstance(event, Published)] == [1]
    assert kinds(seen, Lost) == []


def test_a_worker_that_hangs_is_killed_with_its_children(make_pool: Maker, tmp_path: Path, clock: Clock) -> None:
    """A stem that does not end within its deadline costs the worker its life, and every process it started."""
    pool = make_pool(deadlines=Deadlines(render_s=600.0, factor=1.0))
    warm(pool)
    note = tmp_path / "child"
    child = "[sys.executable, '-c', 'import time; time.sleep(600)']"
    pool.send(stem(1, f"p = subprocess.Popen({child}); open({str(note)!r}, 'w').write(str(p.pid)); time.sleep(600)"))
    until(pool, lambda seen: note.exists() and note.read_text())
    pid = int(note.read_text())
    clock.added_s += 601.0
    seen = until(pool, lambda seen: kinds(seen, Lost))
    [lost] = kinds(seen, Lost)
    assert isinstance(lost, Lost)
    assert lost.blame
    assert "nothing came of it within" in lost.reason
    end = time.monotonic() + PATIENCE_S
    while _alive(pid):
        assert time.monotonic() < end, "the worker's child outlived it"
        time.sleep(0.01)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_longer_stem_may_take_longer() -> None:
    """The deadline grows with what the stem is expected to take."""
    deadlines = Deadlines(render_s=10.0, factor=2.0)
    assert deadlines.of(Started(1, 1.0, 1.0)) == 12.0
    assert deadlines.of(Started(1, 1.0, 100.0)) == 210.0


def test_the_deadline_begins_when_the_stem_does(make_pool: Maker, clock: Clock, tmp_path: Path) -> None:
    """A stem that waited behind another one has its whole time before it when its turn comes."""
    pool = make_pool(deadlines=Deadlines(look_s=100.0, render_s=100.0, factor=0.0))
    warm(pool)
    pool.send(stem(1, gated(tmp_path / "first")))
    pool.send(stem(2, gated(tmp_path / "second")))
    until(pool, lambda seen: kinds(seen, Started))
    clock.added_s += 60.0
    (tmp_path / "first").touch()
    until(pool, lambda seen: kinds(seen, Published))
    clock.added_s += 60.0
    (tmp_path / "second").touch()
    seen = until(pool, lambda seen: kinds(seen, Published))
    assert kinds(seen, Lost) == []


def test_a_worker_that_never_gets_ready_is_killed_and_comes_later_and_later(make_pool: Maker, clock: Clock) -> None:
    """An engine that does not load is tried again, with more time between tries."""
    pool = make_pool("time.sleep(600)", deadlines=Deadlines(start_s=100.0))
    waits = []
    for _ in range(4):
        pool.poll(0.0)
        clock.added_s += 101.0
        [died] = kinds(until(pool, lambda seen: kinds(seen, Died)), Died)
        assert isinstance(died, Died)
        waits.append(died.again_s)
        clock.added_s += died.again_s
    assert waits == [0.0, 0.5, 1.0, 2.0]


def test_a_worker_that_dies_at_its_start_says_why(make_pool: Maker) -> None:
    """What it wrote to stderr comes with its death."""
    pool = make_pool("sys.stderr.write('no such engine\\n'); sys.stderr.flush(); os._exit(1)")
    [died, *_] = kinds(until(pool, lambda seen: kinds(seen, Died)), Died)
    assert isinstance(died, Died)
    assert died.reason == "ended with status 1"
    assert died.printed == "no such engine"


def test_a_worker_that_cannot_be_started_is_told_of(clock: Clock) -> None:
    """A missing interpreter is a death like another, not an error of the daemon."""
    pool = Pool(["/no/such/python"], clock=clock)
    try:
        [died] = pool.poll(0.0)
        assert isinstance(died, Died)
        assert "cannot be started" in died.reason
    finally:
        pool.stop(0.0)


def test_nonsense_on_the_line_ends_the_worker(make_pool: Maker) -> None:
    """A worker that does not speak the protocol any more is replaced, its stem blamed."""
    pool = make_pool()
    warm(pool)
    pool.send(stem(1, r'out.write(b"hello\n"); out.flush(); time.sleep(600)'))
    seen = until(pool, lambda seen: kinds(seen, Lost))
    [lost] = kinds(seen, Lost)
    assert isinstance(lost, Lost)
    assert lost.blame
    assert "made no sense" in lost.reason


def test_an_answer_about_a_stem_it_does_not_have_ends_the_worker(make_pool: Maker) -> None:
    """No answer can end a stem that was never sent there."""
    pool = make_pool()
    warm(pool)
    pool.send(stem(1, 'say(Published(99, "out", "00", 1)); time.sleep(600)'))
    seen = until(pool, lambda seen: kinds(seen, Lost))
    assert kinds(seen, Published) == []


def test_a_closed_pipe_is_a_death(make_pool: Maker, clock: Clock) -> None:
    """A worker that closes its stdout and lives on is killed."""
    pool = make_pool()
    warm(pool)
    pool.send(stem(1, "os.close(1); time.sleep(600)"))
    until(pool, lambda seen: kinds(seen, Started))
    time.sleep(0.1)
    pool.poll(0.1)
    clock.added_s += 10.0
    assert kinds(until(pool, lambda seen: kinds(seen, Lost)), Lost)


def test_prints_are_told_and_do_not_block(make_pool: Maker) -> None:
    """A plugin that floods stderr neither stops its worker nor fills the daemon's memory."""
    pool = make_pool()
    warm(pool)
    pool.send(stem(1, r"sys.stderr.write('x' * 79 + '\n' * 1 + 'y' * 200_000 + '\n'); sys.stderr.flush()"))
    seen = until(pool, lambda seen: kinds(seen, Published))
    assert kinds(seen, Printed)


def test_stems_behind_a_long_one_are_given_back_when_another_worker_is_idle(make_pool: Maker, clock: Clock) -> None:
    """Nobody waits behind an hour of sound while another worker has nothing to do."""
    pool = make_pool(size=2, deadlines=Deadlines(look_s=1e9, render_s=1e9))
    warm(pool, 2)
    for id in range(4):
        pool.send(stem(id, "time.sleep(600)" if id == 0 else ""))
    seen: list[PoolEvent] = []
    end = time.monotonic() + PATIENCE_S
    while len(kinds(seen, Published) + kinds(seen, Returned)) < 3:
        assert time.monotonic() < end, f"waited in vain; there was {seen}"
        clock.added_s += 0.5
        seen += pool.poll(0.1)
    behind = {event.id for event in kinds(seen, Returned) if isinstance(event, Returned)}
    answered = {event.id for event in kinds(seen, Published) if isinstance(event, Published)}
    assert behind | answered == {1, 2, 3}
    assert not behind & answered


def test_recall_gives_back_what_is_not_begun(make_pool: Maker, clock: Clock, tmp_path: Path) -> None:
    """Before the daemon ends, only what is under work goes on."""
    pool = make_pool()
    warm(pool)
    clock.stand()
    for id in range(10):  # quick ones, so that some are sent ahead after them
        pool.send(stem(id))
        until(pool, lambda seen: kinds(seen, Published))
    for id in range(5):
        pool.send(stem(id, gated(tmp_path / "gate")))
    until(pool, lambda seen: kinds(seen, Started))
    pool.recall()
    seen = until(pool, lambda seen: len(kinds(seen, Returned)) == 4)
    (tmp_path / "gate").touch()
    seen += until(pool, lambda seen: kinds(seen, Published))
    assert pool.busy == 0
    assert [event.id for event in kinds(seen, Published) if isinstance(event, Published)] == [0]


def test_stop_gives_every_stem_back_unblamed(make_pool: Maker) -> None:
    """The end of the daemon is no stem's fault, and no process is left."""
    pool = make_pool()
    warm(pool)
    pool.send(stem(1, "time.sleep(600)"))
    pool.send(stem(2))
    until(pool, lambda seen: kinds(seen, Started))
    pids = pool.pids
    events = pool.stop(0.2)
    assert {event.id for event in kinds(events, Lost) if isinstance(event, Lost)} == {1, 2}
    assert not any(event.blame for event in kinds(events, Lost) if isinstance(event, Lost))
    assert not any(_alive(pid) for pid in pids)
    assert pool.pids == []
    assert pool.stop() == []


def test_long_stems_are_sent_one_at_a_time(make_pool: Maker, clock: Clock, tmp_path: Path) -> None:
    """Once stems take seconds none is sent ahead, so that none waits where it need not."""
    pool = make_pool()
    warm(pool)
    for id in range(12):
        pool.send(stem(id, gated(tmp_path / f"gate {id}")))
        until(pool, lambda seen: kinds(seen, Started))
        clock.added_s += 5.0
        (tmp_path / f"gate {id}").touch()
        until(pool, lambda seen: kinds(seen, Published))
    assert pool.room == 1


def test_a_pool_grows(make_pool: Maker) -> None:
    """Where there turn out to be more devices there are more workers, each told which one it is."""
    pool = make_pool("sys.stderr.write(' '.join(sys.argv[2:]) + '\\n'); sys.stderr.flush()")
    warm(pool)
    pool.grow(3)
    pool.grow(2)
    seen = until(pool, lambda seen: len(kinds(seen, Warm)) == 2 and len(kinds(seen, Printed)) >= 2)
    assert len(pool.pids) == 3
    told = {event.text for event in kinds(seen, Printed) if isinstance(event, Printed)}
    assert told >= {"--place 1", "--place 2"}


def test_the_worker_finds_the_package_and_nothing_of_the_current_folder() -> None:
    """A file called engine.py in the folder where the daemon was started is not what the worker imports."""
    assert "-P" in command(None, "cpu", 1)
    assert environment({"PYTHONPATH": "elsewhere"})["PYTHONPATH"].split(os.pathsep)[1:] == ["elsewhere"]
