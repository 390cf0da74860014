"""A trained preset plays like any other: lengths, rates, levels, blends, batches, and nothing a stranger can break."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from engine import recipes, style
from engine.errors import RecipeError
from engine.method import Work
from engine.methods.travelgan import Travelgan, _Solver, trained
from engine.settings import Settings
from engine.spectra import stft
from engine.style import Target, restyle, restyle_stream
from engine.survey import InMemory
from engine.travelgan import Generator, view

RECIPE = recipes.find("travelgan")
CPU = torch.device("cpu")


def target(seed: int = 0, rate: int = 44100, **params: object) -> Target:
    """A generator of few filters, drawn at random, whose running moments are not those it was born with."""
    generator = Generator(4, seed=seed)
    with torch.no_grad():
        generator(torch.rand(4, 1, 128, 86, generator=torch.Generator().manual_seed(seed)) * 2 - 1)
    return trained(RECIPE, generator, rate, {"filters": 4, **params})


def played(x: Tensor, gain: Tensor, rate: int) -> Tensor:
    """``x`` ``[batch, channels, samples]`` with a gain in dB."""
    return view.played(stft(x, view.resolution(rate)), gain, rate, x.shape[-1])


def noise(channels: int, samples: int, seed: int = 0) -> Tensor:
    """White noise."""
    return 0.1 * torch.randn(channels, samples, generator=torch.Generator().manual_seed(seed))


def solver(of: Target) -> _Solver:
    """The solver of a target, on the CPU."""
    made = Travelgan(RECIPE).solver(of, torch.zeros(0), CPU)
    assert isinstance(made, _Solver)
    return made


def solve(of: Target, x: Tensor, amount: float = 1.0) -> Tensor:
    """A batch ``[batch, channels, samples]`` through a target."""
    with torch.no_grad():
        return solver(of)(Work(x, amount, "standard", 0), lambda i, n, loss: None)


@settings(deadline=None, max_examples=12)
@given(
    samples=st.integers(1, 70_000),
    channels=st.sampled_from([1, 2, 6]),
    rate=st.sampled_from([8000, 22050, 44100, 48000]),
    overlap=st.booleans(),
)
def test_any_length_rate_and_width(samples: int, channels: int, rate: int, overlap: bool) -> None:
    """The stem's own shape comes back, finite and at its level."""
    stem = noise(channels, samples)
    out = restyle(stem, rate, target(overlap=overlap), Settings(device="cpu"))
    assert out.shape == stem.shape
    assert bool(torch.isfinite(out).all())
    if samples > rate:  # at the edges of shorter ones what is resampled rings beyond them
        torch.testing.assert_close(out.norm(), stem.norm(), rtol=0.06, atol=1e-6)


def test_no_amount_is_the_stem_and_a_half_is_half_the_gain() -> None:
    """In decibels: what the whole amount does to a bin, the half does by half (to float precision of loud bins)."""
    x = noise(1, 44100)[None]
    assert torch.equal(restyle(x[0], 44100, target(), Settings(amount=0, device="cpu")), x[0])
    levels = view.decibels(x, 44100)
    with torch.no_grad():
        gain = solver(target()).gain(levels)
    assert float(gain.abs().max()) > 3
    torch.testing.assert_close(solve(target(), x, 0.5), played(x, 0.5 * gain, 44100))
    torch.testing.assert_close(solve(target(), x), played(x, gain, 44100))


def test_gains_stay_between_their_limits() -> None:
    """From −24 to 18 dB, whatever a generator says."""
    levels = torch.cat([torch.full((1, 128, 100), -100.0), torch.zeros(1, 128, 100)])
    with torch.no_grad():
        gain = solver(target()).gain(levels)
    assert float(gain.min()) == view.LEAST_DB
    assert float(gain.max()) == view.MOST_DB


