"""Setting up a watched folder: a commented config, a folder for each preset, and files that start its daemon."""

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from render import pluginfiles
from watch import names, units
from watch.errors import WatchError
from watch.options import state_folder

CONFIG: Final = """\
# What is dropped into the folders here is styled by gramophone watch; the outputs come to _out.
# Everything below is a default for all folders; each may have a watch.toml of its own, and a stem called vox.wav a
# vox.toml beside it that holds for it alone.  What is commented out is what holds anyway.

# preset = "tape"          # without it, a folder's name is its preset or blend: tape, tape70-choir30
# amount = 1.0             # 0 is the stem itself, 1 the full style
# mix = 1.0                # the part of the styled stem in the output, the rest is the stem
# quality = "standard"     # draft, standard or fine
# seed = 0
# template = "{folder}/{stem}"   # how an output is called
# out = "_out"             # where outputs go; a path of its own, on another disk if you like
# bit_depth = "source"     # or 16, 24, "32f"
# format = "source"        # or "wav", "aiff", "flac"

# after = "keep"           # the stem, once its output is safe: keep it, move it to _done, or delete it
# failed = "move"          # a stem that cannot be rendered: move it to _failed, or keep it
# settle_s = 2.0           # a stem is taken when it has not changed for so many seconds
# rescan_s = 10            # everything is looked at so often, whatever the system reports
# poll = false             # true where the system reports nothing: network shares
# device = "auto"          # cpu, cuda, cuda:1 or mps: where stems are rendered
# workers = 1              # stems at once; without it one, or with several GPUs one for each
# attempts = 3             # how often a stem is tried that brings its worker down
# deadline_factor = 1.0    # stretches the time a stem may take
# min_free_mb = 500        # work pauses while less is free where outputs go

# [[chain]]                # effects after the style, as many tables as there are effects
# plugin = "compressor"
# threshold_db = -18
"""


@dataclass(frozen=True)
class SetUp:
    """What was made, what was there already and stayed as it is, and the command that starts the daemon at login."""

    made: tuple[Path, ...]
    kept: tuple[Path, ...]
    start: str


def set_up(
    folder: Path,
    presets: Sequence[str],
    *,
    state: Path | None = None,
    library: Path | None = None,
    environ: Mapping[str, str] | None = None,
    platform: str = sys.platform,
) -> SetUp:
    """Make what is missing of ``folder``, its folders called ``presets`` and its service files.

    Files and folders that are there stay as they are. `WatchError` when something cannot be made.
    """
    folder = folder.absolute()
    made: list[Path] = []
    kept: list[Path] = []
    try:
        for place in [folder, *(folder / _folder_name(name) for name in presets)]:
            (kept if place.is_dir() else made).append(place)
            place.mkdir(parents=True, exist_ok=True)
        keeping = state_folder(folder, state).absolute()
        keeping.mkdir(parents=True, exist_ok=True)
        _write(folder / names.CONFIG, CONFIG.encode(), made, kept)
        unit, plist = keeping / f"{units.label(folder)}.service", keeping / f"{units.label(folder)}.plist"
        command = daemon_command(folder, state=state, library=library)
        variables = _variables(os.environ if environ is None else environ, library)
        _write(unit, units.systemd_unit(command, folder, environ=variables).encode(), made, kept)
        log = keeping / "launchd.log"
        _write(plist, units.launchd_plist(command, folder, log, environ=variables), made, kept)
    except OSError as error:
        raise WatchError(f"{error.filename or folder} cannot be made: {error.strerror or error}") from error
    return SetUp(tuple(made), tuple(kept), _start(unit, plist, platform))


def daemon_command(folder: Path, *, state: Path | None = None, library: Path | None = None) -> list[str]:
    """The command line that runs the daemon of ``folder`` from anywhere, with absolute paths."""
    script = Path(sys.executable).with_name("gramophone")
    # -P: a folder called watch where the service starts must not be taken for this package.
    program = [str(script), "watch"] if script.is_file() else [sys.executable, "-P", "-m", "watch"]
    command = [*program, "run", str(folder.absolute())]
    if state is not None:
        command += ["--state", str(state.absolute())]
    if library is not None:
        command += ["--library", str(library.absolute())]
    return command


def _folder_name(preset: str) -> str:
    if names.passed_over(preset, top=True) or "/" in preset or "\\" in preset or preset in ("", ".", ".."):
        raise WatchError(
            f"a folder called {preset!r} is never watched; name another, with a watch.toml in it: preset = {preset!r}"
        )
    return preset


def _variables(environ: Mapping[str, str], library: Path | None) -> dict[str, str]:
    """The library and the plugin folders that this shell has chosen are those that the service is to use."""
    found = {}
    chosen = environ.get("GRAMOPHONE_LIBRARY")
    if chosen and library is None:
        found["GRAMOPHONE_LIBRARY"] = os.path.abspath(chosen)  # noqa: PTH100 text
    if folders := [part for part in environ.get(pluginfiles.VARIABLE, "").split(os.pathsep) if part]:
        found[pluginfiles.VARIABLE] = os.pathsep.join(os.path.abspath(part) for part in folders)  # noqa: PTH100 text
    return found


def _write(path: Path, data: bytes, made: list[Path], kept: list[Path]) -> None:
    try:
        with path.open("xb") as file:
            file.write(data)
    except FileExistsError:
        kept.append(path)
    else:
        made.append(path)


def _start(unit: Path, plist: Path, platform: str) -> str:
    if platform == "darwin":
        return f"launchctl bootstrap gui/$(id -u) {shlex.quote(str(plist))}"
    return f"systemctl --user enable --now {shlex.quote(str(unit))}"
