"""The front door: what a stem keeps whatever it is played through, and what it takes on."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from engine import level, material, style
from engine.errors import AudioError, DeviceError, EngineError, RecipeError
from engine.events import Event, Iterate, SegmentDone, SegmentStarted
from engine.random_network import RandomNetwork, style_distance
from engine.spectra import Resolution, linked_magnitude, log_magnitude
from engine.style import Settings, Target, blend, learn, restyle

RATE = 22050
DRAFT = Settings(quality="draft", device="cpu")


def sound(name: str, seconds: float = 2.0, rate: int = RATE) -> Tensor:
    """A piece of the demo material, ``[2, samples]``."""
    return torch.from_numpy(material.make(name, seconds=seconds, rate=rate))


@pytest.fixture(scope="module")
def organ() -> Target:
    """Two seconds of bowed organ, learnt at 22.05 kHz."""
    return learn([sound("organ")], RATE)


def identity(rate: int) -> Target:
    """A target that changes nothing."""
    return learn([sound("organ", 0.5)], rate, recipe="identity")


def held_out_style(x: Tensor, goal: Tensor) -> float:
    """Style loss seen by a network nothing was fitted to, both sounds at one level."""
    network, res = RandomNetwork(1025, 1024, seed=77), Resolution(2048, 512)
    features = [
        network.features(log_magnitude(linked_magnitude(y[None] * (0.1 / float(level.rms(y))), res)[0]))
        for y in (x, goal)
    ]
    return float(style_distance(*features))


@given(
    st.integers(1, 60_000),
    st.sampled_from([8000, 11025, 22050, 37800, 44056, 48000, 96000]),
    st.sampled_from([1, 2, 6]),
    st.integers(0, 2**31),
)
@settings(max_examples=25, deadline=None)
def test_a_recipe_that_changes_nothing_gives_the_stem_back(samples: int, rate: int, channels: int, seed: int) -> None:
    """Through cutting, levels and resampling there and back an unchanged stem keeps every bit."""
    stem = torch.randn(channels, samples, generator=torch.Generator().manual_seed(seed)) * 0.1
    assert torch.equal(restyle(stem, rate, identity(22050), DRAFT), stem)


def test_long_stems_are_cut_and_joined_without_a_trace() -> None:
    """Twenty-five seconds go through three segments and two around their seams, and come back bit for bit."""
    stem = torch.randn(2, 25 * 8000 + 17) * 0.1
    events: list[Event] = []
    assert torch.equal(restyle(stem, 8000, identity(8000), DRAFT, events.append), stem)
    assert [e.count for e in events if isinstance(e, SegmentStarted)] == [5] * 5
    assert sum(isinstance(e, SegmentDone) for e in events) == 5


@pytest.mark.parametrize("samples", [1, 2, 511, 512, 2047, 2048, 2049, 6145])
@pytest.mark.parametrize("quality", ["draft", "standard"])
def test_every_length_comes_back_whole(organ: Target, samples: int, quality: str) -> None:
    """From one sample to three FFTs: same shape, finite, at the stem's RMS to 0.5 dB."""
    stem = sound("riff")[:, 3000 : 3000 + samples].contiguous()
    out = restyle(stem, RATE, organ, Settings(quality=quality, device="cpu"))
    assert out.shape == stem.shape
    assert torch.isfinite(out).all()
    assert abs(20 * math.log10(float(level.rms(out) / level.rms(stem)))) < 0.5


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_any_number_of_channels(organ: Target, channels: int) -> None:
    """Mono, stereo and 5.1 with a silent channel: shape kept, silence in a channel kept."""
    stem = (
        torch.randn(channels, RATE) * torch.linspace(0.2, 0, channels)[:, None] if channels > 1 else sound("riff")[:1]
    )
    out = restyle(stem, RATE, organ, DRAFT)
    assert out.shape == stem.shape
    if channels > 1:
        assert not out[-1].any(), "a silent channel shares no gain with anything"


def test_twin_channels_stay_twins(organ: Target) -> None:
    """A mono sound in a stereo file comes back as one."""
    out = restyle(sound("riff")[:1].expand(2, -1).contiguous(), RATE, organ, DRAFT)
    assert torch.equal(out[0], out[1])


