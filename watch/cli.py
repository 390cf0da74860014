"""The ``watch`` commands: run, status, retry, pause, resume, init. What weighs is imported inside them."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from watch.ledger import Ledger

app = typer.Typer(
    name="watch",
    help="Watch a folder: what is dropped in is styled, whatever happens meanwhile.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

_PIPES = os.name != "nt"
FolderArgument = Annotated[Path, typer.Argument(help="The watched folder.", show_default=False)]
StateOption = Annotated[
    Path | None,
    typer.Option(
        "--state",
        help="Where ledger, lock and log are; on a local disk when FOLDER is on a network share. "
        "[default: FOLDER/.gramophone]",
        show_default=False,
    ),
]
LibraryOption = Annotated[
    Path | None,
    typer.Option(
        "--library", help="The folder presets live in. \\[default: $GRAMOPHONE_LIBRARY, or the user's data folder]"
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show the whole trace of an error.")]


@app.command()
def run(
    folder: FolderArgument,
    state: StateOption = None,
    poll: Annotated[
        bool | None,
        typer.Option(
            "--poll/--no-poll", help="Look for changes instead of being told: for network shares.", show_default=False
        ),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="auto, cpu, cuda, cuda:N or mps. \\[default: watch.toml's]", show_default=False)
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Stems at once. \\[default: watch.toml's, or one for each device]")
    ] = None,
    library: LibraryOption = None,
    once: Annotated[bool, typer.Option("--once", help="End when nothing is left to do.")] = False,
    grace: Annotated[
        float, typer.Option(min=0, help="Seconds that a first SIGTERM or Ctrl-C waits for stems under work.")
    ] = 30.0,
    json_logs: Annotated[bool, typer.Option("--json", help="Log JSON lines.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log every step.")] = False,
    debug: DebugOption = False,
) -> None:
    """Watch FOLDER and render what is dropped into it, until stopped.

    Exit code 75 when another daemon watches it already.
    """
    from watch.options import RunOptions

    options = RunOptions(
        state=state,
        poll=poll,
        device=device,
        workers=workers,
        library=library,
        once=once,
        grace_s=grace,
        json_logs=json_logs,
        verbose=verbose,
    )
    with _reporting(debug):
        _require_folder(folder)
        _require_pipes()
        from watch import daemon

        raise typer.Exit(daemon.run(folder, options))


@app.command()
def status(
    folder: FolderArgument,
    state: StateOption = None,
    everything: Annotated[
        bool, typer.Option("--all", "-a", help="List every stem, not the first of each kind.")
    ] = False,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Tell what waits, what is under work, what is done and what failed, and why."""
    with _reporting(debug):
        from watch import status as telling

        record = telling.record(folder, _state(folder, state), limit=None if everything else telling.LIMIT)
        if as_json:
            typer.echo(json.dumps(record, indent=2))
        else:
            typer.echo("\n".join(telling.lines(record)))


