"""One full look at a folder: everything that is an input and nothing else, whatever lies or happens in it."""

import builtins
import os
import socket
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from watch import scan as module
from watch.scan import Found, ScanResult, Snapshot, look, scan

ROOT_USER = hasattr(os, "geteuid") and os.geteuid() == 0


def put(path: Path, data: bytes = b"sound") -> Path:
    """A file at ``path``, its folders made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def relatives(result: ScanResult) -> list[str]:
    """What was found, by its path from the watched folder."""
    return [found.relative for found in result.found]


def refusals(root: Path, result: ScanResult) -> dict[str, str]:
    """Why what was refused was."""
    return {refused.path.relative_to(root).as_posix(): refused.reason for refused in result.refused}


def test_stems_and_albums_are_found_at_any_depth(tmp_path: Path) -> None:
    """Both with their path, snapshot and kind, in the order of their paths."""
    vox = put(tmp_path / "tape" / "drums" / "vox.wav")
    put(tmp_path / "night" / "album.toml")
    put(tmp_path / "loose.flac")
    put(tmp_path / "tape" / "notes.txt")
    result = scan(tmp_path)
    assert relatives(result) == ["loose.flac", "night/album.toml", "tape/drums/vox.wav"]
    assert [found.kind for found in result.found] == ["stem", "album", "stem"]
    assert result.found[2] == Found(vox, "tape/drums/vox.wav", "stem", Snapshot.of(vox.lstat()))
    assert result.refused == ()


def test_our_own_folders_and_unfinished_files_are_not_looked_at(tmp_path: Path) -> None:
    """Outputs, state, hidden and temporary names are neither found nor refused."""
    for path in ("_out/tape/a.wav", ".gramophone/b.wav", "tape/.c.wav", "tape/d.wav.part", "tape/x.tmp/e.wav"):
        put(tmp_path / path)
    assert scan(tmp_path) == ScanResult(())


def test_names_of_any_bytes_are_found(tmp_path: Path) -> None:
    """Line breaks, braces, dashes, 255 bytes, composed and decomposed letters, bytes that are no text."""
    raw = [
        b"-rf.wav",
        b"a\nb.wav",
        b"{0}.wav",
        b"x" * 251 + b".wav",
        "\u00e9.wav".encode(),
        "e\u0301.wav".encode(),
        b"\xff.wav",
    ]
    (tmp_path / "tape").mkdir()
    try:
        for name in raw:
            Path(os.fsdecode(os.path.join(os.fsencode(tmp_path / "tape"), name))).write_bytes(b"")  # noqa: PTH118
    except OSError:
        pytest.skip("this file system does not hold every name")
    there = os.listdir(os.fsencode(tmp_path / "tape"))  # noqa: PTH208 - in bytes, as they are
    if len(there) < len(raw):
        pytest.skip("this file system takes composed and decomposed names for one")
    assert sorted(os.fsencode(name) for name in relatives(scan(tmp_path))) == sorted(b"tape/" + name for name in raw)


@pytest.mark.skipif(os.name == "nt", reason="needs an account that may make links")
def test_links_are_refused_and_never_followed(tmp_path: Path) -> None:
    """Links to files and folders, out of the watched folder and within, dangling and in a ring: told, not read."""
    outside = put(tmp_path / "outside" / "secret.wav").parent
    root = tmp_path / "root"
    put(root / "tape" / "vox.wav")
    (root / "tape" / "link.wav").symlink_to(outside / "secret.wav")
    (root / "tape" / "within.wav").symlink_to(root / "tape" / "vox.wav")
    (root / "tape" / "dangling.wav").symlink_to(root / "nothing.wav")
    (root / "choir").symlink_to(outside)
    (root / "ring").symlink_to(root)
    (root / "readme").symlink_to(outside / "secret.wav")
    result = scan(root)
    assert relatives(result) == ["tape/vox.wav"]
    refused = refusals(root, result)
    assert refused.keys() == {"tape/link.wav", "tape/within.wav", "tape/dangling.wav", "choir", "ring"}
    assert all(reason.startswith("is a link; expected") for reason in refused.values())


def test_the_watched_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    """Whoever names a link as the folder to watch means what it leads to."""
    put(tmp_path / "real" / "tape" / "vox.wav")
    try:
        (tmp_path / "link").symlink_to(tmp_path / "real")
    except OSError:
        pytest.skip("no links for this account")
    assert relatives(scan(tmp_path / "link")) == ["tape/vox.wav"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no such files on this system")
def test_what_is_no_file_is_refused_without_being_opened(tmp_path: Path) -> None:
    """A pipe would block whoever opens it; a socket, and a folder that is called as a stem, are none either."""
    (tmp_path / "tape").mkdir()
    os.mkfifo(tmp_path / "tape" / "pipe.wav")
    put(tmp_path / "tape" / "folder.wav" / "inner.wav")
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(tmp_path / "tape")  # a socket's path may be no longer than a hundred bytes
        try:
            server.bind("sock.wav")
        finally:
            os.chdir(here)
        result = scan(tmp_path)
    assert result.found == ()
    assert refusals(tmp_path, result) == {
        "tape/pipe.wav": "is a pipe; expected a file",
        "tape/folder.wav": "is a folder; expected a file",
        "tape/sock.wav": "is a socket; expected a file",
    }


@pytest.mark.skipif(not ROOT_USER, reason="only root makes devices")
def test_devices_are_refused(tmp_path: Path) -> None:
    """A device never ends, or blocks."""
    try:
        os.mknod(tmp_path / "zero.wav", stat.S_IFCHR | 0o666, os.makedev(1, 5))
    except OSError:
        pytest.skip("no devices may be made here")
    assert refusals(tmp_path, scan(tmp_path)) == {"zero.wav": "is a device; expected a file"}


def test_excluded_trees_are_left_out(tmp_path: Path) -> None:
    """By path, spelt in whatever way, whether they are there yet or not."""
    put(tmp_path / "tape" / "vox.wav")
    put(tmp_path / "styled" / "deep" / "vox.wav")
    for spelt in (tmp_path / "styled", tmp_path / "tape" / ".." / "styled", Path("styled"), tmp_path / "styled" / ""):
        assert relatives(scan(tmp_path, [spelt, tmp_path / "not there"])) == ["tape/vox.wav"]


def test_an_excluded_tree_is_known_by_another_path_too(tmp_path: Path) -> None:
    """A path through a link is the same folder."""
    put(tmp_path / "root" / "styled" / "vox.wav")
    try:
        (tmp_path / "link").symlink_to(tmp_path / "root")
    except OSError:
        pytest.skip("no links for this account")
    assert relatives(scan(tmp_path / "root", [tmp_path / "link" / "styled"])) == []


def test_what_says_how_a_stem_is_rendered_is_seen_with_it(tmp_path: Path) -> None:
    """Its sidecar and each watch.toml above it, the nearest first; those of others are not."""
    put(tmp_path / "tape" / "sub" / "vox.wav")
    files = ["tape/sub/vox.toml", "tape/sub/watch.toml", "tape/watch.toml", "watch.toml"]
    shots = [Snapshot.of(put(tmp_path / file, file.encode()).lstat()) for file in files]
    put(tmp_path / "tape" / "sub" / "bass.toml")
    put(tmp_path / "choir" / "watch.toml")
    put(tmp_path / "choir" / "bass.wav")
    result = scan(tmp_path)
    by_name = {found.relative: found for found in result.found}
    assert by_name["tape/sub/vox.wav"].beside == tuple(shots)
    assert len(by_name["choir/bass.wav"].beside) == 2
    assert result.configs.keys() == {"", "tape", "tape/sub", "choir"}


def test_the_midi_file_of_a_stem_counts_with_it(tmp_path: Path) -> None:
    """A stem is not still before its song is; songs of other names, folders and pipes called so are no matter."""
    put(tmp_path / "tape" / "vox.wav")
    song = put(tmp_path / "tape" / "vox.mid")
    put(tmp_path / "tape" / "other.mid")
    put(tmp_path / "song.mid" / "bass.wav")
    put(tmp_path / "elsewhere.txt")
    (tmp_path / "tape" / "link.mid").symlink_to(tmp_path / "elsewhere.txt")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "tape" / "pipe.mid")
    result = scan(tmp_path)
    assert [(found.relative, found.beside) for found in result.found] == [
        ("song.mid/bass.wav", ()),
        ("tape/vox.wav", (Snapshot.of(song.lstat()),)),
    ]
    assert result.songs.keys() == {"tape/vox.mid", "tape/other.mid"}
    assert result.refused == ()


def test_an_album_s_own_manifest_is_no_sidecar(tmp_path: Path) -> None:
    """A stem that happens to be called album or watch has no sidecar there."""
    put(tmp_path / "tape" / "album.wav")
    put(tmp_path / "tape" / "album.toml")
    assert [(found.relative, found.beside) for found in scan(tmp_path).found] == [
        ("tape/album.toml", ()),
        ("tape/album.wav", ()),
    ]


@pytest.mark.skipif(ROOT_USER, reason="root may look into every folder")
def test_a_closed_folder_is_unknown_and_not_gone(tmp_path: Path) -> None:
    """The others are found; what lies in it may be there, and who waits for it is told."""
    put(tmp_path / "tape" / "vox.wav")
    closed = put(tmp_path / "closed" / "bass.wav").parent
    closed.chmod(0)
    try:
        result = scan(tmp_path)
    finally:
        closed.chmod(0o700)
    assert relatives(result) == ["tape/vox.wav"]
    assert "cannot be looked into" in refusals(tmp_path, result)["closed"]
    assert result.missed("closed/bass.wav")
    assert not result.missed("tape/gone.wav")


def _failing_at(folder: Path, error: OSError) -> Callable[[Any], Any]:
    real = os.scandir

    def scandir(path: Any) -> Any:
        if Path(path) == folder:
            raise error
        return real(path)

    return scandir


def test_an_error_of_the_disk_makes_a_folder_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A share that fails is not one that was emptied."""
    put(tmp_path / "tape" / "vox.wav")
    put(tmp_path / "choir" / "bass.wav")
    monkeypatch.setattr(os, "scandir", _failing_at(tmp_path / "tape", OSError(5, "Input/output error")))
    result = scan(tmp_path)
    assert relatives(result) == ["choir/bass.wav"]
    assert result.blind == {"tape"}
    assert result.missed("tape/vox.wav")
    assert result.missed("tape/sub/vox.wav")