@pytest.mark.parametrize("quality", ["draft", "standard"])
def test_stereo_image_is_kept(organ: Target, quality: str) -> None:
    """The balance of a stereo stem off the centre stays to 0.1 dB and its correlation to 0.2."""
    stem = sound("riff", 3.0) * torch.tensor([[1.0], [0.4]])
    out = restyle(stem, RATE, organ, Settings(quality=quality, device="cpu"))

    def image(x: Tensor) -> tuple[float, float]:
        return 20 * math.log10(float(x[1].norm() / x[0].norm())), float(torch.corrcoef(x)[0, 1])

    (balance, correlation), (balance_out, correlation_out) = image(stem), image(out)
    assert abs(balance - balance_out) < 0.1
    assert abs(correlation - correlation_out) < 0.2


def test_silence_in_is_the_same_silence_out(organ: Target) -> None:
    """All-zero stems and runs of zeros inside a stem come back as the same bytes, and no style is poured into them."""
    assert not restyle(torch.zeros(2, 5000), RATE, organ, DRAFT).any()
    stem = sound("riff", 3.0)
    stem[:, RATE : 2 * RATE] = 0
    out = restyle(stem, RATE, organ, Settings(device="cpu"))
    assert not out[:, RATE : 2 * RATE].any()
    assert float(out[:, :RATE].square().mean()) > 0


def test_a_stem_below_the_gate_passes() -> None:
    """A stem whose loudest block is under −80 dBFS is not blown up into style: it comes back as it is, to 1e-9."""
    stem = torch.randn(1, RATE) * 1e-5
    assert torch.allclose(restyle(stem, RATE, learn([sound("rain")], RATE), DRAFT), stem, atol=1e-9)


def test_nothing_asked_for_nothing_done(organ: Target) -> None:
    """Amount 0 and mix 0 return the stem bit for bit."""
    stem = sound("voice", 0.5)
    for wish in (Settings(amount=0, device="cpu"), Settings(mix=0, device="cpu")):
        assert torch.equal(restyle(stem, RATE, organ, wish), stem)


def test_mix_is_a_straight_line_from_dry_to_wet(organ: Target) -> None:
    """Half the mix is the mean of stem and full result, sample by sample (1e-6)."""
    stem = sound("voice", 1.0)
    wet = restyle(stem, RATE, organ, DRAFT)
    half = restyle(stem, RATE, organ, Settings(mix=0.5, quality="draft", device="cpu"))
    assert torch.allclose(half, (stem + wet) / 2, atol=1e-6)


@pytest.mark.parametrize("quality", ["draft", "standard"])
def test_more_amount_is_more_style(organ: Target, quality: str) -> None:
    """From the stem to the full style a network nothing was fitted to sees the distance to the style only fall."""
    stem, goal = sound("riff", 3.0), sound("organ")
    seen = [held_out_style(stem, goal)]
    for amount in (0.25, 0.5, 0.75, 1.0):
        out = restyle(stem, RATE, organ, Settings(amount=amount, quality=quality, device="cpu"))
        seen.append(held_out_style(out, goal))
    assert all(more < less for less, more in pairwise(seen)), seen
    assert seen[-1] < 0.5 * seen[0]
    assert seen[2] > seen[-1] + 0.1 * (seen[0] - seen[-1]), "half way is neither end"


def test_same_input_same_bytes(organ: Target) -> None:
    """Learning and restyling twice gives the same bytes."""
    stem = sound("riff", 1.0)
    again = learn([sound("organ")], RATE)
    assert all(torch.equal(organ.tensors[k], again.tensors[k]) for k in organ.tensors)
    assert torch.equal(restyle(stem, RATE, organ, DRAFT), restyle(stem, RATE, again, DRAFT))


def test_a_level_is_neither_learnt_nor_lost(organ: Target) -> None:
    """A reference 30 dB softer teaches the same target; a stem 20 dB softer comes back 20 dB softer (5 %)."""
    softer = learn([sound("organ") * 0.03], RATE)
    for name, tensor in organ.tensors.items():
        assert torch.allclose(tensor.float(), softer.tensors[name].float(), rtol=2e-3, atol=1e-3)
    stem = sound("riff", 1.0)
    loud, soft = restyle(stem, RATE, organ, DRAFT), restyle(stem * 0.1, RATE, organ, DRAFT)
    assert float((soft * 10 - loud).norm() / loud.norm()) < 0.05  # descent amplifies the rounding of levels


def test_a_blend_is_between_its_parts() -> None:
    """A half-and-half blend pulls a stem nearer to each sound than the other alone does."""
    organ, rain = learn([sound("organ")], RATE), learn([sound("rain")], RATE)
    stem, mixed = sound("riff", 3.0), blend([(organ, 1.0), (rain, 1.0)])
    out = {name: restyle(stem, RATE, t, DRAFT) for name, t in (("organ", organ), ("rain", rain), ("both", mixed))}
    assert held_out_style(out["both"], sound("organ")) < held_out_style(out["rain"], sound("organ"))
    assert held_out_style(out["both"], sound("rain")) < held_out_style(out["organ"], sound("rain"))


