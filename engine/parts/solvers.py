"""Solvers: from a stem and a loss to the stem restyled.

Iterations move far enough by construction: L-BFGS takes the length of its steps from the loss, so no learning rate has
to fit the distance to go.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from engine import lbfgs
from engine.parts.mels import between_bands
from engine.parts.renderings import ContentPhase, Rendering, common_noise
from engine.parts.representations import Invertible, seen
from engine.parts.scene import Scene
from engine.parts.store import Drawn
from engine.precondition import Preconditioner
from engine.spectra import Resolution, istft, stft
from engine.terms import Picture


class Solve(Protocol):
    """A solver; a frozen dataclass."""

    def __call__(self, scene: Scene, rendering: Rendering | None) -> Tensor:
        """``scene.work.x`` restyled, same shape; ``rendering`` is the recipe's (or the user's) where there is one."""
        ...


#: Length of the first step, in units of the length of the stem.
FIRST = 0.05
#: A decibel as a logarithm of amplitude.
_DECIBEL = math.log(10) / 20


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
    steep = uphill.norm(dim=1)
    scale = torch.where(steep > 0, goal / steep.clamp_min(1e-30), torch.ones_like(steep))
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

    ``precondition`` evens out loud and quiet bins (`engine.precondition`), which suits losses on log magnitude.
    """

    iterations: float = 60
    history: int = 10
    start: str = "stem"
    precondition: bool = True

    def __call__(self, scene: Scene, rendering: Rendering | None) -> Tensor:
        """With a ``rendering`` only the magnitude of what is found is taken."""
        work, loss = scene.work, scene.loss
        start = work.x if work.start is None else work.start
        if self.start == "noise" and work.start is None:
            start = common_noise(work.x, work.seed)
        found = descend(
            scene,
            lambda y: loss(Picture(y)),
            start,
            work.x,
            scene.budget(self.iterations),
            self.history,
            Preconditioner(Picture(start), Resolution.at(scene.rate, 2048, 2)) if self.precondition else None,
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


@dataclass(frozen=True)
class OnGains:
    """L-BFGS on the gain in dB of each of ``bands`` mel bands, in each frame of the stem's own spectrum.

    Made for losses on decibels, of which such a gain is a plain shift: the search is evenly conditioned, where on the
    waveform quiet bins hardly move.  What the loss sees is what is heard, as nothing is rendered after it: one gain for
    all channels on the stem's phase, between the middles of bands interpolated, beyond the last ones held, and bent
    into ``low_db`` and ``high_db``.  With 0 ``bands`` each bin has a gain of its own.
    """

    iterations: float = 60
    history: int = 10
    bands: int = 128
    high_hz: float = 16000.0
    n_fft: int = 2048
    overlap: int = 4
    low_db: float = -24.0
    high_db: float = 18.0

    def __call__(self, scene: Scene, rendering: Rendering | None) -> Tensor:
        """The stem times its gains; with a ``rendering`` the magnitude of that."""
        work, loss = scene.work, scene.loss
        res = Resolution.at(scene.rate, self.n_fft, self.overlap)
        spectrum = stft(work.x, res)
        spread = between_bands(res, scene.rate, self.bands, self.high_hz).mT.to(work.x) if self.bands else None

        def played(gains: Tensor) -> Tensor:
            level = self._bent(gains if spread is None else spread @ gains)
            return istft(spectrum * (level * _DECIBEL).exp().mT[:, None], res, work.x.shape[-1])

        first = scene.stem if work.start is None else Picture(work.start)
        start = self._read(scene.stem.magnitude(res), first.magnitude(res), spread)
        # the search's first step: 2 dB, a twentieth of 40
        typical = torch.full_like(start, 40)
        budget = scene.budget(self.iterations)
        found = played(descend(scene, lambda g: loss(Picture(played(g))), start, typical, budget, self.history))
        if rendering is None:
            return found
        return rendering(work.x, Picture(found).magnitude(res), res, work.seed)

    def _bent(self, db: Tensor) -> Tensor:
        """``db`` between the limits, as it is near 0."""
        return torch.where(db > 0, self.high_db * (db / self.high_db).tanh(), self.low_db * (db / self.low_db).tanh())

    def _read(self, stem: Tensor, start: Tensor, spread: Tensor | None) -> Tensor:
        """The gains that make ``start`` of ``stem``, magnitudes ``[batch, bins, frames]``."""
        share = None if spread is None else spread.T / spread.sum(0)[:, None].clamp_min(1e-9)
        was, now = (m.square() if share is None else share @ m.square() for m in (stem, start))
        floor = 1e-8 * was.amax((1, 2), keepdim=True) + 1e-18
        db = ((now + floor) / (was + floor)).log() / (2 * _DECIBEL)
        # where the limit is all but reached a gain is not read, but near it
        up = self.high_db * (db / self.high_db).clamp(0, 0.95).atanh()
        down = self.low_db * (db / self.low_db).clamp(0, 0.95).atanh()
        return up + down
