"""The keys of a watch.toml and of a sidecar: what each may hold, and every mistake in them at once."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from engine.formats import SUFFIXES
from presets import resolve
from presets.errors import PresetError
from render import chain as chains
from render import choices, manifest, pluginfiles
from render.errors import Mistake, found, nearest
from render.manifest import Allowed
from render.naming import NamingError
from render.plugins import PLUGINS
from watch import names

SOUND = ("chain", *(name for name in choices.NAMES if name != "device"))
AFTER = ("keep", "move", "delete")
ON_FAILURE = ("move", "keep")


def _seconds(low: float, high: float) -> Allowed:
    return Allowed(f"a number of seconds from {low:g} to {high:g}")


class _Own(BaseModel):
    """What the watch house adds to the choices of a render, as TOML has it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    template: Annotated[
        Annotated[str, Field(min_length=1, max_length=4_000, strict=True)] | None,
        Allowed(f'a template of the output\'s path like "{names.TEMPLATE}"'),
    ] = None
    out: Annotated[
        Annotated[str, Field(min_length=1, max_length=4_000, strict=True)] | None, Allowed("the path of a folder")
    ] = None
    after: Annotated[Literal["keep", "move", "delete"] | None, Allowed(f"one of {', '.join(AFTER)}", AFTER)] = None
    failed: Annotated[Literal["move", "keep"] | None, Allowed(f"one of {', '.join(ON_FAILURE)}", ON_FAILURE)] = None
    settle_s: Annotated[
        Annotated[float, Field(ge=0.05, le=3_600, strict=True, allow_inf_nan=False)] | None, _seconds(0.05, 3_600)
    ] = None
    rescan_s: Annotated[
        Annotated[float, Field(ge=0.2, le=86_400, strict=True, allow_inf_nan=False)] | None, _seconds(0.2, 86_400)
    ] = None
    poll: Annotated[Annotated[bool, Field(strict=True)] | None, Allowed("true or false")] = None
    device: Annotated[
        Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d{1,3})?)$", strict=True)] | None,
        Allowed("one of auto, cpu, cuda, mps"),
    ] = None
    workers: Annotated[Annotated[int, Field(ge=1, le=64, strict=True)] | None, Allowed("a whole number 1 to 64")] = None
    attempts: Annotated[Annotated[int, Field(ge=1, le=100, strict=True)] | None, Allowed("a whole number 1 to 100")] = (
        None
    )
    deadline_factor: Annotated[
        Annotated[float, Field(ge=0.01, le=10_000, strict=True, allow_inf_nan=False)] | None,
        Allowed("a number from 0.01 to 10000"),
    ] = None
    min_free_mb: Annotated[
        Annotated[float, Field(ge=0, le=1e9, strict=True, allow_inf_nan=False)] | None,
        Allowed("a number of megabytes from 0 up"),
    ] = None


@dataclass(frozen=True)
class DaemonConfig:
    """What holds for the daemon as a whole, said in the watch.toml of the watched folder itself.

    ``settle_s`` is how long a stem has to be still, ``rescan_s`` how often the folder is scanned unasked, both in
    seconds; ``poll`` asks for no events of the file system; ``workers`` is one for each device when None; ``attempts``
    is how often a stem that brings its worker down is tried; ``deadline_factor`` stretches the time a stem may take;
    with less than ``min_free_mb`` megabytes free where outputs go, work pauses.
    """

    settle_s: float = 2.0
    rescan_s: float = 10.0
    poll: bool = False
    device: str = "auto"
    workers: int | None = None
    attempts: int = 3
    deadline_factor: float = 1.0
    min_free_mb: float = 500.0


DAEMON = tuple(f.name for f in fields(DaemonConfig))
FOLDER_ONLY = ("out", "after", "failed")
KEYS = (*SOUND, "template", *FOLDER_ONLY, *DAEMON)

Level = Literal["root", "folder", "sidecar"]


@dataclass(frozen=True)
class Checked:
    """The keys of one file that are as they should be, and what is wrong with the others."""

    values: dict[str, Any]
    mistakes: tuple[Mistake, ...] = ()


