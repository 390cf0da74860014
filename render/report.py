"""The report of a render: what was done to every stem and what came of it, as a page to hear and as JSON.

Figures are measured on the files themselves, of stems that were rendered now and of those that were there already; of
these the report before this one tells how long they took.
"""

import importlib.metadata
import json
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine import audio, device
from engine.errors import AudioError
from presets.version import gramophone_version
from render import page, stamps
from render.errors import RenderError
from render.events import AlbumDone, Event, StemFailed, StemPublished
from render.page import Content, Exhibit, decibels
from render.plan import Job, Plan
from render.portrait import Portrait

FORMAT = 1
HEARD_S = 120.0
SHORTEST_S = 3.0
MOST_SHOWN = 60
_LIBRARIES = ("torch", "numpy", "soundfile", "soxr", "pedalboard")
_LARGEST_BYTES = 1 << 26
# What only the moment of rendering knows of an output.
_KEPT = ("seconds", "overs", "overs_action", "gain_db", "levelled_db")


@dataclass(frozen=True)
class Entry:
    """One stem of a report: its ``record`` for JSON, and for one that was rendered its job and both portraits."""

    record: Mapping[str, Any]
    job: Job | None = None
    portraits: tuple[Portrait, ...] = ()


@dataclass(frozen=True)
class Report:
    """All that is known of a render."""

    title: str
    entries: tuple[Entry, ...]
    done: AlbumDone
    versions: Mapping[str, str]


def gather(plan: Plan, ended: Mapping[int, Event], done: AlbumDone, earlier: Mapping[str, Any] | None = None) -> Report:
    """The report of ``plan``, of which ``ended`` has the event that ended each stem, by its index.

    ``earlier`` are the figures of the last one, for what was not rendered anew. Files are read for the first time
    here; one that cannot be is told as a failure.
    """
    before = _by_key(earlier or {})
    found: list[tuple[int, Entry]] = [
        (stem.index, Entry(_lost(stem.index, stem.title, stem.stem, stem.reason))) for stem in plan.unreadable
    ]
    found += [(job.index, _entry(job, ended.get(job.index), before)) for job in plan.jobs]
    entries = tuple(entry for _, entry in sorted(found, key=lambda pair: pair[0]))
    return Report(plan.title, entries, done, versions())


def versions() -> dict[str, str]:
    """What the sound depends on, by name."""
    known = {"Gramophone": gramophone_version(), "Python": platform.python_version()}
    return known | {name: importlib.metadata.version(name) for name in _LIBRARIES}


def earlier(path: Path) -> dict[str, Any]:
    """The figures that were written to ``path`` before; empty when there are none that can be read."""
    try:
        if path.stat().st_size > _LARGEST_BYTES:
            return {}
        read = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return read if isinstance(read, dict) and read.get("format") == FORMAT else {}


def json_text(report: Report, folder: Path) -> str:
    """``report`` as JSON, with the paths of files from ``folder``, where it will lie."""
    done = report.done
    counts = {"published": done.published, "skipped": done.skipped, "failed": done.failed}
    record = {
        "format": FORMAT,
        "title": report.title,
        "versions": dict(report.versions),
        "seconds": done.seconds,
        "stems": counts | {"interrupted": done.interrupted},
        "tracks": [_placed(entry.record, folder) for entry in report.entries],
    }
    return json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def html(report: Report, folder: Path) -> str:
    """``report`` as a page that will lie in ``folder``: self-contained but for the whole of long files.

    `AudioError` for a file that is gone since it was measured.
    """
    exhibits = [
        _exhibit(entry, entry.job, shown=number < MOST_SHOWN)
        for number, entry in enumerate(entry for entry in report.entries if entry.job)
        if entry.job is not None
    ]
    lost = [entry.record for entry in report.entries if entry.job is None]
    # Every second inside weighs about 300 kB, for both sides: a page has to stay one that can be opened and sent.
    longest_s = max(SHORTEST_S, min(page.LONGEST_S, HEARD_S / max(1, len(exhibits))))
    lead = [f"{len(exhibits)} of {len(report.entries)} stems rendered. A is the stem, B what came of it."]
    if len(exhibits) > MOST_SHOWN:
        lead.append(f"The first {MOST_SHOWN} are shown below; the table has all of them.")
    content = Content(
        report.title,
        lead,
        exhibits,
        columns=["Preset", "Amount", "Time"],
        failures={f"{record['index']}. {record['title']}": record["reason"] for record in lost},
        about=dict(report.versions) | {"whole render": f"{report.done.seconds:.1f} s"},
    )
    return page.html(content, longest_s=longest_s, folder=folder)


