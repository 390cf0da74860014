"""The two sets a trained preset is made from: folders of sound files, read once and kept as pictures."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from presets import cards, references
from presets.cards import Reference, SetCard
from presets.errors import PresetError
from presets.events import OnEvent, ReferenceRead, ReferenceSkipped

if TYPE_CHECKING:
    from torch import Tensor

#: Below the first nothing is trained; below the second it is, and said that more would sound better.
LEAST_S, GOOD_S = 60.0, 600.0
_BLOCK_S = 60.0


@dataclass(frozen=True)
class Set:
    """What there is of one ``side`` ("content" or "style"): its files, and pictures ``[bands, frames]`` of them."""

    side: str
    files: tuple[Reference, ...]
    pictures: "Sequence[Tensor]" = field(repr=False)

    @property
    def seconds(self) -> float:
        """How much sound is in the pictures; what is silent counts for nothing."""
        from engine.travelgan.clips import seconds

        return seconds(sum(picture.shape[1] for picture in self.pictures))

    @property
    def sha256(self) -> str:
        """The digest of the files, whatever they are called and wherever they are."""
        return cards.digest({"files": [file.sha256 for file in self.files]})

    def card(self) -> SetCard:
        """What a preset's card keeps of it."""
        return SetCard(files=len(self.files), seconds=round(self.seconds, 3), sha256=self.sha256)


def hear(paths: Sequence[Path], side: str, on_event: OnEvent) -> Set:
    """Read the audio files among ``paths`` and in the folders among them; repeats and silence are told and dropped.

    Long files are read minute by minute. Raises `PresetError` when there is no audio, and when there is less than
    `LEAST_S` seconds of it, with the numbers; `AudioError` when a file that is named itself is not audio.
    """
    from engine import audio
    from engine.errors import AudioError

    files: list[Reference] = []
    pictures: list[Tensor] = []
    found = references.collect(paths, on_event)
    for index, file in enumerate(found):
        try:
            info = audio.probe(file.path)
            heard = _pictures(file.path, info.rate)
        except AudioError as error:
            if not file.listed:
                raise
            on_event(ReferenceSkipped(file.name, str(error)))
            continue
        if not heard:
            on_event(ReferenceSkipped(file.name, "silent"))
            continue
        on_event(ReferenceRead(index, len(found), file.name, info.duration_s, info.duration_s))
        files.append(
            Reference(
                name=file.name,
                duration_s=round(info.duration_s, 6),
                sha256=file.sha256,
                rate=info.rate,
                channels=info.channels,
            )
        )
        pictures += heard
    out = Set(side, tuple(files), pictures)
    if out.seconds < LEAST_S:
        count = f"{len(files)} file{'' if len(files) == 1 else 's'}"
        raise PresetError(
            f"the {side} set has {out.seconds:.1f} s of sound in {count}; training needs {LEAST_S:.0f} s at least, and "
            f"{GOOD_S / 60:.0f} minutes or more to learn a sound rather than a recording: add files to it"
        )
    return out


def _pictures(path: Path, rate: int) -> "list[Tensor]":
    from engine import audio
    from engine.travelgan import clips
    from engine.travelgan.view import RATE_HZ

    out = []
    for block in audio.read_blocks(path, round(_BLOCK_S * rate)):
        sound = block if rate == RATE_HZ else audio.resample(block, rate, RATE_HZ)
        picture = clips.picture(sound)
        if picture is not None and picture.shape[1]:
            out.append(picture)
    return out
