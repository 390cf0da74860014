"""The solver on gains: what the loss sees is what is heard, and a gain that was there is found."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from engine.method import Work
from engine.parts.mels import Decibels, between_bands
from engine.parts.renderings import ContentPhase, Rendering
from engine.parts.scene import Scene
from engine.parts.solvers import OnGains
from engine.spectra import Resolution, hz_to_mel, istft, mel_to_hz, stft
from engine.target import Target
from engine.terms import Picture, Term

RATE = 8000
VIEW = Decibels(n_fft=512)


def noise(seed: int, *shape: int) -> Tensor:
    """White noise at a tenth of full scale."""
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def towards(
    x: Tensor,
    goal: Tensor,
    told: list[float],
    *,
    start: Tensor | None = None,
    render: Rendering | None = None,
    **options: Any,
) -> Tensor:
    """``x`` brought towards the decibels of ``goal`` by the solver, its losses in ``told``."""
    view = VIEW(Picture(goal), RATE)

    def build(_: Scene) -> Term:
        return lambda picture: (VIEW(picture, RATE) - view).square().mean((1, 2, 3))

    def tell(_iteration: int, _iterations: int, loss: float) -> None:
        told.append(loss)

    work, nothing = Work(x, 1.0, "standard", 0, start=start), Target("", {}, RATE, {})
    scene = Scene(work, RATE, Picture(x), nothing, (VIEW,), build, tell, torch.device("cpu"))
    return OnGains(n_fft=512, **options)(scene, render)


def tilted(x: Tensor, db: float) -> Tensor:
    """``x`` with a gain from −``db`` at 0 Hz to ``db`` at the Nyquist frequency, straight in mels."""
    res = Resolution.at(RATE, 512)
    mel = torch.tensor([hz_to_mel(float(hz)) for hz in res.frequencies(RATE)])
    gain = 10 ** (db * (2 * mel / mel[-1] - 1) / 20)
    return istft(stft(x, res) * gain, res, x.shape[-1])


@pytest.mark.parametrize("rate", [8000, 22050, 48000])
@pytest.mark.parametrize("bands", [1, 2, 128])
def test_bins_lie_between_two_bands(rate: int, bands: int) -> None:
    """Shares sum to one, over two neighbours at most; what is straight in Hz stays so, and is held beyond the ends."""
    res = Resolution.at(rate, 2048)
    spread = between_bands(res, rate, bands, 16000.0)
    assert spread.shape == (bands, res.bins)
    torch.testing.assert_close(spread.sum(0), torch.ones(res.bins))
    assert int((spread > 0).sum(0).max()) <= 2
    middles = mel_to_hz(torch.arange(1, bands + 1) * hz_to_mel(16000.0) / (bands + 1))
    expected = res.frequencies(rate).clamp(float(middles[0]), float(middles[-1]))
    torch.testing.assert_close(middles @ spread, expected, atol=0.1, rtol=1e-4)


@pytest.mark.parametrize("bands", [0, 40])
def test_a_gain_that_was_there_is_found(bands: int) -> None:
    """Noise towards the same noise tilted by ± 9 dB: the loss falls a hundred times, the sound comes to a tenth."""
    x, told = noise(1, 1, 2, RATE), list[float]()
    goal = tilted(x, 9.0)
    out = towards(x, goal, told, bands=bands)
    assert told[-1] < told[0] / 100
    assert float((out - goal).norm()) < 0.1 * float((x - goal).norm())


def test_what_the_loss_sees_is_what_is_heard() -> None:
    """The loss of the sound that comes back is the last one told, to a thousandth."""
    x, goal, told = noise(1, 1, 2, RATE), noise(2, 1, 2, RATE), list[float]()
    out = towards(x, goal, told, iterations=20)
    heard = float((VIEW(Picture(out), RATE) - VIEW(Picture(goal), RATE)).square().mean())
    assert heard == pytest.approx(min(told), rel=1e-3)
    assert heard < told[0]


def test_a_second_pass_starts_where_the_first_ended() -> None:
    """Gains are read off the first pass, so that its loss is at most a tenth above where the first one's ended."""
    x, told, again = noise(1, 1, 1, RATE), list[float](), list[float]()
    goal = tilted(x, 6.0)
    first = towards(x, goal, told, iterations=30)
    towards(x, goal, again, start=first, iterations=2)
    assert again[0] < told[-1] + 0.1 * (told[0] - told[-1])


def test_gains_end_at_their_limits() -> None:
    """Towards something 60 dB quieter and 60 dB louder the level moves by the limits, to half a decibel."""
    x = noise(1, 1, 1, RATE)
    for factor, limit in ((1e-3, -12.0), (1e3, 6.0)):
        out = towards(x, factor * x, [], iterations=200, low_db=-12.0, high_db=6.0)
        assert 20 * math.log10(float(out.norm() / x.norm())) == pytest.approx(limit, abs=0.5)


def test_channels_share_the_gain() -> None:
    """Twins stay twins to the bit's neighbourhood, and a channel that is silent stays silent."""
    x = noise(1, 1, 1, RATE) * torch.tensor([[[1.0], [-0.5], [0.0]]])
    out = towards(x, noise(2, 1, 3, RATE), [], iterations=10)
    torch.testing.assert_close(out[:, 1], -0.5 * out[:, 0], atol=1e-6, rtol=1e-5)
    assert not out[:, 2].any()
    assert float((out - x).norm()) > 0.05 * float(x.norm())


def test_silence_stays_silent() -> None:
    """Nothing times any gain is nothing, and the loss that cannot fall is told as it is."""
    told: list[float] = []
    out = towards(torch.zeros(1, 2, RATE), noise(2, 1, 2, RATE), told)
    assert not out.any()
    assert all(math.isfinite(loss) and loss > 0 for loss in told)


def test_a_rendering_takes_the_magnitude() -> None:
    """With the stem's phase asked for as well, the sound is about what it was without: that was its phase already."""
    x, goal = noise(1, 1, 2, RATE), tilted(noise(1, 1, 2, RATE), 6.0)
    plain, rendered = (towards(x, goal, [], render=render, iterations=20) for render in (None, ContentPhase()))
    assert not torch.equal(plain, rendered)
    assert float((plain - rendered).norm()) < 0.1 * float(plain.norm())
