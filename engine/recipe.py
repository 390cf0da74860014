"""What a recipe is: data that names its parts.  Nothing here imports torch.

A recipe is a file in `engine.cookbook` with one ``RECIPE``, and its name in the list of `engine.recipes`:

>>> RECIPE = Recipe(
...     name="echoes",
...     title="Random filters of five frames",
...     source="an example",
...     use="showing how a recipe is written",
...     params={"filters": Whole(64, 1, 4096, "random filters"), "alpha": Real(0.01, 0, 1000, "weight of the stem")},
...     terms=(
...         Term(Part("log-magnitude"), Part("random", filters=Given("filters"), width=5), Part("gram")),
...         Term(
...             Part("log-magnitude"),
...             Part("random", filters=Given("filters"), width=5),
...             Part("squares"),
...             weight=Given("alpha"),
...             of="stem",
...         ),
...     ),
...     solver=Part("waveform", iterations=60),
... )
>>> RECIPE.parts[0]
'style: log-magnitude → random (filters=64, width=5) → gram'

Every name is looked up in `engine.parts.names`: representations, features, statistics, keepers, solvers, renderings and
guards.  A value written `Given` is the parameter of that name, which a preset is learnt with.
"""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.errors import RecipeError


@dataclass(frozen=True)
class Given:
    """The value of the recipe's parameter ``name``, multiplied by ``times`` where it is a number."""

    name: str
    times: float = 1.0

    def value(self, params: Mapping[str, Any]) -> Any:
        """What it stands for among ``params``."""
        return params[self.name] if self.times == 1 else params[self.name] * self.times


class Part:
    """A part by ``name`` with its ``options``: plain values, `Given` parameters, or parts of its own."""

    def __init__(self, name: str, **options: Any) -> None:
        self.name, self.options = name, options

    def __repr__(self) -> str:
        return f"Part({', '.join([repr(self.name), *(f'{k}={v!r}' for k, v in self.options.items())])})"

    def told(self, params: Mapping[str, Any]) -> str:
        """The part in words, parameters by their values."""
        options = [f"{key}={_told(value, params)}" for key, value in self.options.items()]
        return f"{self.name} ({', '.join(options)})" if options else self.name


def _told(value: Any, params: Mapping[str, Any]) -> str:
    if isinstance(value, Part):
        return value.told(params)
    return str(value.value(params) if isinstance(value, Given) else value)


@dataclass(frozen=True)
class Whole:
    """A parameter that is a whole number from ``low`` to ``high``."""

    default: int
    low: int
    high: int
    about: str

    def check(self, name: str, value: Any) -> int:
        """``value``, or a `RecipeError` that says what was expected."""
        if isinstance(value, bool) or not isinstance(value, int) or not self.low <= value <= self.high:
            raise RecipeError(f"{name} is {value!r}; expected a whole number from {self.low} to {self.high}")
        return value


