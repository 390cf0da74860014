"""What a preset may be named by: a name, a preset file, or a blend of several with weights."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from presets import names
from presets.errors import PresetError
from presets.library import Library, expanded

if TYPE_CHECKING:
    from presets.preset import Preset

_MAX_PARTS = 16
_MAX_LABEL_BYTES = 120
_WEIGHTS = (1e-6, 1e6)
_FORM = "write one preset, or a blend like tape:0.7,choir:0.3"


@dataclass(frozen=True)
class Part:
    """One preset of a blend, by name or by file, with its share of 1."""

    preset: str
    weight: float

    @property
    def name(self) -> str:
        """The preset's name, also when it is given as a file."""
        return names.from_path(Path(self.preset)) if names.is_path(self.preset) else self.preset


@dataclass(frozen=True)
class BlendSpec:
    """One or more presets whose weights sum to 1."""

    parts: tuple[Part, ...]

    @property
    def label(self) -> str:
        """A name for files and titles: the preset's own, or the parts with their percentages.

        >>> parse("tape:0.7,choir:0.3").label
        'tape70-choir30'
        """
        if len(self.parts) == 1:
            return self.parts[0].name
        label = "-".join(f"{part.name}{part.weight * 100:.0f}" for part in self.parts)
        if len(label.encode()) <= _MAX_LABEL_BYTES and len(label) <= names.MAX_CHARACTERS:
            return label
        digest = hashlib.sha256(label.encode()).hexdigest()[:8]
        return f"{self.parts[0].name[:40].rstrip('. ')}-and-{len(self.parts) - 1}-more-{digest}"


def parse(value: str | Mapping[str, float]) -> BlendSpec:
    """The presets meant by ``"tape"``, ``"tape:0.7,choir:0.3"``, ``"tape,choir"`` or ``{"tape": 0.7, "choir": 0.3}``.

    Where a name stands, a path ending in ``.safetensors`` may. Weights are relative and come back summing to 1; without
    any, parts weigh the same. Raises `PresetError` for an impossible name, a weight that is not above zero, a preset
    named twice, or weights on some parts only. No file is looked at.

    >>> parse("tape:3, choir:1").parts
    (Part(preset='tape', weight=0.75), Part(preset='choir', weight=0.25))
    """
    found = _pairs_of_text(value) if isinstance(value, str) else [(k, _weight(v, k)) for k, v in value.items()]
    if not 0 < len(found) <= _MAX_PARTS:
        raise PresetError(f"a blend of {len(found)} presets; expected 1 to {_MAX_PARTS}: {_FORM}")
    parts = [(name if names.is_path(name) else names.validated(name), weight) for name, weight in found]
    for index, (name, _) in enumerate(parts):
        if name in [earlier for earlier, _ in parts[:index]]:
            raise PresetError(f"preset {name!r} is named twice in one blend; add its weights")
    total = math.fsum(weight for _, weight in parts)
    return BlendSpec(tuple(Part(name, weight / total) for name, weight in parts))


def file_of(part: Part, library: Library, base: Path | None = None) -> Path:
    """The file of ``part``: the library's, or the one it names itself, looked for from ``base`` when relative.

    Raises `PresetError` when the library has no such preset; whether a named file is there shows when it is read.
    """
    if not names.is_path(part.preset):
        return library.find(part.preset)
    return (base or Path()) / expanded(Path(part.preset))


def load_blend(spec: BlendSpec, library: Library, *, base: Path | None = None) -> "Preset":
    """The preset that ``spec`` means; preset files given by a relative path are looked for from ``base``.

    A single preset is loaded as it is, several come back as `blended` under the name `BlendSpec.label`. Raises
    `PresetError` when a preset is missing or broken, or when they do not blend.
    """
    if len(spec.parts) > 1:
        return blended(spec, spec.label, library, base=base)
    from presets import preset as presets

    return presets.load(file_of(spec.parts[0], library, base))


