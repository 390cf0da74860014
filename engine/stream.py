"""A stem of any length through a recipe, in memory that does not grow with it.

The stem is surveyed once, cut into halves (`engine.halves`), restyled segment by segment in batches, and given back
half by half.  Everything happens at the target's rate on the difference to the stem: what comes back is
``stem + resampled(styled - stem)``, so what is not changed keeps every bit at any rate.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from engine import device as devices
from engine import halves, level
from engine.events import Iterate, OnEvent, SegmentDone, SegmentStarted
from engine.halves import Segment, first_pass, grid, reunite, second_pass
from engine.method import Solver, Work, method
from engine.settings import Settings
from engine.spectra import Resolution
from engine.survey import Source, Survey, survey
from engine.target import Target
from engine.together import Together

SECOND_SHARE = {"draft": 0.65, "standard": 0.4, "fine": 0.4}
MARGIN_S = 0.05
SEAM_S = 0.1
LENGTH_STEP_S = 0.5
BLOCK_S = 5.0


def restyle_stream(
    source: Source,
    target: Target,
    settings: Settings = Settings(),
    on_event: OnEvent | None = None,
    *,
    cuts: Sequence[float] = (),
    batch: int | None = None,
    together: Together | None = None,
) -> Iterator[Tensor]:
    """Play ``source`` through ``target``: blocks ``[channels, n]`` that add up to all of its samples, in order.

    ``cuts`` are times in seconds at which the stem may well be cut (quiet points, beats); ``batch`` is how many
    segments are solved at once (default: `engine.device.batch`); with ``together`` they are those of all streams that
    share it, each in a thread of its own.  `DeviceError` if the device is not there.
    """
    device = devices.pick(settings.device)
    known = None if settings.amount == 0 or settings.mix == 0 else survey(source)
    if known is None or known.silent:
        yield from _untouched(source)
        return
    together = together or Together(batch or devices.batch(device))
    with devices.arranged(device), torch.no_grad(), together.joined():
        work = _Stem(source, known, target, settings, device, together, on_event or (lambda event: None))
        yield from work.blocks(cuts)


def _untouched(source: Source) -> Iterator[Tensor]:
    step = max(1, round(BLOCK_S * source.rate))
    for start in range(0, source.samples, step):
        yield source.read(start, min(step, source.samples - start))


@dataclass
class _Stem:
    """One stem on its way: what is known of it and what it is played through."""

    source: Source
    known: Survey
    target: Target
    settings: Settings
    device: torch.device
    together: Together
    tell: OnEvent

    def __post_init__(self) -> None:
        common = math.gcd(self.source.rate, self.target.rate)
        #: Places at multiples of ``unit`` samples of the stem fall on multiples of ``unit_at`` at the target's rate.
        self.unit, self.unit_at = self.source.rate // common, self.target.rate // common
        self.margin = -(-round(MARGIN_S * self.source.rate) // self.unit) * self.unit
        self.solver: Solver = method(self.target.recipe).solver(self.target, self._power(), self.device)
        self.told = self.count = self.length = 0

    def blocks(self, cuts: Sequence[float]) -> Iterator[Tensor]:
        """The restyled stem, half by half."""
        places = grid(self.source.samples, self.source.rate, unit=self.unit, cuts=cuts)
        firsts, seams = first_pass(places), second_pass(places)
        self.count = len(firsts) + len(seams)
        # All segments of a stem are as long as its longest, in steps that others are likely to have too, with room for
        # patches at every resolution: who shares a batch with whom then changes nothing.
        longest = max(self._places(segment.samples) for segment in firsts + seams)
        step = round(LENGTH_STEP_S * self.target.rate)
        self.length = max(-(-longest // step) * step, 16 * Resolution.at(self.target.rate, 4096).hop)
        yield from self._finished(places, self._changes(firsts, seams))

    def _changes(self, firsts: list[Segment], seams: list[Segment]) -> Iterator[Tensor]:
        """What is to be added to each half, at the target's rate."""
        held: list[tuple[Segment, Tensor]] = []
        done = 0
        while done < len(firsts):
            group = firsts[done : done + self.together.share]
            solved = held + list(zip(group, self._solve(group, None), strict=True))
            joints = seams[max(0, done - 1) : done + len(group) - 1]
            seconds = self._solve(joints, [self._across(*pair) for pair in pairwise(solved)])
            done += len(group)
            yield from reunite(
                [(self._at(s), p) for s, p in solved],
                [(self._at(s), p) for s, p in zip(joints, seconds, strict=True)],
                begins=not held,
                ends=done == len(firsts),
            )
            held = solved[-1:]

    def _solve(self, segments: Sequence[Segment], starts: Sequence[Tensor] | None) -> list[Tensor]:
        """Changes of ``segments``, from the changes in ``starts`` or from the stem itself."""
        settings, quality = self.settings, self.settings.quality
        share = 1.0 if starts is None else SECOND_SHARE[quality]
        stems = [self._read(segment.start, segment.end) for segment in segments]
        for number, segment in enumerate(segments, self.told):
            start_s, length_s = segment.start / self.source.rate, segment.samples / self.source.rate
            self.tell(SegmentStarted(number, self.count, start_s, length_s))
        changes = [torch.zeros_like(stem) for stem in stems]
        active, works, losses = [], [], [0.0]
        for k, stem in enumerate(stems):
            if (loud := level.active_rms(stem, self.target.rate)) > level.GATE_RMS:
                gain = level.ANALYSIS_RMS / loud
                x = self._padded(stem * gain)
                start = None if starts is None else self._padded((stem + starts[k]) * gain)
                active.append(k)
                works.append(Work(x, settings.amount, quality, settings.seed, start, share, alone=self.count == 1))

        def iterate(iteration: int, iterations: int, loss: float) -> None:
            losses[0] = loss
            self.tell(Iterate(self.told, iteration, iterations, loss))

        for k, work, solved in zip(active, works, self.together.solve(self.solver, works, iterate), strict=True):
            if not torch.equal(solved, work.x[0]):  # what was not touched keeps its own bits
                changes[k] = self._levelled(solved.cpu()[:, : stems[k].shape[1]], stems[k]) - stems[k]
        for number in range(len(segments)):
            self.tell(SegmentDone(self.told + number, self.count, losses[0]))
        self.told += len(segments)
        return changes

    def _levelled(self, styled: Tensor, stem: Tensor) -> Tensor:
        """At the stem's level, and no louder where the stem is quiet."""
        rate = self.target.rate
        return level.match(level.hush(level.match(styled, stem), stem, rate, self.known.floor_db), stem)

    def _padded(self, piece: Tensor) -> Tensor:
        """One problem ``[1, channels, length]`` on the device: the piece, then silence."""
        row = torch.nn.functional.pad(piece, (0, self.length - piece.shape[1]))[None]
        if self.device.type == "cuda":  # from pinned memory the copy goes on while the next segment is read
            return row.pin_memory().to(self.device, non_blocking=True)
        return row.to(self.device)

    def _across(self, before: tuple[Segment, Tensor], after: tuple[Segment, Tensor]) -> Tensor:
        """The first pass's change of the segment around the seam between two, gone at the seam itself.

        Where two segments end the change jumps; a few evaluations mend a fifth of a second of plain stem better than
        a jump.
        """
        (a, left), (b, right) = before, after
        left, right = left[:, self._places(a.middle - a.start) :], right[:, : self._places(b.middle - b.start)]
        width = round(SEAM_S * self.target.rate)
        mend = halves.ramp(min(width, left.shape[1], right.shape[1]), left)
        left, right = left.clone(), right.clone()
        left[:, left.shape[1] - mend.shape[0] :] *= mend.flip(0)
        right[:, : mend.shape[0]] *= mend
        return torch.cat([left, right], 1)

    def _places(self, samples: int) -> int:
        """A length of the stem at the target's rate: exact for multiples of the unit, else rounded up."""
        return -(-samples * self.target.rate // self.source.rate)

    def _at(self, segment: Segment) -> Segment:
        """``segment`` at the target's rate."""
        return Segment(*(self._places(p) for p in (segment.start, segment.middle, segment.end)))

    def _channels(self, start: int, end: int) -> Tensor:
        """Samples of the stem; of channels that are all the same, one."""
        sound = self.source.read(start, end - start)
        return sound[:1] if self.known.twins else sound

    def _read(self, start: int, end: int) -> Tensor:
        """Samples ``start`` to ``end`` of the stem at the target's rate."""
        if self.source.rate == self.target.rate:
            return self._channels(start, end)
        from engine.resample import resample  # soxr is needed only here, and GPU boxes may not have it

        low, high = max(0, start - self.margin), min(self.source.samples, end + self.margin)
        wide = resample(self._channels(low, high), self.source.rate, self.target.rate, self._places(high - low))
        first = self._places(start - low)
        return wide[:, first : first + self._places(end) - self._places(start)]

    def _finished(self, places: Sequence[int], changes: Iterator[Tensor]) -> Iterator[Tensor]:
        """Each half at the stem's rate with its change added, its silence kept and mixed as wished."""
        for start, end, change in self._at_own_rate(places, changes):
            stem = self.source.read(start, end - start)
            styled = stem + self.settings.mix * change
            reach = level.silence_reach(self.source.rate)
            low, high = max(0, start - reach), min(self.source.samples, end + reach)
            around = self.source.read(low, high - low)
            silent = level.silence(around, self.source.rate)[start - low : end - low]
            yield level.keep_silence(styled, stem, silent)

    def _at_own_rate(self, places: Sequence[int], changes: Iterator[Tensor]) -> Iterator[tuple[int, int, Tensor]]:
        """Changes at the stem's rate with the places they belong to, each resampled with a margin of its neighbours."""
        parts = ((*span, c) for span, c in zip(pairwise(places), changes, strict=True) if span[1] > span[0])
        if self.source.rate == self.target.rate:
            yield from parts
            return
        from engine.resample import resample

        margin = self._places(self.margin)
        nothing = torch.zeros(0)
        before, current, after = nothing, next(parts), next(parts, None)
        while True:
            start, end, change = current
            tail = before[:, -margin:] if before.numel() else change[:, :0]
            head = after[2][:, :margin] if after is not None else change[:, :0]
            lead, rest = (part.shape[1] * self.unit // self.unit_at for part in (tail, head))
            wide = torch.cat([tail, change, head], 1)
            out = resample(wide, self.target.rate, self.source.rate, lead + end - start + rest)
            yield start, end, out[:, lead : lead + end - start]
            if after is None:
                return
            before, current, after = change, after, next(parts, None)

    def _power(self) -> Tensor:
        """The stem's mean power at the bins of the target's rate, as if it were at the analysis level."""
        res = Resolution.at(self.target.rate, level.RESOLUTION)
        mine = Resolution.at(self.source.rate, level.RESOLUTION)
        power = self.known.power
        if mine != res:
            at = res.frequencies(self.target.rate) * (mine.n_fft / self.source.rate)
            low = at.long().clamp_max(mine.bins - 1)
            high = (low + 1).clamp_max(mine.bins - 1)
            inside = at <= mine.bins - 1
            power = torch.where(inside, power[low] + (at - low) * (power[high] - power[low]), torch.zeros_like(at))
        return power / max(self.known.loud, 1e-9) ** 2 * level.ANALYSIS_RMS**2
