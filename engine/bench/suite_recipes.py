"""The suite of recipes: each on the same pairs, what it takes and what is in the written files."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from engine import device as devices
from engine import weights
from engine.bench import machine, pairs, renders, tries
from engine.bench.clock import Spent
from engine.bench.machine import Ceilings, Machine
from engine.bench.pairs import Pair
from engine.bench.steps import OnStep
from engine.bench.written import through_file
from engine.errors import EngineError
from engine.judge import Judge, Verdict
from engine.recipes import LEARNT, RECIPES

RATE_HZ = 22050
#: What is not run at its published size unless asked for, because that takes hours on a CPU.
SHORTER: Mapping[str, Mapping[str, Any]] = {
    "ulyanov": {"iterations": 40},
    "srm": {"iterations": 40},
    "deepmix-1": {"iterations": 40},
    "deepmix-2": {"iterations": 30},
    "caracalla-roebel": {"filters": 8, "iterations": 50},
    "kanak-texture": {"filters": 4, "iterations": 40},
    "caracalla-ri": {"filters": 8, "iterations": 50},
    "wav2vec2": {"iterations": 40},
    "wavenet": {"iterations": 25},
}
#: Parameters of a smoke run, for every recipe that has them.
SMALLEST: Mapping[str, Any] = {"filters": 4, "iterations": 3, "griffin_lim": 3, "semitones": 0}


@dataclass(frozen=True)
class Scale:
    """How much is measured: ``seconds`` of mono sound at 22 050 Hz of each pair, for each of ``recipes``.

    ``params`` are a recipe's in place of its defaults, ``every`` those of all recipes that have such parameters.
    """

    name: str
    seconds: float = 3.0
    chosen: tuple[Pair, ...] = pairs.PAIRS[:3]
    recipes: tuple[str, ...] = tuple(LEARNT)
    params: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    every: Mapping[str, Any] = field(default_factory=dict)


USUAL = Scale("usual", params=SHORTER)
FULL = Scale("full", seconds=10.0)
QUICK = Scale("quick", seconds=0.5, chosen=pairs.PAIRS[:1], every=SMALLEST)


@dataclass(frozen=True)
class Render:
    """One pair by one recipe: what the render took, and what is in its written ``file``.

    ``falls`` is the recipe's own loss at its start over that at its end; None where there is no loss.
    """

    pair: str
    learnt: Spent
    spent: Spent
    evaluations: int
    falls: float | None
    file: str
    verdict: Verdict

    @property
    def kept(self) -> float | None:
        """What is left of the stem: the mean of chroma and onset, 1 all of it."""
        if self.verdict.chroma is None or self.verdict.onset is None:
            return None
        return (self.verdict.chroma + self.verdict.onset) / 2


@dataclass(frozen=True)
class Row:
    """One recipe, the parameters it was learnt with, its renders, and the most memory its process held.

    ``failed`` says why there are none.
    """

    recipe: str
    params: Mapping[str, Any]
    renders: tuple[Render, ...] = ()
    imports: int | None = None
    peak: int | None = None
    device: int | None = None
    failed: str | None = None

    @property
    def title(self) -> str:
        """The recipe as the table names it, with what differs from its defaults."""
        said = [f"{name} = {value}" for name, value in self.params.items() if name not in ("weights", "griffin_lim")]
        if self.params.get("weights") == weights.RANDOM:
            said.insert(0, "random weights")
        return ", ".join([f"`{self.recipe}`", *said])

    @property
    def means(self) -> dict[str, float | None]:
        """Every figure of the verdicts as its mean over the pairs."""
        return renders.means([render.verdict for render in self.renders])

    @property
    def style(self) -> float | None:
        """Mean distance to the style, 1 the stem's."""
        return self.means["style_ratio"] if self.renders else None

    @property
    def kept(self) -> float | None:
        """Mean of what is left of the stem."""
        every = [render.kept for render in self.renders]
        known = [kept for kept in every if kept is not None]
        return statistics.fmean(known) if known and len(known) == len(every) else None

    @property
    def falls(self) -> float | None:
        """The least that its loss fell by."""
        return min((render.falls for render in self.renders if render.falls is not None), default=None)


