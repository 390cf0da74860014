"""What a render will do, decided before any audio is touched: a plan of jobs, each with all it needs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine import audio, device
from engine.formats import Format
from engine.style import Settings
from presets.preset import Preset
from presets.version import gramophone_version
from render import blending, estimate, stamps
from render import chain as chains
from render.breakpoints import Breakpoints
from render.chain import Chain
from render.delivery import Delivery
from render.instrument import Performance
from render.tempo import Song


@dataclass(frozen=True)
class Job:
    """One stem to render: everything is decided.

    ``index`` counts from 1. ``output`` is below ``root``, the output folder. ``preset`` is None for a stem that is
    not styled. ``length`` is the output's in samples, and ``done`` says that it is there already. ``song`` has the bars
    and markers at which the stem is best cut, which begins ``song_start_s`` after it. A ``performance`` is a part of a
    MIDI file, played before all else.
    ``loudness_lufs`` and ``ceiling_dbtp`` are None unless they were asked for. ``amount_line`` and ``mix_line`` are
    what amount and mix move by, if they do; ``settings`` then has the highest amount, and no mix of its own. With
    ``tail_auto`` the output goes on until the chain is quiet, and ``length`` is only what it has at least.
    """

    index: int
    title: str
    info: audio.Info
    root: Path
    output: Path
    preset: Preset | None
    label: str
    settings: Settings
    chain: Chain
    format: Format
    overs: str
    tail_samples: int
    overwrite: bool
    done: bool = False
    notes: tuple[str, ...] = ()
    song: Song | None = None
    song_start_s: float = 0.0
    performance: Performance | None = None
    loudness_lufs: float | None = None
    ceiling_dbtp: float | None = None
    amount_line: Breakpoints | None = None
    mix_line: Breakpoints | None = None
    tail_auto: bool = False

    @property
    def stem(self) -> Path:
        """The audio file, or the MIDI file of a ``performance``."""
        return self.info.path

    @property
    def length(self) -> int:
        """The output's length in samples, without the tail that only the render finds."""
        return self.info.frames + self.tail_samples

    @property
    def duration_s(self) -> float:
        """The output's length in seconds, as far as it is known."""
        return self.length / self.info.rate

    @property
    def styled(self) -> bool:
        """Whether the engine has anything to do."""
        return self.preset is not None and self.settings.amount > 0 and self.settings.mix > 0

    @property
    def levelled(self) -> bool:
        """Whether the output's level is to be found in a pass of its own."""
        return self.loudness_lufs is not None or self.ceiling_dbtp is not None

    @property
    def rings(self) -> bool:
        """Whether the render is to find how long the output is."""
        return self.tail_auto and bool(self.chain)

    @property
    def amounts(self) -> tuple[float, ...]:
        """The amounts above 0 that the engine renders."""
        line = self.amount_line
        return (self.settings.amount,) if line is None else tuple(r for r in blending.rungs(line) if r > 0)

    @property
    def untouched(self) -> bool:
        """Whether the stem's audio is to come through as it is, in whatever format."""
        changed = self.styled or self.chain or self.tail_samples or self.levelled
        return not changed and self.performance is None

    @property
    def estimate_s(self) -> float:
        """About how many seconds the job takes."""
        if self.done:
            return 0.0
        return estimate.seconds(
            self.duration_s,
            rate=self.info.rate,
            channels=self.info.channels,
            quality=self.settings.quality,
            device=device.pick(self.settings.device).type,
            card=self.preset.card if self.preset is not None and self.styled else None,
            times=len(self.amounts),
        )

    @property
    def moving(self) -> dict[str, str]:
        """What ``amount`` and ``mix`` move by, in a few words each."""
        lines = {"amount": self.amount_line, "mix": self.mix_line}
        return {name: line.told for name, line in lines.items() if line is not None}

    def inputs(self) -> dict[str, Any]:
        """All that the output's bytes depend on, as JSON; reads the stem and the chain's files for their digests."""
        settings = self.settings
        return {
            "stem": stamps.file_digest(self.stem),
            "preset": self.preset.content_hash if self.styled and self.preset else None,
            "settings": {
                "amount": settings.amount if self.styled else 0.0,
                "mix": settings.mix if self.styled else 0.0,
                "quality": settings.quality,
                "seed": settings.seed,
                "device": settings.device,
            },
            "chain": [step.record() for step in self.chain],
            "chain_files": [stamps.file_digest(path) for path in chains.files(self.chain)],
            "format": [self.format.container, self.format.subtype, self.format.endian],
            "overs": self.overs,
            "tail_samples": "auto" if self.rings else self.tail_samples,
            "version": gramophone_version(),
            # Only where there is one, so that what was rendered before there were any is still known.
            **({"song": [self.song.digest, self.song_start_s]} if self.song and self.styled else {}),
            **({"performance": self.performance.record()} if self.performance else {}),
            **({"level": [self.loudness_lufs, self.ceiling_dbtp]} if self.levelled else {}),
            **({"automation": moving} if (moving := self.moving) and self.styled else {}),
            # The output tells its own title and preset by name.
            "told": [self.title, self.label],
        }


@dataclass(frozen=True)
class Unreadable:
    """A stem that is there but cannot be rendered, and why; the others go on without it."""

    index: int
    title: str
    stem: Path
    reason: str


@dataclass(frozen=True)
class Plan:
    """What a render will do: ``jobs`` in order, stems it cannot read, and what comes beside the outputs."""

    title: str
    jobs: tuple[Job, ...]
    unreadable: tuple[Unreadable, ...] = ()
    delivery: Delivery | None = None

    @property
    def duration_s(self) -> float:
        """Seconds of output."""
        return sum((job.duration_s for job in self.jobs), 0.0)

    @property
    def estimate_s(self) -> float:
        """About how many seconds the jobs take."""
        return sum((job.estimate_s for job in self.jobs), 0.0)
