"""The survey: read in blocks it finds what one look at the whole would."""

import math

import pytest
import torch

from engine import level
from engine import survey as surveying
from engine.spectra import Resolution, linked_magnitude
from engine.survey import InMemory, survey

RATE = 8000


@pytest.fixture
def stem() -> torch.Tensor:
    """Twenty-three seconds of stereo noise whose level rises and falls, with a pause."""
    g = torch.Generator().manual_seed(0)
    time = torch.arange(23 * RATE + 123) / RATE
    sound = torch.randn(2, time.shape[0], generator=g) * (0.02 + 0.1 * torch.sin(0.3 * time).square())
    sound[:, 9 * RATE : 12 * RATE] = 0
    return sound


def test_in_blocks_it_is_the_survey_of_the_whole(stem: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Level to 1e-6, floor to 0.2 dB and mean power to 2 % (frames at the ends of blocks see half) of one look."""
    blocks = survey(InMemory(stem, RATE))
    monkeypatch.setattr(surveying, "BLOCK_S", 60.0)
    whole = survey(InMemory(stem, RATE))
    assert blocks.loud == pytest.approx(whole.loud, rel=1e-6)
    assert blocks.loud == pytest.approx(level.active_rms(stem, RATE), rel=1e-6)
    assert abs(blocks.floor_db - whole.floor_db) < 0.2
    assert float((blocks.power - whole.power).abs().sum() / whole.power.sum()) < 0.1
    assert float(blocks.power.sum()) == pytest.approx(float(whole.power.sum()), rel=0.02)


def test_power_is_that_of_the_spectra(stem: torch.Tensor) -> None:
    """Frames side by side give the mean power of overlapping ones to 5 % in all and 25 % in any eighth of the bins."""
    res = Resolution.at(RATE, level.RESOLUTION)
    wanted = linked_magnitude(stem[None], res)[0].square().mean(1)
    found = survey(InMemory(stem, RATE)).power
    assert found.shape == wanted.shape
    assert float(found.sum()) == pytest.approx(float(wanted.sum()), rel=0.05)
    for mine, theirs in zip(found.chunk(8), wanted.chunk(8), strict=True):
        assert float(mine.sum()) == pytest.approx(float(theirs.sum()), rel=0.25)


def test_twins_and_silence_are_found_wherever_they_end(stem: torch.Tensor) -> None:
    """One differing or sounding sample in the first or the last block is enough to be neither."""
    twins = stem[:1].expand(2, -1).clone()
    assert survey(InMemory(twins, RATE)).twins
    assert survey(InMemory(stem[:1], RATE)).twins, "one channel is its own twin"
    assert not survey(InMemory(stem, RATE)).twins
    twins[1, -1] += 1e-6
    assert not survey(InMemory(twins, RATE)).twins
    twins[1] = twins[0]
    twins[1, 0] += 1e-6
    assert not survey(InMemory(twins, RATE)).twins
    nothing = torch.zeros(2, 21 * RATE)
    found = survey(InMemory(nothing, RATE))
    assert found.silent
    assert found.loud == 0
    for place in (0, -1):
        nothing.zero_()[1, place] = 1e-9
        assert not survey(InMemory(nothing, RATE)).silent


@pytest.mark.parametrize("samples", [1, 2, 399, 401, 80_000, 80_001])
def test_any_length(samples: int) -> None:
    """From one sample on, at the edge of a block and beyond, every number is finite and the level is the sound's."""
    found = survey(InMemory(torch.full((1, samples), 0.1), RATE))
    assert found.loud == pytest.approx(0.1, rel=1e-5)
    assert math.isfinite(found.floor_db)
    assert torch.isfinite(found.power).all()
    assert float(found.power.sum()) > 0


def test_it_reads_every_sample_once_in_blocks(stem: torch.Tensor) -> None:
    """No more than ten seconds are asked for at a time, in order, without gap or overlap."""
    asked: list[tuple[int, int]] = []

    class Told(InMemory):
        def read(self, start: int, count: int) -> torch.Tensor:
            asked.append((start, count))
            return super().read(start, count)

    survey(Told(stem, RATE))
    assert [start for start, _ in asked] == [0, 10 * RATE, 20 * RATE]
    assert sum(count for _, count in asked) == stem.shape[1]
    assert max(count for _, count in asked) == 10 * RATE
