"""Time to one sound: how long the fast road takes to where the published pipeline's written file ends.

Both restyle the same mono sound on one core, through the front door.  What counts is the style loss of the file that
comes out, by a network that neither has seen (`engine.judge`), not the loss a solver reports: the pipeline's own
optimum is far lower, and its phase reconstruction loses most of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from engine.bench import pairs
from engine.bench.clock import Spent, median, threads, timed
from engine.bench.pairs import Pair
from engine.bench.steps import OnStep, tenths
from engine.bench.written import through_file
from engine.judge import Judge, Verdict
from engine.style import Settings, learn, restyle

RATE_HZ = 22050
REPEATS = 3
ALPHA = 0.01  # the published content weight, which both sides of the race take
#: What `draft` may spend, cheapest first: evaluations of the warm start, Griffin-Lim steps, waveform evaluations.
#: The last has no phase to reconstruct and goes as far as the waveform leads.
BUDGETS = ((10, 4, 1), (25, 8, 1), (25, 8, 4), (40, 8, 8), (0, 0, 80))


@dataclass(frozen=True)
class Run:
    """One written file: how it was made, what that took, and what is in it."""

    name: str
    spent: Spent
    verdict: Verdict


@dataclass(frozen=True)
class Race:
    """The published pipeline's ``baseline``, `draft` as it ships, and drafts at the published content weight."""

    pair: str
    seconds: float
    params: Mapping[str, Any]
    file: str
    baseline: Run
    draft: Run
    others: tuple[Run, ...]

    @property
    def first(self) -> Run | None:
        """The cheapest draft whose file is at least as near to the style as the baseline's; None if there is none."""
        there = [r for r in (self.draft, *self.others) if r.verdict.style_loss <= self.baseline.verdict.style_loss]
        return min(there, key=lambda run: run.spent.cpu_s, default=None)

    def ratio(self, run: Run) -> float:
        """CPU seconds of the baseline for one of ``run``."""
        return self.baseline.spent.cpu_s / run.spent.cpu_s


def race(pair: Pair, seconds: float, params: Mapping[str, Any], device: torch.device, on_step: OnStep) -> Race:
    """Run both on mono ``pair`` at 22 050 Hz; ``params`` are recipe ``ulyanov``'s."""
    stem, style = pairs.make(pair, seconds, RATE_HZ, mono=True)
    judge = Judge(stem, style, RATE_HZ)
    settings = Settings(quality="draft", device=str(device))
    shipped = learn([style], RATE_HZ)
    slow = learn([style], RATE_HZ, recipe="ulyanov", params={"alpha": ALPHA, **params})
    drafts = [("draft, as it ships", shipped)]
    for warm, griffin_lim, waveform in BUDGETS:
        budget = {"warm": warm, "griffin_lim": griffin_lim, "waveform": waveform, "alpha": ALPHA}
        lead = f"{warm} low-rank + {griffin_lim} Griffin-Lim" if warm else "the stem"
        name = f"draft, {lead} + {waveform} waveform"
        drafts.append((name, replace(shipped, params={**shipped.params, **budget})))
    file = ""

    def run(name: str, samples: Tensor, spent: Spent) -> Run:
        nonlocal file
        heard, file = through_file(samples, RATE_HZ)
        return Run(name, spent, judge.verdict(heard))

    with threads(1):
        runs = []
        for name, target in drafts:
            on_step(f"{pair.title}, one core: {name}")
            work = partial(restyle, stem, RATE_HZ, target, settings)
            work()  # what is made once and kept is not timed
            tries = [timed(work, device) for _ in range(REPEATS)]
            runs.append(run(name, tries[0][0], median([spent for _, spent in tries])))
        title = f"ulyanov, {slow.params['iterations']} iterations + {slow.params['griffin_lim']} Griffin-Lim"
        on_step(f"{pair.title}, one core: {title}")
        listener = tenths(f"{pair.title}, one core: ulyanov", on_step)
        published = replace(settings, quality="standard")  # all of its iterations
        samples, spent = timed(lambda: restyle(stem, RATE_HZ, slow, published, listener), device)
        baseline = run(title, samples, spent)
    return Race(pair.title, seconds, dict(slow.params), file, baseline, runs[0], tuple(runs[1:]))
