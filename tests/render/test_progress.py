"""Drawing: lines for logs, bars for terminals, JSON for programs, and nothing that a file name could smuggle in."""

import io
import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from engine.events import Iterate, SegmentDone, SegmentStarted
from render import progress
from render.events import (
    AlbumDone,
    AlbumStarted,
    Event,
    StemFailed,
    StemProgress,
    StemPublished,
    StemSkipped,
    StemStarted,
)

OUT = Path("out/vox_tape.wav")
PUBLISHED = StemPublished(1, "vox", OUT, "WAV PCM_24", 10.0, 2.0, -1.04, 0.02, 3, "scaled", -2.5, False)
STORY: list[Event] = [
    AlbumStarted("Night Bus", 3, 30.0, 20.0),
    StemStarted(1, "vox", Path("vox.wav"), OUT, "tape", 10.0),
    StemProgress(1, SegmentStarted(0, 2, 0.0, 5.0)),
    StemProgress(1, Iterate(0, 50, 100, 0.25)),
    StemProgress(1, SegmentDone(0, 2, 0.2)),
    StemProgress(1, Iterate(1, 1, 100, math.nan)),
    PUBLISHED,
    StemSkipped(2, "bass", Path("out/bass.wav")),
    StemFailed(3, "drums", Path("drums.wav"), "it broke"),
    AlbumDone(1, 1, 1, 4.0),
]


def _console(*, terminal: bool) -> tuple[Console, io.StringIO]:
    stream = io.StringIO()
    return Console(file=stream, force_terminal=terminal, width=200, color_system=None), stream


def _clock(step: float) -> Callable[[], float]:
    times = iter(i * step for i in range(10_000))
    return lambda: next(times)


def test_lines_tell_the_start_the_end_and_now_and_then_the_middle() -> None:
    """Without a terminal each stem has a line when it starts and one when it ends, and one every five seconds."""
    console, stream = _console(terminal=False)
    with progress.Lines(console, _clock(5.0)) as lines:
        for event in STORY:
            lines(event)
    assert stream.getvalue().splitlines() == [
        "[1/3] vox.wav through tape, 0:10",
        "[1/3] 0%",
        "[1/3] 25% loss 0.25 0.2×",
        "[1/3] 50% loss 0.25 0.3×",
        "[1/3] 50% 0.3×",
        "[1/3] out/vox_tape.wav (5.0× real time, peak -1.0 dBFS, 3 overs scaled by -2.5 dB)",
        "[2/3] out/bass.wav (already rendered from the same inputs)",
        "[3/3] failed: drums: it broke",
    ]


def test_lines_do_not_flood_a_log() -> None:
    """A thousand iterations within a second are no line at all."""
    console, stream = _console(terminal=False)
    lines = progress.Lines(console, _clock(0.001))
    lines(STORY[0])
    lines(STORY[1])
    for i in range(1000):
        lines(StemProgress(1, Iterate(0, i, 1000, 1.0)))
    assert len(stream.getvalue().splitlines()) == 1


def test_bars_are_drawn_and_taken_away_again() -> None:
    """A terminal shows album and stem while they are worked on, and keeps only the lines of what is finished."""
    console, stream = _console(terminal=True)
    with progress.Bars(console, _clock(1.0)) as bars:
        for event in STORY[:6]:
            bars(event)
        bars._progress.refresh()
        drawn = stream.getvalue()
        for event in STORY[6:]:
            bars(event)
    assert "Night Bus" in drawn
    assert "1/3 vox" in drawn
    assert "50 %" in drawn
    assert "failed: drums: it broke" in stream.getvalue()


@pytest.mark.parametrize("name", ["\x1b[2Jx", "a\nb", "[red]x[/red]", "v\udcffx", "[/]"])
@pytest.mark.parametrize("kind", [progress.Lines, progress.Bars])
def test_names_are_shown_as_text_whatever_they_hold(
    name: str, kind: type[progress.Lines] | type[progress.Bars]
) -> None:
    """Escape codes, line breaks, markup and halves of undecodable names neither act nor crash."""
    console, stream = _console(terminal=False)
    with kind(console) as show:
        show(AlbumStarted(name, 1, 1.0, 1.0))
        show(StemStarted(1, name, Path(name), Path(name), name, 1.0))
        show(StemFailed(1, name, Path(name), name))
    written = stream.getvalue()
    assert "\x1b[2J" not in written
    assert "a\nb" not in written
    if name.startswith("[red]"):
        assert name in written


def test_json_lines_hold_every_event_with_its_name() -> None:
    """One object a line; what is not finite becomes null, paths become text, engine events are nested."""
    stream = io.StringIO()
    with progress.JsonLines(stream) as lines:
        for event in STORY:
            lines(event)
    records = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [record["event"] for record in records] == [
        "album_started",
        "stem_started",
        *["stem_progress"] * 4,
        "stem_published",
        "stem_skipped",
        "stem_failed",
        "album_done",
    ]
    assert records[3]["engine"] == {"event": "iterate", "segment": 0, "iteration": 50, "iterations": 100, "loss": 0.25}
    assert records[5]["engine"]["loss"] is None
    assert records[6]["output"] == "out/vox_tape.wav"
    assert records[6]["overs"] == 3


def test_a_reader_that_goes_away_does_not_stop_the_render() -> None:
    """``--json | head -1`` closes the pipe; the work goes on in silence."""

    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    lines = progress.JsonLines(Closed())
    for event in STORY:
        lines(event)


def test_the_reporter_fits_where_it_writes() -> None:
    """JSON when asked for, bars in a terminal, lines in a pipe."""
    assert isinstance(progress.reporter(_console(terminal=True)[0], as_json=io.StringIO()), progress.JsonLines)
    assert isinstance(progress.reporter(_console(terminal=True)[0]), progress.Bars)
    assert isinstance(progress.reporter(_console(terminal=False)[0]), progress.Lines)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (0.2, "0:01"), (7.4, "0:07"), (205, "3:25"), (3723, "1:02:03")]
)
def test_times_read_like_times(seconds: float, text: str) -> None:
    """Less than a second is still a second, hours appear when there are some."""
    assert progress.clock_time(seconds) == text


def test_no_number_is_minus_zero() -> None:
    """A level that did not change is +0.0 dB."""
    assert progress.decibels(-0.04) == "0.0"
    assert progress.decibels(-0.04, sign=True) == "+0.0"


def test_totals_say_how_it_ended() -> None:
    """Numbers that are zero are left out, an interrupt comes first."""
    assert progress.totals(AlbumDone(2, 0, 0, 3.0)) == "2 rendered in 0:03"
    assert (
        progress.totals(AlbumDone(1, 2, 3, 60.0, True)) == "interrupted: 1 rendered, 2 already there, 3 failed in 1:00"
    )
