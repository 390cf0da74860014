"""Good places to cut a long stem: quiet points, and just before an onset where nothing is quiet.

Only the three seconds around each place of `engine.halves.grid` are read, so a stem of any length costs little and no
memory.  The measure of onsets is librosa's ``onset_strength`` (the spectral flux of Böck & Widmer 2013 with one frame
of lag and no maximum filter), made of the engine's own spectra: importing librosa takes two seconds of CPU, as long
as a draft of forty seconds of sound.
"""

from collections.abc import Callable, Sequence
from statistics import median

import torch
from torch import Tensor

from engine.halves import REACH_S, grid
from engine.level import GATE_DBFS
from engine.spectra import Resolution, linked_magnitude, mel_filters
from engine.style import Source

AROUND_S = 1.0
DIP_DB = 6.0

_STEP_S, _SMOOTH_STEPS = 0.005, 11
_RATE_HZ, _N_FFT, _OVERLAP, _BANDS = 11_025, 1024, 8, 40
# An onset lifts the mean of all bands by this much from frame to frame, and by so many times the mean flux of what is
# heard: the reach and a little on both sides.
_RISE_DB, _RISE_TIMES, _HEARD_S = 1.0, 3.0, 0.25


def cut_points(source: Source, better: Callable[[float], float | None] | None = None) -> list[float]:
    """Times in seconds, in order, at which ``source`` may well be cut: none or one within ± 0.5 s of each place.

    A stem of one segment has none and is not read, and it is not read around a place in seconds for which ``better``
    knows a time in seconds within that reach: a bar, say.
    """
    places = grid(source.samples, source.rate)
    if len(places) == 3:
        return []
    cuts = []
    for place in places[1:-1]:
        cut = better(place / source.rate) if better else None
        if cut is None:
            near = _near(source, place)
            cut = None if near is None else near / source.rate
        if cut is not None:
            cuts.append(cut)
    return cuts


def _near(source: Source, place: int) -> float | None:
    """The sample near ``place`` to cut at: the quietest, or the last before the strongest onset, or none."""
    rate = source.rate
    low = max(0, place - round((REACH_S + AROUND_S) * rate))
    high = min(source.samples, place + round((REACH_S + AROUND_S) * rate))
    sound = source.read(low, high - low)
    found = _dip(sound, place - low, rate)
    if found is None:
        skipped = max(0, place - low - round((REACH_S + _HEARD_S) * rate))
        near = sound[:, skipped : place - low + round((REACH_S + _HEARD_S) * rate)]
        found, low = _before_onset(near, place - low - skipped, rate), low + skipped
    return None if found is None else low + found


def _reach(count: int, step: float, place: int, rate: int) -> range:
    """Of ``count`` times every ``step`` samples, those well within the reach of ``place``."""
    far = REACH_S * rate - step
    return range(max(0, int((place - far) / step) + 1), min(count, int((place + far) / step)))


def _dip(sound: Tensor, place: int, rate: int) -> float | None:
    """The middle of the lowest local minimum of the level, where that is well below the second before or after."""
    step = max(1, round(_STEP_S * rate))
    level = level_db(sound, step)
    inside = _reach(len(level), step, place, rate)
    minima = [k for k in inside if level[k] == min(level[max(0, k - _SMOOTH_STEPS) : k + _SMOOTH_STEPS + 1])]
    if not minima:
        return None
    first = last = min(minima, key=lambda k: (level[k], abs(k * step - place)))
    deepest, around = level[first], round(AROUND_S / _STEP_S)
    if max(median(level[max(0, first - around) : first]), median(level[first : first + around])) < deepest + DIP_DB:
        return None
    while first - 1 in inside and level[first - 1] <= deepest + 1:
        first -= 1
    while last + 1 in inside and level[last + 1] <= deepest + 1:
        last += 1
    return (first + last + 1) / 2 * step


def level_db(sound: Tensor, step: int) -> list[float]:
    """Level in dBFS of each ``step`` samples of ``[channels, samples]``, smoothed over 11 of them, at least −80."""
    count = sound.shape[1] // step
    power = sound[:, : count * step].square().mean(0).view(count, step).mean(1)
    window = torch.hann_window(_SMOOTH_STEPS + 1)[1:]
    padded = torch.nn.functional.pad(power[None, None], (_SMOOTH_STEPS // 2,) * 2, mode="replicate")
    smooth = torch.nn.functional.conv1d(padded, (window / window.sum())[None, None])[0, 0]
    found: list[float] = (10 * smooth.clamp_min(10 ** (GATE_DBFS / 10)).log10()).tolist()
    return found


def _before_onset(sound: Tensor, place: int, rate: int) -> float | None:
    """The foot of the highest peak of the onset strength, if it is an onset and not the flux of any sound."""
    factor = max(1, rate // _RATE_HZ)
    count = sound.shape[1] // factor
    slow = sound[:, : count * factor].reshape(len(sound), count, factor).mean(2)
    res = Resolution.at(rate // factor, _N_FFT, _OVERLAP)
    strength = onset_strength(slow, rate // factor, res)
    step = res.hop * factor
    inside = _reach(len(strength), step, place, rate)
    peak = max(inside, key=lambda k: strength[k])
    if strength[peak] < max(_RISE_DB, _RISE_TIMES * _mean(strength)):
        return None
    # A frame sees what comes within half of its length, so the rise begins before the onset.
    while peak - 1 in inside and strength[peak - 1] < strength[peak]:
        peak -= 1
    return float(peak * step)


def onset_strength(sound: Tensor, rate: int, res: Resolution) -> list[float]:
    """How much the mel bands of ``[channels, samples]`` rise on average from each frame to the next, in dB."""
    bands = mel_filters(res, rate, _BANDS) @ linked_magnitude(sound[None], res)[0].square()
    db = 10 * bands.clamp_min(1e-10).log10()
    db = db.clamp_min(float(db.max()) - 80)
    found: list[float] = db.diff(dim=1).clamp_min(0).mean(0).tolist()
    return [0.0, *found]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
