"""The loss of every recipe that has one: its gradient, zero at the target, finite in silence, and no stretching.

Terms as the recipes name them, with few filters; those of pretrained networks are in ``test_pretrained.py``, keepers in
``test_keepers.py``, the default recipe's terms in ``test_terms.py``.
"""

import importlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from engine import material
from engine.parts import names
from engine.parts.features import Eye, Needy
from engine.parts.names import make
from engine.recipe import Recipe
from engine.recipes import RECIPES
from engine.terms import Picture

RATE = 16000
SAMPLES = 4800  # thirteen frames of the usual window
#: Many frames, and filters of many sizes on each: a third of the sound is enough.
DENSE = ("kanak-texture", "caracalla-ri", "caracalla-roebel")
FEW = {"filters": 2, "rows": 3}


def descends(recipe: Recipe) -> bool:
    """Whether a recipe of parts has terms whose features need no weights."""
    return bool(recipe.terms) and "weights" not in recipe.params


NAMES = [name for name, recipe in RECIPES.items() if descends(recipe)]


def few(recipe: Recipe) -> dict[str, Any]:
    """A recipe's parameters with as few filters as it can have."""
    return {**recipe.defaults, **{k: v for k, v in FEW.items() if type(recipe.defaults.get(k)) is int}}


def loss(name: str, goal: Tensor, *, of: str = "") -> Callable[[Tensor], Tensor]:
    """The sum of a recipe's terms (``of`` the style or the stem alone, if it says so) against the sound ``goal``."""
    recipe, picture = RECIPES[name], Picture(goal)
    params = few(recipe)
    parts = []
    for term in recipe.terms:
        if of in ("", term.of):
            view = make("representation", term.representation, params)
            eye = Eye(view, make("features", term.features, params), picture, RATE, 0)
            statistic = make("statistic", term.statistic, params)
            weights = [w.detach() for w in eye.weights(picture)]
            parts.append((eye, [statistic.against(layer) for layer in eye.layers(picture, weights)]))

    def total(x: Tensor) -> Tensor:
        seen, value = Picture(x), x.new_zeros(())
        for eye, distances in parts:
            for layer, distance in zip(eye.layers(seen, eye.weights(seen)), distances, strict=True):
                value = value + layer.share * distance(layer).sum()
        return value

    return total


def noise(seed: int, samples: int = SAMPLES) -> Tensor:
    """Noise that rises and falls, ``[1, 1, samples]`` in double, at about the level sounds are looked at."""
    generator = torch.Generator().manual_seed(seed)
    swell = torch.linspace(0, 6, samples, dtype=torch.float64).sin().square() + 0.1
    return 0.1 * swell * torch.randn(1, 1, samples, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_is_the_slope(name: str) -> None:
    """In double precision, along a random direction, to 1e-3: a rectifier may turn within the step."""
    total = loss(name, noise(1))
    x = noise(2).requires_grad_()
    (gradient,) = torch.autograd.grad(total(x), x)
    along, step = noise(3), 1e-7
    with torch.no_grad():
        slope = float(total(x + step * along) - total(x - step * along)) / (2 * step)
    assert float((gradient * along).sum()) == pytest.approx(slope, rel=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_left_at_the_target(name: str) -> None:
    """A sound is at no distance from itself, to rounding, whether it is the style or the stem; another is."""
    goal = noise(1)
    total = loss(name, goal)
    away = float(total(noise(2)))
    assert away > 0
    assert abs(float(total(goal))) < 1e-9 * away


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("silent", ["result", "target", "both"])
def test_silence_is_finite(name: str, silent: str) -> None:
    """A result that is silent, a target that is, and both: a finite loss with a finite gradient."""
    goal = torch.zeros(1, 1, SAMPLES, dtype=torch.float64) if silent != "result" else noise(1)
    x = (noise(2) if silent == "target" else torch.zeros(1, 1, SAMPLES, dtype=torch.float64)).requires_grad_()
    value = loss(name, goal)(x)
    (gradient,) = torch.autograd.grad(value, x)
    assert bool(value.isfinite())
    assert bool(gradient.isfinite().all())


@pytest.mark.parametrize("name", NAMES)
def test_a_style_is_neither_stretched_nor_counted_twice(name: str) -> None:
    """A style played twice is the same style, to a quarter: patches across the joint. Sums would be 2 or 4 times."""
    seconds = 0.35 if name in DENSE else 1.0
    organ, x = (
        torch.from_numpy(material.make(sound, seconds=seconds, rate=RATE)).mean(0)[None, None].double()
        for sound in ("organ", "riff")
    )
    with torch.no_grad():
        once, twice = (float(loss(name, goal, of="style")(x)) for goal in (organ, torch.cat([organ, organ], -1)))
    assert twice == pytest.approx(once, rel=0.25)


def test_every_loss_is_looked_at() -> None:
    """No recipe with terms is left out but those in ``test_pretrained.py``, and no keeper in ``test_keepers.py``."""
    rest = {name for name, recipe in RECIPES.items() if recipe.terms} - set(NAMES)
    assert rest == set(re.findall(r'"([\w-]+)"', _listed("test_pretrained.py", r"^NAMES = \((.*)\)$")))
    for name in rest:
        assert all(issubclass(_class(names.FEATURES[term.features.name]), Needy) for term in RECIPES[name].terms)
    looked_at = re.findall(r"(\w+)\(\)", _listed("test_keepers.py", r"^EVERY: list\[Keep\] = \[(.*)\]$"))
    assert set(looked_at) == {_class(place).__name__ for place in names.KEEPERS.values()}


def _listed(file: str, pattern: str) -> str:
    found = re.search(pattern, (Path(__file__).parent / file).read_text(encoding="utf-8"), re.M)
    assert found is not None, file
    return found[1]


def _class(place: str) -> type:
    module, _, attribute = place.partition(":")
    found: type = getattr(importlib.import_module(module), attribute)
    return found
