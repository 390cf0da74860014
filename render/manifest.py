"""An album in TOML: its tables as pydantic models, and every mistake in them at once.

Whatever is wrong in one place is left out and the rest is read on, so that one run shows all there is to mend.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import tomli
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from render.errors import InputError, Mistake, found, nearest

MAX_BYTES = 4_000_000
MAX_TRACKS = 10_000
BIT_DEPTHS = ("source", "16", "24", "32f")
FORMATS = ("source", "wav", "aiff", "flac")
EXPORTS = ("dawproject", "rpp", "midi", "aaf")
OVERS = ("limit", "scale", "refuse")


@dataclass(frozen=True)
class Allowed:
    """What a key takes, in words, and the names it may be when they can be listed."""

    words: str
    names: tuple[str, ...] = ()


def _one_of(names: Sequence[str]) -> Allowed:
    return Allowed(f"one of {', '.join(names)}", tuple(names))


_Unit = Annotated[float, Field(ge=0, le=1, strict=True, allow_inf_nan=False)]
_Text = Annotated[str, Field(min_length=1, max_length=200, strict=True)]
_Path = Annotated[str, Field(min_length=1, max_length=4_000, strict=True)]
_AUTOMATION = 'a list of tables, each with target = "amount", "mix" or "chain[1].PARAMETER"'
_CHAIN = 'a list of tables, each with plugin = "NAME"'


class _Sound(BaseModel):
    """What can be said of an album and of a single track alike; the track wins."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    preset: Annotated[
        str | dict[str, Any] | None, Allowed('a preset like "tape", or a blend like { tape = 0.7, choir = 0.3 }')
    ] = Field(default=None, description='A preset of the library, "tape", or a blend, { tape = 0.7, choir = 0.3 }.')
    amount: Annotated[_Unit | None, Allowed("a number from 0 (the stem) to 1 (the full style)")] = Field(
        default=None, description="0 is the stem itself, 1 the full style."
    )
    mix: Annotated[_Unit | None, Allowed("a number from 0 (dry) to 1 (wet)")] = Field(
        default=None, description="Cross-fade between the stem (0) and its styled sound (1), before the chain."
    )
    quality: Annotated[Literal["draft", "standard", "fine"] | None, _one_of(("draft", "standard", "fine"))] = Field(
        default=None, description="How much work goes into each stem."
    )
    seed: Annotated[Annotated[int, Field(ge=0, lt=2**63, strict=True)] | None, Allowed("a whole number from 0 up")] = (
        Field(default=None, description="The same seed gives the same bytes.")
    )
    device: Annotated[
        Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d{1,3})?)$", strict=True)] | None,
        Allowed("one of auto, cpu, cuda, mps"),
    ] = Field(default=None, description="Where the engine works.")
    chain: Annotated[Any, Allowed(_CHAIN)] = Field(default=None, description="Plugins the styled stem runs through.")
    bit_depth: Annotated[
        Literal["source", 16, 24, "16", "24", "32f"] | None, Allowed('"source", 16, 24 or "32f"', BIT_DEPTHS)
    ] = Field(default=None, description="Depth of the output; source keeps the stem's own.")
    format: Annotated[Literal["source", "wav", "aiff", "flac"] | None, _one_of(FORMATS)] = Field(
        default=None, description="File format of the output; source keeps the stem's own."
    )
    overs: Annotated[Literal["limit", "scale", "refuse"] | None, _one_of(OVERS)] = Field(
        default=None, description="What happens to samples over full scale when the output holds whole numbers."
    )
    automation: Annotated[Any, Allowed(_AUTOMATION)] = Field(
        default=None, description="What changes with time: amount, mix, parameters of the chain written here."
    )
    tail_s: Annotated[
        Annotated[float, Field(ge=0, le=60, strict=True, allow_inf_nan=False)] | Literal["auto"] | None,
        Allowed('a number of seconds from 0 to 60, or "auto"', ("auto",)),
    ] = Field(
        default=None,
        description="Seconds kept after the stem's end while the chain rings out; auto is until it is below -90 dBFS.",
    )
    tempo: Annotated[_Path | None, Allowed("the path of a MIDI file")] = Field(
        default=None, description="A MIDI file with the tempo and markers; else the one beside the stem, if any."
    )
    loudness_lufs: Annotated[
        Annotated[float, Field(ge=-60, le=0, strict=True, allow_inf_nan=False)] | None,
        Allowed("a number of LUFS from -60 to 0"),
    ] = Field(default=None, description="The output's loudness, as far as the ceiling lets it; without it none is set.")
    ceiling_dbtp: Annotated[
        Annotated[float, Field(ge=-20, le=0, strict=True, allow_inf_nan=False)] | None,
        Allowed("a number of dBTP from -20 to 0"),
    ] = Field(default=None, description="The output is turned down until no true peak is above it; -1 with a loudness.")


