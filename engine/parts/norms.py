"""Batch normalisation of a network that is trained."""

from collections.abc import Mapping

import torch
from torch import Tensor


def normal(values: Tensor, own: Mapping[str, Tensor], number: int, eps: float) -> Tensor:
    """``values`` ``[batch, maps, …]`` by the mean, variance, gamma and beta called ``norm{number}`` among ``own``.

    By hand, because torch 2.11's batch_norm on a CPU gives a wrong gradient where the one it gets is transposed in
    memory, as that of a Gram matrix of columns is.
    """
    shape = (-1,) + (1,) * (values.ndim - 2)
    mean, variance, gamma, beta = (own[f"norm{number}.{part}"] for part in ("mean", "variance", "gamma", "beta"))
    scale = gamma / (variance + eps).sqrt()
    return torch.addcmul((beta - mean * scale).view(shape), values, scale.view(shape))
