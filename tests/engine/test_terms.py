"""Every term against its own derivative, at the place it is least, in silence, and in the physics it stands for."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from engine import kernel, terms
from engine.spectra import Resolution, linked_magnitude
from engine.terms import (
    Chroma,
    Content,
    Energy,
    Goal,
    Moments,
    Picture,
    Rhythm,
    Style,
    Term,
    Weighted,
    Whitened,
    active_frames,
    active_patches,
    whiten,
)

RATE = 8000
SMALL = Resolution(32, 8)
FOLDED = Resolution(32, 8, 1.0, 9)  # eight bins in one group
SAMPLES = 8 * 21 + 3  # 22 frames: two patches that share no frame cover them all


def noise(seed: int, *shape: int) -> Tensor:
    """White noise in double."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def goal_of(x: Tensor, res: Resolution) -> Goal:
    """The goal of sound ``[channels, samples]`` with every frame counting the same: disjoint patches, weights even."""
    magnitude = Picture(x[None]).magnitude(res)[0]
    patches = torch.arange(magnitude.shape[1] - kernel.WIDTH + 1)
    weights = (patches % kernel.WIDTH == 0).to(x)
    return Goal.of(res, magnitude, weights / weights.sum())


KEPT: dict[str, Callable[[Resolution, Picture], Term]] = {
    "content": Content,
    "whitened": Whitened,
    "chroma": lambda res, stem: Chroma(res, RATE, stem),
    "rhythm": lambda res, stem: Rhythm(res, RATE, stem),
    "energy": Energy,
}
TAKEN: dict[str, Callable[[Resolution, Picture], Term]] = {
    "style": lambda res, stem: Style(goal_of(noise(9, 1, SAMPLES).to(stem.x), res), stem),
    "moments": lambda res, stem: Moments(goal_of(noise(9, 1, SAMPLES).to(stem.x), res), RATE, stem),
}
ALL = {**KEPT, **TAKEN}


class Given(Picture):
    """A picture whose magnitude is known."""

    def __init__(self, magnitude: Tensor) -> None:
        super().__init__(magnitude.new_zeros(magnitude.shape[0], 1, 1))
        self.given = magnitude

    def magnitude(self, res: Resolution) -> Tensor:
        """The magnitude that was given."""
        return self.given


@pytest.mark.parametrize("res", [SMALL, FOLDED])
@pytest.mark.parametrize("name", ALL)
def test_gradient(name: str, res: Resolution) -> None:
    """The gradient of every term is its derivative in double, for two stereo problems with a silent stretch."""
    stem = noise(1, 2, 2, SAMPLES)
    stem[0, :, 60:130] = 0
    x = (stem + 0.3 * noise(2, 2, 2, SAMPLES)).requires_grad_()
    term = ALL[name](res, Picture(stem))
    assert gradcheck(lambda y: term(Picture(y)), x, fast_mode=True)


@pytest.mark.parametrize("name", KEPT)
def test_what_stays_is_least_at_the_stem(name: str) -> None:
    """A term that keeps the stem is zero at it (1e-9, double) with no slope (1e-6), and above zero elsewhere."""
    stem = noise(1, 2, 2, SAMPLES)
    term = KEPT[name](SMALL, Picture(stem))
    x = stem.clone().requires_grad_()
    loss = term(Picture(x))
    (slope,) = torch.autograd.grad(loss.sum(), x)
    assert float(loss.detach().abs().max()) < 1e-9
    assert float(slope.abs().max()) < 1e-6
    assert float(term(Picture(noise(3, 2, 2, SAMPLES))).min()) > 1e-3


@pytest.mark.parametrize("res", [SMALL, FOLDED])
def test_style_is_one_at_the_stem_and_zero_at_the_target(res: Resolution) -> None:
    """Relative style distance: 1 at the stem (1e-12), 0 (1e-10) at a sound with the target's patches in other order."""
    target = noise(4, 1, SAMPLES)
    magnitude = Picture(target[None]).magnitude(res)
    goal = Goal.of(res, magnitude[0], active_patches(magnitude)[0])
    stem = Picture(noise(5, 2, 1, SAMPLES) * torch.tensor([1.0, 3.0], dtype=torch.float64)[:, None, None])
    term = Style(goal, stem)
    assert torch.allclose(term(stem), torch.ones(2, dtype=torch.float64), atol=1e-12)
    assert float(term(Picture(target[None].expand(2, -1, -1))).abs().max()) < 1e-10
    assert float(term(Picture(noise(6, 2, 1, SAMPLES))).min()) > 1e-4


