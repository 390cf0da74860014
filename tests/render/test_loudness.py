"""Loudness and true peak: what the standard's numbers say, in any blocks; one gain, and never a clipped sample."""

import math
import re
import shutil
import subprocess
from pathlib import Path

import pyloudnorm
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from engine import audio
from render import spool
from render.errors import RenderError
from render.loudness import CEILING_DBTP, Levelling, Measure, Meter, gain_for, measure

RATE = 48_000


def tone(hz: float, dbfs: float, seconds: float = 2.0, *, rate: int = RATE, phase: float = 0.0) -> Tensor:
    """A sine ``[1, samples]`` whose peak is ``dbfs``."""
    at = torch.arange(round(seconds * rate), dtype=torch.float64)
    return (10 ** (dbfs / 20) * torch.sin(2 * math.pi * hz / rate * at + phase)).float()[None]


def noise(channels: int, seconds: float, rate: int = RATE, seed: int = 0) -> Tensor:
    """White noise of -20 dBFS, the same every time."""
    return torch.randn(channels, round(seconds * rate), generator=torch.Generator().manual_seed(seed)) / 10


def heard(samples: Tensor, rate: int = RATE, block: int = 65_536) -> Measure:
    """What a meter says of ``samples``, which it hears in blocks."""
    meter = Meter(rate, len(samples))
    for part in samples.split(block, 1):
        meter.add(part)
    return meter.close()


def test_the_calibration_tone_of_the_standard() -> None:
    """A 997 Hz sine at 0 dBFS in one channel is -3.01 LKFS (BS.1770-5, annex 1), whatever the channel in front."""
    assert heard(tone(997, 0.0)).lufs == pytest.approx(-3.01, abs=0.01)
    for channel in range(3):
        alone = torch.zeros(6, 2 * RATE)
        alone[channel] = tone(997, 0.0)
        assert heard(alone).lufs == pytest.approx(-3.01, abs=0.01)


def test_side_channels_count_more_and_the_lfe_nothing() -> None:
    """In a 5.1 file the surrounds weigh 1.41 and what is in the LFE is not heard, though it peaks."""
    for channel, lufs in ((3, None), (4, -3.01 + 10 * math.log10(1.41)), (5, -3.01 + 10 * math.log10(1.41))):
        alone = torch.zeros(6, 2 * RATE)
        alone[channel] = tone(997, 0.0)
        found = heard(alone)
        assert found.lufs == (None if lufs is None else pytest.approx(lufs, abs=0.01))
        assert found.dbtp == pytest.approx(0.0, abs=0.05)


@pytest.mark.parametrize(
    ("parts", "lufs"),
    [
        ([(-23, 20)], -23.0),
        ([(-33, 20)], -33.0),
        ([(-36, 10), (-23, 60), (-36, 10)], -23.0),
        ([(-72, 10), (-36, 10), (-23, 60), (-36, 10), (-72, 10)], -23.0),
        ([(-26, 20), (-20, 20.1), (-26, 20)], -23.0),
    ],
)
def test_the_minimum_requirements_of_ebu_mode(parts: list[tuple[float, float]], lufs: float) -> None:
    """EBU Tech 3341, table 1, cases 1 to 5: stereo tones of 1 kHz within 0.1 LU, the gates among them."""
    mono = torch.cat([tone(1000, dbfs, seconds) for dbfs, seconds in parts], 1)
    assert heard(torch.cat([mono, mono])).lufs == pytest.approx(lufs, abs=0.1)


