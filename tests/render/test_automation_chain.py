"""Parameters that move while a chain plays: at the sample they name, and the same in all blocks."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from engine import audio
from render import automation, chain, host, lanes
from render.breakpoints import Breakpoints
from render.chain import Chain
from render.curves import GRID, Curve, Moves
from render.plugins import PLUGINS

RATE = 48_000
QUIET = 10 ** (-90 / 20)
Noise = Callable[..., Tensor]
AWAKE: dict[str, dict[str, Any]] = {
    "compressor": {"threshold_db": -30, "ratio": 4},
    "noise_gate": {"threshold_db": -12, "ratio": 4},
    "limiter": {"threshold_db": -20},
    "brickwall_limiter": {"ceiling_db": -12},
    "clipping": {"threshold_db": -12},
    "delay": {"delay_seconds": 0.1, "feedback": 0.3},
    "peak_filter": {"gain_db": 6},
    "low_shelf_filter": {"gain_db": 6},
    "high_shelf_filter": {"gain_db": 6},
}
MOVING = [(plugin.name, p.name) for plugin in PLUGINS.values() for p in plugin.parameters if p.moves]


def _chain(*entries: dict[str, Any]) -> Chain:
    steps, mistakes = chain.parse(list(entries), file="", key="chain", folder=Path())
    assert not mistakes, mistakes
    return steps


def _moved(steps: Chain, target: str, *points: tuple[float, float]) -> Chain:
    raw = [{"target": target, "points": [list(point) for point in points]}]
    found, mistakes, _ = lanes.read(raw, file="", key="automation", folder=None, stem=None)
    moved, more = automation.onto(steps, found)
    assert not mistakes + more, mistakes + more
    return moved


def _cut(sound: Tensor, *cuts: int) -> Iterator[Tensor]:
    return (sound[:, a:b] for a, b in itertools.pairwise((0, *cuts, sound.shape[1])))


def _streamed(sound: Tensor, steps: Chain, *cuts: int) -> Tensor:
    return torch.cat(list(host.stream(_cut(sound, *cuts), RATE, len(sound), sound.shape[1], steps)), 1)


def _entry(name: str, room: Path) -> dict[str, Any]:
    values = {"impulse_response_filename": str(room)} if name == "convolution" else AWAKE.get(name, {})
    return {"plugin": name, **values}


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory, noise: Noise) -> Path:
    """An impulse response of 10 ms."""
    path = tmp_path_factory.mktemp("room") / "room.wav"
    audio.write(path, noise(1, 480) * torch.exp(-torch.arange(480) / 60), RATE, audio.Format("WAV", "FLOAT"))
    return path


def test_a_curve_is_the_line_at_every_sample() -> None:
    """Against the line itself, jumps and all, within a rounding of a double; late by what it is told to be."""
    line = Breakpoints(((0.01, 1.0), (0.02, -3.0), (0.02, 5.0), (0.0300001, 5.5)))
    found = Curve(line, RATE, 7).of(0, 2_000)
    expected = [line.at(max(0.0, (n - 7) / RATE)) for n in range(2_000)]
    assert np.allclose(found, expected, rtol=0, atol=1e-12)
    assert Curve(line, RATE).jumps.tolist() == [960]


@pytest.mark.parametrize("cuts", [(1_024,), (64, 100, 999), (1, 2, 3)])
def test_pieces_do_not_depend_on_how_they_are_taken(cuts: tuple[int, ...]) -> None:
    """A grid of 64 samples and the jumps, never more than 64, each taken as a multiple of the grid."""
    line = Breakpoints(((0.0, 0.0), (500 / RATE, 1.0), (500 / RATE, 2.0), (0.1, 3.0)))
    whole = Moves({"x": line}, RATE).take(4_096)
    moves, taken = Moves({"x": line}, RATE), ([], [])  # type: ignore[var-annotated]
    edges = [0, *(cut * GRID for cut in cuts if cut * GRID < 4_096), 4_096]
    for a, b in itertools.pairwise(edges):
        counts, values = moves.take(b - a)
        taken[0].extend(counts)
        taken[1].extend(values["x"])
    assert taken == (whole[0], whole[1]["x"])
    assert max(whole[0]) == GRID
    assert 500 in np.cumsum(whole[0])


@pytest.mark.parametrize(("name", "parameter"), MOVING)
def test_what_is_held_is_what_is_set(name: str, parameter: str, room: Path, noise: Noise) -> None:
    """Every parameter that may move, by a line that stays where it is: as without, to -120 dBFS."""
    steps = _chain(_entry(name, room))
    value = float(steps[0].values[parameter])
    dry = noise(2, 40_000)
    held = host.play(dry, RATE, _moved(steps, f"chain[1].{parameter}", (0, value)))
    assert (held - host.play(dry, RATE, steps)).abs().max() < 1e-6


@pytest.mark.parametrize(("name", "parameter"), MOVING)
def test_what_moves_arrives(name: str, parameter: str, room: Path, noise: Noise) -> None:
    """From the start on at another value: as if it were set to that, to -90 dBFS; and it is not what it was."""
    steps = _chain(_entry(name, room))
    known = PLUGINS[name].parameter(parameter)
    assert known is not None
    value = float(steps[0].values[parameter])
    other = next(v for v in (value / 2, value - 6, value + 0.4, value * 2) if v != value and known.holds(v))
    dry = noise(2, 40_000)
    moved = host.play(dry, RATE, _moved(steps, f"chain[1].{parameter}", (0, other)))
    (step,) = steps
    there = host.play(dry, RATE, (replace(step, values={**step.values, parameter: other}),))
    assert (moved - there).abs().max() < QUIET
    # Noise that is loud all along: the gate never closes, and nothing is to be frozen less than half.
    if name != "noise_gate" and parameter != "freeze_mode":
        assert (moved - host.play(dry, RATE, steps)).abs().max() > QUIET


# A bit depth that is not whole rounds every sample anew.
@pytest.mark.parametrize(("name", "parameter"), [m for m in MOVING if m[0] != "bitcrush"])
def test_moving_a_little_does_no_harm(name: str, parameter: str, room: Path, noise: Noise) -> None:
    """A parameter that is set 600 times to values a millionth apart: no filter forgets what it heard (-60 dBFS)."""
    steps = _chain(_entry(name, room))
    known = PLUGINS[name].parameter(parameter)
    value = float(steps[0].values[parameter])
    near = next(v for v in (value * (1 + 1e-6), value * (1 - 1e-6), 1e-6) if v != value and known and known.holds(v))
    dry = noise(2, 40_000)
    moved = host.play(dry, RATE, _moved(steps, f"chain[1].{parameter}", (0, value), (40_000 / RATE, near)))
    assert (moved - host.play(dry, RATE, steps)).abs().max() < 1e-3


@pytest.mark.parametrize("at", [64, 12_345, 32_768, 32_770, 39_999])
@pytest.mark.parametrize("name", ["gain", "GramoGain", "GramoMono", "GramoUnder"])
def test_a_jump_hits_its_sample(name: str, at: int, noise: Noise, plugins_here: Path) -> None:
    """0 dB up to the sample before, +6 dB from it on, whatever the plugin's latency: 0, 100, 64 and 300 samples."""
    entry: dict[str, Any] = {"plugin": name} | ({"gain_db": 0} if name == "gain" else {})
    entry |= {"latency_samples": 300} if name == "GramoUnder" else {}
    steps = _moved(_chain(entry), "chain[1].gain_db", (0, 0), (at / RATE, 0), (at / RATE, 6))
    dry = noise(2, 40_000)
    wet = host.play(dry, RATE, steps)
    # VST3 hands values on as 32-bit parts of a range of 84 dB.
    assert torch.allclose(wet[:, :at], dry[:, :at], rtol=6e-7 if name != "gain" else 0, atol=0)
    assert torch.allclose(wet[:, at:], dry[:, at:] * 10**0.3, rtol=6e-7, atol=0)