def test_moments_are_one_at_the_stem_and_zero_at_the_target() -> None:
    """Relative distance of band moments: 1 at the stem, 0 at the target (1e-12, double)."""
    target = noise(4, 1, SAMPLES)
    stem = Picture(noise(5, 2, 1, SAMPLES) * 3)
    term = Moments(goal_of(target, SMALL), RATE, stem)
    assert torch.allclose(term(stem), torch.ones(2, dtype=torch.float64), atol=1e-12)
    assert float(term(Picture(target[None].expand(2, -1, -1))).abs().max()) < 1e-12


def test_moments_hear_level_and_movement_and_not_order() -> None:
    """Frames in another order cost nothing (1e-12); a band that moves more about the same mean level does."""
    generator = torch.Generator().manual_seed(1)
    walk = torch.rand(1, 17, 22, generator=generator, dtype=torch.float64) + 3
    goal = Goal.of(SMALL, walk[0], (torch.arange(12) % 11 == 0).double() / 2)
    term = Moments(goal, RATE, Given(walk * 2))
    assert abs(float(term(Given(walk.flip(2))))) < 1e-12
    middle = walk.log().mean(2, keepdim=True)
    assert float(term(Given((middle + 4 * (walk.log() - middle)).exp()))) > 0.01
    assert float(term(Given(walk * 2))) == pytest.approx(1, abs=1e-12)
    assert float(term(Given(walk * 2**0.5))) == pytest.approx(0.25, abs=0.02), "half of the way in dB"


def test_moments_are_those_of_frames_that_sound() -> None:
    """A pause in the stem is no part of its moments: with the target's frames before it the distance is 0 (1e-12)."""
    walk = torch.rand(1, 17, 22, generator=torch.Generator().manual_seed(1), dtype=torch.float64) + 3
    goal = Goal.of(SMALL, walk[0], (torch.arange(12) == 0).double())
    paused = walk * (torch.arange(22) < 11)
    term = Moments(goal, RATE, Given(3 * paused))
    assert abs(float(term(Given(paused)))) < 1e-12


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(("stem_gain", "gain"), [(0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1e-20, 1e-20)])
def test_silence_is_finite(name: str, stem_gain: float, gain: float, dtype: torch.dtype) -> None:
    """Whether the stem, the sound or both are silent (or nearly), value and gradient are finite numbers."""
    stem = (noise(1, 2, 2, SAMPLES) * stem_gain).to(dtype)
    x = (noise(2, 2, 2, SAMPLES) * gain).to(dtype).requires_grad_()
    loss = ALL[name](SMALL, Picture(stem))(Picture(x))
    (slope,) = torch.autograd.grad(loss.sum(), x)
    assert loss.shape == (2,)
    assert torch.isfinite(loss).all()
    assert torch.isfinite(slope).all()


@pytest.mark.parametrize("name", ALL)
def test_problems_of_a_batch_do_not_see_each_other(name: str) -> None:
    """The loss of each of two problems is what it is alone (1e-12, double)."""
    stem, x = noise(1, 2, 2, SAMPLES), noise(2, 2, 2, SAMPLES)
    stem[1] *= 4
    together = ALL[name](SMALL, Picture(stem))(Picture(x))
    for k in range(2):
        alone = ALL[name](SMALL, Picture(stem[k : k + 1]))(Picture(x[k : k + 1]))
        assert float(together[k]) == pytest.approx(float(alone[0]), rel=1e-12)


@pytest.mark.parametrize("term", [Content, Whitened])
def test_content_is_one_in_silence(term: Callable[[Resolution, Picture], Term]) -> None:
    """Everything that is lost when nothing is left is the unit: 1 (1e-12), whatever the stem's level."""
    for gain in (0.1, 10):
        stem = Picture(gain * noise(1, 1, 1, SAMPLES))
        assert float(term(SMALL, stem)(Picture(0 * stem.x))) == pytest.approx(1, rel=1e-12)


