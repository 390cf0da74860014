"""A step of a chain that is a plugin file: read, looked up and checked before any sound is touched.

Nothing here loads the plugin: `render.scans` knows what it takes, and `render.hosting` plays it in a child.
"""

import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from render import pluginfiles, scans
from render.dials import Dial, Setting
from render.errors import found, nearest
from render.plugins import PLUGINS
from render.scans import Scan, Scanned

KEYS = ("plugin", "plugin_name", "preset_file", "parameters", "latency_samples")
MAX_LATENCY_SAMPLES = 1 << 22
_MAX_STATE_BYTES = 1 << 28
Wrong = Callable[[str, str], None]


@dataclass(frozen=True)
class External:
    """A plugin of the file at ``path`` and how it is set up.

    ``sha256`` is of its code and ``values`` are what the chain sets, in the plugin's own units; ``preset_file`` is
    restored before they are. ``latency_samples`` is how late it is if it does not say so itself.
    """

    path: Path
    sha256: str
    plugin: Scanned
    several: bool
    values: Mapping[str, Setting]
    preset_file: Path | None = None
    latency_samples: int | None = None

    def record(self) -> dict[str, Any]:
        """What the sound depends on, as JSON, wherever the plugin lies; the preset file counts by its own digest."""
        return {
            "plugin_file": self.plugin.name,
            "version": self.plugin.version,
            "sha256": self.sha256,
            "parameters": dict(self.values),
            "preset_file": self.preset_file is not None,
            "latency_samples": self.latency_samples,
        }

    def width(self, channels: int) -> int | None:
        """How many of a stem's ``channels`` one instance plays; None when the plugin cannot play such a stem.

        A plugin that only plays two gets a single channel on both, and its sound is the mean of what comes back.
        """
        widths = self.plugin.widths
        return next((width for width in (channels, 1, 2) if width in widths), None)


def read(
    entry: Mapping[str, Any], key: str, *, folder: Path | None, wrong: Wrong, instrument: bool = False
) -> External | None:
    """The plugin file that the table ``entry`` names and sets up; None after ``wrong(key, message)`` for each mistake.

    Paths resolve against ``folder``; with None they must be absolute. ``instrument`` says which kind is expected.
    """
    looked = look(entry, key, folder=folder, wrong=wrong, built_ins=() if instrument else PLUGINS)
    if looked is None:
        return None
    scan, plugin = looked
    if plugin.instrument is not instrument:
        is_one, expected = ("an instrument", "an effect") if plugin.instrument else ("an effect", "an instrument")
        wrong(f"{key}.plugin", f"{plugin.name} is {is_one}; expected {expected} here")
        return None
    mistakes: list[str] = []

    def note(where: str, message: str) -> None:
        mistakes.append(where)
        wrong(where, message)

    for name_here in entry:
        if name_here not in KEYS:
            note(f"{key}.{name_here}", _unknown(str(name_here), plugin))
    values = _values(entry.get("parameters", {}), f"{key}.parameters", plugin, note)
    state = _state(entry.get("preset_file"), f"{key}.preset_file", folder, note)
    latency = entry.get("latency_samples")
    if latency is not None and not (
        isinstance(latency, int) and not isinstance(latency, bool) and 0 <= latency <= MAX_LATENCY_SAMPLES
    ):
        note(
            f"{key}.latency_samples", f"found {found(latency)}; expected a whole number from 0 to {MAX_LATENCY_SAMPLES}"
        )
    if mistakes:
        return None
    return External(scan.path, scan.sha256, plugin, len(scan.plugins) > 1, values, state, latency)


def look(
    entry: Mapping[str, Any], key: str, *, folder: Path | None, wrong: Wrong, built_ins: Iterable[str] = PLUGINS
) -> tuple[Scan, Scanned] | None:
    """The plugin that the table ``entry`` names, and the file it is in; None after what is ``wrong`` with that.

    ``built_ins`` are what else might have been meant.
    """
    name = entry.get("plugin")
    if not isinstance(name, str) or not name.strip():
        wrong(f"{key}.plugin", f"found {found(name)}; expected the path or the name of a plugin file")
        return None
    path = _path(name, f"{key}.plugin", folder, wrong, tuple(built_ins))
    if path is None:
        return None
    scan = scans.scan(path)
    if scan.problem is not None:
        again = "" if not scan.sha256 else " (gramophone chain plugins --rescan looks again)"
        wrong(f"{key}.plugin", f"{path} {scan.problem}; expected a VST3 that loads{again}")
        return None
    plugin = _chosen(scan, entry.get("plugin_name"), key, wrong)
    return None if plugin is None else (scan, plugin)


