"""The recipes by name: what each is, whose it is and when to use it. Data only; nothing here imports torch."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass

from engine.errors import RecipeError


@dataclass(frozen=True)
class Recipe:
    """One method of style transfer: representation, features, statistic and solver under one name."""

    name: str
    title: str
    source: str
    use: str
    parts: tuple[str, ...]
    module: str
    weights: str = "none"
    hidden: bool = False


_ALL = (
    Recipe(
        "kernel",
        "The infinitely wide random network, exactly",
        "Gramophone; the limit of Ulyanov & Lebedev 2016 in closed form (arc-cosine kernel, Cho & Saul 2009)",
        "the default: any stem, any sound",
        ("log magnitude at three resolutions", "arc-cosine kernel of 11-frame patches", "waveform L-BFGS"),
        "engine.methods.kernel",
    ),
    Recipe(
        "ulyanov",
        "4096 random filters, Gram matrices, Griffin-Lim",
        "Ulyanov & Lebedev 2016, 'Audio texture synthesis and style transfer'",
        "the reference everything is compared with; slow, mono detail lost in phase reconstruction",
        ("log magnitude", "random 11-frame convolution", "spectrogram L-BFGS", "Griffin-Lim"),
        "engine.methods.ulyanov",
    ),
    Recipe(
        "identity",
        "The stem, untouched",
        "for tests",
        "checking everything around the engine",
        (),
        "engine.methods.identity",
        hidden=True,
    ),
)
RECIPES: Mapping[str, Recipe] = {r.name: r for r in _ALL if not r.hidden}
_BY_NAME = {r.name: r for r in _ALL}


def find(name: str) -> Recipe:
    """The recipe called ``name``; `RecipeError` names the nearest one otherwise."""
    if name in _BY_NAME:
        return _BY_NAME[name]
    near = difflib.get_close_matches(name, RECIPES, 1, 0.4)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise RecipeError(f"no recipe is called {name!r}{hint} (there are: {', '.join(RECIPES)})")
