"""The safetensors container, read with suspicion and without torch: bounded header, exact offsets, real bytes.

Layout (https://huggingface.co/docs/safetensors): 8 bytes of little-endian header length, the header as a JSON object
of tensor name -> dtype, shape, data_offsets with string metadata under ``__metadata__``, then the tensors end to end.
"""

import hashlib
import json
import math
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from presets.errors import PresetError

MAX_HEADER_BYTES = 10_000_000
MAX_FILE_BYTES = 1 << 30
MAX_TENSORS = 1024
_MAX_AXES = 8
_ITEM_BYTES = {"BOOL": 1, "U8": 1, "I8": 1, "I16": 2, "I32": 4, "I64": 8, "F16": 2, "BF16": 2, "F32": 4, "F64": 8}


@dataclass(frozen=True)
class Spec:
    """One tensor as the header tells it; ``start`` and ``stop`` count bytes from the first tensor's first byte."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


@dataclass(frozen=True)
class Header:
    """A checked header: tensors in the order of their bytes, and where those bytes begin in the file."""

    metadata: Mapping[str, str]
    tensors: tuple[Spec, ...]
    data_start: int


def read_header(path: Path) -> Header:
    """The header of the file at ``path``, read without its tensors; `PresetError` when it cannot be trusted."""
    with _opened(path) as (file, size):
        return _header(file.read(8), file.read, size)


def read(path: Path) -> tuple[Header, bytes]:
    """The checked header and every byte of the file at ``path``; `PresetError` as `read_header`."""
    with _opened(path) as (file, size):
        blob = file.read(size + 1)
    return parse(blob), blob


def parse(blob: bytes) -> Header:
    """The checked header of a file held in memory; `PresetError` when it cannot be trusted."""
    return _header(blob[:8], lambda count: blob[8 : 8 + count], len(blob))


def with_metadata(header: Header, metadata: Mapping[str, str]) -> bytes:
    """The first bytes of a file holding ``header``'s tensors and ``metadata``: all that comes before the tensors."""
    record: dict[str, Any] = {"__metadata__": dict(metadata)}
    for spec in header.tensors:
        record[spec.name] = {"dtype": spec.dtype, "shape": list(spec.shape), "data_offsets": [spec.start, spec.stop]}
    text = json.dumps(record, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # readers map the tensors straight from the file: keep them aligned
    return len(text).to_bytes(8, "little") + text


def sha256(header: Header, blob: bytes) -> str:
    """The digest of the tensors alone: names, types, shapes and bytes, whatever their order in the file."""
    digest = hashlib.sha256()
    data = memoryview(blob)[header.data_start :]
    for spec in sorted(header.tensors, key=lambda s: s.name):
        digest.update(json.dumps([spec.name, spec.dtype, spec.shape]).encode())
        digest.update(data[spec.start : spec.stop])
    return digest.hexdigest()


@contextmanager
def _opened(path: Path) -> Iterator[tuple[BinaryIO, int]]:
    """The regular file at ``path`` and its size; never waits on a pipe that someone named like a preset."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags)
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            os.close(descriptor)
            raise PresetError("is not a regular file; expected a preset file")
        with os.fdopen(descriptor, "rb") as file:
            if found.st_size > MAX_FILE_BYTES:
                raise PresetError(f"is {found.st_size:,} bytes; a preset has at most {MAX_FILE_BYTES:,}")
            yield file, found.st_size
    except OSError as error:
        raise PresetError(f"cannot be read: {error.strerror or error}") from error
    except ValueError as error:  # a null byte in the path
        raise PresetError(f"cannot be read: {error}") from error


def _header(prefix: bytes, take: Callable[[int], bytes], size: int) -> Header:
    length = int.from_bytes(prefix, "little")
    if len(prefix) < 8:
        raise PresetError(f"is {len(prefix)} bytes long; not a preset file")
    if length > MAX_HEADER_BYTES:
        raise PresetError(
            f"starts with a header length of {length:,} bytes, over the limit of {MAX_HEADER_BYTES:,}; not a preset"
        )
    if 8 + length > size:
        raise PresetError(f"is truncated: its header needs {8 + length:,} bytes, the file has {size:,}")
    try:
        record = json.loads(take(length).decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
        if not isinstance(record, dict):
            raise ValueError("not an object")
        metadata = _metadata(record.pop("__metadata__", {}))
        if len(record) > MAX_TENSORS:
            raise ValueError(f"{len(record)} tensors, more than the {MAX_TENSORS} allowed")
        specs = sorted((_spec(name, entry) for name, entry in record.items()), key=lambda s: (s.start, s.stop))
    except (ValueError, RecursionError) as error:
        raise PresetError(f"has a corrupt header: {_short(error)}") from error
    end = 0
    for spec in specs:
        if spec.start != end:
            raise PresetError(f"has a corrupt header: tensor {spec.name!r} starts at byte {spec.start}, expected {end}")
        end = spec.stop
    if 8 + length + end > size:
        raise PresetError(f"is truncated: its tensors need {8 + length + end:,} bytes, the file has {size:,}")
    if 8 + length + end < size:
        raise PresetError(f"has {size - 8 - length - end:,} bytes after its last tensor; not a preset file")
    return Header(metadata, tuple(specs), 8 + length)


def _spec(name: str, entry: Any) -> Spec:
    if not name.isprintable() or not 0 < len(name) <= 200:
        raise ValueError(f"tensor name {name[:40]!r} is empty, too long or unprintable")
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"tensor {name!r} does not have dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _ITEM_BYTES:
        raise ValueError(f"tensor {name!r} has type {str(dtype)[:20]!r}; expected one of {', '.join(_ITEM_BYTES)}")
    if not _counts(shape) or len(shape) > _MAX_AXES:
        raise ValueError(f"tensor {name!r} has an impossible shape")
    if not _counts(offsets) or len(offsets) != 2 or offsets[1] - offsets[0] != math.prod(shape) * _ITEM_BYTES[dtype]:
        raise ValueError(f"tensor {name!r} has a shape that its bytes do not fill")
    return Spec(name, dtype, tuple(shape), *offsets)


def _counts(value: Any) -> bool:
    # bool is an int to isinstance, not to this format; the bound keeps a product of eight axes small.
    return isinstance(value, list) and all(type(n) is int and 0 <= n <= MAX_FILE_BYTES for n in value)


def _metadata(value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
        raise ValueError("its metadata is not text")
    for text in (*value, *value.values()):
        text.encode()  # half a surrogate pair is valid JSON and no text: UnicodeEncodeError is a ValueError
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name appears twice")
    return found


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is not JSON")


def _short(error: Exception) -> str:
    return str(error)[:200] or type(error).__name__
