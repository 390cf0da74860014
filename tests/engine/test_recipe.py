"""Recipes as data: the documented example works, mistakes are told, and every recipe says what it is."""

import doctest
import importlib
import re
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from engine import cookbook, material, recipe, recipes
from engine.draft import Budget
from engine.errors import RecipeError
from engine.methods.composed import Composed
from engine.parts import names
from engine.parts.names import make
from engine.recipe import COMMON, Choice, Given, Part, Real, Recipe, Whole
from engine.recipes import RECIPES
from engine.style import Settings, blend, learn, restyle

RATE = 8000
PAGE = Path(__file__).parents[2] / "docs" / "RECIPES.md"


def sound(name: str, seconds: float = 1.0) -> Tensor:
    """A piece of the demo material, ``[2, samples]``."""
    return torch.from_numpy(material.make(name, seconds=seconds, rate=RATE))


def test_the_example_in_the_docstring_runs() -> None:
    """`engine.recipe` shows a recipe that can be made, and tells its parts as it says."""
    found = doctest.testmod(recipe)
    assert found.attempted > 0
    assert found.failed == 0


def test_a_recipe_is_one_file_and_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's file in the cookbook and its line in the list: the recipe learns, blends and renders."""
    file, lines = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    (tmp_path / "echoes.py").write_text(file, encoding="utf-8")
    monkeypatch.setattr(cookbook, "__path__", [*cookbook.__path__, str(tmp_path)])
    importlib.invalidate_caches()
    assert re.search(r'"(\w+)",\n\)', lines)[1] == "echoes"  # type: ignore[index]
    mine = recipes.load("echoes")
    monkeypatch.setitem(recipes._BY_NAME, "echoes", mine)
    assert mine.parts[0] == "style: log-magnitude (n_fft=2048) → random (filters=64, width=5) → gram (scale=relative)"
    targets = [learn([sound(name)], RATE, recipe="echoes", params={"filters": 16}) for name in ("organ", "rain")]
    losses: list[float] = []
    stem = sound("riff")
    styled = restyle(
        stem,
        RATE,
        blend([(targets[0], 0.7), (targets[1], 0.3)]),
        Settings(quality="draft"),
        lambda event: losses.append(event.loss) if hasattr(event, "loss") else None,
    )
    assert styled.shape == stem.shape
    assert losses[-1] < losses[0] / 2


def test_the_page_names_every_kind_of_part() -> None:
    """The page lists all kinds of parts and all names there are, and no others."""
    rows = re.findall(r"^\| (\w+) \| (`.*`) \|$", PAGE.read_text(encoding="utf-8"), re.M)
    assert [kind for kind, _ in rows] == list(names._KINDS)
    for kind, listed in rows:
        assert re.findall(r"`([\w-]+)`", listed) == list(names._KINDS[kind]), kind


@pytest.mark.parametrize("name", list(RECIPES))
def test_every_recipe_says_what_it_is(name: str) -> None:
    """Its file is where it should be, and it has a title, a source, a use and parts; made of parts, a cost too."""
    mine = RECIPES[name]
    assert mine.name == name
    assert all((mine.title, mine.source, mine.use, mine.parts))
    if mine.composed:
        assert mine.solver is not None
        assert mine.cost


@pytest.mark.parametrize("name", [name for name, mine in RECIPES.items() if mine.composed])
def test_every_part_named_is_there(name: str) -> None:
    """Every part of a composed recipe can be made with the recipe's own parameters, whatever its choices are."""
    mine = RECIPES[name]
    values = mine.defaults
    for term in mine.terms:
        assert term.of in ("style", "stem")
        assert term.unit in ("published", "stem")
        make("representation", term.representation, values)
        make("features", term.features, values)
        make("statistic", term.statistic, values)
    for keeper in mine.keepers:
        make("keeper", keeper.part, values)
    assert mine.solver is not None
    make("solver", mine.solver, values)


@pytest.mark.parametrize(
    ("param", "value", "words"),
    [
        (Whole(4, 1, 9, "?"), 0, "n is 0; expected a whole number from 1 to 9"),
        (Whole(4, 1, 9, "?"), 2.0, "n is 2.0; expected a whole number"),
        (Whole(4, 1, 9, "?"), True, "n is True; expected a whole number"),
        (Real(0.5, 0, 1, "?"), 1.5, "n is 1.5; expected a number from 0 to 1"),
        (Real(0.5, 0, 1, "?"), float("nan"), "n is nan; expected a number"),
        (Real(0.5, 0, 1, "?"), "a lot", "n is 'a lot'; expected a number"),
        (Choice("a", ("a", "b"), "?"), "c", "n is 'c'; expected 'a' or 'b'"),
        (Choice(False, (True, False), "?"), 1, "n is 1; expected true or false"),
    ],
)
def test_a_parameter_out_of_range(param: recipe.Param, value: object, words: str) -> None:
    """Each kind of parameter says what it expected and what it got."""
    with pytest.raises(RecipeError) as caught:
        param.check("n", value)
    assert words in str(caught.value)


def test_an_unknown_parameter_is_told_with_the_nearest() -> None:
    """A name nobody knows: the recipe, the nearest name, and all there are."""
    with pytest.raises(RecipeError, match=r"parameter 'filter'; did you mean 'filters'\? \(there are: max_s"):
        RECIPES["srm"].check({"filter": 3})


def test_parameters_have_their_defaults() -> None:
    """What is not said is the default; what every recipe has is there too, and a recipe's own wins."""
    assert RECIPES["srm"].check({"filters": 8})["filters"] == 8
    assert RECIPES["srm"].check({})["max_s"] == COMMON["max_s"].default
    own = Recipe("x", "", "", "", params={"rhythm": Real(0.5, 0, 1, "?")})
    assert own.check({})["rhythm"] == 0.5


def test_parts_that_are_not_there() -> None:
    """An unknown part and an unknown option name the nearest that there are."""
    with pytest.raises(RecipeError, match="no statistic is called 'grams'; did you mean 'gram'"):
        make("statistic", Part("grams"), {})
    with pytest.raises(RecipeError, match="statistic 'gram' has no option 'row'; did you mean 'rows'"):
        make("statistic", Part("gram", row=True), {})


def test_given_values_are_filled_in() -> None:
    """A parameter may be scaled where it is used."""
    assert make("features", Part("random", filters=Given("n")), {"n": 7}).filters == 7
    assert Given("n", 0.5).value({"n": 3.0}) == 1.5


def test_a_recipe_that_does_not_blend_says_why() -> None:
    """`blends` is the reason, word for word."""
    lonely = Recipe("x", "", "", "", solver=Part("waveform"), blends="it has one style only")
    with pytest.raises(RecipeError, match="'x' do not blend: it has one style only"):
        Composed(lonely).blend([])


def test_a_preset_of_another_version_is_told() -> None:
    """A target without what the recipe needs is refused with the remedy."""
    target = learn([sound("organ")], RATE, recipe="srm", params={"filters": 4})
    with pytest.raises(RecipeError, match="learn it again"):
        restyle(sound("riff"), RATE, replace(target, tensors={}), Settings())


def test_the_kernel_s_parameters_are_its_budget_s() -> None:
    """What the cookbook says a draft may spend is what the draft spends by default."""
    defaults = RECIPES["kernel"].defaults
    assert {key: defaults[key] for key in asdict(Budget())} == asdict(Budget())
