"""What a recipe's solver is given while a stem is rendered: watched, or told that there is no memory for it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from engine.bench.clock import synchronise
from engine.method import OnIterate, Solver, Work, method
from engine.target import Target


@dataclass(frozen=True)
class Solve:
    """One batch: how many problems of what size, how many evaluations each at most, and what they took together."""

    problems: int
    channels: int
    samples: int
    evaluations: int
    seconds: float


@dataclass
class Watch:
    """The batches of a render in their order; they are there when the watch is over."""

    solves: list[Solve] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Seconds that all took."""
        return sum(solve.seconds for solve in self.solves)

    @property
    def largest(self) -> int:
        """Problems in the largest batch."""
        return max((solve.problems for solve in self.solves), default=0)


@contextmanager
def watched(recipe: str, device: torch.device) -> Iterator[Watch]:
    """Watch the solver of ``recipe``; on a GPU its time is its own queue's, between two events."""
    watch, times = Watch(), []

    def wrap(solver: Solver) -> Solver:
        def solve(work: Work, on_iterate: OnIterate) -> Tensor:
            reached = 0

            def iterate(iteration: int, iterations: int, loss: float) -> None:
                nonlocal reached
                reached = max(reached, iteration)
                on_iterate(iteration, iterations, loss)

            lap = _lap(device)
            made = solver(work, iterate)
            times.append((tuple(work.x.shape), reached, lap()))
            return made

        return solve

    with _replaced(recipe, wrap):
        yield watch
    synchronise(device)
    for (problems, channels, samples), reached, seconds in times:
        watch.solves.append(Solve(problems, channels, samples, reached, seconds()))


@contextmanager
def short_of_memory(recipe: str, most: int) -> Iterator[None]:
    """Let the solver of ``recipe`` run out of memory on any batch of more than ``most`` problems."""

    def wrap(solver: Solver) -> Solver:
        def solve(work: Work, on_iterate: OnIterate) -> Tensor:
            if work.x.shape[0] > most:
                raise torch.OutOfMemoryError(f"{work.x.shape[0]} problems, where {most} are let through")
            return solver(work, on_iterate)

        return solve

    with _replaced(recipe, wrap):
        yield


@contextmanager
def _replaced(recipe: str, wrap: Callable[[Solver], Solver]) -> Iterator[None]:
    """Put ``wrap`` around every solver that ``recipe`` makes, for as long as the context lasts."""
    found = method(recipe)
    plain = found.solver

    def solver(target: Target, power: Tensor, device: torch.device) -> Solver:
        return wrap(plain(target, power, device))

    held = vars(found)
    before = held.get("solver")
    held["solver"] = solver
    try:
        yield
    finally:
        if before is None:
            del held["solver"]
        else:
            held["solver"] = before


def _lap(device: torch.device) -> Callable[[], Callable[[], float]]:
    """Start a clock; the call stops it and gives what will tell the seconds once the device has caught up."""
    if device.type == "cuda":
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        stream = torch.cuda.current_stream(device)
        begin.record(stream)

        def stop() -> Callable[[], float]:
            end.record(stream)
            return lambda: float(begin.elapsed_time(end)) / 1e3

        return stop
    synchronise(device)
    started = time.perf_counter()

    def halt() -> Callable[[], float]:
        synchronise(device)
        took = time.perf_counter() - started
        return lambda: took

    return halt
