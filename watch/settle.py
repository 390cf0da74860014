"""When a file may be taken: once it, and all that says how it is rendered, has been still for a while.

However a file arrives (copied in bursts, preallocated, renamed in with an old time of its own) its snapshot changes as
long as someone writes, so only equality of snapshots is asked and only by a clock that nobody can set.
"""

from collections.abc import Collection

from watch.scan import Found, Snapshot

_State = tuple[Snapshot, tuple[Snapshot, ...], str]


class Settling:
    """Remembers since when each file has been still; times are seconds of a monotonic clock."""

    def __init__(self, settle_s: float) -> None:
        self.settle_s = settle_s
        self._since: dict[str, tuple[_State, float]] = {}
        self._awaited: float | None = None

    def update(self, found: Collection[Found], now: float) -> list[Found]:
        """Those of ``found``, which is all that one scan saw, that have been still for ``settle_s``.

        They are told each time, not once: what is not done about one now can be done after the next scan. Those that
        are not in ``found`` are forgotten and begin anew when they are back.
        """
        since: dict[str, tuple[_State, float]] = {}
        still = []
        awaited = None
        for one in found:
            state = (one.snapshot, one.beside, one.kind)
            before = self._since.get(one.relative)
            begun = before if before and before[0] == state else (state, now)
            since[one.relative] = begun
            if now - begun[1] >= self.settle_s:
                still.append(one)
            else:
                awaited = begun[1] if awaited is None else min(awaited, begun[1])
        self._since, self._awaited = since, awaited
        return still

    def next_due(self, now: float) -> float | None:
        """In how many seconds from ``now``, 0 at least, an update can tell one file more; None when none is awaited."""
        return None if self._awaited is None else max(self._awaited + self.settle_s - now, 0.0)
