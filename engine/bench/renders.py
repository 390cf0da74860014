"""Renders of every quality over all pairs: how fast they were made and what is in the written files."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch

from engine.bench import pairs
from engine.bench.clock import Spent, timed
from engine.bench.pairs import Pair
from engine.bench.steps import OnStep
from engine.bench.written import through_file
from engine.events import Event, Iterate
from engine.judge import Judge, Verdict
from engine.style import Settings, learn, restyle

RATE_HZ = 44100
CHANNELS = 2
WARM_UP_S = 0.5


@dataclass(frozen=True)
class Render:
    """One stereo stem at 44.1 kHz in one quality; ``evaluation_s`` is the median time between two iterates."""

    pair: str
    quality: str
    seconds: float
    spent: Spent
    evaluation_s: float | None
    evaluations: int
    file: str
    verdict: Verdict

    @property
    def real_time(self) -> float:
        """Seconds of sound rendered in a second."""
        return self.seconds / self.spent.wall_s


def render_all(
    chosen: Sequence[Pair], qualities: Sequence[str], seconds: float, device: torch.device, on_step: OnStep
) -> list[Render]:
    """Restyle each pair in each quality on ``device``, on as many threads as torch has, and judge the written files."""
    done = []
    for number, pair in enumerate(chosen):
        stem, style = pairs.make(pair, seconds, RATE_HZ)
        target = learn([style], RATE_HZ)
        judge = Judge(stem, style, RATE_HZ)
        for quality in qualities:
            settings = Settings(quality=quality, device=str(device))
            if number == 0:  # what is made once and kept is not timed
                restyle(stem[:, : round(WARM_UP_S * RATE_HZ)], RATE_HZ, target, settings)
            on_step(f"{pair.title}: {quality}")
            pace = _Pace()
            samples, spent = timed(lambda: restyle(stem, RATE_HZ, target, settings, pace), device)  # noqa: B023
            heard, file = through_file(samples, RATE_HZ)
            done.append(
                Render(pair.title, quality, seconds, spent, pace.median_s, pace.count, file, judge.verdict(heard))
            )
    return done


def means(verdicts: Sequence[Verdict]) -> dict[str, float | None]:
    """The mean of every figure over ``verdicts``; None where one of them has none."""
    out: dict[str, float | None] = {}
    for field in fields(Verdict):
        values = [getattr(verdict, field.name) for verdict in verdicts]
        if field.name != "missing":
            out[field.name] = None if None in values else statistics.fmean(values)
    return out


class _Pace:
    """Listens to a render and keeps the time from each iterate to the next."""

    def __init__(self) -> None:
        self.count = 0
        self._last: float | None = None
        self._steps: list[float] = []

    def __call__(self, event: Event) -> None:
        if not isinstance(event, Iterate):
            self._last = None
            return
        now = time.perf_counter()
        self.count += 1
        if self._last is not None:
            self._steps.append(now - self._last)
        self._last = now

    @property
    def median_s(self) -> float | None:
        return statistics.median(self._steps) if self._steps else None
