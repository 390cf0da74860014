"""The ledger's file: its schema and migrations, and what happens when it is broken, missing or of a newer version.

SQLite in WAL with ``synchronous=FULL``: a transaction that was committed survives a power cut, and readers never stand
in the daemon's way. https://sqlite.org/wal.html
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from watch.errors import WatchError
from watch.rows import COLUMNS

NAME: Final = "ledger.sqlite"
_APPLICATION: Final = 0x6772616D  # "gram", in the header of the file: a database of somebody else is not touched
_BUSY_S: Final = 10.0

#: What each version of the schema does to the one before it. Only ever appended to.
MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
    (
        """
        CREATE TABLE stems (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            relative BLOB NOT NULL,
            kind TEXT NOT NULL CHECK (kind IN ('stem', 'album')),
            incarnation INTEGER NOT NULL,
            current INTEGER NOT NULL DEFAULT 1,
            state TEXT NOT NULL
                CHECK (state IN ('found', 'claimed', 'rendered', 'published', 'done', 'failed', 'gone')),
            size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL,
            inode TEXT NOT NULL, device TEXT NOT NULL,
            owner TEXT,
            attempts INTEGER NOT NULL DEFAULT 0,
            interruptions INTEGER NOT NULL DEFAULT 0,
            not_before REAL NOT NULL DEFAULT 0,
            held INTEGER NOT NULL DEFAULT 0,
            reason BLOB,
            content TEXT, preset_hash TEXT, config_hash TEXT, job_key TEXT,
            output BLOB, output_key BLOB, sha256 TEXT, frames INTEGER,
            moved_to BLOB,
            found_at REAL NOT NULL, claimed_at REAL, ended_at REAL, retry_at REAL,
            UNIQUE (relative, incarnation),
            CHECK ((owner IS NULL) = (state NOT IN ('claimed', 'rendered', 'published'))),
            CHECK (state NOT IN ('published', 'done') OR (output IS NOT NULL AND sha256 IS NOT NULL)),
            CHECK (state != 'failed' OR reason IS NOT NULL)
        )
        """,
        "CREATE UNIQUE INDEX stems_current ON stems (relative) WHERE current = 1",
        "CREATE INDEX stems_state ON stems (state, id) WHERE current = 1",
        "CREATE INDEX stems_output ON stems (output_key) WHERE output_key IS NOT NULL",
        "CREATE TABLE notices (key TEXT PRIMARY KEY, text BLOB NOT NULL, at REAL NOT NULL)",
        "CREATE TABLE pause (id INTEGER PRIMARY KEY CHECK (id = 1), reason BLOB NOT NULL, at REAL NOT NULL)",
    ),
)

_UNAVAILABLE = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_READONLY,
    }
)
_CORRUPT = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_NO_INDEX = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY})


class LedgerUnavailable(WatchError):
    """The ledger cannot be used just now (disk full, I/O error, locked): nothing changed, try again later."""


class LedgerCorrupt(WatchError):
    """The ledger's file is damaged: `Ledger.open` sets it aside and begins another."""


class LedgerMissing(WatchError):
    """There is no ledger, or none that this version reads."""


@dataclass(frozen=True)
class Fresh:
    """Why a new ledger was begun, and where the one before it lies now: what the folders tell is to be put into it."""

    why: Literal["missing", "corrupt", "newer"]
    aside: Path | None = None

    def __str__(self) -> str:
        """The same in a line for people."""
        if self.aside is None:
            return "a new ledger is begun"
        what = "was damaged" if self.why == "corrupt" else "was written by a newer version of Gramophone"
        return f"the ledger {what}; it is kept as {self.aside.name}, and a new one is made from what the folders hold"


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into `LedgerUnavailable` and `LedgerCorrupt`; others are mistakes of ours and stay."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        if code in _CORRUPT:
            raise LedgerCorrupt(f"the ledger {path} is damaged ({error})") from error
        if code in _UNAVAILABLE:
            raise LedgerUnavailable(
                f"the ledger {path} cannot be used now ({error}); it needs space and write access, or --state elsewhere"
            ) from error
        raise


