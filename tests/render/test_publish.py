"""Publishing: all or nothing, never over another file, whatever fails on the way."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from render.errors import PublishError
from render.publish import partial, publish, write_text

Contents = Callable[..., list[str]]


def _put(output: Path, text: str = "new", *, overwrite: bool = False) -> None:
    with partial(output) as path:
        path.write_text(text)
        publish(path, output, overwrite=overwrite)


def test_a_file_appears_whole_with_its_folder(tmp_path: Path, contents: Contents) -> None:
    """Missing folders are made, the name is there and nothing else is."""
    _put(tmp_path / "a/b/out.wav")
    assert (tmp_path / "a/b/out.wav").read_text() == "new"
    assert contents() == ["a/b/out.wav"]


def test_nothing_is_overwritten_unless_told(tmp_path: Path, contents: Contents) -> None:
    """A file in the way stays as it is, and the error says how to replace it."""
    output = tmp_path / "out.wav"
    output.write_text("old")
    with pytest.raises(PublishError, match="exists already and is left as it is; --overwrite"):
        _put(output)
    assert output.read_text() == "old"
    _put(output, overwrite=True)
    assert output.read_text() == "new"
    assert contents() == ["out.wav"]


def test_overwriting_a_link_leaves_what_it_points_to(tmp_path: Path) -> None:
    """A link in the output folder is replaced, never followed: the file elsewhere keeps its content."""
    elsewhere = tmp_path / "precious.txt"
    elsewhere.write_text("precious")
    output = tmp_path / "out.wav"
    output.symlink_to(elsewhere)
    with pytest.raises(PublishError):
        _put(output)
    _put(output, overwrite=True)
    assert elsewhere.read_text() == "precious"
    assert not output.is_symlink()


def _failing(code: int) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    return fail


@pytest.mark.parametrize("call", ["fsync", "link"])
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_a_failing_disk_leaves_no_partial_file(
    call: str, code: int, tmp_path: Path, contents: Contents, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When flushing or naming fails the error tells, and the folder is as empty as before."""
    monkeypatch.setattr(os, call, _failing(code))
    with pytest.raises(PublishError, match="cannot be published"):
        _put(tmp_path / "out.wav")
    assert contents() == []


def test_a_failing_replacement_keeps_the_old_file(
    tmp_path: Path, contents: Contents, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With --overwrite the old output stays until the new one has taken its name."""
    output = tmp_path / "out.wav"
    output.write_text("old")
    monkeypatch.setattr(os, "replace", _failing(errno.EIO))
    monkeypatch.setattr(Path, "replace", _failing(errno.EIO))
    with pytest.raises(PublishError):
        _put(output, overwrite=True)
    assert output.read_text() == "old"
    assert contents() == ["out.wav"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("boom"), OSError(errno.ENOSPC, "full")])
def test_whatever_ends_the_writing_takes_the_partial_file_with_it(
    error: BaseException, tmp_path: Path, contents: Contents
) -> None:
    """An interrupt or a full disk in the middle of writing leaves nothing behind."""

    def write() -> None:
        with partial(tmp_path / "out.wav") as path:
            path.write_text("half")
            raise error

    with pytest.raises(type(error)):
        write()
    assert contents() == []


def test_without_hard_links_the_name_is_still_taken_only_once(
    tmp_path: Path, contents: Contents, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a file system without links a free name is published and a taken one refused, as everywhere."""
    monkeypatch.setattr(os, "link", _failing(errno.EPERM))
    output = tmp_path / "out.wav"
    _put(output)
    with pytest.raises(PublishError, match="exists already"):
        _put(output, "newer")
    assert output.read_text() == "new"
    assert contents() == ["out.wav"]


def test_without_hard_links_a_failed_rename_takes_its_claim_back(
    tmp_path: Path, contents: Contents, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The empty file that claims the name does not stay when the rename then fails."""
    monkeypatch.setattr(os, "link", _failing(errno.EPERM))
    monkeypatch.setattr(Path, "replace", _failing(errno.EIO))
    with pytest.raises(PublishError):
        _put(tmp_path / "out.wav")
    assert contents() == []


def test_a_folder_that_cannot_be_flushed_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Network shares refuse to flush folders; the file is published there all the same."""
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):  # noqa: PTH112 - a descriptor has no other name
            raise OSError(errno.EINVAL, "Invalid argument")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    _put(tmp_path / "out.wav")
    assert (tmp_path / "out.wav").read_text() == "new"


def test_a_folder_in_the_way_of_a_folder_is_one_clear_line(tmp_path: Path) -> None:
    """A file where the output's folder should be is told by its name."""
    (tmp_path / "a").write_text("file")
    with pytest.raises(PublishError, match=r"the folder .*a/b cannot be made"):
        _put(tmp_path / "a/b/out.wav")


def test_text_replaces_what_was_there(tmp_path: Path, contents: Contents) -> None:
    """Records are rewritten whole."""
    write_text(tmp_path / "x.json", "1")
    write_text(tmp_path / "x.json", "2")
    assert (tmp_path / "x.json").read_text() == "2"
    assert contents() == ["x.json"]
