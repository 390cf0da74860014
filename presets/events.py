"""What learning tells while it works: frozen events handed to a callback, never printed here."""

from collections.abc import Callable
from dataclasses import dataclass


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


Event = ReferenceSkipped | ReferenceRead | TargetStarted | PresetSaved
OnEvent = Callable[[Event], None]
