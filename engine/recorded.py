"""An objective whose launches a CUDA GPU records once and then replays: what a small batch mostly waits for.

An evaluation is two hundred launches in `draft`, six hundred in `standard`, which a CPU needs milliseconds to send; a
graph of them is one (`torch.cuda.CUDAGraph`).  The first evaluation runs as it is and counts, so that kernels are built
and FFT plans made; the second is recorded.  What a recording gives is compared with the objective itself the first time
in a process, and recording is given up where it fails or differs: everything then goes on as it is, launch by launch.
``GRAMOPHONE_GRAPHS=0`` does not record at all.
"""

import logging
import os
from typing import Protocol

import torch
from torch import Tensor

from engine import device as devices
from engine.fused import apart
from engine.lbfgs import Objective

#: How far a replay may be from the objective itself, of the largest number.
TOLERANCE = 1e-4
#: Numbers in a batch that is small enough to wait for its launches: sixteen stereo segments of ten seconds.
SMALL = 16 * 2 * 441_000
_log = logging.getLogger(__name__)
#: Whether recordings have proved right in this process; empty before the first.
_proved: list[bool] = []


class Recorder(Protocol):
    """What records an objective: gives its results, which each `replay` writes anew from what ``x`` then holds."""

    def record(self, objective: Objective, x: Tensor) -> tuple[Tensor, Tensor]:
        """Note what ``objective`` does with ``x``; the results hold nothing before the first `replay`."""

    def replay(self) -> None:
        """Do it again."""


class Graph:
    """The recorder of CUDA."""

    def __init__(self) -> None:
        self._graph = torch.cuda.CUDAGraph()

    def record(self, objective: Objective, x: Tensor) -> tuple[Tensor, Tensor]:
        """On a stream of its own; other threads may go on copying meanwhile."""
        with torch.cuda.device(x.device), torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            return objective(x)

    def replay(self) -> None:
        """On the current stream."""
        self._graph.replay()


class Recorded:
    """``objective``, which must launch the same at every call whatever the numbers are, recorded where that pays."""

    def __init__(self, objective: Objective, recorder: type[Recorder] = Graph) -> None:
        self._objective, self._recorder = objective, recorder
        self._recording: tuple[Recorder, Tensor, tuple[Tensor, Tensor]] | None = None
        self._calls = 0

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Losses and gradients at ``x``, as the objective gives them."""
        self._calls += 1
        if self._calls == 2 and False not in _proved and _worthwhile(x):
            self._record(x)
        if self._recording is None:
            return self._objective(x)
        recorder, place, (losses, gradient) = self._recording
        place.copy_(x)
        recorder.replay()
        return losses.clone(), gradient.clone()  # the next replay writes over them

    def _record(self, x: Tensor) -> None:
        """Record, and try the first recording of the process before it is trusted."""
        try:
            recorder, place = self._recorder(), x.clone()
            recording = recorder, place, recorder.record(self._objective, place)
            if not _proved:
                recorder.replay()
                error = max(map(apart, recording[2], self._objective(x)))
                if error > TOLERANCE:
                    raise RuntimeError(f"what it replays is {error:.1e} off")
                _proved.append(True)
            self._recording = recording
        except Exception as failure:
            if devices.ran_out(failure):
                return  # a graph keeps memory of its own: where that does not fit, another batch's may
            _proved.append(False)
            _log.warning("an evaluation cannot be recorded as a graph here (%s); it is launched each time", failure)


def _worthwhile(x: Tensor) -> bool:
    """A large batch keeps the GPU busy while the next launches are sent, and would need its memory twice."""
    return x.is_cuda and x.numel() <= SMALL and os.environ.get("GRAMOPHONE_GRAPHS") != "0"
