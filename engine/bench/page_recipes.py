"""What the suite of recipes found as a page of Markdown tables, and as a plot."""

from collections.abc import Iterable

from engine.bench import dots
from engine.bench.suite_recipes import Findings, Row
from engine.bench.tables import figure, machine_table, size, table

_MEANS = ("chroma", "onset", "mfcc_ratio", "gap_db")
_DECIMALS = (3, 3, 3, 1)


def markdown(found: Findings) -> str:
    """The page; ends without a newline."""
    parts = ["# Gramophone bench: recipes"]
    if found.scale.name == "quick":
        parts.append("**A quick run**: next to no sound and no iterations. Its figures are no verdict on any recipe.")
    parts.append(machine_table(found.machine, found.ceilings))
    return "\n\n".join([*parts, *_recipes(found), *_unbeaten(found), *_pairs(found)])


def picture(found: Findings) -> bytes | None:
    """Style against what is kept of the stem, a dot a recipe, its shade what it costs; None without matplotlib."""
    found_dots = []
    for row in found.rows:
        style, kept, cost = row.style, row.kept, found.cost_s(row)
        if style is not None and kept is not None and cost is not None:
            found_dots.append(dots.Dot(row.recipe, style, kept, cost))
    return dots.png(
        found_dots,
        x="distance to the style (1 the stem's, 0 the style's)",
        y="kept of the stem (mean of chroma and onset)",
        shade=f"{_seconds(found)} for a second of sound",
    )


def _seconds(found: Findings) -> str:
    return "CPU seconds" if found.machine.device == "cpu" else "seconds"


def _recipes(found: Findings) -> list[str]:
    on_device = any(row.device is not None for row in found.rows)
    best = found.unbeaten()
    rows = []
    for row in found.rows:
        if row.failed is not None:
            rows.append((row.title, f"failed: {row.failed}", *[""] * (8 + on_device)))
            continue
        means = row.means
        rows.append(
            (
                f"**{row.title}**" if row in best else row.title,
                _cost(found.cost_s(row)),
                figure(row.style, 3),
                figure(row.kept, 3),
                *(figure(means[name], decimals) for name, decimals in zip(_MEANS, _DECIMALS, strict=True)),
                "–" if row.falls is None else f"{row.falls:,.1f}×",
                size(row.peak),
                *((size(row.device),) if on_device else ()),
            )
        )
    cost = f"{_seconds(found)} per s"
    header = ("", cost, "style", "kept", "chroma", "onset", "mfcc", "gap dB", "loss falls", "peak")
    chosen = _list(pair.title for pair in found.scale.chosen)
    verdicts = [render.verdict for row in found.rows for render in row.renders]
    missing = next((verdict.missing for verdict in verdicts if verdict.missing), None)
    note = f" {missing[0].upper()}{missing[1:]}." if missing else ""
    return [
        "## All recipes",
        f"{found.scale.seconds:g} s of mono at 22.05 kHz, means over {chosen}; {found.machine.device}, "
        f"{found.machine.threads} threads; the written files judged. Style and mfcc: distance to the style, 1 the "
        "untreated stem's, 0 the style. Chroma and onset: likeness to the stem; kept: their mean. Gap: rise of the "
        "stem's quietest tenth. Loss falls: the recipe's own loss, start over end, the least of the pairs; where a "
        "recipe weighs the stem against the style it cannot fall to nothing. Peak: the most its process held, imports "
        "included. Bold: no other recipe is as near to the style by style and mfcc and keeps as much." + note,
        table((*header, *(("on the device",) if on_device else ())), rows),
    ]


def _unbeaten(found: Findings) -> list[str]:
    best = sorted(found.unbeaten(), key=lambda row: -(row.kept or 0))
    if not best:
        return []
    rows = []
    for row in best:
        near = (figure(row.style, 3), figure(row.means["mfcc_ratio"], 3))
        rows.append((row.title, figure(row.kept, 3), *near, _cost(found.cost_s(row))))
    return [
        "## From the stem to the style",
        "The bold ones, from what keeps most of the stem to what keeps least.",
        table(("", "kept", "style", "mfcc", f"{_seconds(found)} per s"), rows),
    ]


def _pairs(found: Findings) -> list[str]:
    made = [row for row in found.rows if row.renders]

    def cells(row: Row) -> list[str]:
        styles = [figure(render.verdict.style_ratio, 3) for render in row.renders]
        return [f"{style} / {figure(render.kept, 3)}" for style, render in zip(styles, row.renders, strict=True)]

    return [
        "## Pair by pair",
        "Style / kept.",
        table(("", *(pair.title for pair in found.scale.chosen)), [(row.title, *cells(row)) for row in made]),
    ]


def _cost(seconds: float | None) -> str:
    """Seconds to the figures that count."""
    if seconds is None:
        return "–"
    return f"{seconds:,.{0 if seconds >= 10 else 2 if seconds >= 0.1 else 3}f}"


def _list(names: Iterable[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
