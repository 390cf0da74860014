"""What a measurement says while it runs: lines handed to a callback, never printed here."""

from collections.abc import Callable

from engine.events import Event, Iterate, OnEvent

OnStep = Callable[[str], None]


def tenths(title: str, on_step: OnStep) -> OnEvent:
    """A listener to a render that has a line to say at every tenth of its iterations."""
    said = 0

    def tell(event: Event) -> None:
        nonlocal said
        if isinstance(event, Iterate) and event.iteration * 10 // event.iterations > said:
            said = event.iteration * 10 // event.iterations
            on_step(f"{title} {event.iteration}/{event.iterations}")

    return tell
