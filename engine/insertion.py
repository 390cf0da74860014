"""Chunks put in front of a sound while it is written, by an encoder that knows nothing of them.

The encoder writes its header first, the head of the chunk with the sound last. A gap is opened before that head: what
the encoder writes behind it lands so much further on, while every position it asks for and is told is its own. The
bytes of the sound are the very ones it would have written without a gap, and so are those of its header, but for the
size of the whole, which `grow` sets right when the file is closed.
"""

from __future__ import annotations

import struct
from io import RawIOBase

_HEADS = {b"data": 8, b"SSND": 16}
# No encoder's header is as long.
_HEADER_BYTES = 2**16


class Insertion:
    """A file, opened to read and write without a buffer, that an encoder fills through a gap, at first of no length.

    No exception leaves `write`, which C code calls: it takes nothing more and `failure` says why.
    """

    def __init__(self, file: RawIOBase) -> None:
        self._file = file
        self._split, self._gap = 0, 0
        self._at = 0
        self.failure: OSError | None = None

    def insert(self, content: bytes) -> None:
        """Open the gap, before the head of the chunk of sound that is all that follows the header, for ``content``."""
        if self.failure is not None:
            raise self.failure
        self._file.seek(0)
        header = self._file.read(_HEADER_BYTES) or b""
        split = next(
            (len(header) - size for name, size in _HEADS.items() if header[-size:][:4] == name and len(header) > size),
            None,
        )
        if split is None:
            raise OSError(f"the header does not end in a chunk of sound but in {header[-16:]!r}")
        self._file.seek(split)
        self._put(content + header[split:])
        self._split, self._gap = split, len(content)
        self.seek(self._at)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to ``offset``, as the encoder counts."""
        if whence == 1:
            offset += self._at
        elif whence == 2:
            offset += self._file.seek(0, 2) - self._gap
        self._at = offset
        self._file.seek(self._place(offset))
        return offset

    def tell(self) -> int:
        """Where the encoder is, as it counts."""
        return self._at

    def read(self, count: int) -> bytes:
        """Up to ``count`` bytes, none of them the gap's."""
        data = b""
        for part in self._spans(count):
            self._file.seek(self._place(self._at))
            found = self._file.read(part) or b""
            self._at += len(found)
            data += found
        return data

    def write(self, data: bytes) -> int:
        """Put ``data`` where the encoder is; how many bytes were taken."""
        done = 0
        try:
            for part in self._spans(len(data)):
                self._file.seek(self._place(self._at))
                self._put(data[done : done + part])
                done += part
                self._at += part
        except OSError as error:
            self.failure = error
        return done

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def grow(self) -> None:
        """Add the gap to the size that the file's first chunk claims; when the encoder is done."""
        if not self._gap:
            return
        self._file.seek(0)
        head = self._file.read(32) or b""
        where, kind = {b"RF64": (20, "<Q"), b"RIFF": (4, "<I")}.get(head[:4], (4, ">I"))
        (claimed,) = struct.unpack_from(kind, head, where)
        self._file.seek(where)
        self._put(struct.pack(kind, claimed + self._gap))

    def _put(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) or 0 :]

    def _place(self, offset: int) -> int:
        return offset if offset < self._split else offset + self._gap

    def _spans(self, count: int) -> tuple[int, ...]:
        before = max(0, min(count, self._split - self._at))
        return tuple(part for part in (before, count - before) if part)
