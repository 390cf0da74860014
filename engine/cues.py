"""Cue points with their labels: the ``cue `` and ``LIST adtl`` chunks of a WAV, the ``MARK`` chunk of an AIFF.

Sources: Multimedia Programming Interface and Data Specifications 1.0 (IBM and Microsoft 1991), chapter 3; Audio
Interchange File Format 1.3 (Apple 1989). Standard library only. Counts and sizes in them are claims: nothing is read
beyond the bytes that are there.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from engine.bext import encoded, rescaled, text

# How many are read, and how many are written: libsndfile opens no WAV with 3749 or an AIFF with 100 KiB of them.
MAX_CUES = 16_384
MAX_WRITTEN = 1_000
_POINT = "II4sIII"
_REGION = "I4s4H"
_MAX_TEXT = 4096


@dataclass(frozen=True)
class Cue:
    """A named place ``position`` samples after the first one; with a ``length`` above 0 a region of so many samples."""

    position: int
    label: str = ""
    note: str = ""
    length: int = 0

    def at_rate(self, from_rate: int, to_rate: int) -> "Cue":
        """The same place at another rate; a region's end is rescaled, not its length."""
        start = rescaled(self.position, from_rate, to_rate)
        length = rescaled(self.position + self.length, from_rate, to_rate) - start if self.length else 0
        return replace(self, position=start, length=length)


def parse_riff(points: bytes, lists: Sequence[bytes], order: str = "<") -> tuple[Cue, ...]:
    """The cues of a ``cue `` chunk, in its order, with what the ``adtl`` lists (after those four letters) say."""
    head = struct.calcsize(order + "I")
    size = struct.calcsize(order + _POINT)
    found: dict[int, Cue] = {}
    for at in range(head, min(len(points) - size + 1, head + MAX_CUES * size), size):
        name, _, _, _, _, sample = struct.unpack_from(order + _POINT, points, at)
        found.setdefault(name, Cue(sample))
    for data in lists:
        for kind, payload in subchunks(data, order):
            if len(payload) < 4:
                continue
            (name,) = struct.unpack_from(order + "I", payload)
            cue = found.get(name)
            if cue is None:
                continue
            if kind == b"labl":
                found[name] = replace(cue, label=text(payload[4 : 4 + _MAX_TEXT]))
            elif kind == b"note":
                found[name] = replace(cue, note=text(payload[4 : 4 + _MAX_TEXT]))
            elif kind == b"ltxt" and len(payload) >= 4 + struct.calcsize(order + _REGION):
                found[name] = replace(cue, length=struct.unpack_from(order + "I", payload, 4)[0])
    return tuple(found.values())


def pack_riff(cues: Sequence[Cue]) -> list[tuple[bytes, bytes]]:
    """The chunks, each a name and its payload, that say ``cues``; none when there are none."""
    cues = cues[:MAX_WRITTEN]
    if not cues:
        return []
    points = [struct.pack("<I", len(cues))]
    notes: list[bytes] = []
    for name, cue in enumerate(cues, 1):
        points.append(struct.pack(f"<{_POINT}", name, cue.position, b"data", 0, 0, cue.position))
        for kind, words in ((b"labl", cue.label), (b"note", cue.note)):
            if words:
                payload = struct.pack("<I", name) + encoded(words, _MAX_TEXT - 1) + b"\0"
                notes.append(chunk(kind, payload))
        if cue.length:
            region = struct.pack(f"<{_REGION}", cue.length, b"rgn ", 0, 0, 0, 0)
            notes.append(chunk(b"ltxt", struct.pack("<I", name) + region))
    made = [(b"cue ", b"".join(points))]
    return [*made, (b"LIST", b"adtl" + b"".join(notes))] if notes else made


def parse_aiff(marks: bytes) -> tuple[Cue, ...]:
    """The cues of a ``MARK`` chunk, in its order."""
    found: list[Cue] = []
    at = 2
    while at + 7 <= len(marks) and len(found) < MAX_CUES:
        _, position, count = struct.unpack_from(">hIB", marks, at)
        found.append(Cue(position, text(marks[at + 7 : at + 7 + count])))
        at += 7 + count + (count + 1) % 2
    return tuple(found)


def pack_aiff(cues: Sequence[Cue]) -> list[tuple[bytes, bytes]]:
    """The chunk that says where ``cues`` are and what they are called; none when there are none."""
    if not cues:
        return []
    kept = cues[:MAX_WRITTEN]
    longest = 255 if len(kept) < 200 else 40
    marks = [struct.pack(">H", len(kept))]
    for name, cue in enumerate(kept, 1):
        label = encoded(cue.label, longest)
        pad = b"\0" * ((len(label) + 1) % 2)
        marks.append(struct.pack(">hIB", name, cue.position, len(label)) + label + pad)
    return [(b"MARK", b"".join(marks))]


def subchunks(data: bytes, order: str = "<") -> Iterator[tuple[bytes, bytes]]:
    """The chunks inside a LIST's payload, as long as they are inside it."""
    at = 0
    while at + 8 <= len(data):
        kind, size = struct.unpack_from(order + "4sI", data, at)
        yield kind, data[at + 8 : at + 8 + size]
        at += 8 + size + size % 2


def chunk(name: bytes, payload: bytes, order: str = "<") -> bytes:
    """A whole chunk: head, payload, and a pad byte where one is due."""
    return struct.pack(order + "4sI", name, len(payload)) + payload + b"\0" * (len(payload) % 2)
