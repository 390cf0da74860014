"""Terms of a form of their own: what must stay of the stem, and regularisers any recipe may add.

One that compares with the style has a ``representation``, which says what a preset has to hold for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from engine.parts.representations import LogMagnitude
from engine.parts.scene import Scene
from engine.spectra import Resolution, mel_filters
from engine.terms import Chroma, Energy, Picture, Rhythm, Term, Whitened


class Keep(Protocol):
    """A term of a form of its own; a frozen dataclass."""

    def ready(self, scene: Scene) -> Term:
        """The term for this stem."""
        ...


@dataclass(frozen=True)
class KeepChroma:
    """`engine.terms.Chroma`: the pitches of the stem."""

    n_fft: int = 4096

    def ready(self, scene: Scene) -> Term:
        """0 where the pitches are the stem's, 1 where they have nothing in common."""
        return Chroma(Resolution.at(scene.rate, self.n_fft), scene.rate, scene.stem)


@dataclass(frozen=True)
class KeepRhythm:
    """`engine.terms.Rhythm`: the onsets of the stem (Tomczak 2018)."""

    n_fft: int = 2048

    def ready(self, scene: Scene) -> Term:
        """1 − correlation of the onset envelopes."""
        return Rhythm(Resolution.at(scene.rate, self.n_fft), scene.rate, scene.stem)


@dataclass(frozen=True)
class KeepEnergy:
    """`engine.terms.Energy`: the level of each frame."""

    n_fft: int = 2048

    def ready(self, scene: Scene) -> Term:
        """Mean squared difference of levels in units of 6 dB."""
        return Energy(Resolution.at(scene.rate, self.n_fft), scene.stem)


@dataclass(frozen=True)
class KeepWhitened:
    """`engine.terms.Whitened`: partials without their envelope."""

    n_fft: int = 2048

    def ready(self, scene: Scene) -> Term:
        """Relative distance of the whitened spectra."""
        return Whitened(Resolution.at(scene.rate, self.n_fft), scene.stem)


@dataclass(frozen=True)
class SmoothGain:
    """The gain over the stem is smooth where the stem is: the matting Laplacian of deep photo transfer, for sound.

    Mean of ``|∇(log x − log c)|²``, each neighbour in time and in frequency weighted by ``exp(−|∇ log c|²)``: a gain
    may jump where the stem does, and nowhere else, which leaves no single bins to twitter.
    """

    n_fft: int = 2048

    def ready(self, scene: Scene) -> Term:
        """0 for a constant gain, but for what lies 60 dB below the loudest."""
        res = Resolution.at(scene.rate, self.n_fft)
        own = scene.stem.magnitude(res)
        floor = 1e-3 * own.amax((1, 2), keepdim=True) + 1e-9
        log = (own + floor).log()
        steps = [(-(log.diff(dim=axis).square())).exp() for axis in (1, 2)]

        def term(picture: Picture) -> Tensor:
            gain = (picture.magnitude(res) + floor).log() - log
            return sum(
                ((w * gain.diff(dim=axis).square()).mean((1, 2)) for w, axis in zip(steps, (1, 2), strict=True)),
                start=gain.new_zeros(gain.shape[0]),
            )

        return term


@dataclass(frozen=True)
class Autocorrelation:
    """The style's rhythm: the autocorrelation over time of the levels of ``bands`` mel bands (Antognini et al. 2019).

    Lags go up to ``seconds``; both sides are taken about their mean and divided by lag 0, and the distance is over the
    style's own sum of squares.
    """

    representation: LogMagnitude = field(default_factory=LogMagnitude)
    bands: int = 24
    seconds: float = 1.0

    def ready(self, scene: Scene) -> Term:
        """0 where the lags are the style's."""
        res = self.representation.keep(scene.rate)
        filters = mel_filters(res, scene.rate, self.bands).to(scene.stem.x)
        pieces = scene.style(self.representation)
        longest = max(piece.frames.shape[0] for piece in pieces)
        most = min(longest - 1, scene.stem.magnitude(res).shape[-1] - 1, round(self.seconds * scene.rate / res.hop))
        lags = range(1, max(most, 1) + 1)

        def bands(picture: Picture) -> Tensor:
            return (1 + 100 * (filters @ picture.magnitude(res).to(filters).square())).log()

        found, counted = scene.stem.x.new_zeros(1, self.bands, len(lags)), scene.stem.x.new_zeros(len(lags))
        for piece in pieces:
            mine = lagged(bands(piece.picture), lags)
            reach = torch.tensor([piece.frames.shape[0] > lag for lag in lags]).to(mine)
            share = piece.frames.sum() * reach
            found, counted = found + share * mine, counted + share
        goal = found / counted.clamp_min(1e-12)
        size = goal.square().sum((1, 2)).clamp_min(1e-9)

        def term(picture: Picture) -> Tensor:
            distance: Tensor = (lagged(bands(picture), lags) - goal).square().sum((1, 2)) / size
            return distance

        return term


def lagged(bands: Tensor, lags: Sequence[int]) -> Tensor:
    """Autocorrelation of ``[batch, bands, frames]`` about its mean at each of ``lags``, over lag 0."""
    centred = bands - bands.mean(-1, keepdim=True)
    size = centred.square().sum(-1) + 1e-6
    frames = bands.shape[-1]
    each = [(centred[..., : max(frames - lag, 0)] * centred[..., min(lag, frames) :]).sum(-1) / size for lag in lags]
    return torch.stack(each, -1)
