"""A chain as the user writes it, turned into steps whose every name, type and range has been checked.

Nothing here loads pedalboard: `render.host` plays a chain, this says whether it can be played.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.errors import AudioError
from render import external, pluginfiles
from render.breakpoints import Breakpoints
from render.errors import Mistake, found, nearest
from render.external import External
from render.plugins import PLUGINS, Parameter, Plugin, Value

MAX_STEPS = 64
MAX_DEPTH = 8
_STEREO_ONLY = "plays two channels only: one that is alone goes through both, and comes back as their mean"


@dataclass(frozen=True)
class Step:
    """One plugin with a value for each of its parameters; ``inner`` are the plugins that a container holds.

    A plugin file is ``external``, and its ``plugin`` only says its name. ``lines`` are of parameters that move while
    it plays, each by its name in the chain.
    """

    plugin: Plugin
    values: Mapping[str, Value]
    inner: tuple["Step", ...] = ()
    external: External | None = None
    lines: Mapping[str, Breakpoints] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """The step as JSON."""
        moving = {"automation": {name: line.told for name, line in self.lines.items()}} if self.lines else {}
        if self.external is not None:
            return self.external.record() | moving
        record: dict[str, Any] = {"plugin": self.plugin.name, **self.values, **moving}
        return record | ({"plugins": [s.record() for s in self.inner]} if self.plugin.container else {})


Chain = tuple[Step, ...]


def parse(raw: object, *, file: str, key: str, folder: Path | None) -> tuple[Chain, list[Mistake]]:
    """The steps of ``raw`` (a list of tables) and everything wrong with it.

    ``file`` and ``key`` say where ``raw`` stands. Paths in it resolve against ``folder``; with None (a chain from
    a preset, which has no folder of its own) they must be absolute.
    """
    reader = _Reader(file, folder)
    return reader.steps(raw, key, 0), reader.mistakes


def walk(chain: Chain) -> Iterator[Step]:
    """Every step of ``chain``, the ones inside containers too."""
    for step in chain:
        yield step
        yield from walk(step.inner)


def files(chain: Chain) -> list[Path]:
    """The files that ``chain`` reads: impulse responses, and states of plugins."""
    read = [Path(str(step.values[p.name])) for step in walk(chain) for p in step.plugin.parameters if p.kind == "file"]
    return read + [s.external.preset_file for s in walk(chain) if s.external and s.external.preset_file]


def notes(chain: Chain, *, channels: int | None = None) -> list[str]:
    """What the user of ``chain`` might not expect of its plugins, on a stem of ``channels`` when that is known."""
    found = [f"{step.plugin.name} {step.plugin.note}" for step in walk(chain) if step.plugin.note]
    if channels is not None:
        outside = [step.external for step in walk(chain) if step.external is not None]
        doubled = [it.plugin.name for it in outside if it.width(channels) not in (1, channels)]
        found += [f"{name} {_STEREO_ONLY}" for name in doubled]
    return list(dict.fromkeys(found))


def misfits(chain: Chain, *, rate: int, channels: int) -> list[str]:
    """Why ``chain`` cannot be played on a stem of ``channels`` channels at ``rate`` Hz, a line for each reason."""
    reasons = []
    for step in walk(chain):
        name = step.plugin.name
        if step.external is not None and step.external.width(channels) is None:
            widths = ", ".join(str(width) for width in step.external.plugin.widths) or "no"
            reasons.append(f"{name} plays {widths} channels, and the stem has {channels}; leave it out")
        if step.plugin.rates_hz and rate not in step.plugin.rates_hz:
            known = ", ".join(str(r) for r in step.plugin.rates_hz)
            reasons.append(f"{name} works at {known} Hz only, and the stem is at {rate} Hz; leave it out")
        for parameter in step.plugin.parameters:
            value = step.values[parameter.name]
            line = step.lines.get(parameter.name)
            highest = float(value) if parameter.below_nyquist and line is None else line.high if line else 0.0
            if parameter.below_nyquist and highest >= rate / 2:
                reasons.append(
                    f"{name}.{parameter.name} is {highest:g} Hz; "
                    f"expected below {rate / 2:g} Hz, half the rate of the stem"
                )
            if parameter.kind == "file":
                reasons += _channel_misfit(name, Path(str(value)), channels)
    return reasons


def _channel_misfit(name: str, path: Path, channels: int) -> list[str]:
    from engine import audio

    try:
        there = audio.probe(path).channels
    except AudioError as error:
        return [f"{name}: {error}"]
    if there == 1 or there == channels == 2:
        return []
    expected = "1 channel, or 2 like the stem" if channels == 2 else "1 channel"
    return [f"{name}: the impulse response {path.name} has {there} channels; expected {expected}"]


class _Reader:
    """Collects mistakes while it reads the tables of one chain."""

    def __init__(self, file: str, folder: Path | None) -> None:
        self.file = file
        self.folder = folder
        self.mistakes: list[Mistake] = []
        self.count = 0

    def wrong(self, key: str, message: str) -> None:
        self.mistakes.append(Mistake(self.file, key, message))

    def steps(self, raw: object, key: str, depth: int) -> Chain:
        if not isinstance(raw, Sequence) or isinstance(raw, str):
            self.wrong(key, f'found {found(raw)}; expected a list of tables, each with plugin = "NAME"')
            return ()
        if depth > MAX_DEPTH:
            self.wrong(key, f"nested more than {MAX_DEPTH} deep; expected fewer chains within chains")
            return ()
        self.count += len(raw)
        if self.count > MAX_STEPS:
            self.wrong(key, f"found {self.count} plugins; expected at most {MAX_STEPS}")
            return ()
        steps = (self.step(entry, f"{key}[{i}]", depth) for i, entry in enumerate(raw, 1))
        return tuple(step for step in steps if step is not None)

    def step(self, entry: object, key: str, depth: int) -> Step | None:
        if not isinstance(entry, Mapping):
            self.wrong(key, f'found {found(entry)}; expected a table with plugin = "NAME"')
            return None
        name = entry.get("plugin")
        if isinstance(name, str) and name not in PLUGINS:
            return self.external(entry, key)
        plugin = self.plugin(entry, key)
        if plugin is None:
            return None
        before = len(self.mistakes)
        allowed = ["plugin", *(["plugins"] if plugin.container else []), *(p.name for p in plugin.parameters)]
        for name in entry:
            if name not in allowed:
                self.wrong(
                    f"{key}.{name}",
                    f"{plugin.name} has no such parameter; expected one of {', '.join(allowed[1:]) or 'none'}"
                    f"{nearest(str(name), allowed)}",
                )
        values = {p.name: self.value(p, entry, f"{key}.{p.name}", plugin) for p in plugin.parameters}
        inner = self.steps(entry.get("plugins"), f"{key}.plugins", depth + 1) if plugin.container else ()
        if plugin.container and entry.get("plugins") == []:
            self.wrong(f"{key}.plugins", "is empty; expected at least one plugin")
        if len(self.mistakes) > before:
            return None
        return Step(plugin, {name: value for name, value in values.items() if value is not None}, inner)

    def plugin(self, entry: Mapping[str, Any], key: str) -> Plugin | None:
        name = entry.get("plugin")
        if not isinstance(name, str):
            what = "no plugin is named" if name is None else f"found {found(name)}"
            self.wrong(f"{key}.plugin", f"{what}; expected one of {', '.join(PLUGINS)}")
            return None
        return PLUGINS[name]

    def external(self, entry: Mapping[str, Any], key: str) -> Step | None:
        step = external.read(entry, key, folder=self.folder, wrong=self.wrong)
        if step is None:
            return None
        if step.preset_file is not None:
            from render import hosting

            # What a state holds only the plugin knows.
            refusal = hosting.trial(step)
            if refusal is not None:
                self.wrong(f"{key}.preset_file", refusal)
                return None
        return Step(Plugin(step.plugin.name, "", step.plugin.category), step.values, external=step)

    def value(self, parameter: Parameter, entry: Mapping[str, Any], key: str, plugin: Plugin) -> Value | None:
        if parameter.name not in entry:
            if parameter.default is None:
                self.wrong(key, f"{plugin.name} needs it; expected {parameter.allowed}")
            return parameter.default
        value = entry[parameter.name]
        result: Value | None = None
        if parameter.kind == "flag" and isinstance(value, bool):
            result = value
        elif parameter.kind == "number" and _in_range(parameter, value):
            result = float(value)
        elif parameter.kind == "choice" and isinstance(value, str) and value in parameter.choices:
            result = value
        elif parameter.kind == "file" and isinstance(value, str):
            return self.audio_file(value, key)
        if result is None:
            near = nearest(value, parameter.choices) if isinstance(value, str) else ""
            self.wrong(key, f"found {found(value)}; expected {parameter.allowed}{near}")
        return result

    def audio_file(self, value: str, key: str) -> Value | None:
        from engine import audio

        path = pluginfiles.from_home(value)
        if self.folder is None and not path.is_absolute():
            self.wrong(key, f"found {found(value)}; expected an absolute path, since a preset's chain has no folder")
            return None
        path = (self.folder or Path()) / path
        try:
            audio.probe(path)
        except AudioError as error:
            self.wrong(key, str(error))
            return None
        return str(path)


def _in_range(parameter: Parameter, value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and parameter.holds(value)
