"""A place that refuses is told once and tried again later and later by one stem; leavings go when they lie still."""

from pathlib import Path

import pytest

from render.publish import partial
from watch.holds import LONGEST_S, Holds, Space
from watch.leavings import Leavings


class Clock:
    """A clock that stands until it is put forward."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """A clock that stands."""
    return Clock()


def test_the_first_refusal_is_news(clock: Clock) -> None:
    """Of many stems that meet the same wall one tells it."""
    holds = Holds(clock)
    assert holds.until("out", 1) is None
    assert holds.hold("out", "full")
    assert not holds.hold("out", "full")
    assert holds.until("out", 1) == 100.5
    assert holds.until("elsewhere", 1) is None
    assert holds.reasons == {"out": "full"}


def test_one_stem_goes_to_see(clock: Clock) -> None:
    """When the time has come one stem is let through, the others wait for what it finds."""
    holds = Holds(clock)
    holds.hold("out", "full")
    clock.now += 0.5
    assert holds.until("out", 1) is None
    assert holds.until("out", 2) is not None
    assert holds.until("out", 1) is None
    assert holds.free("out")
    assert not holds.free("out")
    assert holds.until("out", 2) is None


def test_a_scout_that_is_lost_is_followed_by_another(clock: Clock) -> None:
    """A stem that ends otherwise says nothing of the place: the next one goes to see."""
    holds = Holds(clock)
    holds.hold("out", "full")
    clock.now += 0.5
    assert holds.until("out", 1) is None
    holds.forget(1)
    assert holds.until("out", 2) is None


def test_waits_grow_and_stay_bounded(clock: Clock) -> None:
    """Each refusal doubles the wait, up to half a minute."""
    holds = Holds(clock)
    waits = []
    for id in range(10):
        holds.hold("out", "full")
        until = holds.until("out", id)
        assert until is not None
        waits.append(until - clock.now)
        clock.now = until
        assert holds.until("out", id) is None
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, *[LONGEST_S] * 4]


def test_space_is_asked_once_a_second(clock: Clock, tmp_path: Path) -> None:
    """Too little room is said with the folder and the figures; enough is None."""
    free = {"bytes": 3_000_000, "asked": 0}

    def ask(folder: Path) -> int:
        free["asked"] += 1
        return free["bytes"]

    space = Space(clock, free=ask)
    said = space.short(frozenset([tmp_path]), 5.0)
    assert said is not None
    assert "3 MB free" in said
    free["bytes"] = 9_000_000
    assert space.short(frozenset([tmp_path]), 5.0) == said
    clock.now += 1.0
    assert space.short(frozenset([tmp_path]), 5.0) is None
    assert free["asked"] == 2


def test_space_of_a_folder_that_is_not_there_is_that_of_its_parent(clock: Clock, tmp_path: Path) -> None:
    """An output folder that has still to be made is no reason to wait."""
    assert Space(clock).short(frozenset([tmp_path / "not" / "yet"]), 0.001) is None


def test_leavings_go_when_they_lay_still(clock: Clock, tmp_path: Path) -> None:
    """What a killed worker left is deleted after a minute; what grows meanwhile, and what is not ours, stays."""
    leavings = Leavings(clock)
    with partial(tmp_path / "tape" / "a.wav") as left, partial(tmp_path / "tape" / "b.wav") as used:
        theirs = tmp_path / "tape" / "song.part"
        for path in (left, used, theirs):
            path.write_bytes(b"half")
        leavings.look([tmp_path])
        assert leavings.sweep() == 0
        clock.now += 61.0
        used.write_bytes(b"half and more")
        assert leavings.sweep() == 1
        assert not left.exists()
        assert used.exists()
        assert theirs.exists()
        assert leavings.due is None


def test_nothing_left_is_nothing_to_do(clock: Clock, tmp_path: Path) -> None:
    """A clean folder, or one that is not there, gives no reason to look again."""
    leavings = Leavings(clock)
    leavings.look([tmp_path, tmp_path / "none"])
    assert leavings.due is None
    assert leavings.sweep() == 0
