"""A part through an instrument, in blocks, so that memory does not grow with the song.

What JUCE 8 as in pedalboard 0.9.26 was found to do with a VST3 instrument, and what follows from it here:

- Notes are heard at the sample they are given for, but controllers and pitch bend only where a buffer begins: so a
  block ends wherever one of those comes.
- Times are given in seconds and cut off to samples: so players take whole samples.
- Program changes are not passed on at all: `render.pluginchild` sets the parameter that plugins have for them, and
  where there is none the sound is chosen by ``preset_file`` (`advice` says so).
"""

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from render.errors import ChainError
from render.midipart import Part

Samples = npt.NDArray[np.float32]
Message = tuple[int, bytes]
"""Where in its block a message is heard, in samples, and its bytes."""

_BLOCK = 32_768
_PLACED = frozenset({"note_on", "note_off"})


class Player(Protocol):
    """An instrument that plays on from where it was; ``latency_samples`` is how late it does."""

    @property
    def name(self) -> str:
        """What messages call it."""
        ...

    @property
    def latency_samples(self) -> int:
        """How many samples of silence come before what is played."""
        ...

    def play(self, messages: Sequence[Message], samples: int) -> Samples:
        """The next ``samples`` samples ``[channels, samples]``, with ``messages`` heard in them."""
        ...


def length(part: Part, rate: int, tail_s: float) -> int:
    """Samples that ``part`` takes at ``rate`` Hz with ``tail_s`` seconds to ring out: whole ones, at least one."""
    return max(1, -(-round(part.end_s * rate * 1000) // 1000)) + round(tail_s * rate)


def advice(part: Part, *, programs: bool = False) -> list[str]:
    """What the user of ``part`` might not expect; ``programs`` says that its instrument has some to choose from."""
    if not part.programs:
        return []
    what = f"{part.path.name} chooses sounds by program changes"
    if not programs:
        return [f"{what}, and its instrument has no parameter for programs; use preset_file"]
    if len(part.programs) > 1:
        return [f"{what} on {len(part.programs)} channels, and its instrument plays one program; choose a midi_track"]
    return []


def stream(part: Part, player: Player, rate: int, channels: int, samples: int) -> Iterator[Tensor]:
    """``part`` played by ``player`` at ``rate`` Hz: ``samples`` samples in blocks ``[channels, n]``, latency taken off.

    `ChainError` when the instrument returns something else than that, or nothing but silence.
    """
    skip = player.latency_samples
    heard = False
    for messages, count in _blocks(part, rate, samples + skip):
        block = player.play(messages, count)
        if block.shape != (channels, count) or not np.isfinite(block).all():
            what = f"{list(block.shape)}" if block.shape != (channels, count) else "samples that are not finite"
            raise ChainError(f"{player.name} returned {what}; expected {channels} channels of {count} finite samples")
        heard = heard or bool(block.any())
        kept, skip = block[:, min(skip, count) :], skip - min(skip, count)
        if kept.shape[1]:
            yield torch.from_numpy(np.array(kept, np.float32))  # a copy: what comes from a pipe is read-only
    if not heard:
        what = "returned nothing but silence; expected sound: is it an instrument, and is its sound chosen and loaded?"
        raise ChainError(f"{player.name} {what}")


def _blocks(part: Part, rate: int, samples: int) -> Iterator[tuple[list[Message], int]]:
    """The messages of each block and its length: blocks that begin where anything but a note comes."""
    placed = [(round(t.seconds * rate), t.message) for t in part.messages]
    starts = sorted({at for at, m in placed if m.type not in _PLACED and at < samples} | {*range(0, samples, _BLOCK)})
    k = 0
    for start, end in zip(starts, [*starts[1:], samples], strict=True):
        messages: list[Message] = []
        while k < len(placed) and placed[k][0] < end:
            messages.append((placed[k][0] - start, bytes(placed[k][1].bytes())))
            k += 1
        yield messages, end - start
