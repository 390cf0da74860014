"""What learning tells while it works: frozen events handed to a callback, never printed here."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.travelgan.training import Losses


@dataclass(frozen=True)
class ReferenceSkipped:
    """A file is not learnt from, and why: it repeats another, is silent, or sits unreadable in a folder."""

    name: str
    reason: str


@dataclass(frozen=True)
class ReferenceRead:
    """Reference ``index`` of ``count`` (from 0) is read: ``used_s`` of its ``duration_s`` seconds are learnt from."""

    index: int
    count: int
    name: str
    duration_s: float
    used_s: float


@dataclass(frozen=True)
class TargetStarted:
    """The engine begins to learn from ``seconds`` of audio with the recipe."""

    recipe: str
    seconds: float


@dataclass(frozen=True)
class PresetSaved:
    """The preset is on disk under ``name``; ``cached`` when nothing had to be learnt anew."""

    name: str
    cached: bool


@dataclass(frozen=True)
class SetHeard:
    """The ``side`` set of a training is read: ``seconds`` of sound in ``files``; ``enough`` to sound good."""

    side: str
    files: int
    seconds: float
    enough: bool


@dataclass(frozen=True)
class TrainingStarted:
    """Training begins on ``device`` after ``done`` steps of ``steps``."""

    done: int
    steps: int
    device: str


@dataclass(frozen=True)
class Stepped:
    """Step ``step`` of ``steps`` is done, with its ``losses``."""

    step: int
    steps: int
    losses: "Losses"


@dataclass(frozen=True)
class TrainingLooked:
    """The state after ``step`` is kept; there is a ``picture`` of it and, if a stem was named, what it ``played``."""

    step: int
    picture: Path
    played: Path | None


@dataclass(frozen=True)
class TrainingStopped:
    """Training was stopped after ``step`` of ``steps``; what it needs to go on lies in ``folder``."""

    step: int
    steps: int
    folder: Path


Event = (
    ReferenceSkipped
    | ReferenceRead
    | TargetStarted
    | PresetSaved
    | SetHeard
    | TrainingStarted
    | Stepped
    | TrainingLooked
    | TrainingStopped
)
OnEvent = Callable[[Event], None]
