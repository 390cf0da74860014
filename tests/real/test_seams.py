"""Seams cannot be found: on real music, neither by an onset detector's measure nor by the style loss around them.

Four minutes of guitar, drums, voice and keys in turn are restyled; every tenth second has a seam of the first pass in
the middle of a segment of the second, 23 in all.  Two statistics, each also taken of a control whose first-pass segments
are put end to end, which has to fail:

flux: the spectral flux of the render over the stem's, at the frame of the seam, ranked among the frames within two
seconds.  Where seams are like other places the rank is uniform on 0…1, and the mean of n ranks is below .5 + 2 / √(12 n)
with 98 % certainty; that is the bound.

style: the style loss of one-second windows centred on seams over that of windows in between, both as means: within 10 %.
"""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from engine import audio, halves, kernel, stream
from engine.halves import Segment
from engine.level import ANALYSIS_RMS, rms
from engine.settings import Settings
from engine.spectra import Resolution, linked_magnitude, log_magnitude
from engine.style import Target, learn
from engine.survey import InMemory

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


@pytest.fixture(scope="module")
def render(music: Tensor, target: Target) -> Tensor:
    """The music through the bells, in halves."""
    return torch.cat(list(stream.restyle_stream(InMemory(music, RATE), target, Settings(quality="draft"))), 1)


@pytest.fixture(scope="module")
def control(music: Tensor, target: Target) -> Tensor:
    """The first pass alone, its segments end to end."""
    pieces = []
    for segment in halves.first_pass(halves.grid(music.shape[1], RATE)):
        piece = InMemory(music[:, segment.start : segment.end], RATE)
        pieces.append(torch.cat(list(stream.restyle_stream(piece, target, Settings(quality="draft"))), 1))
    return torch.cat(pieces, 1)


def seams(music: Tensor) -> list[Segment]:
    """The segments of the second pass."""
    return halves.second_pass(halves.grid(music.shape[1], RATE))


def flux(sound: Tensor) -> Tensor:
    """Half-wave rectified change of log magnitude from frame to frame, ``[frames]``."""
    return log_magnitude(10 * linked_magnitude(sound[None], FLUX)[0]).diff(dim=1).relu().mean(0)


def mean_rank(sound: Tensor, music: Tensor) -> float:
    """Mean rank of the seams' relative flux among their neighbours within two seconds."""
    relative = (flux(sound) / (flux(music) + 1e-3)).numpy()
    around = round(2 * RATE / FLUX.hop)
    ranks = []
    for segment in seams(music):
        at = round(segment.middle / FLUX.hop)
        here = relative[at - 2 : at + 2].max()
        near = relative[at - around : at + around]
        others = np.array([near[k : k + 4].max() for k in range(0, len(near) - 4, 4)])
        ranks.append(float((others < here).mean()))
    return float(np.mean(ranks))


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


def test_flux_at_seams_is_flux(render: Tensor, control: Tensor, music: Tensor) -> None:
    """The mean rank of 20 and more seams stays below chance's 98 % bound; butt joints are far above it."""
    count = len(seams(music))
    assert count >= 20
    bound = 0.5 + 2 / (12 * count) ** 0.5
    assert mean_rank(render, music) < bound
    assert mean_rank(control, music) > bound


def test_style_at_seams_is_style(render: Tensor, control: Tensor, music: Tensor, target: Target) -> None:
    """Windows on seams have the style loss of windows inside segments to 10 %; butt joints do not."""
    inside = [(a.middle + b.middle) // 2 for a, b in pairwise(seams(music))]
    on = [s.middle for s in seams(music)]
    untreated = style_at(music, target, on) / style_at(music, target, inside)
    assert abs(style_at(render, target, on) / style_at(render, target, inside) / untreated - 1) < 0.10
    assert abs(style_at(control, target, on) / style_at(control, target, inside) / untreated - 1) > 0.10
