"""The suite of devices: speed against batch size, channels and rate, and how much of a device is used."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import torch

from engine import device as devices
from engine.bench import bounds, child, endless, machine
from engine.bench.clock import timed
from engine.bench.endless import Endless
from engine.bench.machine import Ceilings, Machine
from engine.bench.solves import watched
from engine.bench.steps import OnStep
from engine.style import Settings, Target, learn, restyle_stream

SEGMENT_S = 10.0


@dataclass(frozen=True)
class Scale:
    """How much is measured: sizes of batches for each quality, then channels and rates at the size that was fastest.

    Every stem fills its batch and is ``least_s`` long or longer.  A CPU solves four at once at most, whatever
    the batch, so ``on_cpu`` says for which qualities it gets all the sizes; the others get the smallest and 8.
    """

    name: str
    qualities: tuple[str, ...] = ("draft", "standard")
    on_cpu: tuple[str, ...] = ("draft",)
    batches: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    channels: tuple[int, ...] = (1, 2, 6)
    rates: tuple[int, ...] = (22050, 44100, 48000)
    rate: int = 44100
    least_s: float = 60.0
    loop_share: float = 1.0

    def sizes(self, quality: str, device: torch.device) -> tuple[int, ...]:
        """The batches that are tried."""
        if device.type != "cpu" or quality in self.on_cpu:
            return self.batches
        return tuple(size for size in self.batches if size in (self.batches[0], 8))

    def seconds(self, batch: int) -> float:
        """How long a stem is rendered."""
        return max(self.least_s, SEGMENT_S * batch)


FULL = Scale("full")
#: A smoke run: telephone sound, two sizes and a second or two of it.
QUICK = Scale(
    "quick", ("draft",), batches=(1, 2), channels=(1, 2), rates=(8000, 11025), rate=8000, least_s=1.0, loop_share=0.2
)
CHANNELS = 2


@dataclass(frozen=True)
class Cell:
    """One render: what it took, and what its solver did in ``solver_s`` of that.

    ``flops`` and ``bytes`` are those that no implementation can leave out (`engine.bench.bounds`); ``largest`` is the
    batch that was really solved, ``memory`` the most that tensors held on the device (None: not counted there).
    """

    quality: str
    batch: int
    channels: int
    rate: int
    seconds: float
    wall_s: float
    cpu_s: float
    solver_s: float
    largest: int
    flops: float
    bytes: float
    memory: int | None

    @property
    def real_time(self) -> float:
        """Seconds of sound rendered in a second."""
        return self.seconds / self.wall_s


@dataclass(frozen=True)
class Device:
    """One device, its ceilings and its renders: over batch sizes, over channels, over rates."""

    name: str
    machine: Machine
    ceilings: Ceilings
    products: str
    batches: tuple[Cell, ...]
    channels: tuple[Cell, ...]
    rates: tuple[Cell, ...]

    def used(self, cell: Cell) -> tuple[float, float]:
        """Shares of both ceilings that a render's solver reached: arithmetic and memory."""
        pace = (cell.flops / cell.solver_s, cell.bytes / cell.solver_s)
        return pace[0] / self.ceilings.flops, pace[1] / self.ceilings.bytes_s


@dataclass(frozen=True)
class Findings:
    """All that one run found."""

    scale: Scale
    devices: tuple[Device, ...]

    def record(self) -> dict[str, Any]:
        """All of it as one JSON object, with the figures the tables derive."""
        out = asdict(self)
        for record, device in zip(out["devices"], self.devices, strict=True):
            for name in ("batches", "channels", "rates"):
                for row, cell in zip(record[name], getattr(device, name), strict=True):
                    row["real_time"] = cell.real_time
                    row["used_flops"], row["used_bytes"] = device.used(cell)
        return out


