"""A picture of any length cut into pieces, and pieces put together again.

Pieces overlap by half and fade into each other with complementary fades, whose sum is one everywhere; beyond its ends a
picture is mirrored, so that the edge of a piece, where the generator sees zeros, never counts.  As published, pieces
lie end to end, the last one flush with the end.
"""

import torch
from torch import Tensor

from engine.travelgan.networks import WIDTH


def cut(picture: Tensor, *, overlapped: bool = True, width: int = WIDTH) -> Tensor:
    """``[batch, bands, frames]`` to ``[batch, pieces, bands, width]``; `reunite` puts them together again."""
    frames, half = picture.shape[-1], width // 2
    if overlapped:
        count = -(-frames // half) + 1
        starts = [k * half - half for k in range(count)]
    else:
        starts = _flush(frames, width)
    places = torch.tensor(starts)[:, None] + torch.arange(width)
    return picture[..., _mirrored(places, frames).to(picture.device)].movedim(-2, 1)


def reunite(pieces: Tensor, frames: int, *, overlapped: bool = True) -> Tensor:
    """``[batch, pieces, bands, width]`` to ``[batch, bands, frames]``."""
    batch, count, bands, width = pieces.shape
    half = width // 2
    if overlapped:
        parts = (pieces * fade(width, pieces)).movedim(1, 2).reshape(batch, bands, count, 2, half)
        # The second half of each piece and the first of the next lie on the same frames.
        return (parts[:, :, :-1, 1] + parts[:, :, 1:, 0]).flatten(2)[..., :frames]
    out = pieces.new_empty(batch, bands, max(frames, width))
    for number, start in enumerate(_flush(frames, width)):
        out[..., start : start + width] = pieces[:, number]
    return out[..., :frames]


def fade(width: int, like: Tensor) -> Tensor:
    """``sin²`` over ``width`` frames: two of them half a width apart sum to one."""
    at = (torch.arange(width, dtype=like.dtype, device=like.device) + 0.5) / width
    return (torch.pi * at).sin().square()


def _flush(frames: int, width: int) -> list[int]:
    """Where pieces that lie end to end begin, the last one flush with the end."""
    return [*range(0, max(frames - width, 0), width), max(frames - width, 0)]


def _mirrored(places: Tensor, frames: int) -> Tensor:
    """Places beyond either end of ``frames`` frames, mirrored at the ends as often as it takes."""
    period = max(2 * (frames - 1), 1)
    inside = places.remainder(period)
    return torch.where(inside < frames, inside, period - inside)