def _entry(job: Job, event: Event | None, before: Mapping[str, Mapping[str, Any]]) -> Entry:
    if isinstance(event, StemFailed) or event is None:
        reason = event.reason if isinstance(event, StemFailed) else "not rendered"
        return Entry(_lost(job.index, job.title, job.stem, reason))
    try:
        # A part of a MIDI file has no sound of its own to compare with.
        seen = page.portraits(job.output, None) if job.performance else page.portraits(job.stem, job.output)
    except (AudioError, RenderError, OSError) as error:
        return Entry(_lost(job.index, job.title, job.stem, f"rendered, but not to be shown: {error}"))
    key = stamps.recorded(job.output).get("key", "")
    if isinstance(event, StemPublished):
        moment = {name: getattr(event, name) for name in _KEPT}
    else:
        moment = {name: before.get(key, {}).get(name) for name in _KEPT}
    return Entry(_record(job, seen, key, moment, new=isinstance(event, StemPublished)), job, seen)


def _record(job: Job, seen: Sequence[Portrait], key: str, moment: Mapping[str, Any], *, new: bool) -> dict[str, Any]:
    stem, output = seen[0] if len(seen) > 1 else None, seen[-1]
    settings, before = job.settings, stem.level_db if stem else None
    return {
        "index": job.index,
        "title": job.title,
        "status": "published" if new else "skipped",
        "key": key,
        "stem": _file(stem) if stem else {"path": job.stem},
        "output": _file(output),
        "preset": _preset(job),
        "amount": settings.amount,
        "mix": settings.mix,
        "automation": job.moving,
        "quality": settings.quality,
        "seed": settings.seed,
        "device": device.pick(settings.device).type,
        "chain": [step.record() for step in job.chain],
        "instrument": None if job.performance is None else job.performance.record(),
        "level_change_db": None if before is None or output.level_db is None else output.level_db - before,
        "resampled_hz": _resampled(job),
        "padded_samples": max(0, output.info.frames - job.info.frames),
        "overs_policy": job.overs,
        "loudness_lufs": job.loudness_lufs,
        "ceiling_dbtp": job.ceiling_dbtp,
        "notes": list(job.notes),
        **moment,
    }


def _file(seen: Portrait) -> dict[str, Any]:
    info = seen.info
    start = audio.read_annotations(info.path).start_samples
    return {
        "path": info.path,
        "rate": info.rate,
        "channels": info.channels,
        "frames": info.frames,
        "format": f"{info.format.container} {info.format.subtype}",
        "time_reference": start,
        "lufs": seen.loudness.lufs,
        "true_peak_dbtp": seen.loudness.dbtp,
        "rms_dbfs": seen.level_db,
        "peak_dbfs": seen.peak_db,
    }


def _preset(job: Job) -> dict[str, Any] | None:
    if job.preset is None:
        return None
    parts = [{"name": part.name, "weight": part.weight} for part in job.preset.card.blend_of]
    return {
        "name": job.label,
        "recipe": job.preset.target.recipe,
        "content_hash": job.preset.content_hash,
        "blend_of": parts,
    }


def _resampled(job: Job) -> int | None:
    """The rate the stem was styled at when it is not its own: resampled to it and back."""
    if not job.styled or job.preset is None or job.preset.target.rate == job.info.rate:
        return None
    return job.preset.target.rate


def _lost(index: int, title: str, stem: Path, reason: str) -> dict[str, Any]:
    return {"index": index, "title": title, "status": "failed", "stem": {"path": stem}, "reason": reason}


