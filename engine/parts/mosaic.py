"""Mosaicing by non-negative matrix factorisation with fixed templates (Driedger, Prätzlich & Müller 2015).

The stem's magnitudes V are approximated by W H, the columns of W being magnitude frames of the style.  Activations H
start even and follow the Kullback-Leibler updates of Lee & Seung 2001; before each, what is sparse in them is
strengthened (section 3 of the paper), iteration l of L weakening the rest by 1 − (l + 1) / L:

    repetition   all but the greatest activation of a template within ± r frames
    polyphony    all but the p greatest activations of a frame
    continuity   sums along diagonals over ± c frames: templates that follow each other sound one after the other

A few updates without rules follow, which are ours: what is still played finds its level, and nothing else begins to.
Then the frames themselves, phases and all, are added up by H.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
import torchaudio  # type: ignore[import-untyped]
from torch import Tensor
from torch.nn.functional import max_pool1d, pad

from engine.parts.renderings import Rendering
from engine.parts.representations import Waveform
from engine.parts.scene import Scene
from engine.spectra import Resolution, istft, linked_magnitude, stft


def transposed(x: Tensor, semitones: int) -> Tensor:
    """``[..., samples]`` played faster or slower, so that it is so many semitones higher."""
    if semitones == 0:
        return x
    steps = round(1000 * 2 ** (semitones / 12))
    common = math.gcd(steps, 1000)
    out: Tensor = torchaudio.functional.resample(x, steps // common, 1000 // common, lowpass_filter_width=16)
    return out


@dataclass(frozen=True)
class Templates:
    """Frames of the style ``[frames, bins]``, complex, in runs with ``gap`` rows of silence between them."""

    frames: Tensor

    @cached_property
    def magnitude(self) -> Tensor:
        """``[frames, bins]``."""
        return self.frames.abs()

    @classmethod
    def of(cls, sounds: Sequence[Tensor], res: Resolution, gap: int) -> "Templates":
        """Those of ``sounds`` ``[samples]`` each."""
        return cls(torch.cat([pad(stft(sound, res), (0, 0, 0, gap)) for sound in sounds]))


@dataclass(frozen=True)
class Mosaic:
    """Plays frames of the style, transposed by up to ``semitones``, as the stem's spectra ask for them.

    Only bins up to 11 kHz decide what is played.  Channels share the frames: each is as loud as the stem's is in a
    bin, and as far ahead or behind the loudest.
    """

    iterations: int = 20
    settling: int = 10
    repetition: int = 7
    polyphony: int = 10
    continuity: int = 3
    semitones: int = 6
    n_fft: int = 2048
    overlap: int = 2
    representation: Waveform = field(default_factory=Waveform)

    def __post_init__(self) -> None:
        self.__dict__["_templates"] = []

    def __call__(self, scene: Scene, rendering: Rendering | None) -> Tensor:
        """The style's own phase, or that of the ``rendering`` if there is one; below amount 1 the stem is mixed in."""
        work = scene.work
        res = Resolution.at(scene.rate, self.n_fft, self.overlap)
        templates = self._corpus(scene, res)
        top = res.low or res.bins
        goal = linked_magnitude(work.x, res)[:, :top].mT / res.scale
        ruled, free = scene.budget(self.iterations), self.settling

        def tell(iteration: int, loss: float) -> None:
            scene.tell(iteration, ruled + free, loss)

        h = self.activations(goal, templates.magnitude[:, :top], ruled, tell)
        played = torch.complex(h @ templates.frames.real, h @ templates.frames.imag)
        if rendering is not None:
            magnitude = torch.lerp(linked_magnitude(work.x, res), played.abs().mT * res.scale, work.amount)
            return rendering(work.x, magnitude, res, work.seed)
        styled = istft(_spread(played, stft(work.x, res)), res, work.x.shape[-1])
        return torch.lerp(work.x, styled, work.amount)

    def activations(
        self, goal: Tensor, templates: Tensor, iterations: int, tell: Callable[[int, float], None]
    ) -> Tensor:
        """``[batch, frames, templates]`` with which ``templates`` ``[templates, bins]`` make ``goal``.

        ``goal`` is ``[batch, frames, bins]``; ``tell`` gets each iteration and the divergence it began with, for each
        unit of the goal and at the goal's level: sums along diagonals are louder until the update that follows.
        """
        tiny = 1e-9 * goal.amax((1, 2), keepdim=True) + 1e-12
        total = goal.sum((1, 2)).clamp_min(1e-12)
        sums = templates.sum(1)
        # even activations at the goal's level
        start = goal.sum((1, 2)) / (goal.shape[1] * sums.sum()).clamp_min(1e-12)
        h = start[:, None, None].expand(*goal.shape[:2], templates.shape[0])
        unplayed = sums <= 1e-6 * sums.amax()
        for step in range(iterations + self.settling):
            if step < iterations:
                h = self.sparse(h, 1 - (step + 1) / iterations)
            model = h @ templates + tiny
            level = model * (total / model.sum((1, 2)))[:, None, None]
            tell(step + 1, float((torch.xlogy(goal, goal / level).sum((1, 2)) / total).mean()))
            h = h * ((goal / model) @ templates.mT) / sums.clamp_min(1e-12)
            h = h.masked_fill(unplayed, 0)
        return h

    def sparse(self, h: Tensor, rest: float) -> Tensor:
        """Activations ``[batch, frames, templates]`` whose repetitions and lesser voices are multiplied by ``rest``."""
        r, p, c = self.repetition, self.polyphony, self.continuity
        if r:
            greatest = max_pool1d(h.mT, 2 * r + 1, 1, r).mT
            h = torch.where(h >= greatest, h, h * rest)
        if p < h.shape[-1]:
            least = h.topk(p, -1)[0][..., -1:]
            h = torch.where(h >= least, h, h * rest)
        if not c:
            return h
        frames, templates = h.shape[1:]
        wide = pad(h, (c, c, c, c))
        total = torch.zeros_like(h)
        for shift in range(2 * c + 1):
            total += wide[:, shift : shift + frames, shift : shift + templates]
        return total

    def _corpus(self, scene: Scene, res: Resolution) -> Templates:
        """The style's frames in all transpositions, once: a solver belongs to one target on one device."""
        kept: list[Templates] = self.__dict__["_templates"]
        if not kept:
            sounds = [piece.picture.x[0, 0] for piece in scene.style(self.representation)]
            shifts = range(-self.semitones, self.semitones + 1)
            moved = [transposed(sound, shift) for sound in sounds for shift in shifts]
            kept.append(Templates.of(moved, res, self.continuity))
        return kept[0]


def _spread(played: Tensor, stem: Tensor) -> Tensor:
    """A spectrum ``[batch, frames, bins]`` on the channels of the ``stem`` ``[batch, channels, frames, bins]``.

    Levels in a bin are in proportion to the stem's, and phases as far from the loudest channel's.
    """
    size = stem.abs()
    linked = size.square().mean(1, keepdim=True).sqrt()
    share = torch.where(linked > 0, size / linked.clamp_min(1e-12), torch.ones_like(size))
    loudest = size.square().sum((2, 3)).argmax(1)
    ahead = stem * stem[torch.arange(stem.shape[0], device=stem.device), loudest][:, None].conj()
    turn = torch.where(ahead.abs() > 0, ahead / ahead.abs().clamp_min(1e-20), torch.ones_like(ahead))
    return played[:, None] * turn * share
