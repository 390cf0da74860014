"""How the default recipe sounds on real recordings: one pair each of keys, voice, guitar and drums, judged as written.

Two judges that know nothing of the losses: `engine.judge` (pitch, rhythm, timbre, silences), and a music tagger trained
on other data (``ear.py`` beside this checkout, with the weights of the PyPI wheel of ``musicnn``).
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
import torch

from engine import audio, judge
from engine.style import Settings, learn, restyle

from . import material

EAR = Path(__file__).parents[3] / "shared" / "tools" / "ear.py"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the recordings of this run lie."""
    return tmp_path_factory.mktemp("recordings")


@pytest.fixture(scope="module")
def renders(folder: Path) -> list[tuple[Path, Path, Path]]:
    """Stem, style and written render of every pair, at `standard`."""
    out = []
    for stem_name, style_name in material.PAIRS:
        stem, style = (material.recording(name, folder) for name in (stem_name, style_name))
        sound = audio.read(stem)
        target = learn([audio.read(style).samples], sound.rate)
        result = restyle(sound.samples, sound.rate, target, Settings(device="cpu"))
        path = folder / f"{stem_name}-{style_name}.wav"
        audio.write(path, result, sound.rate, audio.Format("WAV", "FLOAT"))
        out.append((stem, style, path))
    return out


def test_pitch_rhythm_timbre_and_silences(renders: list[tuple[Path, Path, Path]]) -> None:
    """Over the four pairs: mean chroma and onsets at least .92, MFCC ratio at most .40; no gap over 2 dB louder."""
    verdicts = []
    for paths in renders:
        stem, style, result = (
            torch.from_numpy(soundfile.read(p, dtype="float32", always_2d=True)[0].T.copy()) for p in paths
        )
        verdicts.append(judge.judge(stem, style, result, material.RATE))

    def mean(name: str) -> float:
        return sum(float(getattr(v, name)) for v in verdicts) / len(verdicts)

    assert mean("chroma") >= 0.92
    assert mean("onset") >= 0.92
    assert mean("mfcc_ratio") <= 0.40
    assert max(v.gap_db for v in verdicts) <= 2.0
    assert max(abs(v.level_db) for v in verdicts) <= 0.5


def test_a_tagger_hears_the_style(renders: list[tuple[Path, Path, Path]], folder: Path) -> None:
    """A music tagger puts the renders at .58 (layers) and .70 (tags) or nearer to the style: 1 stem, 0 style."""
    if not EAR.exists():
        pytest.skip(f"{EAR} is not there (it comes with the project's shared folder)")
    weights = material.wheel("musicnn", folder) / "musicnn"
    ratios = []
    for paths in renders:
        done = subprocess.run(
            [sys.executable, str(EAR), *map(str, paths), "--json"],
            env={**os.environ, "MUSICNN": str(weights)},
            capture_output=True,
            text=True,
            check=True,
        )
        ratios.append(json.loads(done.stdout))
    assert sum(r["layers_ratio"] for r in ratios) / len(ratios) <= 0.58
    assert sum(r["tags_ratio"] for r in ratios) / len(ratios) <= 0.70
