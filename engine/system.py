"""The machine and what is installed on it, found without torch: processor, memory, versions, plugin folders."""

import ctypes
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

_BUNDLES = (".vst3", ".component")
_DEPTH = 3  # folders of a vendor within folders of plugins


@dataclass(frozen=True)
class Ram:
    """Memory in bytes, of the machine or of the container that limits it; None where the system does not say."""

    total: int | None
    free: int | None


@dataclass(frozen=True)
class PluginFolder:
    """A place where plugins are looked for, and how many lie there; None where there is no folder."""

    path: Path
    plugins: int | None


def processor() -> str:
    """The processor's name."""
    if sys.platform.startswith("linux"):
        for line in _text("/proc/cpuinfo").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    if sys.platform == "darwin":
        return _said(["sysctl", "-n", "machdep.cpu.brand_string"]) or platform.machine()
    return platform.processor() or platform.machine()


def usable_cores() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def ram() -> Ram:
    """Memory there is, and memory that can be had without anything being swapped out."""
    if sys.platform.startswith("linux"):
        return _linux_ram()
    if sys.platform == "darwin":
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return Ram(total, _mac_free())
    if sys.platform == "win32":
        return _windows_ram()
    return Ram(None, None)


def version(package: str) -> str | None:
    """The installed version of ``package``, which is not imported; None if it is not there."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def nvidia() -> bool:
    """Whether an NVIDIA GPU's driver is on this machine, torch aside."""
    return Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None


def plugin_folders(folders: Iterable[Path]) -> list[PluginFolder]:
    """How many plugins lie in each of ``folders``."""
    return [PluginFolder(folder, _plugins(folder)) for folder in folders]


def _plugins(folder: Path) -> int | None:
    """How many plugins lie in ``folder`` or in a vendor's folder in it; a bundle is one, whatever is in it."""
    if not folder.is_dir():
        return None
    count = 0
    for where, folders, files in os.walk(folder):
        count += sum(name.lower().endswith(_BUNDLES) for name in folders + files)
        deep = len(Path(where).relative_to(folder).parts) + 1 >= _DEPTH
        folders[:] = [] if deep else [name for name in folders if not name.lower().endswith(_BUNDLES)]
    return count


def _linux_ram() -> Ram:
    known = {}
    for line in _text("/proc/meminfo").splitlines():
        name, _, rest = line.partition(":")
        if rest.endswith("kB"):
            known[name] = int(rest.split()[0]) * 1024
    total, free = known.get("MemTotal"), known.get("MemAvailable")
    limit, used = (_text(f"/sys/fs/cgroup/memory.{name}").strip() for name in ("max", "current"))
    if total is not None and limit.isdigit() and int(limit) < total:
        total = int(limit)
        if free is not None and used.isdigit():
            free = max(0, min(free, total - int(used)))
    return Ram(total, free)


def _mac_free() -> int | None:
    pages = {}
    said = _said(["vm_stat"]) or ""
    for line in said.splitlines():
        name, _, rest = line.partition(":")
        if rest.strip().rstrip(".").isdigit():
            pages[name] = int(rest.strip().rstrip("."))
    names = ("Pages free", "Pages inactive", "Pages speculative")
    return sum(pages.get(name, 0) for name in names) * os.sysconf("SC_PAGE_SIZE") if pages else None


def _windows_ram() -> Ram:
    class Status(ctypes.Structure):
        _fields_ = (
            ("length", ctypes.c_uint32),
            ("load", ctypes.c_uint32),
            *((name, ctypes.c_uint64) for name in ("total", "free", *(f"other{k}" for k in range(5)))),
        )

    status = Status()
    status.length = ctypes.sizeof(Status)
    if not ctypes.CDLL("kernel32").GlobalMemoryStatusEx(ctypes.byref(status)):
        return Ram(None, None)
    return Ram(int(status.total), int(status.free))


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _said(command: list[str]) -> str | None:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=5).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
