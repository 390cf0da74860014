"""The main suite: speed, memory and sound of ten seconds in every quality, and the race with the published pipeline."""

import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from engine import device as devices
from engine.bench import baseline, bounds, evaluations, machine, memory, pairs, renders
from engine.bench.baseline import Race
from engine.bench.bounds import Bound
from engine.bench.evaluations import Comparison
from engine.bench.machine import Ceilings, Machine
from engine.bench.memory import Memory
from engine.bench.pairs import Pair
from engine.bench.renders import CHANNELS, RATE_HZ, Render
from engine.bench.steps import OnStep
from engine.style import QUALITIES, learn


@dataclass(frozen=True)
class Scale:
    """How much is measured: seconds of sound, pairs, qualities, rounds of an evaluation.

    ``filters`` is the width of the explicit network, ``published`` what recipe ``ulyanov`` is learnt with.
    """

    name: str
    seconds: float
    chosen: tuple[Pair, ...]
    rounds: int
    filters: int
    published: Mapping[str, Any]
    qualities: tuple[str, ...] = QUALITIES


FULL = Scale("full", 10.0, pairs.PAIRS, 5, 4096, {})
#: A smoke run: what it says of the baseline is not what the method can do.
QUICK = Scale("quick", 3.0, pairs.PAIRS[:1], 2, 4096, {"filters": 1024, "iterations": 30, "griffin_lim": 50})


@dataclass(frozen=True)
class Findings:
    """All that one run found, in the order of the tables."""

    scale: Scale
    machine: Machine
    ceilings: Ceilings
    comparison: Comparison
    race: Race
    renders: tuple[Render, ...]
    memory: tuple[Memory, ...]
    bounds: tuple[Bound, ...]

    def of(self, quality: str) -> list[Render]:
        """The renders of one quality."""
        return [render for render in self.renders if render.quality == quality]

    def record(self) -> dict[str, Any]:
        """All of it as one JSON object, with the figures the tables derive."""
        out = asdict(self)
        first = self.race.first
        out["comparison"]["ratio"] = self.comparison.ratio
        out["race"]["draft_ratio"] = self.race.ratio(self.race.draft)
        out["race"]["first"] = None if first is None else {"name": first.name, "ratio": self.race.ratio(first)}
        for record, render in zip(out["renders"], self.renders, strict=True):
            record["real_time"] = render.real_time
        for record, bound in zip(out["bounds"], self.bounds, strict=True):
            record |= {"floor_s": bound.floor_s, "gap": bound.gap, "by": bound.by}
        out["quality"] = {
            quality: renders.means([render.verdict for render in self.of(quality)]) for quality in self.scale.qualities
        }
        return out


def run(
    *,
    device: str = "auto",
    quick: bool = False,
    on_step: OnStep = lambda line: None,
    scale: Scale | None = None,
) -> Findings:
    """Measure on ``device`` at full scale, at `QUICK`, or at a ``scale`` of one's own.

    `DeviceError` for a device that is not there.
    """
    where = devices.pick(device)
    scale = scale or (QUICK if quick else FULL)
    first = scale.chosen[0]
    found = machine.describe(where)
    on_step("the machine's ceilings")
    best = machine.ceilings(where)
    on_step(f"one evaluation: kernel and {scale.filters} filters by turns")
    comparison = evaluations.compare(first, scale.seconds, scale.filters, scale.rounds, where)
    rendered = renders.render_all(scale.chosen, scale.qualities, scale.seconds, where, on_step)
    held = []
    for quality in scale.qualities:
        on_step(f"memory: {quality}")
        held.append(memory.measure(first, quality, scale.seconds, where))
    race = baseline.race(first, scale.seconds, scale.published, where, on_step)
    return Findings(
        scale, found, best, comparison, race, tuple(rendered), tuple(held), tuple(_bounds(scale, rendered, best))
    )


def _bounds(scale: Scale, rendered: list[Render], ceilings: Ceilings) -> list[Bound]:
    stem, style = pairs.make(scale.chosen[0], scale.seconds, RATE_HZ)
    target = learn([style], RATE_HZ)
    floors = {quality: bounds.floor(quality, target, stem.shape[1], CHANNELS) for quality in scale.qualities}
    measured: dict[str, float | None] = {}
    for quality in scale.qualities:
        paces = [r.evaluation_s for r in rendered if r.quality == quality and r.evaluation_s is not None]
        measured[quality] = statistics.median(paces) if paces else None
    return bounds.bounds(floors, measured, ceilings)