class AlbumTable(_Sound):
    """The ``[album]`` table: what holds for every track."""

    title: Annotated[_Text | None, Allowed("a text of 1 to 200 characters")] = Field(
        default=None, description="The album's title; the manifest's own name when it is left out."
    )
    output: Annotated[_Path | None, Allowed("a template like renders/{album}/{track}_{preset}.wav")] = Field(
        default=None,
        description="Where outputs go, from the manifest's folder: folders first, then a name with {fields}.",
    )
    export: Annotated[
        list[Literal["dawproject", "rpp", "midi", "aaf"]] | None,
        Allowed(f"a list of {', '.join(EXPORTS)}", EXPORTS),
    ] = Field(default=None, description="Sessions for DAWs that are written beside the outputs.")
    export_originals: Annotated[Annotated[bool, Field(strict=True)] | None, Allowed("true or false")] = Field(
        default=None, description="true puts the stems into the sessions too, on muted tracks."
    )
    report: Annotated[Annotated[bool, Field(strict=True)] | None, Allowed("true or false")] = Field(
        default=None, description="false leaves out the page that tells and plays what was rendered."
    )


class TrackTable(_Sound):
    """One ``[[track]]`` table: a stem, and what differs from the album."""

    stem: Annotated[_Path | None, Allowed("the path of an audio file")] = Field(
        default=None, description="The audio file, from the manifest's folder."
    )
    midi: Annotated[_Path | None, Allowed("the path of a MIDI file")] = Field(
        default=None, description="Instead of a stem: a MIDI file, from the manifest's folder, for the instrument."
    )
    midi_track: Annotated[
        _Text | Annotated[int, Field(ge=1, strict=True)] | None, Allowed("a track's name, or its number from 1")
    ] = Field(default=None, description="The one track of the MIDI file to play; all of them when it is left out.")
    instrument: Annotated[dict[str, Any] | None, Allowed('a table like { plugin = "Synth.vst3", tail_s = 2.0 }')] = (
        Field(default=None, description="The plugin that plays the MIDI file, set up as in a chain; rate, tail_s.")
    )
    title: Annotated[_Text | None, Allowed("a text of 1 to 200 characters")] = Field(
        default=None, description="The track's title; the stem's own name when it is left out."
    )
    album_chain: Annotated[Annotated[bool, Field(strict=True)] | None, Allowed("true or false")] = Field(
        default=None, description="false leaves out the album's chain, which otherwise follows the track's."
    )


