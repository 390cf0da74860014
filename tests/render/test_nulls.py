"""Null tests: chains that are to change nothing, or one thing exactly, against the stem itself."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from engine import audio
from engine.style import Target
from presets.library import Library
from presets.preset import new
from render import chain, host, planner
from render import job as jobs
from render.chain import Chain
from render.choices import Choices
from render.plugins import PLUGINS

RATE = 48_000
MakeStem = Callable[..., Path]
Noise = Callable[..., Tensor]
UNITY: list[dict[str, Any]] = [
    {"plugin": "brickwall_limiter", "ceiling_db": 0, "lookahead_ms": 20},
    {"plugin": "chorus", "mix": 0},
    {"plugin": "clipping", "threshold_db": 0},
    {"plugin": "compressor", "threshold_db": 0, "ratio": 20},
    {"plugin": "delay", "mix": 0},
    {"plugin": "gain", "gain_db": 0},
    {"plugin": "noise_gate", "threshold_db": -100},
    {"plugin": "phaser", "mix": 0},
    {"plugin": "mix", "plugins": [{"plugin": "gain", "gain_db": 0}]},
    {"plugin": "chain", "plugins": [{"plugin": "invert"}, {"plugin": "invert"}]},
]
FIXTURES: list[dict[str, Any]] = [
    {"plugin": "GramoGain"},
    {"plugin": "GramoMono"},
    {"plugin": "GramoUnder", "latency_samples": 300},
    {"plugin": "GramoOver", "latency_samples": 300},
]


def _chain(*entries: dict[str, Any]) -> Chain:
    steps, mistakes = chain.parse(list(entries), file="", key="chain", folder=Path())
    assert not mistakes, mistakes
    return steps


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("entry", UNITY, ids=lambda entry: str(entry["plugin"]))
def test_a_built_in_that_does_nothing_is_bit_identical(entry: dict[str, Any], channels: int, noise: Noise) -> None:
    """Latency included: 20 ms of look-ahead come out at no sample's distance."""
    dry = noise(channels, 70_001)
    assert torch.equal(host.play(dry, RATE, _chain(entry)), dry)


@pytest.mark.parametrize("name", [plugin.name for plugin in PLUGINS.values() if not plugin.container])
def test_no_built_in_is_late_by_a_sample(name: str, tmp_path: Path, noise: Noise) -> None:
    """Noise correlates best with what comes out at 0 samples, filters wide open: what a filter moves is no latency."""
    impulse = torch.nn.functional.pad(torch.ones(1, 1), (0, 63))
    audio.write(tmp_path / "room.wav", impulse, RATE, audio.Format("WAV", "FLOAT"))
    awake: dict[str, dict[str, Any]] = {
        "chorus": {"mix": 0.3},
        "convolution": {"impulse_response_filename": str(tmp_path / "room.wav"), "mix": 1.0},
        "ladder_filter": {"cutoff_hz": 20_000},
        "lowpass_filter": {"cutoff_frequency_hz": 20_000},
    }
    dry = noise(1, 40_000, peak=0.3)
    wet = host.play(dry, RATE, _chain({"plugin": name, **awake.get(name, {})}))
    spectrum = torch.fft.rfft(wet[0].double(), 1 << 17) * torch.fft.rfft(dry[0].double(), 1 << 17).conj()
    assert int(torch.fft.irfft(spectrum).abs().argmax()) == 0


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_a_unity_chain_of_everything_is_bit_identical_as_a_file(
    subtype: str, tmp_path: Path, make_stem: MakeStem, shelf: Library, noise: Noise, plugins_here: Path
) -> None:
    """All of them and every fixture in one chain, in mixes and after one another: the samples of the stem's file."""
    stem = make_stem(samples=noise(2, 40_000), subtype=subtype, rate=RATE)
    entries = [
        *UNITY,
        *FIXTURES,
        {"plugin": "mix", "plugins": [{"plugin": "chain", "plugins": [*UNITY[:2], *FIXTURES]}]},
    ]
    steps = _chain(*entries)
    assert len(list(chain.walk(steps))) > 20
    path = tmp_path / "album.toml"
    tables = "\n".join(_toml(entry) for entry in entries)
    path.write_text(f'[album]\namount = 0\n[[track]]\nstem = "{stem.name}"\nchain = [{tables}]\n')
    (job,) = planner.plan_album(path, library=shelf).jobs
    jobs.render(job, on_event=lambda event: None)
    assert torch.equal(audio.read(job.output).samples, audio.read(stem).samples)


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        inner = ", ".join(f"{key} = {_toml(entry).rstrip(',')}" for key, entry in value.items())
        return f"{{ {inner} }},"
    if isinstance(value, list):
        return f"[{' '.join(_toml(entry) for entry in value)}],"
    return f'"{value}"' if isinstance(value, str) else str(value)


