"""Styles in closed form reach the statistics they promise, and no others are disturbed."""

import pytest
import torch
from torch import Tensor

from engine.parts.moves import (
    Adain,
    Attention,
    Covariance,
    Histogram,
    Move,
    Transport,
    monge_map,
    whitening_map,
)
from engine.parts.quantiles import Quantiles

BINS, FRAMES, THEIRS = 12, 90, 130


def views(seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A stem's view and a style's with correlated bins, in double, and uneven weights of their frames."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    view = draw(BINS, BINS) @ draw(BINS, FRAMES) + draw(BINS, FRAMES) + 1
    goal = draw(BINS, BINS) @ draw(BINS, THEIRS).square() * 2 + draw(BINS, THEIRS)
    weights, counts = draw(FRAMES) + 0.1, draw(THEIRS) + 0.1
    return view, weights / weights.sum(), goal, counts / counts.sum()


def moments(view: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Mean ``[bins]`` and covariance ``[bins, bins]``."""
    mean = view @ weights
    centred = view - mean[:, None]
    return mean, (centred * weights) @ centred.T


def test_adain_reaches_mean_and_deviation() -> None:
    """Mean and deviation of every bin are the style's to 1e-4 of it, and bins keep their correlations."""
    view, weights, goal, counts = views()
    moved = Adain().against(goal, counts)(view, weights)
    (mean, covariance), (goal_mean, goal_covariance) = moments(moved, weights), moments(goal, counts)
    torch.testing.assert_close(mean, goal_mean, rtol=1e-4, atol=0)
    torch.testing.assert_close(covariance.diagonal(), goal_covariance.diagonal(), rtol=1e-4, atol=0)
    torch.testing.assert_close(_correlation(covariance), _correlation(moments(view, weights)[1]))


def _correlation(covariance: Tensor) -> Tensor:
    deviation = covariance.diagonal().sqrt()
    return covariance / deviation[:, None] / deviation


@pytest.mark.parametrize(
    "move", [Covariance("wct", 0), Covariance("monge", 0), Covariance("wct", BINS), Covariance("monge", BINS)], ids=str
)
def test_covariances_are_reached(move: Move) -> None:
    """Mean and covariance of all bins are the style's, to 1e-4 of the greatest."""
    view, weights, goal, counts = views()
    mean, covariance = moments(move.against(goal, counts)(view, weights), weights)
    goal_mean, goal_covariance = moments(goal, counts)
    torch.testing.assert_close(mean, goal_mean, rtol=1e-4, atol=0)
    torch.testing.assert_close(covariance, goal_covariance, rtol=0, atol=1e-4 * float(goal_covariance.max()))


def test_more_bins_than_frames() -> None:
    """Where frames span less than all bins, the covariance is reached in what the stem spans, the mean everywhere."""
    generator = torch.Generator().manual_seed(5)
    view, goal = (torch.randn(60, n, generator=generator, dtype=torch.float64) for n in (30, 25))
    weights, counts = (torch.full((n,), 1 / n, dtype=torch.float64) for n in (30, 25))
    moved = Covariance("monge", 0).against(goal, counts)(view, weights)
    mean, covariance = moments(moved, weights)
    goal_mean, goal_covariance = moments(goal, counts)
    torch.testing.assert_close(mean, goal_mean, rtol=0, atol=1e-9)
    span = torch.linalg.svd(view - view.mean(1, keepdim=True))[0][:, :29]
    torch.testing.assert_close(span.T @ covariance @ span, span.T @ goal_covariance @ span, rtol=0, atol=1e-4)


def test_the_monge_map_moves_least() -> None:
    """It is symmetric and positive, and moves the stem less than whitening and colouring does."""
    view, weights, goal, counts = views()
    own, theirs = moments(view, weights)[1], moments(goal, counts)[1]
    turn = monge_map(own, theirs)
    torch.testing.assert_close(turn, turn.T, rtol=0, atol=1e-8)
    assert float(torch.linalg.eigvalsh(turn)[0]) > 0
    centred = view - (view @ weights)[:, None]

    def displaced(by: Tensor) -> float:
        return float(((by @ centred - centred).square() * weights).sum())

    assert displaced(turn) < displaced(whitening_map(own, theirs))
    # W2² of centred Gaussians (Olkin & Pukelsheim): tr(C + S − 2 (C^½ S C^½)^½)
    values, vectors = torch.linalg.eigh(own)
    root = (vectors * values.sqrt()) @ vectors.T
    distance = (own + theirs).trace() - 2 * torch.linalg.eigvalsh(root @ theirs @ root).sqrt().sum()
    assert displaced(turn) == pytest.approx(float(distance), rel=1e-4)


def test_a_covariance_shrunk_all_the_way_is_adain() -> None:
    """With shrink 1 nothing but the diagonal counts."""
    view, weights, goal, counts = views()
    moved = Covariance("monge", 0, 1.0).against(goal, counts)(view, weights)
    torch.testing.assert_close(moved, Adain().against(goal, counts)(view, weights))


def test_shrinking_keeps_the_diagonal() -> None:
    """Half way the deviation of every bin is the style's still, and correlations lie nearer to it than AdaIN's."""
    view, weights, goal, counts = views()

    def found(move: Move) -> Tensor:
        return moments(move.against(goal, counts)(view, weights), weights)[1]

    goal_covariance = moments(goal, counts)[1]
    full, half, none = (found(Covariance("monge", 0, shrink)) for shrink in (0.01, 0.5, 1.0))
    torch.testing.assert_close(full, goal_covariance, rtol=0, atol=0.05 * float(goal_covariance.max()))
    distances = [float((c - goal_covariance).norm()) for c in (full, half, none)]
    assert distances == sorted(distances)
    assert distances[0] < distances[2]


@pytest.mark.parametrize("frames", [FRAMES, THEIRS, 7])
def test_histogram_reaches_every_quantile(frames: int) -> None:
    """Every bin's quantiles are the style's; of as many frames, its very values; and the order of frames stays."""
    view, _, goal, _ = views()
    view = view[:, torch.arange(frames) % FRAMES] + torch.arange(frames) * 1e-6
    even, theirs = (torch.full((n,), 1 / n, dtype=torch.float64) for n in (frames, THEIRS))
    moved = Histogram().against(goal, theirs)(view, even)
    assert torch.equal(moved.argsort(-1), view.argsort(-1))
    places = ((torch.arange(frames, dtype=torch.float64) + 0.5) / frames).expand(BINS, -1)
    wanted = Quantiles.of(goal, theirs).at(places)
    torch.testing.assert_close(moved.sort(-1)[0], wanted)
    if frames == THEIRS:
        torch.testing.assert_close(moved.sort(-1)[0], goal.sort(-1)[0])


def test_few_quantiles_are_near_all_of_them() -> None:
    """A table of 128 quantiles is within 2 % of the spread of each bin of all of them, but for the last hundredth."""
    view, weights, goal, counts = views()
    exact, near = (Histogram(steps).against(goal, counts)(view, weights) for steps in (0, 128))
    spread = goal.amax(1) - goal.amin(1)
    error = ((exact - near).abs() / spread[:, None]).quantile(0.99)
    assert float(error) < 0.02


def test_quantiles_follow_weights() -> None:
    """A value that counts twice is worth two of it, and one value alone is every quantile."""
    once = Quantiles.of(torch.tensor([[1.0, 2.0, 2.0, 5.0]]), torch.full((4,), 0.25))
    twice = Quantiles.of(torch.tensor([[5.0, 2.0, 1.0]]), torch.tensor([0.25, 0.5, 0.25]))
    ends = torch.tensor([[0.0, 0.125, 0.5, 0.875, 1.0]])
    torch.testing.assert_close(once.at(ends), twice.at(ends))
    alone = Quantiles.of(torch.tensor([[3.0]]), torch.ones(1))
    assert alone.at(ends).unique().tolist() == [3.0]


MOVES: list[Move] = [
    Adain(),
    Covariance("wct", 6),
    Covariance("monge", 6, 0.5),
    Histogram(),
    Transport(),
    Attention(width=1, temperature=1e-3),
]


@pytest.mark.parametrize("move", MOVES, ids=str)
def test_a_style_of_its_own_changes_nothing(move: Move) -> None:
    """Moved to itself a view stays (3 % of its deviation: a table of quantiles cuts the ends)."""
    view, weights, _, _ = views()
    moved = move.against(view, weights)(view, weights)
    assert float((moved - view).square().mean().sqrt()) < 0.03 * float(view.std())


@pytest.mark.parametrize("move", MOVES, ids=str)
def test_silence_does_not_count(move: Move) -> None:
    """Frames of the style without weight, and of the stem, have no say in where the others go."""
    view, weights, goal, counts = views()
    plain = move.against(goal, counts)(view, weights)
    longer = torch.cat([goal, torch.full((BINS, 20), 50.0, dtype=goal.dtype)], 1)
    silent = torch.cat([counts, torch.zeros(20, dtype=counts.dtype)])
    wide = torch.cat([view, torch.full((BINS, 9), -3.0, dtype=view.dtype)], 1)
    quiet = torch.cat([weights, torch.zeros(9, dtype=weights.dtype)])
    moved = move.against(longer, silent)(wide, quiet)[:, :FRAMES]
    torch.testing.assert_close(moved, plain, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("move", MOVES, ids=str)
def test_what_does_not_vary_is_finite(move: Move) -> None:
    """A stem that stands still, or is silent, takes the mean of the style and nothing that is not a number."""
    _, _, goal, counts = views()
    still = torch.ones(BINS, FRAMES, dtype=goal.dtype)
    for weights in (torch.full((FRAMES,), 1 / FRAMES, dtype=goal.dtype), torch.zeros(FRAMES, dtype=goal.dtype)):
        assert torch.isfinite(move.against(goal, counts)(still, weights)).all()


def test_attention_takes_frames_of_the_style() -> None:
    """Without residual and at a low temperature every frame is one of the style's own."""
    view, weights, goal, counts = views()
    taken = Attention(width=1, temperature=1e-4, residual=0.0).against(goal, counts)(view, weights)
    nearest = torch.cdist(taken.T, goal.T).amin(1)
    assert float(nearest.median()) < 1e-6
