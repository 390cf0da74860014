"""One recipe tried on several stems in a process of its own, which alone tells how much memory it takes.

``python -m engine.bench.tries`` is that process: it learns each style, restyles each stem, and answers with the sound
and what it took.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engine.bench import child
from engine.bench.clock import Spent, timed
from engine.events import Event, Iterate
from engine.style import Settings, learn, restyle

#: The largest of the published networks take minutes for a second.
TIMEOUT_S = 8 * 3600.0


@dataclass(frozen=True)
class Sound:
    """One stem restyled: ``[channels, samples]``, what it took, and the recipe's own loss at the first and last of the
    ``evaluations`` of the stem's first segment (0 for a recipe that has no loss).
    """

    samples: Tensor
    learnt: Spent
    spent: Spent
    evaluations: int
    first: float
    last: float

    @property
    def falls(self) -> float | None:
        """The loss at the start over that at the end; None for a recipe that has none."""
        return self.first / max(self.last, 1e-12) if self.first > 0 else None


@dataclass(frozen=True)
class Try:
    """All sounds of one recipe, and the most memory that its process held, in bytes (None where nobody says)."""

    sounds: tuple[Sound, ...]
    imports: int | None
    peak: int | None
    device: int | None


def of(
    recipe: str,
    params: Mapping[str, Any],
    given: Sequence[tuple[Tensor, Tensor]],
    rate: int,
    device: torch.device,
    *,
    quality: str = "standard",
) -> Try:
    """Learn each style of ``given`` (stem and style at ``rate``) by ``recipe`` and restyle its stem.

    `EngineError` with the reason where the process fails.
    """
    work = {"recipe": recipe, "params": dict(params), "rate": rate, "device": str(device), "quality": quality}
    sounds = {"stems": [stem for stem, _ in given], "styles": [style for _, style in given]}
    found = child.ask("engine.bench.tries", {**work, **sounds}, timeout_s=TIMEOUT_S)
    made = tuple(
        Sound(
            torch.from_numpy(np.frombuffer(base64.b64decode(one["samples"]), "<f4").copy()).view(one["shape"]),
            Spent(*one["learnt"]),
            Spent(*one["spent"]),
            one["evaluations"],
            one["first"],
            one["last"],
        )
        for one in found["sounds"]
    )
    return Try(made, found["imports"], found["peak"], found["device"])


def _try() -> None:
    """The child's work."""
    imports = child.high_water()
    work = child.parcel()
    device = torch.device(work["device"])
    settings = Settings(quality=work["quality"], device=work["device"])
    sounds = []
    for stem, style in zip(work["stems"], work["styles"], strict=True):
        losses: list[float] = []

        def tell(event: Event, losses: list[float] = losses) -> None:
            if isinstance(event, Iterate) and event.segment == 0:
                losses.append(event.loss)

        target, learnt = timed(
            lambda: learn([style], work["rate"], recipe=work["recipe"], params=work["params"]),  # noqa: B023
            device,
        )
        samples, spent = timed(lambda: restyle(stem, work["rate"], target, settings, tell), device)  # noqa: B023
        told = base64.b64encode(samples.numpy().astype("<f4").tobytes()).decode()
        sounds.append(
            {
                "samples": told,
                "shape": list(samples.shape),
                "learnt": [learnt.cpu_s, learnt.wall_s],
                "spent": [spent.cpu_s, spent.wall_s],
                "evaluations": len(losses),
                "first": losses[0] if losses else 0.0,
                "last": losses[-1] if losses else 0.0,
            }
        )
    child.answer({"sounds": sounds, "imports": imports, "peak": child.high_water(), "device": child.on_device(device)})


if __name__ == "__main__":
    _try()
