"""Long stems in halves: where they are cut, and how two passes over them become one sound without a seam.

A stem is cut into an even number of halves.  The first pass restyles the segments [h0 h1], [h2 h3], …; the second, from
the first one's result, those that straddle its seams, [h1 h2], [h3 h4], ….  Each half then fades from the pass it lies
inside of at one end to the pass it lies inside of at the other, so no sample comes from the edge of a segment.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

HALF_S = 5.0
REACH_S = 0.5


@dataclass(frozen=True)
class Segment:
    """Samples ``start`` to ``end`` of a stem with the ``middle`` at which its halves meet."""

    start: int
    middle: int
    end: int

    @property
    def samples(self) -> int:
        """Length in samples."""
        return self.end - self.start


def grid(samples: int, rate: int, *, half_s: float = HALF_S, unit: int = 1, cuts: Sequence[float] = ()) -> list[int]:
    """Where the halves of ``samples`` samples begin and end: 0, …, ``samples``, an odd number of places.

    Halves are equal and at most ``half_s`` seconds, but a place within ± 0.5 s of one of ``cuts`` (seconds: quiet
    points, beats) moves there.  Inner places are multiples of ``unit`` samples; a stem too short to be cut is one
    segment whose halves meet in its middle.
    """
    count = 2 * max(1, -(-samples // round(2 * half_s * rate)))
    places = [0]
    for k in range(1, count):
        place = samples * k / count
        near = [c * rate for c in cuts if abs(c * rate - place) <= REACH_S * rate]
        if near:
            place = min(near, key=lambda c: abs(c - place))
        places.append(min(samples, round(place / unit) * unit))
    return [*places, samples]


def first_pass(places: Sequence[int]) -> list[Segment]:
    """The segments [h0 h1], [h2 h3], … that cover everything."""
    return [Segment(*places[k : k + 3]) for k in range(0, len(places) - 2, 2)]


def second_pass(places: Sequence[int]) -> list[Segment]:
    """The segments [h1 h2], [h3 h4], … around the seams of the first pass."""
    return [Segment(*places[k : k + 3]) for k in range(1, len(places) - 3, 2)]


def ramp(samples: int, like: Tensor) -> Tensor:
    """Half a cosine from 0 to 1, ``[samples]``."""
    position = torch.arange(samples, dtype=like.dtype, device=like.device) / max(samples, 1)
    return 0.5 - 0.5 * torch.cos(torch.pi * position)


def rise(samples: int, like: Tensor) -> Tensor:
    """A fade from 0 to 1 over the middle half of ``samples`` samples, flat before and after: ``[samples]``."""
    position = torch.linspace(-0.5, 1.5, samples, dtype=like.dtype, device=like.device).clamp(0, 1)
    return 0.5 - 0.5 * torch.cos(torch.pi * position)


def fade(before: Tensor, after: Tensor) -> Tensor:
    """From ``before`` to ``after`` (``[channels, samples]``); where both are the same, exactly that."""
    return before + rise(before.shape[-1], before) * (after - before)


def reunite(
    firsts: Sequence[tuple[Segment, Tensor]],
    seconds: Sequence[tuple[Segment, Tensor]],
    *,
    begins: bool,
    ends: bool,
) -> Iterator[Tensor]:
    """The halves that are known once every seam between ``firsts`` has its segment in ``seconds``, in order.

    The left half of the first of ``firsts`` is given only where the stem ``begins``, the right half of the last only
    where it ``ends``: in between each waits for its seam.
    """
    if begins:
        yield _left(*firsts[0])
    for ((a, before), (b, after)), (seam, across) in zip(pairwise(firsts), seconds, strict=True):
        if (a.middle, b.start, b.middle) != (seam.start, seam.middle, seam.end):
            raise ValueError(f"segments {a}, {b} do not meet in {seam}")
        yield fade(_right(a, before), _left(seam, across))
        yield fade(_right(seam, across), _left(b, after))
    if ends:
        yield _right(*firsts[-1])


def _left(segment: Segment, piece: Tensor) -> Tensor:
    return piece[:, : segment.middle - segment.start]


def _right(segment: Segment, piece: Tensor) -> Tensor:
    return piece[:, segment.middle - segment.start :]
