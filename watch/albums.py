"""A manifest dropped in the watched folder: every track rendered as `gramophone render` would, one verdict for all."""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from engine import audio
from presets.library import Library
from render import batch, handover, planner, stamps
from render import delivery as delivering
from render.choices import Choices
from render.delivery import Wish
from render.errors import RenderError
from render.events import AlbumDone, Event, ExportFailed, StemFailed, StemPublished, StemSkipped
from render.plan import Job, Plan
from watch.protocol import Failed, Published, Started, Stem, Tell, Verdict


def render(request: Stem, library: Library, tell: Tell, *, device: str = "auto") -> Verdict:
    """Render the album of ``request`` on ``device``; `InputError` with every mistake of its manifest.

    A track that is there already is skipped. What we rendered earlier from other inputs, and nobody touched since, is
    replaced; what is not ours is left alone and fails the album. A session that was saved in a DAW since, and a report
    that was changed, are told of and stay.
    """
    path, out = Path(request.path), Path(request.out, request.place)
    chosen = Choices(device=None if device == "auto" else device)
    wish = Wish(of_albums=True)
    plan = planner.plan_album(path, library=library, choices=chosen, out=out, overwrite=True, wish=wish)
    plan, kept = _sparing(plan)
    if strangers := [
        job.output for job in plan.jobs if os.path.lexists(job.output) and not job.done and not _ours(job)
    ]:
        names = ", ".join(str(output) for output in strangers[:3])
        return Failed(request.id, f"{names} is not of this album; move it out of the way, then retry")
    tell(Started(request.id, plan.duration_s, plan.estimate_s))
    skipped = all(job.done for job in plan.jobs)
    done, ended = _run(plan)
    failures = [event for event in ended if isinstance(event, StemFailed)]
    if failures:
        passing = any(failure.trace and "OSError" in failure.trace for failure in failures)
        lines = "; ".join(f"{failure.title}: {failure.reason}" for failure in failures)
        return Failed(request.id, f"{done.failed} of {len(plan.jobs) + len(plan.unreadable)} tracks: {lines}", passing)
    outputs = [job.output for job in plan.jobs]
    # The stems are there whatever becomes of the project files and the report.
    unwritten = [f"{path} was changed since it was written, and stays; move it away for a new one" for path in kept]

    def handed(event: Event) -> None:
        if isinstance(event, ExportFailed):
            unwritten.append(f"{event.kind} was not written: {event.reason}")

    handover.run(plan, ended, done, on_event=handed)
    return Published(
        request.id,
        os.fspath(out),
        _digest(outputs),
        sum(audio.probe(output).frames for output in outputs),
        skipped,
        source_sha256=stamps.file_digest(path),
        preset_hash=_presets(plan.jobs),
        outputs=tuple(os.fspath(output) for output in outputs),
        notes=tuple(unwritten),
    )


def _sparing(plan: Plan) -> tuple[Plan, list[Path]]:
    """``plan`` without those project files and reports that are somebody's, and their paths."""
    delivery = plan.delivery
    if delivery is None:
        return plan, []
    careful = replace(delivery, overwrite=False)
    kept = {kind: path for kind, path in careful.paths.items() if not careful.may_replace(path)}
    exports = tuple(kind for kind in careful.exports if kind not in kept)
    report = careful.report and not kept.keys() & delivering.REPORT_SUFFIXES.keys()
    return replace(plan, delivery=replace(careful, exports=exports, report=report)), list(kept.values())


def _run(plan: Plan) -> tuple[AlbumDone, list[Event]]:
    ended: list[Event] = []

    def listen(event: Event) -> None:
        if isinstance(event, StemPublished | StemSkipped | StemFailed):
            ended.append(event)

    return batch.run(plan, on_event=listen), ended


def _ours(job: Job) -> bool:
    """Whether the file in the place of ``job`` is, byte for byte, something that was rendered there."""
    folder = job.output.parent / stamps.FOLDER
    try:
        digest = stamps.file_digest(job.output)
        records = [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")]
    except (OSError, ValueError, RenderError):
        return False
    return any((r.get("output"), r.get("sha256")) == (job.output.name, digest) for r in records)


def _digest(outputs: Sequence[Path]) -> str:
    """One digest for all ``outputs``, which change when one of them does."""
    return hashlib.sha256("".join(stamps.file_digest(path) for path in outputs).encode()).hexdigest()


def _presets(jobs: Sequence[Job]) -> str:
    hashes = [job.preset.content_hash if job.preset else "" for job in jobs]
    return hashlib.sha256("".join(hashes).encode()).hexdigest()
