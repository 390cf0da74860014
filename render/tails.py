"""How long an output goes on after its stem while the chain rings out: so many seconds, or until it is quiet.

``auto`` ends with the last sample that peaks above −90 dBFS, after which nothing else does for two seconds and for as
long as any delay of the chain lasts; what never becomes quiet (a frozen reverb, a plugin that hums) ends after 60 s.
"""

from collections.abc import Generator, Iterator

import torch
from torch import Tensor

from render.chain import Chain, walk

AUTO = "auto"
LONGEST_S = 60.0
QUIET_DBFS = -90.0
HOLD_S = 2.0
_QUIET = 10 ** (QUIET_DBFS / 20)


def samples(tail_s: float | str | None, rate: int) -> int:
    """The samples that ``tail_s`` asks for, as far as that is known: none for ``auto``."""
    return 0 if tail_s is None or isinstance(tail_s, str) else round(tail_s * rate)


def longest_samples(rate: int) -> int:
    """The most that ``auto`` comes to."""
    return round(LONGEST_S * rate)


def hold_samples(chain: Chain, rate: int) -> int:
    """How long it has to be quiet to be over."""
    delays = [0.0]
    for step in walk(chain):
        if step.plugin.name == "delay" and step.external is None:
            line = step.lines.get("delay_seconds")
            # One delay may feed the next.
            delays.append(max(float(step.values["delay_seconds"]), line.high if line else 0.0))
    return round((HOLD_S + sum(delays)) * rate)


def until_quiet(blocks: Iterator[Tensor], stem_samples: int, hold: int) -> Generator[Tensor, None, None]:
    """``blocks`` ``[channels, n]`` as far as they are heard, and no less than ``stem_samples``.

    They end after the last sample over −90 dBFS that comes before ``hold`` quiet ones; ``blocks`` are not asked for
    more than it takes to know. What comes out does not depend on how they are cut.
    """
    at = last = 0  # samples taken, and the end of what is kept
    waiting: list[Tensor] = []
    for block in blocks:
        loud = (block.abs() > _QUIET).any(0).nonzero()[:, 0] + at
        own = torch.arange(max(0, min(stem_samples - at, block.shape[1]))) + at
        at += block.shape[1]
        heard = torch.cat([own[-1:], loud[loud >= stem_samples]])
        if len(heard):
            # Of what is heard only that counts which comes before the first gap that is long enough.
            before = torch.cat([heard.new_tensor([last - 1]), heard[:-1]])
            ends = ((heard - before > hold) & (heard >= stem_samples)).nonzero()[:, 0]
            over = bool(len(ends))
            kept = heard[: int(ends[0])] if over else heard
        else:
            over, kept = False, heard
        waiting.append(block)
        if len(kept):
            last = int(kept[-1]) + 1
            whole = torch.cat(waiting, 1)
            cut = whole.shape[1] - (at - last)
            if cut > 0:
                yield whole[:, :cut]
            waiting = [whole[:, cut:]]
        if over or at - max(last, stem_samples) >= hold:
            return
