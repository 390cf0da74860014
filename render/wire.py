"""Messages between a host and the child that holds its plugin: a header in JSON, and samples as raw bytes behind it."""

import json
import struct
from collections.abc import Mapping
from typing import IO, Any

_LENGTHS = struct.Struct(">II")
_MOST_HEADER, _MOST_DATA = 1 << 24, 1 << 30


class WireError(Exception):
    """The other side is gone, or what it says is no message."""


def send(pipe: IO[bytes], header: Mapping[str, Any], data: bytes = b"") -> None:
    """Write one message to ``pipe``; `WireError` when nobody reads it."""
    text = json.dumps(header).encode()
    try:
        pipe.write(_LENGTHS.pack(len(text), len(data)) + text)
        pipe.write(data)
        pipe.flush()
    except (OSError, ValueError) as error:
        raise WireError("nobody reads") from error


def receive(pipe: IO[bytes]) -> tuple[dict[str, Any], bytes]:
    """Read one message from ``pipe``; `WireError` when it ends or holds something else."""
    text_bytes, data_bytes = _LENGTHS.unpack(_exactly(pipe, _LENGTHS.size))
    if text_bytes > _MOST_HEADER or data_bytes > _MOST_DATA:
        raise WireError("not a message")
    try:
        header = json.loads(_exactly(pipe, text_bytes))
    except ValueError as error:
        raise WireError("not a message") from error
    if not isinstance(header, dict):
        raise WireError("not a message")
    return header, _exactly(pipe, data_bytes)


def _exactly(pipe: IO[bytes], count: int) -> bytes:
    try:
        found = pipe.read(count)
    except (OSError, ValueError) as error:
        raise WireError("the pipe broke") from error
    if found is None or len(found) < count:
        raise WireError("the pipe ended")
    return found
