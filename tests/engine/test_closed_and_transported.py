"""The recipes in closed form, of optimal transport, of the ear and of mosaics, through the front door."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from engine import level, material
from engine.errors import RecipeError
from engine.events import Event, Iterate
from engine.recipes import find
from engine.spectra import Resolution, linked_magnitude
from engine.style import Settings, Target, blend, learn, restyle

RATE = 22050
Params = dict[str, Any]
CLOSED = ("adain", "wct", "monge", "histogram", "sanet", "transport")
DESCENDING = ("sliced-wasserstein", "gaussian-ot", "grinstein-auditory", "verma-smith")
#: What makes a test of those that take their time short.
SHORT: dict[str, Params] = {"gaussian-ot": {"filters": 2}, "mosaic": {"semitones": 0}}


def sound(name: str, seconds: float = 1.0, rate: int = RATE) -> Tensor:
    """A piece of the demo material, ``[2, samples]``."""
    return torch.from_numpy(material.make(name, seconds=seconds, rate=rate))


def learnt(recipe: str, params: Params | None = None, *, style: str = "organ", rate: int = RATE) -> Target:
    """A second of ``style``."""
    return learn([sound(style, 1.0, rate)], rate, recipe=recipe, params={**SHORT.get(recipe, {}), **(params or {})})


def few(recipe: str, iterations: int = 4) -> Params:
    """Parameters for a short descent, where there is one."""
    return {"iterations": iterations} if recipe in (*DESCENDING, "mosaic") else {}


def bands(x: Tensor) -> Tensor:
    """Mean log magnitude of each bin at equal level, ``[bins]``."""
    x = x * (0.1 / float(level.rms(x)))
    return linked_magnitude(x[None], Resolution.at(RATE, 2048))[0].log1p().mean(-1)


@pytest.mark.parametrize("recipe", [*CLOSED, *DESCENDING, "mosaic"])
@pytest.mark.parametrize(("samples", "channels"), [(1, 1), (2049, 2), (9001, 6)])
def test_any_length_and_channels(recipe: str, samples: int, channels: int) -> None:
    """From one sample up and from mono to 5.1: same shape, finite, at the stem's RMS to 0.5 dB."""
    stem = sound("riff")[:1, 5000 : 5000 + samples] * torch.linspace(1, 0.2, channels)[:, None]
    out = restyle(stem, RATE, learnt(recipe, few(recipe)), Settings(device="cpu"))
    assert out.shape == stem.shape
    assert torch.isfinite(out).all()
    assert abs(20 * math.log10(float(level.rms(out) / level.rms(stem)))) < 0.5


@pytest.mark.parametrize("recipe", [*CLOSED, *DESCENDING, "mosaic"])
def test_other_rates_and_silence(recipe: str) -> None:
    """A stem at another rate than the preset's, with a hole in it: the hole stays, and the rest changes."""
    target = learnt(recipe, few(recipe), rate=16000)
    stem = sound("riff", 1.0, 44100)
    stem[:, 10_000:20_000] = 0
    out = restyle(stem, 44100, target, Settings(device="cpu"))
    assert not out[:, 10_000:20_000].any()
    assert float((out - stem).norm()) > 0.05 * float(stem.norm())


@pytest.mark.parametrize("recipe", [*CLOSED, *DESCENDING, "mosaic"])
def test_the_same_again_is_the_same_bytes(recipe: str) -> None:
    """Same stem, preset and settings: the same bytes."""
    target, stem = learnt(recipe, few(recipe)), sound("voice", 0.5)
    assert torch.equal(*(restyle(stem, RATE, target, Settings(device="cpu")) for _ in range(2)))


@pytest.mark.parametrize("recipe", [*CLOSED, "sliced-wasserstein", "verma-smith", "mosaic"])
def test_more_amount_is_more_style(recipe: str) -> None:
    """The mean spectrum only comes nearer to the style's from amount 0.3 to 1, and nearer than the stem's is."""
    stem, goal = sound("riff", 1.5), bands(sound("organ"))
    target = learnt(recipe, few(recipe, 20))
    seen = [float((bands(stem) - goal).norm())]
    for amount in (0.3, 1.0):
        out = restyle(stem, RATE, target, Settings(amount=amount, device="cpu"))
        seen.append(float((bands(out) - goal).norm()))
    assert seen[2] < seen[1] < seen[0]


@pytest.mark.parametrize("recipe", [*CLOSED, "sliced-wasserstein", "gaussian-ot", "grinstein-auditory", "verma-smith"])
def test_blends_lie_between(recipe: str) -> None:
    """Half of each of two styles is nearer to both than the other is alone; all of one is that one."""
    organ, rain = (learnt(recipe, few(recipe, 20), style=style) for style in ("organ", "rain"))
    both = blend([(organ, 1), (rain, 1)])
    stem = sound("riff", 0.6)
    one, half, other = (bands(restyle(stem, RATE, t, Settings(device="cpu"))) for t in (organ, both, rain))
    assert float((half - one).norm()) < float((other - one).norm())
    assert float((half - other).norm()) < float((other - one).norm())


def test_a_mosaic_says_why_it_does_not_blend() -> None:
    """Frames know nothing of shares: an error that says what to do instead."""
    target = learnt("mosaic")
    with pytest.raises(RecipeError, match="several references"):
        blend([(target, 1), (target, 1)])


@pytest.mark.parametrize("recipe", ["kernel", *DESCENDING])
def test_its_own_loss_falls_fivefold(recipe: str) -> None:
    """With standard quality and all defaults the loss ends at a fifth of what it was at the stem, or below."""
    told: list[Event] = []
    target = learn([sound("choir", 2.0)], RATE, recipe=recipe, params=SHORT.get(recipe, {}))
    restyle(sound("riff", 2.0).mean(0, keepdim=True), RATE, target, Settings(device="cpu"), told.append)
    losses = [event.loss for event in told if isinstance(event, Iterate)]
    assert losses[-1] < losses[0] / 5


@pytest.mark.parametrize("recipe", CLOSED)
def test_closed_forms_have_no_regularisers(recipe: str) -> None:
    """What is added to a loss is refused where there is none, and not ignored."""
    with pytest.raises(RecipeError, match="no parameter 'rhythm'"):
        learnt(recipe, {"rhythm": 1.0})


@pytest.mark.parametrize("recipe", CLOSED)
def test_closed_forms_keep_the_stereo_image(recipe: str) -> None:
    """One gain for all channels: balance to 0.1 dB, and identical channels stay identical."""
    target = learnt(recipe)
    stem = sound("riff", 1.0) * torch.tensor([[1.0], [0.4]])
    out = restyle(stem, RATE, target, Settings(device="cpu"))
    balance, after = (20 * math.log10(float(x[1].norm() / x[0].norm())) for x in (stem, out))
    assert abs(balance - after) < 0.1
    twins = sound("riff", 0.5)[:1].expand(2, -1).contiguous()
    assert torch.equal(*restyle(twins, RATE, target, Settings(device="cpu")))


@pytest.mark.parametrize("recipe", [*CLOSED, *DESCENDING, "mosaic"])
def test_recipes_say_what_they_are(recipe: str) -> None:
    """Source, use, equations, figure and cost are told, and every parameter has a range and a word about it."""
    known = find(recipe)
    assert all((known.title, known.source, known.use, known.equations, known.figure, known.cost))
    assert known.parts
    assert all(param.about for param in known.params.values())
