"""Put an output in its place: all of it or nothing, and never over a file that is to stay.

The file is written beside its place under a temporary name, flushed to the disk and only then given its name; the
folder is flushed after that. Whatever goes wrong before, an interrupt included, leaves no temporary file.
"""

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from render.errors import PublishError

PARTIAL = ".gramophone-"
_PARTIAL_SUFFIX = ".part"
# What a file system without hard links says (exFAT, some network shares).
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV})
# What a folder that cannot be flushed says; the rename is as durable there as it gets.
_NO_FOLDER_SYNC = frozenset({errno.EINVAL, errno.EBADF, errno.ENOTSUP, errno.EACCES, errno.EPERM, errno.EISDIR})


@contextmanager
def partial(output: Path) -> Iterator[Path]:
    """A temporary path in the folder of ``output`` (made when missing), gone when the block is left, however it is."""
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PublishError(f"the folder {output.parent} cannot be made: {error.strerror or error}") from error
    path = output.parent / f"{PARTIAL}{secrets.token_hex(8)}{_PARTIAL_SUFFIX}"
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def publish(path: Path, output: Path, *, overwrite: bool = False) -> None:
    """Make the finished file ``path`` visible as ``output``, which is in the same folder.

    Raises `PublishError` when ``output`` exists and is not to be overwritten (it stays as it is), or when the disk
    refuses.
    """
    try:
        _sync(path)
        if overwrite:
            path.replace(output)
        else:
            _rename_unless_taken(path, output)
        _sync_folder(output.parent)
    except FileExistsError as error:
        raise PublishError(f"{output} exists already and is left as it is; --overwrite replaces it") from error
    except OSError as error:
        raise PublishError(f"{output} cannot be published: {error.strerror or error}") from error


def confirm(output: Path) -> None:
    """Make ``output``, which was found to be there, as durable as `publish` would; `PublishError` when it cannot be.

    Whoever published it may have died, or been refused, before its name was flushed.
    """
    try:
        _sync(output)
        _sync_folder(output.parent)
    except OSError as error:
        raise PublishError(f"{output} cannot be flushed to the disk: {error.strerror or error}") from error


def write_text(output: Path, text: str) -> None:
    """Put ``text`` at ``output``, replacing what is there, whole or not at all; `PublishError` when it cannot be."""
    with partial(output) as path:
        try:
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise PublishError(f"{output} cannot be written: {error.strerror or error}") from error
        publish(path, output, overwrite=True)


def _rename_unless_taken(path: Path, output: Path) -> None:
    if os.name == "nt":
        path.rename(output)  # on Windows, and only there, this refuses a name that is taken
        return
    try:
        os.link(path, output)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # Without links an empty file claims the name, so that nobody else can have it, and is then replaced.
        os.close(os.open(output, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        try:
            path.replace(output)
        except BaseException:
            output.unlink(missing_ok=True)
            raise


def _sync(path: Path) -> None:
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":
        return  # there is no handle for a folder, and NTFS journals the rename
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise
    finally:
        os.close(descriptor)
