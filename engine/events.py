"""What the engine tells while it works: frozen events handed to a callback, never printed here."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class SegmentStarted:
    """A span of the stem goes into the solver: ``index`` of ``count``, from ``start_s`` for ``duration_s`` seconds."""

    index: int
    count: int
    start_s: float
    duration_s: float


@dataclass(frozen=True)
class Iterate:
    """One solver iteration is done: ``iteration`` of at most ``iterations``; ``loss`` is relative to the recipe."""

    segment: int
    iteration: int
    iterations: int
    loss: float


@dataclass(frozen=True)
class SegmentDone:
    """A span of the stem is styled; ``loss`` is its last loss."""

    index: int
    count: int
    loss: float


Event = SegmentStarted | Iterate | SegmentDone
OnEvent = Callable[[Event], None]
