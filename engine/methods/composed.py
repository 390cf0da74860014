"""The method of every recipe made of parts: reads the recipe's data and puts the parts together.

No recipe is named here.  What a recipe says (`engine.recipe.Recipe`) is turned into objects once, when a target is made
ready; then each batch is solved by the recipe's solver under the sum of its terms.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from engine.draft import anchored
from engine.errors import RecipeError
from engine.excerpts import select
from engine.method import Method, OnIterate, Solver, Work
from engine.parts.features import Eye, Features, Needy
from engine.parts.guards import LADDER, Guard, band, behind
from engine.parts.guards import chosen as guarding
from engine.parts.keepers import Autocorrelation, Keep, KeepRhythm, SmoothGain
from engine.parts.mels import Decibels
from engine.parts.names import make
from engine.parts.renderings import ContentPhase, Rendering
from engine.parts.representations import LogMagnitude, RealImaginary, Representation, seen
from engine.parts.scene import Scene
from engine.parts.solvers import Solve
from engine.parts.statistics import Distance, Statistic
from engine.parts.store import hold, union
from engine.recipe import Given, Recipe
from engine.target import Target
from engine.terms import Picture, Term, Weighted

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
    """The parts of a recipe for one set of parameters, windows being ``longer`` times as long."""

    def __init__(self, recipe: Recipe, params: Mapping[str, Any], longer: float = 1.0) -> None:
        self.recipe, self.params = recipe, params
        self.terms = [
            _Matched(
                _scaled(make("representation", term.representation, params), longer),
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
        if isinstance(own := getattr(self.solve, "representation", None), LogMagnitude):
            self.solve = replace(self.solve, representation=_scaled(own, longer))
        self.rendering: Rendering | None = None
        if params["phase"] == "stem":
            self.rendering = ContentPhase()
        elif recipe.rendering is not None:
            self.rendering = make("rendering", recipe.rendering, params)
        #: What the user has added: their weights are in units of all that the style weighs at the stem.
        self.added: list[tuple[float, Keep]] = [
            (float(params[name]), part)
            for name, part in (
                ("smooth_gain", SmoothGain()),
                ("rhythm", KeepRhythm()),
                ("autocorrelation", Autocorrelation()),
            )
            if params.get(name)
        ]

    def check(self) -> None:
        """`RecipeError` where something is not on this machine that the parts need, as a network's weights."""
        for term in self.terms:
            if isinstance(term.features, Needy):
                term.features.check()

    def _value(self, weight: float | Given) -> float:
        return float(weight.value(self.params) if isinstance(weight, Given) else weight)

    @property
    def representations(self) -> tuple[Representation, ...]:
        """Those of the terms, of the solver and of what else compares with the style, each once."""
        every = [term.representation for term in self.terms]
        for part in (self.solve, *(keeper for _, keeper in self.keepers + self.added)):
            own = getattr(part, "representation", None)
            every += [own] if own is not None else []
        return tuple(dict.fromkeys(every))


def _scaled(representation: Representation, longer: float) -> Representation:
    """A representation with windows of another length, where it has windows and they can be."""
    if longer == 1 or not isinstance(representation, Decibels | LogMagnitude | RealImaginary):
        return representation
    return replace(representation, n_fft=round(representation.n_fft * longer))


def _plans(recipe: Recipe, params: Mapping[str, Any], rate: int) -> list[tuple[_Plan, float, float]]:
    """The recipe's plan with the whole band, or one for each band of the ladder of resolutions there is at ``rate``."""
    if not params["resolutions"]:
        return [(_Plan(recipe, params), 0.0, float("inf"))]
    return [(_Plan(recipe, params, longer), low, high) for longer, low, high in LADDER if low < rate / 2]


