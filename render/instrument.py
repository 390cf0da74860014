"""A MIDI track of a manifest: its file, its part and the instrument that plays it, checked before anything sounds.

What it will be as audio (rate, channels, length) is known from these alone; `written` makes it.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine import audio
from engine.formats import Format
from render import external, hosting, midi, midipart, midirender, stamps
from render.errors import RenderError, found
from render.external import External
from render.midipart import Part
from render.publish import partial
from render.tempo import Song

DEFAULT_RATE = 48_000
DEFAULT_TAIL_S = 2.0
MIN_RATE, MAX_RATE = 8_000, 192_000
MAX_TAIL_S = 60.0
EXPECTED = 'a table like { plugin = "Synth.vst3", tail_s = 2.0 }'
NO_INSTRUMENT = f"a MIDI file makes no sound of its own; expected {EXPECTED}"
# As wide as a long song may get, and as exact as instruments are.
_PLAYED = Format("RF64", "FLOAT")
Wrong = Callable[[str, str], None]


@dataclass(frozen=True)
class Instrument:
    """A plugin that plays notes; ``rate`` in Hz is None to go with the album, ``tail_s`` is for the last notes."""

    plugin: External
    rate: int | None = None
    tail_s: float = DEFAULT_TAIL_S

    @property
    def name(self) -> str:
        """What it is called."""
        return self.plugin.plugin.name

    @property
    def channels(self) -> int:
        """Two where the plugin can, else as many as it gives."""
        widths = self.plugin.plugin.widths
        return 2 if 2 in widths else min(widths, default=2)

    @property
    def programs(self) -> bool:
        """Whether program changes choose its sound; Audio Units get them as they are."""
        unit = self.plugin.path.suffix.lower() == ".component"
        return unit or any(dial.programs for dial in self.plugin.plugin.parameters)


@dataclass(frozen=True)
class Performance:
    """A ``part`` of a file, whose bytes have ``sha256``, played by ``instrument`` at ``rate`` Hz.

    ``song`` is the time of its file, where it has but one.
    """

    part: Part
    sha256: str
    instrument: Instrument
    rate: int
    song: Song | None = None

    @property
    def info(self) -> audio.Info:
        """What it will be as a stem: the length of its file and the tail, and by default written in 24 bits."""
        frames = midirender.length(self.part, self.rate, self.instrument.tail_s)
        return audio.Info(self.part.path, self.rate, self.instrument.channels, frames, Format("WAV", "PCM_24"))

    def record(self) -> dict[str, Any]:
        """What its sound depends on besides the bytes of its file, as JSON."""
        state = self.instrument.plugin.preset_file
        return {
            "track": self.part.label,
            "rate": self.rate,
            "channels": self.instrument.channels,
            "tail_s": self.instrument.tail_s,
            "instrument": self.instrument.plugin.record(),
            "preset_file": None if state is None else stamps.file_digest(state),
        }


@dataclass(frozen=True)
class Read:
    """A part as it was read: `Performance` without the instrument."""

    part: Part
    sha256: str
    song: Song | None


def read_part(path: Path, track: str | int | None, wrong: Wrong) -> Read | None:
    """The part of a manifest's track; None after ``wrong(key, message)`` with the key ``midi`` or ``midi_track``."""
    key = "midi"
    try:
        sha256 = stamps.file_digest(path) if path.is_file() else ""
        score = midi.read(path)
        key = "midi" if track is None else "midi_track"
        part = midipart.part(score, track)
    except RenderError as error:
        wrong(key, str(error))
        return None
    return Read(part, sha256, None if score.independent and len(score.tracks) > 1 else score.song)


def read(raw: object, *, folder: Path | None, wrong: Wrong) -> Instrument | None:
    """The instrument in the table ``raw``, loaded once to see that it can be; None after ``wrong(key, message)``."""
    if not isinstance(raw, Mapping):
        wrong(
            "instrument",
            f"found {found(raw)}; expected {EXPECTED}" if raw is not None else f"is missing: {NO_INSTRUMENT}",
        )
        return None
    mistakes: list[str] = []

    def note(key: str, message: str) -> None:
        mistakes.append(key)
        wrong(key, message)

    rate, tail_s = raw.get("rate"), raw.get("tail_s", DEFAULT_TAIL_S)
    if rate is not None and (isinstance(rate, bool) or not isinstance(rate, int) or not MIN_RATE <= rate <= MAX_RATE):
        note("instrument.rate", f"found {found(rate)}; expected a whole number of Hz from {MIN_RATE} to {MAX_RATE}")
    if isinstance(tail_s, bool) or not isinstance(tail_s, int | float) or not 0 <= tail_s <= MAX_TAIL_S:
        note("instrument.tail_s", f"found {found(tail_s)}; expected a number of seconds from 0 to {MAX_TAIL_S:g}")
    entry = {key: value for key, value in raw.items() if key not in ("rate", "tail_s")}
    plugin = external.read(entry, "instrument", folder=folder, wrong=note, instrument=True)
    if plugin is None or mistakes:
        return None
    if problem := hosting.trial(plugin):
        wrong("instrument", problem)
        return None
    return Instrument(plugin, rate, float(tail_s))


@contextmanager
def written(performance: Performance, beside: Path) -> Iterator[Path]:
    """A sound file of ``performance`` in the folder of ``beside``, gone when the block is left, however it is.

    Raises `ChainError` with the plugin's name when it crashes, hangs, or plays nothing or nonsense.
    """
    info = performance.info
    with partial(beside) as path:
        with (
            hosting.playing(performance.instrument.plugin, info.rate, info.channels) as player,
            audio.Writer(path, info.rate, info.channels, info.frames, _PLAYED) as writer,
        ):
            for block in midirender.stream(performance.part, player, info.rate, info.channels, info.frames):
                writer.write(block)
        yield path
