"""Whatever is in a file that is called like a stem, or is one by name alone, the others are done and it is told."""

import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

from tests.watch.faults.test_many import resident_mb

if TYPE_CHECKING:
    from tests.watch.conftest import Daemon


def wav(frames: int, declared: int, *, channels: int = 1, bits: int = 16) -> bytes:
    """A WAV of silence whose header declares another length."""
    data = bytes(frames * channels * bits // 8)
    size = min(declared * channels * bits // 8, 0xFFFFFFFF - 36)
    block = channels * bits // 8
    head = struct.pack(
        "<4sI4s4sIHHIIHH", b"RIFF", 36 + size, b"WAVE", b"fmt ", 16, 1, channels, 8000, 8000 * block, block, bits
    )
    return head + struct.pack("<4sI", b"data", size) + data


NO_SOUND = {
    "zero-byte": b"",
    "corrupt": b"RIFF\xff\xff\xff\xffWAVEjunk" + bytes(range(256)) * 20,
    "only-a-header": wav(0, 400),
    "nothing-in-it": wav(0, 0),
    "cut-off": wav(400, 800),
    "lying": wav(400, 4_000_000),
    "mislabelled-text": b"this is no sound\n" * 100,
    "mislabelled-picture": b"\x89PNG\r\n\x1a\n" + bytes(1000),
    "mislabelled-zip": b"PK\x03\x04" + bytes(1000),
}


@pytest.mark.parametrize("name", NO_SOUND)
def test_what_is_no_whole_sound_fails_with_a_reason(shared: "Daemon", name: str) -> None:
    """Once it has had its time to become whole it is put aside, byte for byte, with a text that says why."""
    path = shared.folder / "tape" / f"{name}.wav"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(NO_SOUND[name])
    shared.give()
    shared.drop(f"tape/beside {name}.wav")
    shared.until(lambda: shared.states().get(f"tape/{name}.wav") == "failed", "it is failed")
    aside = shared.folder / "_failed/tape" / f"{name}.wav"
    shared.until(lambda: aside.exists() and not path.exists(), "it is put aside")
    assert aside.read_bytes() == NO_SOUND[name]
    assert len(aside.with_name(f"{name}.wav.txt").read_text()) > 10
    assert not (shared.folder / "_out/tape" / f"{name}.wav").exists()
    shared.until(lambda: shared.states().get(f"tape/beside {name}.wav") == "done", "the one beside it is done")
    shared.check()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_that_are_no_numbers_fail(shared: "Daemon", value: float) -> None:
    """One NaN or infinity anywhere fails the stem, says where, and nothing of it is published."""
    sound = np.zeros(4000)
    sound[2000] = value
    path = shared.folder / "tape" / f"{value}.wav"
    path.parent.mkdir(exist_ok=True)
    soundfile.write(path, sound, 8000, "FLOAT")
    shared.give()
    name = f"tape/{value}.wav"
    shared.until(lambda: shared.states().get(name) == "failed", "it is failed")
    aside = shared.folder / "_failed" / name
    shared.until(aside.exists, "it is put aside")
    assert "0.25" in aside.with_name(f"{value}.wav.txt").read_text()
    assert not (shared.folder / "_out" / name).exists()
    shared.check()


def test_a_sound_under_another_formats_name_is_played(shared: "Daemon") -> None:
    """What is in a file counts, not its ending: a FLAC called .wav is a stem."""
    hidden = shared.folder / "tape" / ".x.flac"
    hidden.parent.mkdir(exist_ok=True)
    soundfile.write(hidden, np.linspace(-0.5, 0.5, 400), 8000, "PCM_16", format="FLAC")
    hidden.replace(hidden.with_name("really flac.wav"))
    shared.until(lambda: shared.states().get("tape/really flac.wav") == "done", "it is done")
    shared.check()


def test_three_gigabytes_of_nothing(daemon: "Daemon") -> None:
    """A sparse file of 3 GiB without a header fails; hours of silence are given up at the deadline, here a short one.

    The stem behind them is done, and the daemon is as small as ever.
    """
    config = daemon.folder / "watch.toml"
    config.write_text(config.read_text() + "attempts = 1\n")
    (daemon.folder / "tape").mkdir()
    size = 3 << 30
    for name, head in (("empty", b""), ("hours", wav(0, (size - 44) // 32, channels=8, bits=32))):
        with (daemon.folder / "tape" / f"{name}.wav").open("wb") as file:
            file.write(head)
            file.truncate(size)
    daemon.start(strange={"deadline_s": 6.0})
    memory = []

    def ended() -> bool:
        memory.append(resident_mb(daemon.pid))
        states = daemon.states()
        return states.get("tape/empty.wav") == states.get("tape/hours.wav") == "failed"

    daemon.until(ended, "both have failed")
    assert max(memory) < 80
    daemon.drop("tape/small.wav")
    daemon.until_states(tape__small="done")
    daemon.until(lambda: not (daemon.folder / "tape/hours.wav").exists(), "it is put aside")
    assert "nothing came of it" in (daemon.folder / "_failed/tape/hours.wav.txt").read_text()
    assert daemon.outputs() == ["tape/small.wav"]
    daemon.check()


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as unix:
        there = Path.cwd()
        os.chdir(path.parent)  # a socket's address is short
        try:
            unix.bind(path.name)
        finally:
            os.chdir(there)


def _device(path: Path) -> None:
    try:
        os.mknod(path, 0o666 | 0o020000, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("only root makes devices")


@pytest.mark.parametrize("make", [_pipe, _socket, _device, Path.mkdir])
def test_what_is_no_file_is_refused_once(shared: "Daemon", make: Callable[[Path], None]) -> None:
    """A pipe, a socket, a device or a folder that is called like a stem is never opened, told once and left there."""
    name = f"{make.__name__.strip('_')}.wav"
    path = shared.folder / "tape" / name
    path.parent.mkdir(exist_ok=True)
    make(path)
    shared.give()
    shared.until(lambda: f"{name} is a " in shared.log, "it is refused")
    shared.drop(f"tape/beside {name}")
    shared.until(lambda: shared.states().get(f"tape/beside {name}") == "done", "the one beside it is done")
    assert f"tape/{name}" not in shared.states()
    assert shared.log.count(f"{name} is a ") == 1
    if make is _pipe:
        with pytest.raises(OSError, match="No such device"):  # nobody is reading
            os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    assert path.exists()
    shared.check()
