"""However a stem arrives, it is taken when it is whole, and what is taken is what lies there in the end."""

import io
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import soundfile

if TYPE_CHECKING:
    from tests.watch.conftest import Daemon


def whole(daemon: "Daemon", tmp_path: Path, name: str, seconds: float = 0.5) -> bytes:
    """The bytes of a stem that lies elsewhere."""
    path = daemon.folder / "tape" / f".{name}.tmp"
    daemon.drop(f"tape/.{name}.wav", seconds).replace(path)
    content = path.read_bytes()
    path.unlink()
    return content


def sound(content: bytes) -> list[float]:
    """The samples of the file whose bytes are ``content``."""
    samples: list[float] = soundfile.read(io.BytesIO(content))[0].tolist()
    return samples


def assert_done(daemon: "Daemon", name: str, content: bytes) -> None:
    """The stem at ``name`` gets done, with the sound of ``content``; nothing else is changed."""

    def reached() -> bool:
        output = daemon.folder / "_out" / name
        return daemon.states().get(name) == "done" and sound(output.read_bytes()) == sound(content)

    daemon.until(reached, f"{name} is done as it lies there in the end")
    daemon.check()


def test_a_file_that_grows_slowly(patient: "Daemon", tmp_path: Path) -> None:
    """A few bytes at a time, for much longer than a stem has to be still, are none until the last one is there."""
    content = whole(patient, tmp_path, "slow")
    with (patient.folder / "tape/slow.wav").open("wb", buffering=0) as file:
        for at in range(0, len(content), 200):
            assert not (patient.folder / "_out/tape/slow.wav").exists()
            file.write(content[at : at + 200])
            time.sleep(0.05)
    assert_done(patient, "tape/slow.wav", content)


def test_a_file_that_grows_with_pauses(patient: "Daemon", tmp_path: Path) -> None:
    """Pauses longer than the time to be still fool nobody: the header says how much is missing."""
    content = whole(patient, tmp_path, "pauses", 0.6)
    with (patient.folder / "tape/pauses.wav").open("wb", buffering=0) as file:
        for at in range(0, len(content), 2000):
            file.write(content[at : at + 2000])
            if at + 2000 < len(content):
                time.sleep(0.8)
                assert not (patient.folder / "_out/tape/pauses.wav").exists()
                assert patient.states().get("tape/pauses.wav") != "failed"
    assert_done(patient, "tape/pauses.wav", content)


def test_a_file_that_is_preallocated(daemon: "Daemon", tmp_path: Path) -> None:
    """A file that has its full size and its header from the start is not taken while it is still written to."""
    config = daemon.folder / "watch.toml"
    config.write_text(config.read_text().replace("settle_s = 0.1", "settle_s = 2.0"))
    daemon.start()
    (daemon.folder / "tape").mkdir()
    content = whole(daemon, tmp_path, "made")
    path = daemon.folder / "tape/made.wav"
    longest, last = 0.0, time.monotonic()
    with path.open("wb", buffering=0) as file:
        os.posix_fallocate(file.fileno(), 0, len(content))
        for at in range(0, len(content), 500):
            before = time.monotonic()
            file.write(content[at : at + 500])
            longest, last = max(longest, time.monotonic() - last), before
            time.sleep(0.2)
            taken = daemon.rows()
            # On a machine that stands still for two seconds, wherever in this loop, the file did lie still.
            assert max(longest, time.monotonic() - last) > 1.5 or taken == []
    assert_done(daemon, "tape/made.wav", content)


def test_a_copy_as_rsync_makes_it(shared: "Daemon", tmp_path: Path) -> None:
    """A hidden temporary file is none of ours, however long it lies there; the rename to its name is the arrival."""
    content = whole(shared, tmp_path, "synced")
    hidden = shared.folder / "tape" / ".synced.wav.Xy12Zq"
    hidden.write_bytes(content)
    (shared.folder / "tape" / ".synced.wav").write_bytes(content)  # and as others do
    (shared.folder / "tape" / "synced.wav.part").write_bytes(content)
    time.sleep(1.5)
    assert not [name for name in shared.states() if "synced" in name]
    hidden.rename(shared.folder / "tape" / "synced.wav")
    assert_done(shared, "tape/synced.wav", content)


def test_a_file_that_is_renamed_in(shared: "Daemon", tmp_path: Path) -> None:
    """A file that comes from elsewhere on the same disk is there at once."""
    content = whole(shared, tmp_path, "moved")
    (tmp_path / "moved.wav").write_bytes(content)
    (tmp_path / "moved.wav").rename(shared.folder / "tape/moved.wav")
    assert_done(shared, "tape/moved.wav", content)


def test_a_tree_that_is_moved_in(shared: "Daemon", tmp_path: Path) -> None:
    """Watchers see nothing of what is in a folder that arrives whole; a look does."""
    content = whole(shared, tmp_path, "deep")
    deep = tmp_path / "session" / "day one" / "takes"
    deep.mkdir(parents=True)
    (deep / "deep.wav").write_bytes(content)
    (tmp_path / "session" / "top.wav").write_bytes(content)
    (tmp_path / "session").rename(shared.folder / "tape" / "session")
    assert_done(shared, "tape/session/day one/takes/deep.wav", content)
    assert_done(shared, "tape/session/top.wav", content)


