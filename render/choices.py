"""What a user chooses for a stem, in layers: the command line over the track over the album."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from render import manifest
from render.errors import Mistake
from render.manifest import AlbumTable, TrackTable

Blend = str | Mapping[str, float]


@dataclass(frozen=True)
class Choices:
    """One choice for each thing that can be chosen; None leaves it to the next layer.

    ``bit_depth`` is source, 16, 24 or 32f; ``format`` is source, wav, aiff or flac; ``overs`` is limit, scale or
    refuse; ``tail_s`` is in seconds, or auto; ``automation`` is a list of tables (`render.lanes`); ``tempo`` is the
    path of a MIDI file; ``loudness_lufs`` and ``ceiling_dbtp`` are in the units of their names.
    """

    preset: Blend | None = None
    amount: float | None = None
    mix: float | None = None
    quality: str | None = None
    seed: int | None = None
    device: str | None = None
    bit_depth: str | None = None
    format: str | None = None
    overs: str | None = None
    tail_s: float | str | None = None
    tempo: str | None = None
    loudness_lufs: float | None = None
    ceiling_dbtp: float | None = None
    automation: Any = None


NAMES = tuple(f.name for f in fields(Choices))


@dataclass(frozen=True)
class Layer:
    """Choices with where they were made: in ``file`` under ``prefix``, or on the command line when that is ``--``.

    Paths among them resolve against ``base``.
    """

    file: str
    prefix: str
    choices: Choices
    base: Path | None = None

    @property
    def is_command_line(self) -> bool:
        """Whether the choices were typed and not read from a manifest."""
        return self.prefix == "--"

    def key(self, name: str) -> str:
        """How the user wrote the choice called ``name``."""
        return f"--{name.replace('_', '-')}" if self.is_command_line else f"{self.prefix}.{name}"


def command_line(choices: Choices) -> tuple[Layer, list[Mistake]]:
    """The layer of what was typed, without what is out of range, and the mistakes that this made."""
    typed = {name: value for name, value in asdict(choices).items() if value is not None}
    checked, mistakes = manifest.check({"album": typed, "track": [{}]}, "")
    layer = Layer("", "--", of_table(checked.album))
    return layer, [Mistake("", layer.key(m.key.removeprefix("album.")), m.message) for m in mistakes]


def of_table(table: AlbumTable | TrackTable) -> Choices:
    """The choices made in one table of a manifest."""
    chosen = {name: getattr(table, name) for name in NAMES}
    return Choices(**chosen | {"bit_depth": None if table.bit_depth is None else str(table.bit_depth)})


def chosen(layers: Sequence[Layer], name: str) -> tuple[Any, Layer | None]:
    """The choice called ``name`` of the first layer that makes one, with that layer; (None, None) when none does."""
    return next(((v, layer) for layer in layers if (v := getattr(layer.choices, name)) is not None), (None, None))
