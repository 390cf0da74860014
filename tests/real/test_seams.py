"""Seams cannot be found: on real music, neither by an onset detector's measure nor by the style loss around them.

Four minutes of guitar, drums and keys in turn are restyled; every tenth second has a seam of the first pass, 23 in all.
Two statistics, each also taken of a control, the first pass's segments end to end, which has to fail:

flux: the spectral flux at a seam over the flux at the same place of a second render whose grid lies five seconds off,
so that the place is inside of a segment there.  Where seams are like other places the logarithms of these ratios are
around zero: |t| of their mean stays below 2.07 (22 degrees of freedom) in 95 of 100 cases.

style: the style loss of the second around each seam over that of the seconds in between, relative to the same ratio of
the untreated stem: within 10 %.
"""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from engine import audio, halves, kernel, stream
from engine.halves import Segment
from engine.level import ANALYSIS_RMS, rms
from engine.settings import Settings
from engine.spectra import Resolution, linked_magnitude, log_magnitude
from engine.style import Target, learn
from engine.survey import InMemory
from render.cuts import cut_points

from . import material

RATE = material.RATE
FLUX = Resolution(512, 128)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the recordings of this run lie."""
    return tmp_path_factory.mktemp("seams")


@pytest.fixture(scope="module")
def music(folder: Path) -> Tensor:
    """Four minutes of real stems, ``[1, samples]``, changing every eight seconds."""
    names = ("guitar", "drums", "keys")
    pieces = [audio.read(material.recording(name, folder)).samples for name in names]
    return torch.cat([p * (ANALYSIS_RMS / float(rms(p))) for p in pieces] * 10, 1)


@pytest.fixture(scope="module")
def target(folder: Path) -> Target:
    """A choir of bells."""
    return learn([audio.read(material.recording("bell-choir", folder)).samples], RATE)


def through(sound: Tensor, target: Target, cuts: Sequence[float] = ()) -> Tensor:
    """``sound`` restyled as a draft, which has the fewest evaluations to hide a seam with."""
    blocks = stream.restyle_stream(InMemory(sound, RATE), target, Settings(quality="draft", device="cpu"), cuts=cuts)
    return torch.cat(list(blocks), 1)


@pytest.fixture(scope="module")
def render(music: Tensor, target: Target) -> Tensor:
    """The music through the bells, in halves."""
    return through(music, target)


@pytest.fixture(scope="module")
def elsewhere(music: Tensor, target: Target) -> Tensor:
    """The same with its seams five seconds off."""
    off = round(halves.HALF_S * RATE)
    return torch.cat([music[:, :off], through(music[:, off:], target)], 1)


@pytest.fixture(scope="module")
def control(music: Tensor, target: Target) -> Tensor:
    """The first pass alone, its segments end to end."""
    segments = halves.first_pass(halves.grid(music.shape[1], RATE))
    return torch.cat([through(music[:, s.start : s.end], target) for s in segments], 1)


def seams(music: Tensor) -> list[Segment]:
    """The segments of the second pass."""
    return halves.second_pass(halves.grid(music.shape[1], RATE))


@pytest.fixture(scope="module")
def moved(music: Tensor, target: Target) -> tuple[Tensor, list[Segment]]:
    """The music with its seams at the quiet points and onsets that a render finds, and those seams."""
    cuts = cut_points(InMemory(music, RATE))
    return through(music, target, cuts), halves.second_pass(halves.grid(music.shape[1], RATE, cuts=cuts))


def flux(sound: Tensor) -> Tensor:
    """Half-wave rectified change of log magnitude from frame to frame, ``[frames]``."""
    return log_magnitude(10 * linked_magnitude(sound[None], FLUX)[0]).diff(dim=1).relu().mean(0)


def flux_t(sound: Tensor, elsewhere: Tensor, seams: list[Segment]) -> float:
    """Student's t of the log ratios of flux at the ``seams`` of ``sound`` to flux there ``elsewhere``."""
    curves = [flux(x).numpy() for x in (sound, elsewhere)]
    places = [round(s.middle / FLUX.hop) for s in seams]
    ratios = np.log([curves[0][p - 3 : p + 3].max() / curves[1][p - 3 : p + 3].max() for p in places])
    return float(ratios.mean() / ratios.std(ddof=1) * len(ratios) ** 0.5)


def style_at(sound: Tensor, target: Target, centres: list[int]) -> float:
    """Mean style loss of the second around each of ``centres``."""
    res = Resolution.at(RATE, 2048)
    goal, weights = log_magnitude(target.tensors["magnitude.2048"].float()), target.tensors["weights.2048"]
    losses = []
    for centre in centres:
        window = sound[:, centre - RATE // 2 : centre + RATE // 2]
        log = log_magnitude(linked_magnitude(window[None] * (ANALYSIS_RMS / float(rms(window))), res))
        even = kernel.even_weights(log.shape[-1] - kernel.WIDTH + 1, log)
        losses.append(float(kernel.style(log, goal, even[None], weights)))
    return float(np.mean(losses))


def style_ratio(sound: Tensor, target: Target, seams: list[Segment]) -> float:
    """Style loss on the ``seams`` over that half way between them."""
    inside = [(a.middle + b.middle) // 2 for a, b in pairwise(seams)]
    return style_at(sound, target, [s.middle for s in seams]) / style_at(sound, target, inside)


def test_flux_at_seams_is_flux(render: Tensor, elsewhere: Tensor, control: Tensor, music: Tensor) -> None:
    """Over at least 20 seams the flux is what it is without a seam there; butt joints are found."""
    assert len(seams(music)) >= 20
    assert abs(flux_t(render, elsewhere, seams(music))) < 2.07
    assert flux_t(control, elsewhere, seams(music)) > 2.07


def test_style_at_seams_is_style(render: Tensor, control: Tensor, music: Tensor, target: Target) -> None:
    """Windows on seams have the style loss of windows inside segments to 10 %; butt joints do not."""
    untreated = style_ratio(music, target, seams(music))
    assert style_ratio(render, target, seams(music)) == pytest.approx(untreated, rel=0.10)
    assert style_ratio(control, target, seams(music)) != pytest.approx(untreated, rel=0.10)


def test_seams_that_were_moved_are_none_either(
    moved: tuple[Tensor, list[Segment]], render: Tensor, music: Tensor, target: Target
) -> None:
    """On a grid moved to quiet points and onsets both statistics stay where they are on an even one.

    The flux is held against that of the even grid's render, at the seams that lie more than a tenth of a second from
    one of its own.
    """
    sound, places = moved
    even = seams(music)
    away = [s for s, plain in zip(places, even, strict=True) if abs(s.middle - plain.middle) > 0.1 * RATE]
    assert len(away) >= 10
    assert abs(flux_t(sound, render, away)) < float(stats.t.ppf(0.975, len(away) - 1))
    untreated = style_ratio(music, target, places)
    assert style_ratio(sound, target, places) == pytest.approx(untreated, rel=0.10)
