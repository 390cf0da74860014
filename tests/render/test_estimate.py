"""Estimates: rough, but the right way round."""

from typing import Any

import pytest
import torch

from engine.recipes import RECIPES
from engine.style import QUALITIES
from engine.target import Target
from presets import preset
from presets.cards import Card
from render import estimate


def _card(recipe: str, **params: Any) -> Card:
    """The card of a preset of ``recipe``."""
    target = Target(recipe, RECIPES[recipe].check(params), 22_050, {"x": torch.ones(1)})
    return preset.new("tape", target).card


def _of(
    quality: str = "standard",
    *,
    rate: int = 44_100,
    channels: int = 2,
    device: str = "cpu",
    styled: bool = True,
    recipe: str = "kernel",
    **params: Any,
) -> float:
    card = _card(recipe, **params) if styled else None
    return estimate.seconds(60.0, rate=rate, channels=channels, quality=quality, device=device, card=card)


def test_every_quality_has_a_figure_and_better_takes_longer() -> None:
    """Draft before standard before fine, on every device."""
    for device in ("cpu", "cuda", "mps"):
        times = [_of(quality, device=device) for quality in QUALITIES]
        assert times == sorted(times)
        assert times[0] < times[-1]


def test_more_channels_and_higher_rates_take_longer() -> None:
    """A mono stem takes less than a stereo one, 96 kHz more than 44.1."""
    assert _of(channels=1) < _of() < _of(channels=6)
    assert _of() < _of(rate=96_000)


def test_what_is_not_styled_takes_next_to_nothing() -> None:
    """A minute is copied, or run through a chain, in seconds."""
    assert _of(styled=False) < 5


@pytest.mark.parametrize("device", ["cuda:3", "xpu"])
def test_other_devices_are_estimated_too(device: str) -> None:
    """The third GPU is a GPU, and an unknown device is taken for a slow one."""
    assert _of(device=device) == _of(device="cuda" if device.startswith("cuda") else "cpu")


@pytest.mark.parametrize(
    ("recipe", "params", "cpu_s"),
    [
        ("transport", {}, 0.1),
        ("kernel-linear", {}, 5.4),
        ("sliced-wasserstein", {}, 7.7),
        ("ulyanov", {"iterations": 40}, 52.8),
        ("caracalla-roebel", {"filters": 8, "iterations": 50}, 66.2),
        ("kanak-texture", {"filters": 4, "iterations": 40}, 271.0),
        ("grinstein-auditory", {}, 10.8),
    ],
)
def test_other_recipes_take_what_they_take(recipe: str, params: dict[str, Any], cpu_s: float) -> None:
    """Within four times of what ten seconds of stereo took in docs/RECIPES.md: a watched folder's patience is ten."""
    assert cpu_s / 4 < 10 * RECIPES[recipe].work_s(params, "standard") < 4 * cpu_s
    assert _of(recipe=recipe, **params) > _of(recipe=recipe, styled=False)
    assert _of("draft", recipe=recipe, **params) <= _of("fine", recipe=recipe, **params)
    assert _of(recipe=recipe, device="cuda", **params) < _of(recipe=recipe, **params)


def test_every_recipe_has_its_cost() -> None:
    """In words and as a number that iterations make larger."""
    for recipe in RECIPES.values():
        assert "one core" in str(recipe.cost)
        assert 0 < recipe.work_s({}, "standard") < 10_000
        if "iterations" in recipe.params:
            assert recipe.work_s({"iterations": 2}, "standard") < recipe.work_s({"iterations": 4}, "standard")
