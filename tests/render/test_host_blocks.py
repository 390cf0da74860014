"""Chains in blocks: what comes out is what one call makes of the whole, whatever blocks it came in."""

import itertools
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from render import chain, host
from render.chain import Chain
from render.errors import ChainError
from render.plugins import PLUGINS

RATE = 44_100
Noise = Callable[..., Tensor]
AWAKE: dict[str, dict[str, Any]] = {
    "compressor": {"threshold_db": -20, "ratio": 4},
    "delay": {"delay_seconds": 0.3, "feedback": 0.4},
    "noise_gate": {"threshold_db": -20},
    "pitch_shift": {"semitones": 3},
    "brickwall_limiter": {"ceiling_db": -12, "lookahead_ms": 20},
}
PLAYED = [name for name, plugin in PLUGINS.items() if not plugin.container]


def _chain(*entries: Mapping[str, Any]) -> Chain:
    steps, mistakes = chain.parse([dict(entry) for entry in entries], file="", key="chain", folder=Path())
    assert not mistakes
    return steps


def _entry(name: str, room: Path) -> dict[str, Any]:
    values = {"impulse_response_filename": str(room)} if name == "convolution" else AWAKE.get(name, {})
    return {"plugin": name, **values}


def _cut(sound: Tensor, cuts: list[int]) -> Iterator[Tensor]:
    """``sound`` in blocks that end at ``cuts``."""
    edges = sorted({0, sound.shape[1], *(c for c in cuts if c < sound.shape[1])})
    return (sound[:, a:b] for a, b in itertools.pairwise(edges))


def _streamed(sound: Tensor, rate: int, steps: Chain, cuts: list[int], tail: int = 0) -> Tensor:
    blocks = host.stream(_cut(sound, cuts), rate, sound.shape[0], sound.shape[1], steps, tail_samples=tail)
    return torch.cat(list(blocks), 1)


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory, noise: Noise) -> Path:
    """An impulse response of 70 ms that dies away."""
    from engine import audio

    path = tmp_path_factory.mktemp("room") / "room.wav"
    audio.write(path, noise(1, 3000) * torch.exp(-torch.arange(3000) / 400), RATE, audio.Format("WAV", "FLOAT"))
    return path


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", [n for n in PLAYED if n not in host._FORGETFUL_S])
def test_blocks_are_bit_for_bit_one_call(name: str, channels: int, room: Path, noise: Noise) -> None:
    """Over three blocks and a bit, latency and last samples included: what pedalboard makes of the whole at once."""
    (step,) = _chain(_entry(name, room))
    dry = noise(channels, 100_001)
    whole = host._whole(dry.numpy(), RATE, step)
    assert np.array_equal(_streamed(dry, RATE, (step,), [5, 40_000, 40_001, 99_999]).numpy(), whole)


@pytest.mark.parametrize("rate", [8_000, 11_127])
def test_the_codec_s_windows_are_bit_for_bit_one_call(rate: int, noise: Noise) -> None:
    """Sound and silence over more than two windows; a short lead would leave its states apart."""
    (step,) = _chain({"plugin": "gsm_full_rate_compressor"})
    dry = noise(1, 130 * rate)
    dry[:, 55 * rate : 57 * rate] = 0
    whole = host._whole(dry.numpy(), rate, step)
    assert np.array_equal(_streamed(dry, rate, (step,), [7, 60 * rate]).numpy(), whole)


def test_pitch_shift_is_one_call(noise: Noise) -> None:
    """It comes in blocks and is played in one call, moved by what it is early or late."""
    dry = noise(2, 70_000)
    for semitones in (3, -3):
        steps = _chain({"plugin": "pitch_shift", "semitones": semitones})
        early = host._early_samples(steps[0], RATE)
        padded = np.pad(dry.numpy(), ((0, 0), (max(early, 0), max(-early, 0))))
        whole = host._whole(padded, RATE, steps[0])[:, max(-early, 0) :][:, :70_000]
        assert np.array_equal(_streamed(dry, RATE, steps, [3, 50_000]).numpy(), whole)


@given(st.integers(1, 70_000), st.lists(st.integers(1, 70_000), max_size=6), st.integers(0, 40_000), st.booleans())
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
def test_no_chain_hears_the_blocks(noise: Noise, samples: int, cuts: list[int], tail: int, crowded: bool) -> None:
    """Random lengths, blocks and tails through latencies in series and side by side: exact length, the same bits."""
    branch = {"plugin": "chain", "plugins": [{"plugin": "resample"}, {"plugin": "brickwall_limiter"}]}
    steps = _chain(
        {"plugin": "brickwall_limiter", "ceiling_db": -9},
        {"plugin": "mix", "plugins": [{"plugin": "gain", "gain_db": -6}, branch, {"plugin": "chorus"}]},
        {"plugin": "reverb"},
    )
    dry = noise(4 if crowded else 2, samples)
    one = host.play(dry, RATE, steps, tail_samples=tail)
    assert one.shape == (dry.shape[0], samples + tail)
    assert torch.equal(_streamed(dry, RATE, steps, cuts, tail), one)


def test_a_chain_takes_no_more_memory_for_a_longer_sound() -> None:
    """Latencies, a codec and branches: 600 s need what 200 s need, within 1 MB (numpy's and Python's allocations)."""
    mix = {"plugin": "mix", "plugins": [{"plugin": "gain"}, {"plugin": "gsm_full_rate_compressor"}]}
    steps = _chain({"plugin": "brickwall_limiter"}, mix)
    peaks = []
    for seconds in (200, 600):
        blocks = (torch.full((1, 8_000), 0.1) for _ in range(seconds))
        tracemalloc.start()
        try:
            played = host.stream(blocks, 8_000, 1, seconds * 8_000, steps, tail_samples=100)
            assert sum(block.shape[1] for block in played) == seconds * 8_000 + 100
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[1] < peaks[0] + 1_000_000


def test_a_plugin_that_returns_nothing_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked for a while, and then named, instead of being asked for ever."""

    class Mute:
        def process(self, rows: Any, rate: int, *, reset: bool) -> Any:
            return rows[:, :0]

    monkeypatch.setattr(host, "_instance", lambda step: Mute())
    with pytest.raises(ChainError, match="invert returned nothing"):
        host.play(torch.zeros(1, 10), RATE, _chain({"plugin": "invert"}))


def test_what_goes_wrong_before_the_chain_is_not_the_plugin_s(noise: Noise) -> None:
    """An error of the sound's own source comes through as itself, however many plugins there are."""

    def broken() -> Iterator[Tensor]:
        yield noise(1, 50_000)
        raise ValueError("the source")

    with pytest.raises(ValueError, match="the source"):
        list(host.stream(broken(), RATE, 1, 90_000, _chain({"plugin": "invert"}, {"plugin": "reverb"})))