def check(document: dict[str, Any], file: str, level: Level) -> Checked:
    """The keys in ``document``, which was read from ``file``; ``level`` says which of them belong there.

    ``root`` is the watch.toml of the watched folder itself. Paths are not looked at.
    """
    mistakes = []
    here = {"root": KEYS, "folder": (*SOUND, "template", *FOLDER_ONLY), "sidecar": (*SOUND, "template")}[level]
    sound, own = {}, {}
    for key, value in document.items():
        if key not in here:
            mistakes.append(Mistake(file, key, _elsewhere(key, level, here)))
        elif key in SOUND:
            sound[key] = value
        else:
            own[key] = value
    table, wrong = manifest.check({"album": sound, "track": [{}]}, file)
    mistakes += [Mistake(m.file, m.key.removeprefix("album."), m.message) for m in wrong]
    values = {key: value for key in sound if (value := getattr(table.album, key)) is not None}
    if "bit_depth" in values:
        values["bit_depth"] = str(values["bit_depth"])
    for key, value in own.items():
        try:
            values[key] = getattr(_Own.model_validate({key: value}), key)
        except ValidationError:
            allowed = next(m for m in _Own.model_fields[key].metadata if isinstance(m, Allowed))
            near = nearest(value, allowed.names) if isinstance(value, str) else ""
            mistakes.append(Mistake(file, key, f"found {found(value)}; expected {allowed.words}{near}"))
    for key, test in (("preset", _preset_mistakes), ("chain", _chain_mistakes), ("template", _template_mistakes)):
        if key in values and (wrong := test(values[key], file)):
            mistakes += wrong
            del values[key]
    order = {key: place for place, key in enumerate(document)}
    return Checked(values, tuple(sorted(mistakes, key=lambda m: order.get(m.key.split("[")[0].split(".")[0], 0))))


def _elsewhere(key: str, level: Level, here: tuple[str, ...]) -> str:
    if key in DAEMON:
        return f"holds for the whole daemon; expected in the {names.CONFIG} of the watched folder itself only"
    if key in KEYS:
        return f"holds for a folder; expected in a {names.CONFIG} only"
    # Who mistyped one key needs no list of all.
    return "no such key here" + (nearest(key, here) or f"; expected one of {', '.join(here)}")


def _preset_mistakes(value: Any, file: str) -> list[Mistake]:
    try:
        resolve.parse(value)
    except PresetError as error:
        return [Mistake(file, "preset", str(error))]
    return []


def _template_mistakes(value: str, file: str) -> list[Mistake]:
    try:
        suffix = names.parse_template(value).suffix
        if suffix:
            raise NamingError(
                f"found the ending {suffix!r}; expected none, format = {_form(suffix)} chooses the format"
            )
    except NamingError as error:
        return [Mistake(file, "template", str(error))]
    return []


def _form(suffix: str) -> str:
    container = SUFFIXES[suffix.lower()].lower()
    return f'"{container}"' if container in manifest.FORMATS else "NAME"


def _chain_mistakes(value: Any, file: str) -> list[Mistake]:
    # Files are opened when a chain is checked whole, by code that loads the engine, and plugin files have to be loaded
    # to be checked at all: that is the worker's to do.
    named: set[str] = set()
    misspelt: list[Mistake] = []

    def leave_out(key: str, name: str) -> None:
        named.add(key)
        # What is written as the built-ins are is one of them; another name may be installed at any time.
        near = nearest(name, PLUGINS) if name.islower() and not pluginfiles.looks_like_file(name) else ""
        if near and key.endswith(".plugin") and pluginfiles.find(name, None) is None:
            misspelt.append(Mistake(file, key, f"no plugin is called {found(name)}{near}"))

    _, mistakes = chains.parse(with_files(value, leave_out), file=file, key="chain", folder=None)
    return misspelt + [m for m in mistakes if m.key not in named]


def with_files(chain: Any, change: Callable[[str, str], str | None], key: str = "chain", depth: int = 0) -> Any:
    """``chain`` with each file that it names given to ``change``, after the key path it stands at.

    Those are files that plugins read, and plugin files themselves, by path or by name. What comes back takes its place,
    None leaves it out. Whatever is no chain comes back as it is.
    """
    if not isinstance(chain, list) or depth > chains.MAX_DEPTH:
        return chain
    return [_with_files(step, change, f"{key}[{place}]", depth) for place, step in enumerate(chain, 1)]


def _with_files(step: Any, change: Callable[[str, str], str | None], at: str, depth: int) -> Any:
    if not isinstance(step, dict):
        return step
    name = step.get("plugin")
    plugin = PLUGINS.get(name) if isinstance(name, str) else None
    reads = {p.name for p in plugin.parameters if p.kind == "file"} if plugin else {"plugin", "preset_file"}
    changed: dict[str, Any] = {}
    for key, value in step.items():
        new = value
        if key in reads and isinstance(value, str):
            new = change(f"{at}.{key}", value)
        elif key == "plugins":
            new = with_files(value, change, f"{at}.plugins", depth + 1)
        if new is not None:
            changed[key] = new
    return changed
