"""Stillness: nothing is taken while it, or what says how it is rendered, still changes."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watch.scan import Found, Snapshot
from watch.settle import Settling

VOX = Found(Path("/w/tape/vox.wav"), "tape/vox.wav", "stem", Snapshot(100, 5, 6, 7, 8))


def changed(found: Found, **values: int) -> Found:
    """``found`` with a snapshot that differs in ``values``."""
    return replace(found, snapshot=replace(found.snapshot, **values))


def test_a_stem_is_taken_once_it_has_been_still() -> None:
    """Not a moment before, and then at every look until it is gone."""
    settling = Settling(2.0)
    assert settling.update([VOX], 10.0) == []
    assert settling.update([VOX], 11.999) == []
    assert settling.update([VOX], 12.0) == [VOX]
    assert settling.update([VOX], 500.0) == [VOX]


@pytest.mark.parametrize("field", ["size", "mtime_ns", "ctime_ns", "inode", "device"])
def test_any_change_begins_the_wait_anew(field: str) -> None:
    """Growth, a new time (also an old one put back), a rename over it: each is somebody at work."""
    settling = Settling(2.0)
    settling.update([VOX], 0.0)
    other = changed(VOX, **{field: 1})
    assert settling.update([other], 3.0) == []
    assert settling.update([other], 4.9) == []
    assert settling.update([other], 5.0) == [other]
    assert settling.update([VOX], 6.0) == []


def test_a_preallocated_file_that_is_filled_is_not_still() -> None:
    """Its size is final from the start; the times are what tells."""
    settling = Settling(2.0)
    for second in range(20):
        assert settling.update([changed(VOX, mtime_ns=second, ctime_ns=second)], float(second)) == []
    assert settling.update([changed(VOX, mtime_ns=19, ctime_ns=19)], 21.0) != []


def test_what_says_how_it_is_rendered_has_to_be_still_too() -> None:
    """A sidecar that is still being written holds its stem back, one that comes or goes begins the wait anew."""
    settling = Settling(2.0)
    settling.update([VOX], 0.0)
    with_sidecar = replace(VOX, beside=(Snapshot(10, 1, 1, 1, 1),))
    assert settling.update([with_sidecar], 2.0) == []
    grown = replace(VOX, beside=(Snapshot(20, 1, 1, 1, 1),))
    assert settling.update([grown], 4.0) == []
    assert settling.update([grown], 6.0) == [grown]
    assert settling.update([VOX], 7.0) == []


def test_one_that_went_and_came_back_begins_anew() -> None:
    """A stem that was away for one look is a new one, even with the same snapshot."""
    settling = Settling(2.0)
    settling.update([VOX], 0.0)
    assert settling.update([], 1.0) == []
    assert settling.next_due(1.0) is None
    assert settling.update([VOX], 2.0) == []
    assert settling.update([VOX], 4.0) == [VOX]


def test_the_next_look_is_due_when_the_first_will_be_still() -> None:
    """A daemon that sleeps so long takes each stem as early as it may, and sleeps on when none is awaited."""
    settling = Settling(2.0)
    assert settling.next_due(0.0) is None
    other = replace(VOX, relative="tape/b.wav")
    settling.update([VOX], 10.0)
    settling.update([VOX, other], 11.0)
    assert settling.next_due(11.5) == pytest.approx(0.5)
    assert settling.next_due(99.0) == 0.0  # due, and not told yet
    assert settling.update([VOX, other], 12.0) == [VOX]
    assert settling.next_due(12.0) == pytest.approx(1.0)
    settling.update([VOX, other], 13.0)
    assert settling.next_due(13.0) is None


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0, 1.5)), min_size=1, max_size=40))
def test_nothing_is_taken_earlier_and_nothing_later(steps: list[tuple[int, float]]) -> None:
    """Whatever happens when, a stem is told exactly while its snapshot has been the same for the whole time."""
    settling, now, since, last = Settling(2.0), 0.0, 0.0, -1
    for size, pause in steps:
        now += pause
        if size != last:
            since, last = now, size
        told = settling.update([changed(VOX, size=size)], now)
        assert bool(told) == (now - since >= 2.0)
