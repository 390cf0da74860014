"""The folder where presets live: find, list, save and remove them by name. Light: torch comes only with `load`."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from presets import atomic, cards, names, tensorfile
from presets.cards import Card
from presets.errors import PresetError

if TYPE_CHECKING:
    from presets.preset import Preset

ENVIRONMENT = "GRAMOPHONE_LIBRARY"


@dataclass(frozen=True)
class Entry:
    """One preset file as a listing sees it: its ``card``, or the ``problem`` that makes it unusable."""

    name: str
    path: Path
    size_bytes: int
    card: Card | None
    problem: str | None = None


@dataclass(frozen=True)
class Library:
    """A folder of presets, which need not exist yet."""

    folder: Path

    def path(self, name: str) -> Path:
        """Where the preset called ``name`` is, or would be, kept; `PresetError` when no preset may be called that."""
        name = names.validated(name)
        path = self.folder / f"{name}{names.SUFFIX}"
        # A file that came from a decomposing file system (macOS) has the same name in other bytes.
        if not os.path.lexists(path):
            path = next((p for p in self._files() if names.composed(p.name) == path.name), path)
        return path

    def find(self, name: str) -> Path:
        """The file of the preset called ``name``; `PresetError` names the nearest one when there is none."""
        path = self.path(name)
        if os.path.lexists(path):
            return path
        there = [names.stem_of(p) for p in self._files() if p.name.endswith(names.SUFFIX)]
        if not there:
            raise PresetError(
                f"no preset is called {name!r}: the library {self.folder} is empty; "
                f"learn one with: gramophone preset learn REFERENCE --name {name!r}"
            )
        near = names.nearest(name, there)
        shown = ", ".join(there[:12]) + (", …" if len(there) > 12 else "")
        raise PresetError(
            f"no preset is called {name!r} in {self.folder}"
            f"{f'; did you mean {near!r}?' if near else ''} (there are: {shown})"
        )

    def entry(self, name: str) -> Entry:
        """The preset called ``name`` as a listing sees it; `PresetError` when there is none."""
        return _entry(self.find(name))

    def list(self) -> tuple[Entry, ...]:
        """Every preset file of the folder by name, broken ones with their problem; reads headers only."""
        return tuple(_entry(path) for path in self._files())

    def load(self, name: str) -> "Preset":
        """The preset called ``name``, wholly checked; `PresetError` when it is missing or broken."""
        from presets import preset

        return preset.load(self.find(name))

    def save(self, preset: "Preset", *, replace: bool = False) -> Path:
        """Keep ``preset`` under its name and say where; `PresetError` when the name is taken and not to be replaced."""
        from presets import preset as files

        path = self.path(preset.name)
        files.save(preset, path, replace=replace)
        return path

    def copy(self, source: Path, name: str, changes: Mapping[str, Any], *, replace: bool = False) -> Entry:
        """Keep the tensors of the preset file ``source`` under ``name`` with ``changes`` to its card. Without torch.

        Raises `PresetError` when ``source`` is broken, a change does not fit, or the name is taken.
        """
        header, card, blob = _whole(source)
        fields = {field: getattr(card, field) for field in Card.model_fields} | dict(changes)
        card = cards.make(**fields)
        pieces: list[atomic.Bytes] = [
            tensorfile.with_metadata(header, cards.dump(card)),
            memoryview(blob)[header.data_start :],
        ]
        path = self.path(name)
        atomic.write(path, pieces, replace=replace)
        return _entry(path)

    def remove(self, name: str) -> Path:
        """Delete the preset called ``name``, broken or not, and say where it was; `PresetError` when there is none."""
        path = self.find(name)
        try:
            path.unlink()
        except OSError as error:
            raise PresetError(f"{path} cannot be removed: {error.strerror or error}") from error
        return path

    def _files(self) -> tuple[Path, ...]:
        try:
            found = [p for p in self.folder.iterdir() if names.is_path(p.name) and not p.name.startswith(".")]
        except FileNotFoundError:
            return ()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise PresetError(f"the library {self.folder} cannot be read: {reason}") from error
        return tuple(sorted(found, key=lambda p: (p.name.casefold(), p.name)))


def default_library(folder: Path | None = None, environ: Mapping[str, str] | None = None) -> Library:
    """The library at ``folder``, else at ``$GRAMOPHONE_LIBRARY``, else in the user's data folder."""
    if folder is not None:
        return Library(expanded(folder))
    if chosen := (os.environ if environ is None else environ).get(ENVIRONMENT):
        return Library(expanded(Path(chosen)))
    import platformdirs

    return Library(Path(platformdirs.user_data_dir("gramophone", appauthor=False)) / "presets")


def expanded(path: Path) -> Path:
    """``path`` with a leading ``~`` made a home folder; `PresetError` when there is no such user."""
    try:
        return path.expanduser()
    except (RuntimeError, ValueError) as error:
        raise PresetError(f"{path} begins with ~ but names no user's home: {error}") from error


def inspect(path: Path) -> tuple[tensorfile.Header, Card]:
    """The header and card of the preset file at ``path``, its tensors checked against the card. Without torch."""
    header, card, _ = _whole(path)
    return header, card


def _whole(path: Path) -> tuple[tensorfile.Header, Card, bytes]:
    try:
        header, blob = tensorfile.read(path)
        return header, cards.verified(header, blob), blob
    except PresetError as error:
        raise PresetError(f"{path} {error}") from error


def _entry(path: Path) -> Entry:
    name = names.printable(names.stem_of(path))
    size, card, problem = 0, None, None
    try:
        size = path.stat().st_size
        if not path.name.lower().endswith(names.SUFFIX):
            raise PresetError(f"is not named NAME{names.SUFFIX}")
        names.validated(names.stem_of(path))
        card = cards.of_metadata(tensorfile.read_header(path).metadata)
    except PresetError as error:
        problem = str(error)
    except OSError as error:
        problem = f"cannot be read: {error.strerror or error}"
    return Entry(name, path, size, card, problem)
