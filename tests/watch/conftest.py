"""The real daemon as a process on a folder of its own, with presets that change nothing, and what must always hold."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from engine.audio import probe
from watch import ledgerfile, names
from watch.config import Configs
from watch.intake import Intake
from watch.rows import Row, State
from watch.view import view

REPO = Path(__file__).parents[2]
STRANGE = Path(__file__).parent / "faults" / "strange.py"
RATE = 8000
SETTLE_S = 0.1
# Generous: the machine may be busy with something else. Nothing asserts how long anything takes.
PATIENCE_S = 150.0
CONFIG = f"settle_s = {SETTLE_S}\nrescan_s = 1.0\nmin_free_mb = 0\n"

WORKING = ("claimed", "rendered", "published")


def tone(seconds: float = 0.05, seed: int = 0, channels: int = 1) -> "np.ndarray[Any, np.dtype[np.float64]]":
    """Noise ``[samples, channels]`` on the grid of 16 bits, so that what changes nothing gives the same samples."""
    samples = np.random.default_rng(seed).integers(-8000, 8000, (max(1, round(seconds * RATE)), channels))
    return samples / 32768.0


def write_stem(path: Path, seconds: float = 0.05, seed: int = 0, channels: int = 1, subtype: str = "PCM_16") -> Path:
    """A stem of noise at ``path``, its folders made, written as any program writes: in its place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w+b") as file:  # soundfile takes no name that is no text
        soundfile.write(file, tone(seconds, seed, channels), RATE, subtype, format=_container(path))
    return path


def _container(path: Path) -> str:
    return {".flac": "FLAC", ".aif": "AIFF", ".aiff": "AIFF"}.get(path.suffix.lower(), "WAV")


@dataclass(frozen=True)
class User:
    """Who the daemon runs as: the one who tests, or under ``wrap`` somebody ordinary with the number ``uid``."""

    uid: int | None = None
    wrap: tuple[str, ...] = ()

    def give(self, *paths: Path) -> None:
        """Make ``paths`` that user's."""
        if self.uid is not None:
            for path in paths:
                with contextlib.suppress(FileNotFoundError):
                    if os.lstat(path).st_uid == self.uid:
                        continue  # changing nothing would change a time
                    os.chown(path, self.uid, self.uid, follow_symlinks=False)


