"""What a sound file says it holds, checked against the bytes that are really there, before any decoder is asked.

Decoders are lenient: to libsndfile a WAV cut in half is a shorter WAV, a page of HTML named ``.vox`` is noise, and a
count of samples nobody can store is an allocation. So the container is told from its first bytes, never from its
name, and its header is held against the length of the file.

Standard library only. Nothing here opens a file: the caller does, and names it in front of the error.
Sources: RIFF WAVE (Microsoft 1994), RF64 (EBU Tech 3306), Wave64 (Sony 2003), AIFF-C (Apple 1991), CAF (Apple 2006),
FLAC (RFC 9639), Ogg (RFC 3533).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

from engine import mpeg
from engine.errors import AudioError
from engine.formats import SAMPLE_BYTES

MAX_CHUNKS = 4096
_WAVE64 = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"
_AGAIN = "export or copy it again"
# What a writer that cannot seek back leaves as the size of its data: ffmpeg the first, SoX the second.
_OPEN_ENDED = (0xFFFFFFFF, 0x7FFFF000)
_OGG_PAGE_BYTES = 27 + 255 + 255 * 255
_FOREIGN = (
    (b".snd", "an AU file"),
    (b"wvpk", "a WavPack file"),
    (b"MAC ", "a Monkey's Audio file"),
    (b"DSD ", "a DSD file"),
    (b"FRM8", "a DSD file"),
    (b"MThd", "a MIDI file"),
    (b"\x30\x26\xb2\x75", "a WMA (ASF) file"),
    (b"\x1a\x45\xdf\xa3", "a Matroska or WebM file"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"%PDF", "a PDF"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"version https://git-lfs", "a Git LFS pointer"),
    (b"\xff\xf1", "a raw AAC stream"),
    (b"\xff\xf9", "a raw AAC stream"),
    (b"\xff\xfe", "UTF-16 text"),
)


@dataclass(frozen=True)
class Declaration:
    """A container and what its header promises; None where it does not say.

    ``data_bytes`` of encoded audio, ``frames`` (samples per channel), ``block_bytes`` from one frame to the next.
    """

    container: str
    data_bytes: int | None = None
    frames: int | None = None
    block_bytes: int | None = None


class Chunk(NamedTuple):
    """One chunk of a file: its name, where its payload starts and how many bytes it claims to have."""

    name: bytes
    start: int
    size: int


class _Layout(NamedTuple):
    first: int
    head: struct.Struct
    align: int
    counts_its_head: bool = False


_LAYOUTS = {
    b"RIFF": _Layout(12, struct.Struct("<4sI"), 2),
    b"RF64": _Layout(12, struct.Struct("<4sI"), 2),
    b"RIFX": _Layout(12, struct.Struct(">4sI"), 2),
    b"FORM": _Layout(12, struct.Struct(">4sI"), 2),
    b"caff": _Layout(8, struct.Struct(">4sq"), 1),
    b"riff": _Layout(40, struct.Struct("<16sQ"), 8, True),
}


def chunks(stream: BinaryIO, start: int | None = None) -> Iterator[Chunk]:
    """The chunks of a RIFF, RIFX, RF64, Wave64, AIFF or CAF file in order, from ``start`` or from the first.

    Sizes are as claimed, so the last chunk may reach past the end of the file; the sound of an RF64 has the size that
    its ``ds64`` claims. More than `MAX_CHUNKS` is an error.
    """
    stream.seek(0)
    layout = _LAYOUTS[stream.read(4)]
    at = layout.first if start is None else start
    long_size = None
    for _ in range(MAX_CHUNKS):
        stream.seek(at)
        head = stream.read(layout.head.size)
        if len(head) < layout.head.size:
            return
        name, size = layout.head.unpack(head)
        at += layout.head.size
        if layout.counts_its_head:
            size -= layout.head.size
        if name == b"ds64":
            long_size = struct.unpack("<Q", stream.read(16)[8:].ljust(8, b"\0"))[0]
        elif name == b"data" and size == 0xFFFFFFFF and long_size is not None:
            size = long_size
        if size < 0 and name != b"data":
            raise AudioError(f"its header is damaged: chunk {name!r} claims {size} bytes; {_AGAIN}")
        yield Chunk(name, at, size)
        if not 0 <= size < 2**62:
            return
        at += size
        padding = -size % layout.align
        # Some writers forget the pad byte; a pad is zero and no chunk's name starts with one.
        if padding == 1 and stream.seek(at) == at and stream.read(1) not in (b"\0", b""):
            padding = 0
        at += padding
    raise AudioError(f"its header is damaged: more than {MAX_CHUNKS} chunks; {_AGAIN}")


def inspect(stream: BinaryIO) -> Declaration:
    """Tell the container of an open file and what it promises; `AudioError` when the bytes cannot keep the promise.

    Reads headers only: time and memory do not depend on what the header claims.
    """
    size = stream.seek(0, 2)
    stream.seek(0)
    head = stream.read(4096)
    if not head:
        raise AudioError(f"is empty (0 bytes); {_AGAIN}")
    if head[:4] in (b"RIFF", b"RIFX", b"RF64") and head[8:12] == b"WAVE":
        return _wave(stream, size, head[:4])
    if head[:16] == _WAVE64:
        return Declaration("W64", _data_bytes(stream, size))
    if head[:4] == b"caff":
        return Declaration("CAF", _data_bytes(stream, size))
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return _aiff(stream, size)
    if head[:4] == b"OggS":
        return _ogg(stream, size)
    start = mpeg.after_id3(stream)
    stream.seek(start)
    inner = stream.read(64)
    if inner[:4] == b"fLaC":
        return _flac(inner)
    if mpeg.begins(stream, start, size):
        return Declaration("MP3", frames=mpeg.frames(stream, start, size))
    if start:
        raise AudioError(f"has an ID3 tag but no MP3 or FLAC audio behind it; {_AGAIN}")
    raise AudioError(f"is not a sound file but {_foreign(head)}; expected WAV, AIFF, FLAC, CAF, Ogg or MP3")


def agreed_frames(declared: Declaration, subtype: str, channels: int, found: int) -> int:
    """The frames of a file whose decoder reports ``subtype``, ``channels`` and ``found`` frames.

    `AudioError` when the decoder and the header do not tell the same story.
    """
    if declared.container == "MP3":
        frames = found if declared.frames is None else declared.frames
        if frames > found:
            raise AudioError(
                "is an MP3 that does not say how long it is, and decoding would lose its end; convert it to WAV first"
            )
        return frames
    width = SAMPLE_BYTES.get(subtype, 0) * channels
    if not width or declared.data_bytes is None:
        return found
    if declared.block_bytes not in (None, width):
        raise AudioError(
            f"contradicts itself: {declared.block_bytes} bytes per frame for {channels} channels of {subtype}; "
            "export it again"
        )
    frames = declared.data_bytes // width
    if declared.frames is not None:
        # One frame less than the bytes hold is a pad byte that was counted as sound.
        if frames - declared.frames not in (0, 1):
            raise AudioError(
                f"has a header that lies about its size: {declared.frames} frames promised, bytes for {frames}; "
                "export it again"
            )
        frames = declared.frames
    if frames > found:
        raise AudioError(f"promises {frames} frames and {found} can be read; {_AGAIN}")
    return frames


def _foreign(head: bytes) -> str:
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:256].lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return "a web page (HTML), often a download that failed"
    if head[4:8] == b"ftyp":
        return "an MP4 or M4A file (convert it to WAV first)"
    if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"FORM"):
        return f"a {head[:4].decode()} file of kind {head[8:12].decode('ascii', 'replace')!r}"
    for magic, name in _FOREIGN:
        if head.startswith(magic):
            return name
    if not head.strip(b"\0"):
        return "nothing but zero bytes, often a copy that did not finish"
    if all(32 <= byte < 127 or byte in b"\t\r\n" for byte in head):
        return "plain text"
    return "something of no known kind"


def _data_bytes(stream: BinaryIO, size: int) -> int:
    for name, start, claimed in chunks(stream):
        if name[:4] != b"data":
            continue
        # CAF counts four bytes of edit number in its data, and says -1 for "to the end of the file".
        extra = 4 if len(name) == 4 else 0
        available = size - start - extra
        return available if claimed < 0 else _kept(claimed - extra, available)
    raise AudioError(f"is cut off: its header has no audio data; {_AGAIN}")


def _kept(claimed: int, available: int, block: int = 1) -> int:
    """``claimed`` bytes, when the whole blocks among them are among the ``available``."""
    if available // block < claimed // block:
        raise AudioError(
            f"is cut off or still being written: its header promises {claimed} bytes of audio "
            f"and {max(0, available)} are there; {_AGAIN}"
        )
    return min(claimed, available)


def _wave(stream: BinaryIO, size: int, magic: bytes) -> Declaration:
    container = "RF64" if magic == b"RF64" else "WAV"
    order = ">" if magic == b"RIFX" else "<"
    block = 0
    for name, start, claimed in chunks(stream):
        stream.seek(start)
        if name == b"fmt ":
            block = struct.unpack(order + "H", stream.read(14)[12:].ljust(2, b"\0"))[0]
        elif name == b"data":
            available = size - start
            if claimed > available and any(end - block <= claimed <= end for end in _OPEN_ENDED):
                return Declaration(container, available, block_bytes=block or None)
            if claimed == 0 and available:
                raise AudioError(
                    f"was never finished: its header says 0 bytes of audio and {available} bytes follow; "
                    "wait for its writer to close it, or export it again"
                )
            kept = _kept(claimed, available, block or 1)
            _nothing_left_out(stream, start + kept, size, kept)
            return Declaration(container, kept, block_bytes=block or None)
    raise AudioError(f"is cut off: its header has no audio data; {_AGAIN}")


def _nothing_left_out(stream: BinaryIO, at: int, size: int, kept: int) -> None:
    """Refuse a WAV whose data chunk ends long before its samples do (a size that wrapped at 4 GiB, a stale header)."""
    at += at % 2
    for name, start, claimed in chunks(stream, at):
        if not all(32 <= byte < 127 for byte in name) or start + claimed > size + 1:
            break
        at = start + claimed + claimed % 2
    left = size - at
    # Up to a hundredth, or a sector, is what editors and taggers append; it is no audio that anyone misses.
    if left <= max(512, kept // 100):
        return
    stream.seek(at)
    first = stream.read(4096)
    stream.seek(max(at, size - 4096))
    if first.startswith((b"ID3", b"APETAGEX")) or not (first + stream.read(4096)).strip(b"\0"):
        return
    raise AudioError(
        f"has a header that lies about its size: {kept} bytes of audio, and {left} more that it does not mention; "
        "export it again (as RF64 if it is over 4 GB)"
    )


def _aiff(stream: BinaryIO, size: int) -> Declaration:
    frames, data = None, None
    for name, start, claimed in chunks(stream):
        stream.seek(start)
        if name == b"COMM":
            frames = struct.unpack(">HI", stream.read(6).ljust(6, b"\0"))[1]
        elif name == b"SSND":
            offset = struct.unpack(">I", stream.read(4).ljust(4, b"\0"))[0]
            data = _kept(max(0, claimed - 8 - offset), size - start - 8 - offset)
        if frames is not None and data is not None:
            if frames == 0 and data:
                raise AudioError(
                    f"was never finished: its header says 0 frames and {data} bytes of audio follow; "
                    "wait for its writer to close it, or export it again"
                )
            return Declaration("AIFF", data, frames)
    if frames == 0:
        return Declaration("AIFF", 0, 0)
    raise AudioError(f"is cut off: its header has no audio data; {_AGAIN}")


def _flac(head: bytes) -> Declaration:
    if len(head) < 42:
        raise AudioError(f"is cut off inside its header; {_AGAIN}")
    frames = int.from_bytes(head[18:26], "big") & (2**36 - 1)
    if frames == 0:
        raise AudioError("is a FLAC stream that does not say how long it is; encode it again from a file, not a pipe")
    return Declaration("FLAC", frames=frames)


def _ogg(stream: BinaryIO, size: int) -> Declaration:
    tail_start = max(0, size - _OGG_PAGE_BYTES)
    stream.seek(tail_start)
    tail = stream.read()
    page = tail.rfind(b"OggS\0")
    if page >= 0:
        header = tail[page : page + 27]
        lacing = tail[page + 27 : page + 27 + header[26]] if len(header) == 27 else b""
        if len(header) < 27 or len(lacing) < header[26] or page + 27 + len(lacing) + sum(lacing) > len(tail):
            raise AudioError(f"is cut off: its last Ogg page is incomplete; {_AGAIN}")
    return Declaration("OGG")
