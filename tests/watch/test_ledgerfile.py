"""The ledger's file: durable, shared by readers and commands, and never a reason to stop when it is broken."""

import contextlib
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from watch import ledgerfile
from watch.ledger import Ledger
from watch.ledgerfile import Fresh, LedgerCorrupt, LedgerMissing, LedgerUnavailable
from watch.rows import STATES, Row
from watch.view import view


@dataclass(frozen=True)
class Shot:
    """A snapshot."""

    size: int = 100
    mtime_ns: int = 1
    ctime_ns: int = 2
    inode: int = 3
    device: int = 4


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the ledger is, in a folder that does not exist yet."""
    return tmp_path / "state" / ledgerfile.NAME


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    """An empty ledger."""
    made, _ = Ledger.open(path)
    with made:
        yield made


def _claimed(ledger: Ledger) -> Row:
    ledger.found("tape/vox.wav", Shot())
    return ledger.claim(1, "me")[0]


def _full(ledger: Ledger) -> None:
    """Let the ledger's disk be full from now on: SQLite says what a full disk makes it say."""
    pages = ledger._db.execute("PRAGMA page_count").fetchone()[0]
    ledger._db.execute(f"PRAGMA max_page_count = {pages}")


def test_a_full_disk_fails_the_whole_transaction(path: Path, ledger: Ledger) -> None:
    """Even when somebody swallows the error of a step; with space again, all goes on."""
    one = _claimed(ledger)
    _full(ledger)

    def write() -> None:
        with ledger.transaction():
            ledger.published(one.id, "_out/x.wav", "s", 1)
            with contextlib.suppress(LedgerUnavailable):
                for n in range(10_000):
                    ledger.found(f"tape/{n}.wav", Shot())

    with pytest.raises(LedgerUnavailable, match="full"):
        write()
    with view(path) as reader:
        assert reader.counts() == dict.fromkeys(STATES, 0) | {"claimed": 1}
    ledger._db.execute("PRAGMA max_page_count = 1000000")
    ledger.published(one.id, "_out/x.wav", "s", 1)
    ledger.done(one.id)
    assert ledger.get(one.id).state == "done"


def test_another_writer_makes_it_wait_and_not_break(path: Path, ledger: Ledger) -> None:
    """While a command writes, the daemon waits its turn; when that takes too long it is told to come again."""
    one = _claimed(ledger)
    beside = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    beside.execute("BEGIN IMMEDIATE")
    timer = threading.Timer(0.1, lambda: beside.execute("COMMIT"))
    timer.start()
    ledger.failed(one.id, "why")
    timer.join()
    beside.execute("BEGIN IMMEDIATE")
    ledger._db.execute("PRAGMA busy_timeout = 20")
    with pytest.raises(LedgerUnavailable, match="locked"):
        ledger.gone(one.id)
    beside.close()
    assert ledger.get(one.id).state == "failed"


def test_what_a_transaction_read_stays_true_until_its_end(path: Path, ledger: Ledger) -> None:
    """Between its look at a row and its step nobody else can write, or the step would have to be given up."""
    one = _claimed(ledger)
    beside = sqlite3.connect(path, isolation_level=None, timeout=0)
    with ledger.transaction():
        assert ledger.get(one.id).state == "claimed"
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            beside.execute("DELETE FROM stems")
        ledger.failed(one.id, "why")
    beside.close()
    assert ledger.get(one.id).state == "failed"


def test_readers_neither_wait_nor_make_wait(path: Path, ledger: Ledger) -> None:
    """A reader sees one moment while the daemon writes on, and the daemon's open transaction hides nothing old."""
    ledger.found("a", Shot())
    with view(path) as reader, reader.reading():
        assert reader.counts()["found"] == 1
        with ledger.transaction():
            ledger.found("b", Shot())
        assert reader.counts()["found"] == 1
    with ledger.transaction():
        ledger.found("c", Shot())
        with view(path) as reader:
            assert reader.counts()["found"] == 2


def test_a_reader_cannot_write(path: Path, ledger: Ledger) -> None:
    """What status opens is read-only to SQLite itself."""
    with view(path) as reader, pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader._db.execute("DELETE FROM stems")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_can_still_be_read(path: Path, ledger: Ledger) -> None:
    """Status works for somebody who may only read the state folder, once the daemon has ended."""
    ledger.found("a", Shot())
    ledger.close()
    path.parent.chmod(0o500)
    try:
        with view(path) as reader:
            assert reader.counts()["found"] == 1
    finally:
        path.parent.chmod(0o700)


def test_changes_by_others_are_noticed(path: Path, ledger: Ledger) -> None:
    """A command's writing is, the daemon's own is not."""
    ledger.found("a", Shot())
    assert not ledger.changed()
    with Ledger.attach(path) as beside:
        beside.pause()
    assert ledger.changed()
    assert not ledger.changed()


def test_a_file_that_was_taken_away_is_noticed(path: Path, ledger: Ledger) -> None:
    """SQLite writes on into a deleted file without a word; the daemon has to know."""
    assert ledger.present()
    for file in path.parent.iterdir():
        file.rename(path.with_name(f"old-{file.name}"))
    assert not ledger.present()
    other, fresh = Ledger.open(path)
    with other:
        assert fresh is not None
        assert not ledger.present()


