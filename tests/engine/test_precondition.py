"""The preconditioner is what quasi-Newton asks for: linear, symmetric, positive, and bolder where the stem is loud."""

import math

import pytest
import torch
from torch import Tensor

from engine.precondition import Preconditioner
from engine.spectra import Resolution
from engine.terms import Picture

HALF = Resolution(32, 16)


def noise(seed: int, *shape: int) -> Tensor:
    """White noise in double."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("channels", "samples"), [(1, 90), (2, 61), (2, 5), (1, 1)])
@pytest.mark.parametrize("res", [HALF, Resolution(32, 8)])
def test_symmetric_and_positive_definite(channels: int, samples: int, res: Resolution) -> None:
    """The matrix of P is its transpose (1e-12) and all its eigenvalues are above zero, for every length."""
    precondition = Preconditioner(Picture(3 * noise(1, 1, channels, samples)), res)
    unit = torch.eye(channels * samples, dtype=torch.float64)
    matrix = torch.cat([precondition(row[None]) for row in unit])
    assert torch.allclose(matrix, matrix.T, atol=1e-12)
    assert float(torch.linalg.eigvalsh(matrix).min()) > 1e-6


def test_without_power_it_changes_nothing() -> None:
    """All weights one, windows and edges cancel: P is the identity to 1e-9, at the ends too."""
    precondition = Preconditioner(Picture(noise(1, 2, 2, 200)), HALF, power=0.0)
    gradient = noise(2, 2, 400)
    assert torch.allclose(precondition(gradient), gradient, atol=1e-9)


def test_from_silence_it_changes_nothing() -> None:
    """A silent start has no loud bins: P is the identity to 1e-9."""
    gradient = noise(2, 1, 200)
    assert torch.allclose(Preconditioner(Picture(0 * noise(1, 1, 1, 200)), HALF)(gradient), gradient, atol=1e-9)


def test_loud_bins_take_the_larger_steps() -> None:
    """Along the loudest partial P is near one; where the start has nothing, under a hundredth of that."""
    time = torch.arange(4000, dtype=torch.float64)
    loud, quiet = (torch.sin(2 * math.pi * time * f) for f in (4 / 32, 11 / 32))
    peak = 1e4 / 8  # a tone of amplitude A has a peak of A · 32 / 4
    precondition = Preconditioner(Picture((peak * loud)[None, None]), HALF)
    middle = slice(500, 3500)
    kept = [float(precondition(t[None])[0, middle].norm() / t[middle].norm()) for t in (loud, quiet)]
    assert 0.8 < kept[0] <= 1.001
    assert kept[1] < 0.01 * kept[0]


def test_problems_of_a_batch_and_their_shape_are_kept() -> None:
    """Each problem has its own start: a loud one beside a quiet one changes neither (1e-12)."""
    start = noise(1, 2, 2, 100) * torch.tensor([1.0, 50.0], dtype=torch.float64)[:, None, None]
    gradient = noise(2, 2, 200)
    together = Preconditioner(Picture(start), HALF)(gradient)
    assert together.shape == gradient.shape
    for k in range(2):
        alone = Preconditioner(Picture(start[k : k + 1]), HALF)(gradient[k : k + 1])
        assert torch.allclose(together[k], alone[0], atol=1e-12)


def test_channels_share_their_weights() -> None:
    """A channel scaled by 0.3 stays so (1e-12): no channel is moved more boldly than another."""
    gradient = noise(2, 1, 100)
    precondition = Preconditioner(Picture(noise(1, 1, 2, 100)), HALF)
    out = precondition(torch.cat([gradient, 0.3 * gradient], 1))
    assert torch.allclose(out[:, 100:], 0.3 * out[:, :100], atol=1e-12)