def blended(
    spec: BlendSpec,
    name: str,
    library: Library,
    *,
    base: Path | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> "Preset":
    """The presets of ``spec`` as one preset called ``name``, not yet kept.

    Its default amount is the weighted mean, its chain the one that all parts share (none otherwise), unless
    ``defaults`` gives card fields of its own. Raises `PresetError` when there is but one preset, one is missing or
    broken, or recipes or rates differ.
    """
    if len(spec.parts) < 2:
        raise PresetError(f"a blend needs two presets at least; {spec.parts[0].preset!r} is one")
    from presets import preset as presets

    loaded = [(presets.load(file_of(part, library, base)), part.weight) for part in spec.parts]
    return _blend(loaded, name, dict(defaults or {}))


def _blend(parts: "Sequence[tuple[Preset, float]]", name: str, defaults: dict[str, Any]) -> "Preset":
    from engine import style
    from engine.errors import EngineError
    from presets import preset as presets
    from presets.cards import BlendPart, Reference

    first = parts[0][0]
    for other, _ in parts[1:]:
        if (other.card.recipe, other.card.rate) != (first.card.recipe, first.card.rate):
            raise PresetError(
                f"a blend needs one recipe and one rate, but {first.name!r} is {first.card.recipe} at "
                f"{first.card.rate} Hz and {other.name!r} is {other.card.recipe} at {other.card.rate} Hz; learn "
                f"{other.name!r} again with --recipe {first.card.recipe} --rate {first.card.rate}"
            )
    try:
        target = style.blend([(preset.target, weight) for preset, weight in parts])
    except EngineError as error:
        raise PresetError(f"{' and '.join(repr(preset.name) for preset, _ in parts)} do not blend: {error}") from error
    heard: dict[str, Reference] = {r.sha256: r for preset, _ in parts for r in preset.card.references}
    levels = [(preset.card.loudness_dbfs, weight) for preset, weight in parts]
    power = math.fsum(weight * 10 ** (level / 10) for level, weight in levels if level is not None)
    fields: dict[str, Any] = {
        "amount": min(1.0, round(math.fsum(weight * preset.card.amount for preset, weight in parts), 6)),
        "chain": first.card.chain if all(preset.card.chain == first.card.chain for preset, _ in parts) else (),
        "licence": "; ".join(dict.fromkeys(p.card.licence for p, _ in parts if p.card.licence))[:300],
    }
    return presets.new(
        name,
        target,
        references=list(heard.values()),
        loudness_dbfs=10 * math.log10(power) if power > 0 and None not in dict(levels) else None,
        blend_of=[BlendPart(name=p.name, weight=weight, content_hash=p.content_hash) for p, weight in parts],
        **fields | defaults,
    )


def _pairs_of_text(text: str) -> list[tuple[str, float]]:
    if names.is_path(text) and Path(text).is_file():
        return [(text, 1.0)]  # also a path that holds a comma
    items = [item.strip() for item in text.split(",")]
    if not all(items):
        raise PresetError(f"{text!r} has an empty part; {_FORM}" if text.strip() else f"no preset is named; {_FORM}")
    split = [_split(item) for item in items]
    without = [name for name, weight in split if weight is None]
    if without and len(without) < len(split):
        raise PresetError(f"{without[0]!r} has no weight in {text!r}; give every part one, or none")
    return [(name, 1.0 if weight is None else _weight(weight, name)) for name, weight in split]


def _split(item: str) -> tuple[str, str | None]:
    if names.is_path(item) or ":" not in item:
        return item, None
    name, _, weight = item.rpartition(":")
    return name.strip(), weight.strip()


def _weight(value: object, name: str) -> float:
    try:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError(value)
        weight = float(value)
        if not _WEIGHTS[0] <= weight <= _WEIGHTS[1]:  # this way round NaN is refused too
            raise ValueError(value)
    except (ValueError, OverflowError):
        shown = repr(value) if isinstance(value, str) else str(value)[:40]
        raise PresetError(
            f"the weight of {name!r} is {shown}; expected a number above 0 like 0.7 (0.000001 to 1000000)"
        ) from None
    return weight
