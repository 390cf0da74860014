"""Temporary files that a killed worker left in output folders: found by a look, deleted when they have not moved."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from render.publish import PARTIAL

STILL_S = 60.0
_SUFFIX = ".part"


class Leavings:
    """Remembers what was left where; ``clock`` is monotonic seconds."""

    def __init__(self, clock: Callable[[], float], *, still_s: float = STILL_S) -> None:
        self._clock, self._still_s = clock, still_s
        self._seen: dict[Path, tuple[int, int]] = {}
        self._due: float | None = None

    @property
    def due(self) -> float | None:
        """When to `sweep`; None when there is nothing."""
        return self._due

    def look(self, folders: Iterable[Path]) -> None:
        """Note every temporary file below ``folders``. For when a worker died, and for the start."""
        for folder in folders:
            for path in _partials(folder):
                if mark := _mark(path):
                    self._seen[path] = mark
        self._due = self._clock() + self._still_s if self._seen else None

    def sweep(self) -> int:
        """Delete those that are as they were, once their time has come and when no worker is busy; how many."""
        if self._due is None or self._clock() < self._due:
            return 0
        gone = 0
        for path, mark in self._seen.items():
            if _mark(path) == mark:
                with suppress(OSError):
                    path.unlink()
                    gone += 1
        self._seen.clear()
        self._due = None
        return gone


def _partials(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not os.path.islink(os.path.join(place, name))]  # noqa: PTH114, PTH118
        for name in files:
            if name.startswith(PARTIAL) and name.endswith(_SUFFIX):
                yield Path(place, name)


def _mark(path: Path) -> tuple[int, int] | None:
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns
