"""Devices: found by name, refused with a remedy, and a CPU's settings given back."""

from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import torch

from engine import device
from engine.errors import DeviceError


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with a CPU only."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.mark.usefixtures("bare")
def test_a_machine_without_accelerator_has_a_cpu() -> None:
    """There auto is the CPU, and a device that is not there is refused with what to use."""
    assert device.pick() == device.pick("auto") == device.pick("cpu") == torch.device("cpu")
    for name in ("cuda", "cuda:0", "mps"):
        with pytest.raises(DeviceError, match=rf"'{name}' is not on this machine; use --device auto or cpu"):
            device.pick(name)


@pytest.mark.parametrize("name", ["gpu", "", "cuda:x", "CUDA", "meta", "xpu"])
def test_a_name_that_is_no_device_is_refused(name: str) -> None:
    """Words torch does not know, and devices of torch that are no machine of ours, get the list of names."""
    with pytest.raises(DeviceError, match=rf"device is '{name}'; expected auto, cpu, cuda, cuda:N or mps"):
        device.pick(name)


def test_an_accelerator_is_taken_when_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """With two cards auto is the first, cuda:1 the second, and cuda:2 is not on this machine."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert device.pick().type == "cuda"
    assert device.pick("cuda:1") == torch.device("cuda:1")
    with pytest.raises(DeviceError, match="cuda:2"):
        device.pick("cuda:2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert device.pick().type == "mps"


@pytest.fixture(params=["highest", "medium"])
def before(request: pytest.FixtureRequest) -> Iterator[str]:
    """The caller's own setting."""
    own = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(request.param)
    yield str(request.param)
    torch.set_float32_matmul_precision(own)


def test_the_callers_precision_comes_back(before: str) -> None:
    """Products run at the fast exact setting inside only, also when the work fails."""
    with device.arranged(torch.device("cpu")):
        assert torch.get_float32_matmul_precision() == device._product_precision()
    assert torch.get_float32_matmul_precision() == before
    with pytest.raises(ZeroDivisionError), device.arranged(torch.device("cpu")):
        raise ZeroDivisionError
    assert torch.get_float32_matmul_precision() == before


def test_the_fast_setting_is_as_exact_as_float32() -> None:
    """Whatever setting was chosen, a product of noise inside is within 2e-6 of the exact one."""
    g = torch.Generator().manual_seed(1)
    a, b = torch.randn(200, 1000, generator=g), torch.randn(1000, 50, generator=g)
    with device.arranged(torch.device("cpu")):
        error = (a @ b).double() - a.double() @ b.double()
    assert float(error.norm() / (a.double() @ b.double()).norm()) < 2e-6


@pytest.mark.parametrize(("total", "count"), [(0, 1), (2**28, 1), (8 * 2**30, 16), (140 * 2**30, 64)])
def test_a_gpu_takes_as_many_segments_as_fit(total: int, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """One at least, 64 at most, by the memory that it has."""
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda where: SimpleNamespace(total_memory=total))
    assert device.batch(torch.device("cuda")) == count


def test_measuring_the_precision_leaves_it_alone(before: str) -> None:
    """The probe puts the setting back."""
    assert device._product_precision.__wrapped__() in ("medium", "highest")
    assert torch.get_float32_matmul_precision() == before


def test_another_device_is_left_as_it_is() -> None:
    """Settings of the CPU's products stay alone when the work is done elsewhere."""
    before = torch.get_float32_matmul_precision()
    with device.arranged(torch.device("meta")):
        assert torch.get_float32_matmul_precision() == before


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"),
        MemoryError(),
        RuntimeError("MPS backend out of memory (MPS allocated: 5.56 GB, max allowed: 6.80 GB)."),
        RuntimeError("[enforce fail at alloc_cpu.cpp] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("cuFFT error: CUFFT_ALLOC_FAILED"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)
def test_every_backend_says_in_its_own_way_that_memory_ran_out(error: Exception) -> None:
    """Whatever class of error and words it takes for it."""
    assert device.ran_out(error)


@pytest.mark.parametrize("error", [RuntimeError("shape '[2]' is invalid"), ValueError("out of memory"), OSError(12)])
def test_other_errors_are_not_about_memory(error: Exception) -> None:
    """A bug must not be tried again in smaller and smaller batches."""
    assert not device.ran_out(error)
