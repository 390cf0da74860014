"""A source is moved or deleted only while it is the very file that was rendered, and nothing is ever overwritten."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from watch import sources


@dataclass(frozen=True)
class File:
    """A file as it was found."""

    relative: str
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int


@pytest.fixture
def drop(tmp_path: Path) -> Callable[..., File]:
    """A maker of files in the watched folder."""

    def make(relative: str = "tape/vox.wav", content: bytes = b"sound") -> File:
        path = tmp_path / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        status = path.stat()
        return File(relative, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)

    return make


def everything(folder: Path) -> dict[str, bytes]:
    """All files below ``folder`` with what is in them."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_source_is_moved(tmp_path: Path, drop: Callable[..., File]) -> None:
    """Its folders are made where it goes, and nothing stays behind."""
    assert sources.move(tmp_path, drop(), "_done/tape/vox.wav") == "moved"
    assert everything(tmp_path) == {"_done/tape/vox.wav": b"sound"}


def test_a_source_is_deleted(tmp_path: Path, drop: Callable[..., File]) -> None:
    """Deleted is deleted: nothing is left, hidden or not."""
    assert sources.delete(tmp_path, drop()) == "moved"
    assert everything(tmp_path) == {}


def test_a_source_that_is_gone_is_no_error(tmp_path: Path, drop: Callable[..., File]) -> None:
    """Somebody else may have taken it."""
    file = drop()
    (tmp_path / file.relative).unlink()
    assert sources.move(tmp_path, file, "_done/vox.wav") == "gone"
    assert sources.delete(tmp_path, file) == "gone"
    assert everything(tmp_path) == {}


@pytest.mark.parametrize("act", ["move", "delete"])
def test_another_file_in_its_place_stays(tmp_path: Path, drop: Callable[..., File], act: str) -> None:
    """What was dropped under the name since is not what was rendered."""
    file = drop()
    drop(content=b"newer sound")
    done = sources.delete(tmp_path, file) if act == "delete" else sources.move(tmp_path, file, "_done/vox.wav")
    assert done == "changed"
    assert everything(tmp_path) == {"tape/vox.wav": b"newer sound"}


@pytest.mark.parametrize("act", ["move", "delete"])
def test_a_content_of_the_same_size_and_time_stays(tmp_path: Path, drop: Callable[..., File], act: str) -> None:
    """Written over in its place, its time set back, it is not what was rendered, though it looks like it."""
    file = drop()
    path = tmp_path / file.relative
    while path.stat().st_ctime_ns == file.ctime_ns:  # the file system's clock may stand still for some milliseconds
        path.write_bytes(b"newer")
        os.utime(path, ns=(file.mtime_ns, file.mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns, path.stat().st_ino) == (5, file.mtime_ns, file.inode)
    done = sources.delete(tmp_path, file) if act == "delete" else sources.move(tmp_path, file, "_done/vox.wav")
    assert done == "changed"
    assert everything(tmp_path) == {"tape/vox.wav": b"newer"}


@pytest.mark.parametrize("act", ["move", "delete"])
def test_a_file_that_comes_between_the_look_and_the_rename_is_given_back(
    tmp_path: Path, drop: Callable[..., File], monkeypatch: pytest.MonkeyPatch, act: str
) -> None:
    """The instant between looking and taking is nobody's loss: what was taken is looked at again."""
    file = drop()
    whole = Path.rename

    def late(self: Path, target: Path) -> Path:
        if self == tmp_path / file.relative:
            other = tmp_path / "other"
            other.write_bytes(b"newer sound")
            os.replace(other, self)  # noqa: PTH105 - Path.rename is what is replaced here
        return whole(self, target)

    monkeypatch.setattr(Path, "rename", late)
    done = sources.delete(tmp_path, file) if act == "delete" else sources.move(tmp_path, file, "_done/vox.wav")
    assert done == "changed"
    assert everything(tmp_path) == {"tape/vox.wav": b"newer sound"}


def test_nothing_is_overwritten(tmp_path: Path, drop: Callable[..., File]) -> None:
    """A place that is taken is refused, and `place_aside` names another one."""
    drop("_done/tape/vox.wav", b"earlier")
    file = drop()
    with pytest.raises(FileExistsError):
        sources.move(tmp_path, file, "_done/tape/vox.wav")
    assert sources.place_aside(tmp_path, "_done", "tape/vox.wav") == "_done/tape/vox (2).wav"
    drop("_done/tape/vox (2).wav.txt")
    assert sources.place_aside(tmp_path, "_done", "tape/vox.wav") == "_done/tape/vox (3).wav"
    assert everything(tmp_path)["_done/tape/vox.wav"] == b"earlier"


def test_another_file_system_gets_a_copy_first(
    tmp_path: Path, drop: Callable[..., File], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a rename is refused the source goes only once its copy is there, whole."""
    file = drop()
    whole = Path.rename

    def refuse(self: Path, target: Path) -> Path:
        if self == tmp_path / file.relative:
            raise OSError(18, "Invalid cross-device link")
        return whole(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    assert sources.move(tmp_path, file, "_done/vox.wav") == "moved"
    assert everything(tmp_path) == {"_done/vox.wav": b"sound"}
    assert (tmp_path / "_done/vox.wav").stat().st_mtime_ns == file.mtime_ns


def test_the_reason_lies_beside(tmp_path: Path) -> None:
    """The text of a failure has the name of the source, and is recognised when it is there already."""
    assert not sources.explained(tmp_path, "_failed/tape/vox.wav", "no\n")
    sources.explain(tmp_path, "_failed/tape/vox.wav", "no\n")
    assert (tmp_path / "_failed/tape/vox.wav.txt").read_text() == "no\n"
    assert sources.explained(tmp_path, "_failed/tape/vox.wav", "no\n")
    assert not sources.explained(tmp_path, "_failed/tape/vox.wav", "something else\n")
