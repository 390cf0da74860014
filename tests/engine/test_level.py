"""Levels: what counts as sound, what is put back after the solver, and silence that stays silence."""

import math

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from engine import level
from engine.level import Histogram, PreEmphasis, active_rms, hush, keep_silence, levels, match, quiet_floor, silence
from engine.spectra import Resolution

RATE = 8000


def noise(seed: int, *shape: int, gain: float = 0.1) -> Tensor:
    """White noise at ``gain`` RMS."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * gain


def db(ratio: Tensor | float) -> float:
    """A ratio of amplitudes in decibels."""
    return 20 * math.log10(float(ratio))


def test_silence_around_a_sound_does_not_lower_its_level() -> None:
    """A second of noise at −20 dBFS has that level (0.1 dB) with ten seconds of nothing or of −65 dBFS around it."""
    sound = noise(1, 2, RATE)
    for rest in (torch.zeros(2, 5 * RATE), noise(2, 2, 5 * RATE, gain=10 ** (-65 / 20))):
        assert abs(db(active_rms(torch.cat([rest, sound, rest], 1), RATE)) + 20) < 0.1
    half = noise(2, 2, 5 * RATE, gain=0.05)
    assert db(active_rms(torch.cat([half, sound, half], 1), RATE)) < -22, "what is 6 dB down does count"


def test_the_gate_is_80_decibels_below_full_scale() -> None:
    """Noise at −79 dBFS is a sound, at −81 dBFS it is none."""
    plain = torch.ones(1, RATE)
    assert active_rms(plain * 10 ** (-79 / 20), RATE) == pytest.approx(10 ** (-79 / 20), rel=1e-4)
    assert active_rms(plain * 10 ** (-81 / 20), RATE) == 0


@pytest.mark.parametrize("samples", [1, 399, 400, 401, 999])
def test_a_short_last_block_counts_by_what_it_holds(samples: int) -> None:
    """A constant has one power in every block of 50 ms, the cut one included (1e-6)."""
    powers = level.block_powers(torch.full((2, samples), 0.5), RATE)
    assert powers.shape == (-(-samples // 400),)
    assert torch.allclose(powers, torch.full_like(powers, 0.25), atol=1e-6)


def emphasis(rate: int = RATE, slope_db_per_octave: float = -6.0) -> PreEmphasis:
    """Of a stem and a style that both fall by as much per octave above 100 Hz."""
    res = Resolution.at(rate, level.RESOLUTION)
    octaves = torch.log2(res.frequencies(rate).clamp_min(100) / 100)
    power = torch.pow(10.0, slope_db_per_octave * octaves / 10)
    return PreEmphasis(power, power, res, rate)


def test_emphasis_takes_off_half_the_tilt() -> None:
    """A spectrum that falls by 6 dB an octave falls by 3 (0.3) after it, and the mean band gain is 0 dB (1e-9)."""
    curve = emphasis()
    gains = curve.gains(torch.tensor([300.0, 600.0, 1200.0, 2400.0]))
    for low, high in ((0, 1), (1, 2), (2, 3)):
        assert db(gains[high] / gains[low]) == pytest.approx(3, abs=0.3)
    assert abs(float(curve.db.mean())) < 1e-9


def test_emphasis_does_not_raise_what_is_far_below() -> None:
    """From 50 dB under the loudest band on the gain rises no further: at most 25 dB between any two bands."""
    steep = emphasis(slope_db_per_octave=-30.0)
    assert float(steep.db.max() - steep.db.min()) == pytest.approx(25, abs=0.1)
    assert torch.isfinite(steep.gains(torch.linspace(0, 50_000, 100))).all()


@pytest.mark.parametrize("rate", [8000, 22050, 44100])
def test_emphasis_undone_is_nothing_done(rate: int) -> None:
    """Filter and inverse give a sound with room around it back to 1e-5 of its peak, whatever its length."""
    curve = emphasis(rate)
    room = rate // 4
    sound = torch.nn.functional.pad(noise(3, 2, rate // 3 + 7), (room, room))
    error = curve.filter(curve.filter(sound), undo=True) - sound
    assert float(error.abs().max()) < 1e-5 * float(sound.abs().max())
    assert float((curve.filter(sound) - sound).abs().max()) > 0.05 * float(sound.abs().max())


def test_emphasis_moves_nothing_in_time() -> None:
    """A click answers with its peak in place and both sides alike (1e-6): zero phase, no wrapping round the end."""
    click = torch.zeros(1, 4001)
    click[0, 2000] = 1
    for undo in (False, True):
        answer = emphasis().filter(click, undo=undo)[0]
        assert int(answer.abs().argmax()) == 2000
        assert torch.allclose(answer, answer.flip(0), atol=1e-6)
    last = torch.zeros(1, 4001)
    last[0, -1] = 1
    assert float(emphasis().filter(last)[0, :1000].abs().max()) < 1e-4, "the tail beyond the end does not come round"


@given(st.integers(1, 400), st.integers(0, 300), st.integers(0, 300))
@example(100, 0, 50)
@example(100, 50, 0)
@example(100, 0, 0)
@example(160, 50, 50)
@example(159, 50, 50)
@settings(max_examples=60, deadline=None)
def test_silence_is_twenty_milliseconds_of_zeros(run: int, before: int, after: int) -> None:
    """A run of zeros counts from 160 samples (20 ms) on, or if there is nothing else; shorter ones not at all."""
    x = torch.cat([torch.ones(before), torch.zeros(run), torch.ones(after)])[None]
    silent = silence(x, RATE)
    marked = silent == 1
    if run >= 160 or before + after == 0:
        assert torch.equal(marked, x[0] == 0)
    else:
        assert not silent.any()
    assert float(silent.min()) >= 0
    assert float(silent.max()) <= 1


def test_silence_fades_over_a_millisecond() -> None:
    """From the last silent sample on it falls, sample by sample, to nothing within 9 samples (1 ms and one)."""
    x = torch.cat([torch.ones(500), torch.zeros(300), torch.ones(500)])[None]
    silent = silence(x, RATE)
    assert torch.equal(silent, silent.flip(0))
    after = silent[799:810]
    assert (after.diff() <= 0).all()
    assert float(after[1]) > 0.8
    assert not silent[809:].any()
    assert silent[800:808].all()


@given(st.integers(0, 1000), st.integers(150, 400), st.integers(1, 1400))
@example(504, 160, 500)
@example(508, 160, 500)
@example(336, 160, 500)
@settings(max_examples=60, deadline=None)
def test_silence_is_known_from_its_surroundings(start: int, run: int, place: int) -> None:
    """Looked at in two parts, each with `silence_reach` around it, a sound has the silence it has as a whole."""
    x = torch.ones(1, 1500)
    x[:, start : start + run] = 0
    reach = level.silence_reach(RATE)
    left = silence(x[:, : place + reach], RATE)[:place]
    low = max(0, place - reach)
    right = silence(x[:, low:], RATE)[place - low :]
    assert torch.equal(torch.cat([left, right]), silence(x, RATE))


def test_a_channel_that_sounds_breaks_the_silence() -> None:
    """Only zeros in every channel are silence."""
    x = torch.zeros(2, 1000)
    x[1, 400:] = 0.1
    assert torch.equal(silence(x, RATE) == 1, torch.arange(1000) < 400)


def test_silence_given_back_is_exact() -> None:
    """In silence the stem's own bits, far from it the styled ones, and no step of more than a quarter between."""
    stem = torch.cat([torch.ones(1, 500), torch.zeros(1, 300), torch.ones(1, 500)], 1)
    styled = torch.full((1, 1300), 0.3)
    out = keep_silence(styled, stem, silence(stem, RATE))
    assert torch.equal(out[:, 500:800], stem[:, 500:800])
    assert torch.equal(out[:, :490], styled[:, :490])
    assert torch.equal(out[:, 810:], styled[:, 810:])