@dataclass(frozen=True)
class Real:
    """A parameter that is a number from ``low`` to ``high``."""

    default: float
    low: float
    high: float
    about: str

    def check(self, name: str, value: Any) -> float:
        """``value``, or a `RecipeError` that says what was expected."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.low <= value <= self.high:
            raise RecipeError(f"{name} is {value!r}; expected a number from {self.low:g} to {self.high:g}")
        return value


@dataclass(frozen=True)
class Choice:
    """A parameter that is one of ``options``; of yes or no these are True and False."""

    default: str | bool
    options: tuple[str | bool, ...]
    about: str

    def check(self, name: str, value: Any) -> str | bool:
        """``value``, or a `RecipeError` that says what was expected."""
        for option in self.options:
            if type(value) is type(option) and value == option:
                return option
        options = " or ".join(str(o).lower() if isinstance(o, bool) else repr(o) for o in self.options)
        raise RecipeError(f"{name} is {value!r}; expected {options}")


Param = Whole | Real | Choice
YES_NO = (True, False)

#: What every recipe made of parts lets its user choose; one that names a parameter alike has its own default.
COMMON: Mapping[str, Param] = {
    "max_s": Real(12.0, 1, 600, "seconds of the references a preset keeps"),
    "smooth_gain": Real(
        0.0, 0, 1000, "weight of a gain over the stem that is smooth, against single bins that twitter"
    ),
    "rhythm": Real(0.0, 0, 1000, "weight of the stem's onsets"),
    "autocorrelation": Real(0.0, 0, 1000, "weight of the style's rhythm: its bands' autocorrelation over time"),
    "phase": Choice("published", ("published", "stem"), "render as published, or as a gain on the stem's own spectrum"),
    "transients": Choice(False, YES_NO, "style what is sustained, and leave percussive sound as it is"),
    "bass_hz": Real(0.0, 0, 2000, "below this frequency the stem stays dry; 0: nowhere"),
    "resolutions": Choice(False, YES_NO, "three passes with windows of two, one and a quarter of the length, by band"),
}

#: Those of them that are added to a loss, which a recipe in closed form has none of.
REGULARISERS = ("smooth_gain", "rhythm", "autocorrelation")


@dataclass(frozen=True)
class Term:
    """One term of a loss: ``statistic`` of ``features`` of ``representation`` compared with those of the style (or of
    the stem: ``of="stem"``, whose weight grows as the amount falls), times ``weight``.

    ``unit`` is what the term is divided by: ``published`` nothing, ``stem`` its own value at the stem, so that 1 is
    untreated whatever the pair (terms of the style only).
    """

    representation: Part
    features: Part
    statistic: Part
    weight: float | Given = 1.0
    of: str = "style"
    unit: str = "published"


@dataclass(frozen=True)
class Keeper:
    """One term about the stem alone, or of a form of its own: ``part`` of `engine.parts.names.KEEPERS`."""

    part: Part
    weight: float | Given = 1.0


#: How many of a recipe's iterations each quality takes.
PACE: Mapping[str, float] = {"draft": 0.25, "standard": 1.0, "fine": 2.5}


@dataclass(frozen=True)
class Cost:
    """About what a recipe takes of one core, for sound at 22 050 Hz and with the parameters it has by default.

    Seconds for each evaluation of ten seconds of sound, or for every second of it; ``more`` is what else is to be said.
    """

    evaluation_s: float = 0.0
    second_s: float = 0.0
    more: str = ""

    def __str__(self) -> str:
        if self.evaluation_s:
            return f"about {self.evaluation_s:g} s of one core for each evaluation of ten seconds{self.more}"
        took = f"{self.second_s:g} s" if self.second_s >= 0.1 else f"{1000 * self.second_s:g} ms"
        return f"about {took} of one core for a second{self.more}"


@dataclass(frozen=True)
class Recipe:
    """One method of style transfer under one name.

    ``source`` says whose it is, ``use`` when to take it, ``cost`` and ``device`` what it takes, ``figure`` what its
    source reports and what is reproduced.  ``module`` is its method (see `engine.method.method`): the composed one
    reads ``terms``, ``keepers``, ``solver``, ``rendering`` and ``params``; one with a method of its own tells its
    ``words`` instead.  ``blends`` says why targets cannot be blended, where they cannot; ``trained`` recipes have
    theirs from two sets of sounds (`engine.travelgan.training`) and are not learnt from references.
    """

    name: str
    title: str
    source: str
    use: str
    terms: tuple[Term, ...] = ()
    keepers: tuple[Keeper, ...] = ()
    solver: Part | None = None
    rendering: Part | None = None
    params: Mapping[str, Param] = field(default_factory=dict)
    module: str = "engine.methods.composed"
    words: tuple[str, ...] = ()
    equations: str = ""
    figure: str = ""
    cost: Cost = Cost()
    device: str = "any"
    weights: str = "none"
    blends: str = ""
    trained: bool = False
    hidden: bool = False

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts in words, in the order sound goes through them."""
        return self.words or tuple(self._told())

    @property
    def choices(self) -> dict[str, Param]:
        """All parameters a preset may be learnt with."""
        if not self.composed:
            return dict(self.params)
        common = {name: param for name, param in COMMON.items() if self.terms or name not in REGULARISERS}
        return {**common, **self.params}

    @property
    def composed(self) -> bool:
        """Whether it is made of parts alone."""
        return self.module == "engine.methods.composed"

    def check(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """All parameters, ``params`` and the others' defaults; `RecipeError` for what cannot be."""
        known = self.choices
        for name in params:
            if name not in known:
                near = difflib.get_close_matches(name, known, 1, 0.4)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                there = f"there are: {', '.join(known)}" if known else "it has none"
                raise RecipeError(f"recipe {self.name!r} has no parameter {name!r}{hint} ({there})")
        return {name: param.check(name, params.get(name, param.default)) for name, param in known.items()}

    def work_s(self, params: Mapping[str, Any], quality: str) -> float:
        """About how many seconds of one core a second of sound takes; see `Cost`."""
        values = self.defaults | dict(params)
        filters = float(values["filters"]) / self.defaults["filters"] if "filters" in self.defaults else 1.0
        wish = self.solver.options.get("iterations") if self.solver else None
        if wish is None:
            return self.cost.second_s * filters
        asked, usual = (float(wish.value(v) if isinstance(wish, Given) else wish) for v in (values, self.defaults))
        return PACE[quality] * filters * (self.cost.second_s * asked / usual + self.cost.evaluation_s / 10 * asked)

    @property
    def defaults(self) -> dict[str, Any]:
        """The parameters as they are when nobody says otherwise."""
        return {name: param.default for name, param in self.choices.items()}

    def _told(self) -> Iterator[str]:
        values = self.defaults
        for term in self.terms:
            chain = " → ".join(part.told(values) for part in (term.representation, term.features, term.statistic))
            yield f"{term.of}: {chain}{_times(term.weight, values)}"
        for keeper in self.keepers:
            yield f"keep: {keeper.part.told(values)}{_times(keeper.weight, values)}"
        for role, part in (("solver", self.solver), ("rendering", self.rendering)):
            if part is not None:
                yield f"{role}: {part.told(values)}"


def _times(weight: float | Given, params: Mapping[str, Any]) -> str:
    value = weight.value(params) if isinstance(weight, Given) else weight
    return "" if value == 1 else f" × {value:g}"
