"""The doctor: what it finds on this machine, what it says of machines that are not well, and its exit codes."""

import importlib
import json
import math
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch
from typer.testing import CliRunner

import engine.cli
import gramophone
from engine import device, doctor, selftest, system
from engine.doctor import Report
from engine.style import Settings
from engine.system import Ram

CPU = torch.device("cpu")
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _only_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test machine's GPU is left alone, and its driver is not there."""
    monkeypatch.setattr(system, "nvidia", lambda: False)
    monkeypatch.setattr(doctor, "_gpus", lambda torch: ())


@pytest.fixture(scope="module")
def report() -> Report:
    """One examination of this machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(doctor, "_gpus", lambda torch: ())
        patch.setattr(system, "nvidia", lambda: False)
        return doctor.examine(plugins=[Path("/nowhere/vst3")])


def _failed(report: Report) -> dict[str, str]:
    """Remedies of the checks that did not go well, by name."""
    return {check.name: check.remedy for check in report.checks if check.remedy is not None}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The self-test goes well without a sound."""
    monkeypatch.setattr(selftest, "run", lambda device: selftest.SelfTest(str(device), 0.1, 0.2, 0.1, None))


def test_this_machine_is_well(report: Report) -> None:
    """Where the tests run everything is installed, and two seconds are learnt and rendered on the CPU."""
    assert report.ok, _failed(report)
    assert report.auto in ("cpu", "cuda", "mps")
    (test,) = report.selftests
    assert test.problem is None
    assert test.learn_s is not None
    assert test.real_time is not None
    assert min(test.learn_s, test.real_time) > 0
    assert {check.name for check in report.checks} >= {
        "packages", "sound files", "memory", "temporary files", "current folder", "devices", "self-test on cpu",
    }  # fmt: skip


def test_what_is_installed_is_told(report: Report) -> None:
    """Versions are those of the packages themselves, libsndfile's too; torch's threads and products are its own."""
    import soundfile

    assert report.versions["torch"] == torch.__version__.partition("+")[0]
    assert report.versions["libsndfile"] == soundfile.__libsndfile_version__
    assert all(report.versions[name] for name in ("python", "numpy", "soxr", "librosa", "pedalboard"))
    assert report.threads == torch.get_num_threads()
    assert report.products == {"cpu": selftest.products(CPU)}
    assert report.products["cpu"] in ("highest", "high", "medium")
    assert 1 <= report.usable_cores <= report.cores


def test_memory_is_that_of_the_machine(report: Report) -> None:
    """No more is free than there is."""
    if sys.platform not in ("linux", "darwin", "win32"):
        pytest.skip("this system does not say")
    assert report.ram.total is not None
    assert report.ram.free is not None
    assert 0 < report.ram.free <= report.ram.total


def test_a_container_s_limit_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container memory is what the container may have; without a limit it is the machine's."""
    files = {"/proc/meminfo": "MemTotal: 2000 kB\nMemAvailable: 1500 kB\nHugePages_Total: 0\n"}
    monkeypatch.setattr(system, "_text", lambda path: files.get(path, ""))
    monkeypatch.setattr(sys, "platform", "linux")
    assert system.ram() == Ram(2000 * 1024, 1500 * 1024)
    files |= {"/sys/fs/cgroup/memory.max": "max\n", "/sys/fs/cgroup/memory.current": "1000\n"}
    assert system.ram() == Ram(2000 * 1024, 1500 * 1024)
    files["/sys/fs/cgroup/memory.max"] = "400000\n"
    assert system.ram() == Ram(400_000, 399_000)


def test_missing_packages_are_told(monkeypatch: pytest.MonkeyPatch, quick: None) -> None:
    """With torch, torchaudio and numpy alone the rest is named in one remedy, and devices are tried all the same."""
    there = {"gramophone", "torch", "torchaudio", "numpy"}
    monkeypatch.setattr(system, "version", lambda name: "1.0" if name in there else None)
    for name in doctor.PACKAGES:
        if name not in there:
            monkeypatch.setitem(sys.modules, name, None)
    found = doctor.examine()
    assert set(_failed(found)) == {"packages"}
    remedy = _failed(found)["packages"]
    assert remedy.startswith("install what is missing: python -m pip install soundfile soxr librosa pedalboard")
    assert len(found.selftests) == 1
    assert found.versions["soundfile"] is found.versions["libsndfile"] is None


