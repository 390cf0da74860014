"""The ledger: steps that are taken whole or not at all, and by nobody twice."""

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from watch import ledgerfile
from watch.ledger import IllegalStep, Known, Ledger
from watch.rows import STATES, WORKING, Kind, Row, State
from watch.view import view

# Bytes that are no UTF-8, a line break, a quote, braces: all of it can be the name of a file.
ODD = "tape/\udcff\n\"{x}'-ü.wav"


@dataclass(frozen=True)
class Shot:
    """A snapshot; the inode has more bits than SQLite's integers."""

    size: int = 100
    mtime_ns: int = 1_700_000_000_123_456_789
    ctime_ns: int = 1_700_000_000_123_456_790
    inode: int = 2**64 - 3
    device: int = 2**63


@dataclass(frozen=True)
class Item:
    """What a scan found."""

    relative: str
    snapshot: Shot = Shot()
    kind: Kind = "stem"


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """The time."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """The monotonic clock of the ledger under test."""
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the ledger is, in a folder that does not exist yet."""
    return tmp_path / "state" / ledgerfile.NAME


@pytest.fixture
def ledger(path: Path, clock: Clock) -> Iterator[Ledger]:
    """An empty ledger."""
    made, _ = Ledger.open(path, clock=clock, wall=Clock(5e8))
    with made:
        yield made


def _to(ledger: Ledger, state: State, relative: str = "tape/vox.wav") -> Row:
    """A row of the ledger, taken to ``state`` the usual way."""
    one = ledger.found(relative, Shot())
    if state in ("claimed", "rendered", "published", "done"):
        (one,) = ledger.claim(1, "me")
    if state == "rendered":
        ledger.rendered(one.id, f"_out/{relative}")
    if state in ("published", "done"):
        ledger.published(one.id, f"_out/{relative}", "ab" * 32, 7)
    if state == "done":
        ledger.done(one.id)
    if state == "failed":
        ledger.failed(one.id, "no sound")
    if state == "gone":
        ledger.gone(one.id)
    return ledger.get(one.id)


def _each(ledger: Ledger) -> None:
    """A row in every state, called after it; the waiting one last, or the others' claims would take it."""
    for state in (*STATES[1:], STATES[0]):
        _to(ledger, state, f"tape/{state}.wav")


def test_a_stem_goes_all_the_way(ledger: Ledger) -> None:
    """Found, claimed, rendered, published, done, with what each step notes."""
    one = ledger.found(ODD, Shot())
    assert (one.state, one.relative, one.incarnation, one.attempts) == ("found", ODD, 1, 0)
    assert (one.inode, one.device) == (Shot.inode, Shot.device)
    assert [row.id for row in ledger.claim(5, "me")] == [one.id]
    ledger.keyed(one.id, content="c", preset_hash="p", config_hash="k", job_key="j")
    ledger.rendered(one.id, "_out/\udcfe.wav")
    ledger.published(one.id, "_out/\udcfe.wav", "s", 9)
    ledger.done(one.id, moved_to="_done/\udcfd.wav")
    end = ledger.get(one.id)
    assert (end.state, end.output, end.sha256, end.frames) == ("done", "_out/\udcfe.wav", "s", 9)
    assert (end.content, end.preset_hash, end.config_hash, end.job_key) == ("c", "p", "k", "j")
    assert (end.owner, end.moved_to, end.ended_at) == (None, "_done/\udcfd.wav", 5e8)
    assert ledger.counts() == dict.fromkeys(STATES, 0) | {"done": 1}


@pytest.mark.parametrize("state", STATES)
def test_no_step_is_taken_from_where_it_is_none(ledger: Ledger, state: State) -> None:
    """From every state, each step that is not allowed raises, and leaves the row as it was."""
    allowed = {
        "found": {"failed", "gone", "waiting"},
        "claimed": {"rendered", "published", "failed", "gone", "back", "waiting"},
        "rendered": {"published", "failed", "gone", "back", "waiting"},
        "published": {"done"},
        "done": set(),
        "failed": {"gone"},
        "gone": set(),
    }
    before = _to(ledger, state)
    steps: dict[str, Callable[[], object]] = {
        "rendered": lambda: ledger.rendered(before.id, "o"),
        "published": lambda: ledger.published(before.id, "o", "s", 1),
        "done": lambda: ledger.done(before.id),
        "failed": lambda: ledger.failed(before.id, "why"),
        "gone": lambda: ledger.gone(before.id),
        "back": lambda: ledger.back(before.id, "why"),
        "waiting": lambda: ledger.waiting(before.id, "why"),
    }
    for name in set(steps) - allowed[state]:
        with pytest.raises(IllegalStep):
            steps[name]()
        assert ledger.get(before.id) == before
    for name in allowed[state]:
        with contextlib.suppress(ZeroDivisionError), ledger.transaction():  # taken, and undone
            steps[name]()
            assert ledger.get(before.id) != before
            raise ZeroDivisionError
        assert ledger.get(before.id) == before


