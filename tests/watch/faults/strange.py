"""Starts the daemon with something about it, or about its workers, changed; what, the first argument says in JSON.

``wall`` sets the wall clock ``back`` or ``forward`` by days, twice a second. ``deaf`` lets no event
of the file system reach it. ``null`` gives it workers without an
engine (`null_worker.py`). ``patch`` changes something inside each worker, see `_PATCHES`. ``prefixes`` are command
lines that the first workers are started under, one for each; later ones are started plainly. ``deadline_s`` is what a
stem may take.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_DAYS_S = 1e6


def _shift_wall(direction: str) -> None:
    real, begun = time.time, time.monotonic()
    sign = {"back": -1.0, "forward": 1.0}[direction]
    time.time = lambda: real() + sign * _DAYS_S * ((time.monotonic() - begun) // 0.5)


def _no_memory() -> None:
    import torch

    from engine import style

    def restyle(*args: Any, **kwargs: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    style.restyle_stream = restyle


def _chain_step(does: str) -> Callable[[], None]:
    """Makes every built-in step of a chain do something else in the worker's own process."""

    def change() -> None:
        import numpy as np

        from render import host

        def call(step: Any, instance: Any, rows: Any, *rest: Any, **how: Any) -> Any:
            if does == "segfault":
                os.kill(os.getpid(), signal.SIGSEGV)
            elif does == "hang":
                time.sleep(3600)
            return rows[:, :0] if does == "short" else np.full_like(rows, np.nan)

        host._call = call

    return change


def _impatient() -> None:
    from render import children, hosting

    hosting.DEADLINES = children.Deadlines(load_s=30, block_s=1, times=1)


_PATCHES: dict[str, Callable[[], None]] = {
    "impatient": _impatient,
    "no-memory": _no_memory,
    **{f"chain-{does}": _chain_step(does) for does in ("segfault", "hang", "short", "nan")},
}


def _start_workers_with(strange: dict[str, Any]) -> None:
    import watch.daemon
    import watch.pool

    # What they import by name is theirs to replace.
    daemon: Any = watch.daemon
    pool: Any = watch.pool
    command = daemon.command

    def changed(library: Path | None, device: str, threads: int) -> list[str]:
        words: list[str] = command(library, device, threads)
        options = words[words.index("watch.worker") + 1 :]
        if strange.get("null"):
            return [sys.executable, "-P", str(Path(__file__).with_name("null_worker.py")), *options]
        if "patch" in strange:
            return [sys.executable, "-P", __file__, json.dumps({"as": strange["patch"]}), "worker", *options]
        return words

    daemon.command = changed
    if "deadline_s" in strange:
        short = pool.Deadlines(look_s=strange["deadline_s"], render_s=strange["deadline_s"], factor=0.0)
        daemon.deadlines = lambda settings: short
    prefixes = [list(words) for words in strange.get("prefixes", [])]
    if prefixes:
        child = pool.Child

        def started(command: list[str], *rest: Any) -> Any:
            return child([*(prefixes.pop(0) if prefixes else []), *command], *rest)

        pool.Child = started


def main() -> None:
    """Do as the arguments say."""
    strange = json.loads(sys.argv.pop(1))
    if "wall" in strange:
        _shift_wall(strange["wall"])
    if strange.get("deaf"):
        from watch.wake import Wake

        Wake._happened = lambda *paths: None  # type: ignore[method-assign]
    if sys.argv[1] == "worker":
        from watch import worker

        _PATCHES[strange["as"]]()
        sys.exit(worker.main(sys.argv[2:]))
    _start_workers_with(strange)
    from watch.cli import app

    app(prog_name="watch")


if __name__ == "__main__":
    main()
