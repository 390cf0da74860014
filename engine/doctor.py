"""What this machine can do for a render, and what stands in its way, each with its remedy.

Imports at once and works with whatever is installed: what is not there is said, not crashed on.  Without Typer:
``python -c "from engine import doctor; print(doctor.examine().record())"``.
"""

import importlib
import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine import system
from engine.system import PluginFolder, Ram

if TYPE_CHECKING:
    from engine.selftest import SelfTest

#: Packages a render, a preset or a picture needs.
PACKAGES = (
    "gramophone", "torch", "torchaudio", "numpy", "soundfile", "soxr", "librosa", "pedalboard", "safetensors",
    "typer", "rich", "pydantic", "platformdirs", "jinja2", "matplotlib",
)  # fmt: skip
LEAST_BYTES = 2**30  # memory and room on a disk that a few minutes of stereo take


@dataclass(frozen=True)
class Check:
    """Something that was looked at: ``found`` in words, and the ``remedy`` where it is not well."""

    name: str
    found: str
    remedy: str | None = None

    @property
    def ok(self) -> bool:
        """Whether it is well."""
        return self.remedy is None


@dataclass(frozen=True)
class Gpu:
    """A device beside the CPU; ``capability`` is CUDA's, ``memory`` and ``free`` are bytes (None: not said)."""

    device: str
    name: str
    memory: int | None
    free: int | None
    capability: str | None


@dataclass(frozen=True)
class Folder:
    """A folder, whether a file could be written there, and the free bytes of its disk (None: not said)."""

    name: str
    path: Path
    writable: bool
    problem: str | None
    free: int | None