def test_finding_again_changes_nothing(ledger: Ledger) -> None:
    """A scan that sees what is known already writes nothing, whatever state it is in, but for what had gone."""
    for state in STATES:
        before = _to(ledger, state, f"tape/{state}.wav")
        if state == "gone":
            assert ledger.found(before.relative, Shot()).incarnation == 2
        else:
            assert ledger.found(before.relative, Shot(device=9)) == before


@pytest.mark.parametrize("change", [{"size": 1}, {"mtime_ns": 1}, {"ctime_ns": 1}, {"inode": 1}])
def test_another_content_is_another_incarnation(ledger: Ledger, change: dict[str, int]) -> None:
    """A done stem of which any mark changed waits anew; what it published before is still known as ours."""
    first = _to(ledger, "done")
    second = ledger.found(first.relative, replace(Shot(), **change))
    assert (second.state, second.incarnation, second.output) == ("found", 2, None)
    assert not ledger.get(first.id).current
    assert ledger.earlier(first.relative) == ledger.get(first.id)
    assert [row.id for row in ledger.rows()] == [second.id]
    with pytest.raises(IllegalStep, match="newer content"):
        ledger.done(first.id)


def test_a_waiting_stem_that_changes_starts_over(ledger: Ledger) -> None:
    """Attempts and reasons were those of the content before."""
    one = _to(ledger, "claimed")
    ledger.back(one.id, "it crashed", 5000.0)
    now = ledger.found(one.relative, Shot(size=5))
    assert (now.id, now.size, now.attempts, now.reason, now.not_before) == (one.id, 5, 0, None, 0.0)


@pytest.mark.parametrize("state", WORKING)
def test_a_stem_under_work_is_left_alone(ledger: Ledger, state: State) -> None:
    """What replaces it meanwhile is found once it has ended."""
    before = _to(ledger, state)
    assert ledger.found(before.relative, Shot(size=5)) == before
    assert ledger.news([Item(before.relative, Shot(size=5))]) == []


def test_news_is_what_found_would_write(ledger: Ledger) -> None:
    """A scan of known stems is told to be none; new paths, new contents and what had gone are."""
    _each(ledger)
    same = [Item(f"tape/{state}.wav") for state in STATES]
    other = [Item(item.relative, Shot(mtime_ns=1)) for item in same]
    assert [item.relative for item in ledger.news(same)] == ["tape/gone.wav"]
    expected = [f"tape/{state}.wav" for state in STATES if state not in WORKING]
    assert [item.relative for item in ledger.news(other)] == expected
    assert ledger.news([Item(ODD)]) == [Item(ODD)]


def test_absent_are_those_that_need_their_source(ledger: Ledger) -> None:
    """Waiting and failed stems whose file is not there; not those whose source was moved, nor any under work."""
    _each(ledger)
    moved = _to(ledger, "failed", "tape/moved.wav")
    ledger.moved(moved.id, "_failed/tape/moved.wav")
    assert [row.relative for row in ledger.absent([])] == ["tape/failed.wav", "tape/found.wav"]
    assert [row.relative for row in ledger.absent({"tape/found.wav"})] == ["tape/failed.wav"]


def test_claims_are_in_order_and_bounded(ledger: Ledger) -> None:
    """First found, first claimed; never more than asked for, never one twice."""
    ids = [ledger.found(f"tape/{n}.wav", Shot()).id for n in range(5)]
    assert [row.id for row in ledger.claim(2, "me")] == ids[:2]
    assert [row.id for row in ledger.claim(9, "me")] == ids[2:]
    assert ledger.claim(9, "me") == []
    assert ledger.claim(0, "me") == []