@given(st.integers(1, 3000), st.sampled_from([1, 24, 132]))
@settings(max_examples=30, deadline=None)
def test_levels_are_those_around_each_hop(samples: int, hop: int) -> None:
    """Value k is the mean power of the four hops around sample k · hop, zeros beyond the ends (1e-3 dB)."""
    x = noise(samples, 2, samples)
    found = levels(x, hop)
    assert found.shape == (-(-samples // hop) + 1,)
    wide = torch.nn.functional.pad(x.square().mean(0), (2 * hop, 4 * hop))
    for k in (0, found.shape[0] // 2, found.shape[0] - 1):
        power = wide[k * hop : (k + 4) * hop].mean()
        assert float(found[k]) == pytest.approx(float(10 * (power + 1e-12).log10()), abs=1e-3)


def test_a_histogram_is_a_quantile_in_little_memory() -> None:
    """Added in two parts it gives each quantile of the whole to a tenth of a decibel, silence included."""
    values = torch.cat([noise(1, 4000, gain=20.0) - 40, torch.full((500,), -120.0)])
    counted = Histogram()
    counted.add(values[:1700])
    counted.add(values[1700:].view(70, 40))
    assert float(counted.counts.sum()) == 4500
    for share in (0.05, 1 / 8, 0.5, 0.9):
        assert counted.quantile(share) == pytest.approx(float(values.quantile(share)), abs=0.15)


def test_the_quiet_floor_is_18_decibels_down_or_the_quietest_eighth() -> None:
    """A stem of −20 dBFS is quiet at −38 dB; one that never gets so quiet, at the level an eighth of it is below."""
    falls, steady = Histogram(), Histogram()
    falls.add(torch.linspace(-90, -10, 1000))
    steady.add(torch.cat([torch.full((200,), -22.0), torch.full((800,), -15.0)]))
    assert quiet_floor(0.1, falls) == pytest.approx(-38, abs=1e-6)
    assert quiet_floor(0.1, steady) == pytest.approx(-22, abs=0.11)
    assert math.isfinite(quiet_floor(0.0, steady))


def test_hush_turns_gaps_down_and_leaves_the_loud_alone() -> None:
    """Where the stem is at −60 dB a styled −25 dB comes down to 0.5 dB above it (1 dB); 20 ms away nothing changes."""
    stem, styled = noise(1, 1, 3 * RATE), noise(2, 1, 3 * RATE)
    gap = slice(RATE, 2 * RATE)
    stem[:, gap] *= 0.01
    styled[:, gap] *= 0.5
    out = hush(styled, stem, RATE, -40)
    inner = slice(RATE + 200, 2 * RATE - 200)
    assert db(level.rms(out[:, inner]) / level.rms(stem[:, inner])) == pytest.approx(0.5, abs=1)
    assert torch.equal(out[:, : RATE - 160], styled[:, : RATE - 160])
    assert torch.equal(out[:, 2 * RATE + 160 :], styled[:, 2 * RATE + 160 :])
    assert (out.abs() <= styled.abs()).all(), "it never turns anything up"
    styled[:, gap] *= 1e-4
    assert torch.equal(hush(styled, stem, RATE, -40)[:, inner], styled[:, inner])


def test_hush_fades_out_over_four_decibels() -> None:
    """At the floor it takes all that is too much, 2 dB above it half (in dB), 4 dB above it nothing (0.1 dB)."""
    stem = torch.full((1, RATE), 0.1)
    styled = stem.clone()
    styled[:, RATE // 2 :] *= 10 ** (12 / 20)
    late = slice(3 * RATE // 4, 3 * RATE // 4 + 1000)
    too_much = db(match(styled, stem)[:, late].mean() / 0.1) - 0.5
    for floor, share in ((-20.0, 1.0), (-22.0, 0.5), (-24.0, 0.0), (-18.0, 1.0), (-30.0, 0.0)):
        turned = db(hush(styled, stem, RATE, floor)[:, late].mean() / styled[:, late].mean())
        assert turned == pytest.approx(-share * too_much, abs=0.1)


def test_gains_move_in_straight_lines() -> None:
    """Between levels three samples apart each sample takes its part of the way, up to the length asked for (1e-6)."""
    found = level._interpolate(torch.tensor([0.0, 3.0, -3.0]), 3, 5)
    assert torch.allclose(found, torch.tensor([0.0, 1.0, 2.0, 3.0, 1.0]), atol=1e-6)


@pytest.mark.parametrize("samples", [1, 5, 23, 24, 25, 999])
def test_hush_keeps_every_length(samples: int) -> None:
    """Shorter than a hop or not a multiple of it: the same shape, all of it turned."""
    stem = noise(1, 2, samples, gain=1e-4)
    out = hush(noise(2, 2, samples), stem, RATE, 0.0)
    assert out.shape == stem.shape
    assert torch.isfinite(out).all()


def test_match_brings_each_channel_back_to_its_own_level() -> None:
    """Up to 6 dB off against the others each channel gets its own RMS back (1e-5)."""
    stem = noise(1, 3, RATE) * torch.tensor([[1.0], [0.4], [0.1]])
    styled = noise(2, 3, RATE, gain=7.0) * torch.tensor([[0.8], [0.5], [0.1]])
    assert torch.allclose(match(styled, stem).square().mean(1), stem.square().mean(1), rtol=1e-5)


def test_match_moves_no_channel_by_more_than_six_decibels_against_the_whole() -> None:
    """A channel that lost nearly all comes up by the common gain and 6 dB, one that was silent is not blown up."""
    stem = noise(1, 2, RATE) * torch.tensor([[1.0], [0.5]])
    styled = noise(2, 2, RATE) * torch.tensor([[1.0], [0.001]])
    whole = float(level.rms(stem) / level.rms(styled))
    assert db(match(styled, stem)[1].norm() / styled[1].norm() / whole) == pytest.approx(db(2), abs=1e-3)
    stem[1] = 0
    whole = float(level.rms(stem) / level.rms(styled))
    assert db(match(styled, stem)[1].norm() / styled[1].norm() / whole) == pytest.approx(-db(2), abs=1e-3)


def test_match_of_silence_is_finite() -> None:
    """A silent stem leaves the styled sound as it is; a silent result stays silent and finite."""
    sound = noise(1, 2, 100)
    assert torch.equal(match(sound, 0 * sound), sound)
    assert not match(0 * sound, sound).any()


class Single(Tensor):
    """A tensor on a device that has no double, as Apple's GPUs have none."""

    def cpu(self, *_: object, **__: object) -> Tensor:
        """On the CPU it may become one."""
        return self.as_subclass(Tensor)

    def double(self, *_: object, **__: object) -> Tensor:
        """What such a device says."""
        raise TypeError("Cannot convert a MPS Tensor to float64 dtype")


def test_the_emphasis_is_computed_where_there_are_doubles() -> None:
    """Frequencies of a device without them come back with the gains that a CPU's have."""
    frequencies = torch.linspace(0, RATE / 2, 100)
    assert torch.equal(emphasis().gains(frequencies.as_subclass(Single)), emphasis().gains(frequencies))
