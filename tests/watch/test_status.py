"""Status tells what is: counts, reasons, the daemon; trying again brings back what was put aside, over nothing."""

import json
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from watch import again, ledgerfile, lock, status
from watch.errors import WatchError
from watch.ledger import Ledger
from watch.ledgerfile import LedgerMissing
from watch.lock import Lock


@dataclass(frozen=True)
class Shot:
    """A snapshot."""

    size: int = 1
    mtime_ns: int = 2
    ctime_ns: int = 3
    inode: int = 4
    device: int = 5


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A watched folder."""
    made = tmp_path / "Stems"
    (made / "tape").mkdir(parents=True)
    return made


@pytest.fixture
def state(folder: Path) -> Path:
    """Its state."""
    return folder / ".gramophone"


@pytest.fixture
def ledger(state: Path) -> Iterator[Ledger]:
    """Its ledger, with times of the year 2001."""
    made, _ = Ledger.open(state / ledgerfile.NAME, clock=lambda: 100.0, wall=lambda: 1e9)
    with made:
        yield made


def _fill(ledger: Ledger) -> None:
    """One stem done, one failed and moved aside, one under work, one held back and one that waits its turn."""
    for name in ("done", "failed", "working"):
        ledger.found(f"tape/{name}.wav", Shot())
    done, failed, _ = ledger.claim(3, "me")
    ledger.published(done.id, "_out/tape/done.wav", "ab", 4)
    ledger.done(done.id)
    ledger.failed(failed.id, "no sound\nin it", moved_to="_failed/tape/failed.wav")
    ledger.found("tape/waiting.wav", Shot())
    held = ledger.found("rain/held\udcff.wav", Shot())
    ledger.waiting(held.id, "no preset is called 'rain'", 130.0)


def _text(record: dict[str, object]) -> str:
    return "\n".join(status.lines(record))


def test_a_record_tells_everything(folder: Path, state: Path, ledger: Ledger) -> None:
    """Counts in plain words, a list for each, reasons and places; JSON can hold all of it."""
    _fill(ledger)
    ledger.pause("dinner")
    ledger.notice("disk", "12 MB are free")
    with Lock.acquire(state / lock.NAME, folder, wall=lambda: 1e9):
        record = status.record(folder, state)
    at = record["done"][0]["at"]
    assert at.startswith("2001-09-0")
    assert record["counts"] == {"waiting": 2, "working": 1, "done": 1, "failed": 1, "gone": 0}
    assert record["daemon"] == {"pid": os.getpid(), "host": socket.gethostname(), "started": at}
    assert (record["paused"], record["notices"]) == ("dinner", {"disk": "12 MB are free"})
    assert record["working"] == [
        {"stem": "tape/working.wav", "kind": "stem", "step": "claimed", "since": at, "attempts": 0}
    ]
    assert [one["stem"] for one in record["waiting"]] == ["rain/held\udcff.wav", "tape/waiting.wav"]
    assert record["waiting"][0]["reason"] == "no preset is called 'rain'"
    assert record["waiting"][0]["retry_at"] > at
    assert record["failed"][0]["reason"] == "no sound\nin it"
    assert record["failed"][0]["source"] == "_failed/tape/failed.wav"
    assert record["done"][0]["output"] == "_out/tape/done.wav"
    assert json.loads(json.dumps(record)) == record


def test_people_read_it_in_lines(folder: Path, state: Path, ledger: Ledger) -> None:
    """A line for each stem, odd names written out, and what can be done about a pause."""
    _fill(ledger)
    ledger.pause("dinner")
    ledger.notice("disk", "12 MB are free")
    text = _text(status.record(folder, state))
    for part in (
        "not watched now",
        "2 waiting, 1 working, 1 done, 1 failed",
        "paused: dinner; gramophone watch resume",
        "12 MB are free",
        "→ _out/tape/done.wav",
        "no sound\\nin it",
        "held\\udcff.wav",
        "(again at",
    ):
        assert part in text


def test_long_lists_are_cut_and_say_so(folder: Path, state: Path, ledger: Ledger) -> None:
    """The first of many, the number of the others, and how to see them; all of them when asked."""
    with ledger.transaction():
        for n in range(30):
            ledger.found(f"tape/{n}.wav", Shot())
    record = status.record(folder, state)
    assert len(record["waiting"]) == status.LIMIT
    assert "… and 10 more; --all" in _text(record)
    assert len(status.record(folder, state, limit=None)["waiting"]) == 30


def test_the_newest_end_comes_first(folder: Path, state: Path) -> None:
    """What was done last is told first."""
    now = 0.0
    with Ledger.open(state / ledgerfile.NAME, wall=lambda: now)[0] as ledger:
        for n in (2, 3, 1):
            ledger.found(f"{n}.wav", Shot())
        for one in reversed(ledger.claim(3, "me")):
            now += 1
            ledger.published(one.id, f"_out/{one.relative}", "a", 1)
            ledger.done(one.id)
        assert [one["stem"] for one in status.record(folder, state)["done"]] == ["2.wav", "3.wav", "1.wav"]


def test_nothing_watched_is_told(folder: Path, state: Path) -> None:
    """No ledger: what to do, and nothing made by looking."""
    with pytest.raises(LedgerMissing, match="watch run"):
        status.record(folder, state)
    assert not state.exists()


def _put_aside(folder: Path, ledger: Ledger, name: str = "tape/failed.wav") -> Path:
    """A failed stem whose source lies in _failed with its reason beside it."""
    one = ledger.found(name, Shot())
    ledger.failed(one.id, "no sound", moved_to=f"_failed/{name}")
    aside = folder / "_failed" / name
    aside.parent.mkdir(parents=True, exist_ok=True)
    aside.write_text("sound")
    aside.with_name(f"{aside.name}.txt").write_text("no sound")
    return aside


def test_a_retried_stem_comes_back(folder: Path, ledger: Ledger) -> None:
    """Its source to where it was dropped, its reason away, its row waiting."""
    aside = _put_aside(folder, ledger)
    (folder / "tape").rmdir()
    assert again.retry(folder, ledger) == again.Retried(("tape/failed.wav",), ())
    assert (folder / "tape/failed.wav").read_text() == "sound"
    assert list(aside.parent.iterdir()) == []
    row = ledger.of("tape/failed.wav")
    assert row is not None
    assert (row.state, row.moved_to, row.attempts) == ("found", None, 0)
    assert again.retry(folder, ledger) == again.Retried((), ())


def test_the_reason_of_a_stem_that_stayed_goes_too(folder: Path, ledger: Ledger) -> None:
    """A failed stem that was kept in its place has only its reason aside."""
    aside = _put_aside(folder, ledger)
    aside.rename(folder / "tape/failed.wav")
    row = ledger.of("tape/failed.wav")
    assert row is not None
    ledger.moved(row.id, None)
    assert again.retry(folder, ledger).waiting == ("tape/failed.wav",)
    assert list(aside.parent.iterdir()) == []


def test_the_reason_of_another_stem_stays(folder: Path, ledger: Ledger) -> None:
    """What lies in _failed under this stem's name may be its earlier content, which nobody asked to try again."""
    aside = _put_aside(folder, ledger)
    (folder / "tape/failed.wav").write_text("new")
    row = ledger.of("tape/failed.wav")
    assert row is not None
    ledger.moved(row.id, None)
    assert again.retry(folder, ledger).waiting == ("tape/failed.wav",)
    assert sorted(path.name for path in aside.parent.iterdir()) == ["failed.wav", "failed.wav.txt"]


