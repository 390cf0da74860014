"""The daemon as an ordinary user runs it, on a disk that fails when it is told to."""

import contextlib
import errno
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.watch.conftest import Daemon, User

_NOBODY = 65534
_READ_ALL = "-all,+dac_read_search"


@pytest.fixture(scope="session")
def ordinary() -> "User":
    """Who is not root: nobody, who may not write what is not theirs, or the one who tests.

    Where Python is root's alone, nobody keeps the right to read everything, and none to write.
    """
    from tests.watch.conftest import User

    if os.getuid() != 0:
        return User()
    if shutil.which("setpriv") is None:
        pytest.skip("tests run as root and there is no setpriv to become an ordinary user with")
    # Side by side (pytest -n 2) each has a user of its own where it can be.
    uid = _NOBODY - int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
    plain = ("setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups")
    reads_all = (*plain, f"--inh-caps={_READ_ALL}", f"--ambient-caps={_READ_ALL}")
    for wrap in ((*plain, "--inh-caps=-all"), reads_all):
        # A second time from within: what starts the first may have kept a right that is gone by then.
        script = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import soundfile, torch'], check=True)"
        probe = subprocess.run([*wrap, sys.executable, "-c", script], capture_output=True, check=False)
        if probe.returncode == 0:
            return User(uid, wrap)
    pytest.skip(f"an ordinary user cannot run {sys.executable}: {probe.stderr.decode()[-200:]}")


@pytest.fixture(autouse=True)
def company(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests side by side, but those marked ``alone``, which leave their user nothing to watch folders with."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        yield
        return
    import fcntl

    with (tmp_path_factory.getbasetemp().parent / "company.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX if request.node.get_closest_marker("alone") else fcntl.LOCK_SH)
        yield


@pytest.fixture(scope="session")
def ground() -> Iterator[Path]:
    """A folder that everyone can look into; pytest's own are for one user only."""
    with tempfile.TemporaryDirectory(prefix="gramophone-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def tmp_path(ground: Path, ordinary: "User") -> Path:
    """A folder of the test's own, and of the daemon's user."""
    path = Path(tempfile.mkdtemp(dir=ground))
    path.chmod(0o755)
    ordinary.give(path)
    return path


@pytest.fixture(scope="session")
def shelf(shelf: Path, ground: Path) -> Path:
    """The presets that change nothing, where everyone can read them."""
    library = ground / "library"
    library.mkdir()
    for preset in shelf.glob("*.safetensors"):
        shutil.copyfile(preset, library / preset.name)
    return library


@pytest.fixture
def daemon(make_daemon: "Callable[..., Daemon]", ordinary: "User") -> "Daemon":
    """One daemon of an ordinary user, not started."""
    return make_daemon(user=ordinary)


@contextlib.contextmanager
def running(ground: Path, shelf: Path, ordinary: "User", *, settle_s: float | None = None) -> "Iterator[Daemon]":
    """A daemon of an ordinary user that runs, with a worker that is ready, until the block is left."""
    from tests.watch.conftest import CONFIG, SETTLE_S, Daemon

    place = Path(tempfile.mkdtemp(dir=ground))
    place.chmod(0o755)
    ordinary.give(place)
    config = CONFIG.replace(f"settle_s = {SETTLE_S}", f"settle_s = {settle_s or SETTLE_S}")
    daemon = Daemon(place / "stems", shelf, config=config, user=ordinary)
    daemon.start()
    try:
        # Else a stem is whole before it is looked at.
        daemon.until(lambda: "is ready on" in daemon.log, "a worker is ready")
        yield daemon
    finally:
        daemon.end()
        sys.stderr.write(daemon.log[-2500:])


@pytest.fixture(scope="module")
def shared(ground: Path, shelf: Path, ordinary: "User") -> "Iterator[Daemon]":
    """One running daemon of an ordinary user for all tests of a file; each has stems of its own names."""
    with running(ground, shelf, ordinary) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def patient(ground: Path, shelf: Path, ordinary: "User") -> "Iterator[Daemon]":
    """As `shared`, with stems that have to be still for longer and may stay unfinished for six seconds.

    For files that grow while the test writes them, which a loaded machine may keep it from doing for seconds.
    """
    with running(ground, shelf, ordinary, settle_s=0.4) as daemon:
        yield daemon


class Disk:
    """Which calls on which paths fail now."""

    def __init__(self, rules: Path, library: Path) -> None:
        self._rules, self._hits = rules, rules.with_name(f"{rules.name}.hits")
        #: What a daemon is started with for its disk to be this one.
        self.env = {"LD_PRELOAD": str(library), "GRAMOPHONE_DISK": str(rules)}

    def fail(self, error: str, **calls: str) -> None:
        """From now on each of ``calls`` fails with ``error`` on paths that hold the text given for it."""
        with contextlib.suppress(FileNotFoundError):
            self._hits.unlink()
        lines = [f"{call} {getattr(errno, error)} {text}\n" for call, text in calls.items()]
        beside = self._rules.with_name("beside")
        beside.write_text("".join(lines))
        beside.chmod(0o644)
        beside.replace(self._rules)

    def mend(self) -> None:
        """All is well again."""
        self._rules.unlink(missing_ok=True)

    @property
    def hits(self) -> int:
        """How many calls have failed since `fail`."""
        try:
            return self._hits.stat().st_size
        except FileNotFoundError:
            return 0


@pytest.fixture(scope="session")
def disk_library(ground: Path) -> Path:
    """`disk.c`, compiled."""
    compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("cc")
    if not sys.platform.startswith("linux") or compiler is None:
        pytest.skip("no C compiler here, or no Linux: a disk that fails cannot be made")
    target = ground / "disk.so"
    source = Path(__file__).with_name("disk.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(target), str(source), "-ldl"], check=True)
    return target


@pytest.fixture
def disk(disk_library: Path, tmp_path: Path) -> Disk:
    """A disk that works until it is told to fail."""
    return Disk(tmp_path / "rules", disk_library)


@pytest.fixture
def strace(tmp_path: Path, ordinary: "User") -> Callable[..., tuple[str, ...]]:
    """A maker of command lines that run another under strace with ``options``, telling ``log``; skips without it."""
    if shutil.which("strace") is None:
        pytest.skip("no strace here (Debian's package of that name)")

    def words(log: Path, *options: str) -> tuple[str, ...]:
        return ("strace", "-D", "-qq", "-o", str(log), *options)

    check: Any = subprocess.run([*ordinary.wrap, *words(tmp_path / "try", "-e", "trace=fsync"), "true"], check=False)
    if check.returncode != 0:
        pytest.skip("processes may not be traced here")
    return words
