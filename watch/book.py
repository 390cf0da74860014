"""What a worker said about a stem becomes steps in the ledger, and what follows from them for the source.

An answer is kept until it is written down: a ledger that cannot be written (disk full) loses none, it only waits.
The order is that no crash can tear: output durable → published → done → the source moves.
"""

import logging
import os
from collections.abc import Callable
from pathlib import Path

from watch import barriers, names, sources
from watch.config import ConfigProblem, Configs, StemConfig
from watch.errors import WatchError
from watch.holds import Holds, folder_key
from watch.ledger import IllegalStep, Ledger
from watch.ledgerfile import LedgerUnavailable
from watch.pool import Lost
from watch.protocol import Failed, Incomplete, Published, Rendered, Returned, Waiting
from watch.rows import Row

log = logging.getLogger("watch")

Outcome = Published | Incomplete | Failed | Waiting | Returned | Lost

#: An incomplete file that stays as it is has failed after so many times the time it has to be still.
PATIENCE = 15.0
_ATTEMPT_S, _ATTEMPT_FACTOR = 1.0, 4.0
_CONFIG_S, _LATER_S = 60.0, 5.0
# A sound that is whole is published within milliseconds, unless a disk is slow: only then is the step worth a write.
_UNPUBLISHED_S = 0.5


