"""Pictures: the numbers behind them obey physics, and the drawing takes anything."""

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from presets import picture, spectrogram
from presets.preset import Preset
from presets.spectrogram import Image

MakePreset = Callable[..., Preset]
RATE = 16_000


def sine(hz: float, seconds: float = 1.0, rate: int = RATE) -> NDArray[np.float32]:
    """A full-scale sine."""
    return np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate).astype(np.float32)


def row(image: Image, hz: float) -> int:
    """The row of ``image`` that shows ``hz``."""
    span = np.log(image.highest_hz / image.lowest_hz)
    return round(float(np.log(hz / image.lowest_hz) / span) * (len(image.levels_db) - 1))


def pixels(png: bytes) -> NDArray[Any]:
    """The picture's colours, ``[height, width, 4]`` in 0…1."""
    return np.asarray(matplotlib.image.imread(io.BytesIO(png), format="png"))


@pytest.mark.parametrize("rate", [8000, 16_000, 44_100, 192_000])
@pytest.mark.parametrize("hz", [100.0, 440.0, 1000.0, 3500.0])
def test_a_sine_is_a_line_at_its_frequency_and_level(hz: float, rate: int) -> None:
    """The loudest row is the sine's, within a bin, at 0 dB (−1.5 between two bins, +1.8 over the window's lobe)."""
    image = spectrogram.of_samples(sine(hz, rate=rate), rate)
    middle = image.levels_db[:, image.levels_db.shape[1] // 2]
    loudest = int(middle.argmax())
    bin_hz = 1 / spectrogram.WINDOW_S * 1.5
    assert row(image, max(image.lowest_hz, hz - bin_hz)) - 1 <= loudest <= row(image, hz + bin_hz) + 1
    assert -2.0 < middle[row(image, hz)] < 2.0


def test_silence_is_the_floor_and_gain_is_decibels() -> None:
    """Nothing is drawn for silence; a tenth of the samples is 20 dB less everywhere it can be seen."""
    assert (spectrogram.of_samples(np.zeros(RATE), RATE).levels_db == spectrogram.FLOOR_DB).all()
    loud, soft = (spectrogram.of_samples(gain * sine(440), RATE).levels_db for gain in (1.0, 0.1))
    seen = loud > -90
    # float32 rounding of a −90 dB level in a 0 dB signal: a hundredth of a dB.
    np.testing.assert_allclose((loud - soft)[seen], 20.0, atol=0.05)


def test_channels_are_averaged_in_power() -> None:
    """Opposite channels do not cancel; one silent channel of two costs 3 dB."""
    one = spectrogram.of_samples(sine(440), RATE).levels_db
    opposite = spectrogram.of_samples(np.stack([sine(440), -sine(440)]), RATE).levels_db
    half = spectrogram.of_samples(torch.stack([torch.tensor(sine(440)), torch.zeros(RATE)]), RATE).levels_db
    np.testing.assert_allclose(opposite, one, atol=0.01)
    np.testing.assert_allclose((one - half)[one > -90], 10 * np.log10(2), atol=0.01)


@pytest.mark.parametrize("seconds", [2.0, 100.0])
def test_events_stay_where_they_are_in_time(seconds: float) -> None:
    """A click is seen at its time, within a window, also when many frames share a column."""
    samples = np.zeros(round(RATE * seconds), np.float32)
    at_s = 0.7 * seconds
    samples[round(RATE * at_s)] = 1
    levels = spectrogram.of_samples(samples, RATE).levels_db.max(0)
    assert len(levels) <= spectrogram.COLUMNS
    seen_s = (float(levels.argmax()) + 0.5) * seconds / len(levels)
    assert abs(seen_s - at_s) < spectrogram.WINDOW_S + seconds / len(levels)


def test_the_frequency_axis_reaches_half_the_rate() -> None:
    """The lowest row is 40 Hz, the highest half the rate."""
    image = spectrogram.of_samples(sine(440), RATE)
    assert (image.lowest_hz, image.highest_hz, image.duration_s) == (40.0, 8000.0, 1.0)


def test_magnitudes_are_drawn_relative_to_their_loudest() -> None:
    """The loudest bin is 0 dB, one of a hundredth is −40 dB, whatever the scale, in half precision too."""
    magnitudes = torch.zeros(513, 8)
    magnitudes[64], magnitudes[128] = 6e4, 6e2
    for values in (magnitudes, magnitudes.half(), magnitudes * 1e30):
        image = spectrogram.of_magnitudes(values, RATE)
        assert image.levels_db[row(image, 64 * RATE / 1024)].max() == pytest.approx(0.0, abs=1.5)
        assert image.levels_db[row(image, 128 * RATE / 1024)].max() == pytest.approx(-40.0, abs=1.5)


def test_pictures_have_the_width_asked_for() -> None:
    """The PNG is as wide as it should be, and the sine is a bright line in a dark picture."""
    seen = pixels(picture.spectrogram_png(sine(440), RATE, title="a stem", width_px=800))
    assert seen.shape[1] == 800
    brightness = seen[:, 200:600, :3].mean((1, 2))
    assert brightness.max() > 0.6
    assert np.median(brightness) < 0.2


def test_a_long_sound_is_drawn_span_by_span() -> None:
    """Drawn from spans of a file the image is the one of all its samples, and no span is longer than 10 s."""
    samples = np.random.default_rng(0).standard_normal((2, 40 * RATE)).astype(np.float32)
    asked: list[int] = []

    def read(start: int, count: int) -> np.ndarray:
        asked.append(count)
        assert 0 <= start <= start + count <= samples.shape[1]
        return samples[:, start : start + count]

    image = spectrogram.of_spans(read, samples.shape[1], RATE)
    np.testing.assert_array_equal(image.levels_db, spectrogram.of_samples(samples, RATE).levels_db)
    assert max(asked) < 10 * RATE


@pytest.mark.parametrize(("layout", "gains"), [("stacked", (1, 0.03)), ("stacked", (0.03, 1)), ("beside", (1, 0.03))])
def test_before_and_after_share_one_scale(layout: picture.Layout, gains: tuple[float, float]) -> None:
    """The quieter of the two is darker, whichever it is: the levels can be compared by eye."""
    before, after = (gain * sine(440) for gain in gains)
    seen = pixels(picture.before_after_png(before, after, RATE, title="t", layout=layout, width_px=800))
    height, width = seen.shape[:2]
    halves = (seen[: height // 2], seen[height // 2 :])
    if layout == "beside":
        halves = (seen[:, : int(width * 0.46)], seen[:, int(width * 0.5) : int(width * 0.88)])
    inner = [half[40:-60, 80 : min(half.shape[1] - 10, 650), :3].mean((1, 2)).max() for half in halves]
    assert (inner[0] - inner[1]) * (gains[0] - gains[1]) > 0.1


@pytest.mark.parametrize(
    "samples",
    [
        np.zeros((2, 0)),
        np.zeros(1),
        np.full((1, 50), np.nan),
        np.full((1, 50), np.inf),
        np.zeros((6, 3000)),
        np.full((1, 50), 1e30),
    ],
)
def test_any_samples_can_be_drawn(samples: NDArray[Any]) -> None:
    """Nothing, one sample, no numbers, six channels, absurd levels: a picture all the same."""
    assert picture.spectrogram_png(samples, 8000, width_px=500).startswith(b"\x89PNG")
    assert np.isfinite(spectrogram.of_samples(samples, 192_000).levels_db).all()


@pytest.mark.parametrize("title", ["$\\frac{", "雨の音", "a\x1b[31m\nb", "x" * 500, "🎛"])
def test_any_title_can_be_drawn(title: str, make_preset: MakePreset) -> None:
    """Formula marks, unknown scripts, control codes and novels in a title do no harm."""
    short, labels = sine(440, 0.1), (title, title)
    assert picture.before_after_png(short, short, RATE, title=title, labels=labels, width_px=500)
    assert picture.preset_png(make_preset(tensors={"gram": torch.ones(2)}, chain=[{"plugin": title}]), width_px=500)


def test_the_same_sound_gives_the_same_bytes() -> None:
    """A picture holds no time, name or version of its own."""
    assert len({picture.spectrogram_png(sine(440), RATE, width_px=500) for _ in range(2)}) == 1


def test_a_preset_shows_its_magnitudes_or_its_card(make_preset: MakePreset) -> None:
    """Every two-dimensional magnitude is a panel, up to four; a preset with none shows its card, which is darker."""
    bright = {f"magnitude.{n}": torch.ones(n // 2 + 1, 20, dtype=torch.float16) for n in (256, 512, 1024, 2048, 4096)}
    other = {"magnitude.flat": torch.ones(9), "gram": torch.ones(3, 3), "magnitude.none": torch.ones(0, 5)}
    shown = pixels(picture.preset_png(make_preset(tensors=bright | other), width_px=500))
    card = pixels(picture.preset_png(make_preset(tensors=other), width_px=500))
    assert shown[..., :3].mean() > card[..., :3].mean() + 0.2


def test_pictures_need_neither_torch_nor_a_display(tmp_path: Path) -> None:
    """Drawing arrays imports no torch and no pyplot, so that a page of pictures costs little memory."""
    script = (
        "import sys, numpy\n"
        "from presets import picture\n"
        "picture.spectrogram_png(numpy.zeros((2, 8000)), 8000)\n"
        "print([name for name in ('torch', 'matplotlib.pyplot', 'tkinter') if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        timeout=60,
        check=True,
    )
    assert done.stdout == "[]\n"
