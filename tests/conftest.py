"""What all tests share: plugins that are compiled once, from the sources in `tests/plugins`."""

import contextlib
import hashlib
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

with contextlib.suppress(ImportError):  # machines with a GPU may hold no more than some tests need
    import hypothesis

    # How long it takes to draw an example says how busy the machine is.
    hypothesis.settings.register_profile(
        "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
    )
    hypothesis.settings.load_profile("any machine")

# Whoever starts the tests in the background has them ignore Ctrl-C, and with them all processes that are to hear it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# As the console script has it, before torch is loaded: on a busy machine threads that spin cost most of the time.
os.environ.setdefault("GOMP_SPINCOUNT", "2000")

_SOURCES = Path(__file__).parent / "plugins"
_DPF = Path("/usr/share/dpf/distrho")


@dataclass(frozen=True)
class _Fixture:
    """A plugin to build: its source, its channels and what else is defined for the compiler.

    One that has ``parts`` is no plugin of its own: it finds these beside it.
    """

    source: str
    channels: int = 2
    defines: Mapping[str, int] = field(default_factory=dict)
    parts: tuple[str, ...] = ()


_FIXTURES = {
    "GramoGain": _Fixture("gain"),
    "GramoMono": _Fixture("mono", 1),
    "GramoUnder": _Fixture("misreport", defines={"FIXTURE_REPORTED": 0}),
    "GramoOver": _Fixture("misreport", defines={"FIXTURE_REPORTED": 1000}),
    "GramoCrash": _Fixture("faulty", defines={"FIXTURE_FAULT": 1}),
    "GramoHang": _Fixture("faulty", defines={"FIXTURE_FAULT": 2}),
    "GramoNan": _Fixture("faulty", defines={"FIXTURE_FAULT": 3}),
    "GramoBorn": _Fixture("faulty", defines={"FIXTURE_FAULT": 4}),
    "GramoBoth": _Fixture("both", parts=("GramoGain", "GramoMono")),
    "GramoSine": _Fixture("sine", defines={"FIXTURE_IS_SYNTH": 1}),
    "GramoPrograms": _Fixture("sine", defines={"FIXTURE_IS_SYNTH": 1, "FIXTURE_PROGRAMS": 4}),
}


@pytest.fixture(scope="session")
def plugin_folder(pytestconfig: pytest.Config) -> Path:
    """A folder with the fixture plugins as NAME.vst3: GramoGain, GramoMono, GramoSine, GramoCrash and more.

    Kept under pytest's cache until a source changes. Skipped where there is no compiler or no DPF.
    """
    if not sys.platform.startswith("linux"):
        pytest.skip("the fixture plugins are built for Linux only")
    if shutil.which("g++") is None:
        pytest.skip("no g++ here; the fixture plugins cannot be compiled")
    if not (_DPF / "DistrhoPluginMain.cpp").is_file():
        pytest.skip("no DPF here (Debian's dpf-source); the fixture plugins cannot be compiled")
    assert pytestconfig.cache is not None
    return _built(pytestconfig.cache.mkdir("fixture-plugins"))


def _built(cache: Path) -> Path:
    digest = hashlib.sha256(repr(_FIXTURES).encode() + _compiler("GramoGain", _FIXTURES["GramoGain"])[0].encode())
    for path in sorted(_SOURCES.iterdir()):
        digest.update(path.name.encode() + path.read_bytes())
    folder = cache / digest.hexdigest()[:16]
    if not folder.is_dir():
        # Beside its place, so that two sessions at once each find a whole folder.
        with tempfile.TemporaryDirectory(dir=cache) as name:
            for plugin, fixture in _FIXTURES.items():
                binary = Path(name, "made", f"{plugin}.vst3", "Contents", f"{platform.machine()}-linux", f"{plugin}.so")
                binary.parent.mkdir(parents=True)
                subprocess.run([*_compiler(plugin, fixture), "-o", str(binary)], check=True, timeout=300)
            for plugin, fixture in _FIXTURES.items():
                for part in fixture.parts:
                    made = next(Path(name, "made", f"{part}.vst3").rglob("*.so"))
                    shutil.copy(made, next(Path(name, "made", f"{plugin}.vst3").rglob(f"{plugin}.so")).parent)
            try:
                Path(name, "made").rename(folder)
            except OSError:
                assert folder.is_dir()
    return folder


def _compiler(plugin: str, fixture: _Fixture) -> list[str]:
    defines = {
        "FIXTURE_CHANNELS": fixture.channels,
        "FIXTURE_IS_SYNTH": 0,
        "FIXTURE_PROGRAMS": 0,
        **fixture.defines,
    }
    return [
        os.environ.get("CXX", "g++"),
        *("-std=gnu++14", "-O1", "-w", "-fPIC", "-shared", "-fvisibility=hidden"),
        f'-DFIXTURE_NAME="{plugin}"',
        *(f"-D{name}={value}" for name, value in defines.items()),
        "-DDISTRHO_PLUGIN_TARGET_VST3",
        *(f"-I{folder}" for folder in (_SOURCES, _DPF)),
        str(_SOURCES / f"{fixture.source}.cpp"),
        *([] if fixture.parts else [str(_DPF / "DistrhoPluginMain.cpp")]),
    ]


@pytest.fixture
def make_pipe() -> Iterator[Callable[[Path], Path]]:
    """A maker of named pipes that end at once for who reads them, so that a test of that fails and does not hang."""
    if not hasattr(os, "mkfifo"):
        pytest.skip("no named pipes on this system")
    made: list[Path] = []

    def make(path: Path) -> Path:
        os.mkfifo(path)
        threading.Thread(target=lambda: os.close(os.open(path, os.O_WRONLY)), daemon=True).start()
        made.append(path)
        return path

    yield make
    for path in made:
        os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))  # lets a writer go that nobody has read from


@pytest.fixture(scope="session")
def zam_folder() -> Path:
    """The folder of Debian's zam-plugins, third parties' effects as VST3; skipped where they are not installed."""
    folder = Path("/usr/lib/vst3")
    if not (folder / "ZaMaximX2.vst3").exists():
        pytest.skip("no zam-plugins here (Debian's package of that name)")
    return folder


@pytest.fixture
def plugins_here(
    plugin_folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """`plugin_folder` as the place where plugins are found by name, with a cache of scans that is not the user's."""
    cache = tmp_path_factory.getbasetemp() / "plugin-cache"
    monkeypatch.setenv("GRAMOPHONE_PLUGIN_PATH", str(plugin_folder))
    for variable in ("XDG_CACHE_HOME", "HOME"):
        monkeypatch.setenv(variable, str(cache))
    return plugin_folder
