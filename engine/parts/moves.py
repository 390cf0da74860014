"""Styles in closed form: a view of the stem moved to the statistics of the style's in one step.

A `Move` is prepared for a goal once and then applied to every span.  Frames count by weights that sum to one (silence
counts nothing), so statistics are those of what sounds, and a blend's are those of the union of its pieces.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import pad

from engine.parts.quantiles import Quantiles, order
from engine.parts.renderings import ContentPhase, Rendering
from engine.parts.representations import Invertible, seen
from engine.parts.scene import Scene
from engine.parts.store import activity

#: Moves a view ``[bins, frames]`` whose frames count ``[frames]``.
Mover = Callable[[Tensor, Tensor], Tensor]


class Move(Protocol):
    """A style in closed form; a frozen dataclass."""

    def against(self, goal: Tensor, counts: Tensor) -> Mover:
        """What moves a view to ``goal`` ``[bins, its frames]``, whose frames count ``counts`` (which sum to one)."""
        ...


def _moments(view: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each bin over time, ``[bins, 1]`` both."""
    mean = (view @ counts)[:, None]
    return mean, ((view - mean).square() @ counts).sqrt()[:, None]


def _ratio(goal: Tensor, own: Tensor) -> Tensor:
    """``goal / own``, and 1 where ``own`` does not vary at all."""
    floor = 1e-6 * own.amax() + torch.finfo(own.dtype).tiny
    return torch.where(own > floor, goal / own.clamp_min(floor), torch.ones_like(own))


@dataclass(frozen=True)
class Adain:
    """Mean and deviation of each bin: σₛ (x − μ) / σ + μₛ (Huang & Belongie 2017, eq. 8)."""

    def against(self, goal: Tensor, counts: Tensor) -> Mover:
        """Two numbers a bin."""
        mean, deviation = _moments(goal, counts)

        def move(view: Tensor, weights: Tensor) -> Tensor:
            own, spread = _moments(view, weights)
            return (view - own) * _ratio(deviation, spread) + mean

        return move


def _axes(columns: Tensor, rank: int) -> Tensor:
    """An orthonormal basis ``[bins, rank]`` of ``columns`` ``[bins, n]``; of all they span where ``rank`` is 0."""
    if rank and rank < min(columns.shape):
        # two power steps (Halko et al. 2011) from the side of the bins: frames that count nothing change nothing
        generator = torch.Generator().manual_seed(0)
        axes = torch.randn(columns.shape[0], rank, generator=generator).to(columns)
        for _ in range(2):
            axes = torch.linalg.qr(columns @ (columns.mT @ axes))[0]
        return axes
    if columns.shape[1] >= columns.shape[0]:
        return torch.eye(columns.shape[0], dtype=columns.dtype, device=columns.device)
    found: Tensor = torch.linalg.qr(columns)[0]
    return found


def _power(symmetric: Tensor, exponent: float, cut: float = 1e-5) -> Tensor:
    """A power of a positive matrix; eigenvalues below ``cut`` of the greatest are left out."""
    values, vectors = torch.linalg.eigh(symmetric)
    kept = values > cut * values[-1].clamp_min(torch.finfo(values.dtype).tiny)
    powers = torch.where(kept, values.clamp_min(torch.finfo(values.dtype).tiny) ** exponent, torch.zeros_like(values))
    out: Tensor = (vectors * powers) @ vectors.mT
    return out


def monge_map(own: Tensor, goal: Tensor) -> Tensor:
    """T = C^-½ (C^½ S C^½)^½ C^-½ for covariances C ``own`` and S ``goal``: the least displacement from one Gaussian
    to the other (Olkin & Pukelsheim 1982).
    """
    root, inverse = _power(own, 0.5), _power(own, -0.5)
    return inverse @ _power(root @ goal @ root, 0.5, 0.0) @ inverse


def whitening_map(own: Tensor, goal: Tensor) -> Tensor:
    """E_s D_s^½ E_sᵀ E_c D_c^-½ E_cᵀ: whitened, then coloured (Li et al. 2017)."""
    return _power(goal, 0.5) @ _power(own, -0.5)


@dataclass(frozen=True)
class Covariance:
    """Mean and covariance of all bins together, by the Monge map or by whitening and colouring (``kind`` ``wct``).

    Both are taken in the ``rank`` leading directions of both sounds (0: all that either spans); what lies beyond them
    stays as it is.  With ``shrink`` above 0 each bin is brought to unit deviation first and off-diagonal correlations
    count (1 − shrink): a covariance shrunk towards its diagonal, so that at 1 the move is AdaIN.  In those coordinates
    the shrunk part is the identity, so nothing beyond what the sounds span has to be computed.
    """

    kind: str = "monge"
    rank: int = 60
    shrink: float = 0.0

    def against(self, goal: Tensor, counts: Tensor) -> Mover:
        """The directions depend on both sounds, so little can be prepared."""
        mean, deviation = _moments(goal, counts)
        unit = deviation if self.shrink else torch.ones_like(deviation)
        theirs = _ratio(torch.ones_like(unit), unit) * (goal - mean) * counts.sqrt()

        def move(view: Tensor, weights: Tensor) -> Tensor:
            own, spread = _moments(view, weights)
            scale = _ratio(torch.ones_like(spread), spread) if self.shrink else torch.ones_like(spread)
            centred = (view - own) * scale
            mine = centred * weights.sqrt()
            axes = _axes(torch.cat([mine, theirs], 1), self.rank)
            turn = self._map(axes.mT @ mine, axes.mT @ theirs)
            inside = axes.mT @ centred
            return (centred + axes @ (turn @ inside - inside)) * unit + mean

        return move

    def _map(self, own: Tensor, goal: Tensor) -> Tensor:
        even = torch.eye(own.shape[0], dtype=own.dtype, device=own.device) * self.shrink
        shrunk = ((1 - self.shrink) * (a @ a.mT) + even for a in (own, goal))
        return (monge_map if self.kind == "monge" else whitening_map)(*shrunk)


