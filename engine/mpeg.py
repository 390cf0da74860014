"""How long an MPEG audio (MP3) file is: its frames counted, because a decoder guesses when no length header is there.

A file with a Xing, Info or VBRI header is taken at its word by decoders, and the word is held against the file's
length here. Without one libsndfile divides the file's size by the first frame's bit rate: a variable-rate file loses
its end in silence. So the frames are walked. Source: ISO/IEC 11172-3 section 2.4.1 and 13818-3 (half the rates).
"""

from typing import BinaryIO, NamedTuple

from engine.errors import AudioError

_V1_KBPS = {
    1: (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    2: (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    3: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
}
_V2_KBPS = {
    1: (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    3: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_TAGS = (b"TAG", b"APE", b"LYR", b"ID3")


class Frame(NamedTuple):
    """One MPEG frame: ``size`` in bytes (0: free format, unknown) and the ``samples`` per channel it decodes to."""

    size: int
    samples: int


def parse(head: bytes) -> Frame | None:
    """The frame whose header ``head`` starts with, or None when those bytes are no MPEG audio frame.

    >>> parse(bytes([0xFF, 0xFB, 0x90, 0x64]))
    Frame(size=417, samples=1152)
    >>> parse(b"RIFF") is None
    True
    """
    if len(head) < 4 or head[0] != 0xFF or head[1] < 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    kbps_code, rate_code, padding = head[2] >> 4, head[2] >> 2 & 3, head[2] >> 1 & 1
    if version == 1 or layer == 4 or kbps_code == 15 or rate_code == 3:
        return None
    halved = version != 3
    rate_hz = (44100, 48000, 32000)[rate_code] // (1 if version == 3 else 2 if version == 2 else 4)
    bits_per_s = 1000 * (_V2_KBPS if halved else _V1_KBPS)[layer][kbps_code]
    samples = 384 if layer == 1 else 576 if layer == 3 and halved else 1152
    if not bits_per_s:
        return Frame(0, samples)
    if layer == 1:
        return Frame((12 * bits_per_s // rate_hz + padding) * 4, samples)
    return Frame(samples // 8 * bits_per_s // rate_hz + padding, samples)


def after_id3(stream: BinaryIO) -> int:
    """Where the audio starts: behind the ID3v2 tags at the head of the file, 0 when there are none."""
    at = 0
    while True:
        stream.seek(at)
        tag = stream.read(10)
        if len(tag) < 10 or tag[:3] != b"ID3":
            return at
        size = 0
        for byte in tag[6:]:
            size = size << 7 | byte & 127
        at += 10 + size + (10 if tag[5] & 16 else 0)


def begins(stream: BinaryIO, start: int, size: int) -> bool:
    """Whether MPEG audio begins at ``start``: a frame header, and another where the first frame ends."""
    stream.seek(start)
    frame = parse(stream.read(4))
    if frame is None or frame.size == 0 or start + frame.size + 4 > size:
        return frame is not None
    stream.seek(start + frame.size)
    following = stream.read(4)
    return parse(following) is not None or following[:3] in _TAGS


def frames(stream: BinaryIO, start: int, size: int) -> int | None:
    """Samples per channel in the MPEG frames from ``start`` to ``size``, or None where a length header tells them.

    `AudioError` when the length header promises more bytes than the file has, or the frames cannot be followed.
    """
    stream.seek(start)
    head = stream.read(4096)
    first = parse(head)
    if first is None or first.size == 0:
        return None
    header = head[: first.size]
    at = max(header.find(b"Xing"), header.find(b"Info"))
    if at >= 0 and len(header) >= at + 16:
        flags = int.from_bytes(header[at + 4 : at + 8], "big")
        promised = int.from_bytes(header[at + 12 : at + 16], "big") if flags & 3 == 3 else 0
        # Encoders disagree whether the header's own frame counts; what is missing beyond that is caught in decoding.
        if promised > 1.01 * (size - start) + first.size:
            raise AudioError(
                f"is cut off: its MP3 header promises {promised} bytes of audio and {size - start} are there; "
                "export or copy it again"
            )
        if flags & 1:
            return None
    if b"VBRI" in header:
        return None
    return _walk(stream, start, size)


def _walk(stream: BinaryIO, start: int, size: int) -> int:
    at, samples = start, 0
    while at + 4 <= size:
        stream.seek(at)
        head = stream.read(4)
        frame = parse(head)
        if frame is None or frame.size == 0:
            if head[:3] in _TAGS or size - at <= (size - start) // 100:
                break
            raise AudioError("is an MP3 without a length header whose frames are damaged; convert it to WAV first")
        if at + frame.size > size:
            break
        at += frame.size
        samples += frame.samples
    return samples
