"""The daemon's main loop: look, settle, note down, hand out, take in. One thread, which never waits but in one place.

Whatever the disk or a stem does, the loop goes on; it ends for a signal, or for `Anew` when the ledger or the lock was
taken away under it.
"""

import logging
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from watch import barriers, names, protocol
from watch.book import Book
from watch.config import ConfigProblem, Configs, StemConfig
from watch.errors import WatchError
from watch.holds import Holds, Space, folder_key
from watch.intake import Intake
from watch.leavings import Leavings
from watch.ledger import Ledger
from watch.ledgerfile import LedgerUnavailable
from watch.lock import Lock
from watch.notify import Notifier
from watch.pool import Deadlines, Died, Pool, PoolEvent, Printed, Warm
from watch.protocol import Stem
from watch.rows import WORKING, Row
from watch.scan import Found, ScanResult, Snapshot
from watch.settle import Settling
from watch.signals import Wishes
from watch.tables import DaemonConfig
from watch.wake import Wake

log = logging.getLogger("watch")

#: Commands (pause, resume, retry) write into the ledger: it is asked so often whether they did.
TICK_S = 0.5
_SCAN_GAP_S, _SCAN_SHARE = 0.05, 4.0
# What follows a look costs half as much again: with ten thousand stems that lie there, a third of a percent of a core.
_RESCAN_SHARE = 400.0
_LEDGER_AGAIN_S = 1.0
_GROUP_S = 0.02
_WORLD_S, _RELEASE_S = 60.0, 1.2
_NOTED_AT_ONCE = 500


class Anew(WatchError):
    """The state of the folder was taken away under the daemon: it has to begin again with what is there now."""


