"""After the stems: sessions for DAWs and the report, each written whole or not at all, one failure sparing the rest."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from engine import audio
from engine.errors import EngineError
from render import publish, report, stamps
from render.delivery import Delivery
from render.errors import PublishError, RenderError
from render.events import AlbumDone, Event, Exported, ExportFailed, OnEvent, StemFailed, StemPublished, StemSkipped
from render.exports import aaf, dawproject, midi, rpp, session
from render.exports.session import Session
from render.plan import Plan

_WRITERS: Mapping[str, Callable[[Session, Path, Path], None]] = {
    "dawproject": dawproject.write,
    "rpp": rpp.write,
    "midi": midi.write,
    "aaf": aaf.write,
}


def run(plan: Plan, events: Iterable[Event], done: AlbumDone, *, on_event: OnEvent) -> None:
    """Write what ``plan`` delivers, telling ``on_event`` of each thing that it is there, or why it is not.

    Among ``events`` are those that ended each stem; stems that failed are left out of the sessions and named in the
    report.
    """
    delivery = plan.delivery
    if delivery is None:
        return
    ended = {event.index: event for event in events if isinstance(event, StemPublished | StemSkipped | StemFailed)}
    for kind in (*delivery.exports, *(["report"] if delivery.report else [])):
        path = delivery.paths[kind]
        try:
            if kind == "report":
                _report(plan, ended, done, delivery)
            else:
                what = _session(plan, ended, delivery)
                _put(delivery, kind, path, partial(_WRITERS[kind], what, path))
        # As at the batch's own boundary: what is rendered is rendered, whatever a project file's library trips over.
        except Exception as error:
            on_event(ExportFailed(kind, path, _reason(error, path)))
        else:
            on_event(Exported(kind, path))


def _session(plan: Plan, ended: Mapping[int, Event], delivery: Delivery) -> Session:
    jobs = [job for job in plan.jobs if isinstance(ended.get(job.index), StemPublished | StemSkipped)]
    if not jobs:
        raise RenderError("no stem was rendered")
    return session.compose(plan.title, jobs, originals=delivery.originals, reference_of=_start)


def _start(path: Path) -> int | None:
    return audio.read_annotations(path).start_samples


def _report(plan: Plan, ended: Mapping[int, Event], done: AlbumDone, delivery: Delivery) -> None:
    page, figures = delivery.paths["report"], delivery.paths["figures"]
    found = report.gather(plan, ended, done, report.earlier(figures))
    _put(delivery, "figures", figures, lambda part: _text(part, report.json_text(found, delivery.folder)))
    _put(delivery, "report", page, lambda part: _text(part, report.html(found, delivery.folder)))


def _text(part: Path, text: str) -> None:
    part.write_text(text, encoding="utf-8", errors="replace")


def _put(delivery: Delivery, kind: str, path: Path, write: Callable[[Path], Any]) -> None:
    with publish.partial(path) as part:
        write(part)
        if not delivery.may_replace(path):
            raise PublishError(f"{path} was changed while the stems were rendered; --overwrite replaces it")
        stamps.write(path, {"kind": kind}, part)
        publish.publish(part, path, overwrite=True)


def _reason(error: Exception, path: Path) -> str:
    if isinstance(error, RenderError | EngineError):
        text = str(error)
    elif isinstance(error, OSError):
        text = f"{path} cannot be written: {error.strerror or error}"
    else:
        text = f"unexpected {type(error).__name__}: {error}"
    return " ".join(text.split())
