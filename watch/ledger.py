"""The ledger: every stem ever found and how far it has come, in steps that a crash cannot tear.

Claimed by a change of state, never deleted; a step checks the state it starts from, so that replaying one does no harm.
Steps are grouped by ``with ledger.transaction():``: all are durable at its end, or none happened. Reading is `View`'s.
"""

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from watch import ledgerfile
from watch.errors import WatchError
from watch.ledgerfile import Fresh, LedgerUnavailable, translated
from watch.rows import STEPS, WORKING, Kind, Row, Snapshot, State, output_key, packed
from watch.view import View


class IllegalStep(WatchError):
    """A step from a state it cannot be taken from; the ledger is as it was."""


@dataclass(frozen=True)
class Known:
    """What a folder tells of a stem the ledger knows nothing of: its published output, or why it failed.

    ``moved_to`` is where the source of a failed one lies.
    """

    output: str | None = None
    sha256: str | None = None
    frames: int | None = None
    content: str | None = None
    reason: str | None = None
    moved_to: str | None = None


class Ledger(View):
    """The ledger for reading and writing. `Ledger.open` is the daemon's, `Ledger.attach` that of commands beside it.

    ``clock`` is monotonic and decides; ``wall`` is only written down for people.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        path: Path,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(connection, path)
        self._clock = clock
        self._wall = wall
        self._depth = 0
        self._failed: LedgerUnavailable | None = None
        self._identity = _identity(path)
        self._version = self._data_version()

    @classmethod
    def open(
        cls, path: Path, *, clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time
    ) -> tuple[Self, Fresh | None]:
        """The daemon's ledger at ``path``, made where there is none; one that cannot be used is set aside.

        With the ledger comes why it is empty, if it is a new one: `rebuild` it then. The caller holds the lock of the
        state folder. Raises `LedgerUnavailable` when the disk does not let it.
        """
        connection, fresh = ledgerfile.opened(path)
        return cls(connection, path, clock=clock, wall=wall), fresh

    @classmethod
    def attach(cls, path: Path) -> Self:
        """The ledger beside a daemon that may be at work, for its `retry` and `pause`; `LedgerMissing` without one."""
        return cls(ledgerfile.attached(path), path)

    def present(self) -> bool:
        """Whether the file is still the one that was opened, and not deleted or replaced under us."""
        return self._identity is not None and _identity(self.path) == self._identity

    def changed(self) -> bool:
        """Whether somebody else (a command) has written since this was last asked. Costs microseconds."""
        before, self._version = self._version, self._data_version()
        return before != self._version

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All steps inside become durable together when it is left, or none of them, when it is left by an error.

        Transactions nest: the outermost counts. A step that fails because the disk does fails the whole.
        """
        if self._depth:
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
            return
        with translated(self.path):
            self._db.execute("BEGIN IMMEDIATE")
        self._depth, self._failed = 1, None
        try:
            yield
            self._require_transaction()
            with translated(self.path):
                self._db.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):  # SQLite may have rolled back by itself
                self._db.execute("ROLLBACK")
            raise
        finally:
            self._depth = 0

    def found(self, relative: str, snapshot: Snapshot, kind: Kind = "stem") -> Row:
        """Note that ``relative`` lies still as ``snapshot``; its current row.

        A path never seen gets a row. A waiting stem whose content changed starts over in its row; an ended one gets a
        new row, its next incarnation. A stem under work is left alone: once it has ended, the next scan finds its new
        content. Nothing changes when nothing is new, so this can be called with every scan.
        """
        with self.transaction():
            now = self.of(relative)
            if now is not None and (now.state in WORKING or (now.matches(snapshot) and now.state != "gone")):
                return now
            marks = (snapshot.size, snapshot.mtime_ns, snapshot.ctime_ns, str(snapshot.inode), str(snapshot.device))
            if now is not None and now.state == "found":
                self._write(
                    "UPDATE stems SET size = ?, mtime_ns = ?, ctime_ns = ?, inode = ?, device = ?, kind = ?, "
                    "attempts = 0, interruptions = 0, not_before = 0, held = 0, reason = NULL, content = NULL, "
                    "retry_at = NULL, found_at = ? WHERE id = ?",
                    (*marks, kind, self._wall(), now.id),
                )
                return self.get(now.id)
            if now is not None:
                self._write("UPDATE stems SET current = 0 WHERE id = ?", (now.id,))
            incarnation = 1 if now is None else now.incarnation + 1
            made = self._write(
                "INSERT INTO stems (relative, kind, incarnation, state, size, mtime_ns, ctime_ns, inode, device, "
                "found_at) VALUES (?, ?, ?, 'found', ?, ?, ?, ?, ?, ?)",
                (packed(relative), kind, incarnation, *marks, self._wall()),
            )
            return self.get(made.lastrowid or 0)

    def adopt(self) -> int:
        """Take over from daemons that are gone: what they had claimed waits again; how many. First thing after `open`.

        What was published stays so, and is the new daemon's to finish: `rows("published")`. Back-offs end, for their
        times are on another clock; so do notices.
        """
        with self.transaction():
            back = self._write(
                "UPDATE stems SET state = 'found', owner = NULL, interruptions = interruptions + 1 "
                "WHERE state IN ('claimed', 'rendered')"
            ).rowcount
            self._write("UPDATE stems SET not_before = 0, held = 0, retry_at = NULL WHERE state = 'found'")
            self._write("DELETE FROM notices")
        return back

    def claim(self, n: int, owner: str) -> list[Row]:
        """At most ``n`` stems that are due, in the order found, now claimed by ``owner``; none while paused."""
        due = "SELECT id FROM stems WHERE current = 1 AND state = 'found' AND not_before <= ? ORDER BY id LIMIT ?"
        with translated(self.path):  # a look first: an idle daemon writes nothing
            if n < 1 or self._db.execute(due, (self._clock(), 1)).fetchone() is None or self.paused is not None:
                return []
        with self.transaction():
            with translated(self.path):
                ids = [record["id"] for record in self._db.execute(due, (self._clock(), n)).fetchall()]
            if self.paused is not None:
                return []
            for id in ids:
                self._step(id, "claimed", "owner = ?, claimed_at = ?, reason = NULL, held = 0", (owner, self._wall()))
            return [self.get(id) for id in ids]

    def reserve(self, id: int, output: str) -> None:
        """Note where a stem's output is to go, before anything is there; it stays noted through a crash.

        `IllegalStep` when the stem has ended, or another one has taken that name (see `owner_of`).
        """
        with self.transaction():
            mine = self.get(id)
            if mine.state not in ("found", "claimed", "rendered"):
                raise IllegalStep(f"{mine.relative!r} is {mine.state}; an output is named before it is published")
            other = self.owner_of(output)
            if other is not None and other.relative != mine.relative:
                raise IllegalStep(f"{mine.relative!r} cannot go to {output!r}: that is {other.relative!r}'s")
            self._write(
                "UPDATE stems SET output = ?, output_key = ? WHERE id = ?", (packed(output), output_key(output), id)
            )

    def keyed(
        self,
        id: int,
        *,
        content: str | None = None,
        preset_hash: str | None = None,
        config_hash: str | None = None,
        job_key: str | None = None,
    ) -> None:
        """Note what a stem under work is rendered from; what is None stays as it was."""
        names = ("content", "preset_hash", "config_hash", "job_key")
        self._write(
            f"UPDATE stems SET {', '.join(f'{name} = coalesce(?, {name})' for name in names)} WHERE id = ?",
            (content, preset_hash, config_hash, job_key, id),
        )

    def rendered(self, id: int, output: str) -> None:
        """Its output is whole in a temporary file, about to become ``output``."""
        with self.transaction():
            self.reserve(id, output)
            self._step(id, "rendered")

    def published(self, id: int, output: str, sha256: str, frames: int) -> None:
        """Its output is at ``output``, durably: what is left is the source, and `done`."""
        with self.transaction():
            self.reserve(id, output)
            self._step(id, "published", "sha256 = ?, frames = ?, reason = NULL", (sha256, frames))

    def done(self, id: int, *, moved_to: str | None = None) -> None:
        """All is done; ``moved_to`` is where its source is about to be moved, when it is."""
        self._step(
            id,
            "done",
            "owner = NULL, attempts = 0, moved_to = ?, ended_at = ?",
            (packed(moved_to), self._wall()),
        )

    def failed(self, id: int, reason: str, *, moved_to: str | None = None) -> None:
        """It is given up for ``reason``; ``moved_to`` is where its source is about to be moved, when it is."""
        self._step(
            id,
            "failed",
            "owner = NULL, held = 0, retry_at = NULL, reason = ?, moved_to = ?, ended_at = ?",
            (packed(reason), packed(moved_to), self._wall()),
        )

    def moved(self, id: int, moved_to: str | None) -> None:
        """The source of an ended stem lies at ``moved_to`` now; None when it stayed, or is gone."""
        self._write("UPDATE stems SET moved_to = ? WHERE id = ?", (packed(moved_to), id))

    def gone(self, id: int, reason: str = "the source is gone") -> None:
        """Its source was taken away before it was done."""
        self._step(id, "gone", "owner = NULL, held = 0, reason = ?, ended_at = ?", (packed(reason), self._wall()))

    def back(self, id: int, reason: str | None, not_before: float = 0.0, *, count: bool = True) -> Row:
        """Give a claim back, to be tried again from ``not_before`` on; an attempt of the stem's if ``count``."""
        with self.transaction():
            if self.get(id).state not in ("claimed", "rendered"):
                raise IllegalStep(f"row {id} is {self.get(id).state}; only a claim can be given back")
            self._step(
                id,
                "found",
                "owner = NULL, held = 0, attempts = attempts + ?, reason = ?, not_before = ?, retry_at = ?",
                (int(count), packed(reason), not_before, self._for_people(not_before)),
            )
            return self.get(id)

    def waiting(self, id: int, reason: str, not_before: float = 0.0) -> None:
        """It cannot be worked at for a ``reason`` that is not its own (its config, the disk); no attempt of its own.

        From waiting or claimed. It is due again at ``not_before``, or at `release`.
        """
        with self.transaction():
            if self.get(id).state not in ("found", "claimed", "rendered"):
                raise IllegalStep(f"row {id} is {self.get(id).state}; expected one that waits or is claimed")
            self._step(
                id,
                "found",
                "owner = NULL, held = 1, reason = ?, not_before = ?, retry_at = ?",
                (packed(reason), not_before, self._for_people(not_before)),
            )

    def release(self, prefix: str = "") -> int:
        """Make due what `waiting` held back, of the paths that begin with ``prefix``; how many."""
        start = packed(prefix) or b""
        return self._write(
            "UPDATE stems SET not_before = 0, held = 0, retry_at = NULL "
            "WHERE current = 1 AND state = 'found' AND held = 1 AND substr(relative, 1, ?) = ?",
            (len(start), start),
        ).rowcount

    def retry(self, relative: str | None = None) -> list[Row]:
        """Let ``relative`` be rendered anew, whether it failed, is done or waits; without it, all that failed.

        The rows that are due now. Those whose source was moved away stay as they are: move it back first (`moved`).
        """
        states = ("failed",) if relative is None else ("failed", "done", "found")
        with self.transaction():
            rows = self.rows("failed") if relative is None else [r for r in [self.of(relative)] if r is not None]
            chosen = [r for r in rows if r.state in states and r.moved_to is None]
            for one in chosen:
                self._step(
                    one.id,
                    "found",
                    "attempts = 0, interruptions = 0, not_before = 0, held = 0, reason = NULL, retry_at = NULL, "
                    "ended_at = NULL",
                )
            return [self.get(one.id) for one in chosen]

    def pause(self, reason: str = "paused") -> None:
        """Start no new stem until `resume`; what is under work goes on."""
        self._write(
            "INSERT INTO pause (id, reason, at) VALUES (1, ?, ?) "
            "ON CONFLICT (id) DO UPDATE SET reason = excluded.reason",
            (packed(reason), self._wall()),
        )

    def resume(self) -> bool:
        """Go on after `pause`; whether it was paused."""
        return self._write("DELETE FROM pause").rowcount > 0

    def notice(self, topic: str, text: str | None) -> bool:
        """Tell people ``text`` under ``topic`` until it is withdrawn with None; whether that is news."""
        if self.notices().get(topic) == text:
            return False
        if text is None:
            self._write("DELETE FROM notices WHERE key = ?", (topic,))
        else:
            self._write(
                "INSERT INTO notices (key, text, at) VALUES (?, ?, ?) "
                "ON CONFLICT (key) DO UPDATE SET text = excluded.text, at = excluded.at",
                (topic, packed(text), self._wall()),
            )
        return True

    def rebuild(self, recognise: Callable[[Row], Known | None], *, batch: int = 200) -> int:
        """End every waiting stem that ``recognise`` knows the outcome of, rendering nothing; how many.

        For a fresh ledger, after a scan was put into it. Interrupted half-way it does no harm: what is left waits, and
        a worker recognises it too.
        """
        ended, waiting = 0, [one.id for one in self.rows("found")]
        for start in range(0, len(waiting), batch):
            # Recognising reads files: not inside a transaction.
            known = [(id, recognise(self.get(id))) for id in waiting[start : start + batch]]
            with self.transaction():
                for id, what in known:
                    ended += what is not None
                    if what is not None:
                        self._recognised(id, what)
        return ended

    def _recognised(self, id: int, what: Known) -> None:
        if what.output is None or what.sha256 is None:
            reason = what.reason or "it failed before the ledger was made anew"
            self.failed(id, reason, moved_to=what.moved_to)
            return
        self._step(id, "claimed", "owner = 'rebuild', claimed_at = ?", (self._wall(),))
        self.keyed(id, content=what.content)
        self.published(id, what.output, what.sha256, what.frames or 0)
        self.done(id)

    def _for_people(self, not_before: float) -> float | None:
        wait = not_before - self._clock()
        return self._wall() + wait if wait > 0 else None

    def _step(self, id: int, state: State, change: str = "", values: Sequence[object] = ()) -> None:
        """Take row ``id`` to ``state``, if that is a step from where it is; else `IllegalStep`."""
        sources = STEPS[state]
        marks = ",".join("?" * len(sources))
        taken = self._write(
            f"UPDATE stems SET state = ?{', ' if change else ''}{change} "
            f"WHERE id = ? AND current = 1 AND state IN ({marks})",
            (state, *values, id, *sources),
        )
        if taken.rowcount != 1:
            now = self.get(id)
            raise IllegalStep(
                f"{now.relative!r} is {now.state if now.current else 'replaced by a newer content'}; "
                f"it becomes {state} only from {' or '.join(sources)}"
            )

    def _write(self, statement: str, values: Sequence[object] = ()) -> sqlite3.Cursor:
        """Run one statement, in the transaction there is or in its own."""
        if self._depth:
            self._require_transaction()
        try:
            with translated(self.path):
                return self._db.execute(statement, values)
        except LedgerUnavailable as error:
            # SQLite may have rolled the whole transaction back: nothing more may be written as if it went on.
            self._failed = error
            raise

    def _require_transaction(self) -> None:
        """Fail when the disk made an earlier step fail, or SQLite rolled everything back, whoever swallowed that."""
        if self._failed is not None or not self._db.in_transaction:
            why = self._failed or f"the ledger {self.path} could not be written"
            raise LedgerUnavailable(str(why)) from self._failed

    def _data_version(self) -> int:
        with translated(self.path):
            return int(self._db.execute("PRAGMA data_version").fetchone()[0])


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
