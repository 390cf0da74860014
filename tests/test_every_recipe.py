"""Every recipe through every way in: presets learnt, one album with a track and a blend for each, one watched folder.

Half a second at 8 kHz with next to no iterations: what is asked here is whether all of it fits together.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

import gramophone
from engine import audio, material
from engine.recipe import Choice
from engine.recipes import RECIPES

ROOT = Path(__file__).parent.parent
RATE = 8000
SECONDS = 0.5
#: The names of the recipes there have to be, as the plan of the project has them.
NAMES = (
    *("kernel", "kernel-linear", "kernel-2layer", "kernel-texture"),
    *("ulyanov", "srm", "deepmix-1", "deepmix-2", "dipani"),
    *("caracalla-roebel", "kanak-texture", "caracalla-ri"),
    *("gatys-vgg19", "gatys-vgg16", "gatys-musicnn", "wav2vec2", "wavenet"),
    *("grinstein-auditory", "grinstein-soundnet", "verma-smith"),
    *("adain", "wct", "monge", "histogram", "sanet", "transport"),
    *("sliced-wasserstein", "gaussian-ot", "mosaic"),
)
#: What has targets that are not linear, and says so.
LONELY = ("mosaic",)
#: The least there is of whatever a recipe lets its user choose.
LEAST: Mapping[str, Any] = {
    "weights": "random",
    "filters": 2,
    "iterations": 12,
    "griffin_lim": 1,
    "rows": 2,
    "bands": 16,
    "semitones": 0,
}


def params(name: str) -> dict[str, Any]:
    """The least of a recipe that can still be rendered."""
    known = RECIPES[name].params
    least = {key: value for key, value in LEAST.items() if key in known}
    if isinstance(known.get("rows"), Choice):
        del least["rows"]
    return least


def run(*words: str) -> str:
    """What a command of gramophone says that ends well."""
    result = CliRunner().invoke(gramophone.app, list(words))
    assert result.exit_code == 0, f"{words}: {result.output}"
    return result.output


@dataclass(frozen=True)
class Place:
    """A folder with a library of two presets of every recipe, ``NAME-a`` and ``NAME-b``, and a stem of its own each."""

    folder: Path
    library: Path

    def stem(self, name: str) -> Path:
        """The stem that goes through a recipe."""
        return self.folder / "stems" / f"{name}.wav"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Presets of every recipe, each learnt by ``gramophone preset learn`` from two sounds, as its only command."""
    folder = tmp_path_factory.mktemp("recipes")
    found = Place(folder, folder / "library")
    for name, source in (("a", "organ"), ("b", "rain")):
        samples = torch.from_numpy(material.make(source, seconds=SECONDS, rate=RATE))
        audio.write(folder / f"{name}.wav", samples, RATE, audio.Format("WAV", "PCM_24"))
    (folder / "stems").mkdir()
    riff = torch.from_numpy(material.make("riff", seconds=SECONDS, rate=RATE))
    for number, name in enumerate(NAMES):
        # Each its own samples: a watched folder knows a stem by what is in it.
        audio.write(found.stem(name), riff * (1 - 0.01 * number), RATE, audio.Format("WAV", "PCM_24"))
        chosen = [word for key, value in params(name).items() for word in ("--param", f"{key}={json.dumps(value)}")]
        for style in ("a", "b"):
            words = ("preset", "learn", str(folder / f"{style}.wav"), "--name", f"{name}-{style}", "--recipe", name)
            run(*words, "--rate", str(RATE), "--library", str(found.library), *chosen)
    return found


@pytest.fixture(scope="module")
def album(place: Place) -> dict[str, Path]:
    """The outputs of one album: a track through each recipe, and one through a blend where it blends."""
    tracks = []
    for name in NAMES:
        blend = "" if name in LONELY else f'[[track]]\nstem = "stems/{name}.wav"\ntitle = "{name}-blend"\n'
        blend += "" if name in LONELY else f'preset = {{ "{name}-a" = 0.7, "{name}-b" = 0.3 }}\n'
        tracks.append(f'[[track]]\nstem = "stems/{name}.wav"\ntitle = "{name}"\npreset = "{name}-a"\n{blend}')
    head = '[album]\ntitle = "All"\noutput = "out/{track}.wav"\n'
    (place.folder / "album.toml").write_text(head + "\n".join(tracks), encoding="utf-8")
    words = ("render", str(place.folder / "album.toml"), "--library", str(place.library))
    run(*words, "--no-report", "--quality", "draft", "--device", "cpu")
    return {path.stem: path for path in (place.folder / "out").glob("*.wav")}