def opened(path: Path) -> tuple[sqlite3.Connection, Fresh | None]:
    """A connection for the daemon to the ledger at ``path``, made, migrated or set aside and made anew as need be.

    Raises `LedgerUnavailable` when the disk does not let it.
    """
    fresh = None if path.exists() else Fresh("missing")
    try:
        path.parent.mkdir(exist_ok=True)
        try:
            if path.exists() and not path.is_file():
                raise LedgerCorrupt(f"{path} is no file")
            return _checked(path), fresh
        except LedgerCorrupt:
            fresh = Fresh("corrupt", _set_aside(path, "corrupt"))
        except LedgerMissing:
            fresh = Fresh("newer", _set_aside(path, "newer"))
        return _checked(path), fresh
    except OSError as error:
        raise LedgerUnavailable(f"the ledger {path} cannot be opened: {error.strerror or error}") from error


def attached(path: Path) -> sqlite3.Connection:
    """A second connection that may write, to a ledger that is there and of this version; else `LedgerMissing`."""
    _require(path)
    with translated(path):
        connection = _of_this_version(path, "rw")
        connection.execute("PRAGMA synchronous = FULL")
        return connection


def viewed(path: Path) -> sqlite3.Connection:
    """A connection that can only read, to a ledger that is there and of this version; else `LedgerMissing`."""
    _require(path)
    with translated(path):
        try:
            return _of_this_version(path, "ro")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in _NO_INDEX:
                raise
            # A reader that may not write the folder cannot make WAL's shared index.  It is missing only where no daemon
            # is, and then the file alone holds everything.
            return _of_this_version(path, "ro&immutable=1")


def _of_this_version(path: Path, mode: str) -> sqlite3.Connection:
    connection = _connected(path, mode)
    try:
        _require_version(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _require(path: Path) -> None:
    if not path.is_file():
        raise LedgerMissing(f"nothing was watched here yet: {path} is not there; start with gramophone watch run")


def _require_version(connection: sqlite3.Connection, path: Path) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if _application(connection) != _APPLICATION or version != len(MIGRATIONS):
        raise LedgerMissing(
            f"the ledger {path} has version {version}, expected {len(MIGRATIONS)}: "
            "restart the daemon, or use the version of Gramophone it runs"
        )


def _application(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA application_id").fetchone()[0])


def _connected(path: Path, mode: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=_BUSY_S, isolation_level=None
    )
    connection.row_factory = sqlite3.Row
    return connection


def _checked(path: Path) -> sqlite3.Connection:
    """A connection to a whole ledger of this version; `LedgerCorrupt` or, for a newer version, `LedgerMissing`."""
    with translated(path):
        connection = _connected(path, "rwc")
        try:
            _prepare(connection, path)
        except BaseException:
            connection.close()
            raise
        return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    empty = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
    if not empty and _application(connection) != _APPLICATION:
        raise LedgerCorrupt(f"{path} is no ledger of Gramophone")
    if version > len(MIGRATIONS):
        raise LedgerMissing(f"the ledger {path} has version {version}, newer than {len(MIGRATIONS)}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA fullfsync = ON")  # what macOS calls the fsync that reaches the platter
    connection.execute("PRAGMA journal_size_limit = 16777216")
    if connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
        raise LedgerCorrupt(f"the ledger {path} is damaged")
    for index in range(version, len(MIGRATIONS)):
        _migrate(connection, index)
    present = {record["name"] for record in connection.execute("PRAGMA table_info(stems)")}
    if not present.issuperset(COLUMNS):
        raise LedgerCorrupt(f"the ledger {path} lacks {', '.join(sorted(set(COLUMNS) - present))}")


def _migrate(connection: sqlite3.Connection, index: int) -> None:
    """Go from version ``index`` to the next, all of it or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement in MIGRATIONS[index]:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {index + 1}")
        connection.execute(f"PRAGMA application_id = {_APPLICATION}")
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def _set_aside(path: Path, why: str) -> Path:
    """Move the ledger and what belongs to it to the first free number; nothing is deleted."""
    number = 1
    while (aside := path.with_name(f"{path.name}.{why}-{number}")).exists():
        number += 1
    # The log goes first: beside a new ledger it would be taken for its own.
    for suffix in ("-wal", "-shm"):
        with suppress(FileNotFoundError):
            path.with_name(path.name + suffix).replace(aside.with_name(aside.name + suffix))
    path.replace(aside)
    return aside
