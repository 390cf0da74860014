"""Play audio through a chain of plugins: same channels, aligned to the sample, exact length.

The sound goes through in blocks, from plugin to plugin, in memory that does not grow with its length; what comes out
does not depend on the blocks it came in. What pedalboard 0.9.26 was found to do, and what follows from it here:

- It compensates latency only when a whole signal goes through in one call that resets. In calls that do not, a plugin
  returns less than it is given until its latency is filled: so what it still holds is pushed out with zeros at the end,
  and the result is bit for bit that of one call, as long as all calls are of one size.
- Two built-ins do not survive from one call to the next (`_FORGETFUL_S`): the GSM codec loses its place, and is played
  in long windows that overlap until its whole numbers agree again; pitch shifting starts from silence, and has to have
  the whole sound in one call, and in memory.
- It guesses which axis holds the channels, wrongly for stems shorter than their channel count: blocks are longer.
- Reverb leaves more than two channels dry, convolution mixes them up, GSM mixes everything down to mono and the MP3
  encoder refuses: so each channel gets an instance of its own (`Plugin.together`).
- Pitch shifting is early by up to 10 ms when it shifts up and late when down, because its latency is taken before
  the pitch is set: so the rest is made good here, from measurements.
- No tail is ever returned: so the input is padded by as much of it as is asked for.
"""

import itertools
import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pedalboard
import torch
from torch import Tensor

from engine import audio
from render import hosting
from render.chain import Chain, Step
from render.errors import ChainError
from render.turning import Turned, TurnedVoice

if TYPE_CHECKING:
    from render.plugins import Value

Samples = npt.NDArray[np.float32]

# A multiple of the 8192 samples that pedalboard works on at a time: that keeps its own grid, and so its bits.
_BLOCK = 32_768
# So many blocks in and none out mean that there is none to come; the longest look-ahead is 0.1 s.
_PATIENCE = 64
# Fewer samples than this, and the channels, could be taken for channels.
_SHORTEST = 64
# The plugins that forget, and how many seconds are played at once; whole seconds keep the codec's frames in place.
_FORGETFUL_S = {"gsm_full_rate_compressor": 60, "pitch_shift": math.inf}
# The codec was found to agree with itself to the bit after 1 to 4 s of the same sound.
_BEFORE_S, _AFTER_S = 10, 1
# Median offsets over noise and harmonic bursts at 44.1 kHz, ± 1 ms; 22.05 to 96 kHz agree. Early when shifting up.
_SHIFT_SEMITONES = (0.0, 1.0, 3.0, 7.0, 12.0, 24.0, 48.0)
_SHIFT_OFFSET_MS = (0.0, 1.7, 2.9, 5.3, 7.2, 9.8, 12.7)


@dataclass(frozen=True)
class _Shape:
    """Of the sound that goes through the chain: ``samples`` in each of ``channels`` at ``rate`` Hz."""

    channels: int
    samples: int
    rate: int


def play(samples: Tensor, rate: int, chain: Chain, *, tail_samples: int = 0) -> Tensor:
    """``samples`` (float32 ``[channels, n]`` at ``rate`` Hz) through ``chain``: ``[channels, n + tail_samples]``.

    Raises `ChainError`, naming the plugin, when one refuses the audio or returns something that is not finite.
    """
    channels, length = samples.shape
    return torch.cat(list(stream([samples], rate, channels, length, chain, tail_samples=tail_samples)), 1)


def stream(
    blocks: Iterable[Tensor], rate: int, channels: int, samples: int, chain: Chain, *, tail_samples: int = 0
) -> Iterator[Tensor]:
    """`play` for a sound that comes and goes in ``blocks`` ``[channels, n]``, ``samples`` of them in all."""
    shape = _Shape(channels, samples + tail_samples, rate)
    signal = (block.detach().cpu().numpy() for block in blocks)
    padded = itertools.chain(signal, _zeros(channels, tail_samples))
    for block in _series(padded, shape, chain):
        yield torch.from_numpy(np.ascontiguousarray(block))


def _series(signal: Iterator[Samples], shape: _Shape, steps: Sequence[Step]) -> Iterator[Samples]:
    for step in steps:
        signal = _step(signal, shape, step)
    return signal


def _step(signal: Iterator[Samples], shape: _Shape, step: Step) -> Iterator[Samples]:
    if step.plugin.container and step.plugin.name == "chain":
        return _series(signal, shape, step.inner)
    if step.plugin.container:
        return _mix(signal, shape, step.inner)
    return _checked(_plugin(signal, shape, step), step)


