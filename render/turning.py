"""Plugins whose parameters move while they play: played piece by piece, each piece with its own settings.

When a plugin is late by some samples, its settings are late by as many. Most of what makes a plugin late is a delay
before what its parameters do (a limiter's look-ahead, a filter of linear phase): so a value meets the sample that it
names where the sound comes out, and not that much before.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from render.breakpoints import Breakpoints
from render.curves import Moves
from render.hosting import Voice

Samples = npt.NDArray[np.float32]


class Turned:
    """One of pedalboard's own plugins with parameters that move, to be played like any."""

    def __init__(self, instance: Any, lines: Mapping[str, Breakpoints], rate: int, late_samples: int) -> None:
        self._instance = instance
        self._moves = Moves(lines, rate, late_samples)
        self._now: dict[str, float] = {}

    def process(self, rows: Samples, rate: int, *, reset: bool) -> Samples:
        """What comes of the next ``rows`` ``[channels, n]``."""
        counts, values = self._moves.take(rows.shape[1])
        played, at = [], 0
        for k, count in enumerate(counts):
            for name, moving in values.items():
                if self._now.get(name) != moving[k]:
                    setattr(self._instance, name, moving[k])
                    self._now[name] = moving[k]
            piece = np.ascontiguousarray(rows[:, at : at + count])
            played.append(np.asarray(self._instance.process(piece, rate, reset=reset)))
            at += count
        return np.concatenate(played, 1)


class TurnedVoice:
    """As `Turned`, of a plugin file: the child turns what moves, so that a block is still one message."""

    def __init__(self, voice: Voice, lines: Mapping[str, Breakpoints], rate: int) -> None:
        self._voice = voice
        self._moves = Moves(lines, rate, voice.playing.latency_samples)

    def process(self, rows: Samples, rate: int, *, reset: bool) -> Samples:
        """What comes of the next ``rows`` ``[channels, n]``."""
        counts, values = self._moves.take(rows.shape[1])
        return self._voice.process(rows, rate, reset=reset, turns={"counts": counts, "values": values})
