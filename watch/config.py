"""How each stem is rendered: its sidecar over the watch.toml of each folder above it, the nearest first.

Nothing here fails a stem. What is wrong comes back as a `ConfigProblem` with every mistake, and the stem waits. All of
it is read again when it has changed, so that a mended file is enough.
"""

import hashlib
import json
import os
import stat
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import tomli

from presets import names as preset_names
from presets import resolve
from presets.errors import PresetError
from presets.library import Library
from render.errors import Mistake, found
from watch import names, tables
from watch.scan import Snapshot
from watch.tables import Checked, DaemonConfig, Level

MAX_BYTES = 1_000_000
_MAX_KEPT = 4_096
_PRESETS_KEPT_S = 1.0
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


@dataclass(frozen=True)
class StemConfig:
    """How one stem is rendered, or an album, whose sound is said by its manifest alone.

    ``settings`` are `render.choices.Choices`; ``chain`` are tables as in a manifest with absolute paths in them, None
    for the preset's own. The output is ``place`` below the folder ``out``, its ending still to come; for an album it is
    a folder. ``after`` is keep, move or delete and ``failed`` is move or keep: what becomes of the source. ``label``
    names the preset or blend. ``key`` is the same as long as the same stem and presets give the same bytes.
    """

    settings: Mapping[str, Any]
    chain: tuple[Mapping[str, Any], ...] | None
    out: Path
    place: PurePosixPath
    after: str
    failed: str
    label: str
    key: str


@dataclass(frozen=True)
class ConfigProblem:
    """Why a stem has to wait: everything that is wrong with what says how it is rendered."""

    mistakes: tuple[Mistake, ...]

    @property
    def reason(self) -> str:
        """The mistakes, a line for each."""
        return "\n".join(str(mistake) for mistake in self.mistakes)


@dataclass(frozen=True)
class _Layer:
    """One file that was read: ``folder`` holds it, ``name`` is its path as messages show it."""

    level: Level
    folder: str
    name: str
    checked: Checked


@dataclass
class _Work:
    """What is being put together for one stem, and what was wrong on the way."""

    relative: str
    layers: list[_Layer]
    mistakes: list[Mistake] = field(default_factory=list)

    def nearest(self, key: str) -> tuple[Any, _Layer | None]:
        return next(((layer.checked.values[key], layer) for layer in self.layers if key in layer.checked.values), _NONE)


_NONE: tuple[None, None] = (None, None)


