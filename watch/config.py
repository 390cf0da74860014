"""How each stem is rendered: its sidecar over the watch.toml of each folder above it, the nearest first.

Nothing here fails a stem. What is wrong comes back as a `ConfigProblem` with every mistake, and the stem waits. All of
it is read again when it has changed, so that a mended file is enough.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from presets import names as preset_names
from presets import resolve
from presets.library import Library
from render import midifiles, pluginfiles
from render.errors import Mistake, found, nearest
from render.plugins import PLUGINS
from watch import names, tables
from watch.layers import Layer, Layers, real, within
from watch.lookup import Lookup
from watch.tables import DaemonConfig


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


@dataclass
class _Work:
    """What is being put together for one stem, and what was wrong on the way."""

    relative: str
    layers: list[Layer]
    mistakes: list[Mistake] = field(default_factory=list)

    def nearest(self, key: str) -> tuple[Any, Layer | None]:
        return next(((layer.checked.values[key], layer) for layer in self.layers if key in layer.checked.values), _NONE)

    def wrong(self, layer: Layer, key: str, message: str) -> None:
        self.mistakes.append(Mistake(layer.name, key, message))


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
        self._files = Layers(root)
        self._presets = Lookup(library, clock)

    def daemon(self) -> tuple[DaemonConfig, tuple[Mistake, ...]]:
        """What holds for the daemon as a whole, as far as it is as it should be, and what is wrong in that file."""
        layer = self._files.of_folder("")
        if layer is None:
            return DaemonConfig(), ()
        chosen = {key: value for key, value in layer.checked.values.items() if key in tables.DAEMON}
        return DaemonConfig(**chosen), layer.checked.mistakes

    def outputs(self, folders: Iterable[str]) -> frozenset[Path]:
        """The output folders inside the watched one that the watch.toml of each of ``folders`` names: never inputs."""
        inside = set()
        for folder in folders:
            layer = self._files.of_folder(folder)
            if layer and "out" in layer.checked.values:
                out = self._out(layer, _Work("", []))
                if out is not None and within(self.root, out):
                    inside.add(out)
        return frozenset(inside)

    def for_stem(self, relative: str) -> StemConfig | ConfigProblem:
        """How the stem, or album, at ``relative`` is rendered; reads again whatever file changed on the way."""
        work = _Work(relative, self._files.over(relative))
        for layer in work.layers:
            work.mistakes += layer.checked.mistakes
        _, outer = work.nearest("out")
        out = self._out(outer, work) if outer else self.root / names.OUT
        settings, label, chain = ({}, "", None) if names.is_album(relative) else self._sound(work)
        if work.mistakes or out is None:
            return ConfigProblem(tuple(dict.fromkeys(work.mistakes)))
        return StemConfig(
            settings=settings,
            chain=chain,
            out=out,
            place=_place(work, settings, label),
            after=work.nearest("after")[0] or "keep",
            failed=work.nearest("failed")[0] or "move",
            label=label,
            key=_key(settings, chain, self.root / relative),
        )

    def _sound(self, work: _Work) -> tuple[dict[str, Any], str, tuple[Mapping[str, Any], ...] | None]:
        settings = {
            key: value
            for key in tables.SOUND
            if key not in ("preset", "chain") and (value := work.nearest(key)[0]) is not None
        }
        settings |= self._midi(work)
        preset, label = self._preset(work, settings.get("amount") == 0)
        if preset is not None:
            settings["preset"] = preset
        raw, layer = work.nearest("chain")
        if layer is None:
            return settings, label, None

        def whole(key: str, path: str) -> str:
            if key.endswith(".plugin"):
                return self._plugin(layer, key, path, work)
            return self._file(layer, key, path, work)

        return settings, label, tuple(tables.with_files(raw, whole))

    def _midi(self, work: _Work) -> dict[str, Any]:
        """The choices that name MIDI files, with whole paths."""
        chosen: dict[str, Any] = {}
        text, layer = work.nearest("tempo")
        if layer is not None:
            chosen["tempo"] = self._file(layer, "tempo", text, work)
        lanes, layer = work.nearest("automation")
        if layer is not None and isinstance(lanes, list):
            chosen["automation"] = [
                {**lane, "midi": self._file(layer, f"automation[{number}].midi", lane["midi"], work)}
                if isinstance(lane, dict) and isinstance(lane.get("midi"), str)
                else lane
                for number, lane in enumerate(lanes, 1)
            ]
        return chosen

    def _file(self, layer: Layer, key: str, text: str, work: _Work) -> str:
        """The whole path of the file that ``layer`` calls ``text``, which stays as it is when it is a mistake."""
        place = self._inside(layer, key, text, work)
        if place is not None and not _is_file(place):
            work.wrong(layer, key, f"found {found(text)}; there is no such file")
        return text if place is None else os.fspath(place)

    def _plugin(self, layer: Layer, key: str, name: str, work: _Work) -> str:
        """As `_file`, for a plugin: a name is that of an installed one, and stays a name."""
        if not pluginfiles.is_path(name) and pluginfiles.find(name, None) is not None:
            return name
        if not pluginfiles.looks_like_file(name):
            near = nearest(name, [*PLUGINS, *(path.stem for path in pluginfiles.installed())])
            work.wrong(layer, key, f"no plugin is called {found(name)}; expected a built-in or an installed one{near}")
            return name
        if layer.level == "sidecar":
            # Whoever may drop a stem could drop a plugin with it.
            work.wrong(layer, key, f"found {found(name)}; expected the name of an installed plugin in a sidecar")
            return name
        place = self._inside(layer, key, name, work)
        if place is not None and not os.path.lexists(place):
            work.wrong(layer, key, f"found {found(name)}; there is no such plugin file")
        return name if place is None else os.fspath(place)

    def _preset(self, work: _Work, dry: bool) -> tuple[str | dict[str, float] | None, str]:
        """The preset as `Choices` take it, and its label: of a nearer file, the folder's name, the root's file."""
        value, layer = work.nearest("preset")
        folder = work.relative.partition("/")[0] if "/" in work.relative else ""
        named: str | None = None
        if folder and (layer is None or layer.level == "root"):
            named = self._presets.named(folder)
        if named is not None:
            return named, resolve.parse(named).label
        if layer is None:
            if not dry and not any(m.key == "preset" for m in work.mistakes):
                work.mistakes.append(Mistake(folder, "", self._unnamed(folder)))
            return None, ""
        parts: dict[str, float] = {}
        spec = resolve.parse(value)
        for part in spec.parts:
            name = part.preset
            if preset_names.is_path(name):
                place = self._inside(layer, "preset", name, work)
                name = name if place is None else os.fspath(place)
            elif problem := self._presets.missing(name):
                work.wrong(layer, "preset", problem)
            parts[name] = part.weight
        # A path may hold what separates the parts of a blend in a text.
        plain = len(parts) == 1 and not preset_names.is_path(next(iter(parts)))
        return (next(iter(parts)) if plain else parts), spec.label

    def _unnamed(self, folder: str) -> str:
        if not folder:
            return (
                "no preset is named; expected the stem in a folder called as a preset is, "
                'or preset = "NAME" in a watch.toml or beside it'
            )
        return (
            f"{self._presets.unnamed(folder)}; call the folder as a preset or a blend is (tape, tape70-choir30), "
            'or write preset = "NAME" in its watch.toml'
        )

    def _out(self, layer: Layer, work: _Work) -> Path | None:
        """The output folder that ``layer`` names, or None and a mistake."""
        text = layer.checked.values["out"]
        place = self._inside(layer, "out", text, work, outside=layer.level == "root")
        problem = place and self._unfit(place, self.root / layer.folder)
        if problem:
            work.wrong(layer, "out", f"found {found(text)}, which {problem}; expected a folder for outputs alone")
        return None if problem else place

    def _unfit(self, out: Path, home: Path) -> str | None:
        """Why the folder ``out`` cannot take the outputs of stems in ``home``: other things go in there."""
        if within(out, home) or within(out, self.root):
            return "holds the stems"
        if not within(self.root, out):
            return None
        inner = out.relative_to(real(self.root)).parts
        if inner[0] in (names.FAILED, names.DONE, names.STATE):
            return "is kept for other things"
        if os.path.lexists(out / names.CONFIG):
            return f"is one for stems, by its {names.CONFIG}"
        taken = len(inner) == 1 and self._presets.certain and self._presets.named(inner[0])
        return "is one for stems, by its name" if taken else None

    def _inside(self, layer: Layer, key: str, text: str, work: _Work, *, outside: bool = True) -> Path | None:
        try:
            return self._files.inside(layer, text, outside=outside)
        except ValueError as error:
            work.wrong(layer, key, str(error))
            return None


def _place(work: _Work, settings: Mapping[str, Any], label: str) -> PurePosixPath:
    folder = names.folder_of(work.relative)
    if names.is_album(work.relative):
        return names.folder_place(folder)
    values = {
        "folder": folder,
        "stem": PurePosixPath(work.relative).stem,
        "preset": label or "dry",
        "quality": settings.get("quality", "standard"),
        "seed": settings.get("seed", 0),
    }
    return names.output(names.parse_template(work.nearest("template")[0] or names.TEMPLATE), values)


def _key(settings: Mapping[str, Any], chain: tuple[Mapping[str, Any], ...] | None, stem: Path) -> str:
    files: list[object] = []

    def note(key: str, name: str) -> str:
        if key.endswith(".plugin"):
            path = pluginfiles.find(name, None)
            files.append(None if path is None else _identity(path))
        else:
            files.append(_identity(Path(name)))
        return name

    steps = None if chain is None else tables.with_files(list(chain), note)
    lanes = settings.get("automation")
    named = [lane.get("midi") for lane in lanes if isinstance(lane, dict)] if isinstance(lanes, list) else []
    songs = (midifiles.beside(stem), settings.get("tempo"), *named)
    files += [_identity(Path(song)) for song in songs if isinstance(song, str | Path)]
    text = json.dumps([dict(settings), steps, files], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _identity(path: Path) -> object:
    try:
        return pluginfiles.identity(path)
    except (OSError, ValueError):
        return None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