def test_a_blend_of_a_target_with_itself_is_that_target(organ: Target) -> None:
    """Weights are shared out, so blending a target with itself changes the result by less than 1 % of its energy."""
    stem = sound("riff", 1.0)
    alone, twice = (restyle(stem, RATE, t, DRAFT) for t in (organ, blend([(organ, 0.3), (organ, 0.7)])))
    assert float((alone - twice).square().sum() / alone.square().sum()) < 0.01


def test_a_long_reference_is_kept_small_and_is_still_that_sound() -> None:
    """Forty seconds of choir become twelve, and those are nearer to all of it than a tenth of the way to a riff."""
    choir, riff = sound("choir", 40.0), sound("riff", 4.0)
    target = learn([choir], RATE)
    assert target.tensors["magnitude.2048"].shape[1] <= 12 * RATE / 512 + 1
    weights = target.tensors["weights.2048"]
    assert float(weights.sum()) == pytest.approx(1, abs=1e-5)
    full = learn([choir], RATE, params={"max_s": 60})
    from engine import kernel

    def distance(a: Target, b: Target) -> float:
        frames = [log_magnitude(t.tensors["magnitude.2048"].float()) for t in (a, b)]
        return float(
            kernel.style(frames[0][None], frames[1], a.tensors["weights.2048"][None], b.tensors["weights.2048"])
        )

    assert distance(target, full) < 0.1 * distance(learn([riff], RATE), full)


def test_progress_is_told(organ: Target) -> None:
    """Every iteration is told with its number and a loss that falls from first to last."""
    events: list[Event] = []
    restyle(sound("riff", 1.0), RATE, organ, Settings(device="cpu"), events.append)
    losses = [e.loss for e in events if isinstance(e, Iterate)]
    assert len(losses) > 5
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(
    ("stem", "words"),
    [
        (torch.zeros(100), "expected float32"),
        (torch.zeros(2, 0), "at least one"),
        (torch.zeros(1, 10, dtype=torch.float64), "float64"),
        (torch.tensor([[0.0, math.nan]]), "finite"),
        (torch.tensor([[0.0, math.inf]]), "finite"),
    ],
)
def test_bad_audio_is_refused(organ: Target, stem: Tensor, words: str) -> None:
    """What is not finite float32 [channels, samples] is refused with what was expected."""
    with pytest.raises(AudioError, match=words):
        restyle(stem, RATE, organ, DRAFT)


def test_bad_wishes_are_refused(organ: Target) -> None:
    """Settings, devices, recipes, parameters and blends that cannot be met are named."""
    for wish, words in (({"amount": 1.5}, "amount"), ({"mix": -1}, "mix"), ({"quality": "best"}, "draft, standard")):
        with pytest.raises(EngineError, match=words):
            Settings(**wish)
    with pytest.raises(DeviceError, match="expected auto"):
        restyle(sound("riff", 0.2), RATE, organ, Settings(device="gpu"))
    with pytest.raises(RecipeError, match="did you mean 'kernel'"):
        learn([sound("organ", 0.5)], RATE, recipe="kernal")
    with pytest.raises(RecipeError, match="no parameter 'widht'"):
        learn([sound("organ", 0.5)], RATE, params={"widht": 3})
    with pytest.raises(RecipeError, match="different rate"):
        blend([(organ, 1), (learn([sound("organ", 0.5)], 44100), 1)])
    with pytest.raises(RecipeError, match="above 0"):
        blend([(organ, 0.0)])
    with pytest.raises(AudioError, match="silent"):
        learn([torch.zeros(1, RATE)], RATE)


def test_ulyanov_works_on_a_little() -> None:
    """The explicit baseline, shortened, lowers its own loss and keeps shape, level and image."""
    target = learn(
        [sound("organ", 1.0)], RATE, recipe="ulyanov", params={"filters": 64, "iterations": 30, "griffin_lim": 8}
    )
    stem, events = sound("riff", 1.0), list[Event]()
    out = restyle(stem, RATE, target, style.Settings(device="cpu"), events.append)
    losses = [e.loss for e in events if isinstance(e, Iterate)]
    assert losses[-1] < losses[0] / 5
    assert out.shape == stem.shape
    assert torch.isfinite(out).all()
