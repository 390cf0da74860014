"""L-BFGS for many problems at once, each with its own history, step length and end.

Every evaluation serves all problems: one that backtracks does not hold the rest, and one that has ended leaves the
batch.  The inverse Hessian is kept in the compact form of Byrd, Nocedal & Schnabel 1994 (theorem 2.2): with steps S,
gradient changes Y, R = triu(SᵀY), D = diag(SᵀY) and an initial H₀ = γP,

    H g = γPg + S c − γ(PY) u,   u = R⁻¹ Sᵀg,   c = R⁻ᵀ (D u + γ YᵀPY u − γ (PY)ᵀ g)

so that P may be any symmetric preconditioner, only S and PY are stored, and all that differs from problem to problem
is a small triangular system.  An evaluation reads the history twice: once for its products with the new gradient, from
which SᵀY, YᵀPY and the slope follow as differences and sums of small numbers, and once for the direction.  All
decisions are taken on the CPU in double, after two transfers of a few numbers.

The line search is Armijo backtracking with the curvature pair skipped where sᵀy is not positive; on these losses it
takes as many evaluations as strong Wolfe does, and never more than one gradient a try.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Objective = Callable[[Tensor], tuple[Tensor, Tensor]]
Preconditioner = Callable[[Tensor], Tensor]
#: Objective and preconditioner of some of the problems, by their numbers ``[live]`` in the batch.
Select = Callable[[Tensor], tuple[Objective, Preconditioner | None]]


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


def _numbers(*rows: Tensor) -> Tensor:
    """A few numbers of every problem, brought to the CPU together: ``[len(rows), batch]`` in double."""
    return torch.stack(rows).cpu().double()  # some devices have no double of their own


class _History:
    """The last ``size`` curvature pairs of each problem, and the products of all that the compact form needs."""

    def __init__(self, batch: int, size: int, like: Tensor) -> None:
        self.size = size
        #: Step, preconditioned change of the gradient, step, ...: ``[batch, 2 size, n]``, filled from the front.
        self.pairs = like.new_zeros(batch, 2 * size, like.shape[-1])
        #: Their products with the gradient at the point each problem stands at, ``[batch, 2 size]``.
        self.products = torch.zeros(batch, 2 * size, dtype=torch.float64)
        self.sy = torch.zeros(batch, size, size, dtype=torch.float64)
        self.ypy = torch.zeros(batch, size, size, dtype=torch.float64)
        self.age = torch.full((batch, size), -1)  # evaluation at which a slot was filled
        self.gamma = torch.ones(batch, dtype=torch.float64)

    def only(self, rows: Tensor) -> None:
        """Forget all problems but ``rows``."""
        self.pairs = self.pairs[rows.to(self.pairs.device)]
        self.products, self.sy, self.ypy = self.products[rows], self.sy[rows], self.ypy[rows]
        self.age, self.gamma = self.age[rows], self.gamma[rows]

    def slot(self, b: int, when: int) -> tuple[Tensor, Tensor]:
        """Room ``[n]`` for the step and the preconditioned change of problem ``b``, instead of its oldest pair."""
        slot = int(self.age[b].argmin())
        self.age[b, slot] = when
        return self.pairs[b, 2 * slot], self.pairs[b, 2 * slot + 1]

    def follow(self, gradient: Tensor, pushed: dict[int, tuple[float, float]]) -> None:
        """Every problem stands at ``gradient`` now; ``pushed`` are those with a new pair.

        Of those it holds the products of the pair with the gradient before: the changes of all products are the
        products with the change of the gradient.
        """
        used = self._used()
        products = torch.zeros_like(self.products)
        products[:, :used] = torch.bmm(self.pairs[:, :used], gradient[..., None])[..., 0].cpu().double()
        for b, (step, change) in pushed.items():
            new = int(self.age[b].argmax())
            before = self.products[b]
            before[2 * new], before[2 * new + 1] = step, change
            difference = products[b] - before
            self.sy[b, new] = 0  # products with older changes lie below the diagonal of R
            self.sy[b, :, new] = difference[0::2]
            self.ypy[b, :, new] = self.ypy[b, new, :] = difference[1::2]
            self.gamma[b] = self.sy[b, new, new] / self.ypy[b, new, new].clamp_min(1e-300)
        self.products = products

    def direction(self, preconditioned: Tensor, squares: Tensor) -> tuple[Tensor, Tensor]:
        """−H g ``[batch, n]`` and its slope ``[batch]``, where ``preconditioned`` is P g and ``squares`` gᵀP g."""
        order = self.age.argsort(1)
        filled = self.age.gather(1, order) >= 0
        sg = self.products[:, 0::2].gather(1, order) * filled
        yg = self.products[:, 1::2].gather(1, order) * filled
        both = filled[:, :, None] & filled[:, None, :]
        r = (_reordered(self.sy, order) * both).triu()
        diagonal = r.diagonal(dim1=1, dim2=2).clone()
        r = r + torch.diag_embed((~filled).double())
        gamma = self.gamma[:, None]
        u = torch.linalg.solve_triangular(r, sg[..., None], upper=True)[..., 0]
        inner = diagonal * u + gamma * ((_reordered(self.ypy, order) * both) @ u[..., None])[..., 0] - gamma * yg
        c = torch.linalg.solve_triangular(r.mT, inner[..., None], upper=False)[..., 0]
        slope = -self.gamma * squares - (sg * c).sum(1) + self.gamma * (yg * u).sum(1)
        back, used = order.argsort(1), self._used()
        weights = torch.stack([-c.gather(1, back), (gamma * u).gather(1, back)], 2).flatten(1)[:, :used]
        out = preconditioned * -_like(self.gamma, preconditioned)[:, None]
        # a row times a matrix: the transposed product is six times slower on a CPU
        out[:, None].baddbmm_(_like(weights, out)[:, None], self.pairs[:, :used])
        return out, slope

    def _used(self) -> int:
        """How many rows of the pairs hold one for any problem."""
        return 2 * int((self.age >= 0).sum(1).max())


def _like(numbers: Tensor, other: Tensor) -> Tensor:
    """``numbers`` from the CPU where and as ``other`` is."""
    return numbers.to(other.dtype).to(other.device)


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
    select: Select | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Solution:
    """Minimise each row of ``x`` ``[batch, n]`` under ``objective`` (losses ``[batch]`` and gradients ``[batch, n]``).

    Ends a problem when its loss falls by less than ``tolerance`` relative to itself in an accepted step, or when no
    step along the gradient itself lowers it; ends altogether after ``evaluations`` calls.  ``first_step`` is the
    length of the first trial step in units of x's norm (None: 1 / |g|₁, as SciPy's L-BFGS-B takes).  With ``select``
    a problem that has ended leaves the batch; without, it is computed on with the others and keeps its result.
    """
    search = _Search(objective, x.clone(), history, first_step, precondition or (lambda g: g), tolerance)
    out, losses = x.clone(), search.losses.clone()
    iterations = torch.zeros(x.shape[0], dtype=torch.long)
    live = torch.arange(x.shape[0])

    def report() -> None:
        losses[live], iterations[live] = search.losses, search.iterations
        if on_progress:
            on_progress(Progress(search.count, losses, iterations))

    report()
    while search.count < evaluations and bool(search.active.any()):
        if select and not bool(search.active.all()):
            out[live.to(x.device)] = search.x
            live = live[search.active]
            search.only(search.active.nonzero()[:, 0], *select(live))
        search.advance()
        report()
    out[live.to(x.device)] = search.x
    return Solution(out, _like(losses, x), search.count)


class _Search:
    """Where each problem stands, and where it tries next."""

    def __init__(
        self,
        objective: Objective,
        x: Tensor,
        history: int,
        first_step: float | None,
        precondition: Preconditioner,
        tolerance: float,
    ) -> None:
        self.objective, self.precondition, self.tolerance = objective, precondition, tolerance
        self.x, self.count = x, 1
        loss, self.gradient = objective(x)
        self.preconditioned = precondition(self.gradient)
        self.losses, self.squares = _numbers(loss, torch.linalg.vecdot(self.gradient, self.preconditioned))
        self.memory = _History(x.shape[0], history, x)
        self.iterations = torch.zeros(x.shape[0], dtype=torch.long)
        self.active = (self.gradient != 0).any(1).cpu()
        self.direction, self.slope = -self.preconditioned, -self.squares
        if first_step is None:
            (size,) = _numbers(self.gradient.abs().sum(-1))
            self.step = 1 / size.clamp_min(1e-30)
        else:
            size, length = _numbers(x.norm(dim=-1), self.preconditioned.norm(dim=-1))
            self.step = first_step * size.clamp_min(1e-12) / length.clamp_min(1e-30)

    def only(self, rows: Tensor, objective: Objective, precondition: Preconditioner | None) -> None:
        """Go on with the problems in ``rows`` alone."""
        self.objective, self.precondition = objective, precondition or (lambda g: g)
        there = rows.to(self.x.device)
        self.x, self.gradient = self.x[there], self.gradient[there]
        self.preconditioned, self.direction = self.preconditioned[there], self.direction[there]
        self.losses, self.squares, self.slope = self.losses[rows], self.squares[rows], self.slope[rows]
        self.step, self.active, self.iterations = self.step[rows], self.active[rows], self.iterations[rows]
        self.memory.only(rows)

    def advance(self) -> None:
        """One evaluation: each active problem accepts its trial and turns, or shortens its step."""
        trial = torch.addcmul(self.x, self.direction, _like(self.step, self.x)[:, None])
        loss, gradient = self.objective(trial)
        preconditioned = self.precondition(gradient)
        losses, along, crossed, squares = _numbers(
            loss,
            torch.linalg.vecdot(self.direction, gradient),
            torch.linalg.vecdot(preconditioned, self.gradient),
            torch.linalg.vecdot(preconditioned, gradient),
        )
        self.count += 1
        falls = losses <= self.losses + 1e-4 * self.step * self.slope
        fresh = self.active & falls & losses.isfinite()
        held = self.active & ~fresh
        # sᵀy and sᵀg are the step times these
        curved = fresh & (along - self.slope > 1e-10 * self.slope.abs())
        pushed: dict[int, tuple[float, float]] = {}
        for b in curved.nonzero()[:, 0].tolist():
            step, change = self.memory.slot(b, self.count)
            torch.sub(trial[b], self.x[b], out=step)
            torch.sub(preconditioned[b], self.preconditioned[b], out=change)
            pushed[b] = float(self.step[b] * self.slope[b]), float(crossed[b] - self.squares[b])
        fallen = self.losses - losses
        ended = fresh & ((fallen < self.tolerance * self.losses.abs()) | (squares == 0))
        self.step[held] = _shortened(self.step, self.slope, self.losses, losses)[held]
        ended |= held & (self.step < 1e-10)
        self.iterations += fresh
        self.active = self.active & ~ended
        self.losses = torch.where(fresh, losses, self.losses)
        self.squares = torch.where(fresh, squares, self.squares)
        if bool(fresh.all()):
            self.x, self.gradient, self.preconditioned = trial, gradient, preconditioned
        elif bool(fresh.any()):
            there = fresh.nonzero()[:, 0].to(trial.device)
            for old, new in ((self.x, trial), (self.gradient, gradient), (self.preconditioned, preconditioned)):
                old[there] = new[there]
        if bool(fresh.any()):
            self._turn(fresh, pushed)

    def _turn(self, fresh: Tensor, pushed: dict[int, tuple[float, float]]) -> None:
        """A new direction and a full step for each of the ``fresh``."""
        self.memory.follow(self.gradient, pushed)
        direction, slope = self.memory.direction(self.preconditioned, self.squares)
        uphill = ~(slope < 0)
        if bool((uphill & fresh).any()):
            back = uphill.nonzero()[:, 0].to(direction.device)
            direction[back], slope = -self.preconditioned[back], torch.where(uphill, -self.squares, slope)
        if bool(fresh.all()):
            self.direction = direction
        else:
            there = fresh.nonzero()[:, 0].to(direction.device)
            self.direction[there] = direction[there]
        self.slope = torch.where(fresh, slope, self.slope)
        self.step = torch.where(fresh, torch.ones_like(self.step), self.step)


def _shortened(step: Tensor, slope: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """Quadratic interpolation of the next step, kept between a tenth and a half of this one: ``[batch]``."""
    best = -slope * step * step / (2 * (after - before - slope * step))
    best = torch.where(after.isfinite(), best, 0.0)
    return torch.minimum(torch.maximum(best.nan_to_num(0.0), 0.1 * step), 0.5 * step)
