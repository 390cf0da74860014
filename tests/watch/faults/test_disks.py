"""Disks that are full, broken, read-only or gone: work waits, says so once, and goes on by itself."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import soundfile

if TYPE_CHECKING:
    from tests.watch.conftest import Daemon
    from tests.watch.faults.conftest import Disk

MANY = 6

# A call that fails, and a text in the paths on which it does.
PLACES = {
    "output-write": ("write", "_out/tape/.gramophone-"),
    "output-fsync": ("fsync", "_out/tape/.gramophone-"),
    "output-rename": ("link", "_out/tape/"),
    "output-folder-fsync": ("fsync", "_out/tape$"),
    "record-write": ("write", "renders/.gramophone-"),
    "record-rename": ("rename", "renders/"),
    "record-folder-fsync": ("fsync", "renders$"),
    "temp-open": ("open", "_out/tape/.gramophone-"),
    "ledger-write": ("write", "ledger.sqlite"),
    "ledger-fsync": ("fsync", "ledger.sqlite"),
    "done-rename": ("rename", "_done"),
}


@pytest.fixture(scope="module")
def failing(ground: Path, shelf: Path, ordinary: object, disk_library: Path) -> "Iterator[tuple[Daemon, Disk]]":
    """One running daemon on a disk that fails when it is told to."""
    import tempfile

    from tests.watch.conftest import Daemon, User
    from tests.watch.faults.conftest import Disk

    assert isinstance(ordinary, User)
    place = Path(tempfile.mkdtemp(dir=ground))
    place.chmod(0o755)
    ordinary.give(place)
    daemon, disk = Daemon(place / "stems", shelf, user=ordinary), Disk(place / "rules", disk_library)
    (daemon.folder / "watch.toml").write_text((daemon.folder / "watch.toml").read_text() + "bit_depth = 24\n")
    (daemon.folder / "tape").mkdir()
    (daemon.folder / "tape" / "watch.toml").write_text('after = "move"\n')
    daemon.start(env=disk.env)
    daemon.until(lambda: "is ready on" in daemon.log, "a worker is ready")
    yield daemon, disk
    daemon.end()


@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
@pytest.mark.parametrize("place", PLACES)
def test_a_disk_that_fails_is_waited_for(failing: "tuple[Daemon, Disk]", place: str, error: str) -> None:
    """However long a write, a flush or a rename fails, no stem does; when the disk is well, all goes on by itself."""
    daemon, disk = failing
    call, text = PLACES[place]
    mine = [f"tape/{place} {error} {number}.wav" for number in range(2)]
    disk.fail(error, **{call: text})
    for name in mine:
        daemon.drop(name)
    # Once for each, and again when it was tried a second time; moves are tried again only after seconds.
    tries = 2 if place == "done-rename" else 3
    daemon.until(lambda: disk.hits >= tries, "the disk has failed more than once")
    time.sleep(0.3)
    ended = ("failed",) if place == "done-rename" else ("failed", "published", "done")
    assert not [row for row in daemon.rows(*ended) if row.relative in mine]
    assert all((daemon.folder / name).exists() for name in mine)
    daemon.check(settled=False)
    disk.mend()
    daemon.until(lambda: all(daemon.states().get(name) == "done" for name in mine), "they are done")
    daemon.until(lambda: not any((daemon.folder / name).exists() for name in mine), "they are moved")
    for name in mine:
        assert (daemon.folder / "_done" / name).exists()
        assert soundfile.info(daemon.folder / "_out" / name).frames == 400
    daemon.check()


def test_a_disk_that_is_full_is_told_once(daemon: "Daemon", disk: "Disk") -> None:
    """While it stays full many stems wait, with one message, and the disk is tried more and more rarely."""
    disk.fail("ENOSPC", write="_out/tape/.gramophone-")
    daemon.start(env=disk.env)
    (daemon.folder / "watch.toml").write_text((daemon.folder / "watch.toml").read_text() + "bit_depth = 24\n")
    for number in range(MANY):
        daemon.drop(f"tape/{number}.wav")
    daemon.until(lambda: "No space left" in daemon.log, "the full disk is told")
    time.sleep(4.0)
    assert daemon.log.count("work for ") == 1
    tried = daemon.log.count("is started")
    assert tried < MANY + 8  # half a second, one, two, four … and those that were on their way
    assert "No space left" in str(daemon.status()["notices"])
    assert {row.attempts for row in daemon.rows()} == {0}
    daemon.check()
    disk.mend()
    daemon.until_ended(MANY)
    assert set(daemon.states().values()) == {"done"}
    daemon.check()


def test_a_file_system_that_is_really_full(daemon: "Daemon") -> None:
    """On a file system of its own, filled to the last byte, nothing half appears; emptied, everything does."""
    out = daemon.folder / "_out"
    out.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k,mode=777", "none", str(out)], check=False)
    if mounted.returncode != 0:
        pytest.skip("file systems may not be mounted here")
    try:
        config = daemon.folder / "watch.toml"
        config.write_text(config.read_text() + "bit_depth = 24\n")
        daemon.start()
        daemon.drop("tape/before.wav")
        daemon.until_states(tape__before="done")
        (out / "filler").write_bytes(b"\0" * 190_000)
        daemon.drop("tape/long.wav", 4.0)
        daemon.until(lambda: "is the disk full?" in daemon.log or "No space left" in daemon.log, "it is full")

        def left() -> list[str]:
            return sorted(os.listdir(out / "tape"))  # noqa: PTH208 - hidden ones too

        # It is tried again now and then, with a temporary file each time.
        daemon.until(lambda: left() == [".gramophone", "before.wav"], "nothing is left of the try")
        assert daemon.outputs() == ["filler", "tape/before.wav"]
        (out / "filler").unlink()
        daemon.until_states(tape__long="done")
        daemon.check()
        daemon.end()
    finally:
        subprocess.run(["umount", "-l", str(out)], check=True)


def test_a_limit_on_file_sizes_is_waited_for(daemon: "Daemon") -> None:
    """A write that the system cuts off, as a quota does, fails no stem; with the limit lifted it goes on."""
    config = daemon.folder / "watch.toml"
    config.write_text(config.read_text() + "bit_depth = 24\n")
    daemon.start()
    daemon.until(lambda: "is ready on" in daemon.log, "a worker is ready")
    [worker] = daemon.workers()
    limit = [*daemon.user.wrap, "prlimit", "--pid", str(worker)]
    if shutil.which("prlimit") is None:
        pytest.skip("no prlimit here (util-linux)")
    subprocess.run([*limit, "--fsize=10000:unlimited"], check=True)
    daemon.drop("tape/long.wav", 2.0)
    daemon.until(lambda: [row for row in daemon.rows("found") if row.held], "the stem waits")
    assert daemon.outputs() == []
    daemon.check()
    subprocess.run([*limit, "--fsize=unlimited:unlimited"], check=True)
    daemon.until_states(tape__long="done")
    daemon.check()


def test_an_output_folder_that_is_read_only(daemon: "Daemon") -> None:
    """A folder that may not be written is told once and tried again; once it may be, work goes on."""
    daemon.start()
    daemon.drop("tape/first.wav")
    daemon.until_states(tape__first="done")
    folder = daemon.folder / "_out/tape"
    folder.chmod(0o555)
    for number in range(MANY):
        daemon.drop(f"tape/{number}.wav")
    daemon.until(lambda: "Permission denied" in daemon.log, "it is told")
    time.sleep(2.0)
    assert daemon.log.count("work for ") == 1
    assert daemon.outputs() == ["tape/first.wav"]
    daemon.drop("rain/elsewhere.wav")
    daemon.until_states(rain__elsewhere="done")  # other folders do not wait with it
    folder.chmod(0o755)
    daemon.until_ended(MANY + 2)
    assert len(daemon.outputs()) == MANY + 2
    daemon.check()


def test_an_output_folder_that_vanishes(daemon: "Daemon", tmp_path: Path) -> None:
    """Outputs on a drive that is taken away wait for it; those inside the folder are made anew where they were."""
    drive = tmp_path / "drive"
    drive.mkdir(mode=0o555)
    config = daemon.folder / "watch.toml"
    config.write_text(config.read_text() + f'out = "{drive}/out"\n')
    daemon.start()
    daemon.drop("tape/vox.wav")
    daemon.until(lambda: "work for " in daemon.log, "the drive is missed")
    time.sleep(1.5)
    assert daemon.log.count("work for ") == 1
    daemon.check()
    (drive / "out").mkdir(mode=0o777)
    (drive / "out").chmod(0o777)
    daemon.until_states(tape__vox="done")
    assert (drive / "out/tape/vox.wav").exists()
    shutil.rmtree(drive / "out" / "tape")
    daemon.drop("tape/bass.wav")
    daemon.until_states(tape__bass="done")


def test_a_log_on_a_full_disk(daemon: "Daemon", disk: "Disk") -> None:
    """What cannot be logged is lost and counted; stems are done all the same."""
    disk.fail("ENOSPC", write="watch.log")
    daemon.start(env=disk.env)
    daemon.drop("tape/a.wav")
    daemon.until_states(tape__a="done")
    daemon.until(lambda: disk.hits, "a line was lost")
    disk.mend()
    daemon.drop("tape/b.wav")
    daemon.until_states(tape__b="done")
    log = daemon.state / "watch.log"
    daemon.until(lambda: "lines before this one were lost" in log.read_text(), "the lost lines are told")
    daemon.check()


@pytest.mark.parametrize("closed", ["1", "2", "1-2", "0-1-2"])
def test_standard_streams_that_are_closed(daemon: "Daemon", closed: str) -> None:
    """Started without stdin, stdout or stderr, the daemon writes its log over none of the files it opens instead."""
    script = "exec " + " ".join(f"{number}>&-" for number in closed.split("-")) + '; exec "$@"'
    daemon.start(wrap=("sh", "-c", script, "sh"), wait=False)
    for number in range(5):
        daemon.drop(f"tape/{number}.wav")
    daemon.until_ended(5)
    for stream in closed.split("-"):
        assert os.readlink(f"/proc/{daemon.pid}/fd/{stream}") == "/dev/null"  # noqa: PTH115
    assert daemon.status()["counts"]["done"] == 5
    assert daemon.stop() == 0
    assert not list(daemon.state.glob("*corrupt*"))
    daemon.check()


@pytest.mark.parametrize("reader", ["gone", "asleep"])
def test_a_reader_of_stdout_that_is_gone_or_asleep(daemon: "Daemon", reader: str) -> None:
    """A pipe that nobody reads, or whose reader ended, stops nothing; it ends when it is told to."""
    receiving, sending = os.pipe()
    os.set_blocking(sending, False)
    if reader == "asleep":
        try:
            while os.write(sending, b"x" * 4096):
                pass
        except BlockingIOError:
            os.set_blocking(sending, True)
    else:
        os.close(receiving)
    os.set_blocking(sending, True)
    daemon.start(stdout=sending, stderr=sending, wait=False)
    os.close(sending)
    daemon.drop("tape/vox.wav")
    daemon.until_states(tape__vox="done")
    assert daemon.stop() == 0
    daemon.check()
    if reader == "asleep":
        os.close(receiving)


def test_low_disk_space_pauses_and_resumes_by_itself(daemon: "Daemon", tmp_path: Path) -> None:
    """With less room than asked for nothing is begun; when there is more, nobody has to say so."""
    out = daemon.folder / "_out"
    out.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m,mode=777", "none", str(out)], check=False)
    if mounted.returncode != 0:
        pytest.skip("file systems may not be mounted here")
    try:
        config = daemon.folder / "watch.toml"
        config.write_text(config.read_text().replace("min_free_mb = 0", "min_free_mb = 4"))
        (out / "filler").write_bytes(b"\0" * 6_000_000)
        daemon.start()
        daemon.until(lambda: "is ready on" in daemon.log, "a worker could begin")
        daemon.drop("tape/vox.wav")
        daemon.until(lambda: "MB free" in daemon.log, "it says that there is too little")
        time.sleep(1.0)
        assert daemon.states() == {"tape/vox.wav": "found"}
        assert daemon.log.count("MB free") == 1
        (out / "filler").unlink()
        daemon.until_states(tape__vox="done")
        daemon.check()
        daemon.end()
    finally:
        subprocess.run(["umount", "-l", str(out)], check=True)