@pytest.mark.parametrize(
    ("hz", "phase", "dbtp"),
    [(12_000, 0.0, -6.0), (12_000, 45.0, -6.0), (8_000, 60.0, -6.0), (6_000, 67.5, -6.0), (12_000, 45.0, 3.0)],
)
def test_true_peaks_between_samples_are_seen(hz: float, phase: float, dbtp: float) -> None:
    """EBU Tech 3341, cases 15 to 19: tones sampled beside their crests, within +0.2 and -0.4 dB."""
    sound = tone(hz, dbtp, 1.0, phase=math.radians(phase))
    fade = torch.ones(RATE)
    fade[:500], fade[-500:] = torch.linspace(0, 1, 500), torch.linspace(1, 0, 500)
    found = heard(sound * fade).dbtp
    assert found is not None
    assert -0.4 <= found - dbtp <= 0.2


def test_the_last_samples_are_looked_between_too() -> None:
    """A burst that ends with the sound peaks as it does in the middle: nothing waits in the filter for ever."""
    burst = torch.zeros(1, RATE)
    burst[:, -64:] = tone(12_000, -6.0, 64 / RATE, phase=math.pi / 4)
    inside = torch.cat([burst, torch.zeros(1, RATE)], 1)
    assert heard(burst).dbtp == pytest.approx(heard(inside).dbtp, abs=0.01)
    assert (heard(burst).dbtp or -99) > -6.5


