"""A training as it is watched: a bar with its losses, lines for what was kept, and Ctrl-C as a wish to stop."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from presets import listing
from presets.events import Event, OnEvent, Stepped, TrainingStarted

_LINES = 20  # without a terminal: lines in a training, first and last apart


@contextmanager
def drawing(console: Console) -> Iterator[OnEvent]:
    """A callback that draws events on ``console``: a moving bar on a terminal, a line now and then elsewhere."""
    bar = Progress(
        TextColumn("step"),
        MofNCompleteColumn(),
        BarColumn(),
        TextColumn("{task.fields[losses]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )
    with bar:
        yield _Drawn(console, bar)


class _Drawn:
    def __init__(self, console: Console, bar: Progress) -> None:
        self.console, self.bar = console, bar
        self.begun = 0
        self.losses: dict[str, float] = {}

    def __call__(self, event: Event) -> None:
        if isinstance(event, TrainingStarted):
            self.begun = event.done
            self.task = self.bar.add_task("", total=event.steps, completed=event.done, losses="")
        if isinstance(event, Stepped):
            self._step(event)
        elif line := listing.event_line(event):
            self.console.print(line, soft_wrap=True)

    def _step(self, event: Stepped) -> None:
        self.losses |= {name: value for name, value in vars(event.losses).items() if value is not None}
        said = "  ".join(f"{name} {value:.3f}" for name, value in self.losses.items())
        self.bar.update(self.task, completed=event.step, losses=said)
        apart = max(1, (event.steps - self.begun) // _LINES)
        if not self.console.is_terminal and (event.step - self.begun) % apart == 0:
            self.console.print(f"step {event.step}/{event.steps}  {said}", soft_wrap=True)


@contextmanager
def stopping() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C or SIGTERM has been heard, which end the step first; a second one does not wait for it.

    Outside of the main thread, where no signals arrive, nothing is heard.
    """
    heard = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield heard.is_set
        return

    def note(number: int, frame: FrameType | None) -> None:
        if heard.is_set():
            raise KeyboardInterrupt
        heard.set()

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield heard.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
