"""Reading the ledger, without ever standing in the daemon's way."""

import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self

from watch import ledgerfile
from watch.errors import WatchError
from watch.ledgerfile import translated
from watch.rows import COLUMNS, STATES, WORKING, Kind, Row, Snapshot, State, output_key, packed, row, unpacked

_ALL: Final = ", ".join(COLUMNS)


class Found(Protocol):
    """A stem or album as a scan finds it."""

    @property
    def relative(self) -> str:
        """Its path below the watched folder."""
        ...

    @property
    def kind(self) -> Kind:
        """What it is."""
        ...

    @property
    def snapshot(self) -> Snapshot:
        """Which content it holds."""
        ...


class View:
    """The ledger for reading. `view` makes one that never waits for the daemon, nor lets it wait."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self.path = path
        self._db = connection

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Everything that is read inside is of one moment. Keep it short: it holds back the trimming of the log."""
        with translated(self.path):
            self._db.execute("BEGIN")
            try:
                yield
            finally:
                self._db.execute("ROLLBACK")

    def get(self, id: int) -> Row:
        """The row ``id``; `WatchError` when there is none."""
        rows = self._rows("id = ?", (id,))
        if not rows:
            raise WatchError(f"no row {id} in the ledger {self.path}")
        return rows[0]

    def of(self, relative: str) -> Row | None:
        """The current row of the stem at ``relative``, when it was ever found."""
        return next(iter(self._rows("relative = ? AND current = 1", (packed(relative),))), None)

    def earlier(self, relative: str) -> Row | None:
        """The last content of ``relative`` before the current one that was published: its ``output`` is ours too."""
        past = "relative = ? AND current = 0 AND sha256 IS NOT NULL ORDER BY incarnation DESC LIMIT 1"
        return next(iter(self._rows(past, (packed(relative),))), None)

    def rows(self, *states: State, limit: int | None = None, newest: bool = False, troubled: bool = False) -> list[Row]:
        """Current rows in ``states``, in all when none is named, ``limit`` at most, in the order found.

        ``newest`` puts those that ended last first, ``troubled`` those that have a reason.
        """
        chosen = states or STATES
        marks = ",".join("?" * len(chosen))
        order = ("reason IS NULL, " if troubled else "") + ("ended_at DESC, id DESC" if newest else "id")
        where = f"current = 1 AND state IN ({marks}) ORDER BY {order} LIMIT ?"
        return self._rows(where, (*chosen, -1 if limit is None else limit))

    def counts(self) -> dict[State, int]:
        """How many current rows are in each state; every state is named."""
        with translated(self.path):
            counted = self._db.execute("SELECT state, count(*) FROM stems WHERE current = 1 GROUP BY state").fetchall()
        return dict.fromkeys(STATES, 0) | {record[0]: record[1] for record in counted}

    @property
    def paused(self) -> str | None:
        """Why no new stem is to be started, or None."""
        with translated(self.path):
            record = self._db.execute("SELECT reason FROM pause").fetchone()
        return None if record is None else unpacked(record[0])

    def notices(self) -> dict[str, str]:
        """What the daemon wants people to know, by topic."""
        with translated(self.path):
            records = self._db.execute("SELECT key, text FROM notices ORDER BY key").fetchall()
        return {record["key"]: unpacked(record["text"]) for record in records}

    def news(self, found: Iterable[Found]) -> list[Found]:
        """Those of ``found`` for which `Ledger.found` would change something: new paths and new contents."""
        with translated(self.path):
            records = self._db.execute(
                "SELECT relative, state, size, mtime_ns, ctime_ns, inode FROM stems WHERE current = 1"
            )
            known = {unpacked(record[0]): (record[1], *record[2:5], int(record[5])) for record in records}
        return [item for item in found if _is_news(item.snapshot, known.get(item.relative))]

    def absent(self, present: Collection[str]) -> list[Row]:
        """Rows that need their source and whose path is not in ``present``, what the last scan found."""
        with translated(self.path):
            records = self._db.execute(
                "SELECT id, relative FROM stems WHERE current = 1 AND moved_to IS NULL AND state IN ('found', 'failed')"
            ).fetchall()
        return [self.get(record["id"]) for record in records if unpacked(record["relative"]) not in present]

    def owner_of(self, output: str) -> Row | None:
        """The row that has taken the name ``output``, or one that `names.key` does not tell from it."""
        where = "output_key = ? AND current = 1 AND (state != 'gone' OR sha256 IS NOT NULL) ORDER BY id LIMIT 1"
        return next(iter(self._rows(where, (output_key(output),))), None)

    def next_due(self) -> float | None:
        """When the next stem may be claimed, on the daemon's monotonic clock; None when none waits."""
        with translated(self.path):
            record = self._db.execute("SELECT min(not_before) FROM stems WHERE current = 1 AND state = 'found'")
            due: float | None = record.fetchone()[0]
        return due

    def _rows(self, where: str, values: Sequence[object]) -> list[Row]:
        with translated(self.path):
            records = self._db.execute(f"SELECT {_ALL} FROM stems WHERE {where}", values).fetchall()
        return [row(record) for record in records]


def view(path: Path) -> View:
    """The ledger at ``path`` for reading only; `LedgerMissing` when none is there that this version reads."""
    return View(ledgerfile.viewed(path), path)


def _is_news(snapshot: Snapshot, known: tuple[str, int, int, int, int] | None) -> bool:
    if known is None:
        return True
    state, *marks = known
    if state == "gone":
        return True
    same = tuple(marks) == (snapshot.size, snapshot.mtime_ns, snapshot.ctime_ns, snapshot.inode)
    return state not in WORKING and not same