@dataclass(frozen=True)
class Histogram:
    """The distribution of each bin over time: every value takes the one of the same rank in the style (1-D optimal
    transport).  ``steps`` above 0 keeps so many quantiles of the style instead of all, which is faster.
    """

    steps: int = 0

    def against(self, goal: Tensor, counts: Tensor) -> Mover:
        """The style is sorted once."""
        sounding = counts > 0
        quantiles = Quantiles.of(goal[:, sounding], counts[sounding])
        if not self.steps:
            return lambda view, weights: _ranked(view, weights, quantiles.at)
        even = (torch.arange(self.steps, device=goal.device, dtype=goal.dtype) + 0.5) / self.steps
        table = quantiles.at(even.expand(goal.shape[0], -1))

        def at(places: Tensor) -> Tensor:
            position = (places * self.steps - 0.5).clamp(0, self.steps - 1)
            low = position.long().clamp_max(self.steps - 2)
            left = table.gather(-1, low)
            return torch.lerp(left, table.gather(-1, low + 1), position - low)

        return lambda view, weights: _ranked(view, weights, at)


def _ranked(view: Tensor, weights: Tensor, at: Callable[[Tensor], Tensor]) -> Tensor:
    places = order(view)
    each = weights.expand_as(view).gather(-1, places)
    return torch.empty_like(view).scatter_(-1, places, at(each.cumsum(-1) - each / 2))


@dataclass(frozen=True)
class Transport:
    """`Histogram`, then what correlations are missing by the Monge map in a few directions (`Covariance`)."""

    steps: int = 128
    rank: int = 32
    shrink: float = 0.8

    def against(self, goal: Tensor, counts: Tensor) -> Mover:
        """Both are prepared."""
        ranks = Histogram(self.steps).against(goal, counts)
        if not self.rank:
            return ranks
        turn = Covariance("monge", self.rank, self.shrink).against(goal, counts)
        return lambda view, weights: turn(ranks(view, weights), weights)


@dataclass(frozen=True)
class Attention:
    """Every frame takes those of the style that it resembles: F + W Σ softmax(f(F̄)ᵀ g(F̄ₛ)) h(Fₛ) (Park & Lee 2019).

    Without trained weights f, g and h are the identity on patches of ``width`` frames, F̄ has mean 0 and deviation 1 in
    each bin, similarity is the cosine over ``temperature`` (0 and above: the smaller, the fewer frames are mixed), and
    what is attended to replaces F by all but the share ``residual`` of F at the style's moments (AdaIN).
    """

    width: int = 3
    temperature: float = 0.05
    residual: float = 0.5

    def against(self, goal: Tensor, counts: Tensor) -> Mover:
        """Frames of the style that are silent are not attended to."""
        mean, deviation = _moments(goal, counts)
        sounding = counts > 0
        keys = self._patches((goal - mean) * _ratio(torch.ones_like(deviation), deviation))[:, sounding]
        values, prior = goal[:, sounding], counts[sounding].log()

        def move(view: Tensor, weights: Tensor) -> Tensor:
            own, spread = _moments(view, weights)
            standard = (view - own) * _ratio(torch.ones_like(spread), spread)
            alike = self._patches(standard).mT @ keys / self.temperature + prior
            taken = values @ alike.softmax(-1).mT
            return taken + self.residual * (standard * deviation + mean - taken)

        return move

    def _patches(self, standard: Tensor) -> Tensor:
        """Unit vectors ``[bins · width, frames]`` of each frame among its neighbours."""
        around = pad(standard, ((self.width - 1) // 2, self.width // 2)).unfold(-1, self.width, 1)
        patches = around.permute(0, 2, 1).flatten(0, 1)
        unit: Tensor = patches / patches.norm(dim=0).clamp_min(1e-9)
        return unit


@dataclass(frozen=True)
class Mapped:
    """No iterations: the view of the recipe's ``representation`` is moved by ``move``, as far as the amount says."""

    representation: Invertible
    move: Move

    def __post_init__(self) -> None:
        self.__dict__["_movers"] = []

    def __call__(self, scene: Scene, rendering: Rendering | None) -> Tensor:
        """Rendered in the stem's phase if no ``rendering`` is given."""
        work, representation = scene.work, self.representation
        res = representation.keep(scene.rate)
        assert res is not None
        views, frames = seen(representation, scene.stem, scene.rate)[:, 0], activity(scene.stem, res)
        move = self._mover(scene)
        moved = torch.stack([move(view, weights) for view, weights in zip(views, frames, strict=True)])
        views = torch.lerp(views, moved, work.amount)
        scene.tell(1, 1, 0.0)
        return (rendering or ContentPhase())(work.x, representation.magnitude(views[:, None]), res, work.seed)

    def _mover(self, scene: Scene) -> Mover:
        """The move prepared for the style, once: a solver belongs to one target on one device."""
        movers: list[Mover] = self.__dict__["_movers"]
        if not movers:
            pieces = scene.style(self.representation)
            goal = torch.cat([seen(self.representation, piece.picture, scene.rate)[0, 0] for piece in pieces], -1)
            counts = torch.cat([piece.frames for piece in pieces])
            movers.append(self.move.against(goal, counts / counts.sum().clamp_min(1e-12)))
        return movers[0]
