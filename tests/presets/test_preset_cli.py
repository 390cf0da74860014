"""The preset commands: what they print, keep and refuse, and what they do not even import."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner, Result

from presets.cli import app
from presets.errors import PresetError
from presets.library import Library
from presets.preset import Preset

MakeWav = Callable[..., Path]
MakePreset = Callable[..., Preset]
Given = list[list[Tensor]]
Run = Callable[..., Result]


@pytest.fixture
def run(library: Library) -> Run:
    """Run a preset command on the library."""

    def invoke(*arguments: object, code: int = 0) -> Result:
        environment = {"GRAMOPHONE_LIBRARY": str(library.folder), "COLUMNS": "200"}
        result = CliRunner().invoke(app, [str(argument) for argument in arguments], env=environment)
        assert result.exit_code == code, result.output
        return result

    return invoke


def refused(result: Result) -> str:
    """The one line of an error, which is all that was printed."""
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("error: ")
    return result.stderr


def test_learning_says_what_it_does_and_that_it_knows(
    run: Run, wav: MakeWav, learning: Given, library: Library
) -> None:
    """The first time it learns, the second time it says so; the place is printed both times."""
    tape = wav("tape.wav")
    first = run("learn", tape, "--name", "tape")
    assert first.stdout.startswith("learnt 'tape' in ")
    assert first.stdout.strip().endswith(str(library.find("tape")))
    assert "reference 1/1: tape.wav (0.5 s)" in first.stderr
    assert "learning 0.5 s with kernel" in first.stderr
    second = run("learn", tape, "-n", "tape")
    assert second.stdout.startswith("already learnt 'tape' in ")
    assert second.stderr == ""
    assert len(learning) == 1


def test_learning_takes_every_option(run: Run, wav: MakeWav, learning: Given, library: Library, tmp_path: Path) -> None:
    """Recipe, parameters, rate, amount, chain and licence reach the card."""
    chain = tmp_path / "chain.toml"
    chain.write_text('[[chain]]\nplugin = "reverb"\nroom_size = 0.5\n')
    options = [
        "--recipe",
        "ulyanov",
        "--param",
        "filters=16",
        "--param",
        'phase="stem"',
        "--rate",
        "16000",
        "--listen",
        "9",
    ]
    defaults = ["--amount", "0.5", "--chain", chain, "--licence", "CC0"]
    run("learn", wav("tape.wav"), "--name", "tape", *options, *defaults)
    card = library.load("tape").card
    assert (card.recipe, card.params, card.rate) == ("ulyanov", {"filters": 16, "phase": "stem"}, 16_000)
    assert (card.amount, card.chain, card.licence) == (0.5, ({"plugin": "reverb", "room_size": 0.5},), "CC0")


def test_the_listing_in_words_and_json(run: Run, make_preset: MakePreset, library: Library) -> None:
    """Good presets with their card, broken files with their problem, an empty library with its place."""
    assert "no presets in" in run("list").stdout
    assert json.loads(run("list", "--json").stdout) == []
    made = make_preset("tape", amount=0.5, chain=[{"plugin": "[red]"}])
    path = library.save(made)
    (library.folder / "bad.gram.safetensors").write_bytes(b"no")
    words = run("list").stdout
    assert "tape" in words
    assert "[red]" in words
    assert "broken: is 2 bytes long" in words
    bad, good = json.loads(run("list", "--json").stdout)
    assert (bad["name"], bad["card"], bad["content_hash"]) == ("bad", None, None)
    assert "2 bytes" in bad["problem"]
    assert good == {
        "name": "tape",
        "path": str(path),
        "bytes": path.stat().st_size,
        "problem": None,
        "content_hash": made.content_hash,
        "card": made.card.model_dump(mode="json"),
    }


def test_show_prints_the_card(
    run: Run, make_preset: MakePreset, library: Library, wav: MakeWav, learning: Given
) -> None:
    """A preset by name or by file, in words and in JSON, with its tensors."""
    made = make_preset("tape")
    path = library.save(made)
    for name in ("tape", path):
        shown = run("show", name).stdout
        assert "magnitude.512  F32 [3, 4]" in shown
        assert "width = 11" in shown
    record = json.loads(run("show", "tape", "--json").stdout)
    assert record["content_hash"] == made.content_hash
    assert record["card"]["recipe"] == "identity"
    assert record["tensors"] == [{"name": "magnitude.512", "dtype": "F32", "shape": [3, 4]}]
    run("learn", wav("choir.wav", seconds=0.75), "--name", "choir")
    assert "choir.wav  0.8 s, 1 ch, 8000 Hz, sha256" in run("show", "choir").stdout


def test_show_saves_a_picture_once(run: Run, make_preset: MakePreset, library: Library, tmp_path: Path) -> None:
    """The picture is a PNG, and what is already there stays unless replace is said."""
    library.save(make_preset("tape"))
    picture = tmp_path / "tape.png"
    assert str(picture) in run("show", "tape", "--picture", picture).stdout
    assert picture.read_bytes().startswith(b"\x89PNG")
    picture.write_bytes(b"mine")
    assert "exists" in refused(run("show", "tape", "--picture", picture, code=2))
    assert picture.read_bytes() == b"mine"
    run("show", "tape", "--picture", picture, "--replace")
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_blend_is_shown_and_kept(run: Run, make_preset: MakePreset, library: Library, learning: Given) -> None:
    """A blend can be looked at without keeping it, and kept under a name, also by arguments of its own."""
    for name, value in (("tape", 2.0), ("choir", 4.0)):
        library.save(make_preset(name, tensors={"magnitude.a": torch.tensor([[value]])}))
    shown = json.loads(run("show", "tape:0.75,choir:0.25", "--json").stdout)
    assert (shown["name"], shown["path"]) == ("tape75-choir25", None)
    assert [part["weight"] for part in shown["card"]["blend_of"]] == [0.75, 0.25]
    kept = run("blend", "tape:3", "choir:1", "--name", "both", "--amount", "0.5").stdout
    assert kept.startswith("kept 'both', tape 75%, choir 25%: ")
    both = library.load("both")
    assert both.content_hash == shown["content_hash"]
    assert both.card.amount == 0.5
    assert "exists" in refused(run("blend", "tape,choir", "--name", "both", code=2))
    assert library.load("both").content_hash == both.content_hash
    run("blend", "tape,choir", "--name", "both", "--replace")
    assert library.load("both").content_hash != both.content_hash


def test_a_blend_tells_of_chains_it_drops(run: Run, make_preset: MakePreset, library: Library, learning: Given) -> None:
    """Nothing is dropped in silence: different chains are noted; shared and given ones are kept without a word."""
    for name, chain in (("a", [{"plugin": "reverb"}]), ("b", []), ("c", [{"plugin": "reverb"}])):
        library.save(make_preset(name, chain=chain))
    assert "different chains" in run("blend", "a,b", "--name", "x").stderr
    assert run("blend", "a,c", "--name", "y").stderr == ""
    assert library.load("y").card.chain == ({"plugin": "reverb"},)


def test_remove_takes_all_or_none(run: Run, make_preset: MakePreset, library: Library) -> None:
    """With one name that is not there nothing is removed; broken presets can be."""
    library.save(make_preset("tape"))
    (library.folder / "bad.gram.safetensors").write_bytes(b"no")
    assert "no preset is called 'choir'" in refused(run("remove", "tape", "choir", code=2))
    assert len(library.list()) == 2
    removed = run("remove", "tape", "bad", "tape").stdout
    assert removed.count("removed ") == 2
    assert library.list() == ()


def test_path_prints_places(run: Run, make_preset: MakePreset, library: Library, tmp_path: Path) -> None:
    """The folder without a name, the file with one, of the library that was asked for."""
    assert run("path").stdout.strip() == str(library.folder)
    path = library.save(make_preset("tape"))
    assert run("path", "tape").stdout.strip() == str(path)
    other = tmp_path / "other"
    assert run("path", "--library", other).stdout.strip() == str(other)
    refused(run("path", "tape", "--library", other, code=2))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["learn", "none.wav", "--name", "x"], "does not exist"),
        (["learn", "{tape}", "--name", "a/b"], "preset name"),
        (["learn", "{tape}", "--name", "x", "--recipe", "kernal"], "did you mean 'kernel'"),
        (["learn", "{tape}", "--name", "x", "--rate", "1"], "rate is 1 Hz"),
        (["learn", "{tape}", "--name", "x", "--param", "a"], "--param 'a' is not KEY=VALUE"),
        (["learn", "{tape}", "--name", "x", "--param", "a=b"], "--param 'a=b' is not KEY=VALUE"),
        (["learn", "{tape}", "--name", "x", "--chain", "none.toml"], "chain none.toml cannot be read"),
        (["learn", "{tape}", "--name", "x", "--amount", "2"], "amount"),
        (["learn", "{page}", "--name", "x"], "page.wav"),
        (["show", "none"], "is empty; learn one"),
        (["show", "tape:0.7,choir"], "has no weight"),
        (["show", "{page}.safetensors"], "No such file"),
        (["blend", "a:0", "b:1", "--name", "x"], "above 0"),
        (["remove", "a:1,b:2"], "preset name"),
        (["path", "bad\nname"], "preset name"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(
    run: Run, wav: MakeWav, tmp_path: Path, library: Library, arguments: list[str], reason: str
) -> None:
    """Every mistake ends as one line on stderr, nothing on stdout, no traceback, and nothing kept."""
    tape, page = wav("tape.wav"), tmp_path / "page.wav"
    page.write_text("<!doctype html><p>Not found</p>" * 20)
    filled = [argument.format(tape=tape, page=page) for argument in arguments]
    assert reason in refused(run(*filled, code=2))
    assert not library.folder.exists()


def test_debug_shows_where_it_went_wrong(library: Library) -> None:
    """With --debug the error itself comes up."""
    result = CliRunner().invoke(app, ["show", "none", "--library", str(library.folder), "--debug"])
    assert isinstance(result.exception, PresetError)


def test_light_commands_import_nothing_heavy(library: Library, wav: MakeWav, learning: Given, run: Run) -> None:
    """Help, list, show, path and learning what is known load neither torch nor audio nor pictures."""
    tape = wav("tape.wav")
    run("learn", tape, "--name", "tape")
    commands: list[list[Any]] = [
        ["--help"],
        ["list"],
        ["show", "tape"],
        ["path"],
        ["learn", str(tape), "--name", "two"],
    ]
    script = (
        "import json, sys\n"
        "from typer.testing import CliRunner\n"
        "from presets.cli import app\n"
        "for command in json.loads(sys.argv[1]):\n"
        "    result = CliRunner().invoke(app, command)\n"
        "    assert result.exit_code == 0, result.output\n"
        "assert 'already learnt' in result.output\n"
        "heavy = {'torch', 'numpy', 'soundfile', 'matplotlib', 'librosa', 'safetensors'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    environment = os.environ | {"GRAMOPHONE_LIBRARY": str(library.folder)}
    done = subprocess.run(
        [sys.executable, "-c", script, json.dumps(commands)],
        capture_output=True,
        text=True,
        env=environment,
        cwd=Path(__file__).parents[2],
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_the_house_runs_as_a_module() -> None:
    """``python -m presets --help`` names every command."""
    done = subprocess.run(
        [sys.executable, "-m", "presets", "--help"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        timeout=60,
        check=True,
    )
    for command in ("learn", "list", "show", "blend", "remove", "path"):
        assert command in done.stdout
