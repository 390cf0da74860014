"""A style whose ``amount`` and ``mix`` change with time: the engine's renders at a few amounts, faded sample by sample.

The engine solves a segment of ten seconds at one amount, so what lies between is a blend. Judged (`engine.judge`) on
four pairs of six seconds in standard quality, a blend of the stem with the full style keeps as much of pitch and rhythm
for its style as what is solved at an amount between, but is not what that amount means: at 0.5 its distance to the
style was 0.16, 0.36, 0.36, 0.52 of the stem's where the engine's is 0.71, 0.28, 0.67, 0.42, and it was 0.2 to 1.8 dB
softer, because the two do not line up in phase. A blend of 0.5 and 1 is near the engine's 0.75: 0.16, 0.19, 0.33, 0.34
against 0.16, 0.16, 0.32, 0.33. So the engine solves the lowest and the highest amount there is and the quarters
between, up to four times the work, and what an amount means stays. Where one of those is held it is that very render.
"""

from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing

import torch
from torch import Tensor

from engine.style import Source
from render.breakpoints import Breakpoints
from render.curves import Curve, Values
from render.errors import RenderError

_STEP = 0.25
_NEAR = 0.1


def rungs(line: Breakpoints) -> tuple[float, ...]:
    """The amounts that are rendered for ``line``, lowest first; 0 is the stem and costs nothing.

    >>> rungs(Breakpoints(((0.0, 0.2), (12.5, 1.0))))
    (0.2, 0.5, 0.75, 1.0)
    """
    between = (_STEP * k for k in range(1, 4))
    return tuple(sorted({line.low, line.high, *(r for r in between if line.low + _NEAR < r < line.high - _NEAR)}))


def climb(
    source: Source, amount: Breakpoints, styles: Sequence[tuple[float, Generator[Tensor, None, None]]]
) -> Generator[Tensor, None, None]:
    """``source`` restyled by an ``amount`` that moves, from ``styles`` of it, each at one of its `rungs`.

    The rung 0 has none: it is ``source``. Blocks ``[channels, n]`` are those of ``styles``, which are alike.
    """
    curve, at = Curve(amount, source.rate), 0
    heights = [height for height, _ in styles]
    with ExitStack() as opened:
        streams = [opened.enter_context(closing(stream)) for _, stream in styles]
        while at < source.samples:
            blocks = [next(stream, None) for stream in streams]
            first = blocks[0]
            if first is None or any(block is None or block.shape != first.shape for block in blocks):
                shapes = [None if block is None else list(block.shape) for block in blocks]
                raise RenderError(f"the amounts {heights} of one stem came in blocks of {shapes}: report it")
            count = first.shape[-1]
            values = curve.of(at, count)
            ladder = [(h, b) for h, b in zip(heights, blocks, strict=True) if b is not None]
            if min(heights) > amount.low:
                ladder = [(0.0, source.read(at, count)), *ladder]
            below, sound = ladder[0]
            for height, block in ladder[1:]:
                sound = _faded(sound, block, (values - below) / (height - below))
                below = height
            yield sound
            at += count
        # They are left in the order that undoes what each has entered.
        for stream in reversed(streams):
            if next(stream, None) is not None:
                raise RenderError(f"an amount of {heights} is longer than its stem: report it")


def mixed(source: Source, blocks: Iterator[Tensor], mix: Breakpoints) -> Generator[Tensor, None, None]:
    """``blocks`` of what was made of ``source`` over ``source`` itself, by a ``mix`` that moves with each sample."""
    curve, at = Curve(mix, source.rate), 0
    for block in blocks:
        count = block.shape[-1]
        yield _faded(source.read(at, count), block, curve.of(at, count))
        at += count


def _faded(low: Tensor, high: Tensor, share: Values) -> Tensor:
    """From ``low`` to ``high`` by ``share``, each to the bit where it is alone."""
    part = torch.from_numpy(share.clip(0, 1))
    between = (low.double() + part * (high.double() - low.double())).to(high.dtype)
    return torch.where(part <= 0, low, torch.where(part >= 1, high, between))
