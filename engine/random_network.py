"""The explicit one-layer random network: what the kernel is the limit of, and the yardstick it is judged by."""

import math

import torch
from torch import Tensor

from engine.kernel import WIDTH, network_scale


class RandomNetwork:
    """``filters`` Gaussian filters of ``width`` frames over all bins, then ReLU, no bias (Ulyanov & Lebedev 2016)."""

    def __init__(self, bins: int, filters: int = 4096, *, width: int = WIDTH, seed: int = 0) -> None:
        _, scale = network_scale(bins, filters, width)
        generator = torch.Generator().manual_seed(seed)
        self.weight = torch.randn(filters, bins, width, generator=generator) * math.sqrt(scale / filters)
        self.filters = filters

    def to(self, like: Tensor) -> "RandomNetwork":
        """The network on the device and in the dtype of ``like``."""
        self.weight = self.weight.to(like)
        return self

    def features(self, log: Tensor) -> Tensor:
        """Rectified responses ``[filters, frames - width + 1]`` to a log magnitude ``[bins, frames]``."""
        return torch.nn.functional.conv1d(log[None], self.weight)[0].relu()


def gram(features: Tensor) -> Tensor:
    """Mean outer product over time of ``[filters, frames]``: ``[filters, filters]``."""
    return features @ features.T / features.shape[1]


def style_distance(a: Tensor, b: Tensor) -> Tensor:
    """Squared Frobenius distance of the Gram matrices of two feature sets, through the small frame-frame products."""

    def mean_square(x: Tensor, y: Tensor) -> Tensor:
        return (x.T @ y).square().sum() / (x.shape[1] * y.shape[1])

    return mean_square(a, a) - 2 * mean_square(a, b) + mean_square(b, b)
