"""The kernel engine's memory-bound steps as Triton kernels: each reads what it needs once and writes its result once.

`engine.fused` says when they are used; each must equal the plain lines of its name in `engine.spectra` or
`engine.kernel`.  Tensors are float32, or complex64 seen as pairs of float32.  ``TRITON_INTERPRET=1``
runs them on a CPU.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

_FLAT = 1024
_ROWS, _COLUMNS = 16, 64


@triton.jit
def _linked(spectrum, out, factor, numbers, plane, CHANNELS: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < numbers
    first = spectrum + 2 * (at.to(tl.int64) + (at // plane).to(tl.int64) * plane * (CHANNELS - 1))
    power = tl.zeros([BLOCK], tl.float32)
    for channel in tl.static_range(CHANNELS):
        real = tl.load(first + 2 * channel * plane, mask=inside, other=0.0)
        imaginary = tl.load(first + 2 * channel * plane + 1, mask=inside, other=0.0)
        power += real * real + imaginary * imaginary
    tl.store(out + at, tl.sqrt(power * factor), mask=inside)


def linked(spectrum: Tensor, factor: float) -> Tensor:
    """``sqrt(factor * Σ_channels |X|²)``: ``[batch, channels, frames, bins]`` complex to ``[batch, frames, bins]``."""
    batch, channels, frames, bins = spectrum.shape
    out = torch.empty(batch, frames, bins, dtype=torch.float32, device=spectrum.device)
    grid = (triton.cdiv(out.numel(), _FLAT),)
    parts = torch.view_as_real(spectrum.contiguous())
    _linked[grid](parts, out, factor, out.numel(), frames * bins, CHANNELS=channels, BLOCK=_FLAT)
    return out


@triton.jit
def _pulled(spectrum, grad, magnitude, out, factor, tiny, numbers, plane, CHANNELS: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < numbers
    pull = tl.load(grad + at, mask=inside, other=0.0) * factor
    pull = pull / (tl.load(magnitude + at, mask=inside, other=1.0) + tiny)
    first = 2 * (at.to(tl.int64) + (at // plane).to(tl.int64) * plane * (CHANNELS - 1))
    for channel in tl.static_range(CHANNELS):
        for part in tl.static_range(2):
            place = first + 2 * channel * plane + part
            tl.store(out + place, tl.load(spectrum + place, mask=inside, other=0.0) * pull, mask=inside)


def pulled(spectrum: Tensor, grad: Tensor, magnitude: Tensor, factor: float) -> Tensor:
    """``factor * grad / magnitude * X``, the gradient of `linked`: shaped and typed as ``spectrum``."""
    _, channels, frames, bins = spectrum.shape
    out = torch.empty(spectrum.shape, dtype=spectrum.dtype, device=spectrum.device)
    tiny = torch.finfo(torch.float32).tiny ** 0.5
    grid = (triton.cdiv(magnitude.numel(), _FLAT),)
    parts, made = torch.view_as_real(spectrum.contiguous()), torch.view_as_real(out)
    tensors = (parts, grad.contiguous(), magnitude.contiguous(), made)
    _pulled[grid](*tensors, factor, tiny, magnitude.numel(), frames * bins, CHANNELS=channels, BLOCK=_FLAT)
    return out


@triton.jit
def _assembled(framed, window, out, gain, frames, samples, hop, PARTS: tl.constexpr, BLOCK: tl.constexpr):
    row, at = tl.program_id(1), tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < samples
    place = at + PARTS * hop // 2  # half a window of padding lies before the first sample
    last, within = place // hop, place % hop
    total = tl.zeros([BLOCK], tl.float32)
    for part in tl.static_range(PARTS):  # from the earliest frame to the latest
        frame, column = last - (PARTS - 1 - part), within + (PARTS - 1 - part) * hop
        there = inside & (frame >= 0) & (frame < frames)
        source = framed + (row.to(tl.int64) * frames + frame) * (PARTS * hop) + column
        total += tl.load(source, mask=there, other=0.0) * (tl.load(window + column, mask=there, other=0.0) * gain)
    tl.store(out + row.to(tl.int64) * samples + at, total, mask=inside)


def assembled(framed: Tensor, window: Tensor, gain: float, hop: int, samples: int) -> Tensor:
    """Overlap-add as a gather: ``[..., frames, n_fft]`` times ``gain * window`` to ``[..., samples]``."""
    frames, n_fft = framed.shape[-2:]
    out = torch.empty(*framed.shape[:-2], samples, dtype=torch.float32, device=framed.device)
    grid = (triton.cdiv(samples, _FLAT), out.numel() // max(samples, 1))
    tensors = (framed.contiguous(), window, out)
    _assembled[grid](*tensors, gain, frames, samples, hop, PARTS=n_fft // hop, BLOCK=_FLAT)
    return out


@triton.jit
def _arc_rows(
    products,
    norms,
    u,
    weights,
    g,
    sums,
    rows,
    columns,
    patches,
    across,
    WIDTH: tl.constexpr,
    R: tl.constexpr,
    C: tl.constexpr,
):
    batch = tl.program_id(2).to(tl.int64)
    i, j = tl.program_id(0) * R + tl.arange(0, R), tl.program_id(1) * C + tl.arange(0, C)
    down, along = i < patches, j < across
    inside = down[:, None] & along[None, :]
    corner = products + batch * rows * columns + i[:, None] * columns + j[None, :]
    d = tl.zeros([R, C], tl.float32)
    for k in tl.static_range(WIDTH):
        d += tl.load(corner + k * (columns + 1), mask=inside, other=0.0)
    x = tl.load(norms + batch * across + i, mask=down, other=0.0)[:, None]
    y = tl.load(norms + batch * across + j, mask=along, other=0.0)[None, :]
    n = tl.sqrt(x * y)
    c = tl.minimum(tl.maximum(d / tl.maximum(n, 1.1754944e-38), -1.0), 1.0)
    # arccos of |c|: Abramowitz & Stegun 4.4.46, at most 2e-8 off
    a = tl.abs(c)
    p = -0.0012624911
    p = p * a + 0.0066700901
    p = p * a - 0.0170881256
    p = p * a + 0.0308918810
    p = p * a - 0.0501743046
    p = p * a + 0.0889789874
    p = p * a - 0.2145988016
    p = p * a + 1.5707963050
    acute = tl.sqrt(1.0 - a) * p
    phi = tl.where(c >= 0, 3.14159265358979 - acute, acute)
    kappa = (tl.sqrt(1.0 - c * c) + c * phi) * n * 0.15915494309189535
    both = tl.load(u + batch * patches + i, mask=down, other=0.0)[:, None]
    weighted = both * tl.load(weights + batch * across + j, mask=along, other=0.0)[None, :] * kappa
    squares, slope = kappa * weighted, weighted * phi * 0.3183098861837907
    tl.store(g + (batch * patches + i[:, None]) * across + j[None, :], slope, mask=inside)
    tiles = tl.num_programs(1)
    out = sums + (batch * 3 * tiles + tl.program_id(1)) * patches + i
    own = tl.where((j < patches)[None, :], squares, 0.0)
    tl.store(out, tl.sum(squares, 1), mask=down)
    tl.store(out + tiles * patches, tl.sum(own, 1), mask=down)
    tl.store(out + 2 * tiles * patches, tl.sum(slope * d, 1), mask=down)


def arc_rows(products: Tensor, norms: Tensor, u: Tensor, weights: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """All that `engine.kernel`'s cross terms need of ``products`` ``[batch, rows, columns]``, from one read of them.

    ``g`` ``[batch, patches, across]`` and the sums over its rows ``[batch, 3, patches]``: of u w κ², of the part of it
    that pairs the stem with itself, and of d times g.
    """
    batch, rows, columns = products.shape
    patches, across = rows - width + 1, columns - width + 1
    tiles = triton.cdiv(across, _COLUMNS)
    g = torch.empty(batch, patches, across, dtype=torch.float32, device=products.device)
    sums = torch.empty(batch, 3, tiles, patches, dtype=torch.float32, device=products.device)
    tensors = (products.contiguous(), norms.contiguous(), u.contiguous(), weights.contiguous(), g, sums)
    grid = (triton.cdiv(patches, _ROWS), tiles, batch)
    _arc_rows[grid](*tensors, rows, columns, patches, across, WIDTH=width, R=_ROWS, C=_COLUMNS)
    return g, sums.sum(2)


@triton.jit
def _spread(g, out, rows, columns, WIDTH: tl.constexpr, BLOCK: tl.constexpr):
    line = tl.program_id(0)
    batch, i = (line // rows).to(tl.int64), line % rows
    j = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    patches, across = rows - WIDTH + 1, columns - WIDTH + 1
    total = tl.zeros([BLOCK], tl.float32)
    for k in tl.static_range(WIDTH):
        there = (j >= k) & (j - k < across) & (i >= k) & (i - k < patches)
        total += tl.load(g + (batch * patches + i - k) * across + j - k, mask=there, other=0.0)
    tl.store(out + line.to(tl.int64) * columns + j, total, mask=j < columns)


def diagonal_spread(g: Tensor, width: int) -> Tensor:
    """The transpose of a sum along diagonals: ``[batch, P, Q]`` to ``[batch, P + width - 1, Q + width - 1]``."""
    batch, patches, across = g.shape
    rows, columns = patches + width - 1, across + width - 1
    out = torch.empty(batch, rows, columns, dtype=torch.float32, device=g.device)
    block = 256
    _spread[batch * rows, triton.cdiv(columns, block)](g.contiguous(), out, rows, columns, WIDTH=width, BLOCK=block)
    return out
