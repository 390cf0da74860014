"""How a watched folder is: one record out of the ledger and the lock, for programs as it is, for people as a table."""

import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from watch import ledgerfile, lock, names
from watch.rows import WORKING, Row
from watch.view import view

if TYPE_CHECKING:
    from rich.console import RenderableType

LIMIT: Final = 20


def record(folder: Path, state: Path, *, limit: int | None = LIMIT) -> dict[str, Any]:
    """Everything there is to say of ``folder``, whose state is in ``state``, as JSON; lists hold ``limit`` at most.

    Times are ISO 8601. Raises `LedgerMissing` when nothing was ever watched there, and other `WatchError` when the
    ledger cannot be read.
    """
    with view(state / ledgerfile.NAME) as ledger, ledger.reading():
        counts = ledger.counts()
        told = {
            "waiting": counts["found"],
            "working": sum(counts[one] for one in WORKING),
            "done": counts["done"],
            "failed": counts["failed"],
            "gone": counts["gone"],
        }
        return {
            "folder": str(folder),
            "state": str(state),
            "daemon": _daemon(state),
            "paused": ledger.paused,
            "notices": ledger.notices(),
            "counts": told,
            "working": [_working(one) for one in ledger.rows(*WORKING, limit=limit)],
            "waiting": [_waiting(one) for one in ledger.rows("found", limit=limit, troubled=True)],
            "failed": [_failed(one) for one in ledger.rows("failed", limit=limit, newest=True)],
            "done": [_done(one) for one in ledger.rows("done", limit=limit, newest=True)],
        }


def table(record: dict[str, Any]) -> "RenderableType":
    """The record as people read it."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    counts = record["counts"]
    words = [f"{count} {word}" for word, count in counts.items() if count or word not in ("gone", "failed")]
    parts: list[RenderableType] = [
        Text.assemble((names.shown(record["folder"]), "bold"), f"  {_daemon_line(record['daemon'])}"),
        Text(", ".join(words), style="red" if counts["failed"] else ""),
    ]
    if record["paused"] is not None:
        parts.append(Text(f"paused: {names.shown(record['paused'])}; gramophone watch resume goes on", style="yellow"))
    parts += [Text(names.shown(text), style="yellow") for text in record["notices"].values()]
    rows = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    rows.add_column(no_wrap=True)
    rows.add_column(overflow="fold")
    rows.add_column(overflow="fold", style="dim")
    styles = {"working": "cyan", "waiting": "", "failed": "red", "done": "green"}
    for state, style in styles.items():
        for one in record[state]:
            rows.add_row(Text(state, style), Text(names.shown(one["stem"])), Text(names.shown(_told(state, one))))
        if (more := counts[state] - len(record[state])) > 0 and record[state]:
            rows.add_row("", Text(f"… and {more} more; --all lists them", style="dim"), "")
    if rows.row_count:
        parts += ["", rows]
    return Group(*parts)


def _told(state: str, one: dict[str, Any]) -> str:
    if state == "done":
        return f"→ {one['output']}"
    if state == "working":
        return f"since {_clock(one['since'])}" + (f", attempt {one['attempts'] + 1}" if one["attempts"] else "")
    again = f" (again at {_clock(one['retry_at'])})" if one.get("retry_at") else ""
    return f"{one['reason'] or ''}{again}".strip()


def _daemon(state: Path) -> dict[str, Any] | None:
    found = lock.holder(state / lock.NAME)
    if found is None:
        return None
    return {"pid": found.pid, "host": found.host, "started": _time(found.started)}


def _daemon_line(daemon: dict[str, Any] | None) -> str:
    if daemon is None:
        return "not watched now; gramophone watch run starts it"
    return f"watched by process {daemon['pid']} on {names.shown(daemon['host'])} since {_clock(daemon['started'])}"


def _working(one: Row) -> dict[str, Any]:
    return {
        "stem": one.relative,
        "kind": one.kind,
        "step": one.state,
        "since": _time(one.claimed_at),
        "attempts": one.attempts,
    }


def _waiting(one: Row) -> dict[str, Any]:
    return {
        "stem": one.relative,
        "kind": one.kind,
        "reason": one.reason,
        "attempts": one.attempts,
        "retry_at": _time(one.retry_at),
    }


def _failed(one: Row) -> dict[str, Any]:
    return {
        "stem": one.relative,
        "kind": one.kind,
        "reason": one.reason,
        "source": one.moved_to or one.relative,
        "at": _time(one.ended_at),
    }


def _done(one: Row) -> dict[str, Any]:
    return {
        "stem": one.relative,
        "kind": one.kind,
        "output": one.output,
        "sha256": one.sha256,
        "frames": one.frames,
        "source": one.moved_to or one.relative,
        "at": _time(one.ended_at),
    }


def _time(wall_s: float | None) -> str | None:
    if wall_s is None:
        return None
    return datetime.datetime.fromtimestamp(wall_s).astimezone().isoformat(timespec="seconds")


def _clock(at: str | None) -> str:
    """An ISO time as a person reads it: the hour today, the date before."""
    if at is None:
        return "?"
    moment = datetime.datetime.fromisoformat(at)
    today = datetime.datetime.now().astimezone().date()
    return moment.strftime("%H:%M:%S" if moment.date() == today else "%Y-%m-%d %H:%M")