def run(
    *,
    device: str = "auto",
    quick: bool = False,
    on_step: OnStep = lambda line: None,
    scale: Scale | None = None,
) -> Findings:
    """Measure on ``device``, with ``auto`` on every one there is: in full, at `QUICK` or a ``scale`` of one's own."""
    chosen = machine.present() if device == "auto" else [devices.pick(device)]
    scale = scale or (QUICK if quick else FULL)
    return Findings(scale, tuple(_device(scale, where, quick, on_step) for where in chosen))


def _device(scale: Scale, where: torch.device, quick: bool, on_step: OnStep) -> Device:
    on_step(f"{where}: its ceilings")
    best = machine.ceilings(where, quick=quick)
    bench = _Bench(scale, where, on_step)
    batches = [
        bench.render(quality, batch, CHANNELS, scale.rate)
        for quality in scale.qualities
        for batch in scale.sizes(quality, where)
    ]
    fastest = {
        quality: max((c for c in batches if c.quality == quality), key=lambda cell: cell.real_time).batch
        for quality in scale.qualities
    }
    channels = [bench.render(q, fastest[q], count, scale.rate) for q in scale.qualities for count in scale.channels]
    rates = [bench.render(q, fastest[q], CHANNELS, rate) for q in scale.qualities for rate in scale.rates]
    with devices.arranged(where):
        products = torch.get_float32_matmul_precision()
    return Device(str(where), machine.describe(where), best, products, tuple(batches), tuple(channels), tuple(rates))


class _Bench:
    """Renders on one device; targets and loops are made once for each rate."""

    def __init__(self, scale: Scale, device: torch.device, on_step: OnStep) -> None:
        self.scale, self.device, self.on_step = scale, device, on_step
        self._targets: dict[int, Target] = {}
        self._stems: dict[tuple[int, int], Endless] = {}
        self._warm: set[tuple[object, ...]] = set()

    def render(self, quality: str, batch: int, channels: int, rate: int) -> Cell:
        """One stem through the front door, in batches of ``batch``."""
        self.on_step(f"{self.device}: {quality}, batches of {batch}, {channels} channels at {rate} Hz")
        seconds = self.scale.seconds(batch)
        stem, target = self._stem(channels, rate).of(seconds), self._target(rate)
        settings = Settings(quality=quality, device=str(self.device))

        def work() -> int:
            return sum(block.shape[1] for block in restyle_stream(stem, target, settings, batch=batch))

        self._warm_up(quality, batch, stem, target, settings)
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        with watched(target.recipe, self.device) as watch:
            _, spent = timed(work, self.device)
        flops = moved = 0.0
        for solve in watch.solves:
            floor = bounds.floor(quality, target, solve.samples, solve.channels)
            times = solve.problems * solve.evaluations
            flops += times * (floor.products + floor.transforms)
            moved += times * floor.bytes
        return Cell(
            quality,
            batch,
            channels,
            rate,
            seconds,
            spent.wall_s,
            spent.cpu_s,
            watch.seconds,
            watch.largest,
            flops,
            moved,
            child.on_device(self.device),
        )

    def _warm_up(self, quality: str, batch: int, stem: Endless, target: Target, settings: Settings) -> None:
        """What is made once and kept is not timed: on a GPU that is a matter of every shape, on a CPU of any."""
        on_cpu = self.device.type == "cpu"
        shape = (quality,) if on_cpu else (quality, batch, stem.channels, stem.rate)
        if shape not in self._warm:
            self._warm.add(shape)
            _exhaust(restyle_stream(stem.of(0.5) if on_cpu else stem, target, settings, batch=batch))

    def _target(self, rate: int) -> Target:
        if rate not in self._targets:
            self._targets[rate] = learn([endless.style(rate, 10 * self.scale.loop_share)], rate)
        return self._targets[rate]

    def _stem(self, channels: int, rate: int) -> Endless:
        if (channels, rate) not in self._stems:
            share = self.scale.loop_share
            self._stems[channels, rate] = endless.endless(1.0, rate, channels, loop_share=share)
        return self._stems[channels, rate]


def _exhaust(blocks: Iterable[object]) -> None:
    for _ in blocks:
        pass