def test_six_decibels_are_exact(noise: Noise) -> None:
    """The built-in gain multiplies by a float32 within two roundings of 10^(6/20), to the bit, and back (2^-22)."""
    dry = noise(2, 70_001, peak=0.4)
    wet = host.play(dry, RATE, _chain({"plugin": "gain", "gain_db": 6}))
    factor = host.play(torch.full((1, 100), 0.5), RATE, _chain({"plugin": "gain", "gain_db": 6}))[0, 0] * 2
    assert abs(float(factor) - 10**0.3) < 2**-22
    assert torch.equal(wet, dry * factor)
    back = host.play(wet, RATE, _chain({"plugin": "gain", "gain_db": -6}))
    assert torch.allclose(back, dry, rtol=2**-22, atol=0)


@pytest.mark.parametrize("name", [n for n, plugin in PLUGINS.items() if not plugin.container and n != "convolution"])
def test_equal_channels_stay_equal(name: str, noise: Noise) -> None:
    """A mono sound on two channels is the same on both after every built-in but the two that spread it (-90 dBFS)."""
    entry: dict[str, Any] = {"plugin": name} | ({"width": 0.0} if name == "reverb" else {})
    dry = noise(1, 40_000).repeat(2, 1)
    wet = host.play(dry, RATE, _chain(entry))
    assert (wet[0] - wet[1]).abs().max() < 10 ** (-90 / 20)


def test_branches_line_up_with_plugin_files_among_them(noise: Noise, plugins_here: Path) -> None:
    """Side by side: 0, 100, 64, 300 and 960 samples late, one of them turned over: what is left is three stems."""
    late = {"plugin": "brickwall_limiter", "ceiling_db": 0, "lookahead_ms": 20}
    over = {"plugin": "chain", "plugins": [{"plugin": "invert"}, {"plugin": "GramoMono"}]}
    under = {"plugin": "GramoUnder", "latency_samples": 300}
    plugins = [{"plugin": "gain", "gain_db": 0}, {"plugin": "GramoGain"}, over, under, late]
    dry = noise(2, 70_001, peak=0.25)
    wet = host.play(dry, RATE, _chain({"plugin": "mix", "plugins": plugins}))
    assert torch.allclose(wet, 3 * dry, rtol=0, atol=2**-24)


def test_a_preset_s_chain_may_hold_plugin_files(
    tmp_path: Path, make_stem: MakeStem, noise: Noise, plugins_here: Path
) -> None:
    """By name, with latency, in a preset's own chain: the stem comes back to the bit through its inversion."""
    library = Library(tmp_path / "library")
    steps = [{"plugin": "mix", "plugins": [{"plugin": "GramoGain", "parameters": {"invert": True}}]}]
    library.save(new("tape", Target("identity", {}, 8_000, {"frames": torch.ones(1, 16)}), chain=steps))
    stem = make_stem(subtype="FLOAT")
    (job,) = planner.plan_stems([stem], library=library, choices=Choices(preset="tape")).jobs
    jobs.render(job, on_event=lambda event: None)
    assert torch.equal(audio.read(job.output).samples, -audio.read(stem).samples)