def _path(name: str, key: str, folder: Path | None, wrong: Wrong, built_ins: Sequence[str]) -> Path | None:
    suffix = Path(name).suffix.lower()
    if pluginfiles.looks_like_file(name) and suffix not in pluginfiles.SUFFIXES:
        expected = " or ".join(pluginfiles.SUFFIXES)
        wrong(key, f"found {found(name)}; expected a plugin file that ends in {expected} on this platform")
        return None
    path = pluginfiles.find(name, folder)
    if path is not None:
        return path
    if pluginfiles.is_path(name):
        home = pluginfiles.from_home(name)
        if folder is None and not home.is_absolute():
            wrong(
                key, f"found {found(name)}; expected an absolute path or a name, since a preset's chain has no folder"
            )
            return None
        place = ((folder or Path()) / home).parent
        near = nearest(Path(name).name, _names(place))
        wrong(key, f"{found(name)} is not there; expected the path of a plugin file{near}")
    else:
        places = ", ".join(str(folder) for folder in pluginfiles.folders())
        expected = f"one of {', '.join(built_ins)}, or " if built_ins else ""
        expected += f"the name of a plugin file in {places}"
        near = nearest(name, [*built_ins, *(path.stem for path in pluginfiles.installed())])
        wrong(key, f"no plugin is called {found(name)}; expected {expected}{near}")
    return None


def _names(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in folder.iterdir()]
    except (OSError, ValueError):
        return []


def _chosen(scan: Scan, name: object, key: str, wrong: Wrong) -> Scanned | None:
    names = [plugin.name for plugin in scan.plugins]
    if name is None:
        if len(names) == 1:
            return scan.plugins[0]
        message = f"is missing, and {scan.path.name} holds {len(names)} plugins; expected one of {', '.join(names)}"
    else:
        plugin = next((plugin for plugin in scan.plugins if plugin.name == name), None)
        if plugin is not None:
            return plugin
        near = nearest(name, names) if isinstance(name, str) else ""
        message = f"found {found(name)}; expected one of {', '.join(names)}{near}"
    wrong(f"{key}.plugin_name", message)
    return None


def _unknown(name: str, plugin: Scanned) -> str:
    dial = plugin.dial(name)
    if dial is not None:
        return f"no such key here; a parameter of a plugin file goes into parameters = {{ {dial.name} = … }}"
    return f"no such key here; expected one of {', '.join(KEYS)}{nearest(name, KEYS)}"


def _values(raw: object, key: str, plugin: Scanned, wrong: Wrong) -> dict[str, Setting]:
    if not isinstance(raw, Mapping):
        wrong(key, f"found {found(raw)}; expected a table like {{ {_example(plugin)} }}")
        return {}
    values: dict[str, Setting] = {}
    for name, value in raw.items():
        where, dial = f"{key}.{name}", plugin.dial(str(name))
        if dial is None:
            known = [dial.name for dial in plugin.parameters]
            shown = ", ".join(known[:40]) + (f" and {len(known) - 40} more" if len(known) > 40 else "")
            wrong(where, f"{plugin.name} has no such parameter; expected one of {shown or 'none'}{_near(name, plugin)}")
        elif not dial.takes(value):
            near = nearest(value, dial.words) if isinstance(value, str) else ""
            wrong(where, f"found {found(value)}; expected {dial.allowed}{near}")
        elif dial.name in values:
            wrong(where, f"sets {dial.name} a second time; expected each parameter once")
        else:
            values[dial.name] = _plain(dial, value)
    return values


def _plain(dial: Dial, value: Any) -> Setting:
    if dial.kind == "flag":
        return bool(value)
    return value if isinstance(value, str) else min(max(float(value), dial.low), dial.high)


def _near(name: object, plugin: Scanned) -> str:
    return nearest(str(name), [dial.name for dial in plugin.parameters])


def _example(plugin: Scanned) -> str:
    return f"{plugin.parameters[0].name} = …" if plugin.parameters else "name = value"


def _state(raw: object, key: str, folder: Path | None, wrong: Wrong) -> Path | None:
    if raw is None:
        return None
    if not isinstance(raw, str) or not raw.strip():
        wrong(key, f"found {found(raw)}; expected the path of a .vstpreset or of a plugin's raw state")
        return None
    path = pluginfiles.from_home(raw)
    if folder is None and not path.is_absolute():
        wrong(key, f"found {found(raw)}; expected an absolute path, since a preset's chain has no folder")
        return None
    path = ((folder or Path()) / path).absolute()
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            wrong(key, f"{path} is no file; expected a .vstpreset or a plugin's raw state")
            return None
        size = status.st_size
        with path.open("rb") as file:
            start = file.read(4)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        wrong(key, f"{path} cannot be read: {reason}{nearest(path.name, _names(path.parent))}")
        return None
    if not 0 < size <= _MAX_STATE_BYTES:
        wrong(key, f"{path} holds {size} bytes; expected a plugin's state of 1 to {_MAX_STATE_BYTES}")
        return None
    if path.suffix.lower() == ".vstpreset" and start != b"VST3":
        wrong(key, f"{path} is no VST3 preset; expected a file that begins with VST3")
        return None
    return path
