"""What a sound file says beside its sound: where it starts, its markers, its texts, and how they reach another file.

`read` takes what a file of any kind says; `packed` makes the chunks that say it in a WAV or an AIFF. Chunks are not
trusted: each is read up to a limit, positions must lie inside the sound, and what is left out is told in ``dropped``.
Standard library only; nothing here opens a file.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import BinaryIO

from engine import bext, container, cues, ixml, tags
from engine.bext import Broadcast
from engine.cues import Cue
from engine.errors import AudioError
from engine.formats import INTEGER_BITS, SAMPLE_BYTES, Format

RIFF_KIN = ("WAV", "WAVEX", "RF64")
# Containers whose texts libsndfile writes by itself.
TEXT_KIN = ("FLAC", "CAF")
_LIMITS = {
    b"bext": bext.FIXED_BYTES + 2**18,
    b"iXML": ixml.MAX_BYTES,
    b"cue ": 4 + 24 * cues.MAX_CUES,
    b"LIST": 2**20,
    b"MARK": 2**20,
    **dict.fromkeys(tags.APPLE_NAMES, 2**16),
}
_MAX_LISTS = 16
_LAST_POSITION = 2**32 - 1


@dataclass(frozen=True)
class Annotations:
    """What a file at ``rate`` Hz says beside its sound.

    ``cues`` count samples from the sound's first one. ``tags`` have the four-letter names of a WAV's ``LIST INFO``.
    ``ixml`` is a whole document, or empty. ``dropped`` says, in words, what was there and is not carried.
    """

    rate: int
    broadcast: Broadcast | None = None
    ixml: str = ""
    cues: tuple[Cue, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()

    @property
    def start_samples(self) -> int | None:
        """The first sample's place on the timeline, in samples since midnight; None when the file does not say."""
        if self.broadcast is not None:
            return self.broadcast.time_reference
        found = ixml.start(self.ixml) if self.ixml else None
        return found if found is not None and found <= bext.MAX_REFERENCE else None

    @property
    def start_s(self) -> float:
        """The first sample's place on the timeline in seconds, 0 when the file does not say."""
        return (self.start_samples or 0) / self.rate

    def at_rate(self, rate: int) -> "Annotations":
        """The same of a sound resampled to ``rate`` Hz: every position is the sample nearest to its own time.

        The document keeps its words until it is packed.
        """
        start = self.start_samples
        broadcast = self.broadcast
        if broadcast is None and start is not None:
            broadcast = Broadcast(time_reference=start)
        document = self.ixml
        if rate != self.rate and document:
            facts = ixml.Facts(rate, bext.rescaled(start or 0, self.rate, rate))
            document = ixml.agreeing(document, facts, self.rate)
        return replace(
            self,
            rate=rate,
            broadcast=None if broadcast is None else broadcast.at_rate(self.rate, rate),
            ixml=document,
            cues=tuple(cue.at_rate(self.rate, rate) for cue in self.cues),
        )


def read(stream: BinaryIO, *, rate: int, frames: int, strings: Mapping[str, str | None]) -> Annotations:
    """What the open file, ``frames`` long at ``rate`` Hz, says; ``strings`` are the texts that its decoder found."""
    stream.seek(0)
    magic = stream.read(4)
    order = ">" if magic in (b"RIFX", b"FORM") else "<"
    dropped: list[str] = []
    if magic in (b"RIFF", b"RIFX", b"RF64"):
        found = _chunks(stream, dropped)
        annotations = _of_wave(found, rate, order, dropped)
    elif magic == b"FORM":
        found = _chunks(stream, dropped)
        texts = [(name, payload) for name, payload in found if name in tags.APPLE_NAMES]
        marks = next((payload for name, payload in found if name == b"MARK"), b"")
        annotations = Annotations(rate, cues=cues.parse_aiff(marks), tags=tags.parse_aiff(texts))
    else:
        annotations = Annotations(rate, tags=tags.from_strings(strings))
    inside = tuple(
        replace(cue, length=min(cue.length, frames - cue.position))
        for cue in annotations.cues
        if cue.position <= frames
    )
    if outside := len(annotations.cues) - len(inside):
        dropped.append(f"{outside} markers beyond the end of the sound")
    return replace(annotations, cues=inside, dropped=tuple(dropped))