def _mix(signal: Iterator[Samples], shape: _Shape, steps: Sequence[Step]) -> Iterator[Samples]:
    if not steps:
        yield from _zeros(shape.channels, shape.samples)
        return
    # The branches are heard in step, so that what one is behind the others by is all that is held.
    inputs = _shared(signal, len(steps))
    branches = [_even(_step(x, shape, inner), shape.channels) for x, inner in zip(inputs, steps, strict=True)]
    for heard in zip(*branches, strict=True):
        yield np.sum(heard, axis=0, dtype=np.float32)


def _shared(signal: Iterator[Samples], count: int) -> list[Iterator[Samples]]:
    """``signal`` for ``count`` listeners; unlike `itertools.tee` it lets go of each block that all have heard."""
    queues = [deque[Samples]() for _ in range(count)]

    def heard(mine: deque[Samples]) -> Iterator[Samples]:
        while True:
            if not mine:
                block = next(signal, None)
                if block is None:
                    return
                for queue in queues:
                    queue.append(block)
            yield mine.popleft()

    return [heard(queue) for queue in queues]


def _checked(signal: Iterator[Samples], step: Step) -> Iterator[Samples]:
    for block in signal:
        if not np.isfinite(block).all():
            raise ChainError(f"{step.plugin.name} returned samples that are not finite; its settings make it unstable")
        yield block


def _plugin(signal: Iterator[Samples], shape: _Shape, step: Step) -> Iterator[Samples]:
    if step.external is not None:
        with hosting.voices(step.external, shape.rate, shape.channels, lines=step.lines) as voices:
            turned = [(rows, TurnedVoice(it, step.lines, shape.rate) if step.lines else it) for rows, it in voices]
            yield from _span(_in_blocks(_Tap(signal, shape.channels), shape, step, turned), 0, shape.samples)
        return
    early = _early_samples(step, shape.rate)
    # Padding on the side the plugin loses keeps what it would have pushed over the edge.
    before, after = _zeros(shape.channels, max(early, 0)), _zeros(shape.channels, max(-early, 0))
    longer = _Shape(shape.channels, shape.samples + abs(early), shape.rate)
    tap = _Tap(itertools.chain(before, signal, after), shape.channels)
    window_s = _FORGETFUL_S.get(step.plugin.name)
    if window_s is None:
        played = _in_blocks(tap, longer, step, _moving(_voices(step, shape.channels), shape, step))
    else:
        played = _in_windows(tap, longer, step, window_s)
    yield from _span(played, max(-early, 0), shape.samples)


def _moving(voices: list[tuple[slice, Any]], shape: _Shape, step: Step) -> list[tuple[slice, Any]]:
    """``voices`` with the parameters that move, which then are as late as the plugin is."""
    if not step.lines:
        return voices
    rows, probe = _voices(step, shape.channels)[0]
    nothing = np.zeros((rows.stop - rows.start, _BLOCK), np.float32)
    late = _BLOCK - _call(step, probe, nothing, shape.rate, reset=False).shape[1]
    return [(rows, Turned(instance, step.lines, shape.rate, late)) for rows, instance in voices]


def _in_blocks(tap: "_Tap", shape: _Shape, step: Step, voices: Sequence[tuple[slice, Any]]) -> Iterator[Samples]:
    """The sound through instances that remember it from call to call, and then zeros without end."""
    waiting = [np.zeros((rows.stop - rows.start, 0), np.float32) for rows, _ in voices]
    silent = 0
    while silent < _PATIENCE:
        block = tap.take(_BLOCK)
        block = np.pad(block, ((0, 0), (0, _BLOCK - block.shape[1])))
        for i, (rows, instance) in enumerate(voices):
            result = _call(step, instance, block[rows], shape.rate, reset=False)
            waiting[i] = np.concatenate([waiting[i], result], 1)
        # Coders fill their frames at their own pace in each channel.
        ready = min(rows.shape[1] for rows in waiting)
        silent = 0 if ready else silent + 1
        yield np.concatenate([rows[:, :ready] for rows in waiting])
        waiting = [rows[:, ready:] for rows in waiting]
    raise ChainError(f"{step.plugin.name} returned nothing for {_PATIENCE * _BLOCK} samples; expected as many")


def _in_windows(tap: "_Tap", shape: _Shape, step: Step, window_s: float) -> Iterator[Samples]:
    """The sound through fresh instances, a window in each call, with some of the sound before and after it."""
    size = shape.samples if math.isinf(window_s) else round(window_s * shape.rate)
    before, after = _BEFORE_S * shape.rate, _AFTER_S * shape.rate
    held, first = tap.take(0), 0  # of what is held
    for start in range(0, shape.samples, size):
        missing = min(start + size + after, shape.samples) - first - held.shape[1]
        held = np.concatenate([held, tap.take(missing)], 1) if held.shape[1] else tap.take(missing)
        result = _whole(held, shape.rate, step)
        yield result[:, start - first : start - first + size]
        kept = max(start + size - before, first)
        held, first = held[:, kept - first :].copy(), kept


