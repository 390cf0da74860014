"""The terms a recipe's loss is made of: each sees the spectra of a batch of waveforms and gives one loss per problem.

A term is built once from the stem (what must stay) or the target (what must come) and called at every evaluation with
a `Picture`.  Every term is divided by what it is at a known point, so a weight means the same on every pair of sounds.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from engine import kernel
from engine.fold import fold
from engine.spectra import Resolution, chroma_filters, linked_magnitude, log_magnitude, mel_filters

Term = Callable[["Picture"], Tensor]
Kept = TypeVar("Kept")


class Picture:
    """The spectra of waveforms ``[batch, channels, samples]``, each computed when first asked for and then kept."""

    def __init__(self, x: Tensor) -> None:
        self.x = x
        self._magnitude: dict[Resolution, Tensor] = {}
        self._log: dict[Resolution, Tensor] = {}
        self._folded: dict[Resolution, Tensor] = {}
        self._kept: dict[Hashable, Any] = {}

    def once(self, key: Hashable, make: "Callable[[Picture], Kept]") -> "Kept":
        """What ``make`` makes of this picture, made when ``key`` is first asked for and then kept."""
        if key not in self._kept:
            self._kept[key] = make(self)
        found: Kept = self._kept[key]
        return found

    def magnitude(self, res: Resolution) -> Tensor:
        """Linked magnitude ``[batch, bins, frames]``."""
        if res not in self._magnitude:
            self._magnitude[res] = linked_magnitude(self.x, res)
        return self._magnitude[res]

    def log(self, res: Resolution) -> Tensor:
        """``log(1 + magnitude)``, ``[batch, bins, frames]``."""
        if res not in self._log:
            self._log[res] = log_magnitude(self.magnitude(res))
        return self._log[res]

    def folded(self, res: Resolution) -> Tensor:
        """`log` with the bins above 11 kHz in groups: what the kernel's patches are made of."""
        if res not in self._folded:
            self._folded[res] = fold(self.log(res), res)
        return self._folded[res]


@dataclass(frozen=True)
class Weighted:
    """A sum of terms with weights."""

    terms: Sequence[tuple[float, Term]]

    def __call__(self, picture: Picture) -> Tensor:
        """The weighted sum, ``[batch]``."""
        total = torch.zeros(picture.x.shape[0], dtype=picture.x.dtype, device=picture.x.device)
        for weight, term in self.terms:
            total = total + weight * term(picture)
        return total


@dataclass(frozen=True)
class Goal:
    """A target at one resolution as losses want it.

    ``log`` and (folded) ``patches`` are ``[bins, frames]``, ``weights`` ``[patches]`` is what each patch counts, and
    ``constant`` the part of the style loss that does not depend on the stem; all with one more dimension in front where
    every problem of a batch has a goal of its own.
    """

    res: Resolution
    log: Tensor
    patches: Tensor
    weights: Tensor
    constant: Tensor

    @classmethod
    def of(cls, res: Resolution, magnitude: Tensor, weights: Tensor) -> "Goal":
        """The goal of ``magnitude`` ``[bins, frames]`` at the analysis level."""
        log = log_magnitude(magnitude).mT.contiguous().mT
        patches = fold(log, res)
        return cls(res, log, patches, weights, kernel.self_term(patches, weights))

    @classmethod
    def joined(cls, parts: Sequence[tuple["Goal", int]]) -> "Goal":
        """The goals of a batch in which the next so many problems have each goal, in order.

        Where one has fewer frames than another it is followed by empty ones, whose patches have no weight.
        """
        if len(parts) == 1:
            return parts[0][0]
        frames = max(goal.log.shape[-1] for goal, _ in parts)

        def rows(of: Callable[[Goal], Tensor]) -> Tensor:
            padded = [(torch.nn.functional.pad(of(g), (0, frames - g.log.shape[-1])), count) for g, count in parts]
            return torch.cat([one.expand(count, *one.shape) for one, count in padded])

        constant = torch.cat([goal.constant.expand(count) for goal, count in parts])
        log, patches = (rows(of).mT.contiguous().mT for of in (lambda g: g.log, lambda g: g.patches))
        return cls(parts[0][0].res, log, patches, rows(lambda g: g.weights), constant)


