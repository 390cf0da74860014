"""The method of every recipe made of parts: reads the recipe's data and puts the parts together.

No recipe is named here.  What a recipe says (`engine.recipe.Recipe`) is turned into objects once, when a target is made
ready; then each batch is solved by the recipe's solver under the sum of its terms.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from engine.draft import anchored
from engine.errors import RecipeError
from engine.excerpts import select
from engine.method import Method, OnIterate, Solver, Work
from engine.parts.features import Eye, Features
from engine.parts.keepers import Keep
from engine.parts.names import make
from engine.parts.renderings import Rendering
from engine.parts.representations import Representation, seen
from engine.parts.scene import Scene
from engine.parts.solvers import Solve
from engine.parts.statistics import Distance, Statistic
from engine.parts.store import hold, union
from engine.recipe import Given, Real, Recipe
from engine.target import Target
from engine.terms import Picture, Term, Weighted

#: What every recipe made of parts lets its user choose.
COMMON = {"max_s": Real(12.0, 1, 600, "seconds of the references a preset keeps")}
#: Weight of the stem against a style that names none, at half the amount.
ANCHOR = 1.0


def method(recipe: Recipe) -> Method:
    """The composed method of ``recipe``."""
    return Composed(recipe)


@dataclass(frozen=True)
class _Matched:
    """A `engine.recipe.Term` as objects."""

    representation: Representation
    features: Features
    statistic: Statistic
    weight: float
    of: str
    unit: str


class _Plan:
    """The parts of a recipe for one set of parameters."""

    def __init__(self, recipe: Recipe, params: Mapping[str, Any]) -> None:
        self.recipe, self.params = recipe, params
        self.terms = [
            _Matched(
                make("representation", term.representation, params),
                make("features", term.features, params),
                make("statistic", term.statistic, params),
                self._value(term.weight),
                term.of,
                term.unit,
            )
            for term in recipe.terms
        ]
        self.keepers: list[tuple[float, Keep]] = [
            (self._value(keeper.weight), make("keeper", keeper.part, params)) for keeper in recipe.keepers
        ]
        if recipe.solver is None:
            raise RecipeError(f"recipe {recipe.name!r} names no solver; expected one of engine.parts.names.SOLVERS")
        self.solve: Solve = make("solver", recipe.solver, params)
        self.rendering: Rendering | None = None
        if recipe.rendering is not None:
            self.rendering = make("rendering", recipe.rendering, params)

    def _value(self, weight: float | Given) -> float:
        return float(self.params[weight.name] if isinstance(weight, Given) else weight)

    @property
    def representations(self) -> tuple[Representation, ...]:
        """Those of the terms and of the solver, each once."""
        own = getattr(self.solve, "representation", None)
        every = [term.representation for term in self.terms] + ([own] if own is not None else [])
        return tuple(dict.fromkeys(every))


class Composed:
    """Learns pieces of the references; restyles by the recipe's solver."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe

    def learn(self, references: Sequence[Tensor], rate: int, params: Mapping[str, Any]) -> Target:
        """Keep at most ``max_s`` seconds of excerpts that stand for all references."""
        settings = self.checked(params)
        plan = _Plan(self.recipe, settings)
        excerpts = select(references, rate, float(settings["max_s"]))
        tensors = hold(excerpts, [representation.keep(rate) for representation in plan.representations])
        return Target(self.recipe.name, settings, rate, tensors)

    def checked(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """All parameters, those given and the others' defaults; `RecipeError` for what cannot be."""
        known = {**COMMON, **self.recipe.params}
        for name in params:
            if name not in known:
                raise RecipeError(
                    f"recipe {self.recipe.name!r} has no parameter {name!r} (there are: {', '.join(known)})"
                )
        return {name: param.check(name, params.get(name, param.default)) for name, param in known.items()}

    def blend(self, parts: Sequence[tuple[Target, float]]) -> Target:
        """The weighted union of the targets' pieces; `RecipeError` where the recipe cannot be blended."""
        if self.recipe.blends:
            raise RecipeError(f"presets of recipe {self.recipe.name!r} do not blend: {self.recipe.blends}")
        return union(parts)

    def solver(self, target: Target, power: Tensor, device: torch.device) -> Solver:
        """A solver that makes the target ready once for each seed."""
        return _Solver(self.recipe, target, device)


class _Solver:
    """Restyles the spans of one stem; see `engine.method.Solver`."""

    def __init__(self, recipe: Recipe, target: Target, device: torch.device) -> None:
        self.recipe, self.target, self.device = recipe, target, device
        self._eyes: dict[tuple[Representation, Features, int], Eye] = {}
        self._goals: dict[tuple[int, int], list[Distance]] = {}

    @cached_property
    def plan(self) -> _Plan:
        """The recipe's parts."""
        return _Plan(self.recipe, self.target.params)

    def __call__(self, work: Work, on_iterate: OnIterate) -> Tensor:
        # One problem at a time stays in a CPU's caches, and its sums do not depend on who else is in the batch.
        if self.device.type == "cpu" and work.x.shape[0] > 1:
            return torch.cat([self(work.one(k), on_iterate) for k in range(work.x.shape[0])])
        plan = self.plan
        scene = Scene(
            work,
            self.target.rate,
            Picture(work.x),
            self.target,
            plan.representations,
            self._loss,
            on_iterate,
            self.device,
        )
        return plan.solve(scene, plan.rendering)

    def _loss(self, scene: Scene) -> Term:
        terms: list[tuple[float, Term]] = []
        stays = False
        for number, term in enumerate(self.plan.terms):
            if not term.weight:
                continue
            eye = self._eye(term, scene)
            weights = eye.weights(scene.stem)
            if term.of == "stem":
                own = eye.layers(scene.stem, weights)
                distances = [term.statistic.against(layer) for layer in own]
                terms.append((term.weight * anchored(scene.work.amount), _Distance(eye, weights, distances)))
                stays = True
                continue
            distance = _Distance(eye, weights, self._against(number, term, eye, scene))
            unit = distance(scene.stem).clamp_min(1e-12) if term.unit == "stem" else None
            terms.append((term.weight, _Over(distance, unit) if unit is not None else distance))
        if scene.work.amount < 1 and not stays:
            terms.append((ANCHOR * (1 / scene.work.amount - 1), self._anchor(scene, Weighted(list(terms)))))
        terms += [(weight, keeper.ready(scene)) for weight, keeper in self.plan.keepers if weight]
        return Weighted(terms)

    def _eye(self, term: _Matched, scene: Scene) -> Eye:
        """The network of a term, shared by the terms that look alike and kept for the next spans."""
        seed = scene.work.seed
        key = (term.representation, term.features, seed)
        if key not in self._eyes:
            self._eyes[key] = Eye(term.representation, term.features, scene.stem, scene.rate, seed)
        return self._eyes[key]

    def _against(self, number: int, term: _Matched, eye: Eye, scene: Scene) -> list[Distance]:
        """The distances from the style's layers, computed once for a seed."""
        key = (number, scene.work.seed)
        if key not in self._goals:
            goal = eye.goal(scene.style(term.representation))
            self._goals[key] = [term.statistic.against(layer) for layer in goal]
        return self._goals[key]

    def _anchor(self, scene: Scene, style: Term) -> Term:
        """How far the first view is from the stem's, in the scale of the ``style`` terms at the stem."""
        representation, rate = self.plan.representations[0], scene.rate
        view = seen(representation, scene.stem, rate)
        scale = style(scene.stem) / view.square().flatten(1).sum(1).clamp_min(1e-12)
        return lambda picture: scale * (seen(representation, picture, rate) - view).square().flatten(1).sum(1)


@dataclass(frozen=True)
class _Distance:
    """A term: the layers of a picture against a goal's, each counting its share."""

    eye: Eye
    weights: Sequence[Tensor]
    distances: Sequence[Distance]

    def __call__(self, picture: Picture) -> Tensor:
        layers = self.eye.layers(picture, self.weights)
        total = torch.zeros(layers[0].values.shape[0], dtype=layers[0].values.dtype, device=layers[0].values.device)
        for layer, distance in zip(layers, self.distances, strict=True):
            total = total + layer.share * distance(layer)
        return total


@dataclass(frozen=True)
class _Over:
    """A term over a number of each problem."""

    term: Term
    unit: Tensor

    def __call__(self, picture: Picture) -> Tensor:
        return self.term(picture) / self.unit
