"""Halves: a grid that covers every stem, and two passes that become one sound."""

from collections.abc import Sequence
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from engine import halves, stream, together
from engine.events import Event, SegmentStarted
from engine.method import OnIterate, Solver, Work, joined
from engine.settings import Settings
from engine.style import learn
from engine.survey import InMemory

RATE = 1000


@given(st.integers(1, 100_000), st.sampled_from([1, 147, 1000]), st.lists(st.floats(0, 100), max_size=40))
@settings(max_examples=60, deadline=None)
def test_a_grid_covers_every_stem(samples: int, unit: int, cuts: list[float]) -> None:
    """Places rise from 0 to the end, their number is odd, inner ones are multiples of the unit, halves are short."""
    places = halves.grid(samples, RATE, unit=unit, cuts=cuts)
    assert places[0] == 0
    assert places[-1] == samples
    assert len(places) % 2 == 1
    assert sorted(places) == places
    assert all(p % unit == 0 for p in places[1:-1] if p < samples)
    longest = max(b - a for a, b in pairwise(places))
    assert longest <= (halves.HALF_S + 2 * halves.REACH_S) * RATE + 2 * unit


def test_a_grid_moves_to_quiet_points() -> None:
    """A place moves to a cut within half a second of it and to no other."""
    assert halves.grid(20_000, RATE, cuts=[5.4, 9.0])[1:-1] == [5400, 10_000, 15_000]


@given(st.integers(1, 60_000), st.integers(1, 2))
@settings(max_examples=40, deadline=None)
def test_two_passes_of_the_same_sound_are_that_sound(samples: int, channels: int) -> None:
    """When both passes agree, what is reunited is what they agree on, bit for bit and of the exact length."""
    sound = torch.randn(channels, samples)
    places = halves.grid(samples, RATE)
    cut = [(s, sound[:, s.start : s.end]) for s in halves.first_pass(places)]
    across = [(s, sound[:, s.start : s.end]) for s in halves.second_pass(places)]
    assert torch.equal(torch.cat(list(halves.reunite(cut, across, begins=True, ends=True)), 1), sound)


def test_no_sample_comes_from_an_edge() -> None:
    """Near the seams of either pass only the other one is heard: ones and twos mark where a sample is from."""
    places = halves.grid(40_000, RATE)
    firsts = [(s, torch.ones(1, s.samples)) for s in halves.first_pass(places)]
    seconds = [(s, torch.full((1, s.samples), 2.0)) for s in halves.second_pass(places)]
    out = torch.cat(list(halves.reunite(firsts, seconds, begins=True, ends=True)), 1)[0]
    for segment, _ in firsts[1:]:
        assert (out[segment.start - 1000 : segment.start + 1000] == 2).all()
    for segment, _ in seconds:
        for edge in (segment.start, segment.end):
            assert (out[edge - 1000 : edge + 1000] == 1).all()


def test_passes_that_do_not_meet_are_refused() -> None:
    """A seam's segment that lies elsewhere is a mistake, not a sound."""
    places = halves.grid(40_000, RATE)
    firsts = [(s, torch.ones(1, s.samples)) for s in halves.first_pass(places)][:2]
    wrong = [(halves.second_pass(places)[1], torch.ones(1, 10_000))]
    with pytest.raises(ValueError, match="do not meet"):
        list(halves.reunite(firsts, wrong, begins=True, ends=True))


def doubled(work: Work, on_iterate: OnIterate) -> Tensor:
    """A solver with an effect that is easy to follow: each pass inverts what it starts from."""
    on_iterate(1, 1, 0.0)
    return -(work.x if work.start is None else work.start)


@pytest.fixture
def inverting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The recipe "identity" inverts its input in every pass."""
    from engine.methods.identity import Identity

    monkeypatch.setattr(Identity, "solver", lambda self, target, power, device: doubled)


@pytest.mark.usefixtures("inverting")
@pytest.mark.parametrize("batch", [1, 2, 3, 8])
def test_the_second_pass_begins_where_the_first_ended(batch: int) -> None:
    """Around the seams the sound has been through both passes, elsewhere through one; a batch changes nothing."""
    rate = 8000
    sound = torch.randn(1, 45 * rate) * 0.1
    target = learn([torch.randn(1, rate)], rate, recipe="identity")
    blocks = stream.restyle_stream(InMemory(sound, rate), target, Settings(device="cpu"), batch=batch)
    out = torch.cat(list(blocks), 1)
    places = halves.grid(sound.shape[1], rate)
    mended = 2 * round(stream.SEAM_S * rate)  # around the seam itself the second pass begins at the plain stem
    for segment in halves.second_pass(places):
        for here in (
            slice(segment.middle - rate, segment.middle - mended),
            slice(segment.middle + mended, segment.middle + rate),
        ):
            assert torch.allclose(out[:, here], sound[:, here], rtol=0.02)
    for segment in halves.first_pass(places):
        here = slice(segment.middle - rate, segment.middle + rate)
        assert torch.allclose(out[:, here], -sound[:, here], rtol=0.02)


@pytest.mark.usefixtures("inverting")
def test_out_of_memory_halves_the_batch_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that holds two segments gets two at a time, also for those that failed at first, and nothing is lost."""
    rate, seen = 8000, list[int]()
    whole = joined

    def small(solvers: Sequence[Solver]) -> Solver:
        seen.append(len(solvers))
        if len(solvers) > 2:
            raise torch.OutOfMemoryError("too many")
        return whole(solvers)

    sound = torch.randn(1, 90 * rate) * 0.1
    target = learn([torch.randn(1, rate)], rate, recipe="identity")
    wanted = torch.cat(list(stream.restyle_stream(InMemory(sound, rate), target, Settings(device="cpu"))), 1)
    monkeypatch.setattr(together, "joined", small)
    events: list[Event] = []
    blocks = stream.restyle_stream(InMemory(sound, rate), target, Settings(device="cpu"), events.append, batch=8)
    assert torch.equal(torch.cat(list(blocks), 1), wanted)
    assert seen[:3] == [8, 4, 2]
    assert max(seen[3:]) == 2
    assert len([e for e in events if isinstance(e, SegmentStarted)]) == events[0].count  # type: ignore[union-attr]


def test_a_device_too_small_for_one_segment_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """When a single segment does not fit the error is passed on, not retried for ever."""

    def never(*_: object) -> Solver:
        raise torch.OutOfMemoryError("none")

    monkeypatch.setattr(together, "joined", never)
    target = learn([torch.randn(1, 8000)], 8000, recipe="identity")
    with pytest.raises(torch.OutOfMemoryError):
        list(stream.restyle_stream(InMemory(torch.randn(1, 8000), 8000), target, Settings(device="cpu"), batch=4))
