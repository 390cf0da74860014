"""The child that holds one plugin, so that whatever the plugin does ends here: ``python -m render.pluginchild``.

It takes messages (`render.wire`) on its standard input and answers each on its standard output, which it takes away at
once, so that what plugins print goes to standard error. It ends when its input ends, and a thread watches for that, so
that a plugin that never returns does not outlive its host.

What pedalboard 0.9.26 does, and what follows from it here:

- It loads plugins only on the thread that loaded the first one: all of it happens on the main thread.
- It resets plugins that do not forget, and all instruments, by making them anew with every parameter set to what it
  seems to be, which is not always what it is (of an instrument made with DPF all seem to be 0): here a new instance
  takes the old one's place instead, and gets the state and the parameters of the chain alone.
- It leaves away as many samples as the plugin says it is late by, and no more than it was given: so silence goes first,
  longer than that; from then on each call returns all it was given, and the latency, as it is said to be by the plugin
  or by the user, is dropped here. That silence also lets parameters settle that glide to where they are set.
- Program changes do not reach VST3 plugins, which have a parameter for their programs: so that is set here.
- The length of what an instrument plays is given in seconds, as a 32-bit float, and cut to samples: so half a sample
  goes on top.
"""

import contextlib
import os
import queue
import re
import signal
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pedalboard
import pedalboard._pedalboard as wrapper

from render import dials, wire

Samples = npt.NDArray[np.float32]

BLOCK = 32_768
_WIDTHS = (1, 2, 4, 6, 8)
_LONGEST_LATENCY = 1 << 22
_SCAN_RATE = 48_000
_PROGRAM_CHANGE = 0xC0


@dataclass
class _Voice:
    """One instance, how many samples of its output are still to be dropped, and the latency that it said it has."""

    plugin: Any
    drop: int = 0
    reported: int = 0
    used: bool = False
    moving: dict[str, Any] = field(default_factory=dict)

    def choose(self, program: int) -> None:
        """Choose a program, from 0, of a plugin that has a parameter for that."""
        for parameter in filter(dials.chooses_program, self.plugin._parameters):
            dials.turn_program(parameter, program)

    def turn(self, name: str, raw: float) -> None:
        """Move a parameter."""
        parameter = self.moving[name]
        if parameter.raw_value != raw:
            parameter.raw_value = raw


@dataclass
class _Held:
    """The plugin that this child was made for: how to make an instance of it, and those that were made."""

    path: str
    plugin_name: str | None
    state: str | None
    parameters: Mapping[str, dials.Setting]
    latency: int | None
    rate: float = 0.0
    width: int = 0
    ways: Mapping[str, dials.Way] = field(default_factory=dict)
    voices: list[_Voice] = field(default_factory=list)

    def instance(self) -> Any:
        """A new instance, its state restored first and its parameters set after that."""
        plugin = _loaded(self.path, self.plugin_name)
        if self.state is not None:
            if self.state.lower().endswith(".vstpreset"):
                plugin.load_preset(self.state)
            else:
                plugin.raw_state = Path(self.state).read_bytes()
        _set(plugin, self.parameters)
        return plugin


def _loaded(path: str, plugin_name: str | None) -> Any:
    kind: Any = pedalboard.VST3Plugin
    if path.rstrip("/").lower().endswith(".component"):
        kind = getattr(pedalboard, "AudioUnitPlugin", None)
        if kind is None:
            raise ValueError("Audio Units play on macOS only")
    return kind(path, plugin_name=plugin_name) if plugin_name else kind(path)


def _forgets(plugin: Any) -> bool:
    """Whether a reset clears what the plugin has heard."""
    kind = plugin._reload_type
    return bool(kind == type(kind).ClearsAudioOnReset)


def _set(plugin: Any, values: Mapping[str, dials.Setting]) -> None:
    if not values:
        return
    known = dict(dials.names(plugin._parameters))
    for name, value in values.items():
        parameter = known.get(name)
        dial = dials.describe(name, parameter) if parameter is not None else None
        if parameter is None or dial is None:
            raise ValueError(f"there is no parameter {name} any more; its state may have changed what there is")
        dials.turn(dial, parameter, value)