def test_it_needs_no_more_than_torch_and_numpy() -> None:
    """In a process where nothing else can be imported, everything is examined and the self-test goes well."""
    script = """
import importlib.abc, json, sys
class Bare(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"soundfile", "soxr", "librosa", "pedalboard", "safetensors", "typer", "rich",
                                      "pydantic", "platformdirs", "jinja2", "matplotlib", "scipy", "tomli", "mido"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Bare())
from engine import doctor
record = doctor.examine().record()
print(json.dumps([record["versions"]["libsndfile"], record["selftests"]]))
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, timeout=120, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    library, tests = json.loads(done.stdout)
    assert library is None
    assert tests[0]["device"] == "cpu"
    assert tests[0]["problem"] is None


def test_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where torch is not there or is broken, that is one check with its remedy, and the rest is still told."""
    monkeypatch.setitem(sys.modules, "torch", None)
    found = doctor.examine(plugins=[Path("/nowhere/vst3")])
    assert _failed(found)["torch"].endswith("python -m pip install torch torchaudio")
    assert (found.auto, found.threads, found.selftests) == (None, None, ())
    assert found.plugins
    json.dumps(found.record())


def test_a_library_that_is_not_found(monkeypatch: pytest.MonkeyPatch, quick: None) -> None:
    """Soundfile without its library fails as it does when it is imported: with an OSError, and here with a remedy."""
    real = importlib.import_module

    def broken(name: str) -> ModuleType:
        if name == "soundfile":
            raise OSError("sndfile library not found")
        return real(name)

    monkeypatch.setattr(importlib, "import_module", broken)
    found = doctor.examine()
    assert "libsndfile1" in _failed(found)["sound files"]
    assert any("sndfile library not found" in check.found for check in found.checks)


def test_little_memory_and_full_disks(monkeypatch: pytest.MonkeyPatch, quick: None) -> None:
    """Less than a gibibyte free of either is a check that fails; what is not known is not held against anyone."""
    monkeypatch.setattr(system, "ram", lambda: Ram(2**33, 2**29))
    usage = shutil.disk_usage(".")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=2**29))
    assert set(_failed(doctor.examine())) == {"memory", "temporary files", "current folder"}
    monkeypatch.setattr(system, "ram", lambda: Ram(None, None))
    assert "memory" not in _failed(doctor.examine())


def test_folders_are_written_to(tmp_path: Path, quick: None) -> None:
    """A folder yet to be made is judged by the one above it; one that no file can go into fails, with why."""
    there = {"preset library": tmp_path / "not" / "yet"}
    assert _failed(doctor.examine(there)) == {}
    assert list(tmp_path.iterdir()) == []  # looking has left nothing
    (tmp_path / "file").write_bytes(b"")
    found = doctor.examine({"preset library": tmp_path / "file" / "presets"})
    assert set(_failed(found)) == {"preset library"}
    (folder,) = (folder for folder in found.folders if folder.name == "preset library")
    assert not folder.writable
    assert folder.problem


def test_an_idle_gpu_is_told(monkeypatch: pytest.MonkeyPatch, quick: None) -> None:
    """A driver without a torch that can use it is what people come to a doctor for."""
    monkeypatch.setattr(system, "nvidia", lambda: True)
    assert "built for CUDA" in _failed(doctor.examine())["devices"]


def test_every_gpu_is_tried(monkeypatch: pytest.MonkeyPatch, quick: None) -> None:
    """Of two GPUs both are tested after the CPU, and a driver that is of use is no fault."""
    gpus = tuple(doctor.Gpu(f"cuda:{number}", "A GPU", 2**36, 2**35, "9.0") for number in range(2))
    monkeypatch.setattr(doctor, "_gpus", lambda torch: gpus)
    monkeypatch.setattr(system, "nvidia", lambda: True)
    monkeypatch.setattr(device, "pick", lambda name: torch.device("cuda" if name == "auto" else name))
    monkeypatch.setattr(selftest, "products", lambda device: "highest")
    found = doctor.examine()
    assert _failed(found) == {}
    assert [test.device for test in found.selftests] == ["cpu", "cuda:0", "cuda:1"]
    assert found.auto == "cuda"


