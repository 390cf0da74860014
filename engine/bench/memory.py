"""Peak memory of one render, imports included, each measured in a process of its own: ``-m engine.bench.memory``."""

from dataclasses import dataclass

import torch

from engine.bench import child, pairs
from engine.bench.pairs import Pair
from engine.bench.written import through_file
from engine.style import Settings, learn, restyle

RATE_HZ = 44100


@dataclass(frozen=True)
class Memory:
    """The most memory a process has held for one render, in bytes; None where the system does not say."""

    quality: str
    seconds: float
    imports: int | None
    peak: int | None
    device: int | None


def measure(pair: Pair, quality: str, seconds: float, device: torch.device) -> Memory:
    """Render ``pair`` (stereo, 44.1 kHz) in a fresh process and ask what it needed."""
    stem, style = pairs.make(pair, seconds, RATE_HZ)
    work = {"quality": quality, "device": str(device), "stem": stem, "rate": RATE_HZ}
    found = child.ask("engine.bench.memory", work, learn([style], RATE_HZ))
    return Memory(quality, seconds, found["imports"], found["peak"], found["device"])


def _render() -> None:
    """The child's work: the stem rendered, through a file and back."""
    imports = child.high_water()
    work, target = child.received()
    settings = Settings(quality=work["quality"], device=work["device"])
    through_file(restyle(work["stem"], work["rate"], target, settings), work["rate"])
    held = child.on_device(torch.device(settings.device))
    child.answer({"imports": imports, "peak": child.high_water(), "device": held})


if __name__ == "__main__":
    _render()
