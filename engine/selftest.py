"""Two seconds of generated music learnt and rendered on a device, and a look at what comes out."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine import device as devices
from engine import level, material
from engine.bench.clock import timed
from engine.style import Settings, learn, restyle

SECONDS = 2.0
RATE_HZ = 44100
LEVEL_DB = 3.0  # a render has the stem's level within a fraction of a decibel


@dataclass(frozen=True)
class SelfTest:
    """How one device did; ``problem`` is None where all was well.

    ``first_s`` is the first render, with all that is made once and kept; ``render_s`` another one.
    """

    device: str
    learn_s: float | None
    first_s: float | None
    render_s: float | None
    problem: str | None

    @property
    def real_time(self) -> float | None:
        """Seconds of sound rendered in a second; None where nothing was rendered."""
        return SECONDS / self.render_s if self.render_s else None


def run(device: torch.device) -> SelfTest:
    """Learn a style and render a draft of a stereo stem on ``device``; never raises."""
    stem, style = (torch.from_numpy(material.make(name, seconds=SECONDS, rate=RATE_HZ)) for name in ("riff", "organ"))
    spent: list[float] = []
    try:
        settings = Settings(quality="draft", device=str(device))
        begun = time.perf_counter()
        target = learn([style], RATE_HZ)
        spent.append(time.perf_counter() - begun)
        for _ in range(2):
            sound, took = timed(lambda: restyle(stem, RATE_HZ, target, settings), device)
            spent.append(took.wall_s)
        problem = fault(stem, sound)
    except Exception as error:
        # Whatever a driver may throw, the other devices are still to be tried.
        said = " ".join(str(error).split())
        problem = f"{type(error).__name__}: {said}" if said else type(error).__name__
    times: Sequence[float | None] = [*spent, None, None, None]
    return SelfTest(str(device), times[0], times[1], times[2], problem)


def fault(stem: Tensor, sound: Tensor) -> str | None:
    """What is wrong with ``sound`` as a render of ``stem``, in a line; None if nothing is."""
    if sound.shape != stem.shape:
        return f"the render is {list(sound.shape)}; expected {list(stem.shape)}"
    if not bool(torch.isfinite(sound).all()):
        return "the render holds samples that are not finite numbers"
    if torch.equal(sound, stem):
        return "the render is the stem: nothing was restyled"
    apart = 20 * float((level.rms(sound) / level.rms(stem)).clamp_min(1e-9).log10())
    if abs(apart) > LEVEL_DB:
        return f"the render is {apart:+.1f} dB from the stem's level; expected less than {LEVEL_DB:g} dB"
    return None


def products(device: torch.device) -> str:
    """The precision of float32 matrix products that the engine works with on ``device``, as torch names it."""
    with devices.arranged(device):
        return torch.get_float32_matmul_precision()
