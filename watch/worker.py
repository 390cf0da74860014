"""A worker: a fresh interpreter that holds the engine warm and renders one stem at a time for the daemon.

``python -m watch.worker``: requests come as lines on stdin, answers go as lines to stdout (`watch.protocol`). Both are
taken away at once, so that what a plugin prints lands on stderr. When stdin closes the daemon is gone, and so is the
worker: it stops what it does, leaves no temporary file, and after a few seconds' grace its process group is killed.
"""

import _thread
import argparse
import contextlib
import os
import signal
import sys
import threading
import time
from collections import deque
from pathlib import Path
from typing import BinaryIO

from watch import protocol
from watch.protocol import Answer, Ready, Recall, Returned, Stem

_GRACE_S = 3.0


class Answers:
    """The line to the daemon, for both threads."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._lock = threading.Lock()

    def send(self, record: Answer) -> None:
        """Send ``record``; a daemon that is gone hears nothing, and the end of stdin says so."""
        with self._lock, contextlib.suppress(OSError):
            self._file.write(protocol.line(record))
            self._file.flush()


class Mailbox:
    """Stems that wait for the worker, in order; filled by a thread that reads what the daemon sends."""

    def __init__(self, file: BinaryIO, answers: Answers) -> None:
        self._file, self._answers = file, answers
        self._waiting: deque[Stem] = deque()
        self._filled = threading.Condition()
        self._closed = self._busy = False

    def start(self) -> None:
        """Begin to read."""
        threading.Thread(target=self._read, name="mailbox", daemon=True).start()

    def take(self) -> Stem | None:
        """The next stem, when there is one; None when there will be none any more."""
        with self._filled:
            self._busy = False
            self._filled.wait_for(lambda: self._waiting or self._closed)
            if self._closed:
                return None
            self._busy = True
            return self._waiting.popleft()

    def _read(self) -> None:
        try:
            for text in self._file:
                self._hear(protocol.request(text))
        except (protocol.ProtocolError, OSError) as error:
            sys.stderr.write(f"worker: {error}\n")
        with self._filled:
            self._closed = True
            busy = self._busy
            self._filled.notify()
        if busy:
            _thread.interrupt_main()
        time.sleep(_GRACE_S)
        # Still here: stuck where no interrupt is heard.
        with contextlib.suppress(OSError, AttributeError):
            if os.getpgrp() == os.getpid():
                os.killpg(0, signal.SIGKILL)
        os._exit(1)

    def _hear(self, record: protocol.Request) -> None:
        with self._filled:
            if isinstance(record, Recall):
                recalled = list(self._waiting)
                self._waiting.clear()
            else:
                recalled = []
                self._waiting.append(record)
                self._filled.notify()
        for stem in recalled:
            self._answers.send(Returned(stem.id))


def main(arguments: list[str] | None = None) -> int:
    """Serve the daemon until it closes the pipe."""
    parser = argparse.ArgumentParser(prog="python -m watch.worker", description="A worker of gramophone watch.")
    parser.add_argument("--library", type=Path, help="the folder presets live in")
    parser.add_argument("--device", default="auto", help="where stems are rendered by default")
    parser.add_argument("--place", type=int, default=0, help="which worker this is; several GPUs have one each")
    parser.add_argument("--threads", type=int, default=0, help="threads of the engine; 0 leaves it to torch")
    chosen = parser.parse_args(arguments)
    requests, answers = _pipes()
    mailbox = Mailbox(requests, answers)
    mailbox.start()
    try:
        _serve(mailbox, answers, chosen)
    except KeyboardInterrupt:
        return 130
    return 0


def _serve(mailbox: Mailbox, answers: Answers, chosen: argparse.Namespace) -> None:
    import torch

    from presets.library import default_library
    from watch.rendering import Renderer

    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    devices = share_out(chosen.device, chosen.place)
    renderer = Renderer(default_library(chosen.library), chosen.device)
    shown = _warm(chosen.device)
    answers.send(Ready(f"{shown}:{chosen.place % devices}" if devices > 1 else shown, devices))
    while (stem := mailbox.take()) is not None:
        answers.send(renderer.render(stem, answers.send))


def share_out(device: str, place: int) -> int:
    """Let ``device``, where it may be any of several GPUs, be another one for the worker in each ``place``; how many.

    It keeps its name, so that what is rendered on one of them is recognised by the next.
    """
    import torch

    count = torch.cuda.device_count() if device in ("auto", "cuda") and torch.cuda.is_available() else 1
    if count > 1:
        torch.cuda.set_device(place % count)
    return max(1, count)


def _warm(device: str) -> str:
    """Have everything loaded that a first stem would wait for, and say on which device it will be rendered."""
    import torch

    from engine import device as devices
    from engine import style
    from engine.errors import DeviceError

    try:
        picked = devices.pick(device)
        noise = torch.randn(1, 2048, generator=torch.Generator().manual_seed(0)) * 0.1
        style.restyle(noise, 8000, style.Target("identity", {}, 8000, {}), style.Settings(device=picked.type))
    except DeviceError as error:
        return str(error)  # every stem will say so, and wait
    except Exception as error:
        if not devices.ran_out(error):
            raise
        return f"{device}, which has no memory left now"  # a stem may find some, or says so
    return str(picked)


def _pipes() -> tuple[BinaryIO, Answers]:
    """Take stdin and stdout away from everyone else: stdin becomes empty, stdout becomes stderr."""
    requests, answers = os.dup(0), os.dup(1)
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    os.dup2(2, 1)
    return os.fdopen(requests, "rb"), Answers(os.fdopen(answers, "wb"))


if __name__ == "__main__":
    sys.exit(main())
