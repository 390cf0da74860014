"""Where outputs go: the output folder and the name template, from --out or from the manifest."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.formats import SUFFIXES
from render import naming
from render.errors import Mistake, found
from render.naming import NamingError, Template

ALBUM_OUTPUT = "renders/{album}/{index:02d}_{track}_{preset}"
STEM_OUTPUT = "{stem}_{preset}"
_STEM_FIELDS = {name: what for name, what in naming.FIELDS.items() if name != "album"}


@dataclass(frozen=True)
class Destination:
    """An output folder, which nothing leaves, and the template of the paths below it.

    ``key`` is where the user wrote the template, empty for a default.
    """

    root: Path
    template: Template
    file: str = ""
    key: str = ""

    def output(self, values: Mapping[str, str | int], suffix: str) -> Path:
        """Where the output with these ``values`` goes; `NamingError` when a link on the way leads out of the folder."""
        path = self.root / self.template.fill(values, suffix=suffix)
        if not path.parent.resolve().is_relative_to(self.root.resolve()):
            raise NamingError(f"{path} would leave the output folder {self.root} through a link; remove the link")
        return path


def beside(stem: Path) -> Destination:
    """The destination of a stem when nothing is said: its own folder."""
    return Destination(stem.parent, naming.parse(STEM_OUTPUT, fields=_STEM_FIELDS))


def of_stems(out: Path | None, count: int, mistakes: list[Mistake]) -> Destination | None:
    """The destination that ``--out`` names for ``count`` stems: a file, a template or a folder; None without it."""
    if out is None:
        return None
    text = os.fspath(out)
    default = naming.parse(STEM_OUTPUT, fields=_STEM_FIELDS)
    try:
        if "{" in text:
            return _templated(out, _STEM_FIELDS)
        suffix = out.suffix.lower()
        if _is_folder(out) or text.endswith(os.sep) or (suffix not in SUFFIXES and suffix not in naming.UNWRITABLE):
            return Destination(out, default, key="--out")
        if count > 1:
            raise NamingError(
                f"found the one file {found(text)} for {count} stems; expected a folder, or a template like "
                f"'{out.with_suffix('').name}_{{stem}}{out.suffix}'"
            )
        return Destination(out.parent, naming.parse(out.name.replace("}", "}}")), key="--out")
    except NamingError as error:
        mistakes.append(Mistake("", "--out", str(error)))
        return Destination(out.parent, default, key="--out")


def of_album(text: str | None, out: Path | None, path: Path, mistakes: list[Mistake]) -> Destination:
    """The destination of the manifest at ``path``: its ``album.output``, with ``--out`` for its folder."""
    folder = path.parent
    try:
        template = naming.parse(text or ALBUM_OUTPUT)
    except NamingError as error:
        mistakes.append(Mistake(str(path), "album.output", str(error)))
        template = naming.parse(ALBUM_OUTPUT)
    where = Destination(folder / template.folder, template, str(path), "album.output" if text else "")
    if out is None:
        return where
    try:
        if "{" in os.fspath(out):
            return _templated(out, naming.FIELDS)
        if out.suffix.lower() in SUFFIXES and not _is_folder(out):
            raise NamingError(f"found the file {found(os.fspath(out))}; expected a folder for the album's outputs")
    except NamingError as error:
        mistakes.append(Mistake("", "--out", str(error)))
        return where
    return Destination(out, template, where.file, where.key)


def _templated(out: Path, fields: Mapping[str, str]) -> Destination:
    parts = list(out.parts)
    start = next(i for i, part in enumerate(parts) if "{" in part)
    # What comes before the first field was typed as it is, and may lead anywhere.
    return Destination(Path(*parts[:start]), naming.parse("/".join(parts[start:]), fields=fields), key="--out")


def conflicts(outputs: Mapping[int, Path], inputs: Sequence[Path]) -> dict[int, str]:
    """Which of the numbered ``outputs`` cannot be written and why: taken by another, a folder of one, an input.

    Names that differ by case or composition alone are one, as they are on some file systems.
    """
    taken: dict[str, int] = {}
    problems: dict[int, str] = {}
    folders = {naming.collision_key(folder): n for n, path in outputs.items() for folder in _whole(path).parents}
    sources = {naming.collision_key(_whole(path)) for path in inputs}
    files = {identity for path in inputs if (identity := _identity(path))}
    for number, path in outputs.items():
        key = naming.collision_key(_whole(path))
        if key in taken:
            problems[number] = f"would be written to {path}, as number {taken[key]} is; add {{index}} to the template"
        elif key in folders:
            problems[number] = f"would be written to {path}, which is a folder of number {folders[key]}"
        elif key in sources or _identity(path) in files:
            problems[number] = f"would be written over {path}, which is read; choose another name or folder"
        taken.setdefault(key, number)
    return problems


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a name that is too long
        return False


def _whole(path: Path) -> Path:
    return path.parent.resolve() / path.name


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino
