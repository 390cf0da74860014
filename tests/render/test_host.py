"""Playing chains: alignment, length and channels of every built-in, measured on what pedalboard returns."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from render import chain, host
from render.chain import Chain
from render.errors import ChainError
from render.plugins import PLUGINS, Plugin

RATE = 44_100
Noise = Callable[..., Tensor]


def _chain(*entries: Mapping[str, Any]) -> Chain:
    steps, mistakes = chain.parse([dict(entry) for entry in entries], file="", key="chain", folder=Path())
    assert not mistakes
    return steps


def _entry(plugin: Plugin, room: Path) -> dict[str, Any]:
    """The plugin with values at which it is awake, yet leaves the time structure alone."""
    if plugin.container:
        return {"plugin": plugin.name, "plugins": [{"plugin": "gain", "gain_db": 0.0}]}
    awake: dict[str, dict[str, Any]] = {
        "convolution": {"impulse_response_filename": str(room)},
        "delay": {"mix": 0.3},
        "noise_gate": {"threshold_db": -60},
        "lowpass_filter": {"cutoff_frequency_hz": 8_000},
        "ladder_filter": {"cutoff_hz": 8_000},
        "phaser": {"rate_hz": 5.0},
        "chorus": {"mix": 0.3},
        "reverb": {"wet_level": 0.1},
    }
    return {"plugin": plugin.name, **awake.get(plugin.name, {})}


@pytest.fixture
def room(make_stem: Callable[..., Path]) -> Path:
    """An impulse response of one sample, so that convolution is a gain."""
    impulse = torch.zeros(1, 64)
    impulse[0, 0] = 0.9
    return make_stem("room.wav", impulse, rate=RATE)


@pytest.mark.parametrize("plugin", PLUGINS.values(), ids=lambda p: p.name)
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_every_plugin_keeps_channels_length_and_time(plugin: Plugin, channels: int, room: Path, noise: Noise) -> None:
    """Noise in, and what comes out lines up with it in every channel: the strongest correlation is within 3 samples.

    Three samples are what the phase of a 8 kHz low-pass or a zero-order hold moves it by; latency would be hundreds.
    """
    steps = _chain(_entry(plugin, room))
    dry = noise(channels, 9_000)
    wet = host.play(dry, RATE, steps)
    assert wet.shape == dry.shape
    assert wet.dtype == torch.float32
    for before, after in zip(dry.numpy(), wet.numpy(), strict=True):
        spectrum = np.fft.rfft(after, 32_768) * np.conj(np.fft.rfft(before, 32_768))
        lag = int(np.argmax(np.abs(np.fft.irfft(spectrum))))
        assert min(lag, 32_768 - lag) <= 3


@pytest.mark.parametrize("plugin", PLUGINS.values(), ids=lambda p: p.name)
def test_no_channel_hears_another_or_is_left_out(plugin: Plugin, room: Path, noise: Noise) -> None:
    """One loud channel among five silent ones comes out alone and changed, whichever it is.

    Below -60 dB counts as silent: the GSM codec hisses at -65 dB.
    """
    steps = _chain(_entry(plugin, room))
    for loud in (0, 3):
        dry = torch.zeros(6, 3_000)
        dry[loud] = noise(1, 3_000)[0]
        wet = host.play(dry, RATE, steps)
        others = [c for c in range(6) if c != loud]
        assert float(wet[others].abs().max()) < 1e-3
        assert float(wet[loud].abs().max()) > 1e-2
        alone = host.play(dry[loud : loud + 1], RATE, steps)
        assert float((wet[loud] - alone[0]).abs().max()) < 0.02 * float(alone.abs().max())


@pytest.mark.parametrize("plugin", PLUGINS.values(), ids=lambda p: p.name)
@pytest.mark.parametrize(("channels", "length"), [(1, 1), (2, 1), (6, 1), (6, 5), (6, 6), (2, 2), (2, 65)])
def test_stems_of_a_few_samples_keep_their_shape(
    plugin: Plugin, channels: int, length: int, room: Path, noise: Noise
) -> None:
    """Pedalboard takes six channels of five samples for five channels of six; nothing of that comes through."""
    assert host.play(noise(channels, length), RATE, _chain(_entry(plugin, room))).shape == (channels, length)


@pytest.mark.parametrize("plugin", [p for p in PLUGINS.values() if p.parameters], ids=lambda p: p.name)
@pytest.mark.parametrize("rate", [8_000, 48_000])
def test_the_ends_of_every_range_are_playable(plugin: Plugin, rate: int, room: Path, noise: Noise) -> None:
    """At each bound that the table allows the plugin returns finite samples: no bound promises too much."""
    dry = noise(1, 2_000)
    for parameter in plugin.parameters:
        if parameter.kind != "number":
            continue
        high = min(parameter.high, rate / 2) if parameter.below_nyquist else parameter.high
        span = high - parameter.low
        low_end = parameter.low + (1e-6 * span if parameter.open_low else 0)
        high_end = high - (1e-6 * span if parameter.open_high or parameter.below_nyquist else 0)
        for value in (low_end, high_end):
            entry = _entry(plugin, room) | {parameter.name: value}
            entry |= {p.name: 100.0 for p in plugin.parameters if p.below_nyquist and p.name != parameter.name}
            assert bool(torch.isfinite(host.play(dry, rate, _chain(entry))).all())


@pytest.mark.parametrize("plugin", [p for p in PLUGINS.values() if p.parameters], ids=lambda p: p.name)
def test_parameters_reach_the_plugin(plugin: Plugin, room: Path) -> None:
    """Every value that a chain gives is read back from the plugin, so none is accepted and dropped."""
    values: dict[str, Any] = {}
    for parameter in plugin.parameters:
        if parameter.kind == "number":
            values[parameter.name] = parameter.low + 0.4 * (min(parameter.high, parameter.low + 30) - parameter.low)
        elif parameter.kind == "choice":
            values[parameter.name] = list(parameter.choices)[-1]
        elif parameter.kind == "flag":
            values[parameter.name] = not parameter.default
        else:
            values[parameter.name] = str(room)
    instance = host._instance(_chain({"plugin": plugin.name, **values})[0])
    for parameter in plugin.parameters:
        if parameter.kind == "file":
            continue
        found = getattr(instance, parameter.name)
        if parameter.kind == "choice":
            assert found.name == parameter.choices[values[parameter.name]]
        else:
            assert float(found) == pytest.approx(float(values[parameter.name]), rel=1e-5)


@pytest.mark.parametrize("semitones", [-12, -7, -3, 3, 7, 12])
def test_pitch_shifted_sound_stays_in_place(semitones: int) -> None:
    """The energy of bursts stays within 2.5 ms of where it was; uncorrected, an octave is 7 ms off.

    The tolerance is what the stretcher scatters single bursts by.
    """
    time = np.arange(2 * RATE) / RATE
    centres = (0.4, 0.8, 1.2, 1.6)
    envelope = np.sum([np.exp(-0.5 * ((time - c) / 0.03) ** 2) for c in centres], axis=0)
    tone = np.sum([np.sin(2 * np.pi * 220 * h * time) / h for h in range(1, 8)], axis=0)
    dry = torch.from_numpy((0.2 * envelope * tone).astype(np.float32))[None]
    wet = host.play(dry, RATE, _chain({"plugin": "pitch_shift", "semitones": semitones}))
    for before, after in zip(_centroids(dry[0], time, centres), _centroids(wet[0], time, centres), strict=True):
        assert after == pytest.approx(before, abs=0.0025)


def _centroids(sound: Tensor, time: np.ndarray[Any, Any], centres: tuple[float, ...]) -> list[float]:
    energy = sound.numpy().astype(np.float64) ** 2
    windows = [np.abs(time - c) < 0.18 for c in centres]
    return [float((energy[w] * time[w]).sum() / energy[w].sum()) for w in windows]


def test_a_tail_is_kept_by_choice_and_never_otherwise(noise: Noise) -> None:
    """A click through a delay: the echo is cut at the stem's end, or there to the sample with a tail."""
    dry = torch.zeros(1, 4_410)
    dry[0, 100] = 0.5
    steps = _chain({"plugin": "delay", "delay_seconds": 0.2, "mix": 0.5})
    assert host.play(dry, RATE, steps).shape == (1, 4_410)
    wet = host.play(dry, RATE, steps, tail_samples=8_820)
    assert wet.shape == (1, 13_230)
    assert int(wet[0, 200:].abs().argmax()) + 200 == 100 + 8_820


