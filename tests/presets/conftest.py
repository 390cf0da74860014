"""A library in a temporary folder, tiny reference files, and a stand-in for the engine's learning that counts calls."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from engine import style
from engine.style import Target
from presets import preset as presets
from presets.library import Library
from presets.preset import Preset

MakeWav = Callable[..., Path]
MakePreset = Callable[..., Preset]


@pytest.fixture
def library(tmp_path: Path) -> Library:
    """An empty library whose folder does not exist yet."""
    return Library(tmp_path / "library")


@pytest.fixture
def wav(tmp_path: Path) -> MakeWav:
    """A maker of tiny sine files: ``wav("tape.wav", hz=220, rate=8000, seconds=0.5, channels=1, peak=0.5)``."""

    def make(
        name: str, *, hz: float = 220.0, rate: int = 8000, seconds: float = 0.5, channels: int = 1, peak: float = 0.5
    ) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        tone = peak * np.sin(2 * np.pi * hz * np.arange(round(rate * seconds)) / rate)
        soundfile.write(path, np.stack([tone] * channels, axis=1), rate, "PCM_24")
        return path

    return make


@pytest.fixture
def make_preset() -> MakePreset:
    """A maker of presets in memory: ``make_preset("tape", tensors={...}, rate=..., recipe=..., **card)``."""

    def make(
        name: str = "tape",
        *,
        tensors: Mapping[str, Tensor] | None = None,
        rate: int = 44_100,
        recipe: str = "identity",
        params: Mapping[str, Any] | None = None,
        **card: Any,
    ) -> Preset:
        held = {"magnitude.512": torch.arange(12.0).reshape(3, 4)} if tensors is None else tensors
        return presets.new(name, Target(recipe, dict(params or {"width": 11}), rate, held), **card)

    return make


@pytest.fixture
def learning(monkeypatch: pytest.MonkeyPatch) -> list[list[Tensor]]:
    """Replace the engine's learn and blend by the smallest ones that could be; lists what each learning was given."""
    given: list[list[Tensor]] = []

    def learn(
        references: Sequence[Tensor], rate: int, *, recipe: str = "kernel", params: Mapping[str, Any] | None = None
    ) -> Target:
        given.append(list(references))
        mean = torch.stack([reference.square().mean() for reference in references]).mean()
        return Target(recipe, dict(params or {}), rate, {"magnitude.power": mean.reshape(1, 1)})

    def blend(parts: Sequence[tuple[Target, float]]) -> Target:
        first = parts[0][0]
        total = sum(weight for _, weight in parts)
        names = first.tensors
        mixed = {n: torch.stack([t.tensors[n] * (weight / total) for t, weight in parts]).sum(0) for n in names}
        return Target(first.recipe, first.params, first.rate, mixed)

    monkeypatch.setattr(style, "learn", learn)
    monkeypatch.setattr(style, "blend", blend)
    return given
