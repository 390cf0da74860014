"""What changes with time in the render of a stem: which lanes hold, and the chain with those of its parameters.

The first layer that says something of `amount` or `mix` holds, be it a number or a lane. Lanes of the chain move the
steps that were written beside them. A MIDI file beside the stem may have lanes too (`beside`), which come last.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from engine.settings import Settings
from render import lanes as tables
from render import midi, midifiles, midipart
from render.breakpoints import Breakpoints
from render.chain import Chain, Step
from render.choices import Layer
from render.dials import Dial
from render.errors import InputError, MidiError, Mistake, nearest
from render.lanes import Lane
from render.plugins import Parameter

if TYPE_CHECKING:
    from render.plan import Job

J = TypeVar("J", bound="Job")
Wrong = Callable[[str, str], None]
_NAMED = re.compile(r"gramophone\s*[: ]\s*(\S.*)", re.IGNORECASE)


def beside(stem: Path) -> tuple[tuple[Lane, ...], list[str]]:
    """The lanes in the MIDI file with the name of ``stem`` in its folder, and notes.

    They are tracks whose names say what they move, ``gramophone: amount`` or ``gramophone: chain[1].gain_db``, by the
    one controller that each of them uses. Nobody asked for them, so what is wrong with one is a note.
    """
    path = stem if stem.suffix.lower() in midifiles.SUFFIXES else midifiles.beside(stem)
    if path is None:
        return (), []
    try:
        score = midi.read(path)
    except MidiError:  # who reads its tempo says so
        return (), []
    lanes: dict[str, Lane] = {}
    notes: list[str] = []
    for track in score.tracks:
        named = _NAMED.fullmatch(track.name.strip())
        if named is None:
            continue
        problems: list[str] = []
        used = {e.message.control for e in track.events if e.message.type == "control_change"}
        where = tables.target_of(named[1], "", lambda _, message, to=problems: to.append(message))  # type: ignore[misc]
        if where is not None and len(used) != 1:
            problems.append(f"uses {len(used)} controllers; expected one")
        if where is None or problems:
            notes += [f"no automation from track {track} of {path.name}: {problem}" for problem in problems]
            continue
        line = midipart.lane(score, used.pop(), track=track.number)
        lanes.setdefault(named[1], Lane(named[1], line, f"track {track} of {path.name}", *where, share=True))
    return tuple(lanes.values()), notes


def onto(chain: Chain, lanes: Iterable[Lane], file: str = "") -> tuple[Chain, list[Mistake]]:
    """``chain`` with those of ``lanes`` that move its parameters, and everything wrong with them."""
    mistakes: list[Mistake] = []
    for lane in lanes:
        if lane.place:
            chain = _with(chain, lane, lane.place, "chain", lambda k, text: mistakes.append(Mistake(file, k, text)))
    return chain, mistakes


def of(lanes: Iterable[Lane], target: str) -> Breakpoints | None:
    """The line of ``amount`` or ``mix``, if one of ``lanes`` moves it."""
    return next((_scaled(lane, 0.0, 1.0) for lane in lanes if lane.target == target), None)


@dataclass(frozen=True)
class Decided:
    """What moves in the render of one stem, ``chain`` with the lines of its parameters, and what there is to say."""

    amount: Breakpoints | None
    mix: Breakpoints | None
    chain: Chain
    notes: tuple[str, ...] = ()
    mistakes: tuple[Mistake, ...] = ()

    def settled(self, settings: Settings) -> Settings:
        """``settings`` of the engine for what moves: the highest amount, and all of the style where ``mix`` moves."""
        if self.amount is not None:
            settings = replace(settings, amount=self.amount.high)
        return settings if self.mix is None else replace(settings, mix=1.0 if self.mix.high > 0 else 0.0)


def decide(
    layers: Sequence[Layer], parts: Sequence[tuple[str | None, Chain]], stem: Path, *, replaced: bool = False
) -> Decided:
    """What moves in the render of ``stem``, by the first of ``layers`` that says so, or by the MIDI file beside it.

    ``parts`` of the chain come with the prefix of the layer that wrote them; None is a chain that is anybody's, as a
    preset's. ``replaced`` says that they are others than the layers were written for, whose parameters then stay.
    """
    mistakes: list[Mistake] = []
    notes: list[str] = []
    own: dict[str, tuple[Lane, ...]] = {}
    for layer in layers:
        raw = layer.choices.automation
        if raw is not None:
            needed = not layer.is_command_line and layer.prefix != "album"
            key = "automation" if layer.is_command_line else layer.key("automation")
            lanes, wrong, told = tables.read(raw, file=layer.file, key=key, folder=layer.base, stem=stem, needed=needed)
            own[layer.prefix] = lanes
            mistakes += wrong
            notes += told
    free, told = beside(stem)
    notes += told
    lines: dict[str, Breakpoints | None] = {}
    for target in tables.UNIT:
        lines[target] = None
        for layer in layers:
            chosen, line = getattr(layer.choices, target), of(own.get(layer.prefix, ()), target)
            if chosen is not None and line is not None and not layer.is_command_line:
                message = f"found beside {target} = {chosen:g}; expected one of the two"
                mistakes.append(Mistake(layer.file, layer.key("automation"), message))
            if line is not None or chosen is not None:
                lines[target] = line
                break
        else:
            lines[target] = of(free, target)
    chain: Chain = ()
    taken: set[str] = set()
    for owner, part in parts:
        for layer in layers:
            lanes = own.get(layer.prefix, ())
            if lanes and not replaced and owner in (layer.prefix, None):
                lanes = tuple(lane for lane in lanes if lane.target not in taken)
                part, wrong = onto(part, lanes, layer.file)
                mistakes += wrong
                taken |= {lane.target for lane in lanes if owner is None}
        chain += part
    if parts and not replaced:
        owners = {owner for owner, _ in parts}
        for layer in layers:
            astray = [lane for lane in own.get(layer.prefix, ()) if lane.place]
            if astray and not owners & {layer.prefix, None} and layer.prefix != "album":
                message = f"{layer.prefix} has no chain of its own; write it under [album] for the album's chain"
                mistakes += [Mistake(layer.file, f"{lane.key}.target", message) for lane in astray]
    for lane in free:
        if lane.place:
            moved, wrong = onto(chain, [lane])
            chain = chain if wrong else moved
            notes += [f"no automation from {lane.key}: {mistake.message}" for mistake in wrong]
    return Decided(lines["amount"], lines["mix"], chain, tuple(notes), tuple(mistakes))


def applied(job: J, layers: Sequence[Layer]) -> J:
    """``job`` with what moves in it by ``layers`` or by the MIDI file beside its stem: for folders that are watched.

    Raises `InputError` with every mistake in the layers' automation.
    """
    decided = decide(layers, ((None, job.chain),), job.stem)
    if decided.mistakes:
        raise InputError(list(decided.mistakes))
    return replace(
        job,
        settings=decided.settled(job.settings),
        chain=decided.chain,
        amount_line=decided.amount,
        mix_line=decided.mix,
        notes=(*job.notes, *decided.notes),
    )


def _with(chain: Chain, lane: Lane, place: Sequence[int], said: str, wrong: Wrong) -> Chain:
    """``chain`` with ``lane`` on the step at ``place``; as it is after ``wrong``."""
    number = place[0]
    if not 1 <= number <= len(chain):
        there = ", ".join(f"{i} is {step.plugin.name}" for i, step in enumerate(chain, 1))
        message = f"{said}[{number}] is not there; expected 1 to {len(chain)}: {there}" if chain else f"{said} is empty"
        wrong(f"{lane.key}.target", message)
        return chain
    step = chain[number - 1]
    if len(place) > 1:
        inner = _with(step.inner, lane, place[1:], f"{said}[{number}].plugins", wrong)
        changed = replace(step, inner=inner)
    else:
        changed = _moving(step, lane, wrong)
    return (*chain[: number - 1], changed, *chain[number:])


def _moving(step: Step, lane: Lane, wrong: Wrong) -> Step:
    here = f"{lane.key}.target"
    outside = step.external.plugin if step.external is not None else None
    dial: Dial | Parameter | None = outside.dial(lane.parameter) if outside else step.plugin.parameter(lane.parameter)
    known = {one.name: one.moves for one in (outside or step.plugin).parameters}
    if dial is None or not dial.moves:
        free = [name for name, moves in known.items() if moves]
        what = "has no such parameter" if dial is None else f"has {dial.name}, which cannot move while it plays"
        shown = ", ".join(free[:40]) + (f" and {len(free) - 40} more" if len(free) > 40 else "")
        wrong(here, f"{step.plugin.name} {what}; expected one of {shown or 'none'}{nearest(lane.parameter, free)}")
        return step
    if dial.name in step.lines:
        wrong(here, f"moves {dial.name} a second time; expected each target once")
        return step
    line = _scaled(lane, dial.low, dial.high)
    for value in (line.low, line.high):
        if not dial.holds(value):
            allowed = "a number from 0 (off) to 1 (on)" if dial.kind == "flag" else dial.allowed
            bound = "points" if not lane.share else "low" if value == line.low else "high"
            wrong(f"{lane.key}.{bound}", f"found {value:g}; expected {allowed}")
            return step
    return replace(step, lines={**step.lines, dial.name: line})


def _scaled(lane: Lane, low: float, high: float) -> Breakpoints:
    if not lane.share:
        return lane.line
    low, high = low if lane.low is None else lane.low, high if lane.high is None else lane.high
    return Breakpoints(tuple((seconds, low + (high - low) * value) for seconds, value in lane.line.points))
