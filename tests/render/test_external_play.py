"""Plugin files at work: nulls to the bit, latency to the sample, and nothing left behind by a plugin that fails."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from render import chain, children, external, host, hosting
from render.chain import Chain
from render.children import Child, Deadlines, PluginFault, PluginTimeout, Pool
from render.errors import ChainError

RATE = 48_000
Noise = Callable[..., Tensor]
pytestmark = pytest.mark.usefixtures("plugins_here")


def _chain(*entries: dict[str, Any], folder: Path | None = None) -> Chain:
    steps, mistakes = chain.parse(list(entries), file="", key="chain", folder=folder)
    assert not mistakes, mistakes
    return steps


def _loud(sound: Tensor, at: int = 1_000) -> Tensor:
    sound[:, at] = 0.95
    return sound


@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize("length", [1, 65, 32_768, 100_001])
@pytest.mark.parametrize("name", ["GramoGain", "GramoMono"])
def test_a_plugin_that_does_nothing_is_bit_identical(name: str, channels: int, length: int, noise: Noise) -> None:
    """100 and 64 samples of latency, stereo and mono plugins, whatever the stem: what comes out is what went in."""
    dry = noise(channels, length)
    assert torch.equal(host.play(dry, RATE, _chain({"plugin": name})), dry)


def test_of_two_plugins_in_one_file_the_named_one_plays(noise: Noise) -> None:
    """A file that holds a stereo and a mono plugin, 100 and 64 samples late: each by its name, and neither without."""
    (only,) = chain.parse([{"plugin": "GramoBoth"}], file="", key="chain", folder=None)[1]
    assert "GramoBoth.vst3 holds 2 plugins; expected one of GramoGain, GramoMono" in only.message
    dry = noise(2, 5_000)
    for name, widths in (("GramoGain", (2,)), ("GramoMono", (1,))):
        steps = _chain({"plugin": "GramoBoth", "plugin_name": name, "parameters": {"invert": True}})
        assert steps[0].external is not None
        assert (steps[0].plugin.name, steps[0].external.plugin.widths) == (name, widths)
        assert torch.equal(host.play(dry, RATE, steps), -dry)


def test_blocks_and_a_tail_change_nothing(noise: Noise) -> None:
    """The sound in odd blocks, and with half a second more: the same bits, then silence."""
    dry = noise(2, 70_001)
    steps = _chain({"plugin": "GramoGain"}, {"plugin": "GramoMono"})
    cut = [dry[:, :5], dry[:, 5:40_000], dry[:, 40_000:]]
    wet = torch.cat(list(host.stream(cut, RATE, 2, 70_001, steps, tail_samples=24_000)), 1)
    assert torch.equal(wet[:, :70_001], dry)
    assert wet.shape == (2, 94_001)
    assert not wet[:, 70_001:].any()


def test_parameters_are_in_the_plugin_s_units(noise: Noise) -> None:
    """+6 dB is a factor of 10^(6/20) within 6e-7: VST3 hands values on as 32-bit parts of a range, of 84 dB here."""
    dry = noise(2, 5_000)
    wet = host.play(dry, RATE, _chain({"plugin": "GramoGain", "parameters": {"gain_db": 6}}))
    assert torch.allclose(wet, dry * 10**0.3, rtol=6e-7, atol=0)
    entry = {"plugin": "GramoGain", "parameters": {"invert": True, "voicing": "Half"}}
    assert torch.equal(host.play(dry, RATE, _chain(entry)), -0.5 * dry)


@pytest.mark.parametrize("name", ["GramoUnder", "GramoOver"])
def test_a_latency_that_is_misreported_can_be_said(name: str, noise: Noise) -> None:
    """300 samples late, said to be 0 or 1000: off by that much, and to the bit with ``latency_samples``."""
    dry = noise(2, 40_000)
    assert not torch.equal(host.play(dry, RATE, _chain({"plugin": name})), dry)
    assert torch.equal(host.play(dry, RATE, _chain({"plugin": name, "latency_samples": 300})), dry)


def test_a_mix_of_plugin_files_lines_up(noise: Noise) -> None:
    """Side by side, one of them twice: 100 and 64 samples of latency, the sum to the bit."""
    dry = noise(2, 40_000)
    twice = {"plugin": "mix", "plugins": [{"plugin": "GramoGain"}, {"plugin": "GramoGain"}, {"plugin": "GramoMono"}]}
    assert torch.equal(host.play(dry, RATE, _chain(twice)), dry + dry + dry)


def test_channels_stay_apart_and_linked_ones_together(noise: Noise) -> None:
    """Six channels through a mono plugin, one of them loud: the others stay silent."""
    dry = torch.zeros(6, 3_000)
    dry[4] = noise(1, 3_000)[0]
    assert torch.equal(host.play(dry, RATE, _chain({"plugin": "GramoMono"})), dry)


def test_a_state_is_restored_and_parameters_come_on_top(tmp_path: Path, noise: Noise) -> None:
    """The plugin's own state in a raw file and as a .vstpreset, then a parameter over it."""
    script = (
        "import sys, numpy, pedalboard\n"
        "plugin = pedalboard.VST3Plugin(sys.argv[1], parameter_values={'gain_db': -6.0, 'invert': True})\n"
        # A plugin's state holds what was set only when it has played since.
        "plugin.process(numpy.zeros((2, 512), 'float32'), 48000)\n"
        "open(sys.argv[2] + '.bin', 'wb').write(plugin.raw_state)\n"
        "open(sys.argv[2] + '.vstpreset', 'wb').write(plugin.preset_data)\n"
    )
    steps = _chain({"plugin": "GramoGain"})
    assert steps[0].external is not None
    made = [sys.executable, "-c", script, str(steps[0].external.path), str(tmp_path / "loud")]
    subprocess.run(made, check=True, capture_output=True, timeout=60)
    dry = noise(2, 5_000)
    for name in ("loud.bin", "loud.vstpreset"):
        steps = _chain({"plugin": "GramoGain", "preset_file": name}, folder=tmp_path)
        assert chain.files(steps) == [tmp_path / name]
        # pedalboard looks -6 dB up in a thousand texts, and sets -5.988.
        assert torch.allclose(host.play(dry, RATE, steps), -dry * 10 ** (-5.988 / 20), rtol=1e-5, atol=0)
        over = _chain({"plugin": "GramoGain", "preset_file": name, "parameters": {"gain": 6}}, folder=tmp_path)
        assert torch.allclose(host.play(dry, RATE, over), -dry * 10**0.3, rtol=6e-7, atol=0)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("GramoCrash", r"GramoCrash \(armed = true, depth = 12.5\) crashed \(SIGSEGV\)"),
        ("GramoHang", r"GramoHang \(armed = true, depth = 12.5\) did not answer within 0.7\d* s and was stopped"),
        ("GramoNan", r"GramoNan \(armed = true, depth = 12.5\) returned samples that are not finite"),
    ],
)
def test_a_plugin_that_fails_is_named_with_its_parameters(
    name: str, message: str, noise: Noise, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It crashes, never returns or returns NaN: that sound fails, and the next through the same chain is played."""
    monkeypatch.setattr(hosting, "DEADLINES", Deadlines(load_s=30, block_s=0.02, times=1))
    if name != "GramoHang":
        monkeypatch.setattr(hosting, "DEADLINES", Deadlines(load_s=30))
    steps = _chain({"plugin": "GramoGain"}, {"plugin": name, "parameters": {"armed": True, "depth": 12.5}})
    quiet = noise(2, 4_000)
    assert torch.equal(host.play(quiet, RATE, steps), quiet)
    with pytest.raises(ChainError, match=message):
        host.play(_loud(quiet.clone()), RATE, steps)
    assert torch.equal(host.play(quiet, RATE, steps), quiet)


def test_a_plugin_that_asks_for_too_much_patience_is_named(monkeypatch: pytest.MonkeyPatch, noise: Noise) -> None:
    """An answer with fewer bytes than it says, or with none, is the plugin's fault and no crash of ours."""
    monkeypatch.setattr(Child, "ask", lambda *_, **__: ({"samples": 7, "latency": 0}, b"1234"))
    with pytest.raises(ChainError, match="GramoGain returned 4 bytes"):
        host.play(noise(2, 100), RATE, _chain({"plugin": "GramoGain"}))
    children.POOL.close()


def test_a_child_dies_with_all_that_its_plugin_started() -> None:
    """A process that the plugin started is in the child's group, and is killed with it."""
    script = (
        "import subprocess, sys, time\n"
        "from render import wire\n"
        "quiet = {'stdout': subprocess.DEVNULL, 'stderr': subprocess.DEVNULL}\n"
        "helper = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], **quiet)\n"
        "wire.receive(sys.stdin.buffer)\n"
        "wire.send(sys.stdout.buffer, {'helper': helper.pid})\n"
        "time.sleep(60)\n"
    )
    child = Child((sys.executable, "-c", script))
    helper = child.ask({"do": "it"}, within_s=30)[0]["helper"]
    with pytest.raises(PluginTimeout, match=r"did not answer within 0.2 s and was stopped"):
        child.ask({"do": "more"}, within_s=0.2)
    assert not child.alive
    _gone(helper)
    _gone(child.pid)


def test_a_child_ends_when_its_host_is_killed(plugin_folder: Path) -> None:
    """Even while its plugin hangs: the host is killed, and seconds later nothing is left of either."""
    script = (
        "import sys, numpy\n"
        "from render.children import Child\n"
        "child = Child()\n"
        "child.ask({'do': 'load', 'path': sys.argv[1], 'plugin_name': None, 'state': None,\n"
        "           'parameters': {'armed': True}, 'latency': None}, within_s=60)\n"
        "child.ask({'do': 'start', 'rate': 48000, 'width': 2, 'voices': 1}, within_s=60)\n"
        "print(child.pid, flush=True)\n"
        "child.ask({'do': 'play', 'voice': 0}, numpy.ones((2, 32768), 'float32').tobytes(), within_s=600)\n"
    )
    command = [sys.executable, "-c", script, str(plugin_folder / "GramoHang.vst3")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as host_process:
        assert host_process.stdout is not None
        child = int(host_process.stdout.readline())
        time.sleep(0.3)
        host_process.kill()
    _gone(child)


def _gone(pid: int) -> None:
    for _ in range(200):
        try:
            os.kill(pid, 0)
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except (ProcessLookupError, FileNotFoundError):
            return
        if state == "Z":  # dead, and its parent has not looked
            return
        time.sleep(0.05)
    raise AssertionError(f"process {pid} is still there")


def test_what_a_plugin_prints_goes_nowhere_near_the_host(capfd: pytest.CaptureFixture[str]) -> None:
    """It may print on both its outputs, as much as it likes: messages come through, and only its last line is kept."""
    script = (
        "import os, sys\n"
        "from render import wire\n"
        "answers = os.fdopen(os.dup(1), 'wb'); os.dup2(2, 1)\n"
        "wire.receive(sys.stdin.buffer)\n"
        "print('x' * 3_000_000, flush=True)\n"
        "wire.send(answers, {'fine': True})\n"
        "wire.receive(sys.stdin.buffer)\n"
        "sys.exit('no licence found')\n"
    )
    child = Child((sys.executable, "-c", script))
    assert child.ask({}, within_s=30)[0] == {"fine": True}
    with pytest.raises(PluginFault, match="ended by itself with status 1; the last it said: no licence found"):
        child.ask({}, within_s=30)
    assert capfd.readouterr() == ("", "")


def test_children_are_kept_up_to_a_number_and_for_a_time() -> None:
    """The oldest goes first, one that was idle too long too, a dead one is never handed out, a chain stays whole."""
    now = [0.0]
    pool = Pool(most_idle=2, idle_s=10, clock=lambda: now[0])
    sleeper = (sys.executable, "-c", "import time; time.sleep(60)")
    made: dict[str, list[Child]] = {}

    def make(key: str) -> Child:
        made.setdefault(key, []).append(Child(sleeper))
        return made[key][-1]

    def use(key: str) -> Child:
        with pool.lease(key, lambda: make(key)) as child:
            return child

    first = use("a")
    assert use("a") is first
    with pool.lease("a", lambda: make("a")) as one, pool.lease("a", lambda: make("a")) as other:
        assert one is first
        assert other is not first
    use("b")
    assert [child.alive for child in (first, other)] == [True, False]
    first.kill()
    assert use("a") is not first
    now[0] = 11
    use("c")
    assert not made["b"][0].alive
    with ExitStack() as longer:
        chained = [longer.enter_context(pool.lease(key, partial(make, key))) for key in "xyz"]
    assert all(child.alive for child in chained)
    pool.close()
    assert not any(child.alive for kept in made.values() for child in kept)


def test_a_real_plugin_lines_up(zam_folder: Path, noise: Noise) -> None:
    """ZaMaximX2 says that it is 480 samples late, and at its defaults changes nothing: bit-identical, mono as well."""
    entry = {"plugin": str(zam_folder / "ZaMaximX2.vst3")}
    steps = _chain(entry)
    assert steps[0].external is not None
    assert steps[0].external.plugin.latency_samples == 480
    for channels in (1, 2):
        dry = noise(channels, 50_000)
        assert torch.equal(host.play(dry, RATE, steps), dry)
    dry = noise(2, 50_000)
    quieter = host.play(dry, RATE, _chain({**entry, "parameters": {"output_ceiling_db": -20}}))
    assert torch.allclose(quieter, 0.1 * dry, rtol=1e-5, atol=0)


@pytest.mark.parametrize(
    ("name", "parameters", "apart"), [("ZamAutoSat", {}, 0.0), ("ZamTube", {"tube_drive": 3, "bass": 7}, 3e-5)]
)
def test_stereo_through_a_real_mono_plugin(
    name: str, parameters: dict[str, float], apart: float, zam_folder: Path, noise: Noise
) -> None:
    """Both play one channel: each of two comes out as it does alone, in place and changed.

    ZamTube itself does not always begin alike: one instance in some differs from the next by 6e-6.
    """
    steps = _chain({"plugin": str(zam_folder / f"{name}.vst3"), "parameters": parameters})
    dry = noise(2, 30_000)
    wet = host.play(dry, RATE, steps)
    for channel in range(2):
        alone = host.play(dry[channel : channel + 1], RATE, steps)
        assert float((alone[0] - wet[channel]).abs().max()) <= apart
        spectrum = np.fft.rfft(wet[channel].numpy(), 65_536) * np.conj(np.fft.rfft(dry[channel].numpy(), 65_536))
        lag = int(np.argmax(np.abs(np.fft.irfft(spectrum))))
        assert min(lag, 65_536 - lag) <= 3
    assert not torch.allclose(wet, dry, atol=1e-3)


def test_a_plugin_with_a_slow_scan_is_loaded_at_once(zam_folder: Path, noise: Noise) -> None:
    """ZamVerb's one program is set 2000 times by pedalboard while it loads, for 44 s: here it plays before that."""
    steps = _chain({"plugin": str(zam_folder / "ZamVerb.vst3"), "parameters": {"wet_dry": 0, "room": 2}})
    assert host.play(noise(2, 5_000), RATE, steps).shape == (2, 5_000)


def test_no_sound_hears_the_one_before(zam_folder: Path, noise: Noise) -> None:
    """A reverb and an echo that ring on: the same sound through the child that is kept gives the same bits again."""
    verb = {"plugin": str(zam_folder / "ZamVerb.vst3"), "parameters": {"wet_dry": 50}}
    delay = {"plugin": str(zam_folder / "ZamDelay.vst3"), "parameters": {"time_ms": 2_000, "feedback": 0.8}}
    for entry in (verb, delay):
        steps, dry = _chain(entry), noise(2, 120_000)
        first = host.play(dry, RATE, steps)
        assert not torch.allclose(first, dry, atol=1e-3)
        assert torch.equal(host.play(dry, RATE, steps), first)


def test_a_helper_that_gets_away_holds_nothing_up() -> None:
    """A process that a plugin starts in a group of its own keeps the pipes open, and the host goes on without it."""
    script = (
        "import subprocess, sys\n"
        "from render import wire\n"
        "code = 'import time; time.sleep(30)'\n"
        "helper = subprocess.Popen([sys.executable, '-c', code], start_new_session=True, stdout=subprocess.DEVNULL)\n"
        "wire.receive(sys.stdin.buffer)\n"
        "wire.send(sys.stdout.buffer, {'helper': helper.pid})\n"
        "wire.receive(sys.stdin.buffer)\n"
    )
    child = Child((sys.executable, "-c", script))
    helper = child.ask({}, within_s=30)[0]["helper"]
    try:
        with pytest.raises(PluginFault, match="ended by itself"):
            child.ask({}, within_s=30)
        os.kill(helper, 0)
    finally:
        os.kill(helper, signal.SIGKILL)


def test_an_instrument_plays_to_the_sample_and_starts_anew(plugin_folder: Path) -> None:
    """Notes in two blocks begin at their very samples; the next sound hears none of those that were held."""
    entry = {"plugin": "GramoSine", "parameters": {"level_db": -6}}
    mistakes: list[str] = []
    sine = external.read(entry, "", folder=None, wrong=lambda _, text: mistakes.append(text), instrument=True)
    assert sine is not None, mistakes
    for _ in range(2):
        with hosting.playing(sine, 44_100, 2) as player:
            assert player.latency_samples == 0
            first = player.play([(101, bytes([0x90, 69, 127])), (201, bytes([0x80, 69, 0]))], 32_768)
            second = player.play([(32_767, bytes([0x90, 60, 127]))], 32_768)
        assert np.flatnonzero(first[0])[[0, -1]].tolist() == [101, 200]
        assert np.flatnonzero(second[1]).tolist() == [32_767]
        assert second[0, -1] == pytest.approx(0.5 * 10 ** (-6 / 20), rel=1e-6)
