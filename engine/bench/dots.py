"""A plot of named dots, where matplotlib is installed."""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_DOT = 9.0  # pixels
_FONT = 8


@dataclass(frozen=True)
class Dot:
    """A point with a name and a ``shade`` above zero."""

    name: str
    x: float
    y: float
    shade: float


def png(dots: Sequence[Dot], *, x: str, y: str, shade: str) -> bytes | None:
    """Dots with their names beside them, ``x`` and the colours of ``shade`` logarithmic; None without matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.colors import LogNorm
        from matplotlib.figure import Figure
        from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
    except ImportError:
        return None
    figure = Figure(figsize=(9.6, 6.4), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots()
    plain = FuncFormatter(lambda value, place: f"{value:.3g}")
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(plain)
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set(xlabel=x, ylabel=y)
    axes.grid(alpha=0.3)
    shades = [dot.shade for dot in dots] or [1.0]
    look: dict[str, Any] = {"norm": LogNorm(min(shades), max(max(shades), 1.001 * min(shades))), "cmap": "viridis_r"}
    drawn = axes.scatter([dot.x for dot in dots], [dot.y for dot in dots], s=36, c=[d.shade for d in dots], **look)
    figure.colorbar(drawn, ax=axes, label=shade, format=plain, pad=0.01)
    axes.margins(0.08)
    figure.draw_without_rendering()  # so that places on the picture are known
    middles = [(float(px), float(py)) for px, py in (axes.transData.transform((dot.x, dot.y)) for dot in dots)]
    taken = [*_outside(axes.bbox), *(_Box.around(px, py, _DOT, _DOT) for px, py in middles)]
    point = 72 / figure.dpi
    for dot, (px, py) in zip(dots, middles, strict=True):
        label = axes.annotate(dot.name, (dot.x, dot.y), (0, 0), textcoords="offset points", fontsize=_FONT)
        box = label.get_window_extent(canvas.get_renderer())  # type: ignore[no-untyped-call]
        right, up = _free(px, py, box.width, box.height, taken)
        taken.append(_Box.around(px + right, py + up, box.width, box.height))
        label.set_position(((right - box.width / 2) * point, (up - box.height / 2) * point))
        if abs(up) > box.height / 2 + 2 * _DOT:  # far from its dot
            line = {"arrowstyle": "-", "color": "#999999", "linewidth": 0.6}
            axes.annotate(
                "", (dot.x, dot.y), (right * point, up * point), textcoords="offset points", arrowprops=line, zorder=0
            )
    out = io.BytesIO()
    figure.savefig(out, format="png")
    return out.getvalue()


@dataclass(frozen=True)
class _Box:
    """A box on a picture, in pixels."""

    left: float
    low: float
    right: float
    high: float

    @classmethod
    def around(cls, x: float, y: float, width: float, height: float) -> "_Box":
        """The box of that size with its middle there."""
        return cls(x - width / 2, y - height / 2, x + width / 2, y + height / 2)

    def shared(self, other: "_Box") -> float:
        """Square pixels that two boxes share."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.high, other.high) - max(self.low, other.low)
        return max(0.0, width) * max(0.0, height)


def _outside(inside: Any) -> list[_Box]:
    """What lies left, right, below and above of the box of the axes: no place for a label."""
    far = 1e4
    return [
        _Box(-far, -far, inside.x0, far),
        _Box(inside.x1, -far, far, far),
        _Box(-far, -far, far, inside.y0),
        _Box(-far, inside.y1, far, far),
    ]


def _free(x: float, y: float, width: float, height: float, taken: Sequence[_Box]) -> tuple[float, float]:
    """Where the middle of a label goes, from its dot: of many places the nearest that covers least of what is there."""
    places = []
    for reach in (0.0, 8.0, 18.0, 30.0, 44.0):
        for turn in (0, 4, 2, 6, 1, 7, 3, 5):
            across, up = math.cos(turn * math.pi / 4), math.sin(turn * math.pi / 4)
            places.append((across * (width / 2 + _DOT + reach), up * (height / 2 + _DOT + reach)))
    covered = [sum(_Box.around(x + a, y + b, width, height).shared(box) for box in taken) for a, b in places]
    return places[covered.index(min(covered))]
