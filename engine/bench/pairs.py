"""The material that is measured on: stems and references of `engine.material`, as tensors."""

from dataclasses import dataclass

import torch
from torch import Tensor

from engine import material


@dataclass(frozen=True)
class Pair:
    """The names of a stem and of the reference it is restyled to."""

    stem: str
    style: str

    @property
    def title(self) -> str:
        """The pair as tables name it."""
        return f"{self.stem} → {self.style}"


PAIRS = (Pair("riff", "organ"), Pair("voice", "choir"), Pair("drums", "rain"), Pair("bass", "choir"))


def make(pair: Pair, seconds: float, rate: int, *, mono: bool = False) -> tuple[Tensor, Tensor]:
    """Stem and reference of ``pair``, float32 ``[2, samples]``, or ``[1, samples]`` if ``mono``."""
    stem, style = (
        torch.from_numpy(material.make(name, seconds=seconds, rate=rate)) for name in (pair.stem, pair.style)
    )
    return (stem.mean(0, keepdim=True), style.mean(0, keepdim=True)) if mono else (stem, style)
