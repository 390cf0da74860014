"""Plots of a run's findings, where matplotlib is installed."""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

# Told apart by those who do not see all colours (Okabe & Ito).
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


@dataclass(frozen=True)
class Line:
    """Points that belong together."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]


@dataclass(frozen=True)
class Panel:
    """One pair of axes; ``x`` is always logarithmic, ``y`` unless it is ``from_zero``."""

    title: str
    x: str
    y: str
    lines: tuple[Line, ...]
    from_zero: bool = False


def png(panels: Sequence[Panel]) -> bytes | None:
    """The panels side by side; None without matplotlib."""
    try:
        from matplotlib.figure import Figure
        from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
    except ImportError:
        return None
    figure = Figure(figsize=(4.8 * len(panels), 3.6), layout="constrained")
    plain = FuncFormatter(lambda value, place: f"{value:.3g}")
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for number, line in enumerate(panel.lines):
            colour = _COLOURS[number % len(_COLOURS)]
            axes.plot(line.x, line.y, marker="o", markersize=4, color=colour, label=line.name)
        ticks = sorted({x for line in panel.lines for x in line.x})
        axes.set_xscale("log")
        axes.set_xticks(ticks)
        axes.xaxis.set_major_formatter(plain)
        axes.xaxis.set_minor_formatter(NullFormatter())
        values = [y for line in panel.lines for y in line.y]
        if values and panel.from_zero:
            axes.set_ylim(0, 1.15 * max(values))
        elif values:
            axes.set_yscale("log")
            axes.set_ylim(10 ** math.floor(math.log10(min(values))), 1.5 * max(values))
            axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axes.yaxis.set_major_formatter(plain)
            axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set(title=panel.title, xlabel=panel.x, ylabel=panel.y)
        axes.grid(alpha=0.3)
        if any(line.x for line in panel.lines):
            axes.legend(fontsize="small")
    out = io.BytesIO()
    figure.savefig(out, format="png")
    return out.getvalue()