def test_a_device_that_errs_does_not_stop_the_doctor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a driver throws becomes a failed check that says it; the times so far are kept."""

    def broken(*arguments: object) -> torch.Tensor:
        raise RuntimeError("CUDA error:\n no kernel image")

    monkeypatch.setattr(selftest, "restyle", broken)
    test = selftest.run(CPU)
    assert test.problem == "RuntimeError: CUDA error: no kernel image"
    assert test.learn_s is not None
    assert (test.render_s, test.real_time) == (None, None)
    assert "self-test on cpu" in _failed(doctor.examine())


def test_faults_are_found() -> None:
    """Another length, samples that are no numbers, another level, and the stem itself are not renders."""
    stem = torch.rand(2, 100, generator=torch.Generator().manual_seed(0)) - 0.5
    assert selftest.fault(stem, -stem) is None
    for sound, words in (
        (stem[:, :99], "[2, 99]; expected [2, 100]"),
        (stem * math.nan, "not finite"),
        (stem * 0.5, "-6.0 dB from the stem's level"),
        (torch.zeros_like(stem), "dB from the stem's level"),
        (stem.clone(), "nothing was restyled"),
    ):
        said = selftest.fault(stem, sound)
        assert said is not None
        assert words in said


def test_the_self_test_asks_for_the_device_it_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """The render is a draft of two seconds of stereo on the very device."""
    asked: list[Settings] = []

    def restyle(stem: torch.Tensor, rate: int, target: object, settings: Settings) -> torch.Tensor:
        asked.append(settings)
        assert stem.shape == (2, 88_200)
        return -stem

    monkeypatch.setattr(selftest, "restyle", restyle)
    assert selftest.run(CPU).problem is None
    assert {(one.device, one.quality) for one in asked} == {("cpu", "draft")}


def test_plugins_are_counted(tmp_path: Path) -> None:
    """Bundles and files of a kind count once each, in folders of vendors too; what lies in a bundle does not."""
    folder = tmp_path / ".vst3"
    bundle = folder / "Vendor" / "Hall.vst3" / "Contents" / "x86_64-linux"
    bundle.mkdir(parents=True)
    (bundle / "Hall.vst3").write_bytes(b"")
    (folder / "Single.VST3").write_bytes(b"")
    (folder / "readme.txt").write_bytes(b"")
    (folder / "Echo.component").mkdir()
    found = system.plugin_folders([folder, tmp_path / "none"])
    assert [(one.path, one.plugins) for one in found] == [(folder, 3), (tmp_path / "none", None)]


def test_the_command_says_it_all(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tables hold versions, devices, plugins and checks; all well is exit code 0, and progress is on stderr."""
    monkeypatch.setattr(doctor, "examine", lambda folders, on_step, plugins: on_step("self-test: cpu") or report)
    result = CliRunner().invoke(gramophone.app, ["doctor"])
    assert result.exit_code == 0
    for words in (
        report.processor,
        "soundfile",
        str(Path("/nowhere/vst3")),
        "--device auto",
        "self-test on cpu",
        "times real time",
    ):
        assert words in result.stdout
    assert result.stderr == "self-test: cpu\n"


def test_what_is_not_well_is_exit_code_1(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed check is marked, with its remedy on a line of its own; the JSON says the same."""
    ill = replace(report, checks=(*report.checks, doctor.Check("memory", "[none] free", "buy some")))
    monkeypatch.setattr(doctor, "examine", lambda folders, on_step, plugins: ill)
    result = CliRunner().invoke(gramophone.app, ["doctor"])
    assert result.exit_code == 1
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["failed", "memory", "[none]", "free"] in lines
    assert ["→", "buy", "some"] in lines
    result = CliRunner().invoke(gramophone.app, ["doctor", "--json"])
    assert result.exit_code == 1
    record = json.loads(result.stdout)
    assert record["ok"] is False
    assert record["checks"][-1] == {"name": "memory", "found": "[none] free", "remedy": "buy some", "ok": False}
    assert record["selftests"][0]["real_time"] == report.selftests[0].real_time
    assert record["versions"] == report.versions


def test_a_render_s_plugin_folders_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: None) -> None:
    """The command line's own doctor counts where chains take plugin files from, the variable's folders first."""
    (tmp_path / "Hall.vst3").mkdir()
    monkeypatch.setenv("GRAMOPHONE_PLUGIN_PATH", str(tmp_path))
    monkeypatch.setattr(engine.cli, "PLUGIN_FOLDERS", [gramophone._plugin_folders])
    record = json.loads(CliRunner().invoke(gramophone.app, ["doctor", "--json"]).stdout)
    assert record["plugins"][0] == {"path": str(tmp_path), "plugins": 1}


def test_others_may_name_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: None) -> None:
    """Whoever composes the command line adds folders that it knows of, found out only when they are asked for."""
    monkeypatch.setitem(engine.cli.FOLDERS, "an album's home", lambda: tmp_path)
    result = CliRunner().invoke(gramophone.app, ["doctor", "--json"])
    folders = json.loads(result.stdout)["folders"]
    assert {"name": "an album's home", "path": str(tmp_path), "writable": True, "problem": None} in [
        {key: value for key, value in folder.items() if key != "free"} for folder in folders
    ]