def test_back_off_is_on_the_clock_that_was_given(ledger: Ledger, clock: Clock) -> None:
    """A stem given back is due when its time has come, and not before; its attempts are counted unless told not to."""
    one = _to(ledger, "claimed")
    now = ledger.back(one.id, "it crashed", clock.now + 30)
    assert (now.attempts, now.reason, now.retry_at) == (1, "it crashed", 5e8 + 30)
    assert ledger.claim(1, "me") == []
    assert ledger.next_due() == clock.now + 30
    clock.now += 30
    (again,) = ledger.claim(1, "me")
    assert ledger.back(again.id, None, count=False).attempts == 1


def test_held_stems_are_released_by_folder(ledger: Ledger, clock: Clock) -> None:
    """What waits for its config is due when that is mended, and costs no attempt; back-offs go on."""
    rows = [ledger.found(f"{folder}/vox.wav", Shot()) for folder in ("tape", "tape2", "rain")]
    for one in rows:
        ledger.waiting(one.id, "no preset", clock.now + 60)
    crashed = ledger.found("tape/crashed.wav", Shot())
    ledger.claim(1, "me")
    ledger.back(crashed.id, "it crashed", clock.now + 60)
    assert ledger.release("tape/") == 1
    assert [row.relative for row in ledger.claim(9, "me")] == ["tape/vox.wav"]
    assert ledger.release() == 2
    assert [row.attempts for row in ledger.claim(9, "me")] == [0, 0]


def test_nothing_is_claimed_while_paused(path: Path, ledger: Ledger) -> None:
    """A pause by a command beside the daemon holds at once, and through a restart."""
    ledger.found("tape/vox.wav", Shot())
    with Ledger.attach(path) as beside:
        beside.pause("dinner \udcff")
    assert ledger.paused == "dinner \udcff"
    assert ledger.claim(1, "me") == []
    ledger.adopt()
    assert ledger.claim(1, "me") == []
    assert ledger.resume()
    assert not ledger.resume()
    assert len(ledger.claim(1, "me")) == 1


def test_a_new_daemon_takes_over(path: Path, clock: Clock) -> None:
    """Claims return as interruptions, back-offs on the old clock end, what was published is to be finished."""
    old, _ = Ledger.open(path, clock=clock)
    for state in ("published", "rendered", "claimed"):
        _to(old, state, f"tape/{state}.wav")
    late = old.found("tape/late.wav", Shot())
    old.waiting(late.id, "later", 1e9)
    old.notice("disk", "full")
    old.close()
    ledger, fresh = Ledger.open(path, clock=Clock(3.0))
    with ledger:
        assert fresh is None
        assert ledger.adopt() == 2
        assert [row.relative for row in ledger.rows("published")] == ["tape/published.wav"]
        back = {row.relative: row for row in ledger.claim(9, "new")}
        assert set(back) == {"tape/rendered.wav", "tape/claimed.wav", "tape/late.wav"}
        assert back["tape/rendered.wav"].interruptions == 1
        assert back["tape/rendered.wav"].attempts == 0
        assert back["tape/rendered.wav"].output == "_out/tape/rendered.wav"
        assert ledger.notices() == {}
        assert ledger.adopt() == 3


def test_two_stems_never_share_an_output(ledger: Ledger) -> None:
    """Names that differ by case, composition or ending are one; the stem's own earlier name is free to it."""
    mine, other = _to(ledger, "done", "tape/vox.wav"), _to(ledger, "claimed", "tape/Vox.flac")
    ledger.reserve(other.id, "_out/tape/Vox (2).wav")
    for name in ("_out/tape/vox.wav", "_out/TAPE/VOX.flac", "_out/tape/vox.aiff"):
        with pytest.raises(IllegalStep, match=r"tape/vox\.wav"):
            ledger.published(other.id, name, "s", 1)
    assert ledger.get(other.id).output == "_out/tape/Vox (2).wav"
    ledger.gone(other.id)
    assert ledger.owner_of("_out/tape/vox (2).wav") is None
    again = ledger.found(mine.relative, Shot(size=3))
    ledger.claim(1, "me")
    ledger.published(again.id, "_out/tape/vox.wav", "s2", 1)


