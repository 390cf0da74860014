"""The parts of the references a target is made of: all of a short one, excerpts that stand for all of a long one."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine import kernel, landmarks, level
from engine.errors import AudioError
from engine.spectra import Resolution, linked_magnitude, log_magnitude
from engine.terms import GATE, active_patches

EXCERPT_FRAMES = 64  # at the main resolution: a second and a half
MOST_EXCERPTS = 240  # six minutes are looked at; a longer reference is looked at in even steps


@dataclass(frozen=True)
class Span:
    """``samples`` samples of ``reference`` from ``start`` on, and how much they count."""

    reference: int
    start: int
    samples: int
    weight: float


@dataclass(frozen=True)
class Excerpts:
    """References at the analysis level with the spans of them that a target keeps."""

    references: Sequence[Tensor]
    spans: Sequence[Span]

    def frames(self, res: Resolution) -> tuple[Tensor, Tensor]:
        """Magnitude ``[bins, frames]`` of all spans one after the other, and patch weights that sum to one.

        A patch that would reach over a joint, or that is silent, weighs nothing.
        """
        magnitudes, weights = [], []
        for span in self.spans:
            magnitude = span_magnitude(self.references[span.reference], span.start, span.samples, res)
            share = active_patches(magnitude[None])[0] * span.weight
            magnitudes.append(magnitude)
            weights.append(torch.nn.functional.pad(share, (0, kernel.WIDTH - 1)))
        joined = torch.cat(weights)[: -(kernel.WIDTH - 1)]
        return torch.cat(magnitudes, 1), joined / joined.sum().clamp_min(1e-12)


def span_magnitude(reference: Tensor, start: int, samples: int, res: Resolution) -> Tensor:
    """Linked magnitude ``[bins, frames]`` of a span, its edges seeing what stands beyond them in the reference.

    A span shorter than one patch is followed by silence, so that there is always a patch.
    """
    frames = max(samples // res.hop, kernel.WIDTH)
    margin = res.n_fft
    low = start - margin
    high = start + frames * res.hop + margin
    piece = reference[:, max(low, 0) : high]
    before = max(-low, 0)
    piece = torch.nn.functional.pad(piece, (before, high - low - before - piece.shape[1]))
    first = margin // res.hop
    return linked_magnitude(piece[None], res)[0][:, first : first + frames]


def select(references: Sequence[Tensor], rate: int, max_s: float) -> Excerpts:
    """At most ``max_s`` seconds of ``references`` ``[channels, samples]``; `AudioError` if all are silent."""
    at_level = []
    for number, reference in enumerate(references):
        loud = level.active_rms(reference, rate)
        if loud <= level.GATE_RMS:
            raise AudioError(f"reference {number + 1} is silent; expected sound above {level.GATE_DBFS:.0f} dBFS")
        at_level.append(reference * (level.ANALYSIS_RMS / loud))
    total = sum(r.shape[1] for r in at_level)
    if total <= max_s * rate:
        spans = [Span(i, 0, r.shape[1], r.shape[1] / total) for i, r in enumerate(at_level)]
        return Excerpts(at_level, spans)
    res = Resolution.at(rate, level.RESOLUTION)
    samples = EXCERPT_FRAMES * res.hop
    starts = [range(0, max(1, r.shape[1] - samples + 1), samples) for r in at_level]
    places = [(i, start) for i, each in enumerate(starts) for start in each]
    if len(places) > MOST_EXCERPTS:
        places = [places[k * len(places) // MOST_EXCERPTS] for k in range(MOST_EXCERPTS)]
    magnitudes = torch.stack([span_magnitude(at_level[i], start, samples, res) for i, start in places])
    energy = kernel.window_sum(magnitudes.square().sum(1), kernel.WIDTH)
    active = energy > GATE * energy.max()
    frames = log_magnitude(magnitudes).transpose(0, 1).flatten(1)
    similarity, mass = landmarks.excerpt_kernel(frames, EXCERPT_FRAMES, active)
    index, weights = landmarks.herd(similarity, mass, max(1, int(max_s * rate / samples)))
    return Excerpts(at_level, [Span(*places[int(k)], samples, float(w)) for k, w in zip(index, weights, strict=True)])
