"""What the suite of long stems found as a page of Markdown tables, and as a plot."""

from engine.bench import plots
from engine.bench.suite_long import EXPLICIT_EVALUATIONS, Findings
from engine.bench.tables import figure, length, machine_table, size, table


def markdown(found: Findings) -> str:
    """The page; ends without a newline."""
    parts = ["# Gramophone bench: long stems"]
    if found.scale.name == "quick":
        parts.append("**A quick run**: short stems of little sound. Its figures are no verdict on anything.")
    parts.append(machine_table(found.machine, found.ceilings))
    return "\n\n".join([*parts, *_lengths(found), *_growth(found), *_differences(found)])


def picture(found: Findings) -> bytes | None:
    """Speed and memory against length as a PNG; None without matplotlib."""
    speed, memory = [], []
    for quality in found.scale.lengths_s:
        mine = [one for one in found.lengths if one.quality == quality]
        minutes = tuple(one.seconds / 60 for one in mine)
        speed.append(plots.Line(quality, minutes, tuple(one.real_time for one in mine)))
        held = [(m, one.peak / 2**20) for m, one in zip(minutes, mine, strict=True) if one.peak is not None]
        memory.append(plots.Line(quality, tuple(m for m, _ in held), tuple(mib for _, mib in held)))
    return plots.png(
        [
            plots.Panel("Speed", "length, minutes", "× real time", tuple(speed)),
            plots.Panel("Peak memory", "length, minutes", "MiB", tuple(memory), from_zero=True),
        ]
    )


def _lengths(found: Findings) -> list[str]:
    on_device = any(row.device is not None for row in found.lengths)
    rows = [
        (
            row.quality,
            length(row.seconds),
            f"{row.real_time:,.1f}×",
            f"{row.wall_s:,.2f}",
            f"{row.cpu_s / row.seconds:.3f}",
            f"{found.explicit_s / found.cost_s(row):,.0f}×",
            size(row.peak),
            size(row.imports),
            *((size(row.device),) if on_device else ()),
        )
        for row in found.lengths
    ]
    scale, ways = found.scale, found.comparison
    header = ("", "length", "real time", "wall s", "CPU s per s", "cheaper than explicit", "peak", "of it imports")
    unit = "CPU seconds" if found.machine.device == "cpu" else "seconds"
    return [
        "## Time and memory against length",
        f"{scale.channels} channels at {scale.rate / 1000:g} kHz, generated on the fly and written nowhere; each "
        f"length in a fresh process, seam pass included; {found.machine.device}, {found.machine.threads} threads.",
        table((*header, *(("on the device",) if on_device else ())), rows),
        f"Explicit is the published pipeline, its phase reconstruction left out: an evaluation of {ways.filters} "
        f"filters took {1e3 * ways.rows[0].cpu_s:,.0f} CPU ms in this run ({scale.explicit_s:g} s, mono, 22.05 kHz; "
        f"the kernel's {1e3 * ways.rows[1].cpu_s:,.1f}), and the pipeline makes {EXPLICIT_EVALUATIONS}: "
        f"{found.explicit_s:,.1f} {unit} for each second of sound.",
    ]


def _growth(found: Findings) -> list[str]:
    if not found.growth:
        return []
    rows = [
        (
            row.quality,
            f"{length(row.longer)} / {length(row.shorter)}",
            f"{row.times:g}×",
            f"{row.cost:.2f}×",
            f"{row.cpu:.2f}×",
            f"{row.cost / row.times:.3f}",
            "not known" if row.more is None else f"{row.more / 2**20:+,.0f} MiB",
        )
        for row in found.growth
    ]
    return [
        "## Growth",
        "A stem beside a shorter one: 1 in the last column but one is cost in proportion to length.",
        table(("", "lengths", "as long", "takes", "of CPU time", "cost / length", "holds more"), rows),
    ]


def _differences(found: Findings) -> list[str]:
    def level(value: float | None) -> str:
        return "none" if value is None else figure(value, 1)

    rows = [
        (
            row.quality,
            f"{row.batch}{', memory ran out' if row.short else ''}",
            str(row.largest),
            level(row.energy_db),
            level(row.peak_db),
        )
        for row in found.differences
    ]
    return [
        "## Batch sizes",
        f"{found.scale.batched_s:g} s rendered in batches and, to compare with, one segment at a time. Where memory "
        f"ran out, it did so on purpose for more than {found.scale.most} segments, and the engine went on with fewer. "
        "None: the same bits.",
        table(("", "batch", "largest solved", "difference, dBFS RMS", "largest sample, dBFS"), rows),
    ]
