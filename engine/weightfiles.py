"""Files with weights in them, read without running anything they hold.

Pickles of numpy arrays are read by an unpickler that knows three names and answers them with objects of ours; NumPy's
own pickle code, flax, Keras and TensorFlow are never imported.  TensorFlow's checkpoints are tables of keys (LevelDB's
format) beside one file of plain numbers; safetensors and torch's state dicts have safe readers of their own.
"""

import io
import math
import pickle
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import RecipeError

MAX_BYTES = 4 << 30
_DTYPES = {"f2", "f4", "f8", "i4", "i8"}
_TENSORFLOW = {1: "<f4", 2: "<f8", 3: "<i4", 9: "<i8"}


class _Dtype:
    """What a pickle says of an array's numbers: their kind and then their byte order."""

    def __init__(self, kind: Any, *_: Any) -> None:
        self.kind, self.order = _text(kind), "<"

    def __setstate__(self, state: Any) -> None:
        self.order = _text(state[1])

    @property
    def plain(self) -> bool:
        return self.kind in _DTYPES


class _Array:
    """An array of a pickle, as it says it is."""

    values: Any = None

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, data = state
        if not isinstance(dtype, _Dtype):
            raise pickle.UnpicklingError("an array has no type")
        if not dtype.plain:  # an array of one object, which np.save wraps what is no array in
            if not isinstance(data, list) or len(data) != 1:
                raise pickle.UnpicklingError(f"an array is of {dtype.kind!r}; expected plain numbers")
            self.values = data[0]
            return
        raw = data if isinstance(data, bytes) else data.encode("latin-1")
        order = "<" if dtype.order in "<=|" else ">"
        flat = np.frombuffer(raw, np.dtype(order + dtype.kind))
        self.values = flat.reshape(shape, order="F" if fortran else "C")


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _encode(text: str, _: str = "") -> bytes:
    return text.encode("latin-1")


def _reconstruct(_: Any, __: Any, ___: Any) -> _Array:
    return _Array()


