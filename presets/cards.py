"""The card of a preset: the one JSON record in its file, saying where the style comes from and how to play it."""

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, ValidationError

from presets import names, tensorfile
from presets.errors import PresetError

_Json = TypeVar("_Json")

FORMAT = 1
METADATA_KEY = "gramophone"
RATES_HZ = (8_000, 192_000)


def _printable(text: str) -> str:
    # A card is shown in a terminal and comes from anywhere: escape codes have no business in it.
    if not text.isprintable():
        raise ValueError("has characters that cannot be printed")
    return text


def _finite(value: _Json) -> _Json:
    json.dumps(value, allow_nan=False)  # 1e999 is JSON, and infinite once it is read: ValueError
    return value


def _with_plugins(chain: tuple[dict[str, JsonValue], ...]) -> tuple[dict[str, JsonValue], ...]:
    for index, entry in enumerate(chain, 1):
        plugin = entry.get("plugin")
        if not isinstance(plugin, str) or not plugin.strip():
            raise ValueError(f'entry {index} needs plugin = "NAME", found {plugin!r}')
    return chain


Line = Annotated[str, Field(max_length=300), AfterValidator(_printable)]
Params = Annotated[dict[str, JsonValue], AfterValidator(_finite)]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Chain = Annotated[
    tuple[dict[str, JsonValue], ...], Field(max_length=64), AfterValidator(_with_plugins), AfterValidator(_finite)
]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Reference(_Record):
    """One file the style was learnt from; ``name`` is the file's name without its folder."""

    name: Line
    duration_s: float = Field(ge=0)
    sha256: Digest
    rate: int = Field(gt=0)
    channels: int = Field(gt=0)


class BlendPart(_Record):
    """One preset that went into a blend, with its share of 1 and the `Card.content_hash` it had."""

    name: Line
    weight: float = Field(gt=0, le=1)
    content_hash: Digest


class SetCard(_Record):
    """One of the two sets of a training: how many files, how much sound, and the digest of all of them."""

    files: int = Field(ge=1)
    seconds: float = Field(ge=0)
    sha256: Digest


class Training(_Record):
    """How a preset was trained; ``losses`` are the means over its last steps."""

    steps: int = Field(ge=0)
    batch: int = Field(ge=1)
    seed: int
    device: Line
    content: SetCard
    style: SetCard
    losses: dict[Annotated[str, Field(max_length=40), AfterValidator(_printable)], float]


class Use(_Record):
    """How a render uses a preset when it is told nothing else, and under which licence it may."""

    amount: float = Field(default=1.0, ge=0, le=1)
    chain: Chain = ()
    licence: Line = ""


class Card(Use):
    """What is known of a preset beside its tensors.

    ``rate`` is the rate in Hz the target holds for, ``loudness_dbfs`` the mean square of the references' active audio,
    ``learn_key`` the digest of all that learning depended on (None for a blend), ``training`` how it was trained if it
    was, ``tensors_sha256`` the digest the tensors must have.
    """

    format: Literal[1] = 1
    recipe: Line
    params: Params
    rate: int = Field(ge=RATES_HZ[0], le=RATES_HZ[1])
    references: tuple[Reference, ...] = ()
    loudness_dbfs: float | None = None
    created_by: Line
    created: Line
    learn_key: Digest | None = None
    blend_of: tuple[BlendPart, ...] = ()
    training: Training | None = None
    tensors_sha256: Digest

    @property
    def content_hash(self) -> str:
        """The digest of what a sound depends on: tensors, recipe, parameters and rate, not name, amount or chain."""
        return digest({"tensors": self.tensors_sha256, "recipe": self.recipe, "params": self.params, "rate": self.rate})


def digest(value: Mapping[str, Any]) -> str:
    """The sha256 of ``value`` written as JSON in one fixed way; `PresetError` when it is not JSON."""
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise PresetError(f"recipe parameters must be finite JSON values: {error}") from error
    return hashlib.sha256(text.encode()).hexdigest()


def make(**fields: Any) -> Card:
    """A card of ``fields``; `PresetError` says which of them a card cannot hold."""
    try:
        return Card(**fields)
    except ValidationError as error:
        raise PresetError(f"the preset's card cannot hold {_first(error)}") from error


