"""The limits of infinitely many filters: equal to the mean of explicit networks, with gradients to match."""

import math

import pytest
import torch
from torch import Tensor

from engine.kernel import network_scale
from engine.parts.features import Bands, Identity, Layer, Maps
from engine.parts.mmd import KERNELS, Mmd, arc_cosine
from engine.parts.networks import Linear, Planes, Random

BINS, WIDTH = 8, 3


def half_full(frames: int, seed: int, *, upper: bool) -> Tensor:
    """A view ``[1, 1, bins, frames]`` in double with its energy in the upper or the lower half of its bins."""
    view = torch.rand(1, 1, BINS, frames, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    quiet = slice(None, BINS // 2) if upper else slice(BINS // 2, None)
    view[:, :, quiet] *= 0.05
    return view


X, S = half_full(30, 1, upper=False), half_full(24, 2, upper=True)


def evenly(maps: Maps) -> Layer:
    """A layer whose positions count alike."""
    positions = maps.values.shape[-1]
    return Layer(maps.values, torch.full((1, positions), 1 / positions, dtype=maps.values.dtype))


def limit(statistic: Mmd, x: Tensor = X, s: Tensor = S) -> float:
    """The squared MMD of two views whose bins are maps."""
    look = Identity().ready(x, 8000, 0)
    return float(statistic.against(evenly(look(s)[0]))(evenly(look(x)[0])))


def between_filters(a: Tensor, b: Tensor) -> float:
    """Mean squared difference of two Gram matrices off the diagonal, of features ``[filters, frames]``.

    What one filter has to do with itself is of order 1/F beside the rest, and no part of the limit.
    """
    a, b = a / a.shape[1] ** 0.5, b / b.shape[1] ** 0.5
    everything = (a.T @ a).square().sum() - 2 * (a.T @ b).square().sum() + (b.T @ b).square().sum()
    own = (a.square().sum(1) - b.square().sum(1)).square().sum()
    return float(everything - own) / (a.shape[0] * (a.shape[0] - 1))


def test_the_arc_cosine_limit_is_the_mean_of_its_networks() -> None:
    """One rectified layer: 1.6 million filters in 24 networks come within 1 % of the closed form."""
    filters, seeds = 65536, 24
    variance = network_scale(BINS, filters, WIDTH)[1] / filters
    found = []
    for seed in range(seeds):
        network = Random(filters, WIDTH).ready(X, 8000, seed)
        a, b = (network(view)[-1].values[0, :, 0] for view in (X, S))
        found.append(between_filters(a, b) / variance**2)
    assert sum(found) / seeds == pytest.approx(limit(Mmd("arc-cosine", WIDTH)), rel=0.01)


def test_the_linear_limit_is_the_mean_of_its_networks() -> None:
    """Dipani's layer with its biases and the silence at its ends: within 1 %."""
    filters, seeds = 65536, 16
    silence = torch.zeros(1, 1, BINS, WIDTH // 2, dtype=torch.float64)
    x, s = (torch.cat([silence, view, silence], -1) for view in (X, S))
    found = []
    for seed in range(seeds):
        network = Linear(filters, WIDTH).ready(X, 8000, seed)
        a, b = (network(view)[-1].values[0, :, 0] for view in (X, S))
        found.append(between_filters(a, b) * (3 * BINS * WIDTH) ** 2)  # weights have variance 1 / (3 · inputs)
    assert sum(found) / seeds == pytest.approx(limit(Mmd("linear", WIDTH), x, s), rel=0.01)


def test_the_two_layer_limit_is_the_mean_of_its_networks() -> None:
    """Over first layers of 65 536 filters the second layer's own limit averages to the closed form of both, to 1 %.

    The second layer on given features is the one-layer case; drawing both would need minutes for as small an error.
    """
    filters, found = 65536, []
    one = Mmd("arc-cosine", WIDTH)
    for seed in range(24):
        network = Random(filters, WIDTH).ready(X, 8000, seed)
        first = network_scale(BINS, filters, WIDTH)[1] * WIDTH
        x, s = (network(view)[-1].values.transpose(1, 2) / math.sqrt(first) for view in (X, S))
        found.append(limit(one, x, s))
    assert sum(found) / len(found) == pytest.approx(limit(Mmd("two-layer", WIDTH)), rel=0.01)


def test_two_explicit_layers_tend_to_their_limit() -> None:
    """With both layers drawn, 512 filters each, 100 networks: within 5 %, which is twice their standard error."""
    filters, seeds, found = 512, 100, []
    first = network_scale(BINS, filters, WIDTH)[1]
    scale = (4 / (2 * filters * WIDTH) * first * WIDTH) ** 2
    for seed in range(seeds):
        network = Random(filters, WIDTH, 2).ready(X, 8000, seed)
        a, b = (network(view)[-1].values[0, :, 0] for view in (X, S))
        found.append(between_filters(a, b) / scale)
    assert sum(found) / seeds == pytest.approx(limit(Mmd("two-layer", WIDTH)), rel=0.05)


@pytest.mark.parametrize("size", [3, 7])
def test_the_texture_limit_is_the_mean_of_its_networks(size: int) -> None:
    """Square filters, each row by itself, weights even in ± 0.05: within 1 %, though they are not Gaussian."""
    x, s = X[:, :, 1:7], S[:, :, 1:7]
    look, statistic = Bands(size, 0).ready(x, 8000, 0), Mmd("arc-cosine", size)
    expected = float(statistic.against(evenly_wide(look(s)[0], size))(evenly_wide(look(x)[0], size)))
    found = []
    for seed in range(16):
        network = Planes((size,), 32768).ready(x, 8000, seed)
        a, b = (network(view)[-1].values[0] for view in (x, s))
        rows = [between_filters(a[:, row], b[:, row]) for row in range(x.shape[2])]
        found.append(sum(rows) / len(rows) / (0.05**2 / 3) ** 2)
    assert sum(found) / len(found) == pytest.approx(expected, rel=0.01)


def evenly_wide(maps: Maps, width: int) -> Layer:
    """A layer whose patches of ``width`` count alike."""
    frames = torch.ones(1, maps.values.shape[-1], dtype=maps.values.dtype)
    return Layer(maps.values, frames / frames.sum())


@pytest.mark.parametrize(("kernel", "layers"), [("arc-cosine", 1), ("two-layer", 2)])
def test_the_classic_scale(kernel: str, layers: int) -> None:
    """With ``filters`` the loss is that expected of explicit networks: 40 of them come within a tenth."""
    statistic = Mmd(kernel, WIDTH, filters=512)
    found = []
    for seed in range(40):
        network = Random(512, WIDTH, layers).ready(X, 8000, seed)
        a, b = (network(view)[-1].values[0, :, 0] for view in (X, S))
        found.append(between_filters(a, b) * 512**2)
    assert sum(found) / len(found) == pytest.approx(limit(statistic), rel=0.1)


@pytest.mark.parametrize("kernel", KERNELS)
def test_gradients_in_double(kernel: str) -> None:
    """The derivatives are those of the values, to gradcheck's 1e-3 relative."""
    x = (X[..., :9] + 0.1).requires_grad_()
    statistic = Mmd(kernel, WIDTH)
    look = Identity().ready(x, 8000, 0)
    distance = statistic.against(evenly(look(S[..., :8])[0]))
    assert torch.autograd.gradcheck(lambda v: distance(evenly(look(v)[0])), (x,))


def test_arc_cosine_gradients_where_both_are_the_same() -> None:
    """At d = |x||y|, where arccos has no slope, the derivative is finite and that of |x|²/2."""
    d = torch.tensor([4.0], dtype=torch.float64, requires_grad=True)
    norms = torch.tensor([4.0], dtype=torch.float64)
    value = arc_cosine(d, norms, norms)
    value.sum().backward()
    assert float(value.detach()) == pytest.approx(2.0)
    assert d.grad is not None
    assert float(d.grad) == pytest.approx(0.5)


@pytest.mark.parametrize("kernel", KERNELS)
def test_zero_at_the_target_and_finite_at_silence(kernel: str) -> None:
    """The same view has distance 0 to rounding; silence has a finite one, and a finite gradient."""
    statistic = Mmd(kernel, WIDTH)
    assert abs(limit(statistic, S, S)) < 1e-9 * limit(statistic)
    silence = torch.zeros_like(X, requires_grad=True)
    look = Identity().ready(silence, 8000, 0)
    value = statistic.against(evenly(look(S)[0]))(evenly(look(silence)[0])).sum()
    value.backward()
    assert silence.grad is not None
    assert math.isfinite(float(value.detach()))
    assert bool(silence.grad.isfinite().all())


def test_patches_across_joints_count_nothing() -> None:
    """Two runs end to end: no patch reaches from one into the other, and what is left sums to one."""
    weights = Mmd("linear", WIDTH).patch_weights(Layer(X[:, 0, :, None], torch.full((1, 30), 1 / 30), runs=(12, 18)))
    assert weights.shape == (1, 28)
    assert (weights[0] == 0).nonzero()[:, 0].tolist() == [10, 11]
    assert float(weights.sum()) == pytest.approx(1)


def test_a_sound_shorter_than_a_patch() -> None:
    """Two frames under patches of three of two layers: silence follows, and there is a finite loss."""
    assert math.isfinite(limit(Mmd("two-layer", WIDTH), X[..., :2]))


def test_rows_of_a_batch_are_their_own_problems() -> None:
    """A batch of two has the losses of each by itself, rows and all."""
    look, statistic = Bands(3, 0).ready(X, 8000, 0), Mmd("arc-cosine", 3)
    distance = statistic.against(evenly(look(S)[0]))
    other = half_full(30, 5, upper=True)
    both = look(torch.cat([X, other]))[0]
    weights = torch.full((2, 30), 1 / 30, dtype=torch.float64)
    alone = [float(distance(evenly(look(view)[0]))) for view in (X, other)]
    assert distance(Layer(both.values, weights)).tolist() == pytest.approx(alone)
