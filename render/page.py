"""One HTML file to hear and see renders by: before and after as pictures and players, with what was done to them.

Self-contained: pictures and sound are inside as base64 and a content security policy forbids every request, so that
the page can be sent to somebody. A player runs both sides together and switches between them without losing the place.
Of long files a stretch is inside; the whole of them is played from the files themselves, where these are still there.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2

from render import portrait
from render.errors import RenderError
from render.portrait import Portrait

LONGEST_S = 30.0
_TEMPLATES = Path(__file__).parent / "templates"
_PLAYABLE = ("WAV", "WAVEX", "FLAC", "MP3", "OGG")


@dataclass(frozen=True)
class Exhibit:
    """One thing to hear: the file ``before``, and ``after`` where something was done to it; ``facts`` say what.

    Without ``shown`` there is only a line of the table.
    """

    title: str
    before: Path
    after: Path | None = None
    labels: tuple[str, str] = ("stem", "styled")
    facts: Mapping[str, str] = field(default_factory=dict)
    note: str = ""
    portraits: Sequence[Portrait] = ()
    shown: bool = True


@dataclass(frozen=True)
class Content:
    """All that a page says; ``columns`` are the facts that have a place in the table, ``about`` ends the page."""

    title: str
    lead: Sequence[str]
    exhibits: Sequence[Exhibit]
    references: Sequence[Exhibit] = ()
    columns: Sequence[str] = ()
    failures: Mapping[str, str] = field(default_factory=dict)
    about: Mapping[str, str] = field(default_factory=dict)


def html(content: Content, *, longest_s: float = LONGEST_S, folder: Path | None = None) -> str:
    """The page as text. Of files longer than ``longest_s`` seconds it holds the loudest stretch of that length.

    With ``folder``, where the page will lie, the files themselves are linked too, and long ones can be played whole.
    `AudioError` for a file that cannot be read; `RenderError` when the two sides of an exhibit do not line up.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined
    )
    exhibits = [_exhibit(exhibit, longest_s, folder) for exhibit in content.exhibits]
    return environment.get_template("page.html").render(
        title=content.title,
        lead=content.lead,
        columns=content.columns,
        failures=content.failures,
        about=content.about,
        exhibits=exhibits,
        references=[_exhibit(exhibit, longest_s, folder) for exhibit in content.references],
        linked=any(side["place"] for exhibit in exhibits for side in exhibit["sides"]),
        range_db=portrait.RANGE_DB,
    )


def portraits(before: Path, after: Path | None) -> tuple[Portrait, ...]:
    """What is measured of both sides of an exhibit.

    `AudioError` for a file that cannot be read; `RenderError` for sides of different rates.
    """
    seen = tuple(portrait.of_file(path) for path in ([before] if after is None else [before, after]))
    rate = seen[0].info.rate
    for one in seen:
        if one.info.rate != rate:
            raise RenderError(
                f"{one.info.path} is at {one.info.rate} Hz; expected {rate} Hz as {before}, "
                "so that the two can be compared"
            )
    return seen


def _exhibit(exhibit: Exhibit, longest_s: float, folder: Path | None) -> dict[str, Any]:
    seen = exhibit.portraits or portraits(exhibit.before, exhibit.after)
    # A chain may ring out past the stem's end: both sides are shown and heard equally long.
    rate, length = seen[0].info.rate, max(one.info.frames for one in seen)
    start, count = 0, length
    if length > longest_s * rate:
        start, count = portrait.loudest(seen[0], longest_s)
    part = count < length
    pictures = [portrait.drawn(one.info.path, length) for one in seen] if exhibit.shown else []
    top_db = max((picture.top_db for picture in pictures), default=0.0)
    notes = [exhibit.note] if exhibit.note else []
    if part and count and exhibit.shown:
        notes.append(f"Heard here: {start / rate:.1f} to {(start + count) / rate:.1f} s.")
    channels = seen[0].info.channels
    if channels > portrait.FLAC_CHANNELS and exhibit.shown:
        notes.append(f"Heard here in mono; the file has {channels} channels.")
    whole = folder is not None and part and all(one.info.format.container in _PLAYABLE for one in seen)
    sides = [
        {
            "label": label,
            "name": one.info.path.name,
            "duration": f"{one.info.duration_s:.2f} s",
            "level": decibels(one.level_db),
            "peak": decibels(one.peak_db),
            "lufs": decibels(one.loudness.lufs, "–"),
            "dbtp": decibels(one.loudness.dbtp, "–"),
            "link": _link(one.info.path, folder) if folder else "",
            "place": _link(one.info.path, folder) if folder and whole and exhibit.shown else "",
            "picture": portrait.png(pictures[number], top_db) if pictures else "",
            "ticks": portrait.ticks(pictures[number]) if pictures else [],
            "sound": portrait.flac(one.info.path, start, count) if exhibit.shown and count else "",
        }
        for number, (label, one) in enumerate(zip(exhibit.labels, seen, strict=False))
    ]
    return {
        "title": exhibit.title,
        "facts": exhibit.facts,
        "note": " ".join(notes),
        "duration": f"{seen[-1].info.duration_s:.2f} s",
        "total_s": length / rate,
        "begin_s": start / rate,
        "length_s": count / rate,
        "part": part,
        "shown": exhibit.shown,
        "sides": sides,
    }


def decibels(value: float | None, silent: str = "silent") -> str:
    """``value`` dB with one decimal and a minus sign, or ``silent`` for None."""
    # Adding 0.0 turns a rounded −0.0 into 0.0.
    return silent if value is None else f"{round(value, 1) + 0.0:.1f}".replace("-", "−")


def _link(path: Path, folder: Path) -> str:
    try:
        place = Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:  # on another drive of Windows
        return path.resolve().as_uri()
    return quote(place if place.startswith("..") else f"./{place}", errors="surrogateescape", encoding="utf-8")
