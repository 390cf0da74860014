"""Pictures of sound: a stem, a stem before and after, a preset. Matplotlib's object interface, no display, no state."""

import io
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MultipleLocator

from presets import cards, names, spectrogram
from presets.spectrogram import Image

if TYPE_CHECKING:
    from presets.preset import Preset

Layout = Literal["stacked", "beside"]

_PAPER, _INK, _FAINT, _COLOURS = "#14131a", "#ece6f2", "#a59db3", "magma"
_TICKS_HZ = (50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 40_000, 80_000)
_DPI = 100
_MIN_WIDTH_PX = 500
_MAX_PANELS = 4


def spectrogram_png(samples: Any, rate: int, *, title: str = "", range_db: float = 80.0, width_px: int = 1200) -> bytes:
    """A PNG of one sound, ``[channels, samples]`` or ``[samples]``, tensor or array, at ``rate`` Hz.

    Colours span the ``range_db`` below the loudest level.
    """
    figure = _figure(width_px, 0.4)
    axes = figure.subplots()
    image = spectrogram.of_samples(samples, rate)
    drawn = _draw(axes, image, image.top_db, range_db)
    _time_axis(axes, image.duration_s)
    _title(figure, title)
    _scale(figure, drawn, [axes])
    return _png(figure)


def before_after_png(
    before: Any,
    after: Any,
    rate: int,
    *,
    title: str = "",
    labels: tuple[str, str] = ("before", "after"),
    layout: Layout = "stacked",
    range_db: float = 80.0,
    width_px: int = 1200,
) -> bytes:
    """A PNG of one stem before and after, above each other or beside, on one time axis and one colour scale.

    Both are as `spectrogram_png` takes them, at one ``rate`` in Hz.
    """
    images = [spectrogram.of_samples(samples, rate) for samples in (before, after)]
    stacked = layout == "stacked"
    figure = _figure(width_px, 0.62 if stacked else 0.36)
    rows, columns = (2, 1) if stacked else (1, 2)
    panels = list(figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flat)
    top_db = max(image.top_db for image in images)
    for axes, image, label in zip(panels, images, labels, strict=True):
        drawn = _draw(axes, image, top_db, range_db)
        axes.set_title(_line(label), color=_INK, fontsize=11, loc="left", parse_math=False)
    for axes in panels[1:] if stacked else panels:
        _time_axis(axes, max(image.duration_s for image in images))
    (panels[0] if stacked else panels[1]).label_outer()
    _title(figure, title)
    _scale(figure, drawn, panels)
    return _png(figure)


def preset_png(preset: "Preset", *, width_px: int = 1200) -> bytes:
    """A PNG of a preset: the magnitudes its target holds, or its card in words when it holds none.

    Every tensor ``[bins, frames]`` whose name begins with ``magnitude`` is a panel, bins spread from 0 Hz to half the
    rate; the four with most bins are drawn.
    """
    rate = preset.target.rate
    images = {
        name: spectrogram.of_magnitudes(tensor.detach().cpu().float(), rate)
        for name, tensor in preset.target.tensors.items()
        if name.startswith("magnitude") and tensor.ndim == 2 and min(tensor.shape) > 0
    }
    facts = cards.summary(preset.card)
    images = dict(sorted(images.items(), key=lambda item: (-preset.target.tensors[item[0]].shape[0], item[0])))
    if not images:
        return _words(preset.name, facts, width_px)
    figure = _figure(width_px, 0.46)
    panels = list(figure.subplots(1, min(len(images), _MAX_PANELS), sharey=True, squeeze=False)[0])
    for axes, (name, image) in zip(panels, images.items(), strict=False):
        drawn = _draw(axes, image, 0, 80.0)
        axes.set_title(_line(name), color=_INK, fontsize=10, loc="left", parse_math=False)
        axes.set_xlabel("frames kept", color=_FAINT)
        axes.label_outer()
    _title(figure, f"{preset.name}: {dict(facts)['from']}")
    _scale(figure, drawn, panels)
    return _png(figure)