class Manifest(BaseModel):
    """A whole manifest as it was read; see `load`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    album: Annotated[AlbumTable, Allowed("a table [album]")] = AlbumTable()
    track: Annotated[list[TrackTable], Allowed("tables [[track]]")] = []


def load(path: Path) -> tuple[Manifest, list[Mistake]]:
    """The manifest at ``path`` as far as it can be read, and what is wrong with its tables, keys and values.

    Raises `InputError` when there is nothing to read on from: no such file, not TOML, no tracks at all.
    Presets, stems, chains and the output template are names here; `render.plan` looks behind them.
    """
    return check(_parse(path), str(path))


def check(document: dict[str, Any], file: str) -> tuple[Manifest, list[Mistake]]:
    """The manifest in a parsed ``document``, leaving out what is wrong, and the mistakes that this made."""
    mistakes: list[Mistake] = []
    while True:
        try:
            manifest = Manifest.model_validate(document)
            break
        except ValidationError as error:
            found_now: dict[tuple[int | str, ...], Mistake] = {}
            for problem in error.errors(include_url=False):
                loc = tuple(problem["loc"]) if problem["type"] == "extra_forbidden" else _key_of(problem["loc"])
                # A union complains once for each of its arms; the user made one mistake.
                found_now.setdefault(loc, _mistake(problem, loc, file))
                document = _without(document, loc)
            mistakes += found_now.values()
    if not manifest.track and not any(m.key.startswith("track") for m in mistakes):
        mistakes.append(Mistake(file, "track", "there is none; expected at least one [[track]] with stem = FILE"))
    if len(manifest.track) > MAX_TRACKS:
        raise InputError([Mistake(file, "track", f"found {len(manifest.track)}; expected at most {MAX_TRACKS}")])
    return manifest, mistakes


def _parse(path: Path) -> dict[str, Any]:
    try:
        if not path.is_file():
            what = "is a folder" if path.is_dir() else "does not exist"
            raise InputError([Mistake(str(path), "", f"{what}; expected an album manifest in TOML")])
        with path.open("rb") as file:
            text = file.read(MAX_BYTES + 1)
        if len(text) > MAX_BYTES:
            what = f"is larger than {MAX_BYTES:,} bytes; expected an album manifest"
            raise InputError([Mistake(str(path), "", what)])
        return tomli.loads(text.decode("utf-8-sig"))
    except OSError as error:
        raise InputError([Mistake(str(path), "", f"cannot be read: {error.strerror or error}")]) from error
    except (ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, tomli.TOMLDecodeError) else "not UTF-8 text, or nested too deeply"
        raise InputError([Mistake(str(path), "", f"not TOML: {reason}")]) from error


def _without(value: Any, loc: Sequence[int | str]) -> Any:
    """A copy of ``value`` with what stands at ``loc`` taken out; a list keeps its places."""
    if not loc:
        return {}
    head, rest = loc[0], loc[1:]
    if isinstance(value, dict) and head in value:
        left = {k: v for k, v in value.items() if k != head}
        if rest and isinstance(value[head], dict | list):
            left[str(head)] = _without(value[head], rest)
        return left
    if isinstance(value, list) and isinstance(head, int):
        return [(_without(v, rest) if rest else {}) if i == head else v for i, v in enumerate(value)]
    return value


def _mistake(problem: Any, loc: Sequence[int | str], file: str) -> Mistake:
    model, info = _field(loc)
    if problem["type"] == "extra_forbidden":
        names = list(model.model_fields) if model else []
        what = "no such key here" + (nearest(str(loc[-1]), names) or f"; expected one of {', '.join(names)}")
        return Mistake(file, key_path(loc), what)
    allowed = next((m for m in info.metadata if isinstance(m, Allowed)), Allowed("another value")) if info else None
    words = allowed.words if allowed else "a table"
    value = problem["input"]
    near = nearest(value, allowed.names) if allowed and isinstance(value, str) else ""
    return Mistake(file, key_path(loc), f"found {found(value)}; expected {words}{near}")


def _key_of(loc: Sequence[int | str]) -> tuple[int | str, ...]:
    # pydantic appends which arm of a union failed; the user wrote no such key.
    return tuple(loc[:3] if loc and loc[0] == "track" else loc[:2])


def _field(loc: Sequence[int | str]) -> tuple[type[BaseModel] | None, FieldInfo | None]:
    """The model in which the last named step of ``loc`` is, or should be, a field, and that field."""
    model: type[BaseModel] | None = Manifest
    info: FieldInfo | None = None
    for step in loc:
        if isinstance(step, int):
            continue
        if model is None:
            break
        owner, info = model, model.model_fields.get(step)
        inner = _model_in(info.annotation) if info else None
        if inner is None:
            return owner, info
        model = inner
    if loc and isinstance(loc[-1], int):
        return model, None
    return model, info


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (list, Union):
        return next((m for a in get_args(annotation) if (m := _model_in(a))), None)
    return None


def key_path(loc: Sequence[int | str]) -> str:
    """``loc`` as the user counts: ``track[2].amount`` is the second track's amount."""
    path = ""
    for step in loc:
        path += f"[{step + 1}]" if isinstance(step, int) else f".{step}" if path else step
    return path
