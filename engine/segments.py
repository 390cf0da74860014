"""Cut a stem of any length into spans one solver call can take, and put the results together without a seam.

Neighbouring spans share an overlap in which one fades out as the other fades in, with weights that add up to one, so
spans that come back unchanged give the stem back.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

SEGMENT_S = 10.0
OVERLAP_S = 0.75


@dataclass(frozen=True)
class Span:
    """Samples ``start`` to ``end`` of a stem."""

    start: int
    end: int


def cut(samples: int, rate: int, segment_s: float = SEGMENT_S, overlap_s: float = OVERLAP_S) -> list[Span]:
    """Equal spans of at most ``segment_s`` seconds that overlap by ``overlap_s`` and cover ``samples`` samples."""
    longest, overlap = round(segment_s * rate), round(overlap_s * rate)
    if samples <= longest:
        return [Span(0, samples)]
    step = longest - overlap
    count = -(-(samples - overlap) // step)
    edges = [round(k * (samples - overlap) / count) for k in range(count + 1)]
    return [Span(a, b + overlap) for a, b in pairwise(edges)]


def join(pieces: Sequence[Tensor], spans: Sequence[Span]) -> Tensor:
    """The stem ``[channels, samples]`` of overlapping ``pieces``, each cross-faded into the next."""
    out = pieces[0].new_zeros(pieces[0].shape[0], spans[-1].end)
    done = 0
    for piece, span in zip(pieces, spans, strict=True):
        shared = done - span.start
        if shared > 0:
            rise = torch.linspace(0, 1, shared + 2, dtype=piece.dtype, device=piece.device)[1:-1]
            rise = 0.5 - 0.5 * torch.cos(torch.pi * rise)
            # a + w (b - a) gives a back bit for bit where both sides agree; the usual sum of products does not
            before = out[:, span.start : done]
            out[:, span.start : done] = before + rise * (piece[:, :shared] - before)
        out[:, done : span.end] = piece[:, max(shared, 0) :]
        done = span.end
    return out