def _begin_moves(held: _Held, voice: _Voice, moves: Mapping[str, Any]) -> None:
    """Have the parameters in ``moves`` at hand, where they begin."""
    known = dict(dials.names(voice.plugin._parameters)) if moves else {}
    for name, move in moves.items():
        parameter = known.get(name)
        dial = dials.describe(name, parameter) if parameter is not None else None
        if parameter is None or dial is None:
            raise ValueError(f"there is no parameter {name} any more; its state may have changed what there is")
        voice.moving[name] = parameter
        if name not in held.ways:
            held.ways = {**held.ways, name: dials.way(dial, parameter, move["low"], move["high"])}
        voice.turn(name, held.ways[name].raws([move["from"]])[0])


class _Server:
    """Answers messages about one plugin, or scans any."""

    def __init__(self) -> None:
        self._held: _Held | None = None

    def answer(self, header: Mapping[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
        """What ``header`` asks for."""
        asked = {"scan": self._scan, "load": self._load, "start": self._start}
        if header["do"] == "play":
            return self._play(header, data)
        if header["do"] == "notes":
            return self._notes(header)
        return asked[header["do"]](header), b""

    def _scan(self, header: Mapping[str, Any]) -> dict[str, Any]:
        path = header["path"]
        kind: Any = pedalboard.VST3Plugin
        if path.lower().endswith(".component"):
            kind = getattr(pedalboard, "AudioUnitPlugin", kind)
        found = kind.get_plugin_names_for_file(path)
        return {"plugins": [_described(path, name, len(found)) for name in dict.fromkeys(found)]}

    def _load(self, header: Mapping[str, Any]) -> dict[str, Any]:
        self._held = _Held(
            header["path"], header["plugin_name"], header["state"], header["parameters"], header["latency"]
        )
        self._held.voices.append(_Voice(self._held.instance()))
        return {}

    def _start(self, header: Mapping[str, Any]) -> dict[str, Any]:
        held = self._loaded
        held.rate, held.width, held.ways = header["rate"], header["width"], {}
        latency = 0
        while len(held.voices) < header["voices"]:
            held.voices.append(_Voice(held.instance()))
        for voice in held.voices[: header["voices"]]:
            if voice.moving:
                # Set to where it was, a parameter is a rounding off what it was before it was ever set.
                voice.plugin, voice.moving = held.instance(), {}
            elif _forgets(voice.plugin):
                voice.plugin.reset()
                _set(voice.plugin, held.parameters)
            elif voice.used:
                voice.plugin = held.instance()
            voice.used = True
            _begin_moves(held, voice, header.get("moves", {}))
            settled = 0
            while settled <= voice.plugin.reported_latency_samples or not settled:
                if settled > _LONGEST_LATENCY:
                    raise ValueError(
                        f"it says that it is late by {voice.plugin.reported_latency_samples} samples; "
                        f"expected at most {_LONGEST_LATENCY}"
                    )
                _silence(voice.plugin, held.width, held.rate)
                settled += BLOCK
            voice.reported = voice.plugin.reported_latency_samples
            voice.drop = latency = voice.reported if held.latency is None else held.latency
            if voice.plugin.is_instrument:  # who plays it takes the silence off that comes before
                voice.drop = 0
        return {"latency": latency}

    def _play(self, header: Mapping[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
        held = self._loaded
        rows = np.frombuffer(data, np.float32).reshape(held.width, -1)
        voice = held.voices[header["voice"]]
        turns = header.get("turns")
        if not turns:
            return self._returned(voice, np.asarray(voice.plugin.process(rows, held.rate, reset=False)), rows.shape[1])
        raws = {name: held.ways[name].raws(values) for name, values in turns["values"].items()}
        played, at = [], 0
        for k, count in enumerate(turns["counts"]):
            for name, moving in raws.items():
                voice.turn(name, moving[k])
            piece = np.ascontiguousarray(rows[:, at : at + count])
            played.append(np.asarray(voice.plugin.process(piece, held.rate, reset=False)))
            at += count
        return self._returned(voice, np.concatenate(played, 1), rows.shape[1])

    def _notes(self, header: Mapping[str, Any]) -> tuple[dict[str, Any], bytes]:
        held, count = self._loaded, header["samples"]
        voice = held.voices[0]
        for data, at in ((bytes.fromhex(data), at) for at, data in header["messages"]):
            if data[0] & 0xF0 == _PROGRAM_CHANGE and at == 0:  # blocks begin where one comes
                voice.choose(data[1])
        # A quarter of a sample on top, so that no rounding of the seconds moves a note to the sample before.
        messages = [(bytes.fromhex(data), (at + 0.25) / held.rate) for at, data in header["messages"]]
        return self._returned(voice, _sung(voice.plugin, messages, count, held.width, held.rate), count)

    def _returned(self, voice: _Voice, result: Samples, given: int) -> tuple[dict[str, Any], bytes]:
        held = self._loaded
        if result.shape != (held.width, given):
            raise ValueError(f"it returned {list(result.shape)} samples; expected {[held.width, given]}")
        now = voice.plugin.reported_latency_samples
        if held.latency is None and now != voice.reported:
            raise ValueError(
                f"its latency went from {voice.reported} to {now} samples while it played; set latency_samples"
            )
        dropped = min(voice.drop, given)
        voice.drop -= dropped
        rest = np.ascontiguousarray(result[:, dropped:], np.float32)
        return {"samples": rest.shape[1]}, rest.tobytes()

    @property
    def _loaded(self) -> _Held:
        if self._held is None:
            raise ValueError("no plugin was loaded")
        return self._held


def _sung(plugin: Any, messages: list[tuple[bytes, float]], count: int, width: int, rate: float) -> Samples:
    seconds = (count + 0.5) / rate
    return np.asarray(plugin.process(messages, seconds, rate, num_channels=width, reset=False))


def _silence(plugin: Any, width: int, rate: float) -> None:
    if plugin.is_instrument:
        _sung(plugin, [], BLOCK, width, rate)
    else:
        plugin.process(np.zeros((width, BLOCK), np.float32), rate, reset=False)


def _described(path: str, name: str, count: int) -> dict[str, Any]:
    plugin = _loaded(path, name if count > 1 else None)
    found = [dials.describe(key, parameter) for key, parameter in dials.names(plugin._parameters)]
    widths = [width for width in _WIDTHS if _plays(plugin, width)]
    return {
        "name": name,
        "identifier": str(plugin.identifier),
        "maker": str(plugin.manufacturer_name or ""),
        "version": str(plugin.version or ""),
        "category": str(plugin.category or ""),
        "instrument": bool(plugin.is_instrument),
        "widths": widths,
        "latency_samples": int(plugin.reported_latency_samples),
        "parameters": [dials.as_json(dial) for dial in found if dial is not None],
    }


def _plays(plugin: Any, width: int) -> bool:
    try:
        if plugin.is_instrument:
            _sung(plugin, [], 512, width, _SCAN_RATE)
        else:
            plugin.process(np.zeros((width, 512), np.float32), _SCAN_RATE, reset=False)
    except (ValueError, RuntimeError):
        return False
    return True


def serve(answers: IO[bytes], asked: Callable[[], tuple[dict[str, Any], bytes]]) -> None:
    """Answer what is ``asked`` on ``answers``, without end; a plugin's refusal is an answer too."""
    server = _Server()
    while True:
        header, data = asked()
        try:
            reply, samples = server.answer(header, data)
        # The boundary to code that is not ours: whatever it raises is told to the host by name.
        except Exception as error:
            reply, samples = {"error": " ".join(f"{error}".split()) or type(error).__name__}, b""
        wire.send(answers, reply, samples)


def _end() -> None:
    """End now, with all that a plugin has started."""
    if os.name == "posix" and os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def main() -> None:
    """Serve on standard input and output until the host is gone."""
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    with open(os.devnull, "rb") as nothing:  # noqa: PTH123 - a device, not a path of ours
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    # Everything is read from pedalboard's own parameter objects, never by the attributes that it makes of them.
    wrapper.PARAMETER_NAME_REGEXES_TO_IGNORE = {re.compile("")}
    messages: queue.SimpleQueue[tuple[dict[str, Any], bytes]] = queue.SimpleQueue()

    def read() -> None:
        try:
            while True:
                messages.put(wire.receive(requests))
        except wire.WireError:
            _end()

    threading.Thread(target=read, daemon=True).start()
    with contextlib.suppress(wire.WireError):
        serve(answers, messages.get)
    _end()


if __name__ == "__main__":
    main()
