"""Plugin files: the folders in which a platform keeps them, one by its name or path, and whether it has changed."""

import hashlib
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath

VARIABLE = "GRAMOPHONE_PLUGIN_PATH"
SUFFIXES = (".vst3", ".component") if sys.platform == "darwin" else (".vst3",)
_OF_PLUGINS = frozenset({".vst3", ".component", ".vst", ".clap", ".lv2", ".so", ".dll", ".dylib"})
_DEPTH = 3
_MOST_FILES = 2_000
Identity = tuple[tuple[str, int, int], ...]


def folders(name: str = sys.platform, environ: Mapping[str, str] = os.environ) -> list[Path]:
    """Where plugins are looked for, in order: ``GRAMOPHONE_PLUGIN_PATH``, the user's folders, the machine's.

    ``name`` is the system's as `sys.platform` has it.
    Source: VST 3 Developer Portal, Plug-in Format Structure, Locations Format.
    """
    own = [Path(part) for part in environ.get(VARIABLE, "").split(os.pathsep) if part]
    home = from_home("~")
    if name == "darwin":
        kept = Path("Library/Audio/Plug-Ins")
        return own + [root / kept / kind for root in (home, Path("/")) for kind in ("VST3", "Components")]
    if name == "win32":
        local, shared = environ.get("LOCALAPPDATA"), environ.get("COMMONPROGRAMFILES", r"C:\Program Files\Common Files")
        places = [Path(local, "Programs", "Common", "VST3")] if local else []
        return [*own, *places, Path(shared, "VST3")]
    return [*own, home / ".vst3", Path("/usr/local/lib/vst3"), Path("/usr/lib/vst3")]


def installed() -> list[Path]:
    """Every plugin file in `folders` and the folders within them, in order; of one name the first counts."""
    found: dict[str, Path] = {}
    for folder in folders():
        for path in _within(folder, _DEPTH):
            found.setdefault(path.name.casefold(), path)
    return sorted(found.values(), key=lambda path: path.name.casefold())


def find(name: str, folder: Path | None) -> Path | None:
    """The plugin file called ``name``: a path (from ``folder``, or None), or a name with or without its suffix."""
    path = from_home(name)
    if is_path(name) or path.suffix.lower() in SUFFIXES:
        if folder is not None or path.is_absolute():
            there = (folder or Path()) / path
            if _exists(there):
                return there
        if is_path(name):
            return None
    wanted = name.casefold()
    there_all = installed()
    exact = [p for p in there_all if name in (p.stem, p.name)]
    return next(iter(exact or [p for p in there_all if wanted in (p.stem.casefold(), p.name.casefold())]), None)


def from_home(name: str) -> Path:
    """``name`` as a path, a ``~`` at its start being the home of whom it means, if anybody."""
    try:
        return Path(os.path.expanduser(name))  # noqa: PTH111 - Path raises for a stranger's home
    except ValueError:  # a name that nobody can have
        return Path(name)


def is_path(name: str) -> bool:
    """Whether ``name`` can only be a path."""
    return "/" in name or "\\" in name


def looks_like_file(name: str) -> bool:
    """Whether ``name`` is a path or ends as plugin files do."""
    return is_path(name) or PurePath(name).suffix.lower() in _OF_PLUGINS


def identity(path: Path) -> Identity:
    """The name, size and time of change of each file in the plugin at ``path``; `OSError` when it cannot be read."""
    files = sorted(_files(path))
    status = [(file, file.stat()) for file in files]
    return tuple((file.relative_to(path).as_posix(), s.st_size, s.st_mtime_ns) for file, s in status)


def digest(path: Path) -> str:
    """The sha256 of the code in the plugin at ``path``: of the file, or of what its bundle holds beside resources."""
    found = hashlib.sha256()
    for file in sorted(_files(path)):
        inner = file.relative_to(path)
        if "Resources" in inner.parts:
            continue
        found.update(inner.as_posix().encode() + b"\0")
        with file.open("rb") as opened:
            while block := opened.read(1 << 20):
                found.update(block)
    return found.hexdigest()


def _within(folder: Path, depth: int) -> Iterator[Path]:
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return
    for entry in entries:
        if entry.suffix.lower() in SUFFIXES:
            yield entry
        elif depth > 1 and not entry.name.startswith(".") and _is_folder(entry):
            yield from _within(entry, depth - 1)


def _files(path: Path) -> Iterator[Path]:
    """The files of the plugin at ``path``, and nothing that is none: a pipe would be read for ever."""
    if not path.is_dir():
        if path.is_file():
            yield path
        return
    # Resources may be a library of samples; what changes with a plugin is its code, and its folders with them.
    count = 0
    for root, inner, names in os.walk(path):
        inner[:] = sorted(name for name in inner if name != "Resources")
        for name in sorted(names):
            count += 1
            if count > _MOST_FILES:
                return
            if (file := Path(root, name)).is_file():
                yield file


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False