@dataclass(frozen=True)
class Findings:
    """All that one run found; ``device`` is CPU or not, whose seconds count by the clock."""

    scale: Scale
    machine: Machine
    ceilings: Ceilings
    rows: tuple[Row, ...]

    def cost_s(self, row: Row) -> float | None:
        """Seconds for a second of sound: of CPU time, or on another device by the clock."""
        if not row.renders:
            return None
        by_clock = self.machine.device != "cpu"
        times = [render.spent.wall_s if by_clock else render.spent.cpu_s for render in row.renders]
        return statistics.fmean(times) / self.scale.seconds

    def unbeaten(self) -> list[Row]:
        """Rows than which no other is as near to the style, by both measures, and keeps as much of the stem."""
        known = []
        for row in self.rows:
            style, kept = row.style, row.kept
            if style is not None and kept is not None:
                known.append((row, (style, row.means["mfcc_ratio"] or 0.0, -kept)))

        def beaten(mine: tuple[float, ...]) -> bool:
            return any(its != mine and all(a <= b for a, b in zip(its, mine, strict=True)) for _, its in known)

        return [row for row, mine in known if not beaten(mine)]

    def record(self) -> dict[str, Any]:
        """All of it as one JSON object, with the figures the tables derive."""
        out = asdict(self)
        best = [row.recipe for row in self.unbeaten()]
        for record, row in zip(out["rows"], self.rows, strict=True):
            means = row.means if row.renders else {}
            record |= {"title": row.title, "cost_s": self.cost_s(row), "style": row.style, "kept": row.kept}
            record |= {"means": means, "falls": row.falls, "unbeaten": row.recipe in best}
        return out


def run(
    *,
    device: str = "auto",
    quick: bool = False,
    full: bool = False,
    on_step: OnStep = lambda line: None,
    scale: Scale | None = None,
) -> Findings:
    """Try every recipe on ``device``: at published sizes if ``full``, at `QUICK`, or at a ``scale`` of one's own."""
    where = devices.pick(device)
    scale = scale or (QUICK if quick else FULL if full else USUAL)
    found = machine.describe(where)
    on_step("the machine's ceilings")
    best = machine.ceilings(where, quick=quick)
    given = [pairs.make(pair, scale.seconds, RATE_HZ, mono=True) for pair in scale.chosen]
    judges = [Judge(stem, style, RATE_HZ) for stem, style in given]
    rows = []
    for number, recipe in enumerate(scale.recipes, 1):
        on_step(f"recipe {number} of {len(scale.recipes)}: {recipe}")
        params = parameters(recipe, scale)
        try:
            rows.append(judged(recipe, params, scale.chosen, tries.of(recipe, params, given, RATE_HZ, where), judges))
        except EngineError as error:  # one that this machine cannot hold costs its own row only
            on_step(f"{recipe} failed: {error}")
            rows.append(Row(recipe, params, failed=str(error)))
    return Findings(scale, found, best, tuple(rows))


def parameters(recipe: str, scale: Scale) -> dict[str, Any]:
    """What ``recipe`` is learnt with: the scale's, and random weights where its own are not installed."""
    known = RECIPES[recipe].params
    chosen = {name: value for name, value in scale.every.items() if name in known}
    chosen |= scale.params.get(recipe, {})
    needed = RECIPES[recipe].weights
    if needed in weights.WEIGHTS and not weights.WEIGHTS[needed].installed:
        chosen["weights"] = weights.RANDOM
    return chosen


def judged(
    recipe: str, params: Mapping[str, Any], chosen: Sequence[Pair], tried: tries.Try, judges: Sequence[Judge]
) -> Row:
    """The row of what was ``tried`` on the pairs, by their ``judges``."""
    made = []
    for pair, sound, judge in zip(chosen, tried.sounds, judges, strict=True):
        heard, file = through_file(sound.samples, RATE_HZ)
        verdict = judge.verdict(heard)
        made.append(Render(pair.title, sound.learnt, sound.spent, sound.evaluations, sound.falls, file, verdict))
    return Row(recipe, params, tuple(made), tried.imports, tried.peak, tried.device)