@pytest.mark.parametrize("rate", [8_000, 11_127, 44_100, 48_000, 96_000, 192_000])
def test_pyloudnorm_agrees_on_the_whole(rate: int) -> None:
    """The library's own meter with the same filters, which hears everything at once, to a hundredth of a LU."""
    sound = noise(2, 3.0, rate) * torch.linspace(0.01, 1, 3 * rate)
    reference = pyloudnorm.Meter(rate, filter_class="DeMan").integrated_loudness(sound.double().numpy().T)
    assert heard(sound, rate).lufs == pytest.approx(reference, abs=0.01)


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg for its ebur128 filter")
@pytest.mark.parametrize("rate", [44_100, 48_000])
def test_ffmpeg_agrees(tmp_path: Path, rate: int) -> None:
    """libavfilter's EBU R 128 meter says the same to 0.1 LU and 0.1 dB."""
    path = tmp_path / "x.wav"
    sound = noise(2, 4.0, rate) + tone(rate / 4, -12, 4.0, rate=rate, phase=math.pi / 4)
    audio.write(path, sound, rate, audio.Format("WAV", "FLOAT"))
    command = ["ffmpeg", "-nostats", "-i", str(path), "-af", "ebur128=peak=true", "-f", "null", "-"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stderr.rpartition("Summary:")[2]
    lufs, dbtp = (float(re.findall(rf"{word}:\s+(-?[\d.]+)", told)[0]) for word in ("I", "Peak"))
    assert measure(path).lufs == pytest.approx(lufs, abs=0.1)
    assert measure(path).dbtp == pytest.approx(dbtp, abs=0.1)


@given(block=st.integers(1, 5_000), rate=st.sampled_from([8_000, 11_127]))
@settings(max_examples=15, deadline=None)
def test_blocks_do_not_matter(block: int, rate: int) -> None:
    """Any blocks give the same loudness to rounding, and the same peak to a ten-thousandth of a dB."""
    sound = noise(2, 1.3, rate)
    whole, parts = heard(sound, rate), heard(sound, rate, block)
    assert parts.lufs == pytest.approx(whole.lufs, abs=1e-9)
    assert parts.dbtp == pytest.approx(whole.dbtp, abs=1e-4)


def test_short_sounds_and_silence() -> None:
    """Less than a block is one block of its own; silence and what is below the gate have no loudness."""
    assert heard(tone(997, 0.0, 0.3)).lufs == pytest.approx(-3.01, abs=0.2)
    assert heard(torch.zeros(2, 10)) == Measure(None, None)
    assert heard(torch.zeros(2, RATE)) == Measure(None, None)
    assert heard(torch.full((1, 1), 0.5), 44_100).dbtp == pytest.approx(-6.02, abs=0.5)
    assert heard(tone(997, -80.0)).lufs is None
    with pytest.raises(RenderError, match="at 3999 Hz; expected at least 4000 Hz"):
        Meter(3_999, 1)


def test_the_gain_knows_that_the_gate_opens() -> None:
    """Turned up, quiet parts pass the absolute gate and lower the loudness: the gain is right all the same."""
    sound = torch.cat([tone(997, -69.5, 5), tone(997, -64.0, 1)], 1)
    meter = Meter(RATE, 1)
    meter.add(sound)
    found = meter.close()
    gain_db = gain_for(meter, found.dbtp, loudness_lufs=-30.0, ceiling_dbtp=None)
    assert found.lufs is not None
    assert abs(-30.0 - found.lufs - gain_db) > 0.5
    assert heard(sound * 10 ** (gain_db / 20)).lufs == pytest.approx(-30.0, abs=0.002)


def levelled(
    folder: Path, sound: Tensor, *, loudness_lufs: float | None = None, ceiling_dbtp: float | None = None
) -> tuple[Tensor, Levelling]:
    """``sound`` at its new level, and what was done."""
    levelling = Levelling(RATE, len(sound), loudness_lufs=loudness_lufs, ceiling_dbtp=ceiling_dbtp)
    with spool.beside(folder / "x", len(sound)) as waiting:
        return torch.cat(list(levelling.play(iter(sound.split(7_001, 1)), waiting)), 1), levelling


@pytest.mark.parametrize("lufs", [-30.0, -23.0, -18.5])
def test_a_loudness_is_met(tmp_path: Path, lufs: float) -> None:
    """To two thousandths of a LU, by one gain, and what is said of it is so."""
    sound = noise(2, 2.0)
    out, did = levelled(tmp_path, sound, loudness_lufs=lufs)
    assert did.after.lufs == pytest.approx(lufs, abs=0.002)
    assert heard(out).lufs == pytest.approx(lufs, abs=0.002)
    assert did.before.lufs == pytest.approx(heard(sound).lufs, abs=1e-6)
    assert torch.allclose(out, sound * 10 ** (did.gain_db / 20), atol=1e-7)


@given(lufs=st.floats(-60, 0), ceiling=st.floats(-20, 0), peak=st.floats(0.01, 8), seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_the_ceiling_always_holds(
    tmp_path_factory: pytest.TempPathFactory, lufs: float, ceiling: float, peak: float, seed: int
) -> None:
    """Whatever is asked, true peak stays below the ceiling and loudness below its mark, to a thousandth of a dB."""
    sound = noise(1, 0.5, seed=seed) * peak
    out, did = levelled(tmp_path_factory.getbasetemp(), sound, loudness_lufs=lufs, ceiling_dbtp=ceiling)
    after = heard(out)
    assert after.dbtp is not None
    assert after.lufs is not None
    assert after.dbtp <= ceiling + 0.001
    assert after.lufs <= lufs + 0.001
    assert max(after.dbtp - ceiling, after.lufs - lufs) > -0.01
    assert did.after.dbtp == pytest.approx(after.dbtp, abs=1e-3)


def test_the_ceiling_of_r128_unless_another_is_asked_for(tmp_path: Path) -> None:
    """A loudness no peak allows is met as far as -1 dBTP; a ceiling alone turns nothing up."""
    assert levelled(tmp_path, noise(1, 1.0), loudness_lufs=-1.0)[1].after.dbtp == pytest.approx(CEILING_DBTP, abs=0.002)
    sound = noise(1, 1.0) * 0.1
    out, did = levelled(tmp_path, sound, ceiling_dbtp=-3.0)
    assert did.gain_db == 0.0
    assert torch.equal(out, sound)


def test_silence_is_left_alone(tmp_path: Path) -> None:
    """No gain can make silence loud, nor is one tried."""
    out, did = levelled(tmp_path, torch.zeros(2, RATE), loudness_lufs=-20.0)
    assert did.gain_db == 0.0
    assert not out.any()
    assert did.after == Measure(None, None)
