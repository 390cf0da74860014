"""How a watched folder is: one record out of the ledger and the lock, for programs as it is, for people as a table."""

import datetime
from pathlib import Path
from typing import Any, Final

import typer

from watch import ledgerfile, lock, names
from watch.rows import WORKING, Row
from watch.view import view

LIMIT: Final = 20
_COLOURS: Final = {"working": "cyan", "waiting": None, "failed": "red", "done": "green"}
#: The longest name that the others in its column make room for.
_WIDEST: Final = 48


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


def lines(record: dict[str, Any]) -> list[str]:
    """The record as people read it, in colours. Not by rich: to import it takes longer than all the rest."""
    counts, style = record["counts"], typer.style
    words = ", ".join(f"{count} {word}" for word, count in counts.items() if count or word not in ("gone", "failed"))
    out = [
        f"{style(names.shown(record['folder']), bold=True)}  {_daemon_line(record['daemon'])}",
        style(words, fg="red") if counts["failed"] else words,
    ]
    if record["paused"] is not None:
        pause = f"paused: {names.shown(record['paused'])}; gramophone watch resume goes on"
        out.append(style(pause, fg="yellow"))
    out += [style(names.shown(text), fg="yellow") for text in record["notices"].values()]
    listed = [(state, names.shown(one["stem"]), one) for state in _COLOURS for one in record[state]]
    if listed:
        out.append("")
    wide = min(_WIDEST, max((len(stem) for _, stem, _ in listed), default=0))
    for state, colour in _COLOURS.items():
        for _, stem, one in (row for row in listed if row[0] == state):
            told = names.shown(_told(state, one))
            end = f"{stem:{wide}}  {style(told, dim=True)}" if told else stem
            out.append(f"{style(f'{state:7}', fg=colour)}  {end}")
        if (more := counts[state] - len(record[state])) > 0 and record[state]:
            out.append(f"{'':7}  … and {more} more; --all lists them")
    return out


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