def test_a_hard_link(shared: "Daemon", tmp_path: Path) -> None:
    """A second name of a file elsewhere is a stem like any, and the other name stays as it is."""
    content = whole(shared, tmp_path, "linked")
    elsewhere = tmp_path / "mine.wav"
    elsewhere.write_bytes(content)
    os.link(elsewhere, shared.folder / "tape/linked.wav")
    assert_done(shared, "tape/linked.wav", content)
    assert elsewhere.read_bytes() == content


@pytest.mark.parametrize(("name", "at"), [("old", 0.0), ("future", 4e9)])
def test_a_time_that_is_old_or_yet_to_come(shared: "Daemon", tmp_path: Path, name: str, at: float) -> None:
    """A copy keeps the time of its original: it may be of 1970, or of a camera whose clock was wrong."""
    content = whole(shared, tmp_path, name)
    elsewhere = tmp_path / f"{name}.wav"
    elsewhere.write_bytes(content)
    os.utime(elsewhere, (at, at))
    elsewhere.rename(shared.folder / "tape" / f"{name}.wav")
    assert_done(shared, f"tape/{name}.wav", content)


def test_a_content_of_the_same_size_and_time(shared: "Daemon", tmp_path: Path) -> None:
    """A stem that is written over with as many bytes, its time set back, is rendered again all the same."""
    path = shared.drop("tape/same.wav", seed=1)
    assert_done(shared, "tape/same.wav", path.read_bytes())
    times = path.stat()
    other = shared.drop("tape/.same.wav", seed=2).read_bytes()
    with path.open("r+b") as file:
        file.write(other)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert path.stat().st_size == times.st_size
    assert_done(shared, "tape/same.wav", other)


def test_a_stem_deleted_while_it_is_worked_on(daemon: "Daemon", tmp_path: Path) -> None:
    """What is taken away in the middle is gone, not failed, and the next stem is done."""
    gate = tmp_path / "gate"
    daemon.start(env={"GRAMOPHONE_BARRIER": f"worker-render%vox:wait={gate}"})
    path = daemon.drop("tape/vox.wav")
    daemon.until(Path(f"{gate}.reached").exists, "the stem is under work")
    path.unlink()
    daemon.drop("tape/next.wav")
    gate.touch()
    daemon.until_states(tape__vox="gone", tape__next="done")
    assert daemon.outputs() == ["tape/next.wav"]
    assert not (daemon.folder / "_failed").exists()
    daemon.check()


@pytest.mark.parametrize("barrier", ["worker-started", "worker-render", "worker-published"])
def test_a_stem_replaced_while_it_is_worked_on(daemon: "Daemon", tmp_path: Path, barrier: str) -> None:
    """What takes its place in the middle is rendered; the output is of the new content, whole, under its name."""
    gate = tmp_path / "gate"
    daemon.start(env={"GRAMOPHONE_BARRIER": f"{barrier}@1:wait={gate}"})
    daemon.drop("tape/vox.wav", seed=1)
    daemon.until(Path(f"{gate}.reached").exists, "the stem is under work")
    other = daemon.drop("tape/.vox.wav", 0.1, seed=2)
    content = other.read_bytes()
    other.replace(daemon.folder / "tape/vox.wav")
    time.sleep(0.7)  # it is seen, and lies still, while the other is under work
    gate.touch()
    assert_done(daemon, "tape/vox.wav", content)
    assert daemon.outputs() == ["tape/vox.wav"]
    assert soundfile.info(daemon.folder / "_out/tape/vox.wav").frames == 800
    assert not (daemon.folder / "_failed").exists()


def test_an_output_folder_inside_the_watched_one(daemon: "Daemon") -> None:
    """Wherever outputs go, no output is ever an input: not when it is named in a watch.toml, nor after that changes."""
    config = daemon.folder / "watch.toml"
    config.write_text(config.read_text() + 'out = "styled"\npreset = "tape"\n')
    daemon.drop("tape/vox.wav")
    daemon.drop("rain/bass.wav")
    daemon.start()
    daemon.until_ended(2)
    time.sleep(1.5)
    assert sorted(daemon.states()) == ["rain/bass.wav", "tape/vox.wav"]
    assert (daemon.folder / "styled/tape/vox.wav").exists()
    made = list((daemon.folder / "styled").rglob("*.wav"))
    assert len(made) == 2
    daemon.check()


def test_the_root_is_removed_and_made_again(daemon: "Daemon", tmp_path: Path) -> None:
    """With its state elsewhere too, a folder that went and came is watched again, new folders in it included."""
    state = tmp_path / "state"
    daemon.state = state
    config = daemon.folder / "watch.toml"
    config.write_text(config.read_text().replace("rescan_s = 1.0", "rescan_s = 600"))  # nothing but events tells it
    daemon.start("--state", str(state))
    daemon.drop("tape/first.wav")
    daemon.until_states(tape__first="done")
    daemon.remove()
    daemon.until(lambda: "cannot be looked into" in daemon.log or "is not there" in daemon.log, "it is missed")
    (daemon.folder / "tape" / "takes").mkdir(parents=True)
    (daemon.folder / "watch.toml").write_text("settle_s = 0.1\nmin_free_mb = 0\nrescan_s = 1.0\n")
    daemon.give()
    daemon.drop("tape/takes/second.wav")
    daemon.until_states(tape__takes__second="done")
    daemon.drop("tape/takes/third.wav")
    daemon.until_states(tape__takes__third="done")
