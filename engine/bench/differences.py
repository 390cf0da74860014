"""How far renders of one stem lie apart that differ in nothing but the size of their batches."""

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.bench.endless import Endless
from engine.bench.solves import short_of_memory, watched
from engine.bench.steps import OnStep
from engine.style import Settings, Target, restyle_stream


@dataclass(frozen=True)
class Difference:
    """A render beside the one with batches of one, in dBFS: mean power and largest sample; None where all bits agree.

    ``short`` tells that memory ran out on purpose; ``largest`` is the largest batch that was solved in the end.
    """

    quality: str
    batch: int
    short: bool
    largest: int
    energy_db: float | None
    peak_db: float | None


def measure(
    stem: Endless, quality: str, target: Target, sizes: Sequence[int], most: int, device: torch.device, on_step: OnStep
) -> list[Difference]:
    """Render ``stem`` in batches of one, of each of ``sizes``, and of the last again where only ``most`` fit."""
    settings = Settings(quality=quality, device=str(device))

    def render(batch: int, short: bool) -> tuple[Tensor, int]:
        on_step(f"batches of {batch}: {quality}{', out of memory' if short else ''}")
        scarce = short_of_memory(target.recipe, most) if short else nullcontext()
        with scarce, watched(target.recipe, device) as watch:
            sound = torch.cat(list(restyle_stream(stem, target, settings, batch=batch)), 1)
        return sound, watch.largest

    alone, _ = render(1, False)
    out = []
    for batch, short in [*((size, False) for size in sizes), (sizes[-1], True)]:
        sound, largest = render(batch, short)
        apart = sound - alone
        energy, peak = float(apart.double().square().mean()), float(apart.abs().max())
        out.append(Difference(quality, batch, short, largest, _db(energy, 10), _db(peak, 20)))
    return out


def _db(value: float, factor: int) -> float | None:
    return factor * math.log10(value) if value > 0 else None