class Daemon:
    """``gramophone watch run`` on ``folder`` as a process: started, stopped, killed and asked as a user would."""

    def __init__(self, folder: Path, library: Path, *, config: str = CONFIG, user: "User | None" = None) -> None:
        self.folder, self.library, self.user = folder, library, user or User()
        self.state = folder / names.STATE
        self.process: subprocess.Popen[bytes] | None = None
        self.output = bytearray()
        self._reader: threading.Thread | None = None
        folder.mkdir(parents=True, exist_ok=True)
        if config:
            (folder / names.CONFIG).write_text(config, encoding="utf-8")
        self.give()

    # The process

    def start(
        self,
        *options: str,
        env: Mapping[str, str] | None = None,
        wrap: tuple[str, ...] = (),
        strange: Mapping[str, Any] | None = None,
        wait: bool = True,
        **popen: Any,
    ) -> "Daemon":
        """Start it with ``options`` and ``env`` added, under the command ``wrap``; ``wait`` until it watches.

        ``strange`` is what `faults/strange.py` changes about it.
        """
        assert self.process is None, "it runs already"
        self.give()
        launcher = ["-m", "watch"] if strange is None else [str(STRANGE), json.dumps(strange)]
        words = [*self.user.wrap, *wrap, sys.executable, "-P", *launcher, "run", str(self.folder)]
        words += ["--library", str(self.library)]
        paths = os.pathsep.join([str(REPO), *filter(None, [os.environ.get("PYTHONPATH")])])
        self.output = bytearray()
        pipes: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        process: subprocess.Popen[bytes] = subprocess.Popen(
            [*words, "--verbose", *options],
            env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"} | dict(env or {}),
            start_new_session=True,
            **pipes | popen,
        )
        self.process = process
        self._reader = threading.Thread(target=self._read, args=(self.process,), daemon=True)
        self._reader.start()
        if wait:
            self.until(lambda: "watching " in self.log or not self.running, "it watches")
        return self

    def _read(self, process: "subprocess.Popen[bytes]") -> None:
        if process.stdout is None:
            return
        with contextlib.suppress(ValueError, OSError):
            while data := process.stdout.read1(65536):  # type: ignore[attr-defined]
                self.output += data

    @property
    def running(self) -> bool:
        """Whether it lives."""
        return self.process is not None and self.process.poll() is None

    @property
    def log(self) -> str:
        """All it has said since it was started."""
        return self.output.decode("utf-8", "replace")

    @property
    def pid(self) -> int:
        """The daemon's process."""
        assert self.process is not None
        return self.process.pid

    def workers(self) -> list[int]:
        """The processes of its workers."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError, IndexError, ValueError):
                    fields = (entry / "stat").read_text().rpartition(")")[2].split()
                    words = (entry / "cmdline").read_bytes()
                    if int(fields[1]) == self.pid and b"worker" in words:
                        found.append(int(entry.name))
        return found

    def send(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it and say with which exit code it ended."""
        self.send(number)
        return self.wait()

    def kill(self) -> None:
        """End it as a power cut would, though not its workers."""
        self.send(signal.SIGKILL)
        self.wait()

    def wait(self) -> int:
        """Wait until it ends by itself; its exit code."""
        assert self.process is not None
        code = self.process.wait(PATIENCE_S)
        assert self._reader is not None
        self._reader.join(5.0)
        if self.process.stdout is not None:
            self.process.stdout.close()
        self.process = None
        return code

    def once(self, *options: str, **how: Any) -> int:
        """Run it until nothing is left to do; its exit code."""
        self.start("--once", *options, wait=False, **how)
        return self.wait()

    def end(self) -> None:
        """End it and its workers in whatever way, if it lives."""
        if self.process is None:
            return
        for pid in [self.pid, *(self.workers() if self.running else [])]:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGCONT)
                os.killpg(pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait()

    # The folder

    def drop(self, relative: str, seconds: float = 0.05, seed: int | None = None, **how: Any) -> Path:
        """Write a stem into the folder; another sound for each name unless ``seed`` says which."""
        chosen = sum(relative.encode("utf-8", "surrogateescape")) if seed is None else seed
        path = write_stem(self.folder / relative, seconds, chosen, **how)
        self.give(path)
        return path

    def remove(self) -> None:
        """Delete the folder with all that is in it, though the daemon may write to it meanwhile."""

        def gone() -> bool:
            with contextlib.suppress(OSError):
                shutil.rmtree(self.folder)
            return not self.folder.exists()

        self.until(gone, "the folder is gone")

    def give(self, path: Path | None = None) -> None:
        """Let ``path`` and the folders above it, or all there is, be the daemon's user's."""
        if path is None:
            self.user.give(self.folder, *self.folder.rglob("*"))
        else:
            self.user.give(path, *(above for above in path.parents if above.is_relative_to(self.folder)))

    def outputs(self) -> list[str]:
        """The files in ``_out``, without records and temporary files."""
        return listed(self.folder / names.OUT)

    # The ledger

    def rows(self, *states: State) -> list[Row]:
        """Current rows in ``states``; none before there is a ledger."""
        with contextlib.suppress(ledgerfile.LedgerMissing), view(self.state / ledgerfile.NAME) as ledger:
            return ledger.rows(*states)
        return []

    def states(self) -> dict[str, State]:
        """The state of each stem."""
        return {row.relative: row.state for row in self.rows()}

    def status(self) -> dict[str, Any]:
        """What ``watch status --json`` says."""
        found: dict[str, Any] = json.loads(self.command("status", "--json").stdout)
        return found

    def command(self, name: str, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run ``gramophone watch NAME FOLDER WORDS``."""
        env = os.environ | {"PYTHONPATH": str(REPO)}
        command = [sys.executable, "-P", "-m", "watch", name, str(self.folder), *words]
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=PATIENCE_S, check=False)

    def check(self, *, settled: bool = True) -> None:
        """See that the invariant holds; ``settled`` when it is not at work. See `assert_invariant`."""
        assert_invariant(self.folder, settled=settled)

    def fingerprint(self) -> dict[str, tuple[int, int, bytes]]:
        """Every file but those of the state, to see whether anything changed."""
        return fingerprint(self.folder)

    # Waiting

    def until(self, test: Callable[[], object], what: str, patience_s: float = PATIENCE_S) -> None:
        """Wait until ``test``, or fail with the log."""
        end = time.monotonic() + patience_s
        while not test():
            if time.monotonic() > end:
                pytest.fail(
                    f"waited {patience_s:.0f} s in vain until {what}; states: {self.states()}\n{self.log[-4000:]}"
                )
            time.sleep(0.02)

    def until_states(self, **states: State) -> None:
        """Wait until each stem, named by its path with ``__`` for ``/`` and no ending, is in its state."""
        wanted = {name.replace("__", "/"): state for name, state in states.items()}

        def reached() -> bool:
            there = {relative.rpartition(".")[0]: state for relative, state in self.states().items()}
            return all(there.get(name) == state for name, state in wanted.items())

        self.until(reached, f"{wanted}")

    def until_ended(self, count: int) -> None:
        """Wait until ``count`` stems are done or failed and none is anything else but gone."""

        def ended() -> bool:
            there = list(self.states().values())
            over = sum(state in ("done", "failed") for state in there)
            return over >= count and over == sum(state != "gone" for state in there)

        self.until(ended, f"{count} stems have ended")


def listed(folder: Path) -> list[str]:
    """The files below ``folder``, relative, hidden ones left out."""
    files = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(path.as_posix() for path in files if not any(part.startswith(".") for part in path.parts))


def fingerprint(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Every file below ``folder`` but the state's: inode, time and bytes, to see whether anything changed."""
    found = {}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if relative.parts[0] != names.STATE and path.is_file():
            status = path.stat()
            found[relative.as_posix()] = (status.st_ino, status.st_mtime_ns, path.read_bytes())
    return found


def assert_invariant(folder: Path, *, settled: bool = True) -> None:
    """What must hold whatever happened: each stem is waiting, working, done or failed, and nothing is half.

    Every file in ``_out`` with a final name is whole; a done stem has its output, of the stem's length, and a failed
    one its reason; a source is in its place, or was moved where the ledger says, or its output is there. ``settled``
    says that the daemon is not at work, so that every stem on the disk is known.
    """
    state = folder / names.STATE / ledgerfile.NAME
    rows: list[Row] = []
    with contextlib.suppress(ledgerfile.LedgerMissing), view(state) as ledger:
        rows = ledger.rows()
    for name in listed(folder / names.OUT):
        # An album's report comes with its outputs.
        if name.endswith(".report.html"):
            assert (folder / names.OUT / name).read_text(encoding="utf-8").rstrip().endswith("</html>")
            continue
        if name.endswith(".report.json"):
            json.loads((folder / names.OUT / name).read_text(encoding="utf-8"))
            continue
        info = probe(folder / names.OUT / name)
        assert info.frames > 0
        sound = soundfile.read(folder / names.OUT / name)[0]
        assert len(sound) == info.frames, f"{name} cannot be read to its end"
    taken: dict[str, str] = {}
    for row in rows:
        source = folder / row.relative
        aside = folder / row.moved_to if row.moved_to else None
        if row.state in ("published", "done"):
            assert row.output is not None
            output = folder / row.output
            assert output.exists(), f"{row.relative} is {row.state} and {row.output} is not there"
            if row.kind == "stem":
                assert taken.setdefault(row.output, row.relative) == row.relative, "two stems have one output"
                assert probe(output).frames == row.frames
                there = source if source.exists() else aside
                if there is not None and there.exists():
                    with there.open("rb") as stem:
                        assert soundfile.info(stem).frames == row.frames, f"{row.output} is not as long as its stem"
        elif row.state == "failed":
            assert row.reason
            if settled:
                told = aside or folder / names.FAILED / row.relative
                assert told.with_name(names.reason(told.name)).exists(), f"{row.relative} failed without a reason file"
                assert source.exists() or (aside is not None and aside.exists()), f"{row.relative} is lost"
        elif row.state != "gone":
            assert source.exists() or not settled, f"{row.relative} is {row.state} and its source is not there"
    if settled:
        known = {row.relative for row in rows if row.state != "gone"}
        unknown = {one.relative for one in Intake(folder, Configs(folder)).look().found} - known
        assert not unknown, f"nobody knows {sorted(unknown)}"


def make_shelf(folder: Path) -> Path:
    """``folder`` as a library with presets that change nothing: ``tape``, ``rain`` and, with a chain, ``flip``."""
    import torch

    from engine.style import Target
    from presets import preset
    from presets.library import Library

    library = Library(folder)
    for seed, name in enumerate(("tape", "rain", "flip")):
        frames = torch.randn(1, 16, generator=torch.Generator().manual_seed(seed))
        chain = [{"plugin": "invert"}] if name == "flip" else []
        library.save(preset.new(name, Target("identity", {}, RATE, {"frames": frames}), chain=chain))
    return library.folder


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library with the presets of `make_shelf`."""
    return make_shelf(tmp_path_factory.mktemp("library"))


@pytest.fixture
def make_daemon(tmp_path: Path, shelf: Path) -> Iterator[Callable[..., Daemon]]:
    """A maker of daemons on folders below the test's own; all are ended with the test."""
    made: list[Daemon] = []

    def make(
        folder: str | Path = "stems", *, library: Path | None = None, config: str = CONFIG, user: User | None = None
    ) -> Daemon:
        made.append(Daemon(tmp_path / folder, library or shelf, config=config, user=user))
        return made[-1]

    yield make
    for daemon in made:
        daemon.end()
        sys.stderr.write(daemon.log[-2500:])  # shown with a test that fails


@pytest.fixture
def daemon(make_daemon: Callable[..., Daemon]) -> Daemon:
    """One daemon, not started, that takes what has been still for a tenth of a second."""
    return make_daemon()
