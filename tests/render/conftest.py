"""Stems, presets and albums small enough to render in milliseconds."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from engine import audio
from engine.style import Target
from presets import preset
from presets.library import Library

RATE = 8000
Noise = Callable[..., Tensor]
MakeStem = Callable[..., Path]


def _noise(channels: int = 2, samples: int = 1600, *, peak: float = 0.5, seed: int = 0) -> Tensor:
    found = torch.randn(channels, samples, generator=torch.Generator().manual_seed(seed))
    return found / found.abs().max() * peak


@pytest.fixture(scope="session")
def noise() -> Noise:
    """A maker of white noise ``[channels, samples]`` whose largest sample is ``peak``."""
    return _noise


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """A library of presets that change nothing: ``tape``, ``rain``, and ``half``, of amount 0.5 and with a chain."""
    library = Library(tmp_path_factory.mktemp("library"))
    for seed, name in enumerate(("tape", "rain", "half")):
        target = Target("identity", {}, RATE, {"frames": _noise(1, 16, seed=seed)})
        chain = [{"plugin": "invert"}] if name == "half" else []
        library.save(preset.new(name, target, amount=0.5 if name == "half" else 1.0, chain=chain))
    return library


@pytest.fixture
def make_stem(tmp_path: Path) -> MakeStem:
    """A maker of stems below the test's folder: name, samples, subtype, container and rate are by choice."""

    def make(
        name: str = "vox.wav",
        samples: Tensor | None = None,
        subtype: str = "PCM_24",
        *,
        container: str = "WAV",
        rate: int = RATE,
    ) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        audio.write(path, _noise() if samples is None else samples, rate, audio.Format(container, subtype))
        return path

    return make


@pytest.fixture
def contents(tmp_path: Path) -> Callable[..., list[str]]:
    """A lister of the files below a folder (the test's own by default), stamps left out."""

    def listed(folder: Path = tmp_path) -> list[str]:
        files = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
        return sorted(path.as_posix() for path in files if ".gramophone" not in path.parts)

    return listed
