"""References on disk: which files are meant, what they hash to, and the audio of them worth learning from."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from presets import names
from presets.cards import RATES_HZ, Reference
from presets.errors import PresetError
from presets.events import OnEvent, ReferenceRead, ReferenceSkipped

if TYPE_CHECKING:
    from torch import Tensor

AUDIO_SUFFIXES = frozenset(
    "." + ending
    for kind in ("wav wave bwf rf64 w64", "aif aiff aifc au snd caf", "flac ogg oga opus mp3")
    for ending in kind.split()
)
EXCERPT_S = 10.0
_MAX_FILES = 1000
_BLOCK_S = 0.4  # the gating block of ITU-R BS.1770
_SILENT_DBFS = -70.0  # its absolute gate
_GATE_DB = 10.0  # its relative gate


@dataclass(frozen=True)
class File:
    """One reference file; ``listed`` when it was found in a folder rather than named itself."""

    path: Path
    sha256: str
    listed: bool

    @property
    def name(self) -> str:
        """The file's name without its folder, as it may be shown."""
        return _name(self.path)


@dataclass(frozen=True)
class Heard:
    """What was read of one file: ``excerpts`` are float32 ``[channels, samples]`` at the rate asked for."""

    file: File
    excerpts: "Sequence[Tensor]"
    duration_s: float
    rate: int
    channels: int

    def record(self) -> Reference:
        """What the card keeps of the file: never the folder it was in."""
        return Reference(
            name=_name(self.file.path),
            duration_s=round(self.duration_s, 6),
            sha256=self.file.sha256,
            rate=self.rate,
            channels=self.channels,
        )


def collect(paths: Sequence[Path], on_event: OnEvent) -> list[File]:
    """The audio files among ``paths`` and in the folders among them, hashed, by digest; repeats are told and dropped.

    The order of the digests makes learning independent of the order of naming. Raises `PresetError` when a path does
    not exist, a folder holds no audio, or a file cannot be read.
    """
    found: dict[str, File] = {}
    for path, listed in _walk(paths):
        digest = _sha256(path)
        if digest in found:
            on_event(ReferenceSkipped(_name(path), f"the same bytes as {_name(found[digest].path)}, learnt once"))
        else:
            found[digest] = File(path, digest, listed)
    if len(found) > _MAX_FILES:
        raise PresetError(f"{len(found)} references; a preset is learnt from at most {_MAX_FILES}: name fewer")
    return [found[digest] for digest in sorted(found)]


def hear(files: Sequence[File], rate: int | None, listen_s: float, on_event: OnEvent) -> tuple[list[Heard], int]:
    """Read at most about ``listen_s`` seconds of ``files``, evenly, at ``rate`` Hz, and say the rate.

    Without ``rate`` it is the highest of the files' own, kept within 44.1 and 48 kHz. A file longer than its share
    gives excerpts of `EXCERPT_S` spread over its whole length. Silent files are told and dropped. Raises
    `PresetError` when all are silent, `AudioError` when a named file is not audio (one in a folder is dropped).
    """
    from engine import audio
    from engine.errors import AudioError

    infos = []
    for file in files:
        try:
            infos.append((file, audio.probe(file.path)))
        except AudioError as error:
            if not file.listed:
                raise
            on_event(ReferenceSkipped(_name(file.path), str(error)))
    if not infos:
        raise PresetError("none of the files in the folder can be read as audio; name other references")
    rate = rate or min(max(max(info.rate for _, info in infos), 44_100), 48_000)
    total_s = sum(info.duration_s for _, info in infos)
    share = min(1.0, listen_s / total_s) if total_s > 0 else 1.0
    heard = []
    for index, (file, info) in enumerate(infos):
        parts = [audio.read(file.path).samples] if share == 1.0 else _excerpts(file.path, info.rate, info.frames, share)
        if _active_power([(part, info.rate) for part in parts]) is None:
            on_event(ReferenceSkipped(_name(file.path), "silent"))
            continue
        used_s = sum(part.shape[-1] for part in parts) / info.rate
        on_event(ReferenceRead(index, len(infos), _name(file.path), info.duration_s, used_s))
        at_rate = [part if info.rate == rate else audio.resample(part, info.rate, rate) for part in parts]
        heard.append(Heard(file, at_rate, info.duration_s, info.rate, info.channels))
    if not heard:
        raise PresetError("the references are silent: there is no sound to learn; name others")
    return heard, rate


