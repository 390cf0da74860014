"""A plan and a result as tables to read, and a plan as records for programs."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from render.breakpoints import Breakpoints
from render.chain import Chain
from render.events import Event, StemFailed, StemPublished, StemSkipped
from render.plan import Job, Plan
from render.progress import clock_time, decibels, printable


def plan_table(plan: Plan) -> Table:
    """What each job of ``plan`` would do."""
    table = Table(title=Text(printable(plan.title)), title_justify="left")
    for heading, justify in (("#", "right"), ("stem", "left"), ("preset", "left"), ("length", "right")):
        table.add_column(heading, justify="right" if justify == "right" else "left", overflow="fold")
    for heading in ("sound", "chain", "output"):
        table.add_column(heading, overflow="fold")
    for job in plan.jobs:
        row = (str(job.index), _source(job), job.label, clock_time(job.duration_s), _sound(job), _names(job.chain))
        table.add_row(*(Text(printable(cell)) for cell in row), Text(printable(_where(job))))
    return table


def plan_lines(plan: Plan) -> list[str]:
    """What is to be said below the table: notes, stems that cannot be read, and the sum."""
    lines = [f"{job.index}: {note}" for job in plan.jobs for note in job.notes]
    lines += [f"{stem.index}: cannot be rendered: {stem.reason}" for stem in plan.unreadable]
    lines += [f"then: {path} ({kind})" for kind, path in _delivered(plan).items()]
    done = sum(job.done for job in plan.jobs)
    there = f", {done} already there" if done else ""
    length, estimate = clock_time(plan.duration_s), clock_time(plan.estimate_s)
    lines.append(f"{len(plan.jobs)} stems, {length} of audio{there}; about {estimate} to render. Nothing was written.")
    return [printable(line) for line in lines]


def plan_records(plan: Plan) -> Iterable[dict[str, Any]]:
    """``plan`` as JSON objects: one for each job, one for each unreadable stem, one for the sum."""
    for job in plan.jobs:
        yield {
            "event": "planned",
            "index": job.index,
            "title": job.title,
            "stem": str(job.stem),
            "output": str(job.output),
            "preset": job.label,
            "amount": job.settings.amount,
            "mix": job.settings.mix,
            "automation": job.moving,
            "tail_s": "auto" if job.rings else job.tail_samples / job.info.rate,
            "quality": job.settings.quality,
            "seed": job.settings.seed,
            "device": job.settings.device,
            "rate": job.info.rate,
            "channels": job.info.channels,
            "frames": job.length,
            "duration_s": job.duration_s,
            "format": f"{job.format.container} {job.format.subtype}",
            "overs": job.overs,
            "loudness_lufs": job.loudness_lufs,
            "ceiling_dbtp": job.ceiling_dbtp,
            "chain": [step.record() for step in job.chain],
            "instrument": None if job.performance is None else job.performance.record(),
            "notes": list(job.notes),
            "estimate_s": job.estimate_s,
            "done": job.done,
        }
    for stem in plan.unreadable:
        yield {"event": "unreadable", "index": stem.index, "stem": str(stem.stem), "reason": stem.reason}
    yield {
        "event": "plan",
        "title": plan.title,
        "count": len(plan.jobs) + len(plan.unreadable),
        "delivery": {kind: str(path) for kind, path in _delivered(plan).items()},
        "duration_s": plan.duration_s,
        "estimate_s": plan.estimate_s,
    }


def _delivered(plan: Plan) -> dict[str, Path]:
    return plan.delivery.paths if plan.delivery else {}


def summary_table(events: Sequence[Event]) -> Table:
    """What came of each stem, from the events that ended them."""
    table = Table()
    for heading in ("#", "track", "length", "speed", "peak dBFS", "level", "overs"):
        table.add_column(heading, justify="left" if heading in ("track", "overs") else "right", overflow="fold")
    table.add_column("output", overflow="fold")
    for event in events:
        if isinstance(event, StemPublished):
            row = _published(event)
        elif isinstance(event, StemSkipped):
            row = (str(event.index), event.title, "", "", "", "", "", f"{event.output} (already there)")
        elif isinstance(event, StemFailed):
            row = (str(event.index), event.title, "", "", "", "", "", f"failed: {event.reason}")
        else:
            continue
        style = "red" if isinstance(event, StemFailed) else ""
        table.add_row(*(Text(printable(cell), style) for cell in row))
    return table


def _published(event: StemPublished) -> tuple[str, ...]:
    speed = "copied" if event.copied else f"{event.duration_s / max(event.seconds, 1e-9):.1f}×"
    overs = f"{event.overs} {event.overs_action}" if event.overs else "none"
    return (
        str(event.index),
        event.title,
        clock_time(event.duration_s),
        speed,
        "silent" if event.peak_dbfs is None else decibels(event.peak_dbfs),
        "" if event.level_change_db is None else f"{decibels(event.level_change_db, sign=True)} dB",
        overs + (f" {event.gain_db:.1f} dB" if event.gain_db else ""),
        str(event.output),
    )


def _sound(job: Job) -> str:
    form = f"{job.info.rate} Hz {job.info.channels} ch {job.format.container} {job.format.subtype}"
    if job.loudness_lufs is not None:
        form += f", {job.loudness_lufs:g} LUFS"
    if job.ceiling_dbtp is not None:
        form += f", at most {job.ceiling_dbtp:g} dBTP"
    if not job.styled:
        return f"not styled, {form}"
    mix = f" mix {job.settings.mix:g}" if job.settings.mix < 1 else ""
    mix = mix if job.mix_line is None else f" mix {_range(job.mix_line)}"
    amount = f"{job.settings.amount:g}" if job.amount_line is None else _range(job.amount_line)
    return f"amount {amount}{mix} {job.settings.quality}, {form}"


def _range(line: Breakpoints) -> str:
    return f"{line.low:g} to {line.high:g}"


def _source(job: Job) -> str:
    return job.stem.name if job.performance is None else f"{job.stem.name} by {job.performance.instrument.name}"


def _names(chain: Chain) -> str:
    return " → ".join(
        step.plugin.name
        + (f"({_names(step.inner)})" if step.inner else "")
        + (f" ({', '.join(step.lines)} moves)" if step.lines else "")
        for step in chain
    )


def _where(job: Job) -> str:
    state = " (already there)" if job.done else " (replaces what is there)" if job.output.exists() else ""
    return f"{job.output}{state}"
