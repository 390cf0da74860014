"""The suite of long stems: time and memory against length, and what the size of a batch changes."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from engine import device as devices
from engine.bench import differences, endless, evaluations, lengths, machine, pairs
from engine.bench.differences import Difference
from engine.bench.evaluations import Comparison
from engine.bench.lengths import Growth, Length
from engine.bench.machine import Ceilings, Machine
from engine.bench.steps import OnStep
from engine.style import learn

EXPLICIT_EVALUATIONS = 321  # of recipe ``ulyanov``: 300 iterations and what their line search adds


@dataclass(frozen=True)
class Scale:
    """How much is measured: ``lengths_s`` of each quality, and what is rendered in batches.

    ``filters`` and ``explicit_s`` are the width of the explicit network and the sound that it is evaluated on.
    """

    name: str
    lengths_s: Mapping[str, tuple[float, ...]]
    batched: tuple[str, ...]
    batched_s: float
    batches: tuple[int, ...] = (2, 8)
    most: int = 2
    rate: int = 44100
    channels: int = 2
    loop_share: float = 1.0
    filters: int = 4096
    explicit_s: float = 10.0
    rounds: int = 5


_MINUTES = (10.0, 60.0, 300.0, 600.0)
#: Nine segments, so that a batch of eight is full and another is not.
USUAL = Scale("usual", {"draft": _MINUTES, "standard": _MINUTES[:3]}, ("draft",), 85.0)
FULL = Scale(
    "full",
    {"draft": (*_MINUTES, 3600.0, 10800.0), "standard": _MINUTES},
    ("draft", "standard"),
    85.0,
)
#: A smoke run: telephone sound, and no length that tells anything of growth.
QUICK = Scale(
    "quick",
    {"draft": (2.0, 12.0), "standard": (2.0,)},
    ("draft",),
    21.0,
    rate=8000,
    loop_share=0.2,
    filters=256,
    explicit_s=1.0,
    rounds=1,
)


@dataclass(frozen=True)
class Findings:
    """All that one run found."""

    scale: Scale
    machine: Machine
    ceilings: Ceilings
    lengths: tuple[Length, ...]
    differences: tuple[Difference, ...]
    comparison: Comparison

    @property
    def growth(self) -> list[Growth]:
        """Each length beside a shorter one."""
        return lengths.growth(self.lengths)

    @property
    def explicit_s(self) -> float:
        """Seconds that the published pipeline's evaluations alone would take for a second of (mono) sound.

        One was measured, times as many as the pipeline makes: of CPU time, or of a GPU's by the clock.
        """
        row = self.comparison.rows[0]
        return (
            EXPLICIT_EVALUATIONS * (row.cpu_s if self.machine.device == "cpu" else row.wall_s) / self.scale.explicit_s
        )

    def cost_s(self, length: Length) -> float:
        """Seconds that a second of ``length`` took, counted as `explicit_s` is."""
        return (length.cpu_s if self.machine.device == "cpu" else length.wall_s) / length.seconds

    def record(self) -> dict[str, Any]:
        """All of it as one JSON object, with the figures the tables derive."""
        out = asdict(self)
        for record, length in zip(out["lengths"], self.lengths, strict=True):
            record |= {"real_time": length.real_time, "explicit_ratio": self.explicit_s / self.cost_s(length)}
        out["growth"] = [asdict(row) for row in self.growth]
        out["explicit_s"] = self.explicit_s
        return out


def run(
    *,
    device: str = "auto",
    quick: bool = False,
    full: bool = False,
    on_step: OnStep = lambda line: None,
    scale: Scale | None = None,
) -> Findings:
    """Measure on ``device``: to ten minutes, to hours if ``full``, or at `QUICK` or a ``scale`` of one's own."""
    where = devices.pick(device)
    scale = scale or (QUICK if quick else FULL if full else USUAL)
    found = machine.describe(where)
    on_step("the machine's ceilings")
    best = machine.ceilings(where, quick=quick)
    on_step(f"one evaluation: kernel and {scale.filters} filters by turns")
    comparison = evaluations.compare(pairs.PAIRS[0], scale.explicit_s, scale.filters, scale.rounds, where)
    target = learn([endless.style(scale.rate, 10 * scale.loop_share)], scale.rate)
    stem = endless.endless(scale.batched_s, scale.rate, scale.channels, loop_share=scale.loop_share)
    apart: list[Difference] = []
    for quality in scale.batched:
        apart += differences.measure(stem, quality, target, scale.batches, scale.most, where, on_step)
    measured = []
    for quality, wanted in scale.lengths_s.items():
        for seconds in wanted:
            on_step(f"{seconds:g} s of sound: {quality}")
            measured.append(lengths.measure(stem.of(seconds), quality, target, where))
    return Findings(scale, found, best, tuple(measured), tuple(apart), comparison)
