"""The stream: any rate, any length, any batch, and nothing left behind where halves meet."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from engine import halves, lbfgs, level, material, stream
from engine.errors import DeviceError
from engine.events import Event, SegmentDone, SegmentStarted
from engine.method import OnIterate, Solver, Work
from engine.methods.identity import Identity
from engine.resample import resample
from engine.settings import Settings
from engine.style import learn
from engine.survey import InMemory, survey
from engine.target import Target

CPU = Settings(quality="draft", device="cpu")
Solve = Callable[[Work], Tensor]


def noise(seed: int, channels: int, samples: int, gain: float = 0.1) -> Tensor:
    """White noise at ``gain`` RMS."""
    return torch.randn(channels, samples, generator=torch.Generator().manual_seed(seed)) * gain


def music(seed: int, channels: int, seconds: float, rate: int) -> Tensor:
    """Noise without treble (resampled from 4 kHz) between two fades, so that no rate cuts any of it."""
    plain = noise(seed, channels, round(seconds * 4000))
    fade = halves.ramp(400, plain)
    plain[:, :400] *= fade
    plain[:, -400:] *= fade.flip(0)
    return resample(plain, 4000, rate, round(seconds * rate))


def target(rate: int) -> Target:
    """A target of the recipe "identity", whose solver the tests replace."""
    return learn([noise(0, 1, rate)], rate, recipe="identity")


def run(
    sound: Tensor, rate: int, to: int, settings: Settings = CPU, *, cuts: tuple[float, ...] = (), batch: int = 1
) -> Tensor:
    """All blocks of a stream put together."""
    blocks = stream.restyle_stream(InMemory(sound, rate), target(to), settings, cuts=cuts, batch=batch)
    return torch.cat(list(blocks), 1)


@pytest.fixture
def solves(monkeypatch: pytest.MonkeyPatch) -> Callable[[Solve], list[Work]]:
    """Makes the recipe "identity" solve as told; gives the works that were solved."""

    def install(solve: Solve) -> list[Work]:
        seen: list[Work] = []

        def solver(work: Work, on_iterate: OnIterate) -> Tensor:
            seen.append(work)
            on_iterate(1, 1, 0.0)
            return solve(work)

        def made(self: Identity, target: Target, power: Tensor, device: torch.device) -> Solver:
            return solver

        monkeypatch.setattr(Identity, "solver", made)
        return seen

    return install


def inverted(work: Work) -> Tensor:
    """An effect at the stem's own level: its phase turned."""
    return -work.x


def halved(work: Work) -> Tensor:
    """Half of the stem."""
    return 0.5 * work.x


