"""What a worker says becomes the right step of the ledger: an attempt, a wait, an end, and never a lost answer."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from watch import names
from watch.book import PATIENCE, Book
from watch.config import Configs
from watch.holds import Holds
from watch.ledger import Ledger
from watch.ledgerfile import LedgerUnavailable
from watch.pool import Lost
from watch.protocol import Failed, Incomplete, Published, Returned, Waiting
from watch.rows import Row
from watch.scan import Snapshot


class Clock:
    """A clock that stands until it is put forward."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """A clock that stands."""
    return Clock()


@pytest.fixture
def ledger(tmp_path: Path, clock: Clock) -> Iterator[Ledger]:
    """A ledger of its own."""
    made, _ = Ledger.open(tmp_path / "state" / "ledger.sqlite", clock=clock)
    with made:
        yield made


@pytest.fixture
def book(tmp_path: Path, ledger: Ledger, clock: Clock) -> Book:
    """A book for the folder of the test, with three attempts and a second to be still."""
    made = Book(tmp_path, ledger, Configs(tmp_path), Holds(clock), clock)
    made.attempts, made.settle_s = 3, 1.0
    return made


@pytest.fixture
def claimed(tmp_path: Path, ledger: Ledger) -> Row:
    """A stem on the disk, claimed."""
    path = tmp_path / "tape" / "vox.wav"
    path.parent.mkdir()
    path.write_bytes(b"sound")
    ledger.found("tape/vox.wav", Snapshot.of(path.lstat()))
    [row] = ledger.claim(1, "me")
    return row


def again(ledger: Ledger, clock: Clock) -> float:
    """Claim it again as soon as it is due, and say after how long that was."""
    due = ledger.next_due()
    assert due is not None
    waited_s, clock.now = max(0.0, due - clock.now), max(clock.now, due)
    assert ledger.claim(1, "me")
    return waited_s


def test_what_may_end_otherwise_is_tried_again_later_and_later(
    book: Book, ledger: Ledger, claimed: Row, clock: Clock
) -> None:
    """Crashes and errors of the moment count as attempts, each with a longer wait, and then the stem has failed."""
    waits = []
    for outcome in (Failed(claimed.id, "a bad moment", retry=True), Lost(claimed.id, "it crashed", blame=True)):
        book.add(outcome)
        book.write()
        assert ledger.get(claimed.id).state == "found"
        waits.append(again(ledger, clock))
    assert waits == [1.0, 4.0]
    book.add(Lost(claimed.id, "it crashed", blame=True))
    book.write()
    assert (ledger.get(claimed.id).state, ledger.get(claimed.id).reason) == ("failed", "it crashed (3 attempts)")


def test_what_is_final_fails_at_once(book: Book, ledger: Ledger, claimed: Row, tmp_path: Path) -> None:
    """A stem that cannot be rendered goes aside with its reason, without further attempts."""
    book.add(Failed(claimed.id, "holds a NaN"))
    book.write()
    assert ledger.get(claimed.id).state == "failed"
    assert (tmp_path / names.FAILED / "tape" / "vox.wav").read_bytes() == b"sound"
    assert (tmp_path / names.FAILED / "tape" / "vox.wav.txt").read_text() == "holds a NaN\n"


@pytest.mark.parametrize("outcome", [Lost(1, "the daemon stopped", blame=False), Returned(1)])
def test_what_never_began_costs_no_attempt(
    book: Book, ledger: Ledger, claimed: Row, clock: Clock, outcome: Lost
) -> None:
    """A stem that was given back is due at once, as if nothing had been."""
    book.add(outcome)
    book.write()
    assert ledger.get(claimed.id).attempts == 0
    assert again(ledger, clock) == 0.0


def test_an_incomplete_file_is_waited_for_and_then_fails(
    book: Book, ledger: Ledger, claimed: Row, clock: Clock
) -> None:
    """As long as it may still be on its way it waits; when it lay still for long, it has failed with what is wrong."""
    begun = clock.now
    while ledger.get(claimed.id).state != "failed":
        assert clock.now - begun < 3 * PATIENCE
        book.add(Incomplete(claimed.id, "is cut off"))
        book.write()
        if ledger.get(claimed.id).state == "found":
            assert ledger.get(claimed.id).attempts == 0
            assert again(ledger, clock) >= book.settle_s
    assert clock.now - begun >= PATIENCE * book.settle_s
    assert ledger.get(claimed.id).reason == "is cut off"


def test_a_file_that_changed_begins_its_time_anew(book: Book, ledger: Ledger, claimed: Row, clock: Clock) -> None:
    """However long it takes to arrive, a file that still changes does not fail."""
    for _ in range(40):
        book.add(Incomplete(claimed.id, "changed", changed=True))
        book.write()
        again(ledger, clock)
        clock.now += 2.0
    assert ledger.get(claimed.id).state == "claimed"


def test_a_file_that_grows_with_long_pauses_does_not_fail(
    book: Book, ledger: Ledger, claimed: Row, clock: Clock, tmp_path: Path
) -> None:
    """Time in which it grew is no time in which it lay still, though it is cut off each time it is looked at."""
    path = tmp_path / claimed.relative
    for _ in range(40):
        book.add(Incomplete(claimed.id, "is cut off"))
        book.write()
        assert ledger.get(claimed.id).state == "found"
        path.write_bytes(path.read_bytes() + b"more")
        ledger.found(claimed.relative, Snapshot.of(path.lstat()))
        clock.now += PATIENCE / 3 * book.settle_s
        again(ledger, clock)
    begun = clock.now
    while ledger.get(claimed.id).state != "failed":
        assert clock.now - begun < 3 * PATIENCE
        book.add(Incomplete(claimed.id, "is cut off"))
        book.write()
        if ledger.get(claimed.id).state == "found":
            again(ledger, clock)
    assert clock.now - begun >= PATIENCE * book.settle_s


def test_what_is_not_its_fault_costs_no_attempt(book: Book, ledger: Ledger, claimed: Row, clock: Clock) -> None:
    """A full disk makes a stem wait, for as long as it takes, with the reason for people to see."""
    for _ in range(10):
        book.add(Waiting(claimed.id, "no space left", "output"))
        book.write()
        row = ledger.get(claimed.id)
        assert (row.state, row.attempts, row.reason, row.held) == ("found", 0, "no space left", True)
        again(ledger, clock)


def test_an_answer_waits_for_the_ledger(
    book: Book, ledger: Ledger, claimed: Row, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ledger that cannot be written loses no answer: it is written when it can be."""

    def refuse(id: int, *, moved_to: str | None = None) -> None:
        raise LedgerUnavailable("disk full")

    book.add(Published(claimed.id, "/elsewhere/vox.wav", "ab" * 32, 10))
    with monkeypatch.context() as patch:
        patch.setattr(ledger, "done", refuse)
        with pytest.raises(LedgerUnavailable):
            book.write()
    assert book.behind
    assert ledger.get(claimed.id).state == "claimed"
    book.write()
    assert not book.behind
    assert ledger.get(claimed.id).state == "done"


def test_a_step_the_ledger_refuses_is_not_the_end(book: Book, ledger: Ledger, claimed: Row, tmp_path: Path) -> None:
    """When another stem holds the output's name for good, the stem counts an attempt, and the others are written."""
    path = tmp_path / "tape" / "other.wav"
    path.write_bytes(b"other")
    ledger.found("tape/other.wav", Snapshot.of(path.lstat()))
    [other] = ledger.claim(1, "me")
    output = str(tmp_path / "_out" / "vox.wav")
    book.add(Published(claimed.id, output, "ab" * 32, 10))
    book.add(Published(other.id, output, "cd" * 32, 10))
    book.write()
    assert ledger.get(claimed.id).state == "done"
    assert (ledger.get(other.id).state, ledger.get(other.id).attempts) == ("found", 1)


def test_an_answer_about_an_ended_stem_changes_nothing(book: Book, ledger: Ledger, claimed: Row) -> None:
    """A late answer is no reason to touch a stem that has ended already."""
    book.add(Published(claimed.id, "/elsewhere/vox.wav", "ab" * 32, 10))
    book.write()
    book.add(Failed(claimed.id, "late"))
    book.write()
    assert ledger.get(claimed.id).state == "done"
