"""The fast road: a basis, a warm start, Griffin-Lim and a short descent, each by what it promises."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from engine import draft, kernel, material
from engine.draft import WARM_WIDTH, Budget, basis, classic_weights, fast_griffin_lim, solve_draft, warm_start
from engine.method import Work
from engine.spectra import Resolution, linked_magnitude, stft
from engine.terms import Goal, Picture, active_patches

RATE = 8000
MAIN = Resolution.at(RATE, 2048)
SMALL = Resolution(64, 16)


def sound(name: str, seconds: float = 1.5) -> Tensor:
    """A batch of one piece of the demo material at 0.1 RMS, ``[1, 2, samples]``."""
    x = torch.from_numpy(material.make(name, seconds=seconds, rate=RATE))[None]
    return x * (0.1 / float(x.square().mean().sqrt()))


def noise(seed: int, *shape: int) -> Tensor:
    """White noise in double."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture(scope="module")
def goal() -> Goal:
    """Bowed organ at the main resolution."""
    magnitude = Picture(sound("organ")).magnitude(MAIN)
    return Goal.of(MAIN, magnitude[0], active_patches(magnitude)[0])


@pytest.mark.parametrize("shape", [(30, 200), (30, 10), (200, 300)])
def test_a_basis_is_orthonormal(shape: tuple[int, int]) -> None:
    """QᵀQ is one (1e-12) at a rank no larger than asked for, than the bins or than the frames."""
    q = basis(noise(1, *shape), 25)
    assert q.shape == (shape[0], min(25, *shape))
    assert torch.allclose(q.T @ q, torch.eye(q.shape[1], dtype=q.dtype), atol=1e-12)


def test_a_basis_holds_what_it_is_made_of() -> None:
    """Frames of rank eight in noise 60 dB down lie in a basis of eight to 1e-2 of their norm; the same every time."""
    frames = noise(1, 100, 8) @ noise(2, 8, 80) + 1e-3 * noise(3, 100, 80)
    q = basis(frames, 8)
    assert float((frames - q @ (q.T @ frames)).norm() / frames.norm()) < 1e-2
    assert torch.equal(q, basis(frames, 8))


def classic(log: Tensor, stem: Tensor, goal: Goal, weights: tuple[float, float]) -> float:
    """The classic loss of a log spectrum ``[batch, bins, frames]``, eleven frames a patch."""
    u = active_patches(stem.exp() - 1)
    even = torch.full_like(u, 1 / u.shape[1])
    pull = kernel.style(log, goal.log, u, goal.weights)
    return float((weights[0] * pull + weights[1] * kernel.content(log, stem, even)).sum())


@pytest.mark.parametrize("frames", [70, 71])
def test_a_warm_start_lowers_the_classic_loss_under_its_ceiling(goal: Goal, frames: int) -> None:
    """Twenty evaluations take a third off the whole loss; no frame passes what stem frame or target have at most."""
    stem = Picture(sound("riff", 2.0)).log(MAIN)[..., :frames]
    weights = classic_weights(1.0, 0.01)
    found = warm_start(stem, goal.log, goal.weights, weights, 20)
    assert found.shape == stem.shape
    assert classic(found, stem, goal, weights) < 0.66 * classic(stem, stem, goal, weights)
    ceiling = torch.maximum(stem.amax(2, keepdim=True), goal.log.amax(1)[:, None])
    assert (found <= ceiling).all()


def test_a_warm_start_held_below_a_burst(goal: Goal) -> None:
    """Where a few dimensions pile up (no content, many steps) the ceiling is reached, not passed."""
    stem = Picture(sound("drums", 2.0)).log(MAIN)
    found = warm_start(stem, goal.log, goal.weights, classic_weights(1.0, 0.0), 60)
    ceiling = torch.maximum(stem.amax(2, keepdim=True), goal.log.amax(1)[:, None])
    assert (found <= ceiling).all()
    assert (found == ceiling).any()


def test_a_warm_start_of_no_steps_is_the_stem(goal: Goal) -> None:
    """One evaluation makes no step, and what comes back is the stem to 1e-6."""
    stem = Picture(sound("riff", 1.0)).log(MAIN)
    assert torch.allclose(warm_start(stem, goal.log, goal.weights, classic_weights(1.0, 0.01), 1), stem, atol=1e-6)