def test_a_jump_of_the_look_ahead_s_ceiling_hits_its_sample() -> None:
    """The limiter is 5 ms late, and so is its ceiling: a tone at -6 dBFS is at -12 from the sample on, ± 0.1 ms."""
    tone = 0.5 * torch.sin(torch.arange(60_000) * 2 * torch.pi * 2_000 / RATE)[None]
    steps = _chain({"plugin": "brickwall_limiter", "ceiling_db": -3})
    wet = host.play(tone, RATE, _moved(steps, "chain[1].ceiling_db", (0, -3), (0.75, -3), (0.75, -12)))
    where = (wet - tone).abs()[0] > 1e-3
    assert abs(int(where.nonzero()[0]) - 36_000) <= 5


@pytest.mark.parametrize(
    ("entry", "target", "points"),
    [
        ({"plugin": "gain"}, "chain[1].gain_db", ((0, -20), (0.5, 6), (0.5, -3), (1, 0))),
        ({"plugin": "reverb"}, "chain[1].wet_level", ((0, 0), (1, 1))),
        ({"plugin": "lowpass_filter"}, "chain[1].cutoff_frequency_hz", ((0, 100), (1.4, 9_000))),
        ({"plugin": "brickwall_limiter"}, "chain[1].ceiling_db", ((0, -1), (1.4, -20))),
        (
            {"plugin": "mix", "plugins": [{"plugin": "invert"}, {"plugin": "delay"}]},
            "chain[1].plugins[2].mix",
            ((0, 0), (1, 1)),
        ),
        ({"plugin": "GramoGain"}, "chain[1].gain_db", ((0, -20), (0.5, 6), (0.5, -3), (1, 0))),
        ({"plugin": "GramoMono"}, "chain[1].gain", ((0.2, -20), (1, 6))),
        ({"plugin": "GramoGain"}, "chain[1].invert", ((0, 0), (1, 1))),
    ],
)
def test_automation_is_the_same_in_all_blocks(
    entry: dict[str, Any], target: str, points: Any, noise: Noise, plugins_here: Path
) -> None:
    """One block, blocks of 1 to 32 768 samples and odd ones: to the bit, which is more than -90 dBFS."""
    steps = _moved(_chain(entry), target, *points)
    dry = noise(2, 70_001)
    one = _streamed(dry, steps)
    for cuts in ((1,), (5, 40_000, 40_001), tuple(range(1_000, 70_000, 1_777)), (32_768, 65_536)):
        assert torch.equal(_streamed(dry, steps, *cuts), one)
    assert not torch.equal(one, host.play(dry, RATE, _chain(entry)))


