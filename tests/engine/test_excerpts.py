"""Excerpts: short references whole, long ones by what stands for them, joints and silence without weight."""

import pytest
import torch
from torch import Tensor

from engine import excerpts, kernel, level
from engine.errors import AudioError
from engine.excerpts import EXCERPT_FRAMES, Excerpts, Span, select, span_magnitude
from engine.spectra import Resolution, linked_magnitude, log_magnitude

RATE = 8000
MAIN = Resolution.at(RATE, 2048)
ALL = [MAIN, Resolution.at(RATE, 512, 2), Resolution.at(RATE, 4096)]


def noise(seed: int, seconds: float, channels: int = 1, tilt: float = 0.0) -> Tensor:
    """Noise; with ``tilt`` each sample leans on the one before, which darkens it."""
    x = torch.randn(channels, round(seconds * RATE), generator=torch.Generator().manual_seed(seed)) * 0.1
    return x + tilt * torch.nn.functional.pad(x, (1, 0))[:, :-1]


def test_short_references_are_kept_whole() -> None:
    """What fits is one span each, as long as it is and counting by its length, at the analysis level (1e-4)."""
    references = [noise(1, 1.0), noise(2, 3.0) * 0.01, noise(3, 2.0, channels=2)]
    found = select(references, RATE, 6.0)
    assert [(s.reference, s.start, s.samples) for s in found.spans] == [(0, 0, 8000), (1, 0, 24000), (2, 0, 16000)]
    assert [s.weight for s in found.spans] == pytest.approx([1 / 6, 3 / 6, 2 / 6])
    for reference in found.references:
        assert level.active_rms(reference, RATE) == pytest.approx(level.ANALYSIS_RMS, rel=1e-4)


def test_a_span_is_the_spectrum_of_the_whole_at_its_place() -> None:
    """Frames of a span are those of the whole reference, which it sees beyond its edges (1e-4)."""
    sound = noise(1, 2.0, channels=2)
    for res in ALL:
        whole = linked_magnitude(sound[None], res)[0]
        for first, frames in ((0, 12), (20, 13), (whole.shape[1] - 12, 12)):
            found = span_magnitude(sound, first * res.hop, frames * res.hop, res)
            assert found.shape == (res.bins, frames)
            wanted = whole[:, first : first + frames]
            assert torch.allclose(found[:, : wanted.shape[1]], wanted, atol=1e-4)


@pytest.mark.parametrize("samples", [1, 7, RATE // 10])
def test_a_reference_of_one_sample_or_a_tenth_of_a_second_is_usable(samples: int) -> None:
    """Shorter than a patch it is followed by silence: at every resolution at least a patch, weights that sum to one."""
    found = select([torch.full((2, samples), 0.3)], RATE, 12.0)
    for res in ALL:
        magnitude, weights = found.frames(res)
        assert magnitude.shape == (res.bins, weights.shape[0] + kernel.WIDTH - 1)
        assert torch.isfinite(magnitude).all()
        assert float(magnitude.max()) > 0
        assert float(weights.sum()) == pytest.approx(1, abs=1e-6)


def test_weights_sum_to_one_and_joints_and_silence_have_none() -> None:
    """Patches that reach over a joint or lie in a pause weigh nothing; the others share by their span's length."""
    pause = noise(2, 4.0)
    pause[:, RATE : 3 * RATE] = 0
    found = select([noise(1, 2.0), pause], RATE, 12.0)
    for res in ALL:
        magnitude, weights = found.frames(res)
        first = 2 * RATE // res.hop
        assert weights.shape[0] == magnitude.shape[1] - kernel.WIDTH + 1
        assert float(weights.sum()) == pytest.approx(1, abs=1e-5)
        assert not weights[first - kernel.WIDTH + 1 : first].any()
        assert weights[: first - kernel.WIDTH + 1].all()
        assert float(weights[:first].sum()) == pytest.approx(1 / 3, abs=1e-5)
        inside = magnitude.square().sum(0).unfold(0, kernel.WIDTH, 1).sum(-1) < 1e-6
        assert inside.any()
        assert not weights[inside].any()


def test_a_long_reference_is_reduced_to_what_stands_for_it() -> None:
    """Sixty seconds, three quarters dark and one bright, become nine: as dark and bright (0.1), nearer than its start.

    Weights are positive and sum to one, spans lie inside, in order of time, and none is taken twice.
    """
    dark, bright = noise(1, 45.0, tilt=0.9), noise(2, 15.0, tilt=-0.9)
    sound = torch.cat([dark, bright], 1)
    found = select([sound], RATE, 9.0)
    starts = [s.start for s in found.spans]
    assert sum(s.samples for s in found.spans) <= 9 * RATE
    assert starts == sorted(set(starts))
    assert all(s.samples == EXCERPT_FRAMES * MAIN.hop and s.start + s.samples <= sound.shape[1] for s in found.spans)
    assert sum(s.weight for s in found.spans) == pytest.approx(1, abs=1e-5)
    assert all(s.weight >= 0 for s in found.spans)
    share = sum(s.weight for s in found.spans if s.start >= dark.shape[1])
    assert share == pytest.approx(0.25, abs=0.1)

    def pictured(spans: Excerpts) -> tuple[Tensor, Tensor]:
        magnitude, weights = spans.frames(MAIN)
        return log_magnitude(magnitude), weights

    whole, mine = pictured(select([sound], RATE, 60.0)), pictured(found)
    start = pictured(Excerpts(found.references, [Span(0, 0, 9 * RATE, 1.0)]))
    mine_to_whole, start_to_whole = (
        float(kernel.style(x[None], whole[0], u[None], whole[1])) for x, u in (mine, start)
    )
    assert mine_to_whole < 0.05 * start_to_whole


def test_all_references_of_a_long_set_are_looked_at() -> None:
    """A dark reference beside a long bright one is kept by its share, a near-silent half of one has no weight."""
    found = select([noise(1, 20.0, tilt=-0.9), noise(2, 10.0, tilt=0.9), noise(2, 1e-3)], RATE, 12.0)
    assert sum(s.weight for s in found.spans if s.reference == 1) == pytest.approx(1 / 3, abs=0.1)
    quiet = torch.cat([noise(3, 30.0), noise(4, 30.0) * 1e-4], 1)
    assert all(s.start < 30 * RATE for s in select([quiet], RATE, 12.0).spans)


def test_a_very_long_reference_is_looked_at_in_even_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """No more than so many excerpts are compared, from the first to the last part of it."""
    asked: list[int] = []
    whole = excerpts.span_magnitude

    def told(reference: Tensor, start: int, samples: int, res: Resolution) -> Tensor:
        asked.append(start)
        return whole(reference, start, samples, res)

    monkeypatch.setattr(excerpts, "MOST_EXCERPTS", 6)
    monkeypatch.setattr(excerpts, "span_magnitude", told)
    select([noise(1, 40.0)], RATE, 6.0)
    assert len(asked) == 6
    assert asked[0] == 0
    assert asked[-1] > 30 * RATE


def test_silent_references_are_refused_by_number() -> None:
    """One below −80 dBFS among others is named, as is digital silence."""
    for quiet in (torch.zeros(1, RATE), noise(1, 1.0) * 1e-4):
        with pytest.raises(AudioError, match="reference 2 is silent; expected sound above -80 dBFS"):
            select([noise(1, 1.0), quiet], RATE, 12.0)
