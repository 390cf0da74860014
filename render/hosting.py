"""Play plugin files: each in a child process that is kept for the next stem, and whose end is that of one stem only.

Whatever a plugin does wrong, `ChainError` says which plugin it was, with which parameters, and what it did.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from render import stamps
from render.breakpoints import Breakpoints
from render.children import POOL, Child, Deadlines, PluginFault, Pool
from render.dials import shown
from render.errors import ChainError, RenderError
from render.external import External

Samples = npt.NDArray[np.float32]
Message = tuple[int, bytes]
Turns = Mapping[str, object]

Lines = Mapping[str, Breakpoints]
NO_LINES: Lines = {}
DEADLINES = Deadlines()
_tried: dict[str, str] = {}


class Playing:
    """A plugin that is ready to play one sound from its start; see `playing`."""

    def __init__(self, child: Child, external: External, rate: int, width: int, latency_samples: int) -> None:
        self.latency_samples = latency_samples
        self.width = width
        self._child, self._external, self._rate = child, external, rate

    @property
    def name(self) -> str:
        """The plugin's name, as messages call it."""
        return self._external.plugin.name

    def hear(self, voice: int, rows: Samples, turns: Turns | None = None) -> Samples:
        """What instance ``voice`` makes of the next ``rows`` ``[width, n]``: as much, less its latency at first.

        ``turns`` has the lengths of the pieces to play them in, and the values that move in each.
        """
        header = {"do": "play", "voice": voice, "turns": turns}
        data = np.ascontiguousarray(rows, np.float32).tobytes()
        return self._asked(header, data, rows.shape[1])

    def play(self, messages: Sequence[Message], samples: int) -> Samples:
        """The next ``samples`` of an instrument ``[width, samples]``; a message is a place in them, and its bytes.

        The latency is left in.
        """
        told = [(at, data.hex()) for at, data in messages]
        return self._asked({"do": "notes", "messages": told, "samples": samples}, b"", samples)

    def _asked(self, header: Mapping[str, object], data: bytes, samples: int) -> Samples:
        try:
            return self._answered(header, data, samples)
        except ChainError:
            self._child.kill()  # who knows what it holds; the next stem gets a new one
            raise

    def _answered(self, header: Mapping[str, object], data: bytes, samples: int) -> Samples:
        with blamed(self._external):
            reply, returned = self._child.ask(header, data, within_s=DEADLINES.block(samples / self._rate))
            count = reply.get("samples")
            if not isinstance(count, int) or not 0 <= count <= samples or len(returned) != 4 * count * self.width:
                raise PluginFault(f"returned {len(returned)} bytes for {samples} samples; expected {self.width} rows")
        result = np.frombuffer(returned, np.float32).reshape(self.width, count)
        if not np.isfinite(result).all():
            raise ChainError(f"{title(self._external)} returned samples that are not finite (NaN or infinity)")
        return result


@dataclass(frozen=True)
class Voice:
    """One instance of a plugin that plays, as `render.host` plays an instance of pedalboard's own."""

    playing: Playing
    number: int

    def process(self, rows: Samples, rate: int, *, reset: bool, turns: Turns | None = None) -> Samples:
        """What comes of the next ``rows`` ``[channels, n]``; never reset, and at the rate it was made for."""
        if len(rows) == self.playing.width:
            return self.playing.hear(self.number, rows, turns)
        # One channel on a plugin that wants two.
        both = self.playing.hear(self.number, np.repeat(rows, self.playing.width, axis=0), turns)
        return np.asarray(both.mean(axis=0, keepdims=True, dtype=np.float64), np.float32)


@contextmanager
def voices(
    external: External, rate: int, channels: int, *, lines: Lines = NO_LINES, pool: Pool = POOL
) -> Iterator[list[tuple[slice, Voice]]]:
    """Instances of an effect for a stem of ``channels`` at ``rate`` Hz, and the rows that each of them plays.

    ``lines`` are of the parameters that will move.
    """
    width = external.width(channels)
    if width is None:
        raise ChainError(f"{title(external)} {misfit(external, channels)}")
    step = min(width, channels)
    count = channels // step
    with playing(external, rate, width, voices=count, lines=lines, pool=pool) as ready:
        yield [(slice(i * step, (i + 1) * step), Voice(ready, i)) for i in range(count)]


@contextmanager
def playing(
    external: External, rate: int, width: int, *, voices: int = 1, lines: Lines = NO_LINES, pool: Pool = POOL
) -> Iterator[Playing]:
    """``voices`` instances of the plugin, as if new, each for ``width`` channels at ``rate`` Hz.

    Raises `ChainError` when it cannot be loaded or set up, and leaves nothing behind that has failed.
    """
    with pool.lease(_key(external), lambda: _loaded(external)) as child:
        moves = {name: {"from": line.at(0), "low": line.low, "high": line.high} for name, line in lines.items()}
        header = {"do": "start", "rate": rate, "width": width, "voices": voices, "moves": moves}
        try:
            with blamed(external):
                reply, _ = child.ask(header, within_s=DEADLINES.load_s * voices)
        except ChainError:
            child.kill()
            raise
        yield Playing(child, external, rate, width, int(reply["latency"]))


def misfit(external: External, channels: int) -> str:
    """Why the plugin cannot play a stem of ``channels``."""
    widths = ", ".join(str(width) for width in external.plugin.widths) or "no"
    return f"plays {widths} channels at once, and the stem has {channels}; leave it out"


def trial(external: External) -> str | None:
    """Load the plugin and set it up, and say what is wrong with that; asked once for each set-up that was good or bad.

    The child is kept, so that a render that follows loads nothing again.
    """
    key = _key(external)
    if key not in _tried:
        try:
            with POOL.lease(key, lambda: _loaded(external)):
                _tried[key] = ""
        except ChainError as error:
            _tried[key] = str(error)
    return _tried[key] or None


def title(external: External) -> str:
    """The plugin with its parameters, as an error names it."""
    said = [f"{name} = {shown(value)}" for name, value in external.values.items()]
    said += [f"preset_file = {external.preset_file.name}"] if external.preset_file is not None else []
    return f"{external.plugin.name} ({', '.join(said)})" if said else external.plugin.name


@contextmanager
def blamed(external: External) -> Iterator[None]:
    """Faults within as `ChainError` with the plugin's name and parameters."""
    try:
        yield
    except PluginFault as fault:
        raise ChainError(f"{title(external)} {fault}") from fault


def _loaded(external: External) -> Child:
    with blamed(external):
        child = Child()
        header = {
            "do": "load",
            "path": str(external.path),
            "plugin_name": external.plugin.name if external.several else None,
            "state": None if external.preset_file is None else str(external.preset_file),
            "parameters": dict(external.values),
            "latency": external.latency_samples,
        }
        try:
            child.ask(header, within_s=DEADLINES.load_s)
        except BaseException:
            child.kill()
            raise
    return child


def _key(external: External) -> str:
    try:
        state = None if external.preset_file is None else stamps.file_digest(external.preset_file)
    except RenderError as error:
        raise ChainError(f"{title(external)}: {error}") from error
    return stamps.key({**external.record(), "path": str(external.path), "state": state})