@dataclass(frozen=True)
class Report:
    """All that was found; ``auto`` is the device a render takes of itself, ``products`` the precision on each."""

    processor: str
    cores: int
    usable_cores: int
    threads: int | None
    gpus: tuple[Gpu, ...]
    auto: str | None
    products: Mapping[str, str]
    ram: Ram
    system: str
    versions: Mapping[str, str | None]
    folders: tuple[Folder, ...]
    plugins: tuple[PluginFolder, ...]
    selftests: tuple["SelfTest", ...]
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether every check went well."""
        return all(check.ok for check in self.checks)

    def record(self) -> dict[str, Any]:
        """All of it as one JSON object."""
        out = asdict(self)
        for record, folder in zip(out["folders"] + out["plugins"], self.folders + self.plugins, strict=True):
            record["path"] = str(folder.path)
        for record, test in zip(out["selftests"], self.selftests, strict=True):
            record["real_time"] = test.real_time
        for record, check in zip(out["checks"], self.checks, strict=True):
            record["ok"] = check.ok
        return {"ok": self.ok, **out}


def examine(
    folders: Mapping[str, Path] | None = None,
    on_step: Callable[[str], None] = lambda line: None,
    plugins: Iterable[Path] = (),
) -> Report:
    """Look at everything.

    ``folders`` are places that have to be writable besides the folder for temporary files and the current one; one
    that is not there yet is judged by the nearest folder above it.  ``plugins`` are where plugins are looked for.
    """
    on_step("versions and folders")
    versions = _versions()
    here = {"temporary files": Path(tempfile.gettempdir()), "current folder": Path.cwd(), **(folders or {})}
    looked = tuple(_folder(name, path) for name, path in here.items())
    ram = system.ram()
    checks = [_packages(versions), *_sound_files(versions), _memory(ram), *map(_room, looked)]
    threads: int | None = None
    gpus: tuple[Gpu, ...] = ()
    auto: str | None = None
    products: dict[str, str] = {}
    tests: list[SelfTest] = []
    torch, problem = _load("torch")
    if torch is None:
        checks.append(Check("torch", problem, "install it: python -m pip install torch torchaudio"))
    elif versions["numpy"] is not None:
        on_step("devices")
        from engine import device, selftest

        threads, gpus, auto = torch.get_num_threads(), _gpus(torch), str(device.pick("auto"))
        checks.append(_devices(gpus, auto))
        for where in [device.pick("cpu"), *(device.pick(gpu.device) for gpu in gpus)]:
            on_step(f"self-test: {where}")
            tests.append(selftest.run(where))
            products[str(where)] = selftest.products(where)
            checks.append(_tested(tests[-1]))
    return Report(
        processor=system.processor(),
        cores=os.cpu_count() or 1,
        usable_cores=system.usable_cores(),
        threads=threads,
        gpus=gpus,
        auto=auto,
        products=products,
        ram=ram,
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        versions=versions,
        folders=looked,
        plugins=tuple(system.plugin_folders(plugins)),
        selftests=tuple(tests),
        checks=tuple(checks),
    )


def _load(name: str) -> tuple[Any, str]:
    """A module that may be missing or broken, or None and what was said."""
    try:
        return importlib.import_module(name), ""
    except (ImportError, OSError, RuntimeError) as error:  # a library that a wheel needs, a wheel for another machine
        return None, f"{name} cannot be loaded: {' '.join(str(error).split())}"


def _versions() -> dict[str, str | None]:
    soundfile, _ = _load("soundfile")
    library = None if soundfile is None else str(soundfile.__libsndfile_version__)
    return {"python": platform.python_version(), **{p: system.version(p) for p in PACKAGES}, "libsndfile": library}


def _packages(versions: Mapping[str, str | None]) -> Check:
    missing = [name for name in PACKAGES if versions[name] is None]
    if not missing:
        return Check("packages", "all there")
    if "gramophone" in missing:
        # A bare checkout works for whoever stands in it.
        missing.remove("gramophone")
    if not missing:
        return Check("packages", "all there; Gramophone itself runs from a checkout")
    return Check(
        "packages",
        f"not installed: {', '.join(missing)}",
        f"install what is missing: python -m pip install {' '.join(missing)}",
    )


def _sound_files(versions: Mapping[str, str | None]) -> list[Check]:
    """Whether soundfile, where it is installed, has found its library."""
    if versions["soundfile"] is None:
        return []
    if versions["libsndfile"] is None:
        remedy = "install the library (Debian: apt install libsndfile1) or soundfile's own wheel"
        return [Check("sound files", _load("soundfile")[1], remedy)]
    return [Check("sound files", f"libsndfile {versions['libsndfile']}")]


def _memory(ram: Ram) -> Check:
    found = f"{gib(ram.free)} free of {gib(ram.total)}"
    if ram.free is None or ram.free >= LEAST_BYTES:
        return Check("memory", found)
    return Check("memory", found, f"close other programs: a render needs {gib(LEAST_BYTES)}")


def _folder(name: str, path: Path) -> Folder:
    there = path
    while not there.exists() and there != there.parent:
        there = there.parent
    try:
        free: int | None = shutil.disk_usage(there).free
    except OSError:
        free = None
    try:
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(b"\0")
            file.flush()
    except OSError as error:
        return Folder(name, path, False, error.strerror or str(error), free)
    return Folder(name, path, True, None, free)


def _room(folder: Folder) -> Check:
    if not folder.writable:
        remedy = "make it writable, or work in a folder that is"
        if folder.name == "temporary files":
            remedy = "make it writable, or name another folder in TMPDIR"
        return Check(folder.name, f"{folder.path} cannot be written: {folder.problem}", remedy)
    found = f"{folder.path}, {gib(folder.free)} free"
    if folder.free is not None and folder.free < LEAST_BYTES:
        return Check(folder.name, found, f"make room on its disk: at least {gib(LEAST_BYTES)}")
    return Check(folder.name, found)


def _gpus(torch: Any) -> tuple[Gpu, ...]:
    found = []
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            known = torch.cuda.get_device_properties(index)
            try:
                free: int | None = torch.cuda.mem_get_info(index)[0]
            except RuntimeError:  # a GPU that another process has to itself
                free = None
            capability = f"{known.major}.{known.minor}"
            found.append(Gpu(f"cuda:{index}", known.name, known.total_memory, free, capability))
    if torch.backends.mps.is_available():
        found.append(Gpu("mps", "Apple GPU", torch.mps.recommended_max_memory(), None, None))
    return tuple(found)


def _devices(gpus: Sequence[Gpu], auto: str) -> Check:
    if system.nvidia() and not any(gpu.device.startswith("cuda") for gpu in gpus):
        return Check(
            "devices",
            f"an NVIDIA driver is there, but torch finds no GPU; auto picks {auto}",
            "install a torch that is built for CUDA, and a driver that is new enough for it (see nvidia-smi)",
        )
    return Check("devices", f"auto picks {auto}")


def _tested(test: "SelfTest") -> Check:
    name = f"self-test on {test.device}"
    if test.problem is not None:
        other = (
            "reinstall torch and numpy" if test.device == "cpu" else "render with --device cpu, and update the driver"
        )
        return Check(name, test.problem, f"{other}; if it stays, report it with the output of --json")
    return Check(name, f"2 s rendered in {test.render_s:.2f} s, {test.real_time:.1f} times real time")


def gib(value: int | None) -> str:
    """Bytes in GiB, or that the system does not say."""
    return "not known" if value is None else f"{value / 2**30:,.1f} GiB"
