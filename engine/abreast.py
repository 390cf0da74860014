"""Problems on a CPU, side by side: as many at once as there are cores, each on its own share of them.

One problem on all cores waits after every operation for the slowest thread, and on a machine that others use too it
waits most of the time.  Problems of their own wait for nobody, and stay in their cores' caches.  How many threads one
gets follows from the machine alone, never from how many others there are: its sums, and so its bits, stay the same
whatever company it is solved in.
"""

import os
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from statistics import fmean

import torch
from torch import Tensor

from engine.method import OnIterate

#: More at once would take more memory than they save time.
MOST = 4
#: How often whoever waits looks up: some systems deliver an interrupt only between two waits.
_PATIENCE_S = 0.5

Problem = Callable[[OnIterate], Tensor]


class _Stopped(BaseException):
    """Ends a problem whose result nobody waits for any more."""


def share() -> tuple[int, int]:
    """How many problems are solved at once, and the threads of each, of those that torch has in this thread."""
    threads = torch.get_num_threads()
    count = min(threads, MOST)
    return count, threads // count


def solved(problems: Sequence[Problem], on_iterate: OnIterate) -> list[Tensor]:
    """What each of ``problems`` gives, called with something to tell its iterations to.

    ``on_iterate`` is called in this thread only, with the iterations made on average and the mean of the last losses.
    What one of them raises is raised here, as is what ``on_iterate`` raises, once the others have stopped.
    """
    if share() == (1, 1):
        return _in_turn(problems, on_iterate)
    told: queue.SimpleQueue[tuple[int, int, int, float] | None] = queue.SimpleQueue()
    stop = threading.Event()

    def run(number: int, problem: Problem) -> Tensor:
        def tell(iteration: int, iterations: int, loss: float) -> None:
            if stop.is_set():
                raise _Stopped
            told.put((number, iteration, iterations, loss))

        with torch.no_grad():
            return problem(tell)

    futures: list[Future[Tensor]] = []
    tally = _Tally(len(problems), on_iterate)
    try:
        for number, problem in enumerate(problems):
            futures.append(_pool(*share()).submit(run, number, problem))
            futures[-1].add_done_callback(lambda _: told.put(None))
        left = len(futures)
        while left:
            try:
                event = told.get(timeout=_PATIENCE_S)
            except queue.Empty:
                continue
            if event is not None:
                tally.hear(*event)
                continue
            left -= 1
            for future in futures:
                if future.done():
                    future.result()
        return [future.result() for future in futures]
    finally:
        stop.set()
        for future in futures:
            future.cancel()
        for future in futures:
            if not future.cancelled():
                future.exception()


def _in_turn(problems: Sequence[Problem], on_iterate: OnIterate) -> list[Tensor]:
    """`solved` by this thread alone, as on a machine of one core."""
    tally = _Tally(len(problems), on_iterate)
    return [problem(partial(tally.hear, number)) for number, problem in enumerate(problems)]


class _Tally:
    """Where all problems stand."""

    def __init__(self, count: int, on_iterate: OnIterate) -> None:
        self._made = [0.0] * count
        self._losses: list[float | None] = [None] * count
        self._on_iterate = on_iterate

    def hear(self, number: int, iteration: int, iterations: int, loss: float) -> None:
        self._made[number], self._losses[number] = iteration / max(iterations, 1), loss
        mean = fmean(loss for loss in self._losses if loss is not None)
        self._on_iterate(max(1, int(fmean(self._made) * iterations + 1e-6)), iterations, mean)


_making = threading.Lock()
_pools: dict[tuple[int, int], ThreadPoolExecutor] = {}


def _pool(count: int, threads: int) -> ThreadPoolExecutor:
    """The workers, started once: libraries keep buffers for every thread that has ever called them."""
    with _making:
        if (count, threads) not in _pools:
            mine, ready = torch.get_num_threads(), threading.Barrier(count + 1)

            def begin() -> None:
                torch.get_num_threads()  # a thread that has not asked yet would later take what the last one has set
                torch.set_num_threads(threads)
                ready.wait()

            pool = ThreadPoolExecutor(count, "segment", initializer=begin)
            for _ in range(count):
                pool.submit(bool)
            ready.wait()
            # A worker's number is its own, but also what threads that are yet to come would get.
            torch.set_num_threads(mine)
            _pools[count, threads] = pool
        return _pools[count, threads]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pools.clear)  # whose threads stay behind
