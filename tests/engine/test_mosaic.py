"""Mosaicing: the factorisation by its rules, and what is played by its sources."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from engine.parts.mosaic import Mosaic, Templates, transposed
from engine.spectra import Resolution
from engine.style import Settings, Target, learn, restyle

RATE = 22050
NO_RULES = Mosaic(settling=0, repetition=0, polyphony=10**6, continuity=0)


def problem(frames: int = 30, templates: int = 20, bins: int = 40) -> tuple[Tensor, Tensor]:
    """A spectrogram ``[1, frames, bins]`` and templates ``[templates, bins]``."""
    generator = torch.Generator().manual_seed(1)
    return torch.rand(1, frames, bins, generator=generator).square(), torch.rand(templates, bins, generator=generator)


def solved(mosaic: Mosaic, goal: Tensor, templates: Tensor, iterations: int = 20) -> tuple[Tensor, list[float]]:
    """Activations ``[frames, templates]`` and the divergence before each iteration."""
    told: list[float] = []
    return mosaic.activations(goal, templates, iterations, lambda _, loss: told.append(loss))[0], told


def test_the_divergence_never_rises() -> None:
    """Without rules the updates are Lee and Seung's: their divergence falls at every one, and ends at the goal's."""
    goal, templates = problem()
    _, told = solved(NO_RULES, goal, templates, 40)
    assert all(after <= before + 1e-6 for before, after in pairwise(told))
    assert told[-1] < told[0] / 1.1
    made = torch.rand(1, 30, 20, generator=torch.Generator().manual_seed(2)) @ templates
    _, told = solved(NO_RULES, made, templates, 400)
    assert told[-1] < told[0] / 100


def test_the_divergence_is_told_at_the_goals_level() -> None:
    """Sums along diagonals make activations seven times as loud until the update; what is told does not hear that.

    Even activations are even still, but for the edges: the same divergence within a fifth, and not four more.
    """
    goal, templates = problem()
    plain, summed = (
        solved(Mosaic(repetition=0, polyphony=10**6, continuity=c), goal, templates, 2)[1][0] for c in (0, 3)
    )
    assert plain > 0
    assert summed == pytest.approx(plain, rel=0.2)


def test_what_the_style_says_is_found() -> None:
    """A goal that plays template after template is played by just these."""
    _, templates = problem()
    order = torch.arange(20).repeat(2)[:30]
    h, _ = solved(Mosaic(repetition=3, polyphony=2, continuity=0), templates[order][None], templates, 40)
    assert torch.equal(h.argmax(1), order)
    assert float(h.amax(1).min()) == pytest.approx(1, abs=0.1)


def test_no_template_is_repeated() -> None:
    """With repetition r no template is played twice within r frames."""
    goal, templates = problem()
    h, _ = solved(Mosaic(repetition=4, polyphony=10**6, continuity=0), goal, templates)
    played = h > 1e-6 * h.max()
    for template in played.T:
        places = template.nonzero()[:, 0]
        assert int(places.diff().min()) > 4 if len(places) > 1 else True
    free, _ = solved(NO_RULES, goal, templates)
    assert int((free > 1e-6 * free.max()).sum()) > int(played.sum())


def test_no_more_voices_than_allowed() -> None:
    """With polyphony p at most p templates sound in a frame."""
    goal, templates = problem()
    h, _ = solved(Mosaic(repetition=0, polyphony=3, continuity=0), goal, templates)
    assert int((h > 1e-6 * h.max()).sum(1).max()) <= 3


def test_continuity_plays_neighbours_along() -> None:
    """With continuity the activations lie along diagonals: each is like the next frame's of the next template."""
    goal, templates = problem()

    def diagonal(mosaic: Mosaic) -> float:
        h, _ = solved(mosaic, goal, templates)
        return float(torch.corrcoef(torch.stack([h[:-1, :-1].flatten(), h[1:, 1:].flatten()]))[0, 1])

    along, alone = (diagonal(Mosaic(repetition=3, polyphony=4, continuity=c)) for c in (2, 0))
    assert along > alone + 0.2


