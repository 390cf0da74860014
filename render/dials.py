"""A plugin's parameters in its own units, read from and set through the texts that it shows for them.

VST3 and Audio Units know a parameter as a number from 0 to 1 and as a text ("-6.0 dB"); what that number means only the
text tells. So a parameter is asked for its texts at a few places (a thousand where those are no numbers), and a value
is set by the plugin's own reading of it where that reads back right, otherwise by bisection of the texts.

pedalboard does alike, but asks every parameter for a thousand texts when a plugin is loaded, and where these do not
differ it sets the parameter a thousand times: that took 44 s for a reverb with a single program, and changed its state.
"""

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

Setting = float | str | bool

# What plugins show although it is not theirs to set: MIDI controllers as parameters, thousands of them, and what the
# framework DPF tells of its host.
_PSEUDO = re.compile(r"MIDI (Ch\. ?\d+ )?CC ?\d|P\d\d\d$")
_FRAMES = ("Buffer Size", "Sample Rate", "Latency")
_NUMBER = re.compile(r"([+\-−]?(?:\d+(?:[.,]\d+)?|[.,]\d+|inf|∞)(?:e[+-]?\d+)?)\s*(.*)", re.IGNORECASE | re.DOTALL)
_FAMILIES: Sequence[tuple[str, Mapping[str, float]]] = (
    ("Hz", {"hz": 1, "khz": 1000}),
    ("ms", {"us": 0.001, "µs": 0.001, "ms": 1, "s": 1000, "sec": 1000}),
)
_ON, _OFF = ("on", "yes", "true", "enabled", "1"), ("off", "no", "false", "disabled", "0")
# What frameworks call the parameter of programs: DPF, JUCE, iPlug.
_PROGRAM = frozenset({"program", "current_program", "preset"})
_FEW, _MANY, _STEPS, _WORDS, _CHOICES = 33, 1001, 128, 4, 256
# Places asked for on the way from one value to another; between them a frequency on a logarithmic dial is 0.1 % off.
_WAY = 129


class Parameter(Protocol):
    """What is asked of pedalboard's own parameter objects."""

    name: str
    label: str
    raw_value: float

    @property
    def string_value(self) -> str:
        """The text at the present value."""

    @property
    def num_steps(self) -> int:
        """How many values there are; huge when they are continuous."""

    @property
    def is_automatable(self) -> bool:
        """Whether it may change while it plays."""

    def get_text_for_raw_value(self, raw_value: float) -> str:
        """The text at another value."""

    def get_raw_value_for_text(self, text: str) -> float:
        """The value that the plugin reads in a text."""


@dataclass(frozen=True)
class Dial:
    """A parameter as a chain may set it.

    ``kind`` is ``number`` (from ``low`` to ``high`` in ``unit``, one of ``steps`` where these are few, or one of
    ``words``), ``choice`` (one of ``words``), ``flag``, or ``raw`` where the plugin's texts say nothing: 0 to 1.
    ``title`` is the plugin's own name for it, and ``value`` what it was when the plugin was loaded.
    """

    name: str
    title: str
    kind: str
    low: float = 0.0
    high: float = 1.0
    unit: str = ""
    steps: tuple[float, ...] = ()
    words: tuple[str, ...] = ()
    value: Setting = 0.0
    automatable: bool = True

    @property
    def allowed(self) -> str:
        """What the parameter takes, in words."""
        if self.kind == "flag":
            return "true or false"
        if self.kind == "choice":
            return f"one of {', '.join(self.words)}"
        if self.steps and len(self.steps) <= 16:
            number = f"one of {', '.join(f'{step:g}' for step in self.steps)} {self.unit}".rstrip()
        else:
            number = f"a number from {self.low:g} to {self.high:g} {self.unit}".rstrip()
            number += f" in steps ({len(self.steps)} of them)" if self.steps else ""
        return number + (f", or {', '.join(self.words)}" if self.words else "")

    @property
    def programs(self) -> bool:
        """Whether it chooses among the plugin's programs, see `chooses_program`."""
        return snake(self.title) in _PROGRAM and (self.kind == "choice" or bool(self.steps))

    @property
    def moves(self) -> bool:
        """Whether it can be moved while it plays: a number or a switch, and the plugin allows it."""
        return self.automatable and self.kind != "choice"

    def holds(self, value: float) -> bool:
        """Whether it can be moved through the number ``value``; a switch is on from one half up."""
        slack = 1e-6 * max(abs(self.low), abs(self.high), 1e-9)
        return self.low - slack <= value <= self.high + slack

    def takes(self, value: object) -> bool:
        """Whether ``value`` can be set."""
        if self.kind == "flag":
            return isinstance(value, bool) or (isinstance(value, int | float) and value in (0, 1))
        if isinstance(value, str):
            return value in self.words
        if isinstance(value, bool) or not isinstance(value, int | float) or self.kind == "choice":
            return False
        slack = 1e-6 * max(abs(self.low), abs(self.high), 1e-9)
        if self.steps:
            apart = min((b - a for a, b in zip(self.steps, self.steps[1:], strict=False)), default=1.0)
            return min(abs(step - value) for step in self.steps) <= 0.02 * apart + slack
        return self.low - slack <= value <= self.high + slack


