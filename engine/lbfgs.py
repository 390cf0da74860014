"""L-BFGS for many problems at once, each with its own history, step length and end.

Every evaluation serves all problems: one that backtracks does not hold the rest.  The inverse Hessian is kept in the
compact form of Byrd, Nocedal & Schnabel 1994 (theorem 2.2): with steps S, gradient changes Y, R = triu(SᵀY),
D = diag(SᵀY) and an initial H₀ = γP,

    H g = γPg + S c − γ(PY) u,   u = R⁻¹ Sᵀg,   c = R⁻ᵀ (D u + γ YᵀPY u − γ (PY)ᵀ g)

so that P may be any symmetric preconditioner, only S and PY are stored, and all that differs from problem to problem
is a small triangular system.  The line search is Armijo backtracking with the curvature pair skipped where sᵀy is not
positive; on these losses it takes as many evaluations as strong Wolfe does, and never more than one gradient a try.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Objective = Callable[[Tensor], tuple[Tensor, Tensor]]
Preconditioner = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Progress:
    """State after one evaluation: best ``losses`` ``[batch]`` and accepted ``iterations`` ``[batch]``."""

    evaluation: int
    losses: Tensor
    iterations: Tensor


@dataclass(frozen=True)
class Solution:
    """Where the search ended: ``x`` and ``losses`` of each problem, and the number of evaluations made."""

    x: Tensor
    losses: Tensor
    evaluations: int


def differentiate(loss: Callable[[Tensor], Tensor], shape: torch.Size) -> Objective:
    """The objective of a differentiable ``loss`` (``[batch]``) of tensors shaped ``shape`` (batch first)."""

    def objective(x: Tensor) -> tuple[Tensor, Tensor]:
        leaf = x.detach().view(shape).requires_grad_(True)
        with torch.enable_grad():
            value = loss(leaf)
            (gradient,) = torch.autograd.grad(value.sum(), leaf)
        return value.detach(), gradient.flatten(1)

    return objective


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Inner products over the last dimension; the sum stays in the dtype of the operands."""
    return (a * b).sum(-1)


class _History:
    """The last ``size`` curvature pairs of each problem, oldest first after `ordered`."""

    def __init__(self, batch: int, size: int, like: Tensor) -> None:
        n = like.shape[-1]
        self.size = size
        self.steps = like.new_zeros(batch, size, n)
        self.changes = like.new_zeros(batch, size, n)  # P y
        # the small matrices live on the CPU in double: exact enough, and some devices have no double at all
        self.sy = torch.zeros(batch, size, size, dtype=torch.float64)
        self.ypy = torch.zeros(batch, size, size, dtype=torch.float64)
        self.age = torch.full((batch, size), -1)  # evaluation at which a slot was filled
        self.gamma = torch.ones(batch, dtype=torch.float64)

    def push(self, b: int, when: int, step: Tensor, change: Tensor, preconditioned: Tensor) -> None:
        """Store the pair (``step``, ``change``) of problem ``b``; the caller has checked its curvature."""
        slot = int(self.age[b].argmin())
        self.steps[b, slot] = step
        self.changes[b, slot] = preconditioned
        self.age[b, slot] = when
        self.sy[b, :, slot] = (self.steps[b] @ change).cpu().double()
        self.sy[b, slot, :] = 0  # products with older changes lie below the diagonal of R
        self.sy[b, slot, slot] = float(step @ change)
        row = (self.changes[b] @ change).cpu().double()
        self.ypy[b, slot, :] = row
        self.ypy[b, :, slot] = row
        self.gamma[b] = self.sy[b, slot, slot] / row[slot].clamp_min(1e-300)

    def direction(self, gradient: Tensor, preconditioned: Tensor) -> Tensor:
        """−H g for every problem: ``[batch, n]``."""
        order = self.age.argsort(1)
        filled = self.age.gather(1, order) >= 0
        sg = torch.bmm(self.steps, gradient[..., None])[..., 0].cpu().double().gather(1, order) * filled
        yg = torch.bmm(self.changes, gradient[..., None])[..., 0].cpu().double().gather(1, order) * filled
        both = filled[:, :, None] & filled[:, None, :]
        r = (_reordered(self.sy, order) * both).triu()
        diagonal = r.diagonal(dim1=1, dim2=2).clone()
        r = r + torch.diag_embed((~filled).double())
        gamma = self.gamma[:, None]
        u = torch.linalg.solve_triangular(r, sg[..., None], upper=True)[..., 0]
        inner = diagonal * u + gamma * ((_reordered(self.ypy, order) * both) @ u[..., None])[..., 0] - gamma * yg
        c = torch.linalg.solve_triangular(r.mT, inner[..., None], upper=False)[..., 0]
        back = order.argsort(1)
        c, u = c.gather(1, back).to(gradient), (gamma * u).gather(1, back).to(gradient)
        out = preconditioned * -self.gamma.to(gradient)[:, None]
        # a row times a matrix: the transposed product is six times slower on a CPU
        out -= torch.bmm(c[:, None], self.steps)[:, 0]
        out += torch.bmm(u[:, None], self.changes)[:, 0]
        return out