def loudness_dbfs(heard: Sequence[Heard], rate: int) -> float:
    """The mean square of the active audio in dB, channels averaged; a full-scale sine has −3.01 dBFS."""
    power = _active_power([(excerpt, rate) for each in heard for excerpt in each.excerpts])
    return 10 * math.log10(power) if power else -math.inf


def checked_rate(rate: int) -> int:
    """``rate`` in Hz when a preset can be learnt at it; `PresetError` otherwise."""
    if not RATES_HZ[0] <= rate <= RATES_HZ[1]:
        raise PresetError(f"rate is {rate} Hz; expected {RATES_HZ[0]} to {RATES_HZ[1]} Hz")
    return rate


def _walk(paths: Sequence[Path]) -> list[tuple[Path, bool]]:
    if not paths:
        raise PresetError("no references; name at least one audio file or folder")
    found: list[tuple[Path, bool]] = []
    for path in paths:
        try:
            if path.is_dir():
                inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES and p.is_file())
                inside = [p for p in inside if not any(part.startswith(".") for part in p.relative_to(path).parts)]
                if not inside:
                    raise PresetError(f"the folder {path} holds no audio; expected files like .wav, .flac or .mp3")
                found += [(p, True) for p in inside]
            elif path.is_file():
                found.append((path, False))
            else:
                what = "is not a regular file" if path.exists() else "does not exist"
                raise PresetError(f"the reference {path} {what}; name an audio file or a folder of them{_near(path)}")
        except OSError as error:
            raise PresetError(f"the reference {path} cannot be read: {error.strerror or error}") from error
    return found


def _near(path: Path) -> str:
    beside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
    near = names.nearest(path.name, beside)
    return f"; did you mean {near!r}?" if near else ""


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise PresetError(f"the reference {path} cannot be read: {error.strerror or error}") from error


def _excerpts(path: Path, rate: int, frames: int, share: float) -> "list[Tensor]":
    from engine import audio

    # Many short files each get a share below one excerpt: a second is the least that still holds a sound.
    length = max(1, round(rate * min(EXCERPT_S, max(1.0, share * frames / rate))))
    count = math.ceil(frames / length)
    keep = max(1, math.floor(count * share))
    wanted = {round((index + 0.5) * count / keep - 0.5) for index in range(keep)}
    return [block for index, block in enumerate(audio.read_blocks(path, length)) if index in wanted]


def _active_power(parts: "Sequence[tuple[Tensor, int]]") -> float | None:
    """The mean square over the 0.4 s blocks that pass both gates of BS.1770 (unweighted); None when none does."""
    import torch

    blocks = []
    for samples, rate in parts:
        size = min(samples.shape[-1], max(1, round(rate * _BLOCK_S)))
        if size:
            whole = samples[:, : samples.shape[-1] // size * size].view(len(samples), -1, size)
            # A norm, not a mean of squares: it makes no copy of minutes of audio.
            blocks.append(torch.linalg.vector_norm(whole, dim=(0, 2)).double().square() / (len(samples) * size))
    powers = torch.cat(blocks) if blocks else torch.zeros(0, dtype=torch.float64)
    heard = powers[powers > 10 ** (_SILENT_DBFS / 10)]
    if not len(heard):
        return None
    return float(heard[heard > heard.mean() * 10 ** (-_GATE_DB / 10)].mean())


def _name(path: Path) -> str:
    return names.printable(path.name)[:300]