def names(parameters: Iterable[Parameter]) -> list[tuple[str, Parameter]]:
    """A name for each parameter that is a plugin's own: its title and unit in snake case, numbered where not unique."""
    found: dict[str, Parameter] = {}
    for parameter in parameters:
        if _PSEUDO.match(parameter.name) or (parameter.name in _FRAMES and parameter.label == "frames"):
            continue
        plain = snake(parameter.name, parameter.label)
        name, number = plain, 2
        while name in found:
            name, number = f"{plain}_{number}", number + 1
        found[name] = parameter
    return [(name, parameter) for name, parameter in found.items() if name]


def snake(title: str, unit: str = "") -> str:
    """``title`` and ``unit`` as one name: ("Output Ceiling", "dB") is output_ceiling_db.

    >>> snake("Output Ceiling", "dB")
    'output_ceiling_db'
    """
    text = title if not unit.strip() or unit.startswith(":") else f"{title} {unit}"
    text = text.lower().replace("#", " sharp").replace("♯", " sharp").replace("♭", " flat")
    return re.sub(r"[^a-z0-9]+", "_", text).strip("_")


def chooses_program(parameter: Parameter) -> bool:
    """Whether ``parameter`` is the one that chooses among a plugin's programs, as VST3 has it instead of MIDI's."""
    return snake(parameter.name) in _PROGRAM and 2 <= parameter.num_steps <= _STEPS


def turn_program(parameter: Parameter, number: int) -> None:
    """Choose program ``number``, from 0, where there are so many; else nothing changes."""
    if number < parameter.num_steps:
        parameter.raw_value = number / (parameter.num_steps - 1)


def describe(name: str, parameter: Parameter) -> Dial | None:
    """What ``parameter`` takes; None when it has one value only, so that nothing can be set."""
    label = parameter.label.strip()
    count = parameter.num_steps
    stepped = 2 <= count <= _STEPS
    places = _even(count if stepped else _FEW)
    texts = _texts(parameter, places)
    scale = _scale(texts)
    if scale is None and not stepped:
        places = _even(_MANY)
        texts = _texts(parameter, places)
        scale = _scale(texts)
    plain = Dial(name, parameter.name, "raw", value=float(parameter.raw_value), automatable=parameter.is_automatable)
    distinct = list(dict.fromkeys(texts))
    if len(distinct) < 2:
        # The texts do not follow a value that is not set; whether anything does is found by setting it.
        return plain if _moves(parameter) else None
    now = parameter.string_value.strip()
    if len(distinct) == 2 and _switch(distinct) is not None:
        return replace(plain, kind="flag", value=now == _switch(distinct))
    if scale is None:
        if len(distinct) > _CHOICES:
            return plain
        return replace(plain, kind="choice", words=tuple(distinct), value=now)
    read = [value for text in texts if (value := scale(text)) is not None]
    finite = [value for value in read if abs(value) != float("inf")]
    words = tuple(text for text in distinct if scale(text) is None or abs(scale(text) or 0.0) == float("inf"))
    value = scale(now)
    return replace(
        plain,
        kind="number",
        low=min(finite),
        high=max(finite),
        unit=scale.unit or label,
        steps=tuple(sorted(set(finite))) if stepped else (),
        words=words,
        value=now if value is None or abs(value) == float("inf") else value,
    )


