"""Landmarks: the few that are chosen, with their weights, stand for all better than others would."""

import pytest
import torch
from torch import Tensor

from engine import kernel, landmarks
from engine.landmarks import excerpt_kernel, herd

LENGTH, COUNT, BINS = 16, 24, 30


def frames(seed: int = 0) -> Tensor:
    """Log magnitude ``[bins, COUNT * LENGTH]`` of excerpts of four kinds, one of them rare."""
    g = torch.Generator().manual_seed(seed)
    kinds = torch.rand(4, BINS, generator=g, dtype=torch.float64) * 3
    which = torch.tensor([0, 1, 2] * (COUNT // 3))
    which[5] = 3
    shapes = kinds[which][:, :, None] * (1 + 0.3 * torch.rand(COUNT, BINS, LENGTH, generator=g, dtype=torch.float64))
    return shapes.transpose(0, 1).flatten(1)


def squared_mmd(similarity: Tensor, index: Tensor, weights: Tensor, share: Tensor) -> float:
    """Squared MMD between the weighted choice and all excerpts by ``share``."""
    w = torch.zeros_like(share)
    w[index] = weights
    return float((w - share) @ similarity @ (w - share))


def everything() -> Tensor:
    """Every patch of every excerpt is active."""
    return torch.ones(COUNT, LENGTH - kernel.WIDTH + 1, dtype=torch.bool)


def compared(active: Tensor) -> tuple[Tensor, Tensor]:
    """The excerpt kernel of `frames` and each excerpt's mass, in double."""
    similarity, mass = excerpt_kernel(frames(), LENGTH, active)
    return similarity, mass.double()


def test_the_excerpt_kernel_is_the_mean_over_pairs_of_patches() -> None:
    """Each entry is the mean κ² between the active patches of two excerpts (1e-9: 30 bins lose nothing in 64)."""
    log, active = frames(), everything()
    active[3, 2:] = False
    similarity, mass = excerpt_kernel(log, LENGTH, active)
    assert torch.equal(mass, active.sum(1))
    assert torch.equal(similarity, similarity.T)
    parts = log.T.reshape(COUNT, LENGTH, BINS)
    for i, j in ((0, 0), (0, 5), (3, 7)):
        x, y = (kernel.squared_norms(parts[k], kernel.WIDTH) for k in (i, j))
        d = kernel.diagonal_sum(parts[i] @ parts[j].T, kernel.WIDTH)
        kappa = kernel.arc_cosine(d, x[:, None], y[None])[0].square()
        assert float(similarity[i, j]) == pytest.approx(float(kappa[active[i]][:, active[j]].mean()), rel=1e-9)


def test_a_sketch_keeps_inner_products() -> None:
    """Of 200 bins in 64 numbers, music-like spectra keep their products to 1 %."""
    g = torch.Generator().manual_seed(1)
    log = torch.rand(200, 20, generator=g, dtype=torch.float64) @ torch.rand(20, 300, generator=g, dtype=torch.float64)
    log = log + 0.01 * torch.randn(200, 300, generator=g, dtype=torch.float64)
    sketch = landmarks._sketch(log)
    assert sketch.shape == (64, 300)
    assert torch.allclose(sketch.T @ sketch, log.T @ log, rtol=0.01)
    assert torch.equal(sketch, landmarks._sketch(log)), "the same every time"


@pytest.mark.parametrize("keep", [1, 3, 6, 24])
def test_weights_are_shares(keep: int) -> None:
    """As many as asked for, in order of time, each once, with weights of at least zero that sum to one (1e-9)."""
    similarity, mass = compared(everything())
    index, weights = herd(similarity, mass, keep)
    assert index.tolist() == sorted(set(index.tolist()))
    assert len(index) == len(weights) == keep
    assert float(weights.sum()) == pytest.approx(1, abs=1e-9)
    assert (weights >= 0).all()


def test_the_chosen_stand_for_all_better_than_random_ones() -> None:
    """Their MMD to everything is below that of each of fifty random choices of even weights."""
    similarity, mass = compared(everything())
    share = mass / mass.sum()
    index, weights = herd(similarity, mass, 4)
    mine = squared_mmd(similarity, index, weights, share)
    g = torch.Generator().manual_seed(2)
    theirs, even = [], torch.full((4,), 0.25, dtype=torch.float64)
    for _ in range(50):
        other = torch.randperm(COUNT, generator=g)[:4].sort()[0]
        theirs.append(squared_mmd(similarity, other, even, share))
    assert mine < min(theirs)
    assert mine < squared_mmd(similarity, index, even, share), "fitted weights are better than even ones"


def test_fitted_weights_are_the_best_on_the_simplex() -> None:
    """No move of weight from one chosen excerpt to another lowers the MMD by more than 5 % of it."""
    similarity, mass = compared(everything())
    share = mass / mass.sum()
    index, weights = herd(similarity, mass, 4)
    best = squared_mmd(similarity, index, weights, share)
    for i in range(4):
        for j in range(4):
            moved = weights.clone()
            amount = min(0.01, float(weights[i]))
            moved[i] -= amount
            moved[j] += amount
            assert squared_mmd(similarity, index, moved, share) > 0.95 * best


def test_what_is_frequent_weighs_more() -> None:
    """Two kinds of excerpts, one three times as many: kept with weights 3/4 and 1/4 (1e-3)."""
    kind = (torch.arange(12) % 4 == 3).double()
    similarity = torch.where(kind[:, None] == kind[None], 1.0, 0.2).double()
    index, weights = herd(similarity, torch.ones(12, dtype=torch.float64), 2)
    assert sorted(kind[index].tolist()) == [0, 1]
    assert weights[kind[index] == 0].tolist() == pytest.approx([0.75], abs=1e-3)


def test_what_is_silent_is_never_chosen() -> None:
    """Excerpts without an active patch have no mass: not chosen, even when more are asked for than there are."""
    active = everything()
    active[::2] = False
    similarity, mass = compared(active)
    index, weights = herd(similarity, mass, COUNT)
    assert index.tolist() == list(range(1, COUNT, 2))
    assert float(weights.sum()) == pytest.approx(1, abs=1e-9)
