"""The ``bext`` chunk of a Broadcast Wave file: where a sound starts, who made it and how it was coded.

Sources: EBU Tech 3285 (2011), version 1 of the chunk; EBU R 98 (1999) for the lines of the coding history. Standard
library only. A version 2 chunk is read as well; its loudness is that of another sound once a stem is restyled, and its
UMID names another piece of material, so that neither is carried.
"""

import struct
from dataclasses import dataclass, replace

_FIXED = "256s32s32s10s8sIIH64s10s180s"
FIXED_BYTES = struct.calcsize(f"<{_FIXED}")
# A carried history keeps its newest lines.  libsndfile opens no WAV whose bext and cue chunks together pass 100 KiB.
MAX_HISTORY_BYTES = 2**14
# Eleven years at 768 kHz: more than any clock has counted since a midnight, and safe to rescale.
MAX_REFERENCE = 2**48
_MODES = {1: "mono", 2: "stereo"}


@dataclass(frozen=True)
class Broadcast:
    """What a ``bext`` chunk says; ``time_reference`` is the first sample's place, in samples since midnight.

    ``date`` is ``yyyy-mm-dd`` and ``time`` ``hh:mm:ss``, of the original, both empty when they are not known.
    ``history`` holds one line for each coding, oldest first.
    """

    description: str = ""
    originator: str = ""
    reference: str = ""
    date: str = ""
    time: str = ""
    time_reference: int = 0
    history: tuple[str, ...] = ()

    def coded(self, line: str) -> "Broadcast":
        """The same with one more ``line`` of history."""
        return replace(self, history=(*self.history, line))

    def at_rate(self, from_rate: int, to_rate: int) -> "Broadcast":
        """The same at another rate: the time reference counts the nearest sample of it."""
        return replace(self, time_reference=rescaled(self.time_reference, from_rate, to_rate))


def rescaled(samples: int, from_rate: int, to_rate: int) -> int:
    """The sample at ``to_rate`` nearest to sample ``samples`` at ``from_rate``, in whole numbers throughout.

    >>> rescaled(48_000 * 36_000, 48_000, 44_100)
    1587600000
    """
    return (2 * samples * to_rate + from_rate) // (2 * from_rate)


def parse(data: bytes, order: str = "<") -> Broadcast | None:
    """The chunk whose payload is ``data`` (``order`` is ``>`` in a RIFX file); None when it is too short to be one."""
    if len(data) < FIXED_BYTES:
        return None
    fields = struct.unpack(order + _FIXED, data[:FIXED_BYTES])
    description, originator, reference, date, time, low, high = fields[:7]
    history = text(data[FIXED_BYTES:])
    return Broadcast(
        description=text(description),
        originator=text(originator),
        reference=text(reference),
        date=_digits(date),
        time=_digits(time),
        time_reference=high << 32 | low,
        history=tuple(line for line in map(str.strip, history.splitlines()) if line),
    )


def pack(broadcast: Broadcast, order: str = "<") -> bytes:
    """The payload of a chunk that says ``broadcast``; what is too long is cut between characters."""
    lines: list[bytes] = []
    room = MAX_HISTORY_BYTES
    for line in reversed(broadcast.history):
        line_bytes = encoded(line, room - 2) + b"\r\n"
        if len(line_bytes) > room or (lines and len(line_bytes) < len(line.encode())):
            break
        room -= len(line_bytes)
        lines.insert(0, line_bytes)
    fixed = struct.pack(
        order + _FIXED,
        encoded(broadcast.description, 256),
        encoded(broadcast.originator, 32),
        encoded(broadcast.reference, 32),
        encoded(broadcast.date, 10),
        encoded(broadcast.time, 8),
        broadcast.time_reference & 0xFFFFFFFF,
        broadcast.time_reference >> 32,
        1,
        b"",
        b"",
        b"",
    )
    return even(fixed + b"".join(lines))


def coding_line(rate: int, bits: int, channels: int, words: str) -> str:
    """A line of coding history after R 98: PCM at ``rate`` Hz, ``bits`` deep, and ``words`` in plain ASCII.

    >>> coding_line(48_000, 24, 2, "gramophone 0.1.0, preset tape")
    'A=PCM,F=48000,W=24,M=stereo,T=gramophone 0.1.0; preset tape'
    """
    mode = f",M={_MODES[channels]}" if channels in _MODES else ""
    free = "".join(c if c.isascii() and c.isprintable() else "?" for c in words).replace(",", ";")
    return f"A=PCM,F={rate},W={bits}{mode},T={free}"


def text(data: bytes) -> str:
    """The text in a field that ends at its first NUL: UTF-8, of which ASCII is a part, else Latin-1.

    Control characters but for line ends are gone, and so is space on both sides.
    """
    raw = data.split(b"\0", 1)[0]
    try:
        found = raw.decode()
    except UnicodeDecodeError:
        found = raw.decode("latin-1")
    return "".join(c for c in found if c.isprintable() or c in "\r\n").strip()


def encoded(words: str, size: int) -> bytes:
    """``words`` as at most ``size`` bytes of UTF-8, with no half of a character at the end and no NUL."""
    return words.replace("\0", "").encode(errors="replace")[: max(size, 0)].decode(errors="ignore").encode()


def even(payload: bytes, pad: bytes = b"\0") -> bytes:
    """``payload`` with an even number of bytes, since not every reader skips the byte behind an odd one."""
    return payload + pad * (len(payload) % 2)


def _digits(data: bytes) -> str:
    """A date or a time as it was written, when it holds digits where digits belong."""
    found = text(data)
    wanted = "dddd-dd-dd" if len(data) == 10 else "dd:dd:dd"
    fits = len(found) == len(wanted) and all(
        c.isascii() and (c.isdigit() if w == "d" else not c.isalnum()) for c, w in zip(found, wanted, strict=True)
    )
    return found if fits else ""