def test_retry_takes_back_what_ended(ledger: Ledger) -> None:
    """All that failed, or a named stem in any end; never one under work, nor one whose source was moved away."""
    _each(ledger)
    moved = _to(ledger, "failed", "tape/moved.wav")
    ledger.moved(moved.id, "_failed/tape/moved.wav")
    assert [row.relative for row in ledger.retry()] == ["tape/failed.wav"]
    assert ledger.retry("tape/moved.wav") == []
    ledger.moved(moved.id, None)
    for name, taken in (("moved", 1), ("done", 1), ("found", 1), ("claimed", 0), ("published", 0), ("gone", 0)):
        assert len(ledger.retry(f"tape/{name}.wav")) == taken
    assert ledger.retry("tape/nothing.wav") == []
    row = ledger.of("tape/done.wav")
    assert row is not None
    assert (row.state, row.attempts, row.reason, row.ended_at) == ("found", 0, None, None)


def test_a_transaction_is_all_or_nothing(path: Path, ledger: Ledger) -> None:
    """Steps inside are seen by nobody else before its end, and by nobody at all when it is left by an error."""
    with view(path) as reader:
        with ledger.transaction():
            ledger.found("a", Shot())
            with ledger.transaction():
                ledger.found("b", Shot())
            assert reader.counts()["found"] == 0
        assert reader.counts()["found"] == 2
        with contextlib.suppress(ZeroDivisionError), ledger.transaction():
            ledger.found("c", Shot())
            with ledger.transaction():
                ledger.found("d", Shot())
            raise ZeroDivisionError
        assert reader.counts()["found"] == 2


def test_notices_are_told_once(ledger: Ledger) -> None:
    """The same text again is no news; None withdraws it."""
    assert ledger.notice("disk", "\udcff is full")
    assert not ledger.notice("disk", "\udcff is full")
    assert ledger.notices() == {"disk": "\udcff is full"}
    assert ledger.notice("disk", None)
    assert not ledger.notice("disk", None)
    assert ledger.notices() == {}


@pytest.mark.parametrize("batch", [1, 3, 200])
def test_a_fresh_ledger_is_rebuilt_from_the_folders(ledger: Ledger, batch: int) -> None:
    """What is recognised as published is done, what is known to have failed has failed, the rest waits."""
    for name in "abcde":
        ledger.found(name, Shot())
    known = {
        "a": Known(output="_out/a.wav", sha256="s", frames=3, content="c"),
        "d": Known(reason="no sound"),
        "e": Known(output="_out/e.wav", sha256="t", frames=4),
    }
    assert ledger.rebuild(lambda row: known.get(row.relative), batch=batch) == 3
    states = {row.relative: (row.state, row.output, row.sha256, row.frames, row.reason) for row in ledger.rows()}
    assert states == {
        "a": ("done", "_out/a.wav", "s", 3, None),
        "b": ("found", None, None, None, None),
        "c": ("found", None, None, None, None),
        "d": ("failed", None, None, None, "no sound"),
        "e": ("done", "_out/e.wav", "t", 4, None),
    }
    assert ledger.rebuild(lambda row: known.get(row.relative), batch=batch) == 0


SHOTS = st.builds(Shot, size=st.integers(0, 3), mtime_ns=st.integers(0, 2))
NAMES = st.sampled_from(["a.wav", "b.wav", "b.flac", ODD])


