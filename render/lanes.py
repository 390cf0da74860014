"""Tables that say what changes with time in a render: ``amount``, ``mix`` and parameters of the chain.

A table says what moves, ``target = "amount"``, ``"mix"`` or ``"chain[2].threshold_db"`` (a step of the chain beside it,
counted from 1; ``chain[2].plugins[1].gain_db`` is inside a container), and how: ``points = [[seconds, value], …]``, or
``cc = 11`` of a MIDI file, whose 0 to 127 become ``low`` to ``high``. Seconds count from the stem's start.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from render import midi, midifiles, midipart, pluginfiles
from render.breakpoints import Breakpoints
from render.errors import MidiError, Mistake, found, nearest

MAX_LANES = 64
MAX_POINTS = 10_000
LONGEST_S = midipart.LONGEST_S
KEYS = ("target", "points", "cc", "midi", "midi_track", "channel", "low", "high")
_OF_MIDI = KEYS[2:]
UNIT = ("amount", "mix")
_STEP = re.compile(r"chain\[(\d{1,4})\]((?:\.plugins\[\d{1,4}\])*)\.(?:parameters\.)?(.+)")
_TARGETS = 'amount, mix or a parameter of the chain like "chain[1].threshold_db"'
Wrong = Callable[[str, str], None]


@dataclass(frozen=True)
class Lane:
    """One table: ``line`` moves ``target``, which for the chain is ``parameter`` of the step at ``place``.

    ``line`` is in the parameter's units, or from 0 to 1 when it is a ``share`` of the way from ``low`` to ``high``,
    where None is the end of the parameter's own range. ``key`` is where the table stands.
    """

    target: str
    line: Breakpoints
    key: str
    place: tuple[int, ...] = ()
    parameter: str = ""
    share: bool = False
    low: float | None = None
    high: float | None = None


def read(
    raw: object, *, file: str, key: str, folder: Path | None, stem: Path | None, needed: bool = True
) -> tuple[tuple[Lane, ...], list[Mistake], list[str]]:
    """The lanes of ``raw`` (a list of tables), everything wrong with it, and notes.

    ``file`` and ``key`` say where it stands, and its paths resolve against ``folder``. A lane that names no MIDI file
    takes the one beside ``stem``; when there is none that is a mistake if it is ``needed``, and else a note.
    """
    mistakes: list[Mistake] = []
    notes: list[str] = []

    def wrong(where: str, message: str) -> None:
        mistakes.append(Mistake(file, where, message))

    if not isinstance(raw, Sequence) or isinstance(raw, str):
        wrong(key, f"found {found(raw)}; expected tables, each with target = {_TARGETS}")
        return (), mistakes, notes
    if len(raw) > MAX_LANES:
        wrong(key, f"found {len(raw)} tables; expected at most {MAX_LANES}")
        return (), mistakes, notes
    lanes: dict[str, Lane] = {}
    for number, entry in enumerate(raw, 1):
        lane = _lane(entry, f"{key}[{number}]", folder, stem, wrong, None if needed else notes.append)
        if lane is not None and lane.target in lanes:
            wrong(f"{lane.key}.target", f"moves {lane.target} a second time; expected each target once")
        elif lane is not None:
            lanes[lane.target] = lane
    return tuple(lanes.values()), mistakes, notes


def _lane(
    entry: object,
    key: str,
    folder: Path | None,
    stem: Path | None,
    wrong: Wrong,
    note: Callable[[str], None] | None,
) -> Lane | None:
    if not isinstance(entry, Mapping):
        wrong(key, f"found {found(entry)}; expected a table with target = {_TARGETS}")
        return None
    mistakes: list[str] = []

    def noted(where: str, message: str) -> None:
        mistakes.append(where)
        wrong(where, message)

    for name in entry:
        if name not in KEYS:
            what = f"no such key here; expected one of {', '.join(KEYS)}{nearest(str(name), KEYS)}"
            noted(f"{key}.{name}", what)
    where = target_of(entry.get("target"), f"{key}.target", noted)
    if ("points" in entry) == ("cc" in entry):
        both = "found beside cc" if "cc" in entry else "is missing"
        noted(f"{key}.points", f"{both}; expected either points = [[seconds, value], …] or cc = NUMBER")
        return None
    if where is None:
        return None
    target = str(entry["target"])
    if "points" in entry:
        for name in _OF_MIDI:
            if name in entry:
                noted(f"{key}.{name}", "found beside points; expected it with cc only")
        line = _points(entry["points"], f"{key}.points", noted)
        if line is not None and not where[0] and not (line.low >= 0 and line.high <= 1):
            worst = line.low if line.low < 0 else line.high
            noted(f"{key}.points", f"found {worst:g}; expected values from 0 to 1")
        return None if line is None or mistakes else Lane(target, line, key, *where)
    low, high = (_bound(entry, name, key, not where[0], noted) for name in ("low", "high"))
    path = _midi(entry, key, folder, stem, noted, note if not mistakes else None)
    if path is None or mistakes:
        return None
    line = _controller(entry, path, key, noted)
    return None if line is None else Lane(target, line, key, *where, share=True, low=low, high=high)


def target_of(value: object, key: str, wrong: Wrong) -> tuple[tuple[int, ...], str] | None:
    """The place of a step and its parameter; empty for ``amount`` and ``mix``."""
    if value in UNIT:
        return (), ""
    match = _STEP.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        near = nearest(value, UNIT) if isinstance(value, str) else ""
        wrong(key, f"{'is missing' if value is None else f'found {found(value)}'}; expected {_TARGETS}{near}")
        return None
    return (int(match[1]), *(int(n) for n in re.findall(r"\d+", match[2]))), match[3]


def _points(raw: object, key: str, wrong: Wrong) -> Breakpoints | None:
    if not isinstance(raw, Sequence) or isinstance(raw, str) or not raw:
        wrong(key, f"found {found(raw)}; expected points like [[0.0, 0.2], [12.5, 1.0]]: seconds and value")
        return None
    if len(raw) > MAX_POINTS:
        wrong(key, f"found {len(raw)}; expected at most {MAX_POINTS:,} points")
        return None
    before, good = 0.0, True
    for number, point in enumerate(raw, 1):
        pair = isinstance(point, Sequence) and not isinstance(point, str) and len(point) == 2
        if not pair or not all(_number(part) for part in point):
            wrong(f"{key}[{number}]", f"found {found(point)}; expected [seconds, value], two numbers")
        elif not 0 <= point[0] <= LONGEST_S:
            wrong(f"{key}[{number}]", f"found {point[0]:g} s; expected seconds from 0 to {LONGEST_S:g}")
        elif point[0] < before:
            wrong(f"{key}[{number}]", f"found {point[0]:g} s after {before:g} s; expected points in order of time")
        else:
            before = point[0]
            continue
        good = False
    return Breakpoints(tuple((float(seconds), float(value)) for seconds, value in raw)) if good else None


def _number(value: object) -> bool:
    # Nothing beyond what a float holds, and no nan.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _bound(entry: Mapping[str, Any], name: str, key: str, unit: bool, wrong: Wrong) -> float | None:
    value = entry.get(name)
    if value is None:
        return None
    if not _number(value) or (unit and not 0 <= value <= 1):
        wrong(f"{key}.{name}", f"found {found(value)}; expected a number{' from 0 to 1' if unit else ''}")
        return None
    return float(value)


def _midi(
    entry: Mapping[str, Any],
    key: str,
    folder: Path | None,
    stem: Path | None,
    wrong: Wrong,
    note: Callable[[str], None] | None,
) -> Path | None:
    value = entry.get("midi")
    if value is None:
        own = stem is not None and stem.suffix.lower() in midifiles.SUFFIXES
        path = stem if own else midifiles.beside(stem) if stem is not None else None
        if path is None and note is not None and stem is not None:
            note(f"{entry['target']} stays as it is: there is no MIDI file beside {stem.name}")
        elif path is None:
            what = "there is no MIDI file beside the stem"
            wrong(f"{key}.midi", f"is missing, and {what}; expected the path of a MIDI file")
        return path
    if not isinstance(value, str) or not value.strip():
        wrong(f"{key}.midi", f"found {found(value)}; expected the path of a MIDI file")
        return None
    path = pluginfiles.from_home(value)
    if folder is None and not path.is_absolute():
        wrong(f"{key}.midi", f"found {found(value)}; expected an absolute path here")
        return None
    return (folder or Path()) / path


def _controller(entry: Mapping[str, Any], path: Path, key: str, wrong: Wrong) -> Breakpoints | None:
    controller, track, channel = entry["cc"], entry.get("midi_track"), entry.get("channel")
    good = True
    for name, value, kinds, expected in (
        ("cc", controller, int | str, f"a number from 0 to 127 or one of {', '.join(midipart.CONTROLLERS)}"),
        ("midi_track", track, int | str | None, "a track's name, or its number from 1"),
        ("channel", channel, int | None, "a number from 1 to 16"),
    ):
        if isinstance(value, bool) or not isinstance(value, kinds):
            wrong(f"{key}.{name}", f"found {found(value)}; expected {expected}")
            good = False
    if not good:
        return None
    place = "midi"
    try:
        score = midi.read(path)
        place = "cc" if track is None and channel is None else "midi_track" if channel is None else "channel"
        return midipart.lane(score, controller, track=track, channel=channel)
    except MidiError as error:
        wrong(f"{key}.{place}", str(error))
        return None
