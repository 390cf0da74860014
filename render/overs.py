"""Samples over full scale: counted always, and never clipped in silence when the output holds whole numbers."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from render.errors import RenderError

_BITS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32, "ULAW": 14, "ALAW": 13}
_LOOKAHEAD_S = 0.005


@dataclass(frozen=True)
class Overs:
    """What was over full scale and what became of it: none, kept, limited or scaled (by ``gain_db``)."""

    count: int
    action: str
    gain_db: float = 0.0


def settle(samples: Tensor, rate: int, subtype: str, policy: str) -> tuple[Tensor, Overs]:
    """``samples`` (``[channels, n]``) as an output of ``subtype`` can hold them, and what had to be done.

    Float subtypes keep everything. For the others ``policy`` decides: ``limit`` turns all channels down together
    within 5 ms of an over and leaves every other sample as it is, ``scale`` turns the whole output down, ``refuse``
    raises `RenderError`. Audio without overs comes back untouched.
    """
    bits = _BITS.get(subtype)
    # Half a step beyond the largest code still rounds to it: that is full scale, not over it.
    step = 2.0 ** (1 - bits) if bits else 0.0
    high, low = (1 - step / 2, -1 - step / 2) if bits else (1.0, -1.0)
    beyond = (samples > high) | (samples < low)
    count = int(beyond.sum())
    if not count:
        return samples, Overs(0, "none")
    if bits is None:
        return samples, Overs(count, "kept")
    # Two steps of room for the dither, and some for the rounding of float32.
    ceiling = 1 - max(3 * step, 2.0**-22)
    peak = float(samples.abs().max())
    if policy == "refuse":
        raise RenderError(
            f"{count} samples are over full scale (peak {20 * math.log10(peak):+.1f} dBFS); "
            "choose overs limit or scale, or bit depth 32f, which keeps them"
        )
    if policy == "scale":
        gain = ceiling / peak
        return samples * gain, Overs(count, "scaled", 20 * math.log10(gain))
    return _limited(samples, beyond.any(0), ceiling, max(1, round(_LOOKAHEAD_S * rate / 4))), Overs(count, "limited")


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
