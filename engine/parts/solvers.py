"""Solvers: from a stem and a loss to the stem restyled.

Iterations move far enough by construction: L-BFGS takes the length of its steps from the loss, so no learning rate has
to fit the distance to go.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from engine import lbfgs
from engine.parts.renderings import ContentPhase, Rendering, common_noise
from engine.parts.representations import Invertible, seen
from engine.parts.scene import Scene
from engine.parts.store import Drawn
from engine.precondition import Preconditioner
from engine.spectra import Resolution
from engine.terms import Picture


class Solve(Protocol):
    """A solver; a frozen dataclass."""

    def __call__(self, scene: Scene, rendering: Rendering | None) -> Tensor:
        """``scene.work.x`` restyled, same shape; ``rendering`` is the recipe's (or the user's) where there is one."""
        ...


#: Length of the first step, in units of the length of the stem.
FIRST = 0.05


def descend(
    scene: Scene,
    loss: Callable[[Tensor], Tensor],
    start: Tensor,
    stem: Tensor,
    iterations: int,
    history: int,
    precondition: lbfgs.Preconditioner | None = None,
) -> Tensor:
    """Where L-BFGS ends from ``start`` (batch first) after ``iterations`` evaluations of ``loss`` ``[batch]``.

    Whatever the scale of a loss, the search sees one whose gradient at the start is a twentieth as long as ``stem``:
    where a loss bends down (Gram matrices near silence) the search goes along the gradient, and neither creeps nor
    leaps.
    """
    differentiated = lbfgs.differentiate(loss, start.shape)
    first = differentiated(start.flatten(1))
    uphill = precondition(first[1]) if precondition else first[1]
    goal = FIRST * stem.flatten(1).norm(dim=1).clamp_min(1e-12)
    scale = goal / uphill.norm(dim=1).clamp_min(1e-30)
    pending = [first]

    def objective(x: Tensor) -> tuple[Tensor, Tensor]:
        losses, gradient = pending.pop() if pending else differentiated(x)
        return losses * scale, gradient * scale[:, None]

    units = scale.cpu().double()

    def report(progress: lbfgs.Progress) -> None:
        scene.tell(progress.evaluation, iterations, float((progress.losses / units).mean()))

    found = lbfgs.minimise(
        objective,
        start.flatten(1),
        evaluations=iterations,
        history=history,
        first_step=float((goal / start.flatten(1).norm(dim=1).clamp_min(1e-12)).mean()),
        precondition=precondition,
        on_progress=report,
    )
    return found.x.view(start.shape)


@dataclass(frozen=True)
class OnWaveform:
    """L-BFGS on the samples, from the stem (or the first pass), or with ``start="noise"`` from noise.

    ``precondition`` evens out loud and quiet bins (`engine.precondition`), with a ``power`` and ``bend`` that suit the
    loss: those of log magnitude, or 2 and 0.1 for decibels.
    """

    iterations: float = 60
    history: int = 10
    start: str = "stem"
    precondition: bool = True
    power: float = 0.75
    bend: float = 1.0

    def __call__(self, scene: Scene, rendering: Rendering | None) -> Tensor:
        """With a ``rendering`` only the magnitude of what is found is taken."""
        work, loss = scene.work, scene.loss
        start = work.x if work.start is None else work.start
        if self.start == "noise" and work.start is None:
            start = common_noise(work.x, work.seed)
        res = Resolution.at(scene.rate, 2048, 2)
        even = Preconditioner(Picture(start), res, self.power, self.bend) if self.precondition else None
        found = descend(
            scene,
            lambda y: loss(Picture(y)),
            start,
            work.x,
            scene.budget(self.iterations),
            self.history,
            even,
        )
        if rendering is None:
            return found
        res = Resolution.at(scene.rate, 2048)
        return rendering(work.x, Picture(found).magnitude(res), res, work.seed)


@dataclass(frozen=True)
class OnSpectrogram:
    """L-BFGS on the view of the recipe's first representation, which the rendering then makes a sound of.

    ``start`` is the ``stem``'s view or ``noise`` of a thousandth; a second pass starts from the first one's result.
    With ``clamped`` the view stays between 0 and 1 all the way, as in Dipani's code: what was louder is cut.
    """

    iterations: float = 300
    history: int = 10
    start: str = "stem"
    clamped: bool = False

    def __call__(self, scene: Scene, rendering: Rendering | None) -> Tensor:
        """The magnitude found, in the stem's phase if no ``rendering`` is given."""
        representation: Invertible = scene.representations[0]  # type: ignore[assignment]
        res = representation.keep(scene.rate)
        assert res is not None
        work, loss = scene.work, scene.loss

        def within(view: Tensor) -> Tensor:
            return view.clamp(0, 1) if self.clamped else view

        def drawn(view: Tensor) -> Picture:
            picture = Drawn(res, representation.magnitude(view))
            return picture.known(representation, view)

        begin = scene.stem if work.start is None else Picture(work.start)
        start = seen(representation, begin, scene.rate).contiguous()
        if self.start == "noise" and work.start is None:
            generator = torch.Generator().manual_seed(work.seed)
            start = (torch.randn(start.shape[1:], generator=generator) * 1e-3).to(start).expand_as(start).contiguous()
        view = descend(
            scene,
            lambda v: loss(drawn(within(v))),
            within(start),
            seen(representation, scene.stem, scene.rate),
            scene.budget(self.iterations),
            self.history,
        )
        view = within(view)
        render = rendering or ContentPhase()
        return render(work.x, representation.magnitude(view), res, work.seed)
