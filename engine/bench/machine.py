"""The machine under test: what it is, and how fast its arithmetic and its memory are at their best."""

import datetime
import os
import platform
from dataclasses import dataclass

import torch

from engine import device as devices
from engine import system
from engine.bench.clock import timed

PACKAGES = ("gramophone", "torch", "torchaudio", "numpy", "soundfile", "librosa")
# Large enough to leave every cache, small enough for two seconds on two cores.
PRODUCT_SIZE = {"cpu": 2048, "cuda": 8192, "mps": 4096}
COPY_FLOATS = 2**26
TRIES = 5


@dataclass(frozen=True)
class Machine:
    """Hardware, versions and the state a measurement was made in; ``load`` is the one-minute average before it."""

    processor: str
    cores: int
    threads: int
    device: str
    system: str
    python: str
    packages: dict[str, str]
    date: str
    load: float | None


@dataclass(frozen=True)
class Ceilings:
    """What one big matrix product and one big copy reach here, in float operations and in bytes a second."""

    flops: float
    bytes_s: float


def describe(device: torch.device) -> Machine:
    """The machine as it stands now."""
    return Machine(
        processor=system.processor(),
        cores=os.cpu_count() or 1,
        threads=torch.get_num_threads(),
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        packages={name: system.version(name) or "not installed" for name in PACKAGES},
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        load=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    )


def ceilings(device: torch.device, *, quick: bool = False) -> Ceilings:
    """Measure both ceilings with the settings the engine works in; the best of a few tries.

    If ``quick``, on a matrix and a copy so small that caches flatter them.
    """
    size = PRODUCT_SIZE.get(device.type, PRODUCT_SIZE["cpu"]) // (4 if quick else 1)
    floats = COPY_FLOATS // (64 if quick else 1)
    a, b = (torch.rand(size, size, device=device) for _ in range(2))
    product = torch.empty_like(a)
    with devices.arranged(device):
        torch.mm(a, b, out=product)
        multiply = min(timed(lambda: torch.mm(a, b, out=product), device)[1].wall_s for _ in range(TRIES))
    source, target = torch.ones(floats, device=device), torch.zeros(floats, device=device)
    copy = min(timed(lambda: target.copy_(source), device)[1].wall_s for _ in range(TRIES))
    return Ceilings(2 * size**3 / multiply, 2 * 4 * floats / copy)


def present() -> list[torch.device]:
    """Every kind of device there is on this machine, the CPU first."""
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    return [torch.device(name) for name, is_there in there.items() if is_there]