@pytest.mark.parametrize("patches", [1, 2, 11, 50, 51])
def test_every_second_patch_lies_where_it_lay(patches: int) -> None:
    """A patch of six frames at twice the hop spans what one of eleven did: its weight is that one's, and they sum to 1.

    So a joint, which has no weight, has none at twice the hop either.
    """
    v = torch.arange(1.0, patches + 1)
    v[3:6] = 0
    kept = draft._every_second(v)
    assert kept.shape == (((patches + kernel.WIDTH - 1) + 1) // 2 - WARM_WIDTH + 1,)
    assert torch.allclose(kept, v[::2] / v[::2].sum())


def test_less_amount_is_more_content() -> None:
    """The style weight stays, the content weight rises from alpha's own: × 301 at half."""
    style, content = classic_weights(1.0, 0.05)
    for amount, times in ((1.0, 1.0), (0.5, 301.0), (0.75, 101.0)):
        assert classic_weights(amount, 0.05) == pytest.approx((style, content * times))
    assert classic_weights(1.0, 0.0)[1] == 0


def inconsistency(x: Tensor, magnitude: Tensor, res: Resolution) -> float:
    """Squared distance of the linked magnitude to the goal over the whole circle of frequencies."""
    difference = (linked_magnitude(x, res) - magnitude).square()
    difference[:, 1:-1] *= 2
    return float(difference.sum())


@pytest.mark.parametrize("channels", [1, 3])
def test_griffin_lim_never_increases_the_distance(channels: int) -> None:
    """Without momentum each step brings the magnitude nearer or leaves it (Griffin & Lim 1984), for any goal."""
    x = noise(1, 1, channels, 400)
    goal = noise(2, 1, SMALL.bins, SMALL.frames(400)).abs() * 4
    seen = [inconsistency(fast_griffin_lim(x, goal, SMALL, n, momentum=0.0), goal, SMALL) for n in range(13)]
    assert all(b <= a * (1 + 1e-9) for a, b in pairwise(seen))
    assert seen[-1] < 0.8 * seen[0]


def test_momentum_gets_there_sooner() -> None:
    """With momentum 0.99 forty steps end nearer than forty without (Perraudin 2013)."""
    x, goal = noise(1, 1, 1, 400), linked_magnitude(noise(2, 1, 1, 400), SMALL)
    plain, fast = (fast_griffin_lim(x, goal, SMALL, 40, momentum=m) for m in (0.0, 0.99))
    assert inconsistency(fast, goal, SMALL) < inconsistency(plain, goal, SMALL)


def test_griffin_lim_leaves_what_has_the_magnitude() -> None:
    """A sound that has the goal already comes back to 1e-9; no steps return the very tensor."""
    x, res = noise(1, 2, 2, 300), Resolution(64, 16, 0.5)
    assert torch.allclose(fast_griffin_lim(x, linked_magnitude(x, res), res, 5), x, atol=1e-9)
    assert fast_griffin_lim(x, linked_magnitude(x, res), res, 0) is x


def test_griffin_lim_keeps_the_ratios_of_channels() -> None:
    """Channels in the ratio 1 : 0.4 : −0.1 stay so in every bin (1e-9), with momentum too, and silence is finite."""
    ratio = torch.tensor([1.0, 0.4, -0.1], dtype=torch.float64)[:, None]
    x = noise(1, 1, 1, 400) * ratio
    out = fast_griffin_lim(x, noise(2, 1, SMALL.bins, SMALL.frames(400)).abs(), SMALL, 6)
    assert torch.allclose(stft(out, SMALL), stft(out[:, :1], SMALL) * ratio[:, None], atol=1e-9)
    silent = fast_griffin_lim(0 * x, linked_magnitude(x, SMALL), SMALL, 3)
    assert not silent.any()


@pytest.mark.parametrize("budget", [Budget(waveform=8), Budget(warm=10, griffin_lim=4, waveform=6)])
def test_a_draft_takes_the_style_on(goal: Goal, budget: Budget) -> None:
    """Distance to the style falls by half or more; every evaluation is told, with losses that never rise."""
    x, told = sound("riff"), list[tuple[int, int, float]]()
    out = solve_draft(Work(x, 1.0, "draft", 0), goal, RATE, lambda *event: told.append(event), budget)
    u = active_patches(Picture(x).magnitude(MAIN))
    before, after = (float(kernel.style(Picture(y).folded(MAIN), goal.patches, u, goal.weights)) for y in (x, out))
    assert after < 0.5 * before
    assert out.shape == x.shape
    assert [event[:2] for event in told] == [(k + 1, budget.waveform) for k in range(budget.waveform)]
    losses = [event[2] for event in told]
    if not budget.warm:
        style, _ = classic_weights(1.0, budget.alpha)
        assert losses[0] == pytest.approx(style * before, rel=1e-3), "at the stem there is only style to lose"
    assert sorted(losses, reverse=True) == losses


def test_a_second_pass_begins_where_it_is_told(goal: Goal) -> None:
    """Given a start there is no warm start; its loss is the first one told, and a share of evaluations is taken."""
    x, told = sound("riff"), list[float]()
    first = solve_draft(Work(x, 1.0, "draft", 0), goal, RATE, lambda *_: None, Budget())
    work = Work(x, 1.0, "draft", 0, start=first, share=0.5)
    solve_draft(work, goal, RATE, lambda n, count, loss: told.append(loss), Budget(warm=5))
    assert len(told) == 4
    again = list[float]()
    solve_draft(Work(x, 1.0, "draft", 0), goal, RATE, lambda n, count, loss: again.append(loss), Budget())
    assert told[0] == pytest.approx(again[-1], rel=1e-4)
    assert math.isfinite(told[-1])