def turn(dial: Dial, parameter: Parameter, value: Setting) -> None:
    """Set ``parameter``, which ``dial`` describes, to ``value`` and read it back; `ValueError` when it is not taken."""
    parameter.raw_value = raw = raw_for(dial, parameter, value)
    if dial.kind == "raw":
        return
    if abs(parameter.raw_value - raw) > 1e-3:
        raise ValueError(f"{dial.name} does not stay at {shown(value)}; it went to {parameter.string_value}")


def raw_for(dial: Dial, parameter: Parameter, value: Setting) -> float:
    """The number from 0 to 1 at which ``parameter`` is ``value``; `ValueError` when there is none."""
    if dial.kind == "raw":
        return float(value)
    stepped = 2 <= parameter.num_steps <= _STEPS
    if dial.kind == "flag" or isinstance(value, str):
        places = _even(parameter.num_steps if stepped else _MANY)
        texts = _texts(parameter, places)
        wanted = str(value).strip() if isinstance(value, str) else None
        if wanted is None:
            on = _switch(list(dict.fromkeys(texts)))
            fit = [place for place, text in zip(places, texts, strict=True) if (text == on) == bool(value)]
        else:
            fit = [place for place, text in zip(places, texts, strict=True) if text == wanted]
        if not fit:
            raise ValueError(f"{dial.name} has no {shown(value)}")
        # The bounds of 0 and 1 are meant as such; a choice in between is surest in the middle of its own.
        return fit[0] if fit[0] == 0 else fit[-1] if fit[-1] == 1 else fit[len(fit) // 2]
    return _number_raw(dial, parameter, float(value), stepped)


@dataclass(frozen=True)
class Way:
    """Where a parameter is, from 0 to 1, at each of some values; between them on a straight line, or at the nearest."""

    values: tuple[float, ...]
    places: tuple[float, ...]
    stepped: bool

    def raws(self, values: Iterable[float]) -> list[float]:
        """The places of ``values``."""
        return [self._place(value) for value in values]

    def _place(self, value: float) -> float:
        k = bisect_left(self.values, value)
        if k == 0 or k == len(self.values):
            return self.places[min(k, len(self.values) - 1)]
        low, high = self.values[k - 1], self.values[k]
        share = (value - low) / (high - low)
        if self.stepped:
            return self.places[k if share >= 0.5 else k - 1]
        return self.places[k - 1] + share * (self.places[k] - self.places[k - 1])


def way(dial: Dial, parameter: Parameter, low: float, high: float) -> Way:
    """How ``parameter`` goes from ``low`` to ``high`` in the units of its ``dial``, which `Dial.moves` says it can."""
    if dial.kind == "flag":
        return Way((0.0, 1.0), (raw_for(dial, parameter, False), raw_for(dial, parameter, True)), stepped=True)
    if dial.steps:
        return Way(dial.steps, tuple(raw_for(dial, parameter, step) for step in dial.steps), stepped=True)
    count = 1 if high <= low else 2 if dial.kind == "raw" else _WAY
    values = tuple(low + (high - low) * k / max(count - 1, 1) for k in range(count))
    return Way(values, tuple(raw_for(dial, parameter, value) for value in values), stepped=False)


def _number_raw(dial: Dial, parameter: Parameter, value: float, stepped: bool) -> float:
    places = _even(parameter.num_steps if stepped else _FEW)
    scale = _scale(_texts(parameter, places)) or _scale(_texts(parameter, _even(_MANY)))
    if scale is None:
        raise ValueError(f"{dial.name} shows no numbers any more")

    def off(raw: float) -> float:
        read = scale(parameter.get_text_for_raw_value(raw).strip())
        return abs(read - value) if read is not None else float("inf")

    # A step beyond what a text shows is not seen, so what the plugin reads in the value itself comes first.
    own = parameter.get_raw_value_for_text(f"{value:.9g}")
    candidates = [own] if 0 <= own <= 1 else []
    candidates += places if stepped else [_bisected(lambda raw: scale(parameter.get_text_for_raw_value(raw)), value)]
    best = min(candidates, key=off)
    # 32-bit floats as texts are good to a millionth; a coarser text is good to its last digit, and most show two.
    if off(best) > 0.01 * max(dial.high - dial.low, 1e-9):
        raise ValueError(f"{dial.name} has no {shown(value)}; the nearest is {parameter.get_text_for_raw_value(best)}")
    return best


def _bisected(read: Callable[[float], float | None], value: float) -> float:
    """The middle of the places where ``read``, which rises or falls all along, is ``value``."""
    ends = [found for raw in (0.02, 0.98) if (found := read(raw)) is not None]
    rises = len(ends) < 2 or ends[1] >= ends[0]

    def edge(beyond: Callable[[float], bool]) -> float:
        low, high = 0.0, 1.0
        for _ in range(40):
            middle = (low + high) / 2
            found = read(middle)
            # Words stand at one end: below the numbers when the value is in the upper half.
            above = found is None and middle > 0.5 if found is None else beyond(found)
            low, high = (low, middle) if above else (middle, high)
        return (low + high) / 2

    first = edge(lambda found: found >= value if rises else found <= value)
    last = edge(lambda found: found > value if rises else found < value)
    return (first + last) / 2


def shown(value: Setting) -> str:
    """``value`` as a user would write it."""
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, str) else f"{value:g}"