def _content(kind: str, path: Path) -> None:
    data = bytearray(path.read_bytes())
    if kind == "garbage":
        data = bytearray(b"no database at all" * 500)
    elif kind == "truncated":
        del data[len(data) // 2 :]
    elif kind == "zeroed":
        data[4096 : 4096 * 4] = bytes(4096 * 3)
    elif kind == "somebody else's":
        path.unlink()
        other = sqlite3.connect(path)
        other.execute("CREATE TABLE cats (name)")
        other.commit()
        other.close()
        return
    elif kind == "without a column":
        other = sqlite3.connect(path)
        other.execute("ALTER TABLE stems DROP COLUMN frames")
        other.commit()
        other.close()
        return
    elif kind == "newer":
        other = sqlite3.connect(path)
        other.execute("PRAGMA user_version = 99")
        other.commit()
        other.close()
        return
    path.write_bytes(data)


@pytest.mark.parametrize("kind", ["garbage", "truncated", "zeroed", "somebody else's", "without a column", "newer"])
def test_a_ledger_that_cannot_be_used_is_set_aside(path: Path, kind: str) -> None:
    """It is kept under another name, a fresh one is made, and why is told; a second time does not touch the first."""
    for number in (1, 2):
        ledger, _ = Ledger.open(path)
        for n in range(50):
            ledger.found(f"tape/{n}.wav", Shot())
        ledger.close()
        _content(kind, path)
        kept = path.read_bytes()
        ledger, fresh = Ledger.open(path)
        with ledger:
            why: Literal["newer", "corrupt"] = "newer" if kind == "newer" else "corrupt"
            aside = path.with_name(f"ledger.sqlite.{why}-{number}")
            assert fresh == Fresh(why, aside)
            assert aside.name in str(fresh)
            assert aside.read_bytes() == kept
            assert ledger.rows() == []
            assert ledger.found("tape/vox.wav", Shot()).state == "found"
        path.unlink()


def test_a_folder_in_its_place_is_set_aside(path: Path) -> None:
    """Whatever has the name; nothing is deleted."""
    (path / "kept").mkdir(parents=True)
    ledger, fresh = Ledger.open(path)
    with ledger:
        assert fresh is not None
        assert fresh.why == "corrupt"
        assert path.with_name("ledger.sqlite.corrupt-1").joinpath("kept").is_dir()


def test_a_log_without_its_ledger_is_not_replayed(path: Path) -> None:
    """When only ledger.sqlite is lost, the new one holds nothing of the old log."""
    ledger, _ = Ledger.open(path)
    ledger.found("a", Shot())
    log = path.with_name(f"{path.name}-wal").read_bytes()
    ledger.close()
    path.unlink()
    path.with_name(f"{path.name}-wal").write_bytes(log)
    ledger, fresh = Ledger.open(path)
    with ledger:
        assert fresh is not None
        assert ledger.rows() == []


def test_commands_touch_no_ledger_they_cannot_read(path: Path) -> None:
    """Status and retry say what is wrong with a missing, newer or damaged ledger, and leave it as it is."""
    for opening in (view, Ledger.attach):
        with pytest.raises(LedgerMissing, match="watch run"):
            opening(path)
    assert not path.parent.exists()
    Ledger.open(path)[0].close()
    for kind, error in (("newer", LedgerMissing), ("garbage", LedgerCorrupt)):
        _content(kind, path)
        before = path.read_bytes()
        for opening in (view, Ledger.attach):
            with pytest.raises(error):
                opening(path)
        assert path.read_bytes() == before
        assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_an_older_ledger_is_migrated_whole_or_not(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows survive a migration; one that breaks half-way leaves the old version, which the next start migrates."""
    ledger, _ = Ledger.open(path)
    ledger.published(_claimed(ledger).id, "_out/vox.wav", "s", 1)
    ledger.close()
    good = "ALTER TABLE stems ADD COLUMN mood TEXT"
    monkeypatch.setattr(ledgerfile, "MIGRATIONS", (*ledgerfile.MIGRATIONS, (good, "CREATE nonsense")))
    with pytest.raises(sqlite3.OperationalError, match="syntax"):
        Ledger.open(path)
    monkeypatch.setattr(ledgerfile, "MIGRATIONS", (*ledgerfile.MIGRATIONS[:-1], (good,)))
    with pytest.raises(LedgerMissing, match="version 1, expected 2"):
        view(path)
    ledger, fresh = Ledger.open(path)
    with ledger:
        assert fresh is None
        assert ledger.counts()["published"] == 1
        assert ledger._db.execute("SELECT mood FROM stems").fetchone()[0] is None


def test_a_disk_that_lets_nothing_be_made_is_no_damage(tmp_path: Path) -> None:
    """A state folder that cannot be made is told as such."""
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerUnavailable, match="cannot be opened"):
        Ledger.open(tmp_path / "file" / "ledger.sqlite")


def test_every_commit_reaches_the_disk(ledger: Ledger) -> None:
    """WAL with a full sync: the two settings that a power cut asks for."""
    assert ledger._db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert ledger._db.execute("PRAGMA synchronous").fetchone()[0] == 2


@pytest.mark.parametrize("point", range(1, 14, 3))
def test_a_killed_writer_leaves_whole_transactions(path: Path, point: int) -> None:
    """SIGKILL in the middle of a transaction: what was committed is there, of the rest nothing."""
    script = """
import os, signal, sys
from pathlib import Path
from watch.ledger import Ledger
class Shot: size = mtime_ns = ctime_ns = inode = device = 1
ledger, _ = Ledger.open(Path(sys.argv[1]))
for round in range(100):
    with ledger.transaction():
        for n in range(5):
            if round * 5 + n == int(sys.argv[2]):
                os.kill(os.getpid(), signal.SIGKILL)
            ledger.found(f"{round}-{n}.wav", Shot())
"""
    done = subprocess.run([sys.executable, "-c", script, path, str(point)], timeout=60)
    assert done.returncode == -9
    ledger, fresh = Ledger.open(path)
    with ledger:
        assert fresh is None
        assert len(ledger.rows()) == point // 5 * 5
