"""A whole plan, stem after stem: a failed one is told and the rest goes on; an interrupt ends it cleanly."""

import time
import traceback

from engine.errors import EngineError
from presets.errors import PresetError
from render import job as jobs
from render.errors import RenderError
from render.events import AlbumDone, AlbumStarted, OnEvent, StemFailed, StemSkipped, StemStarted
from render.job import Clock
from render.plan import Job, Plan, Unreadable


def run(plan: Plan, *, on_event: OnEvent, clock: Clock = time.monotonic) -> AlbumDone:
    """Render every job of ``plan`` in order, telling ``on_event`` all of it, and return how it ended.

    Jobs that are done are skipped. KeyboardInterrupt ends the batch: what is published stays, nothing else is left.
    """
    started, published, failed = clock(), 0, 0
    skipped = sum(job.done for job in plan.jobs)
    todo: list[Job | Unreadable] = sorted([*plan.jobs, *plan.unreadable], key=lambda entry: entry.index)
    interrupted = False
    work_s = sum((job.duration_s for job in plan.jobs if not job.done), 0.0)
    on_event(AlbumStarted(plan.title, len(todo), work_s, plan.estimate_s))
    try:
        for entry in todo:
            if isinstance(entry, Unreadable):
                on_event(StemFailed(entry.index, entry.title, entry.stem, entry.reason))
                failed += 1
            elif entry.done:
                on_event(StemSkipped(entry.index, entry.title, entry.output))
            elif _one(entry, on_event, clock):
                published += 1
            else:
                failed += 1
    except KeyboardInterrupt:
        interrupted = True
    done = AlbumDone(published, skipped, failed, clock() - started, interrupted)
    on_event(done)
    return done


def exit_code(done: AlbumDone) -> int:
    """0 when all is rendered, 1 when a stem failed, 130 when it was interrupted."""
    return 130 if done.interrupted else 1 if done.failed else 0


def _one(job: Job, on_event: OnEvent, clock: Clock) -> bool:
    on_event(StemStarted(job.index, job.title, job.stem, job.output, job.label, job.duration_s))
    try:
        result = jobs.render(job, on_event=on_event, clock=clock)
    # The worker boundary: one stem's unforeseen end must not take the others with it.
    except Exception as error:
        on_event(StemFailed(job.index, job.title, job.stem, _reason(error, job), traceback.format_exc()))
        return False
    on_event(result)
    return True


def _reason(error: Exception, job: Job) -> str:
    """Why a stem failed, in one line."""
    if isinstance(error, RenderError | EngineError | PresetError):
        reason = str(error)
    elif isinstance(error, OSError):
        reason = f"{job.output}: {error.strerror or error}"
    elif isinstance(error, MemoryError):
        reason = f"{job.stem} needs more memory than there is; split it, or use --quality draft"
    else:
        reason = f"unexpected {type(error).__name__}: {error} (--debug shows where)"
    return " ".join(reason.split())
