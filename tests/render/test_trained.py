"""A trained preset is a preset like any other to a render: amounts, blends, chains and albums."""

from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
import torch
from typer.testing import CliRunner

from engine import audio, recipes
from engine.methods.travelgan import trained
from engine.travelgan import Generator
from presets import preset as presets
from presets.library import Library
from render.cli import app

MakeStem = Callable[..., Path]


@pytest.fixture
def trained_shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Library:
    """A library of two presets whose generators are drawn at random."""
    library = Library(tmp_path / "library")
    for seed, name in enumerate(("choir", "rain")):
        target = trained(recipes.find("travelgan"), Generator(4, seed=seed), 44100, {"filters": 4})
        library.save(presets.new(name, target))
    monkeypatch.setenv("GRAMOPHONE_LIBRARY", str(library.folder))
    monkeypatch.chdir(tmp_path)
    return library


def test_an_album_through_trained_presets(trained_shelf: Library, make_stem: MakeStem, tmp_path: Path) -> None:
    """Single, blended, by half and through a chain: every output has its stem's shape and is another sound."""
    stems = [make_stem(f"{name}.wav") for name in ("a", "b", "c")]
    (tmp_path / "album.toml").write_text(
        '[album]\ntitle = "Trained"\npreset = "choir"\noutput = "out/{track}"\n'
        '[[track]]\nstem = "a.wav"\n'
        '[[track]]\nstem = "b.wav"\npreset = { choir = 0.7, rain = 0.3 }\namount = 0.5\n'
        '[[track]]\nstem = "c.wav"\n[[track.chain]]\nplugin = "gain"\ngain_db = -6\n'
    )
    result = CliRunner().invoke(app, ["render", "album.toml", "--no-report"])
    assert result.exit_code == 0, result.output
    for stem in stems:
        before, after = soundfile.info(stem), soundfile.info(tmp_path / "out" / stem.name)
        assert (after.frames, after.samplerate, after.channels) == (before.frames, before.samplerate, before.channels)
        assert not torch.equal(audio.read(stem).samples, audio.read(tmp_path / "out" / stem.name).samples)
