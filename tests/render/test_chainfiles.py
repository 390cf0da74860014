"""``--chain FILE``: the chain of a file instead of all others, read and refused as in a manifest."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from engine import audio
from presets.library import Library
from render import cli, planner
from render.choices import Choices
from render.errors import InputError

MakeStem = Callable[..., Path]
Noise = Callable[..., Tensor]
UNITY = '[[chain]]\nplugin = "gain"\ngain_db = 0.0\n'


def _file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "chains" / "own.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def test_a_file_replaces_the_preset_s_chain(tmp_path: Path, make_stem: MakeStem, shelf: Library) -> None:
    """The preset inverts; the file turns up, and its paths are from its own folder."""
    stem = make_stem()
    room = make_stem("chains/room.wav", torch.ones(1, 100) / 100)
    text = '[[chain]]\nplugin = "convolution"\nimpulse_response_filename = "room.wav"\n'
    file = _file(tmp_path, UNITY + text)
    (job,) = planner.plan_stems([stem], library=shelf, choices=Choices(preset="half"), chain=file).jobs
    assert [step.plugin.name for step in job.chain] == ["gain", "convolution"]
    assert job.chain[1].values["impulse_response_filename"] == str(room)


def test_a_file_replaces_all_chains_of_an_album(tmp_path: Path, make_stem: MakeStem, shelf: Library) -> None:
    """The track's and the album's, and with them what moved their parameters; amount and mix move on."""
    make_stem()
    path = tmp_path / "album.toml"
    path.write_text(
        '[album]\npreset = "half"\nchain = [{ plugin = "delay" }]\n'
        '[[track]]\nstem = "vox.wav"\nchain = [{ plugin = "reverb" }, { plugin = "chorus" }]\n'
        '[[track.automation]]\ntarget = "chain[2].mix"\npoints = [[0, 1]]\n'
        '[[track.automation]]\ntarget = "mix"\npoints = [[0, 1], [1, 0]]\n'
    )
    (job,) = planner.plan_album(path, library=shelf, chain=_file(tmp_path, UNITY)).jobs
    assert [step.record() for step in job.chain] == [{"plugin": "gain", "gain_db": 0.0}]
    assert job.mix_line is not None


@pytest.mark.parametrize(
    ("text", "key", "message"),
    [
        ('[[chain]]\nplugin = "gian"\n', "chain[1].plugin", "gain"),
        ('[[chain]]\nplugin = "gain"\ngain = 1\n', "chain[1].gain", "did you mean 'gain_db'"),
        ("chain = 3\n", "--chain", "holds no chain"),
        ("[[chain]\n", "--chain", "is not TOML"),
    ],
)
def test_mistakes_are_told_as_in_a_manifest(
    text: str, key: str, message: str, tmp_path: Path, make_stem: MakeStem, shelf: Library
) -> None:
    """With the file, the key in it and the nearest name, once for however many stems."""
    stems = [make_stem(), make_stem("b.wav")]
    with pytest.raises(InputError) as caught:
        planner.plan_stems(stems, library=shelf, choices=Choices(preset="half"), chain=_file(tmp_path, text))
    (mistake,) = caught.value.mistakes
    assert mistake.key == key
    assert message in mistake.message


def test_the_command(tmp_path: Path, make_stem: MakeStem, shelf: Library, noise: Noise) -> None:
    """--chain FILE plays the file; beside --no-chain, and without a file, it is refused with exit code 2."""
    make_stem(samples=noise(), subtype="FLOAT")
    file = _file(tmp_path, '[[chain]]\nplugin = "invert"\n')

    def run(*args: str) -> int:
        full = ["render", str(tmp_path / "vox.wav"), "-p", "tape", "--library", str(shelf.folder), *args]
        return CliRunner().invoke(cli.app, full).exit_code

    assert run("-o", str(tmp_path / "out.wav"), "--chain", str(file)) == 0
    assert torch.equal(audio.read(tmp_path / "out.wav").samples, -audio.read(tmp_path / "vox.wav").samples)
    assert run("-o", str(tmp_path / "b.wav"), "--chain", str(file), "--no-chain") == 2
    assert run("-o", str(tmp_path / "b.wav"), "--chain", str(tmp_path / "none.toml")) == 2
    assert run("-o", str(tmp_path / "b.wav"), "--chain", str(file), "--tail-s", "auto") == 0
    assert run("-o", str(tmp_path / "c.wav"), "--tail-s", "soon") == 2
