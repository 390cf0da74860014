"""Files that appear whole or not at all: a temporary file in the same folder, fsync, rename, fsync of the folder."""

import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from presets.errors import PresetError

Bytes = bytes | bytearray | memoryview


def write(path: Path, pieces: Iterable[Bytes], *, replace: bool) -> None:
    """Put ``pieces``, one after the other, at ``path``, making its folder where there is none.

    Without ``replace`` an existing file stays as it is. Raises `PresetError` then, or when the disk refuses;
    in both cases nothing is left behind.
    """
    temporary = path.parent / f".{secrets.token_hex(8)}.tmp"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as file:
                for piece in pieces:
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
            _publish(temporary, path, replace)
            _sync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)
    except FileExistsError as error:
        raise PresetError(f"{path} exists; choose another name, or say --replace to overwrite it") from error
    except OSError as error:
        raise PresetError(f"{path} cannot be written: {error.strerror or error}") from error


def _publish(temporary: Path, path: Path, replace: bool) -> None:
    if not replace:
        # A hard link is the one rename that fails when the name is taken, even by a process that came a moment ago.
        try:
            path.hardlink_to(temporary)
            return
        except FileExistsError:
            raise
        except (OSError, NotImplementedError):  # a file system without hard links: a look first is the best there is
            if path.exists():
                raise FileExistsError(path) from None
    temporary.replace(path)


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":
        return  # Windows has no handle for a folder, and NTFS journals the rename
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