def _placed(record: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    placed = dict(record)
    for side in ("stem", "output"):
        if side in record:
            placed[side] = record[side] | {"path": _relative(record[side]["path"], folder)}
    return placed


def _relative(path: Path, folder: Path) -> str:
    try:
        place = Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:  # on another drive of Windows
        place = path.resolve().as_posix()
    return place.encode("utf-8", "replace").decode("utf-8")


def _by_key(record: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    tracks = record.get("tracks")
    found = tracks if isinstance(tracks, list) else []
    good = [track for track in found if isinstance(track, dict) and isinstance(track.get("key"), str) and track["key"]]
    return {track["key"]: {name: track[name] for name in _KEPT if _plain(track.get(name))} for track in good}


def _plain(value: object) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def _exhibit(entry: Entry, job: Job, *, shown: bool) -> Exhibit:
    word = "styled" if job.styled else "rendered"
    before, after = (job.output, None) if job.performance else (job.stem, job.output)
    return Exhibit(
        job.title,
        before,
        after,
        labels=(word, "") if job.performance else ("stem", word),
        facts=_facts(entry.record, job),
        note=" ".join(_sentence(note) for note in job.notes),
        portraits=entry.portraits,
        shown=shown,
    )


def _facts(record: Mapping[str, Any], job: Job) -> dict[str, str]:
    parts = (record["preset"] or {}).get("blend_of", [])
    change, seconds, resampled = record["level_change_db"], record["seconds"], record["resampled_hz"]
    output, rate = record["output"], record["output"]["rate"]
    moving: Mapping[str, str] = record["automation"]
    length_s, form = output["frames"] / rate, record["stem"].get("format", output["format"])
    return {
        "Preset": " + ".join(f"{part['weight']:.0%} {part['name']}" for part in parts) or job.label,
        "Amount": _line(moving["amount"]) if "amount" in moving else f"{record['amount']:g}",
        "Mix": _line(moving["mix"]) if "mix" in moving else "" if record["mix"] == 1 else f"{record['mix']:g}",
        "Quality": record["quality"] if job.styled else "",
        "Seed": str(record["seed"]),
        "Device": record["device"] if job.styled else "",
        "Instrument": _played(record["instrument"]),
        "Chain": " → ".join(_steps(record["chain"])),
        "Level": ""
        if change is None
        else f"{'+' if round(change, 1) > 0 else ''}{decibels(change)} dB against the stem",
        "Levelled": _levelled(record),
        "Resampled": f"{rate} → {resampled} → {rate} Hz" if resampled else "",
        "Overs": _overs(record),
        "Padded": f"{record['padded_samples'] / rate:.3g} s for the chain to ring out"
        if record["padded_samples"]
        else "",
        "Format": form if form == output["format"] else f"{form} → {output['format']}",
        "Time": f"{seconds:.1f} s ({length_s / max(seconds, 1e-9):.1f} × real time)" if seconds else "rendered before",
    }


def _levelled(record: Mapping[str, Any]) -> str:
    asked = [(record["loudness_lufs"], "to", "LUFS"), (record["ceiling_dbtp"], "below", "dBTP")]
    goals = [f"{word} {decibels(value)} {unit}" for value, word, unit in asked if value is not None]
    gain = record["levelled_db"]
    return ", ".join(goals) + ("" if gain is None else f" by {decibels(gain)} dB") if goals else ""


def _overs(record: Mapping[str, Any]) -> str:
    if record["overs"] is None:
        return ""
    gain = f" by {decibels(record['gain_db'])} dB" if record["gain_db"] else ""
    return f"{record['overs']} samples {record['overs_action']}{gain}" if record["overs"] else "none"


def _steps(chain: Iterable[Mapping[str, Any]]) -> list[str]:
    steps = []
    for step in chain:
        inner = step.get("plugins")
        if "plugin_file" in step:
            name, values = _outside(step)
        else:
            name = step["plugin"]
            values = {key: value for key, value in step.items() if key not in ("plugin", "plugins", "automation")}
        # What moves has no value of its own.
        values |= {key: _line(told) for key, told in step.get("automation", {}).items()}
        said = ", ".join(f"{key} {_value(value)}" for key, value in values.items())
        inside = f"({' → '.join(_steps(inner))})" if inner else ""
        steps.append(f"{name}{inside}" + (f" [{said}]" if said else ""))
    return steps


def _outside(step: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The name and version of a plugin file, and what the chain sets of it."""
    values = dict(step["parameters"])
    if step["preset_file"]:
        values["from"] = "a preset file"
    if step["latency_samples"] is not None:
        values["latency"] = f"said to be {step['latency_samples']} samples"
    return f"{step['plugin_file']} {step['version']}".rstrip(), values


def _played(performance: Mapping[str, Any] | None) -> str:
    if performance is None:
        return ""
    player, *_ = _steps([performance["instrument"]])
    return f"{performance['track']} by {player}, {performance['tail_s']:g} s to ring out"


def _line(told: str) -> str:
    """`Breakpoints.told` without the digest, which tells people nothing."""
    return told.partition(" (")[0]


def _value(value: object) -> str:
    return f"{value:g}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def _sentence(note: str) -> str:
    first = note.partition(" ")[0]
    # Names of files and of parameters keep their case.
    begun = note if "." in first or "_" in first else f"{note[:1].upper()}{note[1:]}"
    return f"{begun}{'' if note.endswith('.') else '.'}"
