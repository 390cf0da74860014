"""What a plugin file holds, found by loading it in a child once and kept in the user's cache until the file changes."""

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import platformdirs

from render import dials, pluginfiles, publish
from render.children import Child, Deadlines, PluginFault
from render.dials import Dial
from render.errors import PublishError

_VERSION = 1
_NOTHING_IN_IT = "holds no plugin that can be loaded here"


@dataclass(frozen=True)
class Scanned:
    """One plugin of a file; ``widths`` are the channels it plays at once, ``latency_samples`` is at 48 kHz."""

    name: str
    identifier: str
    maker: str
    version: str
    category: str
    instrument: bool
    widths: tuple[int, ...]
    latency_samples: int
    parameters: tuple[Dial, ...]

    def dial(self, name: str) -> Dial | None:
        """The parameter called ``name``: in snake case with its unit or without, or as the plugin writes it."""
        exact = next((dial for dial in self.parameters if dial.name == name), None)
        if exact is not None:
            return exact
        alike = [dial for dial in self.parameters if name in (dial.title, dials.snake(dial.title))]
        return alike[0] if len(alike) == 1 else None


@dataclass(frozen=True)
class Scan:
    """A plugin file: the plugins in it, the digest of its code, or the ``problem`` that kept them from being seen."""

    path: Path
    sha256: str
    plugins: tuple[Scanned, ...] = ()
    problem: str | None = None


def scan(path: Path, *, again: bool = False, deadlines: Deadlines | None = None) -> Scan:
    """What the plugin file at ``path`` holds, from the cache unless it changed or ``again`` is said."""
    path = path.absolute()
    try:
        identity = pluginfiles.identity(path)
        if not identity:
            return Scan(path, "", problem=_NOTHING_IN_IT)
        kept = None if again else _kept(path, identity)
        return kept or _keep(_scanned(path, (deadlines or Deadlines()).load_s), identity)
    except OSError as error:
        return Scan(path, "", problem=f"cannot be read: {error.strerror or error}")


def known(path: Path) -> bool:
    """Whether `scan` has its answer in the cache."""
    path = path.absolute()
    try:
        return _kept(path, pluginfiles.identity(path)) is not None
    except OSError:
        return False


def folder() -> Path:
    """Where scans are kept."""
    return Path(platformdirs.user_cache_dir("gramophone", appauthor=False)) / "plugins"


def _scanned(path: Path, within_s: float) -> Scan:
    sha256 = pluginfiles.digest(path)
    try:
        # A child of its own: a plugin that fails here must not take one along that is playing.
        child = Child()
        try:
            reply, _ = child.ask({"do": "scan", "path": str(path)}, within_s=within_s)
        finally:
            child.kill()
        plugins = tuple(_of_json(record) for record in reply["plugins"])
    except PluginFault as fault:
        return Scan(path, sha256, problem=f"{fault}, when it was looked at")
    return Scan(path, sha256, plugins, None if plugins else _NOTHING_IN_IT)


def _kept(path: Path, identity: pluginfiles.Identity) -> Scan | None:
    try:
        record = json.loads(_place(path).read_text(encoding="utf-8"))
        claimed = (record["version"], record["pedalboard"], record["path"], record["identity"])
        if claimed != (_VERSION, version("pedalboard"), str(path), [list(entry) for entry in identity]):
            return None
        plugins = tuple(_of_json(plugin) for plugin in record["plugins"])
        return Scan(path, record["sha256"], plugins, record["problem"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _keep(found: Scan, identity: pluginfiles.Identity) -> Scan:
    record = {
        "version": _VERSION,
        "pedalboard": version("pedalboard"),
        "path": str(found.path),
        "identity": identity,
        "sha256": found.sha256,
        "problem": found.problem,
        "plugins": [as_json(plugin) for plugin in found.plugins],
    }
    # Without a cache everything works, only slower.
    with suppress(PublishError, OSError):
        publish.write_text(_place(found.path), json.dumps(record, indent=1) + "\n")
    return found


def as_json(plugin: Scanned) -> dict[str, Any]:
    """``plugin`` as JSON."""
    return {
        **plugin.__dict__,
        "widths": list(plugin.widths),
        "parameters": [dials.as_json(dial) for dial in plugin.parameters],
    }


def _of_json(record: Mapping[str, Any]) -> Scanned:
    parameters = tuple(dials.of_json(dial) for dial in record["parameters"])
    return Scanned(**{**record, "widths": tuple(record["widths"]), "parameters": parameters})


def _place(path: Path) -> Path:
    return folder() / f"{hashlib.sha256(str(path).encode('utf-8', 'surrogateescape')).hexdigest()[:32]}.json"
