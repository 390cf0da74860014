"""What a preset holds for recipes made of parts: weighted pieces of the references, as magnitudes or as waveforms.

Never a network's weights and never a statistic: both follow from the recipe when a target is used, so a target blends
as the union of its pieces, each counting by its share.
"""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from engine.errors import RecipeError
from engine.excerpts import Excerpts, span_magnitude
from engine.spectra import Resolution
from engine.target import Target
from engine.terms import GATE, Picture, active_frames

#: Samples whose power says whether a waveform sounds there.
BLOCK = 256


class Drawn(Picture):
    """A picture without a sound: of it only the magnitude at ``res``, ``[batch, bins, frames]``, is known."""

    def __init__(self, res: Resolution, magnitude: Tensor) -> None:
        super().__init__(magnitude.new_zeros(magnitude.shape[0], 1, 0))
        self._magnitude[res] = magnitude

    def known(self, key: Hashable, value: Tensor) -> "Drawn":
        """The picture itself, of which what is kept under ``key`` is known as well."""
        self._kept[key] = value
        return self


@dataclass(frozen=True)
class Piece:
    """A run of the references: its ``picture`` (a batch of one) and what each of its ``frames`` ``[frames]`` counts."""

    picture: Picture
    frames: Tensor


def activity(picture: Picture, keep: Resolution | None) -> Tensor:
    """What each frame of a picture counts: alike where it sounds, nothing where it is silent; ``[batch, frames]``."""
    if keep is not None:
        return active_frames(picture.magnitude(keep))
    power = picture.x.square().mean(1)
    power = torch.nn.functional.pad(power, (0, -power.shape[-1] % BLOCK)).unflatten(-1, (-1, BLOCK)).mean(-1)
    active = power > GATE * power.amax(-1, keepdim=True)
    shares: Tensor = active / active.sum(-1, keepdim=True).clamp_min(1).to(power.dtype)
    return shares


def _name(keep: Resolution | None) -> str:
    return "wave" if keep is None else f"{keep.n_fft}.{keep.hop}"


def hold(excerpts: Excerpts, keeps: Iterable[Resolution | None]) -> dict[str, Tensor]:
    """Tensors of ``excerpts`` for every one of ``keeps``: the pieces end to end, their lengths and weights.

    ``sound.N`` is ``[bins, frames]`` in half precision (``[1, samples]`` in single for waveforms, the mean of the
    channels), ``lengths.N`` ``[pieces]`` and ``frames.N`` ``[frames]``.
    """
    tensors: dict[str, Tensor] = {}
    for keep in dict.fromkeys(keeps):
        sounds, weights = [], []
        for span in excerpts.spans:
            reference = excerpts.references[span.reference]
            if keep is None:
                piece = reference[:, span.start : span.start + span.samples].mean(0)[None]
                frames = activity(Picture(piece[None]), None)[0]
            else:
                piece = span_magnitude(reference, span.start, span.samples, keep)
                frames = active_frames(piece[None])[0]
                piece = piece.half()
            sounds.append(piece)
            weights.append(frames * span.weight)
        name = _name(keep)
        tensors[f"sound.{name}"] = torch.cat(sounds, 1).contiguous()
        tensors[f"lengths.{name}"] = torch.tensor([s.shape[1] for s in sounds])
        tensors[f"frames.{name}"] = torch.cat(weights)
    return tensors


def pieces(target: Target, keep: Resolution | None, device: torch.device) -> list[Piece]:
    """The pieces of ``target`` for representations that ``keep`` this."""
    name = _name(keep)
    if f"sound.{name}" not in target.tensors:
        raise RecipeError(
            f"the preset holds nothing that recipe {target.recipe!r} needs (sound.{name}); it is of another version: "
            "learn it again"
        )
    lengths = target.tensors[f"lengths.{name}"].tolist()
    sounds = target.tensors[f"sound.{name}"].float().to(device).split(lengths, 1)
    counts = [-(-length // BLOCK) if keep is None else length for length in lengths]
    weights = target.tensors[f"frames.{name}"].float().to(device).split(counts)
    return [
        Piece(Picture(sound[None]) if keep is None else Drawn(keep, sound[None].mT.contiguous().mT), frames)
        for sound, frames in zip(sounds, weights, strict=True)
    ]


def union(parts: Sequence[tuple[Target, float]]) -> Target:
    """One target with the pieces of all, each counting by its share (which sum to one)."""
    first = parts[0][0]

    def joined(name: str) -> Tensor:
        each = [(target.tensors[name], share) for target, share in parts]
        return torch.cat([t * share if name.startswith("frames.") else t for t, share in each], -1)

    return replace(first, tensors={name: joined(name) for name in first.tensors})


def listen(target: Target, keep: Resolution | None, device: torch.device) -> Tensor:
    """All magnitudes (or samples) of a target end to end, for what needs no pieces: ``[bins, frames]``."""
    return target.tensors[f"sound.{_name(keep)}"].float().to(device)