def test_a_root_that_is_away_is_unknown(tmp_path: Path) -> None:
    """A share that is not mounted, or a root that is a file, says nothing about any stem."""
    assert scan(tmp_path / "away").missed("tape/vox.wav")
    file = put(tmp_path / "file")
    assert scan(file).missed("tape/vox.wav")


def test_what_vanishes_during_the_look_is_not_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files and folders that go after they were listed leave no error behind, and are gone, not unknown."""
    for name in ("a", "b", "c"):
        put(tmp_path / "tape" / f"{name}.wav")
    put(tmp_path / "tape" / "sub" / "d.wav")
    real = os.scandir

    class Vanishing:
        def __init__(self, path: str) -> None:
            with real(path) as listing:
                self.entries = list(listing)

        def __enter__(self) -> Iterator[Any]:
            for entry in self.entries:
                if entry.name in ("b.wav",):
                    Path(entry.path).unlink()
                if entry.name == "sub":
                    (Path(entry.path) / "d.wav").unlink()
                    Path(entry.path).rmdir()
            return iter(self.entries)

        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr(os, "scandir", lambda path: Vanishing(path) if str(path).endswith("tape") else real(path))
    result = scan(tmp_path)
    assert relatives(result) == ["tape/a.wav", "tape/c.wav"]
    assert result.refused == ()
    assert not result.missed("tape/sub/d.wav")


def test_a_tree_without_end_is_told_and_not_gone_down(tmp_path: Path) -> None:
    """Beyond a depth that nobody sorts stems into, the rest is left and said to be."""
    deep = tmp_path.joinpath(*["d"] * (module.MAX_DEPTH + 5))
    put(deep / "vox.wav")
    put(tmp_path / "d" / "bass.wav")
    result = scan(tmp_path)
    assert relatives(result) == ["d/bass.wav"]
    assert [refused.reason for refused in result.refused] == [
        f"lies more than {module.MAX_DEPTH} folders deep; move it up"
    ]


def test_many_stems_cost_one_listing_a_folder_and_no_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The look is made of names and lstat alone, so that ten thousand stems are cheap and none can block it."""
    for number in range(300):
        put(tmp_path / f"p{number % 3}" / f"{number}.wav")
    listed = []
    real = os.scandir

    def listing(path: Any) -> Any:
        listed.append(path)
        return real(path)

    monkeypatch.setattr(os, "scandir", listing)

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError(f"opened {args[0]!r}")

    for where, name in ((os, "open"), (builtins, "open"), (Path, "open"), (os, "stat")):
        monkeypatch.setattr(where, name, refuse)
    result = scan(tmp_path)
    monkeypatch.undo()
    assert len(result.found) == 300
    assert len(listed) == 4


