"""A target: what a recipe matches, as plain tensors that can be stored, blended and moved to any device."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Target:
    """Named tensors of a ``recipe`` with its JSON parameters and the ``rate`` in Hz they hold for."""

    recipe: str
    params: Mapping[str, Any]
    rate: int
    tensors: Mapping[str, Tensor] = field(repr=False)


def union(parts: Sequence[tuple[Target, float]], sizes: Iterable[int], joint: int) -> Target:
    """One target whose frames are those of all ``parts``, each counting by its share: mean embeddings add up exactly.

    Frames are the tensors ``magnitude.N`` ``[bins, frames]`` with weights ``weights.N`` of their patches, for N in
    ``sizes``; the ``joint`` patches that reach from one part into the next weigh nothing.
    """
    tensors: dict[str, Tensor] = {}
    gap = torch.zeros(joint)
    for size in sizes:
        magnitude, weights = f"magnitude.{size}", f"weights.{size}"
        tensors[magnitude] = torch.cat([target.tensors[magnitude] for target, _ in parts], 1)
        shares = [piece for target, share in parts for piece in (target.tensors[weights] * share, gap)]
        tensors[weights] = torch.cat(shares[:-1])
    return replace(parts[0][0], tensors=tensors)
