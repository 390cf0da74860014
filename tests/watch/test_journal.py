"""The log tells everything on lines of its own, and nothing that befalls it stops the daemon."""

import errno
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from watch import journal
from watch.journal import Descriptor, Journal, LogFile

LOGGER = logging.getLogger("watch.test")
# How long a thread may take to write what is queued; it takes no time on an idle machine.
SOON_S = 60.0


class Kept:
    """A place that keeps its lines, fails while ``broken``, and stands still until ``going``."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.broken = False
        self.going = threading.Event()
        self.going.set()

    def write(self, line: bytes) -> None:
        """Keep it."""
        self.going.wait(300)
        if self.broken:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.lines.append(line.decode())


@pytest.fixture
def kept() -> Kept:
    """A place to log to."""
    return Kept()


@pytest.fixture
def log(kept: Kept) -> Iterator[Journal]:
    """A journal of text that goes there."""
    made = Journal([kept])
    logger = logging.getLogger("watch")
    logger.addHandler(made)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    yield made
    kept.going.set()
    journal.stop(made)
    logger.propagate = True


def test_text_is_a_line_for_each_record(kept: Kept, log: Journal) -> None:
    """Time, level, message and what was given beside it; no name on disk makes a line or a colour of its own."""
    LOGGER.info("published %s", "a\nb\x1b[31m\udcff.wav", extra={"stem": "tape/\nvox"})
    LOGGER.debug("not told")
    log.flush(SOON_S)
    (line,) = kept.lines
    assert line.endswith("info    published a\\nb\\x1b[31m\\udcff.wav stem=tape/\\nvox\n")
    assert line.startswith("20")


def test_json_is_an_object_for_each_record() -> None:
    """Every field is there for programs, traces and odd values included."""
    place = Kept()
    log = Journal([place], as_json=True)
    record = LOGGER.makeRecord("watch", logging.ERROR, "f", 1, "no %s", ("\udcff",), None, extra={"path": Path("x")})
    log.handle(record)
    try:
        raise ZeroDivisionError("odd")
    except ZeroDivisionError:
        log.handle(LOGGER.makeRecord("watch", logging.ERROR, "f", 1, "fell", (), sys.exc_info()))
    log.flush(SOON_S)
    log.close()
    first, second = (json.loads(line) for line in place.lines)
    assert first == {"time": first["time"], "level": "error", "message": "no \udcff", "path": "x"}
    assert "ZeroDivisionError: odd" in second["trace"]


def test_a_message_that_does_not_fit_is_told_and_no_error(kept: Kept, log: Journal) -> None:
    """A mistake of ours in a log line costs that line only."""
    log.handle(LOGGER.makeRecord("watch", logging.INFO, "f", 1, "%d stems", ("many",), None))
    log.flush(SOON_S)
    assert "cannot be told" in kept.lines[0]


def test_a_full_disk_loses_lines_and_says_how_many(kept: Kept, log: Journal) -> None:
    """What could not be written is counted, and told with the first line that can."""
    kept.broken = True
    for n in range(3):
        LOGGER.info("lost %d", n)
    log.flush(SOON_S)
    kept.broken = False
    LOGGER.info("here")
    LOGGER.info("again")
    log.flush(SOON_S)
    assert len(kept.lines) == 2
    assert kept.lines[0].startswith("(3 lines before this one were lost)\n")
    assert kept.lines[1].endswith("again\n")


def test_a_place_that_stands_still_stops_neither_the_daemon_nor_the_other_place(
    log: Journal,
) -> None:
    """A reader of stderr that sleeps: logging goes on at once, in bounded memory, and the file gets everything."""
    stuck, free = Kept(), Kept()
    stuck.going.clear()
    both = Journal([stuck, free])
    logging.getLogger("watch").addHandler(both)
    for n in range(5000):
        LOGGER.info("line %d", n)
        if n % 500 == 0:
            both._writers[1].flush(SOON_S)
    both._writers[1].flush(SOON_S)
    assert len(free.lines) == 5000
    assert len(both._writers[0]._lines) <= 2000
    both.flush(0.05)
    assert stuck.lines == []  # had it waited for the reader, the first line would be there
    stuck.going.set()
    logging.getLogger("watch").removeHandler(both)
    both.flush(SOON_S)
    both.close()
    assert len(stuck.lines) <= 2001
    assert any("lines before this one were lost" in line for line in stuck.lines)


@pytest.mark.parametrize("how", ["closed", "unread", "reader gone"])
def test_no_stderr_stops_a_process(how: str) -> None:
    """Closed, a full pipe that nobody reads, or one whose reader is gone: the process works on and ends by itself."""
    script = """
import logging, os, sys
from watch import journal
if sys.argv[1] == "closed":
    os.close(2)
log = journal.start(None)
for n in range(3000):
    logging.getLogger("watch").info("a line of the log %d", n)
log.flush(0.2)
os.write(1, b"worked on")
"""
    process = subprocess.Popen([sys.executable, "-c", script, how], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    if how == "reader gone":
        process.stderr.close()
    assert process.stdout.read() == b"worked on"
    assert process.wait(timeout=120) == 0
    process.stdout.close()
    process.stderr.close()


def test_the_file_is_kept_small(tmp_path: Path) -> None:
    """At its limit it becomes .1, that .2, and what is older goes; no line is cut."""
    place = LogFile(tmp_path / "watch.log", limit=100, kept=2)
    for n in range(30):
        place.write(f"line number {n:03d}\n".encode())
    files = [tmp_path / name for name in ("watch.log.2", "watch.log.1", "watch.log")]
    assert sorted(tmp_path.iterdir()) == sorted(files)
    assert all(file.stat().st_size <= 100 for file in files)
    lines = [line for file in files for line in file.read_text().splitlines()]
    assert lines == [f"line number {n:03d}" for n in range(30 - len(lines), 30)]
    assert len(lines) >= 12


def test_a_log_that_was_taken_away_is_made_anew(tmp_path: Path) -> None:
    """logrotate may move it; the state folder itself may go and come back."""
    place = LogFile(tmp_path / "state" / "watch.log")
    with pytest.raises(FileNotFoundError):
        place.write(b"lost\n")
    (tmp_path / "state").mkdir()
    place.write(b"one\n")
    (tmp_path / "state" / "watch.log").rename(tmp_path / "moved")
    place.write(b"two\n")
    assert (tmp_path / "state" / "watch.log").read_text() == "two\n"


def test_start_sends_the_package_there_and_stop_ends_it(tmp_path: Path) -> None:
    """File and descriptor both get the line, other packages' lines neither."""
    read, write = os.pipe()
    log = journal.start(tmp_path, stderr=write, as_json=True)
    LOGGER.warning("low disk")
    logging.getLogger("other").warning("not ours")
    log.flush(SOON_S)
    journal.stop(log)
    os.close(write)
    with os.fdopen(read) as piped:
        lines = piped.read().splitlines()
    assert [json.loads(line)["message"] for line in lines] == ["low disk"]
    assert (tmp_path / "watch.log").read_text().splitlines() == lines
    assert log not in logging.getLogger("watch").handlers
    logging.getLogger("watch").propagate = True


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_device_that_is_full() -> None:
    """The very error of a full disk, from the system itself."""
    descriptor = os.open("/dev/full", os.O_WRONLY)
    log = Journal([Descriptor(descriptor)])
    log.handle(logging.makeLogRecord({"msg": "lost"}))
    log.flush(SOON_S)
    assert log._writers[0]._lost == 1
    log.close()
    os.close(descriptor)