class Style:
    """Squared MMD to a goal's patches over its value at the stem: 1 = untreated, 0 = the style's statistics."""

    def __init__(self, goal: Goal, stem: Picture) -> None:
        self.goal = goal
        self.active = active_patches(stem.magnitude(goal.res))
        self.unit: Tensor | float = 1.0
        self.unit = self(stem).clamp_min(1e-12)

    def __call__(self, picture: Picture) -> Tensor:
        """Relative style distance, ``[batch]``."""
        goal = self.goal
        cross = kernel.cross_terms(picture.folded(goal.res), goal.patches, self.active, goal.weights)
        return (cross + goal.constant) / self.unit


class Content:
    """Distance of every patch to the stem's own, over the stem's energy in the same kernel."""

    def __init__(self, res: Resolution, stem: Picture) -> None:
        self.res, self.stem = res, stem.folded(res)
        self.weights = self.stem.new_ones(self.stem.shape[0], self.stem.shape[-1] - kernel.WIDTH + 1)
        energy = kernel.squared_norms(self.stem.mT, kernel.WIDTH).sum(-1) / 2
        self.unit = energy.clamp_min(1e-12)

    def __call__(self, picture: Picture) -> Tensor:
        """Relative content distance, ``[batch]``."""
        return kernel.content(picture.folded(self.res), self.stem, self.weights) / self.unit


class _BoxMean(torch.autograd.Function):
    """Moving average over ``width`` bins of ``[..., bins]``, zeros beyond the ends; it is its own transpose."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, width: int) -> Tensor:
        ctx.width = width
        return _box_sum(rows, width) / width

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return _box_sum(grad, ctx.width) / ctx.width, None


def _box_sum(rows: Tensor, width: int) -> Tensor:
    """Centred sums of an odd ``width`` neighbours, built by doubling (five times faster than a pooling layer)."""
    size = rows.shape[-1]
    run = torch.nn.functional.pad(rows, (width // 2, width // 2))
    out, offset, length = run[..., :size].clone(), 1, 2  # an odd width begins with a run of one
    while length <= width:
        run = run[..., : -length // 2] + run[..., length // 2 :]
        if width & length:
            out += run[..., offset : offset + size]
            offset += length
        length *= 2
    return out


def whiten(log: Tensor, width: int = 25) -> Tensor:
    """What stands above the moving average over ``width`` bins: pitch without the spectral envelope.

    ``[batch, bins, frames]`` in and out.
    """
    mean: Tensor = _BoxMean.apply(log.mT, width)  # type: ignore[no-untyped-call]
    return (log.mT - mean).relu().mT


class Whitened:
    """`Content` on the whitened spectrum: the stem's pitches, whatever envelope the style gives them."""

    def __init__(self, res: Resolution, stem: Picture) -> None:
        self.res, self.stem = res, whiten(stem.folded(res))
        self.weights = self.stem.new_ones(self.stem.shape[0], self.stem.shape[-1] - kernel.WIDTH + 1)
        energy = kernel.squared_norms(self.stem.mT, kernel.WIDTH).sum(-1) / 2
        self.unit = energy.clamp_min(1e-12)

    def __call__(self, picture: Picture) -> Tensor:
        """Relative distance of the whitened spectra, ``[batch]``."""
        return kernel.content(whiten(picture.folded(self.res)), self.stem, self.weights) / self.unit


class Chroma:
    """1 − cosine of chroma frames, each weighted by how much pitch the stem has there."""

    def __init__(self, res: Resolution, rate: int, stem: Picture, low_hz: float = 60.0) -> None:
        filters = chroma_filters(res, rate, low_hz=low_hz).to(stem.x)
        self.top = int((res.frequencies(rate) < 3500).sum())
        self.res, self.filters = res, filters[:, : self.top].contiguous()
        chroma = self._chroma(stem)
        norm = chroma.norm(dim=1)
        self.direction = chroma / norm.clamp_min(1e-12)[:, None]
        self.weights = norm / norm.sum(-1, keepdim=True).clamp_min(1e-12)

    def _chroma(self, picture: Picture) -> Tensor:
        return self.filters @ picture.magnitude(self.res)[:, : self.top]

    def __call__(self, picture: Picture) -> Tensor:
        """Mean angle of the chroma, ``[batch]``, 0…1."""
        chroma = self._chroma(picture)
        cosine = (chroma * self.direction).sum(1) / (chroma.square().sum(1) + 1e-12).sqrt()
        angle: Tensor = (self.weights * (1 - cosine)).sum(-1)
        return angle