class Book:
    """Writes outcomes into ``ledger`` for the folder ``root``; ``holds`` learns what is not the stems' fault."""

    def __init__(self, root: Path, ledger: Ledger, configs: Configs, holds: Holds, clock: Callable[[], float]) -> None:
        self._root, self._ledger, self._configs = root, ledger, configs
        self._holds, self._clock = holds, clock
        self.attempts, self.settle_s = 3, 2.0
        self._pending: list[Outcome] = []
        self._rendered: dict[int, tuple[str, float]] = {}
        self._unfinished: dict[int, Row] = {}
        # Since when each file that is not whole is as it is now.
        self._incomplete: dict[int, tuple[tuple[int, ...], float]] = {}
        self._waits: dict[int, str] = {}
        self._later: dict[int, Row] = {}
        self._later_at = 0.0
        self._stuck: set[int] = set()

    @property
    def behind(self) -> bool:
        """Whether there is something that is not written down yet."""
        return bool(self._pending or self._unfinished)

    def add(self, outcome: Outcome) -> None:
        """Take an outcome, to be written down with the next `write`."""
        self._pending.append(outcome)
        self._rendered.pop(outcome.id, None)

    def rendered(self, said: Rendered) -> None:
        """Take in that a sound is whole and not published yet, to be written down when that lasts."""
        self._rendered[said.id] = said.output, self._clock() + _UNPUBLISHED_S

    def write(self) -> None:
        """Write down all that was added, in one transaction, then deal with the sources.

        `LedgerUnavailable` leaves everything for the next time.
        """
        if self._pending:
            barriers.reach("daemon-answered")
            ended: list[Row] = []
            with self._ledger.transaction():
                for outcome in self._pending:
                    row = self._ledger.get(outcome.id)
                    if row.state in ("claimed", "rendered"):
                        ended += self._noted(row, outcome)
            self._pending.clear()
            self._unfinished |= {row.id: row for row in ended}
            barriers.reach("daemon-written", " ".join(row.relative for row in ended))
        for id, (output, due) in list(self._rendered.items()):
            if self._clock() >= due:
                self._whole(self._ledger.get(id), self.shown(Path(output)))
                del self._rendered[id]
        for row in list(self._unfinished.values()):
            self.finish(row)
            self._unfinished.pop(row.id, None)
        if self._later and self._clock() >= self._later_at:
            again, self._later = self._later, {}
            for row in again.values():
                self.finish(row)

    def tell_wait(self, row: Row, reason: str) -> None:
        """Say that ``row`` waits, and for what, unless that was said before."""
        if self._waits.get(row.id) != reason:
            self._waits[row.id] = reason
            log.warning("%s waits: %s", names.shown(row.relative), "; ".join(reason.splitlines()))

    def finish(self, row: Row) -> None:
        """Do with the source of an ended (or published) stem what its folder wants; harmless to repeat."""
        try:
            self._finish(self._ledger.get(row.id))
            self._stuck.discard(row.id)
        except LedgerUnavailable:
            raise
        except (OSError, WatchError) as error:
            self._later[row.id], self._later_at = row, self._clock() + _LATER_S
            if row.id not in self._stuck:
                self._stuck.add(row.id)
                log.warning("%s stays where it is for now: %s", names.shown(row.relative), error)

    def _noted(self, row: Row, outcome: Outcome) -> list[Row]:
        """As `_one`; a step that the ledger refuses ends as an attempt, and not as the end of the daemon."""
        try:
            return self._one(row, outcome)
        except IllegalStep as error:
            log.error("%s: %s", names.shown(row.relative), error)
            return self._retry(row, str(error))

    def _one(self, row: Row, outcome: Outcome) -> list[Row]:
        """Write one outcome; the row when its source is to be dealt with."""
        if not isinstance(outcome, Incomplete):
            self._incomplete.pop(row.id, None)
        if not isinstance(outcome, Waiting):
            self._waits.pop(row.id, None)
        if not isinstance(outcome, Published | Waiting):
            self._holds.forget(row.id)
        if isinstance(outcome, Published):
            return self._published(row, outcome)
        if isinstance(outcome, Failed):
            return self._retry(row, outcome.reason) if outcome.retry else self._failed(row, outcome.reason)
        if isinstance(outcome, Lost):
            if outcome.blame:
                return self._retry(row, outcome.reason)
            self._ledger.back(row.id, None, count=False)
        elif isinstance(outcome, Incomplete):
            return self._not_whole(row, outcome)
        elif isinstance(outcome, Waiting):
            self._not_its_fault(row, outcome)
        else:
            self._ledger.back(row.id, None, count=False)
        return []

    def _whole(self, row: Row, output: str) -> None:
        owner = self._ledger.owner_of(output)
        if row.state == "claimed" and (owner is None or owner.relative == row.relative):
            self._ledger.rendered(row.id, output)

    def _published(self, row: Row, said: Published) -> list[Row]:
        config = self._config(row)
        output = self.shown(Path(said.output))
        self._make_way(row, output)
        self._ledger.keyed(row.id, content=said.source_sha256 or None, preset_hash=said.preset_hash or None)
        self._ledger.published(row.id, output, said.sha256, said.frames)
        if self._holds.free(folder_key(Path(said.output))):
            log.info("%s can be written again", Path(said.output).parent)
        # Without a config that can be read, the source stays where it is.
        after = "keep" if config is None else config.after
        if after != "delete":
            aside = sources.place_aside(self._root, names.DONE, row.relative) if after == "move" else None
            self._ledger.done(row.id, moved_to=aside)
        log.info(
            "%s → %s%s", names.shown(row.relative), names.shown(output), ", which was there" if said.already else ""
        )
        for note in said.notes:
            log.warning("%s: %s", names.shown(row.relative), names.shown(note))
        return [] if after == "keep" else [row]

    def _make_way(self, row: Row, output: str) -> None:
        """Whoever has reserved the name that ``row`` got in the end (its own was taken on the disk) takes another."""
        other = self._ledger.owner_of(output)
        if other is None or other.relative == row.relative or other.sha256 is not None:
            return
        place = Path(output)
        number = 2
        while self._ledger.owner_of(numbered := f"{place.with_suffix('')} ({number}).wav") is not None:
            number += 1
        self._ledger.reserve(other.id, numbered)

    def _failed(self, row: Row, reason: str) -> list[Row]:
        config = self._config(row)
        moved = config is None or config.failed == "move"
        aside = sources.place_aside(self._root, names.FAILED, row.relative)
        self._ledger.failed(row.id, reason, moved_to=aside if moved else None)
        log.warning("%s failed: %s", names.shown(row.relative), reason)
        return [row]

    def _retry(self, row: Row, reason: str) -> list[Row]:
        """A stem that brought something down: again, later each time, a few times."""
        if row.attempts + 1 >= self.attempts:
            return self._failed(row, f"{reason} ({row.attempts + 1} attempts)")
        wait_s = _ATTEMPT_S * _ATTEMPT_FACTOR**row.attempts
        self._ledger.back(row.id, reason, self._clock() + wait_s)
        log.warning("%s is tried again in %.0f s: %s", names.shown(row.relative), wait_s, reason)
        return []

    def _not_whole(self, row: Row, said: Incomplete) -> list[Row]:
        now = self._clock()
        if said.changed:
            self._incomplete.pop(row.id, None)
            self._ledger.back(row.id, said.reason, now + self.settle_s, count=False)
            return []
        # One that grew since it was looked at last is on its way, however long that takes.
        state = (row.size, row.mtime_ns, row.ctime_ns, row.inode)
        before = self._incomplete.get(row.id)
        if before is None or before[0] != state:
            before = self._incomplete[row.id] = (state, now)
        first = before[1]
        if now - first >= PATIENCE * self.settle_s:
            del self._incomplete[row.id]
            return self._failed(row, said.reason)
        self._ledger.back(row.id, said.reason, now + max(self.settle_s, (now - first) / 2), count=False)
        return []

    def _not_its_fault(self, row: Row, said: Waiting) -> None:
        until = self._clock() + _CONFIG_S
        if said.cause == "output":
            config = self._config(row)
            key = folder_key(config.out / config.place) if config is not None else os.fspath(self._root)
            if self._holds.hold(key, said.reason):
                log.warning("work for %s waits: %s", key, said.reason)
            until = self._holds.until(key, -1) or self._clock() + 1.0
        else:
            self.tell_wait(row, said.reason)
        self._ledger.waiting(row.id, said.reason, until)

    def _finish(self, row: Row) -> None:
        if row.state == "published":
            self._finish_published(row)
        elif row.state == "done" and row.moved_to is not None:
            self._move(row, row.moved_to)
        elif row.state == "failed":
            self._finish_failed(row)

    def _finish_published(self, row: Row) -> None:
        config = self._config(row)
        after = "keep" if config is None else config.after
        if after == "delete":
            barriers.reach("daemon-deleting")
            sources.delete(self._root, row)
            barriers.reach("daemon-deleted")
        aside = sources.place_aside(self._root, names.DONE, row.relative) if after == "move" else None
        self._ledger.done(row.id, moved_to=aside)
        if aside is not None:
            self._move(row, aside)

    def _move(self, row: Row, aside: str) -> None:
        barriers.reach("daemon-moving")
        if os.path.lexists(self._root / aside):
            if not sources.is_there(self._root, row):
                return  # it was moved before
            aside = sources.place_aside(self._root, aside.partition("/")[0], row.relative)
            self._ledger.moved(row.id, aside)
        outcome = sources.move(self._root, row, aside)
        barriers.reach("daemon-moved")
        if outcome != "moved":
            self._ledger.moved(row.id, None)

    def _finish_failed(self, row: Row) -> None:
        aside = row.moved_to or f"{names.FAILED}/{row.relative}"
        if not sources.explained(self._root, aside, f"{row.reason}\n"):
            sources.explain(self._root, aside, f"{row.reason}\n")
        barriers.reach("daemon-explained")
        if row.moved_to is not None:
            self._move(row, row.moved_to)

    def _config(self, row: Row) -> StemConfig | None:
        found = self._configs.for_stem(row.relative)
        return None if isinstance(found, ConfigProblem) else found

    def shown(self, output: Path) -> str:
        """``output`` as the ledger has it: from the watched folder on when it lies inside."""
        return names.relative(self._root, output) if output.is_relative_to(self._root) else os.fspath(output)
