"""Layers whose kernels have a largest singular value of one.

Miyato et al. 2018, 'Spectral normalization for generative adversarial networks': a kernel, written as a matrix, is
divided by its largest singular value, which one power iteration a call keeps track of in ``u``.  Kernels are matrices
``[last, rest]``, last being the outputs of a convolution and the inputs of a transposed one, as in the published code.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

#: As in Keras, whose statistics move by a hundredth.
BATCH_NORM_EPS, BATCH_NORM_MOMENTUM = 1e-3, 0.01
#: Power iterations before the first call: a kernel drawn at random has many singular values near its largest.
SETTLING = 30


class Spectral(nn.Module):
    """A kernel of ``shape`` with the ``fan_in`` it is drawn for (He et al. 2015, uniform), and a bias where asked for.

    Training moves ``u`` at every call.  Differs from the published code in two things: ``u`` has settled before the
    first call, so that kernels are of norm one from the beginning, and it stays in evaluation, so that the same input
    gives the same bytes.
    """

    u: Tensor

    def __init__(
        self, shape: tuple[int, ...], fan_in: int, outputs: int, bias: bool, generator: torch.Generator
    ) -> None:
        super().__init__()
        bound = math.sqrt(6 / fan_in)
        self.weight = nn.Parameter(torch.empty(shape).uniform_(-bound, bound, generator=generator))
        u, matrix = torch.randn(1, shape[0], generator=generator), self.weight.detach().flatten(1)
        for _ in range(SETTLING):
            _, u = _iterated(u, matrix)
        self.register_buffer("u", u)
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None

    def kernel(self) -> Tensor:
        """The kernel over its largest singular value; always in float32, whatever the products are made in."""
        with torch.autocast(self.weight.device.type, enabled=False):
            matrix = self.weight.flatten(1)
            with torch.no_grad():
                v, u = _iterated(self.u, matrix)
                if self.training:
                    self.u.copy_(u)
            return self.weight / ((v @ matrix.mT) @ u.mT)


def _iterated(u: Tensor, matrix: Tensor) -> tuple[Tensor, Tensor]:
    """The right vector ``[1, rest]`` that goes with the left one ``u`` ``[1, last]``, and the next left one."""
    v = functional.normalize(u @ matrix)
    return v, functional.normalize(v @ matrix.mT)


class SpectralConv(Spectral):
    """Filters of ``size`` (bands, frames) every ``stride`` frames over ``[batch, channels, bands, frames]``, no bias.

    With ``same`` frames are padded as TensorFlow does: to ``ceil(frames / stride)``, an odd frame more at the end.
    """

    def __init__(
        self,
        channels: int,
        filters: int,
        size: tuple[int, int],
        generator: torch.Generator,
        *,
        stride: int = 1,
        same: bool = False,
    ) -> None:
        super().__init__((filters, channels, *size), channels * size[0] * size[1], filters, False, generator)
        self.width, self.stride, self.same = size[1], stride, same

    def forward(self, x: Tensor) -> Tensor:
        """``[batch, filters, 1, frames]``."""
        if self.same:
            x = functional.pad(x, same_padding(x.shape[-1], self.width, self.stride))
        return functional.conv2d(x, self.kernel(), stride=(1, self.stride))


class SpectralSpread(Spectral):
    """One transposed filter over all ``bands``: ``[batch, channels, 1, frames]`` to ``[batch, 1, bands, frames]``."""

    def __init__(self, channels: int, bands: int, generator: torch.Generator) -> None:
        super().__init__((channels, 1, bands, 1), bands, 1, True, generator)

    def forward(self, x: Tensor) -> Tensor:
        """``[batch, 1, bands, frames]``."""
        # A product of matrices is five times faster on a CPU than the convolution it is.
        assert self.bias is not None
        return (self.kernel()[:, 0, :, 0].mT @ x[:, :, 0])[:, None] + self.bias


class SpectralDense(Spectral):
    """``[batch, inputs]`` to ``[batch, 1]``, with a bias."""

    def __init__(self, inputs: int, generator: torch.Generator) -> None:
        super().__init__((1, inputs), inputs, 1, True, generator)

    def forward(self, x: Tensor) -> Tensor:
        """``[batch, 1]``."""
        return functional.linear(x, self.kernel(), self.bias)


def same_padding(frames: int, width: int, stride: int) -> tuple[int, int]:
    """Zeros before and after ``frames`` for ``ceil(frames / stride)`` outputs, an odd one at the end.

    >>> same_padding(88, 9, 2)
    (3, 4)
    """
    total = max(0, (-(-frames // stride) - 1) * stride + width - frames)
    return total // 2, total - total // 2


class BatchNorm(nn.Module):
    """Batch normalisation over ``[batch, channels, 1, frames]`` as in Keras, without a count of the batches seen."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """By the batch's own moments in training, which move the running ones; by those in evaluation."""
        moments = self.running_mean, self.running_var
        return functional.batch_norm(
            x, *moments, self.weight, self.bias, self.training, BATCH_NORM_MOMENTUM, BATCH_NORM_EPS
        )


def dense(inputs: int, outputs: int, generator: torch.Generator) -> nn.Linear:
    """A plain layer drawn as Glorot & Bengio 2010 (uniform), its bias zero."""
    layer: nn.Linear = nn.utils.skip_init(nn.Linear, inputs, outputs)
    bound = math.sqrt(6 / (inputs + outputs))
    with torch.no_grad():
        layer.weight.uniform_(-bound, bound, generator=generator)
        layer.bias.zero_()
    return layer