class Rhythm:
    """1 − correlation of onset envelopes (Tomczak 2018's rhythm loss, on mel bands)."""

    def __init__(self, res: Resolution, rate: int, stem: Picture, bands: int = 64) -> None:
        self.res, self.filters = res, mel_filters(res, rate, bands).to(stem.x)
        self.onsets = self._normalised(stem)

    def _normalised(self, picture: Picture) -> Tensor:
        power = self.filters @ picture.magnitude(self.res).square()
        level = log_magnitude(10 * (power + 1e-10).sqrt())
        onset = level.diff(dim=-1).relu().mean(1)
        onset = onset - onset.mean(-1, keepdim=True)
        return onset / (onset.square().sum(-1, keepdim=True) + 1e-12).sqrt()

    def __call__(self, picture: Picture) -> Tensor:
        """1 − correlation, ``[batch]``, 0…2."""
        return 1 - (self._normalised(picture) * self.onsets).sum(-1)


class Moments:
    """Distance of the mean and deviation over time of each log mel band to the target's, over that at the stem.

    First and second moments of a band carry most of a timbre; the kernel alone is slow to move them.
    """

    def __init__(self, goal: Goal, rate: int, stem: Picture, bands: int = 64) -> None:
        self.res, self.filters = goal.res, mel_filters(goal.res, rate, bands).to(stem.x)
        self.mean, self.deviation = self._moments(goal.log.exp() - 1, kernel.frame_weights(goal.weights))
        self.weights = active_frames(stem.magnitude(goal.res))
        self.unit: Tensor | float = 1.0
        self.unit = self(stem).clamp_min(1e-9)

    def _moments(self, magnitude: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        level = (1 + 100 * (self.filters @ magnitude.square())).log()
        mean = (level * weights[..., None, :]).sum(-1)
        variance = ((level - mean[..., None]).square() * weights[..., None, :]).sum(-1)
        return mean, (variance + 1e-4).sqrt()

    def __call__(self, picture: Picture) -> Tensor:
        """Relative squared distance, ``[batch]``."""
        mean, deviation = self._moments(picture.magnitude(self.res), self.weights)
        return ((mean - self.mean).square() + (deviation - self.deviation).square()).mean(-1) / self.unit


GATE = 1e-4  # 40 dB below the loudest


def active_frames(magnitude: Tensor) -> Tensor:
    """Equal weights over the frames within 40 dB of the loudest: ``[batch, bins, frames]`` to ``[batch, frames]``."""
    return active_patches(magnitude, 1)


def active_patches(magnitude: Tensor, width: int = kernel.WIDTH) -> Tensor:
    """`active_frames` for patches of ``width`` frames: ``[batch, patches]``; each row sums to one, or is all zero."""
    energy = kernel.window_sum(magnitude.square().sum(1), width)
    active = energy > GATE * energy.amax(1, keepdim=True)
    return active / active.sum(1, keepdim=True).clamp_min(1).to(magnitude.dtype)


class Energy:
    """Mean squared difference of frame levels, in units of 6 dB, the mean level left free.

    Frames 60 dB below the loudest are left out: a level near silence has a slope without end, which stalls the search,
    and silence is given back as it was in any case.
    """

    def __init__(self, res: Resolution, stem: Picture, floor: float = 1e-6) -> None:
        self.res, self.floor = res, floor
        self.level = self._level(stem)
        heard = (self.level > self.level.amax(-1, keepdim=True) - 60).to(self.level.dtype)
        self.weights = heard / heard.sum(-1, keepdim=True)

    def _level(self, picture: Picture) -> Tensor:
        power = picture.magnitude(self.res).square().mean(1)
        return 10 / 2.302585093 * (power + self.floor).log()

    def __call__(self, picture: Picture) -> Tensor:
        """Mean of (difference / 6 dB)², ``[batch]``."""
        difference = self._level(picture) - self.level
        difference = difference - (self.weights * difference).sum(-1, keepdim=True)
        return (self.weights * (difference / 6).square()).sum(-1)