def check_use(**fields: Any) -> None:
    """Raise `PresetError` when ``fields`` of `Use` are not what a card can hold."""
    try:
        Use(**fields)
    except ValidationError as error:
        raise PresetError(f"the preset's card cannot hold {_first(error)}") from error


def dump(card: Card) -> dict[str, str]:
    """The metadata of a preset file holding ``card``."""
    # Left out where there is none, so that older versions read what is not new to them.
    return {METADATA_KEY: card.model_dump_json(exclude={"training"} if card.training is None else None)}


def of_metadata(metadata: Mapping[str, str]) -> Card:
    """The card in a preset file's metadata; `PresetError` when there is none, it is of another format or is broken."""
    if METADATA_KEY not in metadata:
        raise PresetError("has no Gramophone card; a safetensors file of something else")
    if len(metadata) > 1:
        extra = next(key for key in metadata if key != METADATA_KEY)
        raise PresetError(f"has unknown metadata {extra[:40]!r} beside its card")
    text = metadata[METADATA_KEY]
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PresetError(f"has a corrupt card: {error or 'nested too deeply'}") from error
    if not isinstance(record, dict):
        raise PresetError("has a corrupt card: expected a JSON object")
    if type(found := record.get("format")) is not int or found != FORMAT:
        raise PresetError(_other_format(found, record.get("created_by")))
    try:
        return Card.model_validate_json(text)
    except ValidationError as error:
        raise PresetError(f"has a corrupt card: {_first(error)}") from error


def verified(header: tensorfile.Header, blob: bytes) -> Card:
    """The card of a whole file, after its tensors were found to be the very bytes the card was made for."""
    card = of_metadata(header.metadata)
    if (found := tensorfile.sha256(header, blob)) != card.tensors_sha256:
        raise PresetError(
            f"has a corrupt tensor: expected sha256 {card.tensors_sha256[:12]}…, found {found[:12]}…; "
            "copy the file again, or learn the preset again"
        )
    return card


def summary(card: Card) -> list[tuple[str, str]]:
    """What ``card`` says in a few labelled lines of words."""
    sources = [f"{part.name} {part.weight:.0%}" for part in card.blend_of] or [r.name for r in card.references]
    shown = ", ".join(sources[:4]) + (f" and {len(sources) - 4} more" if len(sources) > 4 else "")
    seconds = sum(reference.duration_s for reference in card.references)
    length = f" ({seconds:.1f} s)" if seconds else ""
    loudness = "unknown" if card.loudness_dbfs is None else f"{card.loudness_dbfs:.1f} dBFS (RMS of what sounds)"
    lines = [
        ("from", f"{shown or 'nothing named'}{length}"),
        ("recipe", card.recipe),
        ("rate", f"{card.rate} Hz"),
        ("loudness", loudness),
        ("amount", f"{card.amount:.3g}"),
        ("chain", ", ".join(names.printable(str(entry["plugin"])) for entry in card.chain) or "none"),
        ("made", f"{card.created} by Gramophone {card.created_by}"),
    ]
    if card.training is not None:
        lines.insert(2, ("trained", _trained(card.training)))
    return [*lines, ("licence", card.licence)] if card.licence else lines


def _trained(training: Training) -> str:
    lengths = f"{training.content.seconds / 60:.1f} min of content, {training.style.seconds / 60:.1f} min of style"
    losses = ", ".join(f"{name} {value:.3g}" for name, value in training.losses.items())
    said = f"{training.steps} steps of {training.batch} on {training.device}: {lengths}"
    return f"{said}; {losses}" if losses else said


def _other_format(found: object, created_by: object) -> str:
    known = isinstance(created_by, str) and created_by.isprintable()
    by = f"Gramophone {str(created_by)[:40]}" if known else "no known version"
    if type(found) is int and found > FORMAT:
        remedy = "update Gramophone, or learn the preset again here"
        return f"has preset format {str(found)[:20]}, written by {by}; this Gramophone reads format {FORMAT}: {remedy}"
    return f"has unknown preset format {repr(found)[:20]}, written by {by}; this Gramophone reads format {FORMAT}"


def _first(error: ValidationError) -> str:
    errors = error.errors(include_url=False, include_context=False)
    where = ".".join(str(step) for step in errors[0]["loc"]) or "card"
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return f"{where}: {errors[0]['msg'].removeprefix('Value error, ')}, found {repr(errors[0]['input'])[:60]}{more}"
