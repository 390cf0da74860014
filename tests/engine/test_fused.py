"""The GPU's kernels beside the plain lines they stand for; Triton's interpreter runs them without a GPU."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from engine import fused, kernel, material, spectra
from engine.spectra import Resolution
from engine.style import Settings, learn, restyle

HERE = str(Path(__file__).parent)


def compare() -> None:
    """Every kernel against its plain lines, as the process whose Triton is the interpreter does it."""
    from engine import tritons

    g = torch.Generator().manual_seed(3)

    def close(found: Tensor, wanted: Tensor, name: str) -> None:
        assert found.shape == wanted.shape, name
        error = fused.apart(found, wanted)
        assert error < 2e-6, (name, error)

    for channels, frames, bins in ((1, 3, 33), (2, 9, 129), (3, 1, 5)):
        spectrum = torch.randn(2, channels, frames, bins, dtype=torch.complex64, generator=g)
        grad = torch.randn(2, bins, frames, generator=g).mT  # as autograd hands it over
        spectrum[0, :, 0, :3] = 0
        magnitude = spectra.linked(spectrum, 0.37)
        close(tritons.linked(spectrum, 0.37), magnitude, "linked")
        found = tritons.pulled(spectrum, grad, magnitude, 0.37)
        wanted = spectra.pulled(spectrum, grad, magnitude, 0.37)
        close(torch.view_as_real(found), torch.view_as_real(wanted), "pulled")
    for n_fft, hop, samples in ((64, 16, 257), (64, 32, 1000), (60, 15, 44), (16, 16, 100), (2048, 512, 3000)):
        res = Resolution(n_fft, hop)
        framed = torch.randn(2, 2, res.frames(samples), n_fft, generator=g)
        window = spectra.hann(n_fft, torch.device("cpu"), torch.float32)
        found = tritons.assembled(framed, window, 0.5, hop, samples)
        close(found, spectra.assembled(framed, window, 0.5, hop, samples), "assembled")
    for rows, more, width in ((30, 41, 11), (12, 12, 11), (17, 90, 6), (11, 200, 11), (5, 9, 1)):
        s, a = torch.randn(2, rows, 7, generator=g), torch.randn(2, more, 7, generator=g)
        row = torch.cat([s, a], 1)
        row[:, 2:9] = 0  # silence has no direction
        norms, products = kernel.squared_norms(row, width), s @ row.mT
        u = torch.rand(2, rows - width + 1, generator=g)
        w = torch.randn(2, rows + more - width + 1, generator=g)
        exact = kernel.arc_rows(products.double(), norms.double(), u.double(), w.double(), width)
        plain = kernel.arc_rows(products, norms, u, w, width)
        for found, other, best in zip(tritons.arc_rows(products, norms, u, w, width), plain, exact, strict=True):
            # the angle between a patch and itself is the root of what float32 rounds, in plain lines as well
            assert fused.apart(found, best) < 2 * fused.apart(other, best) + 2e-6, "arc_rows"
        close(tritons.diagonal_spread(plain[0], width), kernel.diagonal_spread(plain[0], width), "spread")


def render() -> None:
    """A draft in which kernels do all that they can, against one in plain lines; in the same process as `compare`."""
    rate = 22050
    stem, style = (torch.from_numpy(material.make(name, seconds=0.4, rate=rate)) for name in ("riff", "organ"))
    target = learn([style], rate)
    plain = restyle(stem, rate, target, Settings(quality="draft", device="cpu"))
    assert fused._trusted == {}
    fused.applies = lambda first: first.dtype in (torch.float32, torch.complex64)
    styled = restyle(stem, rate, target, Settings(quality="draft", device="cpu"))
    names = ("linked", "pulled", "assembled", "arc_rows", "diagonal_spread")
    assert fused._trusted == dict.fromkeys(sorted(names), True) == dict(sorted(fused._trusted.items()))
    assert not torch.equal(styled, plain)
    apart = float((styled - plain).norm() / (plain - stem).norm())
    assert apart < 0.01, apart  # of the change: each of eight evaluations takes the last one's rounding further


@pytest.mark.parametrize("name", ["compare", "render"])
def test_kernels_equal_their_plain_lines(name: str) -> None:
    """Shapes that fill no block, silence, and gradients that lie in memory as autograd leaves them; and a render."""
    pytest.importorskip("triton", reason="Triton comes with PyTorch for CUDA on Linux only")
    env = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    words = [sys.executable, "-c", f"import sys; sys.path.insert(0, {HERE!r}); import test_fused as t; t.{name}()"]
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


#: What is fixed when a kernel is built; of the rest these are places and numbers, and the others whole numbers.
BUILT = {
    "_linked": {"CHANNELS": 2, "BLOCK": 1024},
    "_pulled": {"CHANNELS": 2, "BLOCK": 1024},
    "_assembled": {"PARTS": 4, "BLOCK": 1024},
    "_arc_rows": {"WIDTH": 11, "R": 16, "C": 64},
    "_spread": {"WIDTH": 11, "BLOCK": 256},
}
PLACES = ["spectrum", "out", "grad", "magnitude", "framed", "window", "products", "norms", "u", "weights", "g", "sums"]
TYPES = {**dict.fromkeys(PLACES, "*fp32"), **dict.fromkeys(("factor", "gain", "tiny"), "fp32")}


@pytest.mark.parametrize("name", BUILT)
def test_kernels_can_be_built_for_gpus_of_all_ages(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Triton's compiler and NVIDIA's assembler, which come with it, need no GPU: Turing, Ampere and Hopper."""
    triton = pytest.importorskip("triton", reason="Triton comes with PyTorch for CUDA on Linux only")
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from engine import tritons

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    kernel, fixed = getattr(tritons, name), BUILT[name]
    signature = {one: "constexpr" if one in fixed else TYPES.get(one, "i32") for one in kernel.arg_names}
    source = ASTSource(kernel, signature, {(kernel.arg_names.index(one),): value for one, value in fixed.items()})
    for capability in (75, 80, 90):
        assert triton.compile(source, target=GPUTarget("cuda", capability, 32)).asm["cubin"]


