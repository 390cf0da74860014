"""Where a long stem is cut: in the quiet, else before an onset, and at the price of a few seconds read."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from engine import style
from engine.halves import REACH_S, grid
from engine.spectra import Resolution
from engine.style import InMemory
from presets.library import Library
from render import cuts, planner
from render import job as jobs
from render.choices import Choices
from render.tempo import Song, TempoMap

from .conftest import MakeStem, Noise

RATE = 8000
LENGTH_S = 20.0  # places at 5, 10 and 15 s


def _tone(seconds: float = LENGTH_S) -> Tensor:
    """A steady tone with a little hiss, ``[2, samples]``: nothing to cut at."""
    time_s = torch.arange(round(seconds * RATE)) / RATE
    hiss = torch.randn(2, len(time_s), generator=torch.Generator().manual_seed(0))
    return 0.3 * torch.sin(2 * torch.pi * 220 * time_s) + 0.003 * hiss


def _gap(sound: Tensor, start_s: float, end_s: float, gain: float = 0.0) -> None:
    sound[:, round(start_s * RATE) : round(end_s * RATE)] *= gain


def _cuts(sound: Tensor) -> list[float]:
    return cuts.cut_points(InMemory(sound, RATE))


def test_a_gap_is_found() -> None:
    """The one cut of a tone that pauses around 10.3 s is in the middle of the pause (10 ms, two steps of the level)."""
    sound = _tone()
    _gap(sound, 10.2, 10.4)
    assert _cuts(sound) == pytest.approx([10.3], abs=0.01)


def test_the_deepest_gap_wins() -> None:
    """Of two pauses the quieter one, though the other is nearer and as long."""
    sound = _tone()
    _gap(sound, 10.05, 10.15, 0.1)
    _gap(sound, 9.65, 9.75, 0.01)
    assert _cuts(sound) == pytest.approx([9.7], abs=0.01)


def test_of_equal_gaps_the_nearest() -> None:
    """Two pauses of digital silence are equally quiet, however long."""
    sound = _tone()
    _gap(sound, 9.55, 9.8)
    _gap(sound, 10.1, 10.2)
    assert _cuts(sound) == pytest.approx([10.15], abs=0.01)


def test_what_is_out_of_reach_is_left_alone() -> None:
    """The grid moves half a second at most, so a pause 0.6 s away is no place to cut."""
    sound = _tone()
    _gap(sound, 10.55, 10.65)
    assert _cuts(sound) == []


def test_a_shallow_dip_is_none() -> None:
    """3 dB are no pause, though an onset ends them; 9 dB are: quiet begins 6 dB below what is around it."""
    shallow, clear = _tone(), _tone()
    _gap(shallow, 10.1, 10.3, 10 ** (-3 / 20))
    _gap(clear, 10.1, 10.3, 10 ** (-9 / 20))
    assert all(10.25 < cut < 10.3 for cut in _cuts(shallow))
    assert _cuts(clear) == pytest.approx([10.2], abs=0.01)


def test_where_the_music_ends_the_silence_is_cut() -> None:
    """A stem that ends in silence at 10.1 s is cut after its end, not in its last tenth of a second."""
    sound = _tone()
    _gap(sound, 10.1, LENGTH_S)
    (cut,) = (c for c in _cuts(sound) if 9 < c < 11)
    assert 10.1 < cut < 10.5


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [8000, 44_100])
def test_without_a_pause_the_seam_comes_before_the_beat(rate: int, channels: int) -> None:
    """Clicks on a steady tone, at 120 beats a minute, and no gaps: each cut is in the 50 ms before a click."""
    first_s, beat_s = 0.3, 0.5
    time_s = torch.arange(round(LENGTH_S * rate)) / rate
    sound = 0.3 * torch.sin(2 * torch.pi * 220 * time_s).expand(channels, -1).clone()
    since_s = (time_s - first_s) % beat_s
    noise = torch.randn(channels, len(time_s), generator=torch.Generator().manual_seed(0))
    sound += 0.3 * noise * (since_s < 0.005)
    found = cuts.cut_points(InMemory(sound, rate))
    assert len(found) == 3
    assert all(0 < (first_s - cut) % beat_s < 0.05 for cut in found)


def test_the_strongest_onset_wins() -> None:
    """Of two clicks on a tone the louder one, though the other is nearer."""
    sound = _tone()
    sound[:, round(10.1 * RATE)] += 0.2
    sound[:, round(9.7 * RATE)] += 0.6
    (cut,) = _cuts(sound)
    assert 9.65 < cut < 9.7


def test_steady_sound_moves_nothing() -> None:
    """Neither noise nor silence has a place that is better than another."""
    noise = 0.1 * torch.randn(2, 20 * RATE, generator=torch.Generator().manual_seed(0))
    assert _cuts(noise) == []
    assert _cuts(torch.zeros(2, 20 * RATE)) == []


def test_the_onset_strength_is_librosas() -> None:
    """Frame by frame the same as ``librosa.onset.onset_strength`` (0.02 dB, of peaks above 2 dB), not moved in time."""
    librosa = pytest.importorskip("librosa")
    rate, res = 11_025, Resolution(512, 64)
    sound = 0.1 * torch.randn(rate, generator=torch.Generator().manual_seed(0))
    sound[3000:3100] += 1.0
    sound[7000:] *= 3
    given = {"sr": rate, "n_fft": 512, "hop_length": 64, "n_mels": 40, "center": False}
    power = librosa.feature.melspectrogram(y=sound.numpy(), pad_mode="constant", **{**given, "center": True})
    expected = librosa.onset.onset_strength(S=librosa.power_to_db(power), **given)
    found = cuts.onset_strength(sound[None], rate, res)
    assert max(found) > 2
    torch.testing.assert_close(torch.tensor(found), torch.from_numpy(expected), atol=0.02, rtol=0)


class _Recording:
    """A stem of noise at any length that is only there where it is read, and counts that."""

    def __init__(self, samples: int, rate: int = RATE, channels: int = 2) -> None:
        self.samples, self.rate, self.channels = samples, rate, channels
        self.reads: list[tuple[int, int]] = []

    def read(self, start: int, count: int) -> Tensor:
        """Noise that depends on where it begins."""
        assert 0 <= start <= start + count <= self.samples
        self.reads.append((start, count))
        return torch.rand(self.channels, count, generator=torch.Generator().manual_seed(start)) - 0.5


@pytest.mark.parametrize("seconds", [0.001, 3.0, 10.0])
def test_a_short_stem_is_not_even_read(seconds: float) -> None:
    """Ten seconds are one segment: there is nothing to cut."""
    stem = _Recording(max(1, round(seconds * RATE)))
    assert cuts.cut_points(stem) == []
    assert stem.reads == []


def test_only_what_is_around_the_places_is_read() -> None:
    """Three seconds for each place of an hour, one after the other, and never more at once."""
    rate = 1000
    stem = _Recording(3600 * rate, rate)
    cuts.cut_points(stem)
    places = grid(stem.samples, rate)[1:-1]
    assert len(stem.reads) == len(places)
    for (start, count), place in zip(stem.reads, places, strict=True):
        assert count <= 3 * rate
        assert start <= place - REACH_S * rate
        assert place + REACH_S * rate <= start + count


@given(
    seconds=st.floats(0.001, 70),
    rate=st.sampled_from([1000, 8000, 11_025, 12_345]),
    gaps=st.lists(st.floats(0, 70), max_size=6),
    clicks=st.lists(st.floats(0, 70), max_size=6),
)
@settings(max_examples=30, deadline=None, derandomize=True)
def test_cuts_are_in_order_inside_and_taken_by_the_grid(
    seconds: float, rate: int, gaps: list[float], clicks: list[float]
) -> None:
    """Random lengths, rates, gaps and clicks: sorted, near the places, and the grid then goes there; repeatable."""
    samples = max(1, round(seconds * rate))
    sound = 0.1 * torch.randn(1, samples, generator=torch.Generator().manual_seed(samples))
    for gap in gaps:
        sound[:, round(gap * rate) : round((gap + 0.1) * rate)] = 0
    for click in clicks:
        sound[:, round(click * rate) : round((click + 0.01) * rate)] += 1
    found = cuts.cut_points(InMemory(sound, rate))
    assert found == sorted(found) == cuts.cut_points(InMemory(sound, rate))
    assert all(0 < cut < samples / rate for cut in found)
    places = grid(samples, rate)
    assert all(min(abs(cut * rate - place) for place in places[1:-1]) < REACH_S * rate for cut in found)
    moved = grid(samples, rate, cuts=found)
    assert {round(cut * rate) for cut in found} <= set(moved)


def test_a_job_cuts_where_it_is_quiet(
    make_stem: MakeStem, shelf: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cuts of a job's stem reach the engine; with a song whose bar is in reach, the bar does."""
    sound = _tone(12.0)
    _gap(sound, 5.7, 5.9)
    given: list[list[float]] = []
    real = style.restyle_stream

    def restyle_stream(*args: object, cuts: list[float], together: object) -> object:
        given.append(cuts)
        return real(*args, cuts=cuts, together=together)  # type: ignore[arg-type]

    monkeypatch.setattr(style, "restyle_stream", restyle_stream)
    choices = Choices(preset="tape")
    (job,) = planner.plan_stems([make_stem(samples=sound)], library=shelf, choices=choices, out=tmp_path / "o").jobs
    jobs.render(job, on_event=lambda event: None)
    song = Song(tmp_path / "song.mid", TempoMap.of(480, [(0, 1_550_000)]))
    jobs.render(replace(job, song=song, overwrite=True), on_event=lambda event: None)
    assert given == [pytest.approx([5.8], abs=0.01), pytest.approx([6.2])]


def test_librosa_is_not_imported(make_stem: MakeStem, noise: Noise) -> None:
    """Two seconds of import would be as long as a short render itself."""
    stem = make_stem(samples=noise(1, 20 * RATE))
    code = (
        "import json, sys\nfrom engine import audio\nfrom render import cuts\n"
        f"with audio.Stem({str(stem)!r}) as stem: cuts.cut_points(stem)\n"
        "print(json.dumps(sorted({'librosa', 'numba', 'scipy'} & set(sys.modules))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
