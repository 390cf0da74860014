"""Places at which a test can stop or kill the process; each costs one look into the environment otherwise.

``GRAMOPHONE_BARRIER`` is ``NAME:ACTION``, several with commas between. Actions: ``kill`` ends the process by SIGKILL,
``die=PATH`` does so once, making ``PATH``, ``exit`` leaves with status 70, ``hang`` sleeps for good, ``deaf`` does so
without hearing an interrupt (``deaf=PATH`` makes ``PATH`` first), ``wait=PATH`` makes the empty file ``PATH.reached``
and goes on once ``PATH`` is there, ``error=ENOSPC`` raises that `OSError`, and ``error=ENOSPC=PATH`` as long as
``PATH`` is there. ``NAME@N`` acts the Nth time only, ``NAME%TEXT`` where ``TEXT`` is part of what is worked on.
"""

import errno
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

ENVIRONMENT = "GRAMOPHONE_BARRIER"
_POLL_S = 0.01
_seen: dict[str, int] = {}


def reach(name: str, what: str = "") -> None:
    """Say that the process is at ``name`` with ``what``; does nothing unless a test asked for something."""
    if ENVIRONMENT in os.environ:
        _act(name, what, os.environ[ENVIRONMENT])


def _act(name: str, what: str, wishes: str) -> None:
    _seen[name] = _seen.get(name, 0) + 1
    for wish in wishes.split(","):
        place, _, action = wish.strip().partition(":")
        place, _, nth = place.partition("@")
        place, _, part = place.partition("%")
        if place == name and part in what and (not nth or int(nth) == _seen[name]):
            _do(action)


def _do(action: str) -> None:
    what, _, argument = action.partition("=")
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action == "exit":
        os._exit(70)
    elif what in ("hang", "deaf"):
        while True:
            with suppress(*([KeyboardInterrupt] if what == "deaf" else [])):
                if argument:
                    Path(argument).touch()
                time.sleep(3600)
    elif what == "die":
        if not Path(argument).exists():
            Path(argument).touch()
            os.kill(os.getpid(), signal.SIGKILL)
    elif what == "error":
        name, _, path = argument.partition("=")
        if not path or Path(path).exists():
            number = getattr(errno, name)
            raise OSError(number, os.strerror(number))
    elif what == "wait":
        gate = Path(argument)
        Path(f"{gate}.reached").touch()
        while not gate.exists():
            time.sleep(_POLL_S)
    else:
        raise ValueError(f"{ENVIRONMENT} asks for {action!r}; expected kill, exit, hang, deaf, wait=PATH or error=NAME")