class Configs:
    """The files that say how stems below ``root`` are rendered, with presets looked up by name in ``library``.

    Without a library every name that a preset may have is taken for one. ``clock`` says, in seconds, when to ask the
    library again.
    """

    def __init__(
        self, root: Path, library: Library | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.root = root
        self._library = library
        self._clock = clock
        self._read: dict[str, tuple[Snapshot, Checked]] = {}
        self._asked: dict[str, str | None] = {}
        self._asked_at = clock()

    def daemon(self) -> tuple[DaemonConfig, tuple[Mistake, ...]]:
        """What holds for the daemon as a whole, as far as it is as it should be, and what is wrong in that file."""
        layer = self._layer("", names.CONFIG, "root")
        if layer is None:
            return DaemonConfig(), ()
        chosen = {key: value for key, value in layer.checked.values.items() if key in tables.DAEMON}
        return DaemonConfig(**chosen), layer.checked.mistakes

    def outputs(self, folders: Iterable[str]) -> frozenset[Path]:
        """The output folders inside the watched one that the watch.toml of each of ``folders`` names: never inputs."""
        inside = set()
        for folder in folders:
            layer = self._layer(folder, names.CONFIG, "folder" if folder else "root")
            if layer and "out" in layer.checked.values:
                out = self._out(layer, _Work("", []))
                if out is not None and _within(self.root, out):
                    inside.add(out)
        return frozenset(inside)

    def for_stem(self, relative: str) -> StemConfig | ConfigProblem:
        """How the stem, or album, at ``relative`` is rendered; reads again whatever file changed on the way."""
        album = names.is_album(relative)
        work = _Work(relative, self._layers(relative, album))
        for layer in work.layers:
            work.mistakes += layer.checked.mistakes
        _, outer = work.nearest("out")
        out = self._out(outer, work) if outer else self.root / names.OUT
        settings, label, chain = ({}, "", None) if album else self._sound(work)
        if work.mistakes or out is None:
            return ConfigProblem(tuple(dict.fromkeys(work.mistakes)))
        folder = names.folder_of(relative)
        if album:
            place = names.folder_place(folder)
        else:
            template = names.parse_template(work.nearest("template")[0] or names.TEMPLATE)
            values = {"folder": folder, "stem": PurePosixPath(relative).stem, "preset": label or "dry"}
            chosen = {"quality": settings.get("quality", "standard"), "seed": settings.get("seed", 0)}
            place = names.output(template, values | chosen)
        return StemConfig(
            settings=settings,
            chain=chain,
            out=out,
            place=place,
            after=work.nearest("after")[0] or "keep",
            failed=work.nearest("failed")[0] or "move",
            label=label,
            key=_key(settings, chain),
        )

    def _layers(self, relative: str, album: bool) -> list[_Layer]:
        beside = None if album else names.sidecar(relative)
        places: list[tuple[str, str, Level]] = []
        if beside:
            places.append((names.folder_of(beside), PurePosixPath(beside).name, "sidecar"))
        places += [(folder, names.CONFIG, "folder" if folder else "root") for folder in names.folders_above(relative)]
        return [layer for place in places if (layer := self._layer(*place))]

    def _layer(self, folder: str, name: str, level: Level) -> _Layer | None:
        relative = f"{folder}/{name}" if folder else name
        checked = self._checked(relative, level)
        return None if checked is None else _Layer(level, folder, relative, checked)

    def _checked(self, relative: str, level: Level) -> Checked | None:
        """What the file at ``relative`` says; None when there is none."""
        try:
            now = os.lstat(self.root / relative)
            kept = self._read.get(relative)
            if kept and kept[0] == Snapshot.of(now):
                return kept[1]
            self._read.pop(relative, None)
            if not stat.S_ISREG(now.st_mode):
                return Checked(
                    {}, (Mistake(relative, "", "is no file of its own; expected a file, and no link to one"),)
                )
            snapshot, text = _text(self.root / relative)
        except FileNotFoundError:
            self._read.pop(relative, None)
            return None
        except OSError as error:
            return Checked({}, (Mistake(relative, "", f"cannot be read: {error.strerror or error}"),))
        checked = _parse(text, relative, level)
        if len(self._read) >= _MAX_KEPT:
            self._read.clear()
        # A file that is written to while it is read has another snapshot next time, and is read again.
        self._read[relative] = (snapshot, checked)
        return checked

    def _sound(self, work: _Work) -> tuple[dict[str, Any], str, tuple[Mapping[str, Any], ...] | None]:
        settings = {
            key: value
            for key in tables.SOUND
            if key not in ("preset", "chain") and (value := work.nearest(key)[0]) is not None
        }
        preset, label = self._preset(work, settings.get("amount") == 0)
        if preset is not None:
            settings["preset"] = preset
        raw, layer = work.nearest("chain")
        if layer is None:
            return settings, label, None

        def whole(key: str, path: str) -> str:
            place = self._inside(layer, key, path, work)
            if place is not None and not _is_file(place):
                work.mistakes.append(Mistake(layer.name, key, f"found {found(path)}; there is no such file"))
            return os.fspath(place) if place else path

        return settings, label, tuple(tables.with_files(raw, whole))

    def _preset(self, work: _Work, dry: bool) -> tuple[str | dict[str, float] | None, str]:
        """The preset as `Choices` take it, and its label: of a nearer file, the folder's name, the root's file."""
        value, layer = work.nearest("preset")
        folder = work.relative.partition("/")[0] if "/" in work.relative else ""
        named: str | None = None
        if folder and (layer is None or layer.level == "root"):
            named = self.named(folder)
        if named is not None:
            return named, resolve.parse(named).label
        if layer is None:
            if not dry and not any(m.key == "preset" for m in work.mistakes):
                work.mistakes.append(self._unnamed(folder))
            return None, ""
        parts: dict[str, float] = {}
        spec = resolve.parse(value)
        for part in spec.parts:
            name = part.preset
            if preset_names.is_path(name):
                place = self._inside(layer, "preset", name, work)
                name = os.fspath(place) if place else name
            elif problem := self._missing(name):
                work.mistakes.append(Mistake(layer.name, "preset", problem))
            parts[name] = part.weight
        # A path may hold what separates the parts of a blend in a text.
        plain = len(parts) == 1 and not preset_names.is_path(next(iter(parts)))
        return (next(iter(parts)) if plain else parts), spec.label

    def named(self, folder: str) -> str | None:
        """The preset or blend that a folder called ``folder`` is named after, as `resolve.parse` reads it, or None.

        ``tape``, ``tape:0.7,choir:0.3`` and, for systems whose names hold no colon, ``tape70-choir30``.
        """
        whole = preset_names.composed(folder)
        for text in (whole, *(",".join(f"{n}:{w}" for n, w in blend.items()) for blend in names.blends(whole))):
            try:
                parts = resolve.parse(text).parts
            except PresetError:
                continue
            if not any(preset_names.is_path(part.preset) or self._missing(part.preset) for part in parts):
                return text
        return None

    def _missing(self, name: str) -> str | None:
        """Why there is no preset called ``name``, or None when there is one."""
        if self._library is None:
            return None
        now = self._clock()
        if now - self._asked_at > _PRESETS_KEPT_S:
            self._asked.clear()
            self._asked_at = now
        if name not in self._asked:
            try:
                self._library.find(name)
                self._asked[name] = None
            except PresetError as error:
                self._asked[name] = str(error)
        return self._asked[name]

    def _unnamed(self, folder: str) -> Mistake:
        remedy = 'write preset = "NAME" in its watch.toml'
        if not folder:
            remedy = 'put the stem into a folder named after a preset, or write preset = "NAME" in a watch.toml'
            return Mistake("", "", f"no preset is said; {remedy}")
        try:
            missing = self._missing(preset_names.validated(folder))
        except PresetError:
            missing = None
        what = missing or f"no preset is called {folder!r}"
        return Mistake(folder, "", f"{what}; name the folder after a preset or a blend (tape70-choir30), or {remedy}")

    def _out(self, layer: _Layer, work: _Work) -> Path | None:
        """The output folder that ``layer`` names, or None and a mistake."""
        text = layer.checked.values["out"]
        place = self._inside(layer, "out", text, work, outside=layer.level == "root")
        if place is None:
            return None
        home = _real(self.root / layer.folder)
        problem = None
        if _within(place, home) or _within(place, _real(self.root)):
            problem = "holds the stems; expected a folder for outputs alone"
        elif _within(_real(self.root), place):
            inner = PurePosixPath(names.relative(_real(self.root), place)).parts
            if inner[0] in (names.FAILED, names.DONE, names.STATE):
                problem = "is kept for other things; expected a folder for outputs alone"
            elif len(inner) == 1 and not inner[0].startswith("_") and self._takes(inner[0]):
                problem = "holds stems, by its name; expected a folder for outputs alone"
            elif os.path.lexists(place / names.CONFIG):
                problem = f"holds stems, by its {names.CONFIG}; expected a folder for outputs alone"
        if problem:
            work.mistakes.append(Mistake(layer.name, "out", f"found {found(text)}, which {problem}"))
            return None
        return place

    def _takes(self, folder: str) -> bool:
        return self._library is not None and self.named(folder) is not None

    def _inside(self, layer: _Layer, key: str, text: str, work: _Work, *, outside: bool = True) -> Path | None:
        """The path that ``text`` in ``layer`` means, links resolved; None and a mistake when it may not be used.

        A relative one never leaves the watched folder, neither by .. nor by a link. A full one is somebody's word and
        may lead elsewhere, unless it stands in a sidecar, which comes with the stem, or ``outside`` is not allowed.
        """
        try:
            path = Path(os.path.expanduser(text))  # noqa: PTH111 - Path raises for a stranger's home
            place = _real(self.root / layer.folder / path)
            if _within(_real(self.root), place) or (path.is_absolute() and outside and layer.level != "sidecar"):
                return place
            where = "expected a path inside it"
            if layer.level != "sidecar" and not path.is_absolute() and outside:
                where += ", or a full one"
            message = f"found {found(text)}, which leads out of the watched folder; {where}"
        except (OSError, ValueError, RuntimeError) as error:
            message = f"found {found(text)}; no path: {getattr(error, 'strerror', None) or error}"
        work.mistakes.append(Mistake(layer.name, key, message))
        return None


def _text(path: Path) -> tuple[Snapshot, bytes]:
    """The file at ``path``, or as much of it as shows that it is too large; never waits for a pipe's other end."""
    descriptor = os.open(path, os.O_RDONLY | _NO_FOLLOW)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(0, "it is no file any more")
        return Snapshot.of(status), file.read(MAX_BYTES + 1)


def _parse(text: bytes, relative: str, level: Level) -> Checked:
    try:
        if len(text) > MAX_BYTES:
            raise tomli.TOMLDecodeError(f"larger than {MAX_BYTES:,} bytes")
        document = tomli.loads(text.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, tomli.TOMLDecodeError) else "not UTF-8 text, or nested too deeply"
        return Checked({}, (Mistake(relative, "", f"not TOML: {reason}"),))
    return tables.check(document, relative, level)


def _key(settings: Mapping[str, Any], chain: tuple[Mapping[str, Any], ...] | None) -> str:
    files: list[tuple[int, int]] = []

    def note(key: str, path: str) -> str:
        try:
            status = Path(path).stat()
            files.append((status.st_size, status.st_mtime_ns))
        except OSError:
            files.append((-1, 0))
        return path

    steps = None if chain is None else tables.with_files(list(chain), note)
    text = json.dumps([dict(settings), steps, files], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))


def _within(folder: Path, path: Path) -> bool:
    """Whether ``path``, links resolved, is ``folder`` or lies below it."""
    return _real(path).is_relative_to(_real(folder))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