def test_content_that_is_written_over_is_seen_however_its_times_are_set(tmp_path: Path) -> None:
    """A program that keeps the size and puts the old time back has still changed the file, and a rename over it too."""
    vox = put(tmp_path / "tape" / "vox.wav", b"sound")
    first = scan(tmp_path).found[0].snapshot
    for _ in range(100):  # the file system's clock may stand still for some milliseconds
        put(vox, b"noise")
        os.utime(vox, ns=(first.mtime_ns, first.mtime_ns))
        second = scan(tmp_path).found[0].snapshot
        if second != first:
            break
        time.sleep(0.01)
    assert second != first
    assert (second.size, second.mtime_ns) == (first.size, first.mtime_ns)
    other = put(tmp_path / "other", b"sound")
    other.rename(vox)
    assert scan(tmp_path).found[0].snapshot.inode not in (first.inode, second.inode)


def test_one_file_is_looked_at_again(tmp_path: Path) -> None:
    """Its snapshot as a scan would see it; nothing for what is gone, no file, or behind a link."""
    vox = put(tmp_path / "tape" / "vox.wav")
    put(tmp_path / "real" / "bass.wav")
    assert look(tmp_path, "tape/vox.wav") == scan(tmp_path).found[-1].snapshot
    assert look(tmp_path, "tape/gone.wav") is None
    assert look(tmp_path, "tape") is None
    assert look(tmp_path, "tape/nul\0.wav") is None
    vox.unlink()
    try:
        vox.symlink_to(tmp_path / "real" / "bass.wav")
        (tmp_path / "link").symlink_to(tmp_path / "real")
    except OSError:
        pytest.skip("no links for this account")
    assert look(tmp_path, "tape/vox.wav") is None
    assert look(tmp_path, "link/bass.wav") is None