class _Scale:
    """Reads the numbers in texts that all show one unit, or units of one family, and None in other words."""

    def __init__(self, unit: str, factors: Mapping[str, float]) -> None:
        self.unit = unit
        self._factors = factors

    def __call__(self, text: str) -> float | None:
        number, suffix = _split(text)
        factor = self._factors.get(suffix.casefold())
        return None if number is None or factor is None else number * factor


def _scale(texts: Sequence[str]) -> _Scale | None:
    """How numbers are read in ``texts``; None when these are words, or numbers of things that do not compare."""
    split = [_split(text) for text in dict.fromkeys(texts)]
    numbers = {number for number, _ in split if number is not None}
    words = sum(number is None for number, _ in split)
    suffixes = {suffix for number, suffix in split if number is not None and abs(number) != float("inf")}
    # A word or two at the end of a range, as in "Off, 20 Hz ... 20 kHz", leave it a number.
    if len(numbers) < 2 or words > _WORDS or words >= len(numbers):
        return None
    folded = {suffix.casefold() for suffix in suffixes}
    if len(folded) == 1:
        return _Scale(suffixes.pop(), dict.fromkeys([*folded, ""], 1.0))
    for unit, factors in _FAMILIES:
        if folded <= factors.keys():
            return _Scale(unit, factors)
    return None


def _split(text: str) -> tuple[float | None, str]:
    match = _NUMBER.fullmatch(text.strip())
    if match is None:
        return None, ""
    number = match[1].replace(",", ".").replace("−", "-").replace("∞", "inf")
    return float(number), match[2].strip()


def _switch(texts: Sequence[str]) -> str | None:
    """Which of two texts means on, or None when they are no off and on."""
    meant = {_plain(text): text for text in texts}
    on, off = meant.keys() & set(_ON), meant.keys() & set(_OFF)
    return meant[on.pop()] if len(on) == len(off) == 1 else None


def _plain(text: str) -> str:
    number, suffix = _split(text)
    return f"{number:g}" if number is not None and not suffix else text.strip().casefold()


def _even(count: int) -> list[float]:
    return [i / (count - 1) for i in range(count)]


def _texts(parameter: Parameter, places: Iterable[float]) -> list[str]:
    return [parameter.get_text_for_raw_value(place).strip() for place in places]


def _moves(parameter: Parameter) -> bool:
    before = parameter.raw_value
    texts = set()
    for raw in (0.0, 0.5, 1.0):
        parameter.raw_value = raw
        texts.add(parameter.string_value)
    parameter.raw_value = before
    return len(texts) > 1


def as_json(dial: Dial) -> dict[str, Any]:
    """``dial`` as JSON."""
    return {**dial.__dict__, "steps": list(dial.steps), "words": list(dial.words)}


def of_json(record: Mapping[str, Any]) -> Dial:
    """The dial of a record that `as_json` made; `TypeError` or `KeyError` when it is another."""
    return Dial(**{**record, "steps": tuple(record["steps"]), "words": tuple(record["words"])})
