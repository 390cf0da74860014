"""The workers: spawned, kept warm, given stems ahead of need, killed when they hang, started again when they die.

A `Pool` waits only in `poll` and raises nothing for what a worker does: whatever can happen to a stem comes back as an
event.
"""

import os
import selectors
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from watch import child, protocol
from watch.child import Child
from watch.protocol import Answer, Ready, Recall, Rendered, Returned, Started, Stem, Verdict

# Stems are sent ahead for so many seconds of work, at most so many; more gains nothing.
_AHEAD_S, _MOST_AHEAD = 0.3, 32
# Stems that wait this long behind another are asked back when a worker has nothing to do.
_PATIENCE_S = 1.0
_EXIT_S = 2.0
_MAX_LINE_BYTES = 8 * 2**20
_LONGEST_BACK_OFF_S = 30.0


@dataclass(frozen=True)
class Deadlines:
    """Seconds a worker may take: to load the engine, to look at a stem, and to render it, longer for a longer one."""

    start_s: float = 120.0
    look_s: float = 120.0
    render_s: float = 120.0
    factor: float = 10.0

    def of(self, started: Started) -> float:
        """How long the stem may take from now on."""
        return self.render_s + self.factor * max(started.estimate_s, started.duration_s)


@dataclass(frozen=True)
class Warm:
    """Worker ``number`` is ready on ``device``, one of ``devices`` alike, ``seconds`` after it was started."""

    number: int
    device: str
    seconds: float
    devices: int = 1


@dataclass(frozen=True)
class Lost:
    """A worker died, or was killed, before stem ``id`` was finished; ``blame`` when that was the one it worked on."""

    id: int
    reason: str
    blame: bool


@dataclass(frozen=True)
class Died:
    """Worker ``number`` is dead and why, with the last it ``printed``; another is started in ``again_s``."""

    number: int
    reason: str
    again_s: float
    printed: str = ""


@dataclass(frozen=True)
class Printed:
    """A line that something in worker ``number`` wrote to stderr or stdout."""

    number: int
    text: str


PoolEvent = Verdict | Started | Rendered | Warm | Lost | Died | Printed


@dataclass
class _Place:
    """One place in the pool, and the worker that fills it when there is one."""

    number: int
    child: Child | None = None
    ready: bool = False
    begun: float = 0.0
    deadline: float | None = None
    killed: str | None = None
    silent_since: float | None = None
    # Of the stems sent and not answered, in order, the first is under work, since `head_since`.
    sent: dict[int, Stem] = field(default_factory=dict)
    head_since: float = 0.0
    recalled: bool = False
    mean_s: float = _AHEAD_S
    may_start: float = 0.0
    deaths: int = 0

    @property
    def room(self) -> int:
        """How many more stems it may be sent: one at a time when they take long, many ahead when they are quick."""
        if not self.ready or self.killed is not None or self.recalled:
            return 0
        ahead = min(_MOST_AHEAD, int(_AHEAD_S / max(self.mean_s, 1e-3)))
        return max(0, 1 + ahead - len(self.sent))


def command(library: Path | None, device: str, threads: int) -> list[str]:
    """The command line of a worker."""
    # -P: the folder the daemon was started in may hold a file called like a module of ours.
    words = [sys.executable, "-P", "-m", "watch.worker", "--device", device, "--threads", str(threads)]
    return [*words, *(["--library", os.fspath(library)] if library else [])]


