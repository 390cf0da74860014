"""Where the work is done: picking a device, and making a CPU's arithmetic as fast as it is exact."""

import ctypes
import ctypes.util
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch

from engine.errors import DeviceError

_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1  # names of glibc's mallopt


def pick(name: str = "auto") -> torch.device:
    """The device called ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``; `DeviceError` if it is not there."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise DeviceError(f"device is {name!r}; expected auto, cpu, cuda, cuda:N or mps") from None
    there = {
        "cpu": True,
        "cuda": torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if device.type not in there:
        raise DeviceError(f"device is {name!r}; expected auto, cpu, cuda, cuda:N or mps")
    if not there[device.type]:
        raise DeviceError(f"device {name!r} is not on this machine; use --device auto or cpu")
    return device


@cache
def _product_precision() -> str:
    """The fastest matrix-product setting that keeps float32 accuracy on this CPU.

    ``medium`` hands products to oneDNN, 2.5 times faster than the default on AVX-512 machines and just as exact there;
    on a CPU with bfloat16 matrix units it would round, so the error is measured once and not assumed.
    """
    g = torch.Generator().manual_seed(0)
    a, b = torch.randn(96, 512, generator=g), torch.randn(512, 96, generator=g)
    exact = a.double() @ b.double()
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        error = ((a @ b).double() - exact).norm() / exact.norm()
    finally:
        torch.set_float32_matmul_precision(before)
    return "medium" if float(error) < 2e-6 else "highest"


@cache
def _keep_freed_memory() -> None:
    """Let glibc keep freed blocks: else each 10 MB temporary is unmapped and faulted in again (a third of the time)."""
    if sys.platform.startswith("linux") and (name := ctypes.util.find_library("c")) and "libc.so.6" in name:
        libc = ctypes.CDLL(name)
        libc.mallopt(_MMAP_THRESHOLD, 64 * 2**20)
        libc.mallopt(_TRIM_THRESHOLD, 512 * 2**20)


#: Memory of a GPU that a stereo segment of ten seconds at 44.1 kHz takes, with what a recorded graph keeps of its own.
SEGMENT_BYTES = 400 * 2**20


def batch(device: torch.device) -> int:
    """How many segments are solved at once on ``device`` unless told.

    On a CPU one for each core, four at most; on a GPU what should fit (if it does not, `engine.together` takes less).
    What other programs leave free has no say in it: a batch's size can be in a GPU's last bits, and they should stay.
    """
    if device.type == "cpu":
        return min(torch.get_num_threads(), 4)
    if device.type != "cuda":
        return 16
    total: int = torch.cuda.get_device_properties(device).total_memory
    return min(64, max(1, total * 4 // 5 // SEGMENT_BYTES))


#: What says that memory ran out where no class of error does: Apple's GPUs, a CPU's allocator, CUDA's libraries.
_NO_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "ALLOC_FAILED",
    "CUBLAS_STATUS_NOT_INITIALIZED",
)


def ran_out(error: BaseException) -> bool:
    """Whether ``error`` says that a device has no memory left; each backend says it in its own way."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _NO_MEMORY)


@contextmanager
def arranged(device: torch.device) -> Iterator[None]:
    """Run heavy work on ``device`` with its best exact settings; the caller's are restored after the last to leave."""
    if device.type != "cpu":
        yield
        return
    _keep_freed_memory()
    precision = _product_precision()
    with _arranging:
        if not _arranged:
            _arranged.append(torch.get_float32_matmul_precision())
            torch.set_float32_matmul_precision(precision)
        else:
            _arranged.append(precision)
    try:
        yield
    finally:
        with _arranging:
            if len(_arranged) == 1:
                torch.set_float32_matmul_precision(_arranged[0])
            _arranged.pop()


_arranging = threading.Lock()
_arranged: list[str] = []  # the caller's precision first, then one entry for each that is still at work
