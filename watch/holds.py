"""What keeps stems for a while without being their fault: each cause is told once, tried again later and later."""

import errno
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

FIRST_S, LONGEST_S = 0.5, 30.0
_SPACE_EVERY_S = 1.0


@dataclass
class _Hold:
    reason: str
    wait_s: float
    until: float
    probing: int | None = None


class Holds:
    """Places where work is of no use now, by key; the times are ``clock``'s."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._held: dict[str, _Hold] = {}

    def __len__(self) -> int:
        return len(self._held)

    @property
    def reasons(self) -> dict[str, str]:
        """Why each place is held."""
        return {key: hold.reason for key, hold in self._held.items()}

    def hold(self, key: str, reason: str) -> bool:
        """Hold ``key`` for ``reason``, twice as long as the last time; whether that is news."""
        before = self._held.get(key)
        wait_s = FIRST_S if before is None else min(LONGEST_S, before.wait_s * 2)
        if before is not None and before.until > self._clock():
            return False  # another stem that was on its way when the first one met it
        self._held[key] = _Hold(reason, wait_s, self._clock() + wait_s)
        return before is None

    def until(self, key: str, id: int) -> float | None:
        """When stem ``id`` may be tried at ``key``: None for now. Once the time has come one stem goes to see."""
        hold = self._held.get(key)
        if hold is None:
            return None
        now = self._clock()
        if now < hold.until:
            return hold.until
        if hold.probing is None or hold.probing == id:
            hold.probing = id
            return None
        return now + min(hold.wait_s, 1.0)

    def reason(self, key: str) -> str:
        """Why ``key`` is held; empty when it is not."""
        hold = self._held.get(key)
        return hold.reason if hold else ""

    def free(self, key: str) -> bool:
        """Something went well at ``key``; whether that is news."""
        return self._held.pop(key, None) is not None

    def forget(self, id: int) -> None:
        """Stem ``id`` did not come to see whether its place is well again."""
        for hold in self._held.values():
            if hold.probing == id:
                hold.probing = None


class Space:
    """Whether there is room to work: looked at once a second at most."""

    def __init__(self, clock: Callable[[], float], *, free: Callable[[Path], int] | None = None) -> None:
        self._clock, self._free = clock, free or _free_bytes
        self._looked = -1e9
        self._short: str | None = None

    def short(self, folders: frozenset[Path], min_free_mb: float) -> str | None:
        """Which of ``folders`` has less than ``min_free_mb`` megabytes left, in words; None when none has."""
        now = self._clock()
        if now - self._looked >= _SPACE_EVERY_S:
            self._looked = now
            self._short = None
            for folder in sorted(folders):
                free_mb = self._free(folder) / 1e6
                if free_mb < min_free_mb:
                    self._short = f"{folder} has {free_mb:.0f} MB free, expected {min_free_mb:.0f}: work waits for more"
                    break
        return self._short


def _free_bytes(folder: Path) -> int:
    """Bytes free where ``folder`` is or will be; plenty when nobody can tell."""
    for place in (folder, *folder.parents):
        try:
            return shutil.disk_usage(place).free
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                break
    return 1 << 62


def folder_key(output: Path) -> str:
    """The key of the folder that ``output`` goes to."""
    return os.fspath(output.parent)
