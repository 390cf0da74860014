"""The daemon's log: lines of text or JSON, to a file that is kept small and to stderr, which never stop the daemon.

A thread for each place writes, from a queue of bounded length: a full disk, a closed stderr, or a pipe whose
reader sleeps lose lines (and say how many, once they can), and nothing else.
"""

import contextlib
import json
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol

NAME: Final = "watch.log"
_KEPT: Final = 3
_BYTES: Final = 4 << 20
_QUEUED: Final = 2000
#: What every record of the standard library holds; anything else was given by ``extra`` and is told.
_ORDINARY: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class Place(Protocol):
    """Where lines go. May raise OSError, may take its time."""

    def write(self, line: bytes) -> None:
        """Append one line."""
        ...


class LogFile:
    """A file of at most ``limit`` bytes, with ``kept`` older ones beside it: PATH.1 is the youngest."""

    def __init__(self, path: Path, *, limit: int = _BYTES, kept: int = _KEPT) -> None:
        self._path = path
        self._limit = limit
        self._kept = kept

    def write(self, line: bytes) -> None:
        """Append ``line``. The file is opened for each: one that was moved or deleted is made anew."""
        with contextlib.suppress(FileNotFoundError):
            if self._path.stat().st_size + len(line) > self._limit:
                self._rotate()
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        descriptor = os.open(self._path, flags, 0o644)
        try:
            _write_all(descriptor, line)
        finally:
            os.close(descriptor)

    def _rotate(self) -> None:
        names = [self._path, *(self._path.with_name(f"{self._path.name}.{n}") for n in range(1, self._kept + 1))]
        for older, newer in zip(reversed(names[1:]), reversed(names[:-1]), strict=True):
            with contextlib.suppress(FileNotFoundError):
                newer.replace(older)


class Descriptor:
    """An open file descriptor, as stderr is one. Not the stream above it, whose lock would outlive a stuck write."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, line: bytes) -> None:
        """Write ``line``."""
        _write_all(self._descriptor, line)


class _Writer:
    """A queue of lines, and the thread that takes them to their place."""

    def __init__(self, place: Place, queued: int = _QUEUED) -> None:
        self._place = place
        self._queued = queued
        self._lines: deque[bytes] = deque()
        self._change = threading.Condition()
        self._busy = False
        self._lost = 0
        self._open = True
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    def put(self, line: bytes) -> None:
        with self._change:
            if not self._open or len(self._lines) >= self._queued:
                self._lost += 1
                return
            self._lines.append(line)
            self._change.notify_all()

    def flush(self, timeout_s: float) -> bool:
        with self._change:
            return self._change.wait_for(lambda: not self._lines and not self._busy, timeout_s)

    def close(self) -> None:
        with self._change:
            self._open = False
            self._change.notify_all()

    def _run(self) -> None:
        while True:
            with self._change:
                self._busy = False
                self._change.notify_all()
                self._change.wait_for(lambda: bool(self._lines) or not self._open)
                if not self._lines:
                    return
                self._busy = True
                line, lost = self._lines.popleft(), self._lost
            try:
                self._place.write((f"({lost} lines before this one were lost)\n".encode() if lost else b"") + line)
                fewer = lost
            except (OSError, ValueError):
                fewer = -1  # this one is lost as well
            with self._change:
                self._lost -= fewer


class Journal(logging.Handler):
    """A handler of standard logging that hands every record, as one line, to each of its places."""

    def __init__(self, places: Sequence[Place], *, as_json: bool = False) -> None:
        super().__init__()
        self._writers = [_Writer(place) for place in places]
        self._line = _json_line if as_json else _text_line

    def emit(self, record: logging.LogRecord) -> None:
        """Queue ``record``; never waits, never raises."""
        try:
            line = self._line(record)
        except Exception:  # a message whose arguments do not fit: worth less than the daemon
            line = f"a message that cannot be told: {record.msg!r}"
        data = (line + "\n").encode("utf-8", "backslashreplace")
        for writer in self._writers:
            writer.put(data)

    def flush(self, timeout_s: float = 1.0) -> None:
        """Give what is queued a moment to be written."""
        until = time.monotonic() + timeout_s
        for writer in getattr(self, "_writers", []):
            writer.flush(max(0.0, until - time.monotonic()))

    def close(self) -> None:
        """Write what is queued, if it can be written soon, and end."""
        self.flush()
        for writer in self._writers:
            writer.close()
        super().close()


def start(state: Path | None, *, as_json: bool = False, verbose: bool = False, stderr: int | None = 2) -> Journal:
    """Send what the package ``watch`` logs to ``watch.log`` in ``state`` and to the descriptor ``stderr``."""
    places: list[Place] = [LogFile(state / NAME)] if state is not None else []
    if stderr is not None:
        places.append(Descriptor(stderr))
    journal = Journal(places, as_json=as_json)
    logger = logging.getLogger("watch")
    logger.setLevel(logging.DEBUG if verbose else logging.INFO)
    logger.addHandler(journal)
    logger.propagate = False
    return journal


def stop(journal: Journal) -> None:
    """Undo `start`."""
    logging.getLogger("watch").removeHandler(journal)
    journal.close()


def _extras(record: logging.LogRecord) -> dict[str, Any]:
    return {key: value for key, value in vars(record).items() if key not in _ORDINARY and not key.startswith("_")}


def _text_line(record: logging.LogRecord) -> str:
    at = datetime.fromtimestamp(record.created).astimezone().isoformat(" ", "seconds")
    extras = "".join(f" {key}={value}" for key, value in _extras(record).items())
    return f"{at} {record.levelname.lower():7} {_printable(record.getMessage() + extras)}{_trace(record, _printable)}"


def _json_line(record: logging.LogRecord) -> str:
    at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
    fields = {"time": at, "level": record.levelname.lower(), "message": record.getMessage()} | _extras(record)
    if record.exc_info:
        fields["trace"] = _trace(record, str)
    return json.dumps(fields, default=str)


def _trace(record: logging.LogRecord, shown: Callable[[str], str]) -> str:
    if not record.exc_info:
        return ""
    return shown(" " + logging.Formatter().formatException(record.exc_info))


def _printable(text: str) -> str:
    """``text`` on one line that no name on disk can break or colour."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