def environment(base: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment of a worker: it finds the package that the daemon runs, and its threads do not spin."""
    here = os.fspath(Path(__file__).resolve().parent.parent)
    paths = [here, *(path for path in base.get("PYTHONPATH", "").split(os.pathsep) if path)]
    return {"GOMP_SPINCOUNT": "2000"} | dict(base) | {"PYTHONPATH": os.pathsep.join(paths)}


class Pool:
    """``size`` workers started by ``command``; ``bell`` is a descriptor that ends a `poll` when it can be read.

    The command gets ``--place`` and which worker it is, from 0.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        size: int = 1,
        deadlines: Deadlines | None = None,
        bell: int | None = None,
        clock: Callable[[], float] = time.monotonic,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._command, self._clock = list(command), clock
        self._deadlines = deadlines or Deadlines()
        self._env = environment() if env is None else dict(env)
        self._places: list[_Place] = []
        self.grow(size)
        self._selector = selectors.DefaultSelector()
        self._events: deque[PoolEvent] = deque()
        self._stopping = False
        self._bell = bell
        if bell is not None:
            self._selector.register(bell, selectors.EVENT_READ)

    @property
    def pids(self) -> list[int]:
        """The processes that live."""
        return [place.child.pid for place in self._places if place.child is not None]

    @property
    def busy(self) -> int:
        """How many stems are with the workers."""
        return sum(len(place.sent) for place in self._places)

    @property
    def ahead(self) -> bool:
        """Whether every worker has stems before it that it has not begun."""
        return all(len(place.sent) > 1 for place in self._places)

    @property
    def room(self) -> int:
        """How many stems can be sent now."""
        return 0 if self._stopping else sum(place.room for place in self._places)

    def grow(self, size: int) -> None:
        """Have ``size`` workers from now on, if there are fewer."""
        self._places += [_Place(number) for number in range(len(self._places) + 1, size + 1)]

    def start(self) -> None:
        """Start every worker whose time has come; `poll` does so too."""
        now = self._clock()
        for place in self._places:
            if place.child is None and now >= place.may_start and not self._stopping:
                self._spawn(place, now)

    def send(self, stem: Stem) -> None:
        """Give ``stem`` to the worker that will come to it first; `ValueError` when there is no `room`."""
        free = [place for place in self._places if place.room]
        if not free:
            raise ValueError("no worker has room for a stem; ask room first")
        place = min(free, key=lambda place: (len(place.sent), place.number))
        if not place.sent:
            place.head_since = self._clock()
            place.deadline = place.head_since + self._deadlines.look_s
        place.sent[stem.id] = stem
        self._post(place, stem)

    def recall(self) -> None:
        """Ask for every stem back that is not under work yet."""
        for place in self._places:
            if len(place.sent) > 1 and not place.recalled:
                place.recalled = True
                self._post(place, Recall())

    def poll(self, timeout: float | None) -> list[PoolEvent]:
        """Wait for something to happen, at most ``timeout`` seconds, and return all that did."""
        self.start()
        self._look_at_clocks()
        waits = [time for time in (timeout, self._next_clock(), 0.0 if self._events else None) if time is not None]
        for key, _ in self._selector.select(max(0.0, min(waits)) if waits else None):
            if key.data is not None:
                place, pipe = key.data
                self._hear(place, pipe)
        self._look_at_clocks()
        events = list(self._events)
        self._events.clear()
        return events

    def stop(self, grace_s: float = _EXIT_S) -> list[PoolEvent]:
        """End every worker: by closing its pipe, and after ``grace_s`` by force. What they had is `Lost`, unblamed."""
        if self._stopping:
            return []
        self._stopping = True
        if self._bell is not None:
            self._selector.unregister(self._bell)
        events = list(self._events)
        for place in self._places:
            if place.child is not None:
                place.child.close_stdin()
        until = self._clock() + grace_s
        while self.pids and (left := until - self._clock()) > 0:
            events += self.poll(min(0.05, left))
        for place in self._places:
            self._kill(place, "was stopped with the daemon")
        events += self._events
        self._events.clear()
        self._selector.close()
        return events

    def _spawn(self, place: _Place, now: float) -> None:
        try:
            words = [*self._command, "--place", str(place.number - 1)]
            place.child = Child(words, self._env, self._selector, place)
        except OSError as error:
            self._back_off(place, f"cannot be started ({error.strerror or error})", "")
            return
        place.ready, place.begun, place.killed, place.silent_since = False, now, None, None
        place.deadline, place.recalled, place.mean_s = now + self._deadlines.start_s, False, _AHEAD_S

    def _post(self, place: _Place, record: protocol.Request) -> None:
        if place.child is not None:
            place.child.post(protocol.line(record))

    def _hear(self, place: _Place, pipe: str) -> None:
        worker = place.child
        if worker is None:
            return
        if pipe == "in":
            worker.post()
        elif pipe == "err":
            self._events.extend(Printed(place.number, said) for said in worker.remarks())
        else:
            self._listen(place, worker)
            if worker.silent:
                place.silent_since = self._clock()
                self._bury_if_dead(place)

    def _listen(self, place: _Place, worker: Child) -> None:
        try:
            for text in worker.lines():
                self._answer(place, protocol.answer(text))
        except protocol.ProtocolError as error:
            self._kill(place, f"was stopped, for it made no sense: {error}")
        if worker.unfinished_bytes > _MAX_LINE_BYTES:
            self._kill(place, "was stopped, for it sent a line without an end")

    def _answer(self, place: _Place, answer: Answer) -> None:
        now = self._clock()
        if isinstance(answer, Ready):
            place.ready, place.deadline = True, None
            self._events.append(Warm(place.number, answer.device, now - place.begun, answer.devices))
            return
        if answer.id not in place.sent:
            raise protocol.ProtocolError(f"an answer about stem {answer.id}, which it does not have")
        self._events.append(answer)
        if isinstance(answer, Started):
            place.deadline = now + self._deadlines.of(answer)
            return
        if isinstance(answer, Rendered):
            return
        if next(iter(place.sent)) == answer.id:
            if not isinstance(answer, Returned):
                place.mean_s += 0.3 * (now - place.head_since - place.mean_s)
                place.deaths = 0
            place.head_since, place.deadline = now, now + self._deadlines.look_s
        del place.sent[answer.id]
        if len(place.sent) <= 1:
            place.recalled = False
        if not place.sent:
            place.deadline = None

    def _look_at_clocks(self) -> None:
        now = self._clock()
        for place in self._places:
            if place.silent_since is not None:
                self._bury_if_dead(place)
            if place.silent_since is not None and now - place.silent_since > _EXIT_S:
                self._kill(place, "closed its pipe and stayed")
            if place.child is not None and place.deadline is not None and now >= place.deadline:
                took = now - (place.head_since if place.ready else place.begun)
                self._kill(place, f"was stopped: nothing came of it within {took:.0f} s")
        if any(now >= due for due in self._recalls()):
            self.recall()

    def _recalls(self) -> list[float]:
        """When stems that wait behind others are to be asked back, because another worker has nothing to do."""
        if not any(place.ready and not place.sent for place in self._places):
            return []
        waiting = [place for place in self._places if len(place.sent) > 1 and not place.recalled]
        return [place.head_since + _PATIENCE_S for place in waiting]

    def _next_clock(self) -> float | None:
        """Seconds until a deadline or the start of a worker; None when there is none."""
        now = self._clock()
        times = [place.deadline for place in self._places if place.child is not None and place.deadline is not None]
        times += self._recalls()
        if not self._stopping:
            times += [place.may_start for place in self._places if place.child is None]
        if any(place.silent_since is not None for place in self._places):
            times.append(now + 0.02)
        return min((time - now for time in times), default=None)

    def _kill(self, place: _Place, why: str) -> None:
        if place.child is not None:
            place.killed = place.killed or why
            place.deadline = None
            place.child.kill()
            self._bury_if_dead(place)

    def _bury_if_dead(self, place: _Place) -> None:
        """Say what became of the stems of a dead worker, and when the next one is started."""
        worker = place.child
        if worker is None or (status := worker.status()) is None:
            return
        # What it said before it died counts: a stem that was published is no lost one.
        try:
            for text in worker.lines():
                self._answer(place, protocol.answer(text))
        except protocol.ProtocolError:
            pass  # half a line
        self._events.extend(Printed(place.number, said) for said in worker.remarks())
        worker.bury()
        place.child, place.ready, place.deadline, place.silent_since = None, False, None, None
        why = place.killed or child.ending(status)
        lost, place.sent = place.sent, {}
        for index, id in enumerate(lost):
            self._events.append(Lost(id, f"the worker {why}", blame=index == 0 and not self._stopping))
        if not self._stopping:
            self._back_off(place, why, worker.printed)

    def _back_off(self, place: _Place, why: str, printed: str) -> None:
        place.deaths += 1
        # One death costs nothing: a stem that kills workers has a back-off of its own.
        again_s = 0.0 if place.deaths == 1 else min(_LONGEST_BACK_OFF_S, 0.5 * 2.0 ** (place.deaths - 2))
        place.may_start = self._clock() + again_s
        self._events.append(Died(place.number, why, again_s, printed))