Kernel = Callable[..., Tensor]


@pytest.fixture
def on_gpu(monkeypatch: pytest.MonkeyPatch) -> Callable[[Kernel], dict[str, bool]]:
    """Kernels are said to apply everywhere, and each is the one given; what has been found of them comes back."""

    def use(kernel: Kernel) -> dict[str, bool]:
        trusted: dict[str, bool] = {}
        monkeypatch.setattr(fused, "_trusted", trusted)
        monkeypatch.setattr(fused, "applies", lambda first: True)
        monkeypatch.setattr(fused, "_kernel", lambda name: kernel)
        return trusted

    return use


@fused.fused
def doubled(x: Tensor) -> Tensor:
    """Twice ``x``, in plain lines."""
    return x + x


def test_a_kernel_that_agrees_is_used_from_then_on(on_gpu: Callable[[Kernel], dict[str, bool]]) -> None:
    """It is compared once, and its own result is taken then too: the first render has the bytes of the second."""
    calls = []

    def kernel(x: Tensor) -> Tensor:
        calls.append(x)
        return x * 2.0001

    trusted = on_gpu(kernel)
    for _ in range(3):
        assert torch.equal(doubled(torch.ones(2)), torch.ones(2) * 2.0001)
    assert trusted == {"doubled": True}
    assert len(calls) == 3


@pytest.mark.parametrize(
    "wrong", [lambda x: x * 2.01, lambda x: x[:1] * 2, lambda x: x * float("nan"), lambda x: x @ x @ x]
)
def test_a_kernel_that_errs_is_never_used(
    wrong: Kernel, on_gpu: Callable[[Kernel], dict[str, bool]], caplog: pytest.LogCaptureFixture
) -> None:
    """Wrong numbers, a wrong shape, no number at all or an error: it is said once, and plain lines do the work."""
    trusted = on_gpu(wrong)
    for _ in range(2):
        assert doubled(torch.ones(2, 3)).tolist() == [[2.0] * 3] * 2
    assert trusted == {"doubled": False}
    assert ["doubled" in record.getMessage() for record in caplog.records] == [True]


def test_memory_that_ran_out_is_no_verdict(on_gpu: Callable[[Kernel], dict[str, bool]]) -> None:
    """The kernel is compared the next time."""
    answers = [torch.OutOfMemoryError("CUDA out of memory"), None]

    def kernel(x: Tensor) -> Tensor:
        if error := answers.pop(0):
            raise error
        return x * 2

    trusted = on_gpu(kernel)
    for found in ({}, {"doubled": True}):
        assert doubled(torch.ones(1)).item() == 2
        assert trusted == found


def test_kernels_can_be_refused(on_gpu: Callable[[Kernel], dict[str, bool]], monkeypatch: pytest.MonkeyPatch) -> None:
    """By a word in the environment."""
    monkeypatch.setenv("GRAMOPHONE_FUSED", "0")
    trusted = on_gpu(lambda x: x * 2)
    assert doubled(torch.ones(1)).item() == 2
    assert trusted == {"doubled": False}


def test_what_is_differentiated_keeps_its_plain_lines(on_gpu: Callable[[Kernel], dict[str, bool]]) -> None:
    """A kernel would cut the gradient off."""
    trusted = on_gpu(lambda x: x.detach() * 2)
    x = torch.ones(3, requires_grad=True)
    doubled(x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [2.0] * 3
    assert trusted == {}


def test_double_and_cpu_keep_their_plain_lines() -> None:
    """Kernels are for float32 on a GPU only."""
    assert not fused.applies(torch.ones(1))
    assert not fused.applies(torch.ones(1, dtype=torch.float64, device="meta"))
