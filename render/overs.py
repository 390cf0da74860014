"""Samples over full scale: counted always, and never clipped in silence when the output holds whole numbers."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from render.errors import RenderError
from render.spool import Spool

_BITS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32, "ULAW": 14, "ALAW": 13}
_LOOKAHEAD_S = 0.005


@dataclass(frozen=True)
class Overs:
    """What was over full scale and what became of it: none, kept, limited or scaled (by ``gain_db``)."""

    count: int
    action: str
    gain_db: float = 0.0


class Settling:
    """Blocks of one output on their way to ``subtype``; `found` says what had to be done, once all have gone through.

    Float subtypes keep everything. For the others ``policy`` decides: ``limit`` turns all channels down together
    within 5 ms of an over and leaves every other sample as it is, ``scale`` turns the whole output down, ``refuse``
    raises `RenderError`. Audio without overs comes back untouched. What comes out does not depend on the blocks.
    """

    def __init__(self, rate: int, subtype: str, policy: str) -> None:
        bits = _BITS.get(subtype)
        # Half a step beyond the largest code still rounds to it: that is full scale, not over it.
        step = 2.0 ** (1 - bits) if bits else 0.0
        self._high, self._low = (1 - step / 2, -1 - step / 2) if bits else (1.0, -1.0)
        # Two steps of room for the dither, and some for the rounding of float32.
        self._ceiling = 1 - max(3 * step, 2.0**-22)
        self._radius = max(1, round(_LOOKAHEAD_S * rate / 4))
        self._policy = policy if bits else "keep"
        self._count, self._peak = 0, 0.0

    @property
    def ceiling(self) -> float:
        """The largest magnitude that is never an over, with room for dither."""
        return self._ceiling

    @property
    def waits(self) -> bool:
        """Whether nothing comes out before everything has gone in, and so a spool is needed."""
        return self._policy == "scale"

    @property
    def found(self) -> Overs:
        """What was over full scale and what became of it."""
        if not self._count:
            return Overs(0, "none")
        gain_db = 20 * math.log10(self._ceiling / self._peak) if self.waits else 0.0
        return Overs(self._count, {"keep": "kept", "scale": "scaled"}.get(self._policy, "limited"), gain_db)

    def play(self, blocks: Iterable[Tensor], spool: Spool | None = None) -> Iterator[Tensor]:
        """``blocks`` ``[channels, n]`` as the output can hold them; ``spool`` is where they wait if they have to."""
        counted = self._counted(blocks)
        if self.waits:
            if spool is None:
                raise ValueError("overs cannot be scaled without a spool")
            return self._scaled(counted, spool)
        if self._policy == "refuse":
            return self._refused(counted)
        return self._turned_down(counted) if self._policy == "limit" else counted

    def _beyond(self, samples: Tensor) -> Tensor:
        return (samples > self._high) | (samples < self._low)

    def _counted(self, blocks: Iterable[Tensor]) -> Iterator[Tensor]:
        for block in blocks:
            self._count += int(self._beyond(block).sum())
            self._peak = max(self._peak, float(block.abs().max()))
            yield block

    def _refused(self, blocks: Iterator[Tensor]) -> Iterator[Tensor]:
        yield from blocks
        if self._count:
            raise RenderError(
                f"{self._count} samples are over full scale (peak {20 * math.log10(self._peak):+.1f} dBFS); "
                "choose overs limit or scale, or bit depth 32f, which keeps them"
            )

    def _scaled(self, blocks: Iterator[Tensor], spool: Spool) -> Iterator[Tensor]:
        for block in blocks:
            spool.append(block)
        for block in spool.blocks():
            yield block * (self._ceiling / self._peak) if self._count else block

    def _turned_down(self, blocks: Iterator[Tensor]) -> Iterator[Tensor]:
        """The limiter, with what it has to hear on both sides of what it gives."""
        reach = 4 * self._radius
        window, given = None, 0  # of the window
        for block in blocks:
            window = block if window is None else torch.cat([window, block], 1)
            ready = window.shape[1] - given - reach
            if ready >= reach:
                yield self._heard(window)[:, given : given + ready]
                left = max(0, given + ready - reach)
                window, given = window[:, left:].clone(), given + ready - left
        if window is not None:
            yield self._heard(window)[:, given:]

    def _heard(self, window: Tensor) -> Tensor:
        over = self._beyond(window).any(0)
        return _limited(window, over, self._ceiling, self._radius) if bool(over.any()) else window


def _limited(samples: Tensor, over: Tensor, ceiling: float, radius: int) -> Tensor:
    """All channels turned down together around each over, by a gain that eases in and out over ``4 · radius``.

    The gain each over needs is spread to ``2 · radius`` on both sides by a running minimum, then smoothed twice by a
    mean over ``radius`` on both sides. Every mean at an over sees no gain larger than what that over needs, so the
    ceiling holds; further than ``4 · radius`` from all overs the gain is exactly one.
    """
    result = samples.clone()
    for start, stop in _regions(over, 4 * radius):
        span = samples[:, start:stop]
        needed = torch.where(over[start:stop], ceiling / span.abs().amax(0).double(), 1.0)[None, None]
        gain = -F.max_pool1d(F.pad(-needed, (2 * radius, 2 * radius), value=-1.0), 4 * radius + 1, stride=1)
        for _ in range(2):
            gain = F.avg_pool1d(F.pad(gain, (radius, radius), mode="replicate"), 2 * radius + 1, stride=1)
        # The sums behind a mean of ones may be one rounding off.
        gain = torch.where(gain > 1 - 1e-12, 1.0, gain)
        result[:, start:stop] = span * gain[0, 0].to(span.dtype)
    return result


def _regions(over: Tensor, reach: int) -> list[tuple[int, int]]:
    """Spans ``[start, stop)`` around the overs, ``reach`` to each side, those that touch made one."""
    where = over.nonzero()[:, 0]
    cuts = (where.diff() > 2 * reach).nonzero()[:, 0].tolist()
    first = [0, *(c + 1 for c in cuts)]
    last = [*cuts, len(where) - 1]
    return [
        (max(0, int(where[a]) - reach), min(len(over), int(where[b]) + reach + 1))
        for a, b in zip(first, last, strict=True)
    ]
