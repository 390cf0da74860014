"""What was rendered from what: one small record in the output's folder for each, so that no work is done twice.

A record holds the digest of all inputs and the digest of the output. It is written before the output is published:
since it names the very bytes, it claims nothing until they are there, and a crash between the two leaves either an
output that is recognised or none.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from render import publish
from render.errors import RenderError

FOLDER = Path(".gramophone") / "renders"
_VERSION = 1
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Stamp:
    """One output: its file name, the ``key`` of its inputs, its size in bytes and its sha256."""

    output: str
    key: str
    size: int
    sha256: str
    inputs: Mapping[str, Any]
    version: int = _VERSION


def file_digest(path: Path) -> str:
    """The sha256 of the file at ``path``; `RenderError` when it cannot be read."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except OSError as error:
        raise RenderError(f"{path} cannot be read: {error.strerror or error}") from error
    return digest.hexdigest()


def key(inputs: Mapping[str, Any]) -> str:
    """The digest of ``inputs``, which are JSON: the same inputs have the same key."""
    text = json.dumps(inputs, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def write(output: Path, inputs: Mapping[str, Any], finished: Path) -> None:
    """Record that ``output`` is about to be the file ``finished``, made of ``inputs``."""
    stamp = Stamp(output.name, key(inputs), finished.stat().st_size, file_digest(finished), dict(inputs))
    publish.write_text(_path(output), json.dumps(asdict(stamp), indent=1) + "\n")


def unchanged(output: Path) -> bool:
    """Whether ``output`` is there as it was last published here, byte for byte, from whatever inputs."""
    record = recorded(output)
    try:
        return record.get("size") == output.stat().st_size and record.get("sha256") == file_digest(output)
    except (OSError, RenderError):
        return False


def recorded(output: Path) -> dict[str, Any]:
    """The record of ``output`` as it stands, unchecked; empty when there is none that can be read."""
    try:
        record = json.loads(_path(output).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    good = isinstance(record, dict) and (record.get("version"), record.get("output")) == (_VERSION, output.name)
    return record if good else {}


def holds(output: Path, inputs: Mapping[str, Any]) -> bool:
    """Whether ``output`` is there, byte for byte as it was rendered from the very ``inputs``."""
    return recorded(output).get("key") == key(inputs) and unchanged(output)


def _path(output: Path) -> Path:
    # A name of its own for each, however long the output's is, so that two processes never share a record.
    return output.parent / FOLDER / f"{hashlib.sha256(output.name.encode()).hexdigest()[:32]}.json"
