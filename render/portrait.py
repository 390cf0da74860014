"""A sound file as a page shows it: its levels, its picture, the stretch to hear, in memory that does not grow."""

import base64
import io
import math
import tempfile
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from engine import audio
from presets import spectrogram
from render.loudness import MIN_RATE, Measure, Meter

RANGE_DB = 80
HEARD_RATE_HZ = 48_000
FLAC_CHANNELS = 8
_TICKS_HZ = (100, 300, 1000, 3000, 10000, 30000)
_BLOCK = 65_536
_STEP_S = 0.1


@dataclass(frozen=True)
class Portrait:
    """What was measured of the file at ``info.path``; levels are None for silence.

    ``level_db`` is RMS and ``peak_db`` the largest sample, both in dBFS. ``loudness`` has LUFS and true peak, neither
    below 4 kHz. ``energy`` is that of each tenth of a second.
    """

    info: audio.Info
    level_db: float | None
    peak_db: float | None
    loudness: Measure
    energy: Tensor


def of_file(path: Path) -> Portrait:
    """What is measured of the file at ``path``; `AudioError` when it cannot be read."""
    with audio.Stem(path) as stem:
        step = max(1, round(_STEP_S * stem.rate))
        block = max(step, _BLOCK // step * step)
        meter = Meter(stem.rate, stem.channels) if stem.rate >= MIN_RATE else None
        power, peak, energy = 0.0, 0.0, []
        for at in range(0, stem.samples, block):
            samples = stem.read(at, min(block, stem.samples - at))
            square = samples.double().square().sum(0)
            power += float(square.sum())
            peak = max(peak, float(samples.abs().max()))
            if meter:
                meter.add(samples)
            energy.append(torch.nn.functional.pad(square, (0, -len(square) % step)).view(-1, step).sum(1))
        return Portrait(
            stem.info,
            10 * math.log10(power / (stem.samples * stem.channels)) if power > 0 else None,
            20 * math.log10(peak) if peak > 0 else None,
            meter.close() if meter else Measure(None, None),
            torch.cat(energy),
        )


def drawn(path: Path, length: int) -> spectrogram.Image:
    """The picture of the file at ``path`` over ``length`` samples, with silence after its end."""
    with audio.Stem(path) as stem:
        return spectrogram.of_spans(lambda start, count: _span(stem, start, count), length, stem.rate)


def loudest(portrait: Portrait, longest_s: float) -> tuple[int, int]:
    """The start and length in samples of the ``longest_s`` seconds with the most energy, to a tenth of a second."""
    info = portrait.info
    step, count = max(1, round(_STEP_S * info.rate)), math.ceil(longest_s / _STEP_S)
    if count * step >= info.frames:
        return 0, info.frames
    energy = portrait.energy.cumsum(0)
    windows = energy[count - 1 :].clone()
    windows[1:] -= energy[:-count]
    start = int(windows[: max(1, (info.frames - count * step) // step + 1)].argmax()) * step
    return start, count * step


def png(picture: spectrogram.Image, top_db: float) -> str:
    """``picture`` as a PNG in base64, one colour for each of the 256 steps of the `RANGE_DB` below ``top_db``."""
    levels = np.clip((picture.levels_db - top_db) / RANGE_DB + 1, 0, 1)
    image = Image.fromarray((255 * levels[::-1]).round().astype(np.uint8), mode="P")
    colours = matplotlib.colormaps["magma"](np.arange(256), bytes=True)[:, :3]
    image.putpalette(colours.astype(np.uint8).tobytes())
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode("ascii")


def ticks(picture: spectrogram.Image) -> list[dict[str, str]]:
    """Where round frequencies lie on ``picture``, in percent from below, each with its text."""
    low, high = math.log(picture.lowest_hz), math.log(picture.highest_hz)
    places = {hz: (math.log(hz) - low) / (high - low) for hz in _TICKS_HZ}
    return [
        {"percent": f"{100.0 * place:.2f}", "text": f"{hz} Hz" if hz < 1000 else f"{hz // 1000} kHz"}
        for hz, place in places.items()
        if 0.04 < place < 0.96
    ]


def flac(path: Path, start: int, count: int) -> str:
    """Samples ``start`` to ``start + count`` of the file as 16-bit FLAC in base64, at 48 kHz or less.

    What lies past its end is silence. More channels than FLAC can hold are mixed to one.
    """
    with audio.Stem(path) as stem:
        samples, rate = _span(stem, start, count), stem.rate
    if samples.shape[0] > FLAC_CHANNELS:
        samples = samples.mean(0, keepdim=True)
    if rate > HEARD_RATE_HZ:
        samples, rate = audio.resample(samples, rate, HEARD_RATE_HZ), HEARD_RATE_HZ
    with tempfile.TemporaryDirectory() as folder:
        heard = Path(folder) / "heard.flac"
        audio.write(heard, samples, rate, audio.Format("FLAC", "PCM_16"))
        return base64.b64encode(heard.read_bytes()).decode("ascii")


def _span(stem: audio.Stem, start: int, count: int) -> Tensor:
    """Samples of ``stem``, silence past its end."""
    there = max(0, min(count, stem.samples - start))
    return torch.nn.functional.pad(stem.read(min(start, stem.samples), there), (0, count - there))