@pytest.fixture(scope="module")
def watched(place: Place) -> dict[str, Path]:
    """The outputs of a watched folder with a stem in the folder of every recipe's preset, after ``--once``."""
    folder = place.folder / "Watched"
    for name in NAMES:
        there = folder / f"{name}-a" / f"{name}.wav"
        there.parent.mkdir(parents=True)
        there.write_bytes(place.stem(name).read_bytes())
    (folder / "watch.toml").write_text('settle_s = 0.1\nmin_free_mb = 0\nquality = "draft"\n', encoding="utf-8")
    words = [sys.executable, "-P", "-m", "watch", "run", str(folder), "--once", "--library", str(place.library)]
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    # Generous: the machine may be busy with something else, and a hang is what this ends.
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return {path.stem: path for path in (folder / "_out").rglob("*.wav")}


def check_shape(stem: Path, output: Path) -> None:
    """See that a render has its stem's rate, channels, length and bits, and is neither silent nor the stem."""
    was, now = audio.probe(stem), audio.probe(output)
    assert (was.rate, was.channels, was.frames, was.format) == (now.rate, now.channels, now.frames, now.format)
    before, after = audio.read(stem).samples, audio.read(output).samples
    assert bool(after.isfinite().all())
    assert float(after.norm()) > 0.5 * float(before.norm())
    assert float((after - before).norm()) > 0.01 * float(before.norm())


def test_every_name_is_there() -> None:
    """Nothing of the plan is missing, and nothing is called otherwise."""
    assert set(NAMES) <= set(RECIPES)


@pytest.mark.parametrize("name", NAMES)
def test_a_stem_of_an_album(name: str, place: Place, album: dict[str, Path]) -> None:
    """A track through a preset of the recipe: a file of its stem's shape, restyled."""
    check_shape(place.stem(name), album[name])


@pytest.mark.parametrize("name", [name for name in NAMES if name not in LONELY])
def test_a_blend_in_an_album(name: str, place: Place, album: dict[str, Path]) -> None:
    """Seven tenths of one preset and three of another: restyled, and not as by the first alone."""
    check_shape(place.stem(name), album[f"{name}-blend"])
    alone, blended = audio.read(album[name]).samples, audio.read(album[f"{name}-blend"]).samples
    assert not torch.equal(alone, blended)


@pytest.mark.parametrize("name", NAMES)
def test_a_stem_in_a_watched_folder(name: str, place: Place, watched: dict[str, Path]) -> None:
    """A stem dropped into the folder of a preset of the recipe: what comes out has its shape and is restyled."""
    check_shape(place.stem(name), watched[name])


@pytest.mark.parametrize("name", LONELY)
def test_what_does_not_blend_says_so(name: str, place: Place) -> None:
    """The reason and the way out in one line, and no file."""
    out = place.folder / "never.wav"
    words = ["render", str(place.stem(name)), "--preset", f"{name}-a:0.7,{name}-b:0.3", "--out", str(out)]
    result = CliRunner().invoke(gramophone.app, [*words, "--library", str(place.library), "--device", "cpu"])
    assert result.exit_code == 2, result.output
    said = " ".join(result.output.split())
    assert "do not blend" in said
    assert "several references" in said
    assert not out.exists()


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_tells_what_it_is(name: str) -> None:
    """Listed and shown: source, parts, weights, device, cost, when to use it; equations, blending and parameters."""
    listed = next(line for line in json.loads(run("recipes", "--json")) if line["name"] == name)
    for fact in ("title", "source", "use", "parts", "weights", "device", "cost", "equations"):
        assert listed[fact], fact
    assert listed["blends"] is (name not in LONELY)
    said = run("recipes", "show", name)
    for label in ("what", "source", "when to use it", "parts", "weights", "device", "cost", "equations", "blends"):
        assert label in said
    for key, param in RECIPES[name].choices.items():
        assert key in said
        assert param.about
    assert RECIPES[name].figure
