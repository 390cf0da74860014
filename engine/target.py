"""A target: what a recipe matches, as plain tensors that can be stored, blended and moved to any device."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Target:
    """Named tensors of a ``recipe`` with its JSON parameters and the ``rate`` in Hz they hold for."""

    recipe: str
    params: Mapping[str, Any]
    rate: int
    tensors: Mapping[str, Tensor] = field(repr=False)