class Service:
    """One daemon at work on ``root``. `serve` until a signal, or until nothing is left to do with ``once``."""

    def __init__(
        self,
        root: Path,
        *,
        ledger: Ledger,
        lock: Lock,
        wake: Wake,
        configs: Configs,
        settings: Callable[[], DaemonConfig],
        pool: Callable[[DaemonConfig, int], Pool],
        wishes: Wishes,
        notifier: Notifier,
        owner: str,
        exclude: Iterable[Path] = (),
        library: Path | None = None,
        once: bool = False,
        grace_s: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._root, self._ledger, self._lock, self._wake, self._configs = root, ledger, lock, wake, configs
        self._read_settings, self._make_pool, self._wishes, self._notifier = settings, pool, wishes, notifier
        self._owner, self._library, self._once, self._grace_s, self._clock = owner, library, once, grace_s, clock
        self._intake = Intake(root, configs, frozenset(exclude))
        self._holds = Holds(clock)
        self._space = Space(clock)
        self._leavings = Leavings(clock)
        self._book = Book(root, ledger, configs, self._holds, clock)
        self._settings = settings()
        self._settling = Settling(self._settings.settle_s)
        self._seen: dict[str, tuple[Snapshot, tuple[Snapshot, ...]]] = {}
        self._present: frozenset[str] = frozenset()
        self._lost: frozenset[str] = frozenset()
        self._refused: frozenset[tuple[Path, str]] = frozenset()
        self._outs: set[Path] = {root / names.OUT}
        self._world: object = None
        self._release_at: float | None = None
        self._scan_at, self._scanned_at, self._scan_took_s, self._rescan_at = 0.0, -1e9, 0.0, 0.0
        self._ledger_at = self._round_at = 0.0
        self._draining_since: float | None = None
        self._told: dict[str, str] = {}
        self._status_at = 0.0
        self._late, self._starved, self._taken_over = False, True, False
        self._pool = pool(self._settings, wake.fileno())
        self._apply(self._settings)

    def serve(self) -> int:
        """Work; 0 at the end, 1 with ``once`` when something failed or still waits, 130 after an interrupt."""
        self._leavings.look(self._outs)
        self._pool.start()
        try:
            self._notifier.ready()
            while not self._over():
                self._notifier.beat()
                for event in self._pool.poll(self._timeout()):
                    self._hear(event)
                if self._wake.clear():
                    self._scan_at = min(self._scan_at, self._clock())
                if self._wishes.reload:
                    self._reload()
                if self._clock() >= max(self._ledger_at, self._group_until()):
                    self._guarded(self._round)
            return self._end()
        finally:
            self._pool.stop(0.0)

    def _group_until(self) -> float:
        """While workers have enough to do, answers gather for a moment: one transaction is as dear as twenty."""
        return self._round_at + _GROUP_S if self._pool.ahead and not self._wishes.stops else 0.0

    def _round(self) -> None:
        """One turn of the loop, as far as the ledger lets it."""
        self._round_at = self._clock()
        if not self._taken_over:
            self._take_over()
        self._book.write()
        if self._clock() >= self._due_scan():
            self._look()
        if self._release_at is not None and self._clock() >= self._release_at:
            self._release_at = None
            self._ledger.release()
        if self._draining_since is None:
            self._hand_out()
        self._tell()
        if self._pool.busy == 0 and (gone := self._leavings.sweep()):
            log.info("%d temporary files of killed workers were removed", gone)

    def _guarded(self, step: Callable[[], None]) -> None:
        """``step``, or a later try when the ledger cannot be written now."""
        try:
            step()
        except LedgerUnavailable as error:
            if "ledger" not in self._told:
                log.error("%s", error)
            self._told["ledger"] = str(error)
            self._ledger_at = self._clock() + _LEDGER_AGAIN_S
        else:
            if self._told.pop("ledger", None):
                log.info("the ledger can be written again")

    def _take_over(self) -> None:
        """Finish what an earlier daemon had published and not ended."""
        for row in self._ledger.rows("published"):
            self._book.finish(row)
        self._taken_over = True

    # Looking

    def _due_scan(self) -> float:
        gap = max(_SCAN_GAP_S, _SCAN_SHARE * self._scan_took_s)
        return max(min(self._scan_at, self._rescan_at), self._scanned_at + gap)

    def _look(self) -> None:
        """Scan the folder; note what is new, what lies still and what is gone."""
        if not (self._ledger.present() and self._lock.present()):
            raise Anew("the state folder was removed or replaced; beginning again with what is there")
        begun = self._clock()
        self._scan_at = self._rescan_at = begun + 3600.0  # until it is known better; an error leaves the next to a wake
        result = self._intake.look()
        now = self._clock()
        self._wake.exclude(self._intake.excluded)
        self._scan_took_s, self._scanned_at = now - begun, now
        self._wake.scanned(self._scan_took_s)
        self._rescan_at = now + max(self._settings.rescan_s, _RESCAN_SHARE * self._scan_took_s)
        still = self._settling.update(result.found, now)
        self._refuse(result)
        try:
            self._note(still)
            self._miss(result)
            self._watch_world(result)
        except LedgerUnavailable:
            self._scan_at = now
            raise
        wait_s = self._settling.next_due(now)
        self._scan_at = now + 3600.0 if wait_s is None else now + wait_s

    def _note(self, still: list[Found]) -> None:
        """Put what is new among ``still`` into the ledger."""
        news = [one for one in still if self._seen.get(one.relative) != (one.snapshot, one.beside)]
        for start in range(0, len(news), _NOTED_AT_ONCE):
            part = news[start : start + _NOTED_AT_ONCE]
            unfinished: list[Row] = []
            with self._ledger.transaction():
                noted = [one for one in part if self._noted(one, unfinished)]
            self._seen |= {one.relative: (one.snapshot, one.beside) for one in noted}
            barriers.reach("daemon-found")
            for row in unfinished:
                self._book.finish(row)

    def _noted(self, one: Found, unfinished: list[Row]) -> bool:
        """Whether the ledger has ``one`` as it is now, and nothing more is to be noted."""
        row = self._ledger.found(one.relative, one.snapshot, one.kind)
        if not row.matches(one.snapshot):
            self._late = True
            return False  # an older content is under work; when that has ended, this one is noted
        before = self._seen.get(one.relative)
        if row.state in ("done", "failed"):
            if before is not None and before[1] != one.beside and (row.kind == "album" or row.state == "failed"):
                self._ledger.retry(one.relative)  # a stem of the album was replaced, a mistake was mended
            elif row.moved_to is not None or row.state == "failed":
                unfinished.append(row)  # an earlier daemon died before it dealt with the source
        elif row.state == "found" and row.held and before is not None:
            self._ledger.release(one.relative)
        return True

    def _miss(self, result: ScanResult) -> None:
        """Take note of what is not there any more."""
        present = frozenset(one.relative for one in result.found)
        if result.missed(""):
            return
        first, lost = not self._present, (self._lost | (self._present - present)) - present
        self._present, self._lost = present, lost
        for relative in lost:
            self._seen.pop(relative, None)
        if not (lost or first):
            return
        with self._ledger.transaction():
            for row in self._ledger.absent(present):
                if not result.missed(row.relative):
                    self._ledger.gone(row.id)
                    log.info("%s is gone", names.shown(row.relative))
        # What is under work is not said to be gone before its verdict is there, which brings another look.
        self._lost = lost & {row.relative for row in self._ledger.rows(*WORKING)}
        self._late = self._late or bool(self._lost)

    def _watch_world(self, result: ScanResult) -> None:
        """Try again what waits for a preset or a setting when one of them may have changed."""
        library = None
        if self._library is not None:
            try:
                library = self._library.stat().st_mtime_ns
            except OSError:
                library = None
        world = (library, dict(result.configs))
        if world != self._world:
            # Not at once: whoever was asked for a preset a moment ago keeps the answer for a second.
            self._release_at = None if self._world is None else self._clock() + _RELEASE_S
            self._world = world

    def _refuse(self, result: ScanResult) -> None:
        refused = frozenset((one.path, one.reason) for one in result.refused)
        for path, reason in sorted(refused - self._refused):
            log.warning("%s %s", names.shown(str(path)), reason)
        self._refused = refused

    # Handing out

    def _hand_out(self) -> None:
        """Claim as many stems as the workers have room for and send them."""
        short = self._space.short(frozenset(self._outs), self._settings.min_free_mb)
        self._say("space", short)
        if short or self._book.behind or not self._pool.room:
            return
        sent: list[Stem] = []
        with self._ledger.transaction():
            rows = self._ledger.claim(self._pool.room, self._owner)
            self._starved = not rows
            sent += [request for row in rows if (request := self._request(row))]
        if sent:
            barriers.reach("daemon-claimed")
        for request in sent:
            log.debug("%s is started", names.shown(request.path))
            self._pool.send(request)

    def _request(self, row: Row) -> Stem | None:
        """What a worker is told of ``row``; None when it has to wait."""
        config = self._configs.for_stem(row.relative)
        now = self._clock()
        if isinstance(config, ConfigProblem):
            self._book.tell_wait(row, config.reason)
            self._ledger.waiting(row.id, config.reason, now + _WORLD_S)
            return None
        self._outs.add(config.out)
        key = folder_key(config.out / config.place)
        if (until := self._holds.until(key, row.id)) is not None:
            self._ledger.waiting(row.id, self._holds.reason(key), until)
            return None
        number = 1 if row.kind == "album" else self._reserve(row, config)
        self._ledger.keyed(row.id, config_hash=config.key)
        mine = row if row.sha256 is not None else self._ledger.earlier(row.relative)
        return Stem(
            id=row.id,
            path=str(self._root / row.relative),
            size=row.size,
            mtime_ns=row.mtime_ns,
            inode=row.inode,
            out=str(config.out),
            place=str(config.place),
            base=str(self._root),
            choices=dict(config.settings),
            chain=None if config.chain is None else tuple(config.chain),
            mine=str(self._root / mine.output) if mine is not None and mine.output is not None else None,
            mine_sha256=mine.sha256 if mine is not None else None,
            number=number,
            album=row.kind == "album",
        )

    def _reserve(self, row: Row, config: StemConfig) -> int:
        """Keep a name for the output of ``row``, whatever its format will be, and say which number it is."""
        number = 1
        while True:
            name = protocol.numbered(config.place.name, number)
            output = self._book.shown(config.out / config.place.with_name(f"{name}.wav"))
            owner = self._ledger.owner_of(output)
            if owner is None:
                self._ledger.reserve(row.id, output)
                return number
            if owner.relative == row.relative:
                return number
            number += 1

    # Taking in

    def _hear(self, event: PoolEvent) -> None:
        if isinstance(event, Warm):
            log.info("worker %d is ready on %s after %.1f s", event.number, event.device, event.seconds)
            if self._settings.workers is None:
                self._pool.grow(event.devices)
        elif isinstance(event, Died):
            printed = f"; it wrote: {event.printed[-500:]}" if event.printed else ""
            log.warning("worker %d %s%s", event.number, event.reason, printed)
            self._leavings.look(self._outs)
            self._say("workers", f"a worker {event.reason}" if event.again_s >= 1.0 else None)
        elif isinstance(event, Printed):
            log.debug("worker %d: %s", event.number, event.text)
        elif isinstance(event, protocol.Rendered):
            self._book.rendered(event)
        elif not isinstance(event, protocol.Started):
            self._say("workers", None)
            self._book.add(event)
            if self._late:  # a newer content of this stem may have waited for its end
                self._late = False
                self._scan_at = self._clock()

    # Life

    def _timeout(self) -> float:
        now = self._clock()
        times = [now + TICK_S]
        if self._notifier.interval_s is not None:
            times.append(now + self._notifier.interval_s)
        if self._ledger_at > now:
            times.append(self._ledger_at)
        else:
            times.append(self._due_scan())
            if self._book.behind:
                times.append(max(now, self._group_until()))
        if self._draining_since is None and self._pool.room and self._starved and not self._told.get("space"):
            try:
                due = self._ledger.next_due()
            except WatchError:
                due = None
            if due is not None and self._ledger.paused is None:
                times.append(max(due, now + 0.01) if due <= now else due)
        if self._release_at is not None:
            times.append(self._release_at)
        if self._draining_since is not None:
            times.append(self._draining_since + self._grace_s)
        return max(0.0, min(times) - now)

    def _over(self) -> bool:
        """Whether to leave the loop."""
        if self._wishes.stops and self._draining_since is None:
            self._draining_since = self._clock()
            self._notifier.stopping(self._grace_s)
            self._pool.recall()
            log.info("stopping; %d stems are under work", self._pool.busy)
        if self._draining_since is not None:
            late = self._clock() - self._draining_since >= self._grace_s
            return self._wishes.now or late or (self._pool.busy == 0 and not self._book.behind)
        return self._once and self._idle()

    def _idle(self) -> bool:
        """Whether there is nothing that will be done without something new happening."""
        if self._pool.busy or self._book.behind or self._world is None or "ledger" in self._told:
            return False
        now = self._clock()
        if self._settling.next_due(now) is not None or self._clock() >= self._due_scan():
            return False
        return not any(not row.held for row in self._ledger.rows("found"))

    def _end(self) -> int:
        for event in self._pool.stop(0.0 if self._wishes.now else 0.5):
            self._hear(event)
        self._guarded(self._book.write)
        if self._wishes.interrupted:
            return 130
        if self._once and not self._wishes.stops:
            counts = self._ledger.counts()
            return 1 if counts["failed"] or counts["found"] else 0
        return 0

    def _reload(self) -> None:
        """Read everything again; workers are started anew only when what they are started with is other."""
        self._wishes.reload = False
        self._notifier.reloading()
        settings = self._read_settings()
        if (settings.device, settings.workers, settings.deadline_factor) != (
            self._settings.device,
            self._settings.workers,
            self._settings.deadline_factor,
        ):
            for event in self._pool.stop(self._grace_s):
                self._hear(event)
            self._pool = self._make_pool(settings, self._wake.fileno())
        self._apply(settings)
        self._seen.clear()
        self._world = ()  # whatever waits is tried again
        self._scan_at = self._clock()
        log.info("settings were read again")
        self._notifier.ready()

    def _apply(self, settings: DaemonConfig) -> None:
        if settings.settle_s != self._settling.settle_s:
            self._settling = Settling(settings.settle_s)
        self._settings = settings
        self._book.attempts, self._book.settle_s = settings.attempts, settings.settle_s

    def _tell(self) -> None:
        """Let people know how it stands: what keeps work as notices, the rest as systemd's status line."""
        self._say("events", self._wake.warning)
        held = self._holds.reasons
        self._say("output", "; ".join(f"{key}: {reason}" for key, reason in held.items()) or None)
        now = self._clock()
        if now >= self._status_at:
            self._status_at = now + 5.0
            self._notifier.status(f"watching; {self._pool.busy} stems under work")

    def _say(self, topic: str, text: str | None) -> None:
        """A notice under ``topic``, told in the log once, withdrawn with None."""
        if self._told.get(topic) == text:
            return
        if text is None:
            self._told.pop(topic, None)
            log.info("%s: all is well again", topic)
        else:
            if topic not in self._told:
                log.warning("%s", text)
            self._told[topic] = text
        with suppress(LedgerUnavailable):  # the log has it
            self._ledger.notice(topic, text)


def deadlines(settings: DaemonConfig) -> Deadlines:
    """How long workers may take, stretched as ``settings`` ask."""
    plain = Deadlines()
    factor = settings.deadline_factor
    return replace(plain, render_s=plain.render_s * factor, factor=plain.factor * factor)
