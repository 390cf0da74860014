"""What a render tells while it works: frozen events handed to a callback, never printed here."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from engine import events as engine_events


@dataclass(frozen=True)
class AlbumStarted:
    """``count`` stems, ``duration_s`` seconds of audio not there yet, to render in about ``estimate_s`` seconds."""

    title: str
    count: int
    duration_s: float
    estimate_s: float


@dataclass(frozen=True)
class StemStarted:
    """Stem ``index`` (from 1) goes to the engine; its output will be ``duration_s`` seconds long."""

    index: int
    title: str
    stem: Path
    output: Path
    preset: str
    duration_s: float


@dataclass(frozen=True)
class StemProgress:
    """The engine says something about stem ``index``."""

    index: int
    event: engine_events.Event


@dataclass(frozen=True)
class StemWritten:
    """The output of stem ``index`` is whole in a temporary file, about to become ``output``."""

    index: int
    title: str
    output: Path


@dataclass(frozen=True)
class StemPublished:
    """The output of stem ``index`` is in place, whole.

    ``seconds`` is what it took. ``peak_dbfs`` is the output's sample peak and ``level_change_db`` its mean-square
    level against the stem's (both None when there is only silence). ``overs`` samples were beyond full scale, and
    ``overs_action`` says what became of them: none, kept, limited or scaled (by ``gain_db``).
    ``copied`` says that nothing was to be done, so that the stem's audio came through bit for bit. Where a loudness or
    a ceiling was asked for, ``levelled_db`` is the gain it took, and loudness and true peak are told before and after.
    """

    index: int
    title: str
    output: Path
    format: str
    duration_s: float
    seconds: float
    peak_dbfs: float | None
    level_change_db: float | None
    overs: int
    overs_action: str
    gain_db: float
    copied: bool
    levelled_db: float | None = None
    lufs_before: float | None = None
    lufs_after: float | None = None
    dbtp_before: float | None = None
    dbtp_after: float | None = None


@dataclass(frozen=True)
class StemSkipped:
    """The output of stem ``index`` is already there, rendered from the same inputs."""

    index: int
    title: str
    output: Path


@dataclass(frozen=True)
class StemFailed:
    """Stem ``index`` has no new output, and why; ``trace`` is for the reader of ``--debug``."""

    index: int
    title: str
    stem: Path
    reason: str
    trace: str = ""


@dataclass(frozen=True)
class AlbumDone:
    """All is done, or ``interrupted``: how many outputs are new, were there already, or are missing."""

    published: int
    skipped: int
    failed: int
    seconds: float
    interrupted: bool = False


@dataclass(frozen=True)
class Exported:
    """A session, or the report, is in place: ``kind`` is dawproject, rpp, midi, aaf or report."""

    kind: str
    path: Path


@dataclass(frozen=True)
class ExportFailed:
    """A session, or the report, could not be written, and why; the outputs are not touched by that."""

    kind: str
    path: Path
    reason: str


Event = (
    AlbumStarted
    | StemStarted
    | StemProgress
    | StemWritten
    | StemPublished
    | StemSkipped
    | StemFailed
    | AlbumDone
    | Exported
    | ExportFailed
)
OnEvent = Callable[[Event], None]
