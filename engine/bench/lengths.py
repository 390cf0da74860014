"""Time and memory against length, each length in a process of its own: ``python -m engine.bench.lengths``."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from engine.bench import child
from engine.bench.clock import timed
from engine.bench.endless import Endless, unpacked
from engine.errors import EngineError
from engine.style import Settings, Target, restyle_stream

WARM_UP_S = 0.5
PATIENCE = 5.0  # a render that takes five times as long as it sounds is given up


@dataclass(frozen=True)
class Length:
    """A stem of ``seconds`` in one quality: what it took, and the most memory its process held (None: not said)."""

    quality: str
    seconds: float
    wall_s: float
    cpu_s: float
    imports: int | None
    peak: int | None
    device: int | None

    @property
    def real_time(self) -> float:
        """Seconds of sound rendered in a second."""
        return self.seconds / self.wall_s


@dataclass(frozen=True)
class Growth:
    """A stem beside one that is ``times`` shorter: how many times the time and CPU time, and how many bytes more."""

    quality: str
    longer: float
    shorter: float
    times: float
    cost: float
    cpu: float
    more: int | None


def measure(stem: Endless, quality: str, target: Target, device: torch.device) -> Length:
    """Render ``stem`` in a fresh process, block by block and into nothing."""
    seconds = stem.samples / stem.rate
    work = {**stem.parcel(), "quality": quality, "device": str(device), "threads": torch.get_num_threads()}
    limit = max(child.TIMEOUT_S, PATIENCE * seconds)
    found = child.ask("engine.bench.lengths", work, target, timeout_s=limit)
    if found["samples"] != stem.samples:
        raise EngineError(f"a stem of {stem.samples} samples came back with {found['samples']}; this is a bug")
    held = (found[name] for name in ("imports", "peak", "device"))
    return Length(quality, seconds, found["wall_s"], found["cpu_s"], *held)


def growth(lengths: Sequence[Length]) -> list[Growth]:
    """Each length beside the longest one of its quality that is at least six times shorter."""
    out = []
    for long in lengths:
        short = [other for other in lengths if other.quality == long.quality and 6 * other.seconds <= long.seconds]
        if short:
            other = max(short, key=lambda one: one.seconds)
            more = None if long.peak is None or other.peak is None else long.peak - other.peak
            cost, cpu = long.wall_s / other.wall_s, long.cpu_s / other.cpu_s
            out.append(Growth(long.quality, long.seconds, other.seconds, long.seconds / other.seconds, cost, cpu, more))
    return out


def _render() -> None:
    """The child's work; all that stays of a block is how long it was."""
    imports = child.high_water()
    work, target = child.received()
    torch.set_num_threads(work["threads"])
    stem, device = unpacked(work), torch.device(work["device"])
    settings = Settings(quality=work["quality"], device=work["device"])
    for _ in restyle_stream(stem.of(min(WARM_UP_S, stem.samples / stem.rate)), target, settings):
        pass  # what is made once and kept is not timed
    samples, spent = timed(lambda: sum(block.shape[1] for block in restyle_stream(stem, target, settings)), device)
    held = {"imports": imports, "peak": child.high_water(), "device": child.on_device(device)}
    child.answer({"samples": samples, "wall_s": spent.wall_s, "cpu_s": spent.cpu_s, **held})


if __name__ == "__main__":
    _render()
