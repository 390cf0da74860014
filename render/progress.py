"""Drawing a render's events: live bars in a terminal, plain lines elsewhere, JSON lines for programs. Only here."""

import json
import math
import re
import time
from collections.abc import Callable
from dataclasses import asdict, is_dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from engine.events import Iterate, SegmentDone
from render.events import (
    AlbumDone,
    AlbumStarted,
    Event,
    Exported,
    ExportFailed,
    StemFailed,
    StemProgress,
    StemPublished,
    StemSkipped,
    StemStarted,
)

_SECONDS_BETWEEN_LINES = 5.0


class Reporter(Protocol):
    """Something that shows events as they come, between entering and leaving it."""

    def __call__(self, event: Event) -> None:
        """Show ``event``."""
        ...

    def __enter__(self) -> Self:
        """Begin to show."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End, and leave the terminal as it was."""
        ...


def printable(value: object) -> str:
    """``value`` as text without line breaks, escape codes or halves of undecodable names."""
    return "".join(c if c.isprintable() else "�" for c in str(value))


def clock_time(seconds: float) -> str:
    """Seconds as a person reads them: 0:07, 3:25 or 1:02:03."""
    whole = math.ceil(seconds) if seconds < 1 else round(seconds)
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"


def decibels(value: float, *, sign: bool = False) -> str:
    """``value`` with one decimal and never as minus zero."""
    rounded = round(value, 1) + 0.0
    return f"{rounded:+.1f}" if sign else f"{rounded:.1f}"


def outcome(event: StemPublished) -> str:
    """What is worth saying of a published stem beside its name: speed, peak, overs."""
    parts = ["copied" if event.copied else f"{event.duration_s / max(event.seconds, 1e-9):.1f}× real time"]
    parts.append("silent" if event.peak_dbfs is None else f"peak {decibels(event.peak_dbfs)} dBFS")
    if event.levelled_db is not None:
        now = "no loudness" if event.lufs_after is None else f"{decibels(event.lufs_after)} LUFS"
        crest = "" if event.dbtp_after is None else f" at {decibels(event.dbtp_after)} dBTP"
        parts.append(f"levelled by {decibels(event.levelled_db, sign=True)} dB to {now}{crest}")
    if event.overs:
        gain = f" by {event.gain_db:.1f} dB" if event.gain_db else ""
        parts.append(f"{event.overs} overs {event.overs_action}{gain}")
    return ", ".join(parts)


class _Stem:
    """How far the engine is with a stem since ``began``, from 0 to 1, and its last loss."""

    def __init__(self, started: StemStarted, began: float) -> None:
        self.started, self.began = started, began
        self.fraction = 0.0
        self.loss: float | None = None
        self._segments = 1
        self._done = 0
        self._inside = 0.0

    def hear(self, progress: StemProgress) -> None:
        event = progress.event
        if isinstance(event, Iterate):
            self.loss = event.loss
            self._inside = event.iteration / max(event.iterations, 1)
        else:
            self._segments = max(event.count, 1)
            self._inside = 0.0
            if isinstance(event, SegmentDone):
                self._done += 1
        # A solver of several stages counts each from the start; what is shown never goes back.
        self.fraction = min(1.0, max(self.fraction, (self._done + self._inside) / self._segments))


class Lines:
    """A line for each thing that happens, for logs and pipes."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._said = 0.0
        self._count = 0
        self._stems: dict[int, _Stem] = {}

    def __call__(self, event: Event) -> None:
        """Write what ``event`` tells; progress within stems at most every 5 seconds."""
        if isinstance(event, StemProgress):
            self._progress(event)
        elif isinstance(event, StemStarted):
            self._said = self._clock()
            self._stems[event.index] = _Stem(event, self._said)
            where = f"{printable(event.stem.name)} through {printable(event.preset)}"
            self._say(event.index, f"{where}, {clock_time(event.duration_s)}")
        else:
            if isinstance(event, AlbumStarted):
                self._count = event.count
            if line := final_line(event):
                self._say(getattr(event, "index", 0), line)

    def _progress(self, event: StemProgress) -> None:
        if (stem := self._stems.get(event.index)) is None:
            return
        stem.hear(event)
        now = self._clock()
        if now - self._said >= _SECONDS_BETWEEN_LINES:
            self._said = now
            self._say(event.index, f"{stem.fraction:.0%}{state(stem, now - stem.began)}")

    def _say(self, index: int, line: str) -> None:
        place = f"[{index}/{self._count}] " if index else ""
        self._console.print(Text(place + line), soft_wrap=True)

    def __enter__(self) -> Self:
        """Nothing to prepare."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to clean up."""