def test_what_is_played_finds_its_level() -> None:
    """Settling brings the divergence down at every update, and plays nothing that the rules had silenced."""
    goal, templates = problem()
    ruled, _ = solved(Mosaic(settling=0, repetition=2, polyphony=4, continuity=1), goal, templates)
    settled, told = solved(Mosaic(settling=30, repetition=2, polyphony=4, continuity=1), goal, templates)
    assert len(told) == 50
    assert all(after <= before + 1e-6 for before, after in pairwise(told[20:]))
    assert told[-1] < 0.95 * told[20]
    assert not settled[ruled == 0].any()


def test_silent_templates_are_never_played() -> None:
    """The gaps between runs have no sound and no activation."""
    goal, templates = problem()
    templates[7] = 0
    h, _ = solved(Mosaic(), goal, templates)
    assert not h[:, 7].any()
    assert torch.isfinite(h).all()


@pytest.mark.parametrize("semitones", [-6, -1, 0, 5, 12])
def test_transposition_moves_pitch(semitones: int) -> None:
    """A tone of 500 Hz comes out at 500 · 2^(n/12) Hz, to a thousandth, and as much shorter."""
    tone = torch.sin(2 * math.pi * 500 * torch.arange(RATE) / RATE)
    out = transposed(tone, semitones)
    ratio = 2 ** (semitones / 12)
    assert out.shape[0] == pytest.approx(RATE / ratio, rel=1e-3)
    spectrum = torch.fft.rfft(out * torch.hann_window(out.shape[0]), 4 * RATE).abs()
    assert float(spectrum.argmax()) / 4 == pytest.approx(500 * ratio, rel=1e-3)


def test_templates_keep_runs_apart() -> None:
    """Between two sounds lie as many silent rows as asked for."""
    res = Resolution(256, 128)
    frames = Templates.of([torch.ones(1000), torch.ones(500)], res, 3).frames
    assert frames.shape == (res.frames(1000) + 3 + res.frames(500) + 3, res.bins)
    assert not frames[res.frames(1000) : res.frames(1000) + 3].any()
    assert not frames[-3:].any()


def chirps(seconds: float, seed: int) -> Tensor:
    """Tones with attacks, ``[1, samples]``, of which no two are alike."""
    generator = torch.Generator().manual_seed(seed)
    time = torch.arange(round(seconds * RATE)) / RATE
    out = torch.zeros_like(time)
    for start in torch.arange(0, seconds, 0.25).tolist():
        hz = float(200 * 2 ** (2 * torch.rand(1, generator=generator)))
        since = time - start
        out += (since >= 0) * torch.exp(-6 * since.clamp_min(0)) * torch.sin(2 * math.pi * hz * since)
    return (0.3 * out)[None]


@pytest.fixture(scope="module")
def bees() -> Target:
    """Two seconds of tones, learnt for mosaicing within a semitone."""
    return learn([chirps(2.0, 1)], RATE, recipe="mosaic", params={"semitones": 1})


def test_the_style_plays_itself(bees: Target) -> None:
    """Its own first second is played from its own frames: the spectrum correlates above 0.9."""
    stem = chirps(2.0, 1)[:, :RATE].contiguous()
    out = restyle(stem, RATE, bees, Settings(device="cpu"))
    pictures = [torch.stft(x[0], 1024, window=torch.hann_window(1024), return_complex=True).abs() for x in (stem, out)]
    assert float(torch.corrcoef(torch.stack([p.flatten() for p in pictures]))[0, 1]) > 0.9


def test_channels_keep_their_place(bees: Target) -> None:
    """Off the centre and in opposite phase: balance to 1 dB, correlation below −0.9; a silent channel is silent."""
    stem = chirps(1.5, 2) * torch.tensor([[1.0], [-0.4], [0.0]])
    out = restyle(stem, RATE, bees, Settings(device="cpu"))
    assert 20 * math.log10(float(out[1].norm() / out[0].norm())) == pytest.approx(20 * math.log10(0.4), abs=1)
    assert float(torch.corrcoef(out[:2])[0, 1]) < -0.9
    assert not out[2].any()
