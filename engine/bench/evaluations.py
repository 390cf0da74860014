"""One evaluation, loss and gradient: the kernel in closed form against the random network it is the limit of."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from engine import device as devices
from engine import kernel, lbfgs, level
from engine.bench import pairs
from engine.bench.clock import interleaved, threads
from engine.bench.pairs import Pair
from engine.random_network import RandomNetwork, gram
from engine.spectra import Resolution
from engine.terms import Picture

RATE_HZ = 22050
ALPHA = 0.01
SEED = 7


@dataclass(frozen=True)
class Evaluation:
    """What one evaluation takes on one core, and the losses it found, which all ways should agree on."""

    name: str
    cpu_s: float
    wall_s: float
    loss: float


@dataclass(frozen=True)
class Comparison:
    """Evaluations of one loss of one sound in several ways; ``filters`` is the width of the explicit network."""

    pair: str
    bins: int
    frames: int
    filters: int
    rows: tuple[Evaluation, ...]

    @property
    def ratio(self) -> float:
        """How many evaluations of the kernel one of the explicit network pays for, in CPU seconds."""
        return self.rows[0].cpu_s / self.rows[1].cpu_s


def compare(pair: Pair, seconds: float, filters: int, rounds: int, device: torch.device) -> Comparison:
    """Time both on mono ``pair`` at 22 050 Hz, by turns, on one core (or on ``device`` where that is a GPU).

    Both see the log magnitude of the two sounds together, where neither loss is at an end of its range, and give the
    gradient in it.
    """
    made = pairs.make(pair, seconds, RATE_HZ, mono=True)
    stem, style = (x * (level.ANALYSIS_RMS / level.rms(x)) for x in made)
    res = Resolution.at(RATE_HZ, 2048)
    mixed = ((stem + style) / 2)[None].to(device)
    x, c, a = (Picture(y).log(res).contiguous() for y in (mixed, stem[None].to(device), style[None].to(device)))
    with threads(1), devices.arranged(device):
        explicit = lbfgs.differentiate(_explicit(c, a, filters), x.shape)
        exact = _exact(c, a, filters)
        from_log = lbfgs.differentiate(exact, x.shape)
        from_wave = lbfgs.differentiate(lambda y: exact(Picture(y).log(res)), mixed.shape)
        ways: tuple[tuple[str, Callable[[], tuple[Tensor, Tensor]]], ...] = (
            (f"explicit network, {filters} filters", lambda: explicit(x.flatten(1))),
            ("kernel", lambda: from_log(x.flatten(1))),
            ("kernel, from the waveform and back", lambda: from_wave(mixed.flatten(1))),
        )
        spent = interleaved([work for _, work in ways], rounds, device)
        rows = tuple(
            Evaluation(name, took.cpu_s, took.wall_s, float(work()[0]))
            for (name, work), took in zip(ways, spent, strict=True)
        )
    return Comparison(pair.title, res.bins, x.shape[-1], filters, rows)


def _explicit(c: Tensor, a: Tensor, filters: int) -> Callable[[Tensor], Tensor]:
    """The classic loss as recipe ``ulyanov`` computes it: features, Gram matrices, their distances."""
    network = RandomNetwork(c.shape[1], filters, seed=SEED).to(c)
    kept, grams = network.features(c[0]), gram(network.features(a[0]))

    def loss(log: Tensor) -> Tensor:
        features = network.features(log[0])
        return ((gram(features) - grams).square().sum() + ALPHA * (features - kept).square().sum())[None]

    return loss


def _exact(c: Tensor, a: Tensor, filters: int) -> Callable[[Tensor], Tensor]:
    """The same loss in expectation, in closed form."""
    style, content = kernel.network_scale(c.shape[1], filters)
    patches = c.shape[-1] - kernel.WIDTH + 1
    u = kernel.even_weights(patches, c)[None]
    v = kernel.even_weights(a.shape[-1] - kernel.WIDTH + 1, a)
    ones, constant = torch.ones_like(u), kernel.self_term(a[0], v)

    def loss(log: Tensor) -> Tensor:
        pull = kernel.cross_terms(log, a[0], u, v) + constant
        return style * pull + ALPHA * content * kernel.content(log, c, ones)

    return loss
