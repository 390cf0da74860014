"""Features: what is computed of a view before it is compared.

Features are made ready for views of one shape (`Features.ready`, which draws or loads the network, seeded) and then
map a view ``[batch, planes, bins, frames]`` to layers of `Maps`.  Positions run along time, rows along frequency.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool1d, avg_pool1d, pad

from engine.parts.representations import Representation, seen
from engine.parts.store import Piece, activity
from engine.spectra import hz_to_mel, mel_to_hz
from engine.terms import Picture


@dataclass(frozen=True)
class Maps:
    """One layer: ``values`` ``[batch, maps, rows, positions]``, of which each position sees ``width`` frames.

    The first begins ``padding`` frames before the first frame and each next ``stride`` later; a ``width`` of 0 means
    that nobody knows and positions are spread evenly over the frames.  ``share`` is what the layer counts, ``name``
    what a statistic may ask for it by.
    """

    values: Tensor
    width: int = 1
    stride: int = 1
    padding: int = 0
    share: float = 1.0
    name: str = ""

    def weights(self, frames: Tensor) -> Tensor:
        """What each position counts where frames count ``frames`` ``[batch, frames]``; each row sums to one or zero."""
        positions = self.values.shape[-1]
        if self.width:
            short = max(0, (positions - 1) * self.stride + self.width - frames.shape[-1] - self.padding)
            padded = pad(frames, (self.padding, short))
            found = avg_pool1d(padded[:, None], self.width, self.stride)[:, 0, :positions]
        else:
            found = adaptive_avg_pool1d(frames[:, None], positions)[:, 0]
        return found / found.sum(-1, keepdim=True).clamp_min(torch.finfo(found.dtype).tiny)


@dataclass(frozen=True)
class Layer:
    """What a statistic gets: ``values`` ``[batch, maps, rows, positions]``, ``weights`` ``[batch, positions]``.

    ``runs`` are the lengths of the runs of positions that follow each other in time (none: all do).
    """

    values: Tensor
    weights: Tensor
    share: float = 1.0
    runs: tuple[int, ...] = ()
    name: str = ""


Network = Callable[[Tensor], Sequence[Maps]]


class Features(Hashable, Protocol):
    """Something that makes networks; a frozen dataclass."""

    def ready(self, view: Tensor, rate: int, seed: int) -> Network:
        """The network for views with the planes, bins, device and dtype of ``view``, drawn from ``seed``."""
        ...


@runtime_checkable
class Needy(Protocol):
    """Features that need what may not be on this machine, such as a network's weights."""

    def check(self) -> None:
        """`RecipeError` with the remedy, before anything is learnt for them in vain."""
        ...


@dataclass(frozen=True)
class Identity:
    """The view as it is: each bin a map, or with ``rows`` each plane a map and each bin a row."""

    rows: bool = False

    def ready(self, view: Tensor, rate: int, seed: int) -> Network:
        """Nothing to draw."""
        if self.rows:
            return lambda v: [Maps(v)]
        return lambda v: [Maps(v.flatten(1, 2)[:, :, None])]


@dataclass(frozen=True)
class Bands:
    """Runs of ``height`` neighbouring bins of the view: each run a row, its bins (of all planes) the maps.

    The middles of the ``rows`` runs are spread as mels are, beyond the ends stand zeros; 0 rows: every bin has one.
    """

    height: int = 11
    rows: int = 24

    def middles(self, bins: int, rate: int) -> Tensor:
        """The bin in the middle of each row, ``[rows]`` or fewer where two would be the same."""
        if not self.rows or self.rows >= bins:
            return torch.arange(bins)
        hz = mel_to_hz(torch.linspace(0, hz_to_mel(rate / 2), self.rows + 2, dtype=torch.float64)[1:-1])
        middles: Tensor = (hz * (2 / rate) * (bins - 1)).round().long().clamp(0, bins - 1).unique()
        return middles

    def ready(self, view: Tensor, rate: int, seed: int) -> Network:
        """Nothing to draw."""
        middles = self.middles(view.shape[2], rate).to(view.device)
        before, after = (self.height - 1) // 2, self.height // 2

        def bands(v: Tensor) -> list[Maps]:
            runs = pad(v, (0, 0, before, after)).unfold(2, self.height, 1)  # [batch, planes, bins, frames, height]
            return [Maps(runs[:, :, middles].permute(0, 1, 4, 2, 3).flatten(1, 2))]

        return bands


class Eye:
    """A representation with a network ready for it: how both sides of a comparison are looked at."""

    def __init__(self, representation: Representation, features: Features, stem: Picture, rate: int, seed: int) -> None:
        self.representation, self.rate = representation, rate
        self.keep = representation.keep(rate)
        self.network = features.ready(seen(representation, stem, rate), rate, seed)

    def maps(self, picture: Picture) -> Sequence[Maps]:
        """The layers of a picture, computed once."""
        return picture.once(self, lambda p: self.network(seen(self.representation, p, self.rate)))

    def layers(self, picture: Picture, frames: Sequence[Tensor]) -> list[Layer]:
        """The layers of a picture whose positions count ``frames`` (of each layer, see `weights`)."""
        return [Layer(m.values, w, m.share, name=m.name) for m, w in zip(self.maps(picture), frames, strict=True)]

    def weights(self, picture: Picture) -> list[Tensor]:
        """What the positions of each layer count, by where the picture sounds."""
        frames = activity(picture, self.keep)
        return [m.weights(frames) for m in self.maps(picture)]

    def goal(self, pieces: Sequence[Piece]) -> list[Layer]:
        """The layers of all pieces, positions end to end, each piece counting as its frames do."""
        with torch.no_grad():
            each = [(self.maps(piece.picture), piece.frames) for piece in pieces]
            layers = []
            for number, first in enumerate(each[0][0]):
                values = torch.cat([maps[number].values for maps, _ in each], -1)
                weights = torch.cat([maps[number].weights(frames[None]) * frames.sum() for maps, frames in each], -1)
                total = weights.sum(-1, keepdim=True).clamp_min(torch.finfo(weights.dtype).tiny)
                runs = tuple(maps[number].values.shape[-1] for maps, _ in each)
                layers.append(Layer(values, weights / total, first.share, runs, first.name))
            return layers
