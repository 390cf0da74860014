"""The recipes by name. Data only; nothing here imports torch."""

import difflib
import importlib
from collections.abc import Mapping

from engine.errors import RecipeError
from engine.recipe import Recipe

#: A recipe is a file of `engine.cookbook` and a line here.
_BOOK = (
    "kernel",
    "kernel-linear",
    "kernel-2layer",
    "kernel-texture",
    "ulyanov",
    "srm",
    "deepmix-1",
    "deepmix-2",
    "dipani",
    "caracalla-roebel",
    "kanak-texture",
    "caracalla-ri",
    "gatys-vgg19",
    "gatys-vgg16",
    "gatys-musicnn",
    "wav2vec2",
    "wavenet",
    "grinstein-soundnet",
    "adain",
    "wct",
    "monge",
    "histogram",
    "sanet",
    "transport",
    "sliced-wasserstein",
    "gaussian-ot",
    "mosaic",
    "grinstein-auditory",
    "verma-smith",
    "travelgan",
    "identity",
)


def load(name: str) -> Recipe:
    """The recipe in file ``name`` of the cookbook, with underscores for dashes."""
    found: Recipe = importlib.import_module(f"engine.cookbook.{name.replace('-', '_')}").RECIPE
    return found


_BY_NAME = {recipe.name: recipe for recipe in map(load, _BOOK)}
RECIPES: Mapping[str, Recipe] = {name: recipe for name, recipe in _BY_NAME.items() if not recipe.hidden}
#: Those a preset is learnt with from references alone.
LEARNT: Mapping[str, Recipe] = {name: recipe for name, recipe in RECIPES.items() if not recipe.trained}


def find(name: str) -> Recipe:
    """The recipe called ``name``; `RecipeError` names the nearest one otherwise."""
    if name in _BY_NAME:
        return _BY_NAME[name]
    near = difflib.get_close_matches(name, RECIPES, 1, 0.4)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise RecipeError(f"no recipe is called {name!r}{hint} (there are: {', '.join(RECIPES)})")
