"""Statistics and features as losses: right gradients, nothing at the target, nothing infinite at silence."""

import math

import pytest
import torch
from torch import Tensor

from engine.parts.features import Bands, Features, Identity, Layer, Maps, Network
from engine.parts.networks import Linear, Planes, Random
from engine.parts.statistics import Gram, Squares, Statistic

FEATURES: list[Features] = [
    Identity(),
    Identity(rows=True),
    Bands(3, 0),
    Random(12, 3),
    Random(6, 2, layers=2, all_layers=True),
    Linear(10, 3),
    Planes((3, (5, 2)), 4, 0.5),
    Planes((3, 5), 4, 0.0, joint=True),
]
STATISTICS: list[Statistic] = [
    *(Gram(scale, rows) for scale in ("sum", "relative") for rows in (False, True)),
    Gram("mean"),
    Gram("maps"),
]


def view(seed: int, frames: int, bins: int = 6) -> Tensor:
    """A view ``[1, 1, bins, frames]`` of positive numbers in double."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(1, 1, bins, frames, generator=generator, dtype=torch.float64) + 0.05


def layers(network: Network, x: Tensor) -> list[Layer]:
    """The layers of a view all of whose frames count alike."""
    frames = torch.ones(x.shape[0], x.shape[-1], dtype=x.dtype)
    return [Layer(maps.values, maps.weights(frames), maps.share) for maps in network(x)]


def total(network: Network, statistic: Statistic, goal: Tensor, x: Tensor) -> Tensor:
    """The distance of all layers of ``x`` to those of ``goal``."""
    pairs = zip(layers(network, goal), layers(network, x), strict=True)
    return torch.stack([statistic.against(g)(layer) for g, layer in pairs]).sum(0)


@pytest.mark.parametrize("features", FEATURES, ids=repr)
@pytest.mark.parametrize("statistic", STATISTICS, ids=repr)
def test_gradients_in_double(features: Features, statistic: Statistic) -> None:
    """Every pair of features and statistic passes gradcheck against a style of another length."""
    x, goal = view(1, 9).requires_grad_(), view(2, 13)
    network = features.ready(x, 8000, 3)
    assert torch.autograd.gradcheck(lambda v: total(network, statistic, goal, v), (x,))


@pytest.mark.parametrize("features", FEATURES, ids=repr)
@pytest.mark.parametrize("statistic", STATISTICS, ids=repr)
def test_zero_at_the_target_and_finite_at_silence(features: Features, statistic: Statistic) -> None:
    """A goal is at no distance from itself, to rounding; silence has a finite loss with a finite gradient."""
    goal = view(2, 13)
    network = features.ready(goal, 8000, 3)
    silence = torch.zeros(1, 1, 6, 9, dtype=torch.float64, requires_grad=True)
    away = total(network, statistic, goal, silence)
    assert float(away.detach()) > 0
    assert abs(float(total(network, statistic, goal, goal))) < 1e-12 * float(away.detach())
    away.sum().backward()
    assert silence.grad is not None
    assert math.isfinite(float(away.detach()))
    assert bool(silence.grad.isfinite().all())


@pytest.mark.parametrize("scale", ["sum", "mean", "maps", "relative"])
def test_squares_of_aligned_features(scale: str) -> None:
    """Squared differences: zero at the stem itself, right gradients, and each scale its own multiple of the sum."""
    x, goal = view(1, 9).requires_grad_(), view(2, 9)
    network = Random(12, 3).ready(x, 8000, 0)
    assert torch.autograd.gradcheck(lambda v: total(network, Squares(scale), goal, v), (x,))
    assert float(total(network, Squares(scale), goal, goal)) == 0
    values = network(goal)[0].values
    unit = {"sum": 1.0, "mean": values.numel(), "maps": 144.0, "relative": float(values.square().sum())}[scale]
    plain = float(total(network, Squares("sum"), goal, x).detach())
    assert float(total(network, Squares(scale), goal, x).detach()) == pytest.approx(plain / unit)


def test_gram_is_the_same_both_ways() -> None:
    """With more maps than positions the distance goes through positions, and is that of the matrices all the same."""
    x, goal = view(1, 5), view(2, 7)
    network = Random(64, 3).ready(x, 8000, 0)
    a, b = (network(v)[0].values[0, :, 0] for v in (x, goal))
    expected = float((a @ a.T / a.shape[1] - b @ b.T / b.shape[1]).square().sum())
    assert float(total(network, Gram(), goal, x)) == pytest.approx(expected)
    few = Random(3, 3).ready(x, 8000, 0)
    a, b = (few(v)[0].values[0, :, 0] for v in (x, goal))
    expected = float((a @ a.T / a.shape[1] - b @ b.T / b.shape[1]).square().sum())
    assert float(total(few, Gram(), goal, x)) == pytest.approx(expected)


def test_a_gram_of_means_does_not_care_how_long_a_style_is() -> None:
    """A style played twice is the same style (up to the frames across the joint): no resizing, no growing sums."""
    goal = view(2, 40)
    network = Identity().ready(goal, 8000, 0)
    x = view(1, 30)
    once, twice = (float(total(network, Gram(), g, x)) for g in (goal, torch.cat([goal, goal], -1)))
    assert twice == pytest.approx(once)


def test_weights_decide_what_counts() -> None:
    """Positions without weight might hold anything; a row of weights sums to one."""
    x, goal = view(1, 12), view(2, 12)
    frames = torch.ones(1, 12, dtype=torch.float64)
    frames[:, 8:] = 0
    network = Random(12, 3).ready(x, 8000, 0)

    def distance(v: Tensor) -> float:
        maps = network(v)[0]
        weights = maps.weights(frames)
        assert float(weights.sum()) == pytest.approx(1)
        goals = layers(network, goal)[0]
        heard = torch.where(torch.arange(10) < 6, weights, torch.zeros_like(weights))
        return float(Gram().against(goals)(Layer(maps.values, heard)))

    other = x.clone()
    other[..., 8:] = 7.0
    assert distance(other) == pytest.approx(distance(x))


@pytest.mark.parametrize(
    ("maps", "expected"),
    [
        (Maps(torch.zeros(1, 1, 1, 4), width=3), [1 / 3, 2 / 3, 1, 1]),
        (Maps(torch.zeros(1, 1, 1, 6), width=3, padding=1), [0, 1 / 3, 2 / 3, 1, 1, 2 / 3]),
        (Maps(torch.zeros(1, 1, 1, 3), width=2, stride=2), [0, 1, 1]),
        (Maps(torch.zeros(1, 1, 1, 3), width=0), [0, 1, 1]),
    ],
)
def test_positions_count_as_the_frames_they_see(maps: Maps, expected: list[float]) -> None:
    """Two silent frames, then four that sound: a position counts by how many of those it sees."""
    frames = torch.tensor([[0.0, 0, 1, 1, 1, 1]])
    found = maps.weights(frames)[0]
    assert found.tolist() == pytest.approx([e / sum(expected) for e in expected])


def test_a_seed_is_a_network() -> None:
    """The same seed draws the same filters, another one others; a view on its own is looked at as in a batch."""
    x = view(1, 9)
    for features in FEATURES[3:]:
        first, again, other = (features.ready(x, 8000, seed)(x)[0].values for seed in (4, 4, 5))
        assert torch.equal(first, again)
        assert not torch.equal(first, other)
        pair = features.ready(x, 8000, 4)(torch.cat([x, view(2, 9)]))[0].values
        assert torch.allclose(pair[:1], first)


def test_bands_are_spread_as_mels_are() -> None:
    """24 rows of 1025 bins: closer together below than above, each with its neighbours around it."""
    middles = Bands(11, 24).middles(1025, 22050)
    assert middles.shape == (24,)
    assert int(middles[1] - middles[0]) < int(middles[-1] - middles[-2]) / 3
    x = view(1, 4, bins=30)
    rows = Bands(3, 0).ready(x, 8000, 0)(x)[0].values
    assert rows.shape == (1, 3, 30, 4)
    assert torch.equal(rows[0, :, 10], x[0, 0, 9:12])
    assert bool((rows[0, 0, 0] == 0).all())


def test_sizes_side_by_side_share_their_middles() -> None:
    """A click in frame 20: the maps of every size of a joint layer answer around position 20."""
    click = torch.zeros(1, 1, 9, 41)
    click[..., 20] = 1
    values = Planes((3, 5, 9), 16, 0.0, joint=True).ready(click, 8000, 1)(click)[0].values
    assert values.shape == (1, 48, 9, 41)
    still = values[..., :1]
    for number, size in enumerate((3, 5, 9)):
        mine = values[:, 16 * number : 16 * (number + 1)]
        heard = ((mine - still[:, 16 * number : 16 * (number + 1)]).abs() > 1e-6).any(1)[0].any(0).nonzero()[:, 0]
        assert (int(heard.min()) + int(heard.max())) / 2 == 20
        assert len(heard) == size
