"""A whole plan, stem after stem or several side by side: a failed one is told and the rest goes on.

Stems that are rendered side by side share the batches their segments are solved in (`engine.together`). An interrupt
ends all of them cleanly.
"""

import threading
import time
import traceback
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

from engine import device as devices
from engine.errors import EngineError
from engine.together import Together
from presets.errors import PresetError
from render import job as jobs
from render.errors import RenderError
from render.events import AlbumDone, AlbumStarted, Event, OnEvent, StemFailed, StemSkipped, StemStarted
from render.job import Clock
from render.plan import Job, Plan, Unreadable

#: Stems side by side where a batch is worth filling; one on a CPU, which one stem keeps busy.
SIDE_BY_SIDE = 8


def run(plan: Plan, *, on_event: OnEvent, clock: Clock = time.monotonic, side_by_side: int | None = None) -> AlbumDone:
    """Render every job of ``plan``, telling ``on_event`` all of it, and return how it ended.

    ``side_by_side`` stems are rendered at once (None: as many as suit the device), begun in order; ``on_event`` is
    never called by two threads at a time. Jobs that are done are skipped. KeyboardInterrupt ends the batch: what is
    published stays, nothing else is left.
    """
    batch = _Batch(on_event, clock)
    started = clock()
    todo: list[Job | Unreadable] = sorted([*plan.jobs, *plan.unreadable], key=lambda entry: entry.index)
    work_s = sum((job.duration_s for job in plan.jobs if not job.done), 0.0)
    batch.tell(AlbumStarted(plan.title, len(todo), work_s, plan.estimate_s))
    interrupted = False
    try:
        many = side_by_side or _suited(plan)
        if many == 1:
            for entry in todo:
                batch.take(entry)
        else:
            batch.take_all(todo, many)
    except KeyboardInterrupt:
        interrupted = True
    skipped = sum(job.done for job in plan.jobs)
    done = AlbumDone(batch.published, skipped, batch.failed, clock() - started, interrupted)
    batch.tell(done)
    return done


def _suited(plan: Plan) -> int:
    kinds = {devices.pick(job.settings.device).type for job in plan.jobs if not job.done and job.styled}
    return SIDE_BY_SIDE if kinds and "cpu" not in kinds else 1


class _Batch:
    """What became of the stems so far."""

    def __init__(self, on_event: OnEvent, clock: Clock) -> None:
        self.published = self.failed = 0
        self.clock = clock
        self._on_event = on_event
        self._lock = threading.Lock()
        self._stopped = False
        self._together: dict[str, Together] = {}

    def tell(self, event: Event) -> None:
        """Hand on ``event``, one at a time."""
        with self._lock:
            self._on_event(event)

    def take_all(self, todo: list[Job | Unreadable], many: int) -> None:
        """Take ``many`` of ``todo`` at a time, each in a thread."""
        with ThreadPoolExecutor(many, "stem") as threads:
            try:
                futures = [threads.submit(self._unless_stopped, entry) for entry in todo]
                wait(futures, return_when=FIRST_EXCEPTION)
                for future in futures:
                    future.result()
            except BaseException:
                self._stop()
                raise

    def _unless_stopped(self, entry: Job | Unreadable) -> None:
        try:
            if not self._stopped:
                self.take(entry)
        except BaseException:
            self._stop()
            raise

    def _stop(self) -> None:
        """Begin no other stem, and end those under work at their next step."""
        self._stopped = True
        with self._lock:
            meetings = list(self._together.values())
        for together in meetings:
            together.stop()

    def take(self, entry: Job | Unreadable) -> None:
        """Render one stem, or say why not."""
        if isinstance(entry, Unreadable):
            self._count(failed=1)
            self.tell(StemFailed(entry.index, entry.title, entry.stem, entry.reason))
        elif entry.done:
            self.tell(StemSkipped(entry.index, entry.title, entry.output))
        else:
            self._render(entry)

    def _render(self, job: Job) -> None:
        self.tell(StemStarted(job.index, job.title, job.stem, job.output, job.label, job.duration_s))
        try:
            result = jobs.render(job, on_event=self.tell, clock=self.clock, together=self._meeting(job))
        # The worker boundary: one stem's unforeseen end must not take the others with it.
        except Exception as error:
            self._count(failed=1)
            self.tell(StemFailed(job.index, job.title, job.stem, _reason(error, job), traceback.format_exc()))
        else:
            self._count(published=1)
            self.tell(result)

    def _count(self, published: int = 0, failed: int = 0) -> None:
        with self._lock:
            self.published += published
            self.failed += failed

    def _meeting(self, job: Job) -> Together:
        """Where the stems of the same device meet."""
        device = devices.pick(job.settings.device)
        with self._lock:
            return self._together.setdefault(str(device), Together(devices.batch(device)))


def exit_code(done: AlbumDone) -> int:
    """0 when all is rendered, 1 when a stem failed, 130 when it was interrupted."""
    return 130 if done.interrupted else 1 if done.failed else 0


def _reason(error: Exception, job: Job) -> str:
    """Why a stem failed, in one line."""
    if isinstance(error, RenderError | EngineError | PresetError):
        reason = str(error)
    elif isinstance(error, OSError):
        reason = f"{job.output}: {error.strerror or error}"
    elif devices.ran_out(error):
        reason = f"{job.stem} needs more memory than there is; split it, or use --quality draft"
    else:
        reason = f"unexpected {type(error).__name__}: {error} (--debug shows where)"
    return " ".join(reason.split())