def test_channels_are_linked(noise: Noise, plugins_here: Path) -> None:
    """A mono plugin has an instance for each channel, and all of them move alike: equal channels stay equal."""
    steps = _moved(_chain({"plugin": "GramoMono"}, {"plugin": "GramoGain"}), "chain[1].gain_db", (0, -12), (0.7, 6))
    steps = _moved(steps, "chain[2].gain_db", (0, 6), (0.7, -12))
    dry = noise(1, 40_000).repeat(2, 1)
    wet = host.play(dry, RATE, steps)
    assert torch.equal(wet[0], wet[1])


def test_a_ramp_in_decibels_is_followed(noise: Noise, plugins_here: Path) -> None:
    """From -24 to 0 dB in 0.8 s through both gains: within 0.03 dB, half a piece's rise, of the line at each sample."""
    dry = noise(1, 40_000).abs() + 0.1
    line = Breakpoints(((0.0, -24.0), (0.8, 0.0)))
    for entry in ({"plugin": "gain"}, {"plugin": "GramoGain"}):
        wet = host.play(dry, RATE, _moved(_chain(entry), "chain[1].gain_db", *line.points))
        found = 20 * (wet / dry).double().log10()[0].numpy()
        assert np.abs(found - Curve(line, RATE).of(0, 40_000)).max() < 0.03


def test_what_has_moved_is_put_back_for_the_next_stem(noise: Noise, plugins_here: Path) -> None:
    """A child that is kept plays the next stem as if nothing had moved, and the same line again to the bit."""
    still = _chain({"plugin": "GramoGain"})
    moving = _moved(still, "chain[1].gain_db", (0, 0), (0.5, -20))
    dry = noise(2, 40_000)
    first = host.play(dry, RATE, moving)
    assert torch.equal(host.play(dry, RATE, still), dry)
    assert torch.equal(host.play(dry, RATE, moving), first)


def test_words_and_what_is_not_there_do_not_move(plugins_here: Path) -> None:
    """A choice of words has no numbers between; the nearest name is told of one that is misspelt."""
    steps = _chain({"plugin": "GramoGain"})
    for target, message in (("voicing", "has voicing, which cannot move while it plays"), ("gian_db", "'gain_db'")):
        lane = lanes.Lane(f"chain[1].{target}", Breakpoints(((0.0, 0.0),)), "automation[1]", (1,), target)
        (mistake,) = automation.onto(steps, [lane])[1]
        assert message in mistake.message


def test_a_third_party_s_threshold_moves(noise: Noise, zam_folder: Path, plugins_here: Path) -> None:
    """ZaMaximX2, 480 samples late: bit for bit as set up to the jump of its threshold (10 ms before it), then not."""
    entry = {"plugin": str(zam_folder / "ZaMaximX2.vst3"), "parameters": {"threshold_db": 0}}
    still = _chain(entry)
    dry = noise(2, 60_000)
    wet = host.play(dry, RATE, _moved(still, "chain[1].threshold_db", (0, 0), (1, 0), (1, -20)))
    plain = host.play(dry, RATE, still)
    assert (wet - plain)[:, :47_520].abs().max() < QUIET
    assert (wet - plain)[:, 48_480:].abs().max() > 0.01
