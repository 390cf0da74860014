"""Sound guards: what they take away and give back adds up, and what they keep is kept."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from engine import material
from engine.level import RESOLUTION
from engine.method import Work, method
from engine.parts.guards import LADDER, DryBass, DryTransients, band, chosen
from engine.parts.renderings import ContentPhase
from engine.spectra import Resolution, linked_magnitude
from engine.style import learn

RATE = 8000
TIME = torch.arange(RATE) / RATE


def tone(hz: float) -> Tensor:
    """A second of a sine in stereo, louder on the left: ``[1, 2, samples]``."""
    return torch.stack([torch.sin(2 * math.pi * hz * TIME), 0.5 * torch.sin(2 * math.pi * hz * TIME)])[None]


def clicks() -> Tensor:
    """Four decaying clicks of noise a second: ``[1, 2, samples]``."""
    noise = torch.randn(1, 2, RATE, generator=torch.Generator().manual_seed(0))
    return noise * (-400 * (TIME % 0.25)).exp()


def level_db(x: Tensor) -> float:
    """RMS in dB of the middle half of a second."""
    return 20 * math.log10(float(x[..., RATE // 4 : -RATE // 4].square().mean().sqrt()) + 1e-12)


def test_bands_of_the_ladder_add_up() -> None:
    """The three bands of several resolutions sum to the sound within rounding (1e-5 of full scale)."""
    x = clicks() + tone(300)
    total = torch.stack([band(x, RATE, low, high) for _, low, high in LADDER]).sum(0)
    assert torch.allclose(total, x, atol=1e-5)


@pytest.mark.parametrize(("hz", "low_db"), [(30, 0), (120, -6.02), (480, -48.2)])
def test_a_crossover_falls_by_24_db_an_octave(hz: float, low_db: float) -> None:
    """Below 120 Hz: unchanged at a quarter of it, 6 dB down at it, 48 dB down two octaves above, within 0.3 dB."""
    x = tone(hz)
    assert level_db(band(x, RATE, 0, 120)) - level_db(x) == pytest.approx(low_db, abs=0.3)


def test_dry_bass_keeps_the_bass() -> None:
    """A recipe that replaces everything by a treble: the bass is the stem's, the treble the recipe's."""
    bass, treble = tone(40), tone(1500)
    inner, back = DryBass(150).split(bass + tone(900), RATE)
    assert torch.equal(inner, bass + tone(900))
    out = back(treble)
    assert level_db(out - bass - treble) < level_db(bass) - 40


def test_transients_pass_by() -> None:
    """Of clicks over a tone the recipe gets the tone: clicks come down by 6 dB or more, the tone by less than 1."""
    inner, _ = DryTransients().split(clicks(), RATE)
    assert level_db(inner) < level_db(clicks()) - 6
    inner, _ = DryTransients().split(tone(440), RATE)
    assert abs(level_db(inner) - level_db(tone(440))) < 1
    inner, back = DryTransients().split(clicks() + tone(440), RATE)
    silenced = back(torch.zeros_like(inner))
    attack = slice(RATE // 2, RATE // 2 + 80)
    assert float(silenced[..., attack].square().mean()) > 0.25 * float(clicks()[..., attack].square().mean())


@pytest.mark.parametrize("guard", [DryBass(150), DryTransients()])
def test_nothing_changed_is_nothing_changed(guard: DryBass | DryTransients) -> None:
    """Behind any guard a recipe that gives back what it gets gives back the stem, to 1e-6 of full scale."""
    x = clicks() + tone(60)
    inner, back = guard.split(x, RATE)
    assert torch.allclose(back(inner), x, atol=1e-6)


def test_silence_stays_silent() -> None:
    """Nothing in a silent stem is divided by zero."""
    for guard in (DryBass(150), DryTransients()):
        inner, back = guard.split(torch.zeros(1, 2, RATE), RATE)
        assert not back(inner).any()


def test_guards_are_taken_by_parameter() -> None:
    """None by default; both, bass first, when both are asked for."""
    assert list(chosen(transients=False, bass_hz=0)) == []
    assert list(chosen(transients=True, bass_hz=120)) == [DryBass(120), DryTransients()]


def test_the_default_recipe_has_them_too() -> None:
    """The kernel's bass stays dry, what is struck goes around it, and its result can be a gain on the stem's phase.

    Each is what its plain solver makes of what a guard lets through (to 1e-6 of full scale), and less than 2 % of what
    it changes about 40 Hz, two octaves under the crossover, is changed behind dry bass.
    """
    organ = torch.from_numpy(material.make("organ", seconds=1.0, rate=RATE))
    x = 0.1 * (clicks() + tone(220) + tone(30))
    work = Work(x, 1.0, "draft", 0)
    power = torch.ones(Resolution.at(RATE, RESOLUTION).bins)

    def solved(given: Work, **params: object) -> Tensor:
        target = learn([organ], RATE, params=params)
        return method("kernel").solver(target, power, torch.device("cpu"))(given, lambda i, n, loss: None)

    plain = solved(work)
    bass = solved(work, bass_hz=160.0)
    changed, kept = (float(band(found - x, RATE, 0, 40).norm()) for found in (plain, bass))
    assert kept < 0.02 * changed
    inner, back = DryTransients().split(x, RATE)
    struck = back(solved(replace(work, x=inner)))
    assert torch.allclose(solved(work, transients=True), struck, atol=1e-6)
    res = Resolution.at(RATE, 2048)
    in_phase = ContentPhase()(x, linked_magnitude(plain, res), res, 0)
    assert torch.allclose(solved(work, phase="stem"), in_phase, atol=1e-6)
    assert not torch.allclose(in_phase, plain, atol=1e-3)