@given(
    samples=st.integers(1, 50 * 2000),
    rates=st.sampled_from([(2000, 2000), (2000, 3000), (2205, 2000), (3000, 2000), (2000, 44100)]),
    channels=st.sampled_from([1, 2, 3, 6]),
    cuts=st.lists(st.floats(0, 50), max_size=20),
    batch=st.sampled_from([1, 2, 8]),
    seed=st.integers(0, 2**31),
)
@example(samples=1, rates=(2000, 3000), channels=1, cuts=[], batch=1, seed=0)
@example(samples=50 * 2000, rates=(2000, 3000), channels=2, cuts=[4.7, 5.2, 14.6, 30.4], batch=2, seed=0)
@settings(max_examples=25, deadline=None)
def test_an_engine_that_changes_nothing_gives_every_bit_back(
    samples: int, rates: tuple[int, int], channels: int, cuts: list[float], batch: int, seed: int
) -> None:
    """From one sample to five segments, whatever the rates, channels, grid and batch; silences and loud spots too."""
    rate, to = rates
    generator = torch.Generator().manual_seed(seed)
    sound = torch.randn(channels, samples, generator=generator)
    sound *= 10 ** (torch.rand(-(-samples // 500), generator=generator) * 8 - 6).repeat_interleave(500)[:samples]
    sound[:, samples // 3 : samples // 2] = 0
    assert torch.equal(run(sound, rate, to, cuts=tuple(cuts), batch=batch), sound)


@pytest.mark.parametrize(
    ("rate", "to"),
    [(8000, 44100), (11025, 22050), (22050, 44100), (44056, 22050), (44100, 22050), (48000, 44100), (96000, 22050)],
)
def test_at_every_rate_it_is_the_whole_stem_resampled(
    rate: int, to: int, solves: Callable[[Solve], list[Work]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Halving the level gives the stem less half of it resampled there and back in one piece, to −80 dBFS anywhere."""
    solves(halved)
    monkeypatch.setattr(stream._Stem, "_levelled", lambda self, styled, stem: styled * _scale(stem, to))
    sound = music(1, 1, 11.3, rate)
    there = resample(sound, rate, to)
    expected = sound - 0.5 * resample(there, to, rate, sound.shape[1])
    out = run(sound, rate, to)
    assert out.shape == sound.shape
    assert float((out - expected).abs().max()) < 1e-4


def _scale(stem: Tensor, rate: int) -> float:
    """What takes a solved segment from the analysis level back to that of its stem."""
    return level.active_rms(stem, rate) / level.ANALYSIS_RMS


@pytest.mark.parametrize(("rate", "to"), [(8000, 8000), (8000, 11025), (16000, 11025)])
def test_there_is_no_trace_where_halves_meet(rate: int, to: int, solves: Callable[[Solve], list[Work]]) -> None:
    """What is turned round in every pass is turned round everywhere (1e-4): levels, fades and margins leave nothing."""
    works = solves(inverted)
    sound = music(2, 2, 21.0, rate)
    out = run(sound, rate, to)
    assert float((out + sound).abs().max()) < 1e-4
    assert len(works) == 3 + 2
    assert [work.start is None for work in works].count(True) == 3
    assert all(work.share == (1.0 if work.start is None else stream.SECOND_SHARE["draft"]) for work in works)


def test_every_segment_comes_at_the_analysis_level(solves: Callable[[Solve], list[Work]]) -> None:
    """Whatever a stem's level, loud or quiet from segment to segment, the solver sees 0.1 RMS of what sounds (1 %)."""
    works = solves(inverted)
    sound = noise(3, 1, 25 * 8000) * torch.linspace(0.01, 5, 25 * 8000)
    run(sound, 8000, 8000)
    for work in works:
        assert level.active_rms(work.x[0], 8000) == pytest.approx(level.ANALYSIS_RMS, rel=0.01)


def test_a_segment_is_the_stem_resampled_at_its_place(solves: Callable[[Solve], list[Work]]) -> None:
    """What a solver sees is the whole stem at the target's rate, cut: no edge rings in it (1e-4 of the peak)."""
    works = solves(inverted)
    sound = music(16, 1, 21.0, 8000)
    there = resample(sound, 8000, 11025)
    run(sound, 8000, 11025)
    places = [round(k * 3.5 * 11025) for k in (0, 2, 4)]
    firsts = [work.x[0] for work in works if work.start is None]
    for place, seen in zip(places, firsts, strict=True):
        wanted = there[:, place : place + 7 * 11025 - 1]
        seen = seen[:, : wanted.shape[1]] * (_scale(wanted, 11025))
        assert float((seen - wanted).abs().max()) < 1e-3 * float(wanted.abs().max())


def test_a_second_pass_begins_at_the_stem_where_it_mends(solves: Callable[[Solve], list[Work]]) -> None:
    """At the seam its start is the stem, a tenth of a second away what the first pass made, and between a ramp."""
    works = solves(inverted)
    run(noise(17, 1, 20 * 8000), 8000, 8000)
    (work,) = [work for work in works if work.start is not None]
    assert work.start is not None
    x, start = work.x[0, 0, : 10 * 8000], work.start[0, 0, : 10 * 8000]
    left = 1 - (start / x)[5 * 8000 - 801 : 5 * 8000].flip(0)
    right = 1 - (start / x)[5 * 8000 : 5 * 8000 + 801]
    for change in (left, right):
        assert float(change[:2].abs().max()) < 0.01
        assert float(change[400]) == pytest.approx(1, abs=0.05)
        assert float(change[800]) == pytest.approx(2, abs=0.01)


def test_mix_goes_from_dry_to_wet(solves: Callable[[Solve], list[Work]]) -> None:
    """A quarter of the mix of an inverted stem is half of the stem (1e-4); none of it is the stem bit for bit."""
    solves(inverted)
    sound = music(4, 2, 12.0, 8000)
    quarter = run(sound, 8000, 11025, Settings(mix=0.25, device="cpu"))
    assert torch.allclose(quarter, 0.5 * sound, atol=1e-4)
    assert torch.equal(run(sound, 8000, 11025, Settings(mix=0, device="cpu")), sound)


def test_twins_are_solved_once_and_stay_twins(solves: Callable[[Solve], list[Work]]) -> None:
    """Six channels that are the same are one problem and come back the same; others are solved together."""
    works = solves(inverted)
    sound = music(5, 1, 11.0, 8000).expand(6, -1).contiguous()
    out = run(sound, 8000, 11025)
    assert out.shape == sound.shape
    assert all(torch.equal(out[0], channel) for channel in out)
    assert {work.x.shape[1] for work in works} == {1}
    assert torch.allclose(out, -sound, atol=1e-4)
    works.clear()
    six = music(6, 6, 11.0, 8000)
    assert torch.allclose(run(six, 8000, 11025), -six, atol=1e-4)
    assert {work.x.shape[1] for work in works} == {6}


@pytest.mark.parametrize("batch", [1, 3])
def test_cuts_move_the_places_and_leave_no_trace(batch: int, solves: Callable[[Solve], list[Work]]) -> None:
    """With cuts halves end there, not on the grid, and what comes back is the same (1e-4)."""
    works = solves(inverted)
    sound = music(7, 2, 26.0, 8000)
    cuts = (4.0, 8.9, 17.6, 21.4)
    events: list[Event] = []
    blocks = list(
        stream.restyle_stream(InMemory(sound, 8000), target(11025), CPU, events.append, cuts=cuts, batch=batch)
    )
    ends = torch.tensor([b.shape[1] for b in blocks]).cumsum(0) / 8000
    assert ends.tolist() == pytest.approx([4.0, 8.9, 13.0, 17.6, 21.4, 26.0], abs=0.1)
    assert torch.allclose(torch.cat(blocks, 1), -sound, atol=1e-4)
    started = [e for e in events if isinstance(e, SegmentStarted)]
    assert sorted(e.index for e in started) == list(range(5))
    assert sum(isinstance(e, SegmentDone) for e in events) == 5
    assert sum(work.x.shape[0] for work in works) == 5


@pytest.mark.parametrize("batch", [1, 2, 8])
def test_a_batch_changes_nothing_that_a_segment_sees(batch: int, solves: Callable[[Solve], list[Work]]) -> None:
    """Segments of different lengths are as long, with silence after them, whoever they share a batch with."""
    works = solves(inverted)
    run(noise(8, 1, 43 * 8000), 8000, 8000, cuts=(5.3, 9.6, 14.7, 20.2, 25.4, 29.7), batch=batch)
    lengths = {work.x.shape[2] for work in works}
    assert len(lengths) == 1
    assert sum(work.x.shape[0] for work in works) == 9


@pytest.mark.parametrize("cuts", [(), (5.3, 9.6, 14.7, 20.2, 25.4, 29.7)])
def test_batches_of_the_kernel_recipe_sound_the_same(cuts: tuple[float, ...]) -> None:
    """One, two or eight segments at a time give the same 43 seconds to −90 dBFS."""
    rate = 8000
    riff, organ = (torch.from_numpy(material.make(name, seconds=2, rate=rate))[:1] for name in ("riff", "organ"))
    stem = riff.repeat(1, 22)[:, : 43 * rate]
    learnt = learn([organ], rate, params={"waveform": 3})
    outs = [
        torch.cat(list(stream.restyle_stream(InMemory(stem, rate), learnt, CPU, cuts=cuts, batch=b)), 1)
        for b in (1, 2, 8)
    ]
    assert float((outs[0] - stem).abs().max()) > 0.01
    for other in outs[1:]:
        assert float((other - outs[0]).abs().max()) < 10 ** (-90 / 20)


@pytest.mark.parametrize("quality", ["draft", "standard"])
def test_a_search_that_finds_nothing_changes_nothing(quality: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the solver ends at its start the stem comes back to 1e-6, its first and last samples within a note too."""

    def nothing(objective: lbfgs.Objective, x: Tensor, **_: object) -> lbfgs.Solution:
        return lbfgs.Solution(x, x.new_zeros(x.shape[0]), 1)

    monkeypatch.setattr(lbfgs, "minimise", nothing)
    stem = torch.from_numpy(material.make("riff", seconds=2, rate=8000))[:, 5001:14001].contiguous()
    learnt = learn([noise(18, 1, 8000)], 8000)
    wish = Settings(quality=quality, device="cpu")
    out = torch.cat(list(stream.restyle_stream(InMemory(stem, 8000), learnt, wish)), 1)
    assert torch.allclose(out, stem, atol=1e-6)


@pytest.mark.parametrize("shift_ms", [-30, -22.5, -21.5, -10, -0.5, 0, 0.5, 1, 5, 30])
def test_silence_across_a_place_is_kept_whole(shift_ms: float, solves: Callable[[Solve], list[Work]]) -> None:
    """Twenty-two milliseconds of zeros before, on and after a place where halves meet are kept as in one look (1e-3).

    The changes at their edges fade as they would if there were no place.
    """
    solves(inverted)
    rate = 8000
    sound = noise(9, 2, 12 * rate)
    place = halves.grid(sound.shape[1], rate)[1]
    begin = place + round(shift_ms * rate / 1000)
    sound[:, begin : begin + round(0.022 * rate)] = 0
    out = run(sound, rate, rate)
    silent = level.silence(sound, rate)
    assert (silent == 1).any()
    assert torch.equal(out[:, silent == 1], sound[:, silent == 1])
    wanted = level.keep_silence(-sound, sound, silent)
    assert float((out - wanted).abs().max()) < 1e-3


def test_what_is_silent_for_a_segment_is_not_solved(solves: Callable[[Solve], list[Work]]) -> None:
    """A segment below the gate passes as it is, also in a batch with one that sounds."""
    works = solves(inverted)
    sound = noise(10, 1, 40 * 8000)
    sound[:, 10 * 8000 : 30 * 8000] *= 1e-5
    out = run(sound, 8000, 8000, batch=2)
    assert torch.equal(out[:, 16 * 8000 : 24 * 8000], sound[:, 16 * 8000 : 24 * 8000])
    assert torch.allclose(out[:, : 9 * 8000], -sound[:, : 9 * 8000], atol=1e-4)
    assert sum(work.x.shape[0] for work in works) == 2 + 2


@pytest.mark.parametrize("rate", [8000, 44100])
@pytest.mark.parametrize("samples", [1, 2, 3, 100, 4001])
def test_the_shortest_stems(rate: int, samples: int, solves: Callable[[Solve], list[Work]]) -> None:
    """One sample and a few hundred: exact length, finite, in one segment with room for patches."""
    works = solves(inverted)
    sound = noise(11, 2, samples)
    out = run(sound, rate, 22050)
    assert out.shape == sound.shape
    assert torch.isfinite(out).all()
    assert len(works) == 1
    assert works[0].x.shape[2] >= 10 * 1024


@pytest.mark.parametrize("rate", [8000, 44100, 48000])
def test_the_solver_gets_the_power_of_the_stem(rate: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mean power at the target's bins is that of the stem resampled and at 0.1 RMS: 10 % in all, 30 % in any part."""
    got: list[Tensor] = []
    plain = Identity.solver

    def told(self: Identity, target: Target, power: Tensor, device: torch.device) -> Solver:
        got.append(power)
        return plain(self, target, power, device)

    monkeypatch.setattr(Identity, "solver", told)
    sound = music(12, 1, 6.0, rate)
    run(sound, rate, 22050)
    there = resample(sound, rate, 22050)
    known = survey(InMemory(there, 22050))
    wanted = known.power / known.loud**2 * level.ANALYSIS_RMS**2
    assert got[0].shape == wanted.shape
    assert float(got[0].sum()) == pytest.approx(float(wanted.sum()), rel=0.1)
    for mine, theirs in zip(got[0][:180].chunk(4), wanted[:180].chunk(4), strict=True):
        assert float(mine.sum()) == pytest.approx(float(theirs.sum()), rel=0.3)
    assert float(got[0][200:].sum()) < 0.01 * float(wanted.sum()), "nothing above 2 kHz"


def test_a_pass_that_runs_out_of_memory_loses_no_segment(solves: Callable[[Solve], list[Work]]) -> None:
    """When the batch shrinks in the first pass and again in the second, every segment and seam is still solved."""

    def small(work: Work) -> Tensor:
        if work.x.shape[0] > (4 if work.start is None else 2):
            raise torch.OutOfMemoryError("too many")
        return inverted(work)

    works = solves(small)
    sound = noise(13, 1, 90 * 8000)
    assert torch.allclose(run(sound, 8000, 8000, batch=8), -sound, atol=1e-4)
    tried = [(work.x.shape[0], work.start is None) for work in works]
    assert tried[:2] == [(8, True), (4, True)]
    assert max(count for count, first in tried[2:] if first) == 4, "what did not fit is not tried again"
    assert tried[-1][0] <= 2


@pytest.mark.parametrize("batch", [1, 2])
def test_memory_is_that_of_a_batch(batch: int) -> None:
    """After the survey no block is waited for longer than for its batch, of ten seconds a segment, and one ahead."""
    asked: list[int] = []

    class Told(InMemory):
        def read(self, start: int, count: int) -> Tensor:
            asked.append(start + count)
            return super().read(start, count)

    given = 0
    for block in stream.restyle_stream(Told(noise(14, 1, 100 * 1000), 1000), target(1000), CPU, batch=batch):
        if given:
            assert max(asked) <= given + (batch + 1) * 10 * 1000
        asked.clear()
        given += block.shape[1]


@pytest.mark.parametrize(("seconds", "alone"), [(9.0, True), (15.0, False)])
def test_a_segment_knows_whether_it_is_its_whole_stem(
    seconds: float, alone: bool, solves: Callable[[Solve], list[Work]]
) -> None:
    """Which decides on the threads it gets, whoever shares its batch: ten seconds are alone, fifteen are not."""
    works = solves(inverted)
    run(noise(19, 1, round(seconds * 8000)), 8000, 8000)
    assert {work.alone for work in works} == {alone}
    assert kinship(works[0]) != kinship(replace(works[0], alone=not alone))


def kinship(work: Work) -> object:
    """What works of one batch have in common."""
    return work.kinship


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is read or solved, with what to use."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(DeviceError, match="use --device auto or cpu"):
        run(noise(15, 1, 100), 8000, 8000, Settings(device="cuda"))
