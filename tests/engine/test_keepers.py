"""Regularisers: nothing at what they ask for, more the further from it, with right gradients."""

import pytest
import torch
from torch import Tensor

from engine.excerpts import Excerpts, Span
from engine.method import Work
from engine.parts.keepers import Autocorrelation, Keep, KeepChroma, KeepEnergy, KeepRhythm, KeepWhitened, SmoothGain
from engine.parts.scene import Scene
from engine.parts.store import hold
from engine.spectra import Resolution, istft, stft
from engine.target import Target
from engine.terms import Picture, Weighted

RATE = 4000
SAMPLES = 4000
EVERY: list[Keep] = [KeepChroma(), KeepRhythm(), KeepEnergy(), KeepWhitened(), SmoothGain(), Autocorrelation()]


def beats(per_second: float, seed: int = 0, seconds: float = 1.0) -> Tensor:
    """Noise that decays so many times a second, ``[1, 1, samples]`` in double at 0.1 RMS."""
    samples = round(seconds * RATE)
    noise = torch.randn(1, 1, samples, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    time = torch.arange(samples, dtype=torch.float64) / RATE
    x = noise * (-8 * (time * per_second % 1)).exp()
    return x * (0.1 / x.square().mean().sqrt())


def scene(x: Tensor, style: Tensor) -> Scene:
    """What a keeper is made ready with: a stem, and a style kept whole."""
    excerpts = Excerpts([style[0].float()], [Span(0, 0, style.shape[-1], 1.0)])
    target = Target("example", {}, RATE, hold(excerpts, [Resolution.at(RATE, 2048)]))
    work = Work(x, 1.0, "standard", 0)
    nothing = Weighted([])
    return Scene(work, RATE, Picture(x), target, (), lambda s: nothing, lambda i, n, loss: None, torch.device("cpu"))


@pytest.mark.parametrize("keeper", EVERY, ids=lambda k: type(k).__name__)
def test_gradients_in_double(keeper: Keep) -> None:
    """The slope along a random direction is the difference quotient, to 1e-3 of it (rectifiers have corners)."""
    x = beats(3)
    term = keeper.ready(scene(x, beats(5, 1, 1.5)))
    at = (x + 0.02 * beats(2, 4)).requires_grad_()
    (gradient,) = torch.autograd.grad(term(Picture(at)).sum(), at)
    along = beats(7, 9)
    step = 1e-5
    ahead, behind = (float(term(Picture(at.detach() + sign * step * along))) for sign in (1, -1))
    slope = float((gradient * along).sum())
    assert abs(slope - (ahead - behind) / (2 * step)) < 1e-3 * abs(slope) + 1e-7


@pytest.mark.parametrize("keeper", EVERY, ids=lambda k: type(k).__name__)
def test_finite_at_silence(keeper: Keep) -> None:
    """A result that is silent has a finite loss and gradient, and so has a silent stem."""
    for stem in (beats(3), torch.zeros(1, 1, SAMPLES, dtype=torch.float64)):
        term = keeper.ready(scene(stem, beats(5, 1, 1.5)))
        silence = torch.zeros(1, 1, SAMPLES, dtype=torch.float64, requires_grad=True)
        value = term(Picture(silence)).sum()
        (gradient,) = torch.autograd.grad(value, silence)
        assert bool(value.detach().isfinite())
        assert bool(gradient.isfinite().all())


@pytest.mark.parametrize("keeper", EVERY[:-1], ids=lambda k: type(k).__name__)
def test_the_stem_itself_is_at_no_distance(keeper: Keep) -> None:
    """What must stay of a stem is all there in the stem, and not in another sound."""
    x = beats(3)
    term = keeper.ready(scene(x, beats(5, 1, 1.5)))
    assert float(term(Picture(x))) < 1e-6
    assert float(term(Picture(beats(5, 3)))) > 1e-2


def test_a_smooth_gain_is_free() -> None:
    """A louder stem costs a thirtieth of what as large a gain on every other bin does."""
    x = beats(3)
    term = SmoothGain().ready(scene(x, x))
    res = Resolution.at(RATE, 2048)
    comb = torch.ones(res.bins, dtype=torch.float64)
    comb[::2] = 0.25
    combed = istft(stft(x, res) * comb, res, SAMPLES)
    assert float(term(Picture(2 * x))) < float(term(Picture(combed))) / 30


def test_autocorrelation_knows_the_beat() -> None:
    """Another noise with the style's beat is much nearer to it than the stem; the style itself is as good as there."""
    style = beats(5, 1)
    term = Autocorrelation().ready(scene(beats(3), style))
    same, own, itself = (float(term(Picture(x))) for x in (beats(5, 8), beats(3), style))
    assert same < 0.25 * own
    assert itself < 0.02 * own