class Steps(RuleBasedStateMachine):
    """Random steps, crashes and clocks against a model that is a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.published: dict[int, int] = {}
        self.model: dict[str, tuple[State, Shot, int]] = {}
        self.due: dict[str, float] = {}

    @initialize()
    def begin(self) -> None:
        """A fresh ledger in memory-backed files."""
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / ledgerfile.NAME
        self.ledger, _ = Ledger.open(self.path, clock=self.clock)

    def teardown(self) -> None:
        """Close and delete."""
        if hasattr(self, "ledger"):
            self.ledger.close()
            self.folder.cleanup()

    def _set(self, name: str, state: State) -> None:
        _, shot, incarnation = self.model[name]
        self.model[name] = (state, shot, incarnation)

    def _in(self, *states: State) -> list[str]:
        return [name for name, (state, _, _) in self.model.items() if state in states]

    def _id(self, name: str) -> int:
        row = self.ledger.of(name)
        assert row is not None
        return row.id

    @rule(name=NAMES, shot=SHOTS)
    def scan(self, name: str, shot: Shot) -> None:
        """A file lies still."""
        row = self.ledger.found(name, shot)
        state, known, incarnation = self.model.get(name, (None, None, 0))
        if state in WORKING:
            pass
        elif state == "found":
            if known != shot:
                self.due[name] = 0.0
            self.model[name] = ("found", shot, incarnation)
        elif state is None or known != shot or state == "gone":
            self.model[name] = ("found", shot, incarnation + 1)
            self.due[name] = 0.0
        assert row.incarnation == self.model[name][2]
        assert self.ledger.news([Item(name, shot)]) == []

    @rule(n=st.integers(0, 3))
    def claim(self, n: int) -> None:
        """The daemon takes some."""
        due = {name for name in self._in("found") if self.due[name] <= self.clock.now}
        taken = {row.relative for row in self.ledger.claim(n, "me")}
        assert taken <= due
        assert len(taken) == min(n, len(due))
        for name in taken:
            self._set(name, "claimed")

    @precondition(lambda self: self._in("claimed", "rendered"))
    @rule(data=st.data(), how=st.sampled_from(["rendered", "published", "failed", "back", "waiting", "gone"]))
    def answer(self, data: st.DataObject, how: str) -> None:
        """A worker says how it went."""
        name = data.draw(st.sampled_from(self._in("claimed", "rendered")))
        id = self._id(name)
        output = f"_out/{name}{self.model[name][2]}"
        later = self.clock.now + data.draw(st.sampled_from([0.0, 5.0]))
        if how == "rendered":
            if self.model[name][0] == "claimed":
                self.ledger.rendered(id, output)
                self._set(name, "rendered")
        elif how == "published":
            self.ledger.published(id, output, "s", 1)
            self.published[id] = self.published.get(id, 0) + 1
            self._set(name, "published")
        elif how == "failed":
            self.ledger.failed(id, "why")
            self._set(name, "failed")
        elif how == "gone":
            self.ledger.gone(id)
            self._set(name, "gone")
        else:
            (self.ledger.back if how == "back" else self.ledger.waiting)(id, "why", later)
            self.due[name] = later
            self._set(name, "found")

    @precondition(lambda self: self._in("published"))
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        """The source is dealt with."""
        name = data.draw(st.sampled_from(self._in("published")))
        self.ledger.done(self._id(name))
        self._set(name, "done")

    @rule(seconds=st.floats(0, 10))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.clock.now += seconds

    @rule()
    def retry(self) -> None:
        """A person asks for what failed."""
        with Ledger.attach(self.path) as beside:
            assert {row.relative for row in beside.retry()} == set(self._in("failed"))
        for name in self._in("failed"):
            self.due[name] = 0.0
            self._set(name, "found")

    @rule()
    def undo(self) -> None:
        """A transaction that ends in an error leaves no trace."""
        before = self.ledger.rows()
        with contextlib.suppress(ZeroDivisionError), self.ledger.transaction():
            self.ledger.found("new.wav", Shot())
            self.ledger.claim(5, "nobody")
            raise ZeroDivisionError
        assert self.ledger.rows() == before

    @rule(clean=st.booleans())
    def restart(self, clean: bool) -> None:
        """The daemon ends, by a close or in the middle of a transaction, and another begins with its own clock."""
        if not clean:
            self.ledger._db.execute("BEGIN IMMEDIATE")
            self.ledger._db.execute("DELETE FROM stems")
        self.ledger.close()
        self.clock = Clock(self.clock.now / 2)
        self.ledger, fresh = Ledger.open(self.path, clock=self.clock)
        assert fresh is None
        claimed = self._in("claimed", "rendered")
        assert self.ledger.adopt() == len(claimed)
        for name in claimed:
            self._set(name, "found")
        self.due = dict.fromkeys(self.due, 0.0)

    @invariant()
    def every_stem_is_in_one_state(self) -> None:
        """The ledger says of every stem what the model says, and nothing of any other."""
        if hasattr(self, "ledger"):
            rows = self.ledger.rows()
            assert {row.relative: (row.state, row.incarnation) for row in rows} == {
                name: (state, incarnation) for name, (state, _, incarnation) in self.model.items()
            }
            assert sum(self.ledger.counts().values()) == len(rows)
            assert all((row.owner is not None) == (row.state in WORKING) for row in rows)


Steps.TestCase.settings = settings(
    max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestSteps = Steps.TestCase