class Composed:
    """Learns pieces of the references; restyles by the recipe's solver."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe

    def learn(self, references: Sequence[Tensor], rate: int, params: Mapping[str, Any]) -> Target:
        """Keep at most ``max_s`` seconds of excerpts that stand for all references."""
        settings = self.recipe.check(params)
        plans = [plan for plan, _, _ in _plans(self.recipe, settings, rate)]
        for plan in plans:
            plan.check()
        excerpts = select(references, rate, float(settings["max_s"]))
        keeps = [view.keep(rate) for plan in plans for view in plan.representations]
        return Target(self.recipe.name, settings, rate, hold(excerpts, keeps))

    def blend(self, parts: Sequence[tuple[Target, float]]) -> Target:
        """The weighted union of the targets' pieces; `RecipeError` where the recipe cannot be blended."""
        if self.recipe.blends:
            raise RecipeError(f"presets of recipe {self.recipe.name!r} do not blend: {self.recipe.blends}")
        return union(parts)

    def solver(self, target: Target, power: Tensor, device: torch.device) -> Solver:
        """A solver that makes the target ready once for each seed; parameters it does not know have their defaults."""
        params = {**self.recipe.defaults, **target.params}
        passes = [
            (_Pass(plan, target, device), low, high) for plan, low, high in _plans(self.recipe, params, target.rate)
        ]
        guards = guarding(transients=params["transients"], bass_hz=params["bass_hz"])
        return _Solver(passes, guards, target.rate, device)


class _Solver:
    """Restyles the spans of one stem behind guards, each band by its own pass; see `engine.method.Solver`."""

    def __init__(
        self,
        passes: Sequence[tuple["_Pass", float, float]],
        guards: Sequence[Guard],
        rate: int,
        device: torch.device,
    ) -> None:
        self.passes, self.guards, self.rate, self.device = passes, guards, rate, device

    def __call__(self, work: Work, on_iterate: OnIterate) -> Tensor:
        # One problem at a time stays in a CPU's caches, and its sums do not depend on who else is in the batch.
        if self.device.type == "cpu" and work.x.shape[0] > 1:
            return torch.cat([self(work.one(k), on_iterate) for k in range(work.x.shape[0])])
        return behind(self.guards, work, self.rate, lambda let_through: self._styled(let_through, on_iterate))

    def _styled(self, work: Work, on_iterate: OnIterate) -> Tensor:
        if len(self.passes) == 1:
            return self.passes[0][0](work, on_iterate)
        total = torch.zeros_like(work.x)
        for number, (each, low, high) in enumerate(self.passes):

            def tell(iteration: int, iterations: int, loss: float, before: int = number) -> None:
                on_iterate(before * iterations + iteration, len(self.passes) * iterations, loss)

            reach = float("inf") if number + 1 == len(self.passes) else high
            total = total + band(each(work, tell), self.rate, low, reach)
        return total


class _Pass:
    """Restyles spans at one resolution."""

    def __init__(self, plan: _Plan, target: Target, device: torch.device) -> None:
        self.plan, self.target, self.device = plan, target, device
        self._eyes: dict[tuple[Representation, Features, int], Eye] = {}
        self._goals: dict[tuple[int, int], list[Distance]] = {}

    def __call__(self, work: Work, on_iterate: OnIterate) -> Tensor:
        """``work.x`` restyled."""
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
        sides: list[str] = []
        for number, term in enumerate(self.plan.terms):
            if not term.weight:
                continue
            eye = self._eye(term, scene)
            weights = eye.weights(scene.stem)
            if term.of == "stem":
                own = eye.layers(scene.stem, weights)
                distances = [term.statistic.against(layer) for layer in own]
                terms.append((term.weight * anchored(scene.work.amount), _Distance(eye, weights, distances)))
                sides.append("stem")
                continue
            distance = _Distance(eye, weights, self._against(number, term, eye, scene))
            unit = distance(scene.stem).clamp_min(1e-12) if term.unit == "stem" else None
            terms.append((term.weight, _Over(distance, unit) if unit is not None else distance))
            sides.append("style")
        style = Weighted([term for term, of in zip(terms, sides, strict=True) if of == "style"])
        terms += [(weight, keeper.ready(scene)) for weight, keeper in self.plan.keepers if weight]
        lean = scene.work.amount < 1 and "stem" not in sides
        if lean or self.plan.added:
            scale = style(scene.stem)
            for weight, keeper in self.plan.added:
                terms.append((weight, _Over(keeper.ready(scene), 1 / scale.clamp_min(1e-12))))
            if lean:
                terms.append((ANCHOR * (1 / scene.work.amount - 1), self._anchor(scene, scale)))
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

    def _anchor(self, scene: Scene, style: Tensor) -> Term:
        """How far the first view is from the stem's, in the scale that the ``style`` terms have at the stem."""
        representation, rate = self.plan.representations[0], scene.rate
        view = seen(representation, scene.stem, rate)
        scale = style / view.square().flatten(1).sum(1).clamp_min(1e-12)
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