def packed(annotations: Annotations, form: Format, frames: int) -> list[tuple[bytes, bytes]]:
    """The chunks, each a name and its payload, that say ``annotations`` in a file of ``frames`` in ``form``.

    None for a container that has no place for chunks of ours; see `lost`.
    """
    order = byte_order(form)
    points = [cue for cue in annotations.cues if cue.position <= min(frames, _LAST_POSITION)]
    if form.container == "AIFF":
        return [*tags.pack_aiff(annotations.tags), *cues.pack_aiff(points)]
    if form.container not in RIFF_KIN:
        return []
    made: list[tuple[bytes, bytes]] = []
    if annotations.broadcast is not None:
        made.append((b"bext", bext.pack(annotations.broadcast, order)))
    if annotations.ixml:
        facts = ixml.Facts(annotations.rate, annotations.start_samples or 0, depth(form))
        document = ixml.agreeing(annotations.ixml, facts, annotations.rate)
        made.append((b"iXML", bext.even(document.encode(), b"\n")))
    if order == "<":  # libsndfile counts the cues of a RIFX the wrong way round, and then finds no sound
        made += cues.pack_riff(points)
    return [*made, *tags.pack_info(annotations.tags, order)]


def lost(annotations: Annotations, form: Format) -> list[str]:
    """What of ``annotations`` a file in ``form`` has no place for, in words."""
    found = []
    if annotations.start_samples and form.container not in RIFF_KIN:
        found.append(f"the start time ({annotations.start_s:.3f} s)")
    if annotations.cues and (form.container not in (*RIFF_KIN, "AIFF") or _is_rifx(form)):
        found.append(f"{len(annotations.cues)} markers")
    elif len(annotations.cues) > cues.MAX_WRITTEN:
        found.append(f"{len(annotations.cues) - cues.MAX_WRITTEN} of {len(annotations.cues)} markers")
    if annotations.ixml and form.container not in RIFF_KIN:
        found.append("the iXML document")
    if annotations.tags and form.container not in (*RIFF_KIN, *TEXT_KIN, "AIFF"):
        found.append("the tags")
    return found


def byte_order(form: Format) -> str:
    """How a file in ``form`` packs its numbers, in `struct`'s sign."""
    return ">" if form.container == "AIFF" or form.endian == "BIG" else "<"


def _is_rifx(form: Format) -> bool:
    return form.container in RIFF_KIN and form.endian == "BIG"


def depth(form: Format) -> int:
    """The bits of one sample in ``form``."""
    return INTEGER_BITS.get(form.subtype, 8 * SAMPLE_BYTES.get(form.subtype, 0))


def _of_wave(found: list[tuple[bytes, bytes]], rate: int, order: str, dropped: list[str]) -> Annotations:
    first = dict(reversed(found))
    lists = [payload for name, payload in found if name == b"LIST"][:_MAX_LISTS]
    broadcast = bext.parse(first[b"bext"], order) if b"bext" in first else None
    if broadcast is None and b"bext" in first:
        dropped.append("a bext chunk that is cut off")
    if broadcast is not None and broadcast.time_reference > bext.MAX_REFERENCE:
        dropped.append(f"a start time that no clock shows ({broadcast.time_reference} samples)")
        broadcast = replace(broadcast, time_reference=0)
    document = ixml.parse(first[b"iXML"]) if b"iXML" in first else ""
    if document is None:
        dropped.append("an iXML chunk that is no iXML")
    information = b"".join(payload[4:] for payload in lists if payload[:4] == b"INFO")
    return Annotations(
        rate,
        broadcast,
        document or "",
        cues.parse_riff(first.get(b"cue ", b""), [p[4:] for p in lists if p[:4] == b"adtl"], order),
        tags.parse_info(information, order),
    )


def _chunks(stream: BinaryIO, dropped: list[str]) -> list[tuple[bytes, bytes]]:
    """The chunks that say something, whole and within their limits."""
    size = stream.seek(0, 2)
    found = []
    for name, start, claimed in _heads(stream, size):
        limit = _LIMITS.get(name)
        if limit is None:
            continue
        title = name.decode("ascii").strip()
        if claimed > limit:
            dropped.append(f"a {title} chunk of {claimed} bytes, more than {limit}")
        elif start + claimed > size:
            dropped.append(f"a {title} chunk that is cut off")
        else:
            stream.seek(start)
            found.append((name, stream.read(claimed)))
    return found


def _heads(stream: BinaryIO, size: int) -> Iterator[container.Chunk]:
    """The heads of all chunks up to the first that cannot be one."""
    with suppress(AudioError):
        for head in container.chunks(stream):
            yield head
            if head.start + head.size > size:
                return
