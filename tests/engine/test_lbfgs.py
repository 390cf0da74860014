"""The solver on problems with known answers, alone and in a batch."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from engine import kernel, lbfgs

scipy_optimize = pytest.importorskip("scipy.optimize")


def quadratic(batch: int, n: int, condition: float) -> tuple[lbfgs.Objective, Tensor]:
    """½ (x−m)ᵀA(x−m) of given condition number, one A and m per problem; returns the minimiser too."""
    g = torch.Generator().manual_seed(1)
    basis = torch.linalg.qr(torch.randn(batch, n, n, generator=g, dtype=torch.float64))[0]
    eigen = torch.logspace(0, float(np.log10(condition)), n, dtype=torch.float64)
    a = basis @ (eigen[:, None] * basis.mT)
    middle = torch.randn(batch, n, generator=g, dtype=torch.float64)
    return lbfgs.differentiate(
        lambda x: 0.5 * ((x - middle)[:, None] @ a @ (x - middle)[..., None])[:, 0, 0], torch.Size((batch, n))
    ), middle


def rosenbrock(x: Tensor) -> Tensor:
    """The chained Rosenbrock function of each row."""
    return (100 * (x[:, 1:] - x[:, :-1] ** 2) ** 2 + (1 - x[:, :-1]) ** 2).sum(1)


def test_quadratics_of_every_condition_are_solved() -> None:
    """Three 30-dimensional quadratics of condition 1000 end within 1e-6 of their minimisers."""
    objective, middle = quadratic(3, 30, 1e3)
    found = lbfgs.minimise(objective, torch.zeros(3, 30, dtype=torch.float64), evaluations=300)
    assert float((found.x - middle).abs().max()) < 1e-6


def test_rosenbrock_takes_no_more_evaluations_than_scipy() -> None:
    """From the classic start, 1e-8 is reached within 1.5 times the evaluations of L-BFGS-B."""
    start = np.array([-1.2, 1.0, -1.2, 1.0])
    objective = lbfgs.differentiate(rosenbrock, torch.Size((1, 4)))
    seen: list[float] = []
    lbfgs.minimise(
        objective, torch.tensor(start)[None], evaluations=200, on_progress=lambda p: seen.append(float(p.losses))
    )
    theirs: list[float] = []

    def traced(x: np.ndarray) -> tuple[float, np.ndarray]:
        loss, gradient = objective(torch.tensor(x)[None])
        theirs.append(float(loss))
        return float(loss), gradient[0].numpy()

    scipy_optimize.minimize(traced, start, jac=True, method="L-BFGS-B", options={"ftol": 0, "gtol": 1e-12})
    mine = next(i for i, loss in enumerate(seen) if loss < 1e-8)
    his = next(i for i, loss in enumerate(theirs) if loss < 1e-8)
    assert mine <= 1.5 * his


def test_the_kernel_loss_falls_as_far_as_with_scipy() -> None:
    """On the style and content losses of a small picture 40 evaluations end at most 5 % above L-BFGS-B's, in double."""
    g = torch.Generator().manual_seed(3)
    stem, goal = torch.rand(1, 24, 30, generator=g).double(), torch.rand(24, 40, generator=g).double() ** 3
    u, v = kernel.even_weights(20, stem)[None], kernel.even_weights(30, stem)

    def loss(s: Tensor) -> Tensor:
        pull = kernel.cross_terms(s, goal, u, v) + kernel.self_term(goal, v)
        return pull + 0.05 * kernel.content(s, stem, u)

    objective = lbfgs.differentiate(loss, stem.shape)
    mine = lbfgs.minimise(objective, stem.flatten(1), evaluations=40)

    def numpied(x: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = objective(torch.tensor(x)[None])
        return float(value), gradient[0].numpy()

    options = {"maxfun": 40, "maxiter": 1000, "ftol": 0, "gtol": 0}
    his = scipy_optimize.minimize(numpied, stem.flatten().numpy(), jac=True, method="L-BFGS-B", options=options)
    start = float(loss(stem))
    assert his.fun < 0.5 * start
    assert float(mine.losses) <= 1.05 * his.fun


def test_problems_that_have_ended_leave_the_batch() -> None:
    """With `select` those at their minimum are no longer evaluated, and everybody ends where he ends without it."""
    middles = torch.tensor([0.0, 3.0, 0.0, 8.0], dtype=torch.float64)
    starts = torch.zeros(4, 6, dtype=torch.float64)
    sizes: list[int] = []

    def problem(rows: Tensor) -> tuple[lbfgs.Objective, None]:
        def loss(x: Tensor) -> Tensor:
            sizes.append(x.shape[0])
            return rosenbrock(x - middles[rows, None] + 1)

        return lambda x: lbfgs.differentiate(loss, x.shape)(x), None

    objective, _ = problem(torch.arange(4))
    staying = lbfgs.minimise(objective, starts, evaluations=25)
    sizes.clear()
    seen: list[Tensor] = []
    leaving = lbfgs.minimise(
        objective, starts, evaluations=25, select=problem, on_progress=lambda p: seen.append(p.losses.clone())
    )
    assert sizes[0] == 4
    assert set(sizes[1:]) == {2}
    assert torch.allclose(leaving.x, staying.x, atol=1e-12)
    assert torch.equal(leaving.losses, seen[-1])
    assert seen[-1].shape == (4,)


def test_a_batch_is_its_problems_one_by_one() -> None:
    """Problems solved together end where each ends alone: each has its own step, history and end (1e-9, double)."""
    starts = torch.tensor([[-1.2, 1.0, 0.5], [3.0, -2.0, 1.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    together = lbfgs.minimise(lbfgs.differentiate(rosenbrock, starts.shape), starts.clone(), evaluations=60)
    for row in range(3):
        alone = lbfgs.minimise(
            lbfgs.differentiate(rosenbrock, torch.Size((1, 3))), starts[row : row + 1].clone(), evaluations=60
        )
        assert torch.allclose(alone.x[0], together.x[row], atol=1e-9)


def test_a_good_preconditioner_saves_evaluations() -> None:
    """With the inverse of a diagonal of condition 1e4 as P a quadratic falls by 1e-10 within 12 evaluations."""
    scale = torch.logspace(0, 4, 200, dtype=torch.float64)
    objective = lbfgs.differentiate(lambda x: 0.5 * (scale * (x - 1) ** 2).sum(1), torch.Size((1, 200)))
    plain = lbfgs.minimise(objective, torch.zeros(1, 200, dtype=torch.float64), evaluations=12)
    helped = lbfgs.minimise(
        objective, torch.zeros(1, 200, dtype=torch.float64), evaluations=12, precondition=lambda g: g / scale
    )
    assert float(helped.losses) < 1e-10 * float(scale.sum())
    assert float(plain.losses) > 1e3 * float(helped.losses)


def test_the_loss_never_rises_and_a_wall_of_infinity_is_backed_off_from() -> None:
    """Accepted losses only fall, also where the first steps run into infinite values."""

    def walled(x: Tensor) -> Tensor:
        return torch.where(x.abs().amax(1) > 2, torch.inf, (x - 1.9).square().sum(1))

    seen: list[float] = []
    found = lbfgs.minimise(
        lbfgs.differentiate(walled, torch.Size((1, 5))),
        torch.full((1, 5), -1.9),
        evaluations=60,
        first_step=10.0,
        on_progress=lambda p: seen.append(float(p.losses)),
    )
    assert all(b <= a for a, b in pairwise(seen))
    assert float(found.losses) < 1e-6


def test_a_problem_at_its_minimum_ends_at_once() -> None:
    """With no gradient to follow the search stops by itself and moves nothing."""
    found = lbfgs.minimise(
        lbfgs.differentiate(lambda x: (x * x).sum(1), torch.Size((1, 4))), torch.zeros(1, 4), evaluations=50
    )
    assert found.evaluations < 50
    assert not found.x.any()


def test_the_start_is_not_written_to() -> None:
    """The caller's start is the same after the search."""
    start = torch.full((1, 3), 2.0)
    lbfgs.minimise(lbfgs.differentiate(rosenbrock, torch.Size((1, 3))), start, evaluations=10)
    assert torch.equal(start, torch.full((1, 3), 2.0))