def test_the_image_and_the_phase_stay() -> None:
    """Both channels get one gain: their ratio and their phases are the stem's in every bin that is not near silence."""
    x = noise(2, 44100)[None] * torch.tensor([1.0, 0.3])[:, None]
    before, after = (stft(sound, view.resolution(44100))[0] for sound in (x, solve(target(), x)))
    loud = before.abs().amin(0) > 0.3 * before.abs().mean()
    turn = (after / before)[:, loud]
    # Frames overlap, so that neighbours' gains leak in: a tenth of a radian and of the ratio in the mean.
    assert float(turn.angle().abs().mean()) < 0.1
    assert float((turn[0].abs() / turn[1].abs()).log().abs().mean()) < 0.1


def test_a_blend_mixes_gains_in_decibels() -> None:
    """Each by its share, kept blends of blends too."""
    one, two, three = (target(seed) for seed in range(3))
    levels = view.decibels(noise(1, 30000)[None], 44100)
    with torch.no_grad():
        gains = [solver(each).gain(levels) for each in (one, two, three)]
        mixed = solver(style.blend([(one, 3.0), (two, 1.0)])).gain(levels)
        torch.testing.assert_close(mixed, 0.75 * gains[0] + 0.25 * gains[1])
        nested = style.blend([(style.blend([(one, 1.0), (two, 1.0)]), 1.0), (three, 1.0)])
        expected = 0.25 * gains[0] + 0.25 * gains[1] + 0.5 * gains[2]
        torch.testing.assert_close(solver(nested).gain(levels), expected)


def test_who_else_is_in_the_batch_changes_nothing() -> None:
    """Four spans at once are four spans alone, bit for bit."""
    x = torch.stack([noise(2, 20000, seed) for seed in range(4)])
    together = solve(target(), x)
    assert torch.equal(together, torch.cat([solve(target(), row[None]) for row in x]))


def test_long_stems_have_no_seam_and_batches_of_any_size() -> None:
    """A stem of five halves in batches of 1 and 2 is the same; at its seams nothing clicks.

    The largest step from sample to sample within 10 ms of a place where halves meet is no larger than twice the largest
    elsewhere; a jump of one, the control, fails it.
    """
    rate = 8000
    stem = torch.sin(torch.arange(rate * 22) * 0.05)[None] * 0.2 + noise(1, rate * 22) * 0.05
    runs = [
        torch.cat(list(restyle_stream(InMemory(stem, rate), target(rate=rate), Settings(device="cpu"), batch=batch)), 1)
        for batch in (1, 2)
    ]
    assert torch.equal(*runs)
    places = [round(22 * rate * k / 6) for k in range(1, 6)]

    def steps(x: Tensor) -> tuple[float, float]:
        jump = x.diff().abs()[0]
        near = torch.zeros_like(jump, dtype=torch.bool)
        for place in places:
            near[place - 80 : place + 80] = True
        return float(jump[near].max()), float(jump[~near].max())

    at, elsewhere = steps(runs[0])
    assert at < 2 * elsewhere
    joined = runs[0].clone()
    joined[:, places[2] :] += 1.0
    at, elsewhere = steps(joined)
    assert at > 2 * elsewhere


def test_stems_of_one_target_share_a_batch() -> None:
    """Their solvers are akin; those of another target are not."""
    mine = target()
    assert solver(mine).key == solver(mine).key
    assert solver(mine).key != solver(target(1)).key


def test_it_is_not_learnt_from_references() -> None:
    """The error says how it is trained."""
    with pytest.raises(RecipeError, match="gramophone preset train --content"):
        style.learn([noise(1, 8000)], 8000, recipe="travelgan")


@pytest.mark.parametrize("break_", ["missing", "shape", "shares", "filters"])
def test_a_stranger_s_preset_is_refused_in_words(break_: str) -> None:
    """Tensors that are no generator are never run."""
    mine = target()
    tensors, params = dict(mine.tensors), dict(mine.params)
    if break_ == "missing":
        del tensors["0.up.weight"]
    elif break_ == "shape":
        tensors["0.up.weight"] = torch.zeros(3)
    elif break_ == "shares":
        tensors["shares"] = torch.ones(2)
    else:
        params["filters"] = 8
    with pytest.raises(RecipeError, match="holds no generator"):
        solver(replace(mine, tensors=tensors, params=params))