def _reordered(matrices: Tensor, order: Tensor) -> Tensor:
    """Rows and columns of ``[batch, m, m]`` in ``order`` ``[batch, m]``."""
    rows = matrices.gather(1, order[:, :, None].expand_as(matrices))
    return rows.gather(2, order[:, None, :].expand_as(matrices))


def minimise(
    objective: Objective,
    x: Tensor,
    *,
    evaluations: int,
    history: int = 10,
    first_step: float | None = None,
    precondition: Preconditioner | None = None,
    tolerance: float = 0.0,
    on_progress: Callable[[Progress], None] | None = None,
) -> Solution:
    """Minimise each row of ``x`` ``[batch, n]`` under ``objective`` (losses ``[batch]`` and gradients ``[batch, n]``).

    Stops a problem when its loss falls by less than ``tolerance`` relative to itself in an accepted step, or when no
    step along the gradient itself lowers it; stops altogether after ``evaluations`` calls.  ``first_step`` is the
    length of the first trial step in units of x's norm (None: 1 / |g|₁, as SciPy's L-BFGS-B takes).
    """
    x = x.clone()  # rows are updated in place, and the caller's start is the caller's
    batch = x.shape[0]
    precondition = precondition or (lambda g: g)
    loss, gradient = objective(x)
    pg = precondition(gradient)
    memory = _History(batch, history, x)
    iterations = torch.zeros(batch, dtype=torch.long)
    active = (gradient != 0).any(1).cpu()
    direction, slope = -pg, -_dot(gradient, pg)
    if first_step is None:
        length = 1 / gradient.abs().sum(-1).clamp_min(1e-30)
    else:
        length = first_step * x.norm(dim=-1).clamp_min(1e-12) / pg.norm(dim=-1).clamp_min(1e-30)
    step = length.clone()
    count = 1
    if on_progress:
        on_progress(Progress(count, loss, iterations))
    while count < evaluations and bool(active.any()):
        trial = torch.addcmul(x, direction, step[:, None])
        trial_loss, trial_gradient = objective(trial)
        count += 1
        enough = (trial_loss <= loss + 1e-4 * step * slope) & torch.isfinite(trial_loss)
        trial_pg = precondition(trial_gradient)
        for b in range(batch):
            if not active[b]:
                continue
            if not enough[b]:
                _shorten(b, loss, slope, step, trial_loss)
                if step[b] < 1e-10:
                    active[b] = False
                continue
            change = trial_gradient[b] - gradient[b]
            s = trial[b] - x[b]
            sy = float(s @ change)
            if sy > 1e-10 * float(s.norm() * change.norm()):
                memory.push(b, count, s, change, trial_pg[b] - pg[b])
            iterations[b] += 1
            if float(loss[b] - trial_loss[b]) < tolerance * abs(float(loss[b])) or not bool(trial_gradient[b].any()):
                active[b] = False
            step[b] = -1.0
        fresh = step < 0
        if bool(fresh.all()):
            x, loss, gradient, pg = trial, trial_loss, trial_gradient, trial_pg
        else:
            for old, new in ((x, trial), (loss, trial_loss), (gradient, trial_gradient), (pg, trial_pg)):
                old[fresh] = new[fresh]
        if bool(fresh.any()):
            new = memory.direction(gradient, pg)
            newslope = _dot(gradient, new)
            bad = newslope >= 0
            new = torch.where(bad[:, None], -pg, new)
            newslope = torch.where(bad, -_dot(gradient, pg), newslope)
            direction = torch.where(fresh[:, None], new, direction)
            slope = torch.where(fresh, newslope, slope)
            step = torch.where(fresh, torch.ones_like(step), step)
        if on_progress:
            on_progress(Progress(count, loss, iterations))
    return Solution(x, loss, count)


def _shorten(b: int, loss: Tensor, slope: Tensor, step: Tensor, trial_loss: Tensor) -> None:
    """Quadratic interpolation of the next step, kept between a tenth and a half of this one."""
    t, f, f0, s = float(step[b]), float(trial_loss[b]), float(loss[b]), float(slope[b])
    best = -s * t * t / (2 * (f - f0 - s * t)) if f == f and f != float("inf") else 0.0
    step[b] = min(max(best, 0.1 * t), 0.5 * t)
