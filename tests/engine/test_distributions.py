"""Statistics of distributions and envelopes: gradients, zero at the style, finite in silence, and known values."""

import math

import pytest
import torch
from torch.autograd import gradcheck

from engine.parts.auditory import (
    CrossCorrelations,
    Levels,
    Marginals,
    ModulationCorrelations,
    ModulationPower,
)
from engine.parts.envelopes import FrequencyEnvelope, TimeEnvelope
from engine.parts.features import Layer
from engine.parts.optimal_transport import Gaussian, Sliced
from engine.parts.stacks import Stack
from engine.parts.statistics import Statistic

STATISTICS: list[Statistic] = [
    Sliced(),
    Sliced(directions=7, rows=True),
    Gaussian(),
    Gaussian(rows=False, scale="sum"),
    FrequencyEnvelope(),
    TimeEnvelope(),
    Levels(),
    Marginals(),
    CrossCorrelations(),
    ModulationPower(filters=4),
    ModulationCorrelations(filters=3),
]


def layer(seed: int, *, batch: int = 1, rows: int = 3, positions: int = 24, even: bool = False) -> Layer:
    """Five maps of noise above zero, in double, weights uneven unless ``even``."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.rand(batch, 5, rows, positions, generator=generator, dtype=torch.float64) + 0.2
    weights = torch.rand(batch, positions, generator=generator, dtype=torch.float64) + 0.1
    if even:
        weights = torch.ones_like(weights)
    return Layer(values, weights / weights.sum(-1, keepdim=True))


@pytest.mark.parametrize("statistic", STATISTICS, ids=str)
def test_gradients_are_those_of_differences(statistic: Statistic) -> None:
    """Every distance has the gradient that finite differences see, in double."""
    goal = layer(1, rows=2, positions=24 if isinstance(statistic, TimeEnvelope) else 31)
    distance = statistic.against(goal)
    at = layer(2, batch=2, rows=1 if isinstance(statistic, Levels | Marginals | CrossCorrelations) else 2)
    values = at.values.clone().requires_grad_(True)
    assert gradcheck(lambda v: distance(Layer(v, at.weights)), (values,), atol=1e-6, rtol=1e-4, fast_mode=True)


@pytest.mark.parametrize("statistic", STATISTICS, ids=str)
def test_zero_at_the_style_and_above_it_elsewhere(statistic: Statistic) -> None:
    """The style itself is at distance 0 (1e-12), anything else is further."""
    goal = layer(1)
    distance = statistic.against(goal)
    assert float(distance(goal)) < 1e-12
    assert float(distance(layer(2))) > 1e-4


@pytest.mark.parametrize("statistic", STATISTICS, ids=str)
@pytest.mark.parametrize("which", ["stem", "style", "both"])
def test_silence_is_finite(statistic: Statistic, which: str) -> None:
    """A silent stem, a silent style, and both, weightless: a finite distance with a finite gradient."""
    silent = Layer(torch.zeros(1, 5, 3, 24, dtype=torch.float64), torch.zeros(1, 24, dtype=torch.float64))
    goal, at = (silent if which in (name, "both") else layer(3) for name in ("style", "stem"))
    values = at.values.clone().requires_grad_(True)
    found = statistic.against(goal)(Layer(values, at.weights))
    found.sum().backward()
    assert torch.isfinite(found).all()
    assert values.grad is not None
    assert torch.isfinite(values.grad).all()


@pytest.mark.parametrize("statistic", STATISTICS, ids=str)
def test_problems_of_a_batch_do_not_mix(statistic: Statistic) -> None:
    """The distance of each problem is the one it has alone."""
    distance, both = statistic.against(layer(1)), layer(4, batch=2)
    alone = [distance(Layer(both.values[k : k + 1], both.weights[k : k + 1])) for k in range(2)]
    torch.testing.assert_close(distance(both), torch.cat(alone))


@pytest.mark.parametrize("statistic", [s for s in STATISTICS if not isinstance(s, TimeEnvelope | ModulationPower)][:5])
def test_a_style_of_another_length_needs_no_stretching(statistic: Statistic) -> None:
    """A style played twice is the same style: distances differ by less than 1e-6 of themselves."""
    goal, at = layer(1, even=True), layer(2, even=True)
    twice = Layer(goal.values.repeat(1, 1, 1, 2), goal.weights.repeat(1, 2) / 2)
    once, again = (float(statistic.against(g)(at)) for g in (goal, twice))
    if isinstance(statistic, Sliced):  # quantiles between two values lie elsewhere when each is there twice
        assert again == pytest.approx(once, rel=0.05)
    else:
        assert again == pytest.approx(once, rel=1e-6)


def test_sliced_distance_of_a_shift_is_its_square() -> None:
    """Values moved by v in all positions: the mean over directions is |v|², whatever their order."""
    goal = layer(1, rows=1, even=True)
    shift = torch.tensor([0.3, -0.1, 0.0, 0.2, 0.5], dtype=torch.float64)
    order = torch.randperm(24, generator=torch.Generator().manual_seed(0))
    moved = Layer((goal.values + shift[:, None, None])[..., order], goal.weights)
    found = float(Sliced(directions=20_000).against(goal)(moved))
    assert found == pytest.approx(float(shift.square().sum()), rel=0.03)  # 20 000 directions: 1 % of noise


def test_gaussian_distance_in_closed_form() -> None:
    """N(0, 1) and N(3, 2): 3² + 1² for each map and row."""
    noise = torch.tensor([-1.0, 1.0]).repeat(50).double()
    weights = torch.full((1, 100), 0.01, dtype=torch.float64)
    goal, at = (Layer(v.expand(1, 2, 4, -1), weights) for v in (noise, 3 + 2 * noise))
    assert float(Gaussian(scale="sum").against(goal)(at)) == pytest.approx(2 * 10, rel=1e-6)
    assert float(Gaussian(rows=False, scale="sum").against(goal)(at)) == pytest.approx(2 * 10, rel=1e-6)
    assert float(Gaussian().against(goal)(at)) == pytest.approx(10, rel=1e-6)


def test_envelopes_know_no_gain_and_are_never_stretched() -> None:
    """Louder is no further; a time envelope half as long is played twice."""
    at = layer(2, even=True)
    louder = Layer(at.values * 3, at.weights)
    for statistic in (FrequencyEnvelope(), TimeEnvelope()):
        assert float(statistic.against(at)(louder)) < 1e-12
    loop = Layer(at.values[..., :12], at.weights[..., :12] * 2)
    played = Layer(loop.values.repeat(1, 1, 1, 2), at.weights)
    assert float(TimeEnvelope().against(loop)(played)) < 1e-12
    stretched = Layer(loop.values.repeat_interleave(2, -1), at.weights)
    assert float(TimeEnvelope().against(loop)(stretched)) > 1e-3


def test_a_stack_is_a_seed() -> None:
    """The same seed is the same network; sizes halve from layer to layer, and variance neither vanishes nor grows."""
    view = torch.randn(1, 1, 64, 96, generator=torch.Generator().manual_seed(0)).abs()
    maps = [Stack((8, 16, 16)).ready(view, 22050, seed)(view) for seed in (0, 0, 1)]
    assert [tuple(m.values.shape[1:]) for m in maps[0]] == [(8, 64, 96), (16, 32, 48), (16, 16, 24)]
    for one, same, other in zip(*maps, strict=True):
        assert torch.equal(one.values, same.values)
        assert not torch.equal(one.values, other.values)
        assert 0.1 < float(one.values.square().mean().sqrt()) < 10
    assert [math.prod(s) for s in Stack().shapes(1)] == [288, 18_432, 36_864]
    tiny = torch.zeros(1, 1, 3, 1)
    assert all(torch.isfinite(m.values).all() for m in Stack().ready(tiny, 22050, 0)(tiny))