def training_png(
    content: Any,
    made: Any,
    style: Any,
    history: Sequence[tuple[int, Mapping[str, float]]],
    *,
    title: str = "",
    width_px: int = 1400,
) -> bytes:
    """A PNG of a training: pictures of its content, of what is made of it and of its style, and its losses so far.

    Pictures are ``[bands, frames]`` from −1 to 1; ``history`` is each step with its losses by name.
    """
    figure = _figure(width_px, 0.6)
    above, below = np.ravel(figure.subfigures(2, 1, height_ratios=[3, 2], squeeze=False))
    for part in (above, below):
        part.set_facecolor(_PAPER)
    panels = list(above.subplots(1, 3, sharey=True, squeeze=False)[0])
    for axes, picture, label in zip(panels, (content, made, style), ("content", "made of it", "style"), strict=True):
        axes.imshow(np.asarray(picture), cmap=_COLOURS, vmin=-1, vmax=0.8, aspect="auto", origin="lower")
        axes.set_title(label, color=_INK, fontsize=11, loc="left")
        axes.set_xlabel("frames", color=_FAINT)
        _plain(axes)
    panels[0].set_ylabel("mel band", color=_FAINT)
    curves = below.subplots()
    for name in dict.fromkeys(name for _, losses in history for name in losses):
        told = [(step, losses[name]) for step, losses in history if name in losses]
        curves.plot([step for step, _ in told], [value for _, value in told], marker=".", label=name)
    curves.set_xlabel("step", color=_FAINT)
    curves.set_ylabel("loss", color=_FAINT)
    _plain(curves)
    if history:
        curves.legend(facecolor=_PAPER, edgecolor=_FAINT, labelcolor=_INK, fontsize=9, loc="upper right")
    _title(figure, title)
    return _png(figure)


def _plain(axes: Axes) -> None:
    axes.tick_params(colors=_FAINT, labelsize=9)
    axes.set_facecolor("black")
    for spine in axes.spines.values():
        spine.set_visible(False)


def _words(title: str, facts: Sequence[tuple[str, str]], width_px: int) -> bytes:
    figure = _figure(width_px, 0.36)
    figure.text(0.04, 0.9, _line(title), color=_INK, fontsize=22, va="top", parse_math=False)
    for row, (label, value) in enumerate(facts):
        height = 0.72 - 0.085 * row
        figure.text(0.04, height, label, color=_FAINT, fontsize=12, va="top", parse_math=False)
        figure.text(0.16, height, _line(value), color=_INK, fontsize=12, va="top", parse_math=False)
    return _png(figure)


def _figure(width_px: int, aspect: float) -> Figure:
    width = max(_MIN_WIDTH_PX, width_px) / _DPI
    figure = Figure((width, width * aspect), _DPI, facecolor=_PAPER, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _draw(axes: Axes, image: Image, top_db: float, range_db: float) -> AxesImage:
    low, high = math.log10(image.lowest_hz), math.log10(image.highest_hz)
    top_db = max(top_db, -100.0)  # a silent sound is drawn dark, not with its rounding noise in full colour
    drawn = axes.imshow(
        image.levels_db,
        cmap=_COLOURS,
        vmin=top_db - range_db,
        vmax=top_db,
        aspect="auto",
        origin="lower",
        extent=(0.0, max(image.duration_s, 1e-6), low, high),
    )
    ticks = [hz for hz in _TICKS_HZ if image.lowest_hz <= hz <= image.highest_hz]
    axes.set_yticks([math.log10(hz) for hz in ticks], [f"{hz // 1000}k" if hz >= 1000 else str(hz) for hz in ticks])
    axes.set_ylabel("frequency (Hz)", color=_FAINT)
    _plain(axes)
    return drawn


def _time_axis(axes: Axes, duration_s: float) -> None:
    if duration_s <= 120:
        axes.set_xlabel("time (s)", color=_FAINT)
    else:
        axes.set_xlabel("time (min:s)", color=_FAINT)
        step_s = next((step for step in (15, 30, 60, 120, 300, 600, 1800) if duration_s / step <= 12), 3600)
        axes.xaxis.set_major_locator(MultipleLocator(step_s))
        axes.xaxis.set_major_formatter(lambda seconds, _: f"{int(seconds) // 60}:{int(seconds) % 60:02d}")


def _title(figure: Figure, title: str) -> None:
    if title:
        figure.suptitle(_line(title), color=_INK, fontsize=13, parse_math=False)


def _scale(figure: Figure, drawn: AxesImage, panels: Sequence[Axes]) -> None:
    bar = figure.colorbar(drawn, ax=panels, pad=0.01, fraction=0.03)
    bar.set_label("level (dB)", color=_FAINT)
    bar.ax.tick_params(colors=_FAINT, labelsize=9)
    bar.outline.set_visible(False)


def _line(text: str) -> str:
    clean = names.printable(text)
    return clean if len(clean) <= 90 else clean[:89] + "…"


def _png(figure: Figure) -> bytes:
    with warnings.catch_warnings(), io.BytesIO() as png:
        # The one font drawn with does not know every script a preset may be named in; it draws boxes, and says so.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font", category=UserWarning)
        figure.savefig(png, format="png", metadata={"Software": None})
        return png.getvalue()
