"""What a person may say about a daemon when starting it."""

from dataclasses import dataclass
from pathlib import Path

#: Exit code when another daemon watches the folder already (EX_TEMPFAIL: trying later may work).
EXIT_LOCKED = 75


@dataclass(frozen=True)
class RunOptions:
    """How to run: where the ``state`` goes (the folder's own when None), how to look, and how to work.

    ``device``, ``workers`` and ``poll`` win over watch.toml where they are given. With ``once`` the daemon ends when
    nothing is left to do. ``grace_s`` is how long a first SIGTERM waits for stems under work.
    """

    state: Path | None = None
    poll: bool | None = None
    device: str | None = None
    workers: int | None = None
    library: Path | None = None
    once: bool = False
    grace_s: float = 30.0
    json_logs: bool = False
    verbose: bool = False


def state_folder(folder: Path, state: Path | None = None) -> Path:
    """Where the ledger, lock and log of ``folder`` are: ``state`` when given, else inside it, hidden."""
    return state if state is not None else folder / ".gramophone"
