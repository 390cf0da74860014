"""What the main suite found as a page of Markdown tables."""

from collections.abc import Mapping, Sequence
from typing import Any

from engine.bench import notes, renders
from engine.bench.baseline import Run
from engine.bench.suite_main import Findings
from engine.bench.tables import figure, machine_table, ms, size, table

_COLUMNS = ("style", "chroma", "onset", "mfcc", "gap dB", "level dB", "peak")
_FIGURES = ("style_ratio", "chroma", "onset", "mfcc_ratio", "gap_db", "level_db", "peak")
_DECIMALS = (3, 3, 3, 3, 1, 2, 2)


def markdown(found: Findings) -> str:
    """The page: the machine, then a section a question; ends without a newline."""
    sections = (_head, _evaluations, _race, _speed, _memory, _quality, _bounds)
    return "\n\n".join(part for section in sections for part in section(found))


def _head(found: Findings) -> list[str]:
    parts = ["# Gramophone bench"]
    if found.scale.name != "full":
        parts.append(f"**A {found.scale.name} run**: {_scale(found)}. Its figures are no verdict on any method.")
    return [*parts, machine_table(found.machine, found.ceilings)]


def _scale(found: Findings) -> str:
    params = found.race.params
    return (
        f"{found.scale.seconds:g} s of sound, {_pairs(len(found.scale.chosen))}, `ulyanov` with {params['filters']} "
        f"filters, {params['iterations']} iterations and {params['griffin_lim']} Griffin-Lim steps"
    )


def _evaluations(found: Findings) -> list[str]:
    c = found.comparison
    rows = [
        (row.name, ms(row.cpu_s), ms(row.wall_s), f"{c.rows[0].cpu_s / row.cpu_s:.1f}×", f"{row.loss:,.0f}")
        for row in c.rows
    ]
    return [
        "## One evaluation",
        f"Loss and gradient in the log spectrum of {c.pair} (mono, 22.05 kHz, {found.scale.seconds:g} s: {c.bins} bins "
        f"by {c.frames} frames), by turns on one core; medians. All find the loss of the same sound: the kernel is "
        "what networks of ever more filters tend to.",
        table(("", "CPU ms", "wall ms", "ratio", "loss"), rows),
    ]


def _race(found: Findings) -> list[str]:
    race = found.race
    first = race.first

    def row(run: Run) -> tuple[str, ...]:
        v = run.verdict
        return (
            run.name,
            f"{run.spent.cpu_s:.2f}",
            f"{run.spent.wall_s:.2f}",
            f"{race.ratio(run):,.0f}×",
            f"{v.style_loss:,.0f}",
            f"{v.style_loss / max(race.baseline.verdict.style_loss, 1e-12):.3f}",
            *_figures(v.record())[:4],
        )

    rows = [row(run) for run in (race.baseline, race.draft, *race.others)]
    header = ("", "CPU s", "wall s", "ratio", "style loss", "of ulyanov's", *_COLUMNS[:4])
    verdict = (
        f"The cheapest that ends at least as near to the style as `ulyanov`: {first.name}, in "
        f"{first.spent.cpu_s:.2f} CPU seconds, {race.ratio(first):,.0f} times less."
        if first
        else "None of the drafts ends as near to the style as `ulyanov`."
    )
    return [
        "## Time to the same file",
        f"{race.pair}, mono, 22.05 kHz, {race.seconds:g} s, on one core; engine time, presets learnt before. Judged on "
        f"the written file ({race.file}) by a fresh explicit network. `ulyanov` (of {race.params['filters']} filters) "
        f"and all drafts but the first have the published content weight of {race.params['alpha']:g}.",
        table(header, rows),
        verdict,
    ]


def _speed(found: Findings) -> list[str]:
    rows = []
    for quality in found.scale.qualities:
        made = found.of(quality)
        factors = sorted(render.real_time for render in made)
        cpu = sum(render.spent.cpu_s for render in made) / sum(render.seconds for render in made)
        rows.append(
            (
                quality,
                f"{_middle(factors):.1f}×",
                f"{factors[0]:.1f} to {factors[-1]:.1f}",
                f"{cpu:.3f}",
                str(made[0].evaluations),
                "" if made[0].evaluation_s is None else ms(made[0].evaluation_s),
            )
        )
    return [
        "## Speed",
        f"Stereo, 44.1 kHz, {found.scale.seconds:g} s, {found.machine.device}, {found.machine.threads} threads; median "
        f"and range over {_pairs(len(found.scale.chosen))}. Engine time: no imports, no files, presets learnt before.",
        table(("", "real time", "range", "CPU s per s", "evaluations", "ms each"), rows),
    ]


def _memory(found: Findings) -> list[str]:
    on_device = any(m.device is not None for m in found.memory)
    rows = [(m.quality, size(m.peak), size(m.imports), *((size(m.device),) if on_device else ())) for m in found.memory]
    return [
        "## Memory",
        f"The most a fresh process holds to render {found.scale.seconds:g} s of stereo at 44.1 kHz and write it, "
        "imports included.",
        table(("", "peak", "of it imports", *(("on the device",) if on_device else ())), rows),
    ]


def _quality(found: Findings) -> list[str]:
    rows = []
    for quality in found.scale.qualities:
        mean = renders.means([render.verdict for render in found.of(quality)])
        rows.append((f"**{quality}**", "mean", *_figures(mean)))
    rows += [(render.quality, render.pair, *_figures(render.verdict.record())) for render in found.renders]
    files = ", ".join(sorted({render.file for render in found.renders}))
    missing = next((render.verdict.missing for render in found.renders if render.verdict.missing), None)
    note = f" {missing[0].upper()}{missing[1:]}." if missing else ""
    return [
        "## Sound",
        f"Judged on the written files ({files}). Style and MFCC: distance to the style, 1 the untreated stem's, 0 the "
        "style. Chroma and onset: likeness to the stem. Gap: rise of the stem's quietest tenth at equal level." + note,
        table(("", "pair", *_COLUMNS), rows),
    ]


def _bounds(found: Findings) -> list[str]:
    rows = [
        (
            b.quality,
            f"{b.floor.products / 1e9:.2f}",
            f"{b.floor.transforms / 1e9:.2f}",
            f"{b.floor.bytes / 1e6:,.0f}",
            ms(b.compute_s),
            ms(b.memory_s),
            ms(b.floor_s),
            "" if b.measured_s is None else ms(b.measured_s),
            "" if b.gap is None else f"{b.gap:.1f}×",
            b.by,
        )
        for b in found.bounds
    ]
    work = ("products GFLOP", "FFT GFLOP", "MB")
    times = ("arithmetic ms", "memory ms", "floor ms", "took ms", "gap", "bound by")
    return [
        "## What bounds it",
        f"One evaluation of {found.scale.seconds:g} s of stereo at 44.1 kHz, the search's own work included: what it "
        "must compute and move at least, at the pace of one big product and one big copy, and what it took.",
        table(("", *work, *times), rows),
        "What was tried for speed, by a prototype and while the engine was written (one AVX-512 core, not this run):",
        table(("tried", "what came of it"), notes.TRIED),
    ]


def _figures(verdict: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(figure(verdict[name], d) for name, d in zip(_FIGURES, _DECIMALS, strict=True))


def _middle(values: Sequence[float]) -> float:
    half = len(values) // 2
    return values[half] if len(values) % 2 else (values[half - 1] + values[half]) / 2


def _pairs(count: int) -> str:
    return "one pair" if count == 1 else f"{count} pairs"