def test_a_mix_sums_its_plugins_and_a_chain_within_runs_in_series(noise: Noise) -> None:
    """Sound plus its inversion is silence; sound plus itself 6.02 dB softer through a chain is 1.5 times as loud."""
    dry = noise(2, 500)
    cancelled = _chain({"plugin": "mix", "plugins": [{"plugin": "invert"}, {"plugin": "gain", "gain_db": 0.0}]})
    assert float(host.play(dry, RATE, cancelled).abs().max()) == 0
    halved = {"plugin": "chain", "plugins": [{"plugin": "invert"}, {"plugin": "gain", "gain_db": -6.0206}]}
    both = _chain({"plugin": "mix", "plugins": [{"plugin": "invert"}, halved]})
    assert torch.allclose(host.play(dry, RATE, both), -1.5 * dry, atol=1e-5)


def test_the_same_chain_gives_the_same_bytes(noise: Noise) -> None:
    """Twice the same stem through a long chain: bit for bit the same."""
    entries = [{"plugin": n} for n in ("chorus", "reverb", "pitch_shift", "mp3_compressor", "brickwall_limiter")]
    steps = _chain(*entries)
    dry = noise(2, 5_000)
    assert torch.equal(host.play(dry, RATE, steps), host.play(dry, RATE, steps))


def test_a_plugin_that_returns_nan_fails_by_name(noise: Noise) -> None:
    """A filter above half the rate, slipped past the plan, is an error that names it and no file full of NaN."""
    steps = _chain({"plugin": "highpass_filter", "cutoff_frequency_hz": 30_000})
    with pytest.raises(ChainError, match="highpass_filter returned samples that are not finite"):
        host.play(noise(1, 2_000), 44_100, steps)


def test_a_plugin_that_refuses_fails_by_name(noise: Noise) -> None:
    """Pedalboard's own refusal comes through as one error with the plugin's name."""
    with pytest.raises(ChainError, match="mp3_compressor cannot process this stem"):
        host.play(noise(1, 2_000), 96_000, _chain({"plugin": "mp3_compressor"}))
