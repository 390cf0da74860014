"""Signals set a flag and wake the main loop, which acts on it: nothing happens inside a handler."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass
class Wishes:
    """What was asked for by signals: ``stops`` counts the requests to end, ``now`` says that one was for at once."""

    stops: int = 0
    now: bool = False
    interrupted: bool = False
    reload: bool = False


@contextmanager
def listening(wake: Callable[[], None]) -> Iterator[Wishes]:
    """Note signals until the block is left: SIGTERM or SIGINT ends after what is under work, a second one at once.

    SIGHUP asks for settings to be read again. For the main thread only.
    """
    wishes = Wishes()

    def stop(number: int, frame: FrameType | None) -> None:
        wishes.stops += 1
        wishes.interrupted = wishes.interrupted or number == signal.SIGINT
        wishes.now = wishes.stops > 1
        wake()

    def reload(number: int, frame: FrameType | None) -> None:
        wishes.reload = True
        wake()

    handlers: dict[int, Callable[[int, FrameType | None], None]] = {signal.SIGTERM: stop, signal.SIGINT: stop}
    if hasattr(signal, "SIGHUP"):
        handlers[signal.SIGHUP] = reload
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield wishes
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