class Bars:
    """Live bars, the album's and one for each stem under work, with finished stems as lines above them."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[state]}"),
            TimeRemainingColumn(compact=True),
            console=console,
            transient=True,
        )
        self._album: TaskID | None = None
        self._stems: dict[int, tuple[TaskID, _Stem]] = {}
        self._finished_s = 0.0
        self._count = 0

    def __call__(self, event: Event) -> None:
        """Move the bars by ``event``."""
        if isinstance(event, AlbumStarted):
            self._count = event.count
            title = printable(event.title)[:40]
            self._album = self._progress.add_task(Text(title).markup, total=event.duration_s or 1.0, state="")
        elif isinstance(event, StemStarted):
            name = f"  {event.index}/{self._count} {printable(event.title)[:32]}"
            task = self._progress.add_task(Text(name).markup, total=event.duration_s or 1.0, state="")
            self._stems[event.index] = task, _Stem(event, self._clock())
        elif isinstance(event, StemProgress):
            self._move(event)
        elif line := final_line(event):
            self._end(event, line)

    def _move(self, event: StemProgress) -> None:
        if event.index not in self._stems or self._album is None:
            return
        task, stem = self._stems[event.index]
        stem.hear(event)
        passed = stem.fraction * stem.started.duration_s
        self._progress.update(task, completed=passed, state=state(stem, self._clock() - stem.began))
        under_work = sum(stem.fraction * stem.started.duration_s for _, stem in self._stems.values())
        self._progress.update(self._album, completed=self._finished_s + under_work)

    def _end(self, event: Event, line: str) -> None:
        task, stem = self._stems.pop(getattr(event, "index", 0), (None, None))
        if task is not None:
            self._progress.remove_task(task)
        if stem is not None and self._album is not None:
            self._finished_s += stem.started.duration_s
            self._progress.update(self._album, completed=self._finished_s)
        style = "red" if isinstance(event, StemFailed | ExportFailed) else ""
        self._progress.console.print(Text(line, style), soft_wrap=True)

    def __enter__(self) -> Self:
        """Show the bars."""
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the bars away."""
        self._progress.stop()


class JsonLines:
    """Every event as one JSON object on a line of ``stream``, flushed at once."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._open = True

    def __call__(self, event: Event) -> None:
        """Write ``event``; once the reader is gone, nothing more."""
        self.record(as_record(event))

    def record(self, record: dict[str, Any]) -> None:
        """Write any record."""
        if not self._open:
            return
        try:
            self._stream.write(json.dumps(record, allow_nan=False) + "\n")
            self._stream.flush()
        except BrokenPipeError:
            # The work is worth more than its telling: `... --json | head` must not stop a render.
            self._open = False

    def __enter__(self) -> Self:
        """Nothing to prepare."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to clean up."""


def state(stem: _Stem, elapsed_s: float) -> str:
    """Loss and real-time factor of the stem under work, for the eye."""
    loss = "" if stem.loss is None or not math.isfinite(stem.loss) else f" loss {stem.loss:.3g}"
    speed = stem.fraction * stem.started.duration_s / elapsed_s if elapsed_s > 0 else 0.0
    return f"{loss}{f' {speed:.1f}×' if speed else ''}"


def final_line(event: Event) -> str:
    """The line that ends a stem or the album; empty for other events."""
    if isinstance(event, StemPublished):
        return f"{printable(event.output)} ({outcome(event)})"
    if isinstance(event, StemSkipped):
        return f"{printable(event.output)} (already rendered from the same inputs)"
    if isinstance(event, StemFailed):
        return f"failed: {printable(event.title)}: {printable(event.reason)}"
    if isinstance(event, Exported):
        return f"{printable(event.path)} ({event.kind})"
    if isinstance(event, ExportFailed):
        return f"failed: {event.kind}: {printable(event.reason)}"
    return ""


def as_record(event: object) -> dict[str, Any]:
    """An event as a JSON object: its name in snake case under ``event``, then its fields."""
    if not is_dataclass(event) or isinstance(event, type):
        raise TypeError(f"expected an event, found {event!r}")
    name = re.sub(r"(?<!^)(?=[A-Z])", "_", type(event).__name__).lower()
    fields = {k: getattr(event, k) for k in asdict(event)}
    if isinstance(event, StemProgress):
        fields = {"index": event.index, "engine": as_record(event.event)}
    return {"event": name} | {key: _plain(value) for key, value in fields.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def reporter(console: Console, *, as_json: TextIO | None = None) -> Reporter:
    """The reporter that fits: JSON lines to ``as_json`` when given, bars in a terminal, lines elsewhere."""
    if as_json is not None:
        return JsonLines(as_json)
    return Bars(console) if console.is_terminal else Lines(console)


def totals(done: AlbumDone) -> str:
    """How it all ended, in a sentence."""
    parts = [f"{done.published} rendered"]
    parts += [f"{done.skipped} already there"] if done.skipped else []
    parts += [f"{done.failed} failed"] if done.failed else []
    return f"{'interrupted: ' if done.interrupted else ''}{', '.join(parts)} in {clock_time(done.seconds)}"