@app.command()
def retry(
    folder: FolderArgument,
    stem: Annotated[
        list[str] | None,
        typer.Argument(help="Stems to render anew, failed or done. \\[default: all that failed]", show_default=False),
    ] = None,
    state: StateOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Render stems again: those that failed, or any that is named. Exit code 1 when one of them cannot be."""
    with _reporting(debug):
        from watch import again, names

        waiting: list[str] = []
        left: list[tuple[str, str]] = []
        with _attached(folder, state) as ledger:
            chosen: list[str | None] = [again.matching(ledger, folder, name) for name in stem] if stem else [None]
            for relative in chosen:
                done = again.retry(folder, ledger, relative)
                waiting += done.waiting
                left += done.left
        if as_json:
            typer.echo(
                json.dumps({"waiting": waiting, "left": [{"stem": s, "reason": why} for s, why in left]}, indent=2)
            )
        else:
            for relative in waiting:
                _say(f"{names.shown(relative)} waits again")
            if not waiting and not left:
                _say("nothing failed")
        for relative, why in left:
            _error(names.shown(f"{relative}: {why}"))
        if left:
            raise typer.Exit(1)


@app.command()
def pause(
    folder: FolderArgument,
    reason: Annotated[str, typer.Option("--reason", help="Why; it is shown by status.")] = "by hand",
    state: StateOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Start no new stem until resume, also after a restart; what is under work is finished."""
    with _reporting(debug):
        with _attached(folder, state) as ledger:
            ledger.pause(reason)
        _tell(as_json, {"paused": reason}, "paused; gramophone watch resume goes on")


@app.command()
def resume(
    folder: FolderArgument, state: StateOption = None, as_json: JsonOption = False, debug: DebugOption = False
) -> None:
    """Go on after pause."""
    with _reporting(debug):
        with _attached(folder, state) as ledger:
            was = ledger.resume()
        _tell(as_json, {"paused": None, "was_paused": was}, "resumed" if was else "it was not paused")


@app.command()
def init(
    folder: FolderArgument,
    preset: Annotated[
        list[str] | None,
        typer.Option(
            "--preset", "-p", help="A preset or blend to make a folder for; repeatable. \\[default: the library's]"
        ),
    ] = None,
    state: StateOption = None,
    library: LibraryOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Make FOLDER ready: a commented watch.toml, a folder for each preset, and files that start its daemon at login.

    What is there already stays as it is.
    """
    with _reporting(debug):
        from watch import names
        from watch.setup import set_up

        chosen = preset if preset else _presets(library)
        done = set_up(folder, chosen, state=state, library=library)
        unknown = _unknown(preset or [], library)
        if as_json:
            record = {"made": [str(p) for p in done.made], "kept": [str(p) for p in done.kept], "start": done.start}
            record["unknown"] = unknown
            typer.echo(json.dumps(record, indent=2))
            return
        for path in done.made:
            _say(f"made {names.shown(str(path))}")
        for path in done.kept:
            _say(f"kept {names.shown(str(path))}, which was there")
        if not chosen:
            _say(
                "no folder for a preset: the library is empty; learn one with gramophone preset learn, then init again"
            )
        for name in unknown:
            _say(f"no preset or blend is called {names.shown(name)} yet: stems in that folder wait until it is learnt")
        _say(f"now:            gramophone watch run {names.shown(str(folder))}")
        _say(f"at every login: {names.shown(done.start)}")


def _presets(library: Path | None) -> list[str]:
    """The presets of the library that have a name a folder can have."""
    from presets.library import default_library
    from watch.names import passed_over

    entries = default_library(library).list()
    return [entry.name for entry in entries if entry.problem is None and not passed_over(entry.name, top=True)]


def _unknown(chosen: list[str], library: Path | None) -> list[str]:
    """Those of ``chosen`` that the library does not have."""
    from presets.library import default_library
    from watch.lookup import Lookup

    lookup = Lookup(default_library(library))
    return [name for name in chosen if lookup.named(name) is None]


def _require_pipes() -> None:
    """Workers are listened to through pipes that can be waited for together, which Windows has none of."""
    from watch.errors import WatchError

    if not _PIPES:
        raise WatchError("a folder is watched on Linux and macOS; on Windows, run this in WSL (render works there too)")


def _require_folder(folder: Path) -> None:
    from watch.errors import WatchError

    try:
        there = folder.is_dir()
        what = "is no folder" if folder.exists() else "is not there"
    except OSError as error:
        raise WatchError(f"{folder} cannot be looked at: {error.strerror or error}") from error
    if not there:
        raise WatchError(f"{folder} {what}; name a folder to watch, or make one with: gramophone watch init {folder}")


def _state(folder: Path, state: Path | None) -> Path:
    from watch.options import state_folder

    if state is None:
        _require_folder(folder)
    return state_folder(folder, state)


@contextmanager
def _attached(folder: Path, state: Path | None) -> "Iterator[Ledger]":
    from watch import ledgerfile
    from watch.ledger import Ledger

    with Ledger.attach(_state(folder, state) / ledgerfile.NAME) as ledger:
        yield ledger


@contextmanager
def _reporting(debug: bool) -> Iterator[None]:
    """A red line for every mistake a user can make, and its exit code; the trace with ``debug``."""
    from presets.errors import PresetError
    from watch.errors import WatchError
    from watch.lock import Locked
    from watch.options import EXIT_LOCKED

    try:
        yield
    except (PresetError, WatchError) as error:
        if debug:
            raise
        for line in str(error).splitlines() or [""]:
            _error(line)
        raise typer.Exit(EXIT_LOCKED if isinstance(error, Locked) else 2) from None
    except KeyboardInterrupt:
        if debug:
            raise
        _console(stderr=True).print("interrupted; what was under work is done again at the next start", style="yellow")
        raise typer.Exit(130) from None


def _tell(as_json: bool, record: dict[str, Any], line: str) -> None:
    if as_json:
        typer.echo(json.dumps(record))
    else:
        _say(line)


def _say(line: str) -> None:
    _console().print(line, markup=False, soft_wrap=True)


def _error(line: str) -> None:
    from rich.text import Text

    from watch.names import shown

    _console(stderr=True).print(Text.assemble(("error: ", "bold red"), shown(line)), soft_wrap=True)


def _console(*, stderr: bool = False) -> "Console":
    from rich.console import Console

    return Console(stderr=stderr, highlight=False)
