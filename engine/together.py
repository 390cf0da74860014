"""Segments of one stem, or of several stems at once, solved in shared batches of a size that fits the device.

Each stem's stream runs in a thread of its own and hands over its segments; whoever finds enough of them waiting, or
nobody left to wait for, solves a batch for all.  On a GPU sixty short stems so take as many batches as one long stem of
their length; on a CPU a batch is one problem for each core (`engine.abreast`), and the other streams read and write.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import groupby

import torch
from torch import Tensor

from engine import device as devices
from engine.method import OnIterate, Solver, Work, joined, kinship

#: How long a batch that is not full waits for a stream that is busy reading or writing.
PATIENCE_S = 0.2


@dataclass(eq=False)
class _Problem:
    """One segment that waits for its batch."""

    solver: Solver
    work: Work
    tell: OnIterate
    owner: object
    kin: object
    done: bool = False
    solved: Tensor | None = None
    error: BaseException | None = None


@dataclass
class Together:
    """Where streams meet: at most ``batch`` segments are solved at once, fewer for good where those did not fit."""

    batch: int
    live: int = 0
    _waiting: list[_Problem] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _busy: bool = False
    _stopped: bool = False

    @contextmanager
    def joined(self) -> Iterator[None]:
        """One more stream, until the block is left: the others wait for its segments a little."""
        with self._changed:
            self.live += 1
        try:
            yield
        finally:
            with self._changed:
                self.live -= 1
                self._changed.notify_all()

    @property
    def share(self) -> int:
        """How many segments each stream had best hand over at once."""
        return max(1, self.batch // max(1, self.live))

    def stop(self) -> None:
        """End every stream with `KeyboardInterrupt`, at its next step."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def check(self) -> None:
        """Raise `KeyboardInterrupt` after `stop`."""
        if self._stopped:
            raise KeyboardInterrupt

    def solve(self, solver: Solver, works: Sequence[Work], tell: OnIterate) -> list[Tensor]:
        """``works`` of one segment each ``[1, channels, samples]`` restyled by ``solver``, alone or in company.

        What the device says when one segment alone does not fit.
        """
        owner = object()
        mine = [_Problem(solver, work, tell, owner, (kinship(solver), work.kinship)) for work in works]
        with self._changed:
            self._waiting += mine
            self._changed.notify_all()
        while group := self._next(mine):
            self._run(group)
        for problem in mine:
            if problem.error is not None:
                raise problem.error
        return [problem.solved for problem in mine if problem.solved is not None]

    def _next(self, mine: Sequence[_Problem]) -> list[_Problem]:
        """A batch for this thread to solve, or none when its own problems are solved."""
        waited = False
        with self._changed:
            while True:
                if self._stopped:
                    self._waiting = [problem for problem in self._waiting if problem not in mine]
                    raise KeyboardInterrupt
                if all(problem.done for problem in mine):
                    return []
                if not self._busy and self._waiting:
                    kin = self._waiting[0].kin
                    group = [problem for problem in self._waiting if problem.kin == kin][: self.batch]
                    owners = {id(problem.owner) for problem in self._waiting}
                    if len(group) == self.batch or len(owners) >= self.live or waited:
                        self._waiting = [problem for problem in self._waiting if problem not in group]
                        self._busy = True
                        return group
                waited = not self._changed.wait(PATIENCE_S)

    def _run(self, group: list[_Problem]) -> None:
        """Solve ``group``, and let the next batch begin."""
        left: list[_Problem] = []
        try:
            left = self._attempt(group)
        finally:
            with self._changed:
                self._waiting[:0] = left
                self._busy = False
                self._changed.notify_all()

    def _attempt(self, group: list[_Problem]) -> list[_Problem]:
        """Solve ``group``, stem by stem where somebody's cannot be solved; what has to wait comes back."""
        try:
            return self._solved(group)
        except Exception as error:
            if devices.ran_out(error):
                group[0].done, group[0].error = True, error
                return group[1:]
            if group[0].owner is not group[-1].owner:
                parts = groupby(group, key=lambda problem: id(problem.owner))
                return [problem for _, part in parts for problem in self._attempt(list(part))]
            for problem in group:
                problem.done, problem.error = True, error
            return []

    def _solved(self, group: list[_Problem]) -> list[_Problem]:
        """What of ``group`` has to wait because it did not fit; the rest is solved."""
        fitting = group[: self.batch]
        while (solved := self._tried(fitting)) is None:
            # Only here, where the error is gone, and with it the frames that held on to what had fitted.
            _free(fitting[0].work.x.device)
            self.batch = (len(fitting) + 1) // 2
            fitting = group[: self.batch]
        for problem, row in zip(fitting, solved, strict=True):
            problem.solved, problem.done = row, True
        return group[len(fitting) :]

    def _tried(self, group: list[_Problem]) -> Tensor | None:
        """``group`` solved; None where it does not fit and half of it might."""
        tells = {id(problem.owner): problem.tell for problem in group}

        def tell(iteration: int, iterations: int, loss: float) -> None:
            self.check()
            for one in tells.values():
                one(iteration, iterations, loss)

        try:
            return joined([problem.solver for problem in group])(_stacked(group), tell)
        except Exception as error:
            if len(group) == 1 or not devices.ran_out(error):
                raise
            return None


def _stacked(problems: Sequence[_Problem]) -> Work:
    """One work of all ``problems``, which are akin."""
    first = problems[0].work
    if len(problems) == 1:
        return first
    starts = [problem.work.start for problem in problems if problem.work.start is not None]
    start = torch.cat(starts) if starts else None
    return replace(first, x=torch.cat([problem.work.x for problem in problems]), start=start)


def _free(device: torch.device) -> None:
    """Give back what a batch that did not fit has left behind."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
