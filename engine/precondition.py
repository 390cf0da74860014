"""A preconditioner for losses on log magnitude: P = e Fᵀ h F e, with F the windowed STFT of the start.

∂log(1+a)/∂a = 1/(1+a): a loud bin's loss barely moves while a quiet one's runs away, so plain gradient steps creep.
Scaling bin by bin with h = ((a₀ + 1)/max)^power at the start a₀ evens that out and halves the evaluations; P is
symmetric and positive, which is all that quasi-Newton needs.  Half the usual overlap is enough.
"""

import torch
from torch import Tensor

from engine.spectra import OverlapAdd, Resolution, assembled, frames_of, hann, overlap_add, spans
from engine.terms import Picture


class Preconditioner:
    """P applied to gradients ``[batch, channels * samples]`` of the waveform in ``start``."""

    def __init__(self, start: Picture, res: Resolution, power: float = 0.75) -> None:
        x = start.x
        self.shape, self.res = x.shape, res
        weight = start.magnitude(res).mT + 1
        self.weight = (weight / weight.amax((1, 2), keepdim=True)).pow_(power)[:, None]
        window = hann(res.n_fft, x.device, x.dtype)
        cover = overlap_add((window * window).expand(weight.shape[1], -1), res, x.shape[-1])
        self.edge = cover.clamp_min(1e-3).rsqrt()
        self.window = window

    def __call__(self, gradient: Tensor) -> Tensor:
        """P g, same shape as g."""
        framed = frames_of(gradient.view(self.shape) * self.edge, self.res)
        out, parts = None, spans(framed)
        for span in parts:
            spectrum = torch.fft.rfft(framed[..., span, :] * self.window).mul_(self.weight[..., span, :])
            back = torch.fft.irfft(spectrum, self.res.n_fft)
            if len(parts) == 1:
                sound = assembled(back, self.window, 1.0, self.res.hop, self.shape[-1])
                return sound.mul_(self.edge).flatten(1)
            out = out or OverlapAdd(back, framed.shape[-2], self.res)
            out.add(span.start, back.mul_(self.window))
        assert out is not None
        return out.sound(self.shape[-1]).mul_(self.edge).flatten(1)