class _Restricted(pickle.Unpickler):
    """Knows what numpy's arrays are made of, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        known = {"_reconstruct": _reconstruct, "ndarray": _Array, "dtype": _Dtype}
        if name in known and module in ("numpy", "numpy.core.multiarray", "numpy._core.multiarray"):
            return known[name]
        if (module, name) == ("_codecs", "encode"):  # how a pickle of the second protocol writes bytes
            return _encode
        raise pickle.UnpicklingError(f"it asks for {module}.{name}; only plain numpy arrays are read")


def pickled(blob: bytes) -> dict[str, NDArray[np.float32]]:
    """The arrays of a pickle of nested dicts (or of one inside an ``.npy`` file), by their path: ``a/b/kernel``."""
    if blob.startswith(b"\x93NUMPY"):
        wide = blob[6] > 1
        start = 12 if wide else 10
        blob = blob[start + int.from_bytes(blob[8:start], "little") :]
    try:
        found = _Restricted(io.BytesIO(blob), encoding="latin-1").load()
        return dict(_leaves("", found))
    except RecipeError:
        raise
    except Exception as error:  # a pickle can fail in any way its writer likes
        raise RecipeError(f"it cannot be read: {error}") from error


def _leaves(path: str, found: Any) -> Iterator[tuple[str, NDArray[np.float32]]]:
    if isinstance(found, _Array):
        found = found.values
    if isinstance(found, np.ndarray):
        yield path, found.astype(np.float32)
    elif isinstance(found, dict):
        for key, value in found.items():
            yield from _leaves(f"{path}/{key}" if path else str(key), value)
    else:
        raise RecipeError(f"{path or 'it'} is a {type(found).__name__}; expected arrays in dicts")


def checkpoint(index: bytes, data: bytes) -> dict[str, NDArray[np.float32]]:
    """The tensors of a TensorFlow checkpoint: its ``.index`` and its one ``.data-00000-of-00001``."""
    try:
        return dict(_bundle(index, data))
    except RecipeError:
        raise
    except (IndexError, KeyError, ValueError, UnicodeDecodeError) as error:
        raise RecipeError(f"the checkpoint cannot be read: {error}") from error


def _bundle(index: bytes, data: bytes) -> Iterator[tuple[str, NDArray[np.float32]]]:
    footer = index[-48:]
    if len(footer) < 48 or footer[-8:] != bytes.fromhex("57fb808b247547db"):
        raise RecipeError("this is not the index of a TensorFlow checkpoint")
    at = 0
    for _ in range(2):  # where the index of what nobody needs is
        _, at = _varint(footer, at)
    offset, at = _varint(footer, at)
    size, at = _varint(footer, at)
    for _, handle in _table(index, offset, size):
        start, at = _varint(handle, 0)
        length, _ = _varint(handle, at)
        for key, value in _table(index, start, length):
            if not key:
                continue
            entry = _message(value)
            kind = _TENSORFLOW.get(entry.get(1, [0])[0])
            if kind is None:
                continue
            begin, count = entry.get(4, [0])[0], entry.get(5, [0])[0]
            shape = tuple(_message(dim).get(1, [0])[0] for dim in _message(entry[2][0]).get(2, []))
            dtype = np.dtype(kind)
            if begin + count > len(data) or math.prod(shape) * dtype.itemsize != count:
                raise RecipeError(f"the checkpoint is cut short at {key.decode()!r}")
            numbers = np.frombuffer(data, dtype, math.prod(shape), begin)
            yield key.decode(), numbers.reshape(shape).astype(np.float32)


def _varint(buffer: bytes, at: int) -> tuple[int, int]:
    result = shift = 0
    while True:
        byte = buffer[at]
        at += 1
        result |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return result, at


def _table(buffer: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """The keys and values of one block, keys written as what differs from the one before."""
    if offset + size >= len(buffer) or buffer[offset + size] != 0:
        raise RecipeError("the checkpoint's index is cut short, or compressed, which is not read")
    block = buffer[offset : offset + size]
    restarts = int.from_bytes(block[-4:], "little")
    end, at, key = len(block) - 4 - 4 * restarts, 0, b""
    while at < end:
        shared, at = _varint(block, at)
        fresh, at = _varint(block, at)
        length, at = _varint(block, at)
        key = key[:shared] + block[at : at + fresh]
        at += fresh
        yield key, block[at : at + length]
        at += length


def _message(blob: bytes) -> dict[int, list[Any]]:
    """The fields of a protocol-buffer message by number."""
    found: dict[int, list[Any]] = {}
    at = 0
    while at < len(blob):
        tag, at = _varint(blob, at)
        kind = tag & 7
        value: int | bytes
        if kind == 0:
            value, at = _varint(blob, at)
        elif kind == 2:
            length, at = _varint(blob, at)
            value, at = blob[at : at + length], at + length
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
            value, at = blob[at : at + length], at + length
        else:
            raise ValueError(f"field of kind {kind}")
        found.setdefault(tag >> 3, []).append(value)
    return found


def members(archive: Path, names: Mapping[str, str]) -> dict[str, bytes]:
    """The bytes of the members of a wheel, a zip or a tar, for each key the one whose path ends as its value says."""
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as packed:
                return {
                    key: packed.read(_ending(end, [i.filename for i in packed.infolist()]))
                    for key, end in names.items()
                }
        with tarfile.open(archive) as rolled:
            listed = [m.name for m in rolled.getmembers() if m.isfile() and m.size <= MAX_BYTES]
            opened = {key: rolled.extractfile(_ending(end, listed)) for key, end in names.items()}
            return {key: file.read() for key, file in opened.items() if file is not None}
    except (OSError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise RecipeError(f"{archive} cannot be unpacked: {error}") from error


def _ending(end: str, names: list[str]) -> str:
    found = [name for name in names if name == end or name.endswith("/" + end)]
    if not found:
        raise RecipeError(f"there is no {end} in it")
    return min(found, key=len)


def read(path: Path) -> dict[str, NDArray[np.float32]]:
    """The tensors of a user's file: safetensors, a torch state dict, a pickle of arrays, or a checkpoint's index."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise RecipeError(f"{path} has more than {MAX_BYTES >> 30} GiB; that is no file of these weights")
        if path.suffix == ".index":
            data = path.with_suffix(".data-00000-of-00001")
            if not data.is_file():
                raise RecipeError(f"{data.name} is not beside {path}; a checkpoint is both files")
            return checkpoint(path.read_bytes(), data.read_bytes())
        if path.suffix == ".safetensors":
            return _safetensors(path)
        with path.open("rb") as file:
            first = file.read(6)
        if first.startswith((b"PK", b"\x80\x02\x8a\x0a")):  # a zip, or the pickle torch wrote before
            return _state_dict(path)
        return pickled(path.read_bytes())
    except OSError as error:
        raise RecipeError(f"{path} cannot be read: {error.strerror or error}") from error


def _safetensors(path: Path) -> dict[str, NDArray[np.float32]]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return {name: tensor.float().numpy() for name, tensor in load_file(path).items()}
    except SafetensorError as error:
        raise RecipeError(f"{path} is no safetensors file: {error}") from error


def _state_dict(path: Path) -> dict[str, NDArray[np.float32]]:
    import torch

    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, ValueError, EOFError) as error:
        raise RecipeError(f"{path} is no state dict of plain tensors: {str(error).splitlines()[0]}") from error
    if isinstance(found, Mapping) and isinstance(found.get("state_dict"), Mapping):
        found = found["state_dict"]
    if not isinstance(found, Mapping):
        raise RecipeError(f"{path} holds a {type(found).__name__}; expected a state dict")
    return {str(k): v.detach().float().numpy() for k, v in found.items() if isinstance(v, torch.Tensor)}