def test_whitened_content_is_blind_to_the_envelope() -> None:
    """Partials one octave brighter cost the whitened term less than a fifth of what they cost plain content."""
    res, time = Resolution.at(RATE, 2048), torch.arange(RATE // 2) / RATE
    tones = [torch.sin(2 * math.pi * 220 * k * time) for k in range(1, 12)]
    stem = Picture(sum(0.02 * t / k for k, t in enumerate(tones, 1))[None, None])  # type: ignore[index]
    brighter = Picture(sum(0.02 * t / math.sqrt(k) for k, t in enumerate(tones, 1))[None, None])  # type: ignore[index]
    other = Picture(sum(0.02 * torch.sin(2 * math.pi * 247 * k * time) / k for k in range(1, 12))[None, None])  # type: ignore[index]
    term = Whitened(res, stem)
    assert float(term(brighter)) < 0.2 * float(term(other))


@pytest.mark.parametrize("width", [1, 3, 5, 7, 11, 25])
@pytest.mark.parametrize("bins", [9, 40])
def test_whiten_is_what_stands_above_a_moving_average(width: int, bins: int) -> None:
    """The box built by doubling is avg_pool1d with zeros beyond the ends (1e-12), also when wider than the spectrum."""
    log = noise(1, 2, bins, 5).abs()
    mean = torch.nn.functional.avg_pool1d(log.mT, width, 1, width // 2, count_include_pad=True).mT
    assert torch.allclose(whiten(log, width), (log - mean).relu(), atol=1e-12)


@pytest.mark.parametrize("width", [1, 5, 25])
def test_box_sum_is_its_own_transpose(width: int) -> None:
    """<B x, y> = <x, B y> (1e-12), and the gradient of `whiten` is its derivative."""
    x, y = noise(1, 3, 40), noise(2, 3, 40)
    forth, back = (terms._box_sum(x, width) * y).sum(), (x * terms._box_sum(y, width)).sum()
    assert float(forth) == pytest.approx(float(back), rel=1e-12)
    assert gradcheck(lambda log: whiten(log, width), noise(3, 1, 12, 3).requires_grad_())


def test_chroma_hears_pitch_and_not_octave_or_level() -> None:
    """A tone an octave up or 20 dB down costs less than 0.1; a fourth up costs more than 0.9."""
    rate = 22050
    res, time = Resolution.at(rate, 4096), torch.arange(rate) / rate

    def tone(hz: float, gain: float = 0.1) -> Picture:
        return Picture(gain * torch.sin(2 * math.pi * hz * time)[None, None])

    term = Chroma(res, rate, tone(440))
    assert float(term(tone(440, 0.01))) < 1e-4
    assert float(term(tone(880))) < 0.1
    assert float(term(tone(440 * 2 ** (5 / 12)))) > 0.9


def test_chroma_asks_nothing_where_the_stem_is_silent() -> None:
    """Frames without pitch in the stem have no weight: what the style puts there changes nothing (1e-9)."""
    magnitude = noise(1, 1, 17, 22).abs()
    magnitude[..., :8] = 0
    term = Chroma(SMALL, RATE, Given(magnitude))
    filled = magnitude.clone()
    filled[..., :8] = 5
    assert float(term(Given(magnitude))) == pytest.approx(0, abs=1e-9)
    assert float(term(Given(filled))) == pytest.approx(float(term(Given(magnitude))), abs=1e-9)
    assert float(term.weights.sum()) == pytest.approx(1, abs=1e-12)


def test_rhythm_hears_onsets_and_not_timbre() -> None:
    """The same clicks made of tone and not of noise cost under 0.25, clicks between them over 0.9."""
    res, time = Resolution.at(RATE, 2048), torch.arange(2 * RATE) / RATE
    decay, late = torch.exp(-30 * (time % 0.5)), torch.exp(-30 * ((time + 0.25) % 0.5))
    source = torch.randn(2 * RATE, generator=torch.Generator().manual_seed(0)) * 0.1
    term = Rhythm(res, RATE, Picture((source * decay)[None, None]))
    tone = 0.1 * torch.sin(2 * math.pi * 440 * time)
    assert float(term(Picture((tone * decay)[None, None]))) < 0.25
    assert float(term(Picture((source * late)[None, None]))) > 0.9


def test_rhythm_is_of_rises_and_not_of_falls() -> None:
    """The same rises with falls between them cost under 0.1; rises exactly where the stem has none cost over 1.5."""
    time = torch.arange(22, dtype=torch.float64)
    steps, falling = ((time >= a).double() + (time >= b).double() for a, b in ((5, 12), (9, 17)))
    falls = steps - falling
    turns = time % 2

    def levelled(level: Tensor) -> Given:
        return Given((10 * torch.exp(level)).expand(1, 17, -1).clone())

    assert float(Rhythm(SMALL, RATE, levelled(steps))(levelled(falls))) < 0.1
    assert float(Rhythm(SMALL, RATE, levelled(turns))(levelled(1 - turns))) > 1.5


def test_energy_leaves_what_is_far_below_alone() -> None:
    """Frames of the stem 80 dB below its loudest may become anything; at 40 dB below, 6 dB in half the frames cost."""
    for down_db, free in ((80, True), (40, False)):
        level = 100 * torch.ones(1, 17, 22, dtype=torch.float64)
        level[..., ::2] *= 10 ** (-down_db / 20)
        other = level.clone()
        other[..., ::2] *= 2
        assert (float(Energy(SMALL, Given(level))(Given(other))) < 1e-9) is free


def test_energy_counts_in_units_of_six_decibels_and_leaves_the_level_free() -> None:
    """Frames 6 dB up and 6 dB down in turn cost 1; all of them 12 dB up cost nothing (1e-3: the floor)."""
    level = torch.ones(1, 17, 22, dtype=torch.float64)
    term = Energy(SMALL, Given(level))
    turn = torch.tensor([10 ** (6 / 20), 10 ** (-6 / 20)], dtype=torch.float64).repeat(11)
    assert float(term(Given(level * turn))) == pytest.approx(1, rel=1e-3)
    assert float(term(Given(4 * level))) < 1e-3


def test_weighted_is_the_weighted_sum() -> None:
    """Two terms with weights 2 and 3 give twice one and three times the other (1e-12); no terms give zero."""
    stem, x = Picture(noise(1, 2, 1, SAMPLES)), Picture(noise(2, 2, 1, SAMPLES))
    content, energy = Content(SMALL, stem), Energy(SMALL, stem)
    both = Weighted([(2.0, content), (3.0, energy)])
    assert torch.allclose(both(x), 2 * content(x) + 3 * energy(x), rtol=1e-12)
    assert torch.equal(Weighted([])(x), torch.zeros(2, dtype=torch.float64))


def test_a_picture_computes_each_spectrum_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking again, or for the log and the folded log of a known magnitude, costs no second transform."""
    seen: list[Resolution] = []

    def told(x: Tensor, res: Resolution) -> Tensor:
        seen.append(res)
        return linked_magnitude(x, res)

    monkeypatch.setattr(terms, "linked_magnitude", told)
    picture = Picture(noise(1, 1, 1, SAMPLES))
    for _ in range(2):
        assert torch.allclose(picture.log(FOLDED), picture.magnitude(FOLDED).log1p(), atol=1e-12)
        assert picture.folded(FOLDED).shape[1] == 10
        picture.magnitude(SMALL)
    assert seen == [FOLDED, SMALL]


def test_what_is_forty_decibels_down_does_not_count() -> None:
    """A frame 39 dB below the loudest has the weight of any other, one 41 dB below has none."""
    magnitude = torch.zeros(2, 4, 5)
    magnitude[0] = torch.tensor([1, 10 ** (-39 / 20), 10 ** (-41 / 20), 0, 0.5])
    weights = active_frames(magnitude)
    assert torch.allclose(weights[0], torch.tensor([1, 1, 0, 0, 1]) / 3)
    assert not weights[1].any(), "all silent: all zero"


def test_weights_of_patches_sum_to_one_or_are_zero() -> None:
    """Whatever sounds, the weights of the patches of a problem sum to one (1e-12); silence has none."""
    magnitude = noise(1, 3, 5, 40).abs()
    magnitude[0, :, 7:] = 0
    magnitude[1] = 0
    weights = active_patches(magnitude)
    assert weights.shape == (3, 40 - kernel.WIDTH + 1)
    assert weights.dtype == torch.float64
    assert weights.sum(1).tolist() == pytest.approx([1, 0, 1], abs=1e-12)
    assert int((weights[0] > 0).sum()) == 7, "patches that reach a frame that sounds"
