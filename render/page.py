"""One HTML file to hear and see renders by: before and after as pictures and players, with what was done to them.

Self-contained: pictures and sound are inside as base64 and a content security policy forbids every request, so that
the page can be sent to somebody. A player runs both sides together and switches between them without losing the place.
"""

import base64
import io
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import torch
from matplotlib import image as images
from torch import Tensor

from engine import audio
from presets import spectrogram
from render.errors import RenderError

RANGE_DB = 80
HEARD_RATE_HZ = 48000
LONGEST_S = 30.0
_FLAC_CHANNELS = 8
_TICKS_HZ = (100, 300, 1000, 3000, 10000, 30000)
_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Exhibit:
    """One thing to hear: the file ``before``, and ``after`` where something was done to it; ``facts`` say what."""

    title: str
    before: Path
    after: Path | None = None
    labels: tuple[str, str] = ("stem", "styled")
    facts: Mapping[str, str] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class Content:
    """All that a page says; ``columns`` are the facts that have a place in the table, ``about`` ends the page."""

    title: str
    lead: Sequence[str]
    exhibits: Sequence[Exhibit]
    references: Sequence[Exhibit] = ()
    columns: Sequence[str] = ()
    failures: Mapping[str, str] = field(default_factory=dict)
    about: Mapping[str, str] = field(default_factory=dict)


def html(content: Content, *, longest_s: float = LONGEST_S) -> str:
    """The page as text. Of files longer than ``longest_s`` seconds it holds the loudest stretch of that length.

    `AudioError` for a file that cannot be read; `RenderError` when the two sides of an exhibit do not line up.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template("page.html").render(
        title=content.title,
        lead=content.lead,
        columns=content.columns,
        failures=content.failures,
        about=content.about,
        exhibits=[_exhibit(exhibit, longest_s) for exhibit in content.exhibits],
        references=[_exhibit(exhibit, longest_s) for exhibit in content.references],
        range_db=RANGE_DB,
    )


def _exhibit(exhibit: Exhibit, longest_s: float) -> dict[str, Any]:
    paths = [exhibit.before] if exhibit.after is None else [exhibit.before, exhibit.after]
    sounds = [audio.read(path) for path in paths]
    rate, length = sounds[0].rate, max(sound.samples.shape[1] for sound in sounds)
    for path, sound in zip(paths, sounds, strict=True):
        if sound.rate != rate:
            raise RenderError(
                f"{path} is at {sound.rate} Hz; expected {rate} Hz as {exhibit.before}, so that the two can be compared"
            )
    # A chain may ring out past the stem's end: the players need both sides equally long.
    padded = [torch.nn.functional.pad(sound.samples, (0, length - sound.samples.shape[1])) for sound in sounds]
    span = _loudest(padded[0], rate, longest_s)
    pictures = [spectrogram.of_samples(samples[:, span], rate) for samples in padded]
    top_db = max(picture.top_db for picture in pictures)
    notes = [exhibit.note] if exhibit.note else []
    if span.stop - span.start < length:
        notes.append(f"Heard here: {span.start / rate:.1f} to {span.stop / rate:.1f} s.")
    if sounds[0].samples.shape[0] > _FLAC_CHANNELS:
        notes.append(f"Heard here in mono; the file has {sounds[0].samples.shape[0]} channels.")
    return {
        "title": exhibit.title,
        "facts": exhibit.facts,
        "note": " ".join(notes),
        "duration": f"{sounds[-1].duration_s:.2f} s",
        "duration_s": (span.stop - span.start) / rate,
        "sides": [
            {
                "label": label,
                "name": path.name,
                "duration": f"{sound.duration_s:.2f} s",
                "level": _decibels(float(sound.samples.double().square().mean().sqrt())),
                "peak": _decibels(float(sound.samples.abs().max())),
                "picture": _png(picture, top_db),
                "ticks": _ticks(picture),
                "sound": _flac(samples[:, span], rate),
            }
            for label, path, sound, samples, picture in zip(
                exhibit.labels, paths, sounds, padded, pictures, strict=False
            )
        ],
    }


def _loudest(samples: Tensor, rate: int, longest_s: float) -> slice:
    """The span of ``longest_s`` seconds with the most energy, to a tenth of a second."""
    length, block = samples.shape[1], max(1, rate // 10)
    count = math.ceil(longest_s * 10)
    if length <= count * block:
        return slice(0, length)
    energy = samples[:, : length // block * block].double().square().sum(0).reshape(-1, block).sum(1).cumsum(0)
    windows = energy[count - 1 :].clone()
    windows[1:] -= energy[:-count]
    start = int(windows.argmax()) * block
    return slice(start, start + count * block)


def _decibels(value: float) -> str:
    # Adding 0.0 turns a rounded −0.0 into 0.0.
    return f"{round(20.0 * math.log10(value), 1) + 0.0:.1f}".replace("-", "−") if value > 0.0 else "silent"


def _png(picture: spectrogram.Image, top_db: float) -> str:
    file = io.BytesIO()
    levels = np.clip(picture.levels_db, top_db - RANGE_DB, top_db)
    images.imsave(file, levels, vmin=top_db - RANGE_DB, vmax=top_db, cmap="magma", origin="lower", format="png")
    return base64.b64encode(file.getvalue()).decode("ascii")


def _ticks(picture: spectrogram.Image) -> list[dict[str, str]]:
    low, high = math.log(picture.lowest_hz), math.log(picture.highest_hz)
    places = {hz: (math.log(hz) - low) / (high - low) for hz in _TICKS_HZ}
    return [
        {"percent": f"{100.0 * place:.2f}", "text": f"{hz} Hz" if hz < 1000 else f"{hz // 1000} kHz"}
        for hz, place in places.items()
        if 0.04 < place < 0.96
    ]


def _flac(samples: Tensor, rate: int) -> str:
    if samples.shape[0] > _FLAC_CHANNELS:
        samples = samples.mean(0, keepdim=True)
    if rate > HEARD_RATE_HZ:
        samples, rate = audio.resample(samples, rate, HEARD_RATE_HZ), HEARD_RATE_HZ
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "heard.flac"
        audio.write(path, samples, rate, audio.Format("FLAC", "PCM_16"))
        return base64.b64encode(path.read_bytes()).decode("ascii")
