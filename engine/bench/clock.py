"""Stop-watches: CPU and wall seconds of a piece of work, on a number of threads, with a GPU's queue waited for."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch

Made = TypeVar("Made")


@dataclass(frozen=True)
class Spent:
    """What a piece of work took: ``cpu_s`` of all threads of this process together, ``wall_s`` by the clock."""

    cpu_s: float
    wall_s: float


def timed(work: Callable[[], Made], device: torch.device) -> tuple[Made, Spent]:
    """What ``work`` returns and what it took, everything it has queued on ``device`` included."""
    synchronise(device)
    cpu, wall = time.process_time(), time.perf_counter()
    made = work()
    synchronise(device)
    return made, Spent(time.process_time() - cpu, time.perf_counter() - wall)


def synchronise(device: torch.device) -> None:
    """Wait until ``device`` has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def interleaved(works: Sequence[Callable[[], object]], rounds: int, device: torch.device) -> list[Spent]:
    """The median of what each of ``works`` takes, run by turns so that a busy machine slows all of them alike.

    Every one runs once before the clock starts.
    """
    for work in works:
        work()
    spent: list[list[Spent]] = [[] for _ in works]
    for _ in range(rounds):
        for work, times in zip(works, spent, strict=True):
            times.append(timed(work, device)[1])
    return [median(times) for times in spent]


def median(times: Sequence[Spent]) -> Spent:
    """The median CPU and the median wall seconds."""
    return Spent(statistics.median(t.cpu_s for t in times), statistics.median(t.wall_s for t in times))


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Run torch on ``count`` threads; the caller's number is restored after."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