def _whole(signal: Samples, rate: int, step: Step) -> Samples:
    """``signal`` in one call for each voice, latency taken off by pedalboard."""
    length = signal.shape[1]
    if length < _SHORTEST + len(signal):
        signal = np.pad(signal, ((0, 0), (0, _SHORTEST + len(signal) - length)))
    results = [_call(step, it, signal[rows], rate, reset=True) for rows, it in _voices(step, len(signal))]
    # A stem may be long enough that there is no room for one copy more.
    result = results[0] if len(results) == 1 else np.concatenate(results)
    if result.shape != signal.shape:
        raise ChainError(f"{step.plugin.name} returned {result.shape[-1]} samples; expected {signal.shape[-1]}")
    return result[:, :length]


def _voices(step: Step, channels: int) -> list[tuple[slice, Any]]:
    """Instances of the plugin and the rows that each of them plays."""
    together = step.plugin.together
    width = channels if together is None or channels <= together else 1
    try:
        return [(slice(c, c + width), _instance(step)) for c in range(0, channels, width)]
    except (RuntimeError, ValueError, TypeError) as error:
        raise _refusal(step, error) from error


def _call(step: Step, instance: Any, rows: Samples, rate: int, *, reset: bool) -> Samples:
    try:
        return np.asarray(instance.process(np.ascontiguousarray(rows), rate, reset=reset))
    except (RuntimeError, ValueError, TypeError) as error:
        raise _refusal(step, error) from error


def _refusal(step: Step, error: Exception) -> ChainError:
    return ChainError(f"{step.plugin.name} cannot process this stem: {error}")


class _Tap:
    """A sound that comes in blocks of any length, taken by the sample."""

    def __init__(self, signal: Iterator[Samples], channels: int) -> None:
        self._signal = signal
        self._rest: Samples = np.zeros((channels, 0), np.float32)

    def take(self, count: int) -> Samples:
        """The next ``count`` samples ``[channels, count]``, fewer only where the sound ends."""
        taken: Samples = np.empty((len(self._rest), count), np.float32)
        done = 0
        while done < count:
            if not self._rest.shape[1]:
                block = next(self._signal, None)
                if block is None:
                    return taken[:, :done]
                self._rest = block
            part = self._rest[:, : count - done]
            taken[:, done : done + part.shape[1]] = part
            self._rest = self._rest[:, part.shape[1] :]
            done += part.shape[1]
        return taken


def _even(signal: Iterator[Samples], channels: int) -> Iterator[Samples]:
    """``signal`` in blocks of ``_BLOCK`` samples, the last one shorter."""
    tap = _Tap(signal, channels)
    while (block := tap.take(_BLOCK)).shape[1]:
        yield block


def _span(signal: Iterator[Samples], start: int, samples: int) -> Iterator[Samples]:
    """Of ``signal`` the ``samples`` from ``start`` on."""
    stop, at = start + samples, 0
    for block in signal:
        part = block[:, max(start - at, 0) : stop - at]
        if part.shape[1]:
            yield part
        at += block.shape[1]
        if at >= stop:
            return


def _zeros(channels: int, samples: int) -> Iterator[Samples]:
    for at in range(0, samples, _BLOCK):
        yield np.zeros((channels, min(_BLOCK, samples - at)), np.float32)


def _early_samples(step: Step, rate: int) -> int:
    """How many samples the plugin's output comes too early; negative when it is late."""
    if step.plugin.name != "pitch_shift":
        return 0
    semitones = float(step.values["semitones"])
    offset_ms = float(np.interp(abs(semitones), _SHIFT_SEMITONES, _SHIFT_OFFSET_MS))
    return round(math.copysign(offset_ms / 1000 * rate, semitones))


def _instance(step: Step) -> Any:
    built_in: Any = getattr(pedalboard, step.plugin.class_name)
    values = {**step.values, **{name: line.at(0) for name, line in step.lines.items()}}
    if step.plugin.name == "convolution":
        return _convolution(built_in, values)
    return built_in(**{name: _native(built_in, step, name, value) for name, value in values.items()})


def _native(built_in: Any, step: Step, name: str, value: "Value") -> Any:
    parameter = step.plugin.parameter(name)
    if parameter is None or parameter.kind != "choice":
        return value
    names = built_in.Mode if name == "mode" else pedalboard.Resample.Quality
    return getattr(names, parameter.choices[str(value)])


def _convolution(built_in: Any, values: "Mapping[str, Value]") -> Any:
    # Read by our own reader: it knows more formats than pedalboard's and refuses broken files.
    impulse = audio.read(str(values["impulse_response_filename"]))
    # pedalboard takes one row for both channels of a stereo stem, and resamples to the stem's rate.
    return built_in(impulse.samples.numpy(), mix=values["mix"], sample_rate=float(impulse.rate))
