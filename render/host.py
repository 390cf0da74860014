"""Play audio through a chain of pedalboard's built-ins: same channels, aligned to the sample, exact length.

What pedalboard 0.9.26 was found to do, and what follows from it here:

- It compensates latency only when a whole signal goes through in one call that resets: so it does here, plugin by
  plugin, each a fresh instance.
- It guesses which axis holds the channels, wrongly for stems shorter than their channel count: so short ones are
  padded, and cut again.
- Reverb leaves more than two channels dry, convolution mixes them up, GSM mixes everything down to mono and the MP3
  encoder refuses: so each channel gets an instance of its own (`Plugin.together`).
- Pitch shifting is early by up to 10 ms when it shifts up and late when down, because its latency is taken before
  the pitch is set: so the rest is made good here, from measurements.
- No tail is ever returned: so the input is padded by as much of it as is asked for.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pedalboard
import torch
from torch import Tensor

from engine import audio
from render.chain import Chain, Step
from render.errors import ChainError

if TYPE_CHECKING:
    from render.plugins import Value

Samples = npt.NDArray[np.float32]

_SHORTEST = 64
# Median offsets over noise and harmonic bursts at 44.1 kHz, ± 1 ms; 22.05 to 96 kHz agree. Early when shifting up.
_SHIFT_SEMITONES = (0.0, 1.0, 3.0, 7.0, 12.0, 24.0, 48.0)
_SHIFT_OFFSET_MS = (0.0, 1.7, 2.9, 5.3, 7.2, 9.8, 12.7)


def play(samples: Tensor, rate: int, chain: Chain, *, tail_samples: int = 0) -> Tensor:
    """``samples`` (float32 ``[channels, n]`` at ``rate`` Hz) through ``chain``: ``[channels, n + tail_samples]``.

    Raises `ChainError`, naming the plugin, when one refuses the audio or returns something that is not finite.
    """
    channels, length = samples.shape
    wanted = length + tail_samples
    padded = max(wanted, _SHORTEST + channels)
    signal: Samples = np.zeros((channels, padded), np.float32)
    signal[:, :length] = samples.detach().cpu().numpy()
    signal = _series(signal, rate, chain)
    return torch.from_numpy(np.ascontiguousarray(signal[:, :wanted]))


def _series(signal: Samples, rate: int, steps: Sequence[Step]) -> Samples:
    for step in steps:
        signal = _step(signal, rate, step)
    return signal


def _step(signal: Samples, rate: int, step: Step) -> Samples:
    name = step.plugin.name
    if name == "chain":
        return _series(signal, rate, step.inner)
    if name == "mix":
        branches = [_step(signal, rate, inner) for inner in step.inner]
        return np.sum(branches, axis=0, dtype=np.float32) if branches else np.zeros_like(signal)
    try:
        result = _plugin(signal, rate, step)
    except (RuntimeError, ValueError, TypeError) as error:
        raise ChainError(f"{name} cannot process this stem: {error}") from error
    if result.shape != signal.shape:
        raise ChainError(f"{name} returned {result.shape[-1]} samples; expected {signal.shape[-1]}")
    if not np.isfinite(result).all():
        raise ChainError(f"{name} returned samples that are not finite; its settings make it unstable")
    return result


def _plugin(signal: Samples, rate: int, step: Step) -> Samples:
    early = _early_samples(step, rate)
    # Padding on the side the plugin loses keeps what it would have pushed over the edge.
    padded = np.pad(signal, ((0, 0), (max(early, 0), max(-early, 0)))) if early else signal
    together = step.plugin.together
    if together is None or len(signal) <= together:
        result = _instance(step).process(padded, rate, reset=True)
    else:
        rows = (padded[c : c + 1] for c in range(len(signal)))
        result = np.concatenate([_instance(step).process(row, rate, reset=True) for row in rows])
    return np.asarray(result[:, : signal.shape[1]] if early >= 0 else result[:, -early:])


def _early_samples(step: Step, rate: int) -> int:
    """How many samples the plugin's output comes too early; negative when it is late."""
    if step.plugin.name != "pitch_shift":
        return 0
    semitones = float(step.values["semitones"])
    offset_ms = float(np.interp(abs(semitones), _SHIFT_SEMITONES, _SHIFT_OFFSET_MS))
    return round(math.copysign(offset_ms / 1000 * rate, semitones))


def _instance(step: Step) -> Any:
    built_in: Any = getattr(pedalboard, step.plugin.class_name)
    if step.plugin.name == "convolution":
        return _convolution(built_in, step)
    return built_in(**{name: _native(built_in, step, name, value) for name, value in step.values.items()})


def _native(built_in: Any, step: Step, name: str, value: "Value") -> Any:
    parameter = step.plugin.parameter(name)
    if parameter is None or parameter.kind != "choice":
        return value
    names = built_in.Mode if name == "mode" else pedalboard.Resample.Quality
    return getattr(names, parameter.choices[str(value)])


def _convolution(built_in: Any, step: Step) -> Any:
    # Read by our own reader: it knows more formats than pedalboard's and refuses broken files.
    impulse = audio.read(str(step.values["impulse_response_filename"]))
    # pedalboard takes one row for both channels of a stereo stem, and resamples to the stem's rate.
    return built_in(impulse.samples.numpy(), mix=step.values["mix"], sample_rate=float(impulse.rate))