def test_a_retry_overwrites_nothing(folder: Path, ledger: Ledger) -> None:
    """A new file in the old place stays, and so does the one put aside with its reason."""
    aside = _put_aside(folder, ledger)
    (folder / "tape/failed.wav").write_text("new")
    done = again.retry(folder, ledger)
    assert done.waiting == ()
    assert "another file" in done.left[0][1]
    assert ((folder / "tape/failed.wav").read_text(), aside.read_text()) == ("new", "sound")
    assert aside.with_name("failed.wav.txt").exists()
    assert ledger.counts()["failed"] == 1


def test_a_retry_that_was_interrupted_can_be_repeated(folder: Path, ledger: Ledger) -> None:
    """The source was back already when the first try died: the second goes on from there."""
    aside = _put_aside(folder, ledger)
    aside.rename(folder / "tape/failed.wav")
    assert again.retry(folder, ledger).waiting == ("tape/failed.wav",)
    assert (folder / "tape/failed.wav").read_text() == "sound"


def test_a_source_that_is_gone_cannot_be_retried(folder: Path, ledger: Ledger) -> None:
    """Said, and its row stays, so that nothing waits for what is not there."""
    _put_aside(folder, ledger).unlink()
    kept = ledger.found("tape/kept.wav", Shot())
    ledger.failed(kept.id, "no sound")
    assert [why for _, why in again.retry(folder, ledger).left] == ["its source is gone; drop it again"] * 2
    assert ledger.counts()["failed"] == 2


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_a_retry_follows_no_link_out_of_the_folder(folder: Path, tmp_path: Path, ledger: Ledger) -> None:
    """A folder that became a link meanwhile gets nothing written through it."""
    aside = _put_aside(folder, ledger)
    (folder / "tape").rmdir()
    (tmp_path / "elsewhere").mkdir()
    (folder / "tape").symlink_to(tmp_path / "elsewhere")
    assert "leads out of" in again.retry(folder, ledger).left[0][1]
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert aside.exists()


def test_a_stem_under_work_is_not_retried(folder: Path, ledger: Ledger) -> None:
    """It says why."""
    (folder / "tape/vox.wav").write_text("x")
    ledger.found("tape/vox.wav", Shot())
    ledger.claim(1, "me")
    assert again.retry(folder, ledger, "tape/vox.wav") == again.Retried((), (("tape/vox.wav", "it is claimed"),))


def test_a_stem_is_named_as_people_do(folder: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its path in the folder, its path on disk, from where they stand, or its name alone if that is one stem's."""
    for name in ("tape/vox.wav", "tape/bass.wav", "rain/bass.wav"):
        ledger.found(name, Shot())
    monkeypatch.chdir(folder / "tape")
    for name in ("tape/vox.wav", str(folder / "tape/vox.wav"), "./vox.wav", "vox.wav", "vox"):
        assert again.matching(ledger, folder, name) == "tape/vox.wav"
    monkeypatch.chdir(folder)
    with pytest.raises(WatchError, match=r"2 stems.*rain/bass\.wav, tape/bass\.wav"):
        again.matching(ledger, folder, "bass.wav")
    with pytest.raises(WatchError, match=r"did you mean 'tape/vox\.wav'"):
        again.matching(ledger, folder, "tape/vix.wav")
