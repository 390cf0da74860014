"""The closed forms against the explicit networks they are the limit of, and against their own symmetries."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck

from engine import kernel
from engine.random_network import RandomNetwork, gram, style_distance

BINS, FRAMES = 24, 40


def picture(frames: int, seed: int, bins: int = BINS) -> Tensor:
    """A log magnitude ``[bins, frames]`` with frames that follow one another as music's do."""
    g = torch.Generator().manual_seed(seed)
    walk = torch.randn(bins, frames, generator=g, dtype=torch.float64).cumsum(1) * 0.3
    return (walk + torch.randn(bins, 1, generator=g, dtype=torch.float64)).relu()


def even(picture_: Tensor) -> Tensor:
    """Equal patch weights for a picture."""
    return kernel.even_weights(picture_.shape[-1] - kernel.WIDTH + 1, picture_)


def order_two(d: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """E relu(u·x)² relu(u·y)² of a standard Gaussian u (Cho & Saul 2009, order 2)."""
    n = (x * y).sqrt()
    theta = (d / n).clamp(-1, 1).acos()
    return n**2 / (2 * math.pi) * (3 * theta.sin() * theta.cos() + (math.pi - theta) * (1 + 2 * theta.cos() ** 2))


def moment(a: Tensor, b: Tensor, order: int) -> Tensor:
    """Mean over all pairs of patches of κ² (order 1) or of the order 2 kernel."""
    x, y = kernel.squared_norms(a.mT, kernel.WIDTH)[:, None], kernel.squared_norms(b.mT, kernel.WIDTH)[None]
    d = kernel.diagonal_sum(a.mT @ b, kernel.WIDTH)
    return (kernel.arc_cosine(d, x, y)[0] ** 2 if order == 1 else order_two(d, x, y)).mean()


def test_style_is_the_mean_of_explicit_networks_with_their_1_over_f_term() -> None:
    """96 networks of 8192 filters give the expected style loss within 1 %, the finite-width term included.

    One such network lies 3 % off (the loss is a sum over correlated filters), so eight would only be sure to 1 %.
    """
    x, s = picture(FRAMES, 1), picture(FRAMES - 7, 2)
    filters = 8192
    found = []
    for seed in range(96):
        network = RandomNetwork(BINS, filters, seed=seed).to(x)
        found.append(float(style_distance(network.features(x), network.features(s))))
    limit = float(kernel.style(x[None], s, even(x)[None], even(s)))
    scale, _ = kernel.network_scale(BINS, filters)
    second = float(moment(x, x, 2) + moment(s, s, 2) - 2 * moment(x, s, 2))
    expected = scale * limit + scale / filters * (second - limit)
    assert sum(found) / len(found) == pytest.approx(expected, rel=0.01)
    assert abs(expected / (scale * limit) - 1) > 1e-4, "the 1/F term must be large enough to matter here"


def test_content_is_the_mean_of_explicit_networks() -> None:
    """Eight networks of 8192 filters give the expected content loss within 1 %."""
    x, c = picture(FRAMES, 1), picture(FRAMES, 2)
    found = []
    for seed in range(8):
        network = RandomNetwork(BINS, 8192, seed=seed).to(x)
        found.append(float((network.features(x) - network.features(c)).square().sum()))
    _, scale = kernel.network_scale(BINS, 8192)
    weights = torch.ones(1, FRAMES - kernel.WIDTH + 1, dtype=x.dtype)
    assert sum(found) / 8 == pytest.approx(scale * float(kernel.content(x[None], c[None], weights)), rel=0.01)


def test_gram_distance_through_small_products_is_the_gram_distance() -> None:
    """‖G − A‖² through frame-frame products equals the definition to 1e-9 relative (double)."""
    network = RandomNetwork(BINS, 64).to(picture(1, 0))
    f, a = network.features(picture(30, 3)), network.features(picture(25, 4))
    assert float(style_distance(f, a)) == pytest.approx(float((gram(f) - gram(a)).square().sum()), rel=1e-9)


@pytest.mark.parametrize("batched_target", [False, True])
def test_style_gradient(batched_target: bool) -> None:
    """The written-out gradient is the derivative in double, with silent and with repeated frames in the picture."""
    s = torch.stack([picture(26, 5, 5), picture(26, 6, 5)])
    s[0, :, 4:18] = 0
    s[1, :, 20] = s[1, :, 19]
    s.requires_grad_()
    a, u, v = picture(20, 7, 5), torch.rand(2, 16, dtype=torch.float64), torch.rand(10, dtype=torch.float64)
    if batched_target:
        a, v = torch.stack([a, picture(20, 8, 5)]), torch.rand(2, 10, dtype=torch.float64)
    assert gradcheck(lambda x: kernel.cross_terms(x, a, u, v), s)


def test_style_gradient_at_the_target_itself() -> None:
    """Where x is the target every angle on the diagonal is zero and arccos is singular; the gradient is not."""
    s = picture(22, 9, 4)
    u = even(s)[None]
    assert gradcheck(lambda x: kernel.style(x, s, u, u[0]), s[None].clone().requires_grad_())


def test_content_gradient_also_at_the_content_itself() -> None:
    """The content gradient is the derivative in double at, near and far from the stem."""
    c = picture(22, 10, 4)[None]
    weights = torch.rand(1, 12, dtype=torch.float64)
    for x in (c, c + 0.01, picture(22, 11, 4)[None]):
        assert gradcheck(lambda y: kernel.content(y, c, weights), x.clone().requires_grad_())


def test_no_style_loss_at_the_style() -> None:
    """The loss of the style against itself is zero to 1e-12 of what an untreated sound has (double)."""
    s, other = picture(FRAMES, 12), picture(FRAMES, 13)
    far = float(kernel.style(other[None], s, even(other)[None], even(s)))
    assert abs(float(kernel.style(s[None], s, even(s)[None], even(s)))) < 1e-12 * far


def test_order_of_the_references_patches_does_not_matter() -> None:
    """Moving whole excerpts of the target about, joints without weight, leaves the loss as it was (1e-12 relative)."""
    x, gap = picture(FRAMES, 14), torch.zeros(kernel.WIDTH - 1, dtype=torch.float64)
    parts = [picture(n, 20 + n) for n in (15, 19, 12)]
    values = []
    for order in ((0, 1, 2), (2, 0, 1), (1, 2, 0)):
        a = torch.cat([parts[i] for i in order], 1)
        v = torch.cat([piece for i in order for piece in (torch.ones(parts[i].shape[1] - 10, dtype=x.dtype), gap)])[
            :-10
        ]
        values.append(float(kernel.style(x[None], a, even(x)[None], v / v.sum())))
    assert values == pytest.approx([values[0]] * 3, rel=1e-12)


def test_a_sound_is_nearer_to_itself_than_to_another() -> None:
    """The squared MMD is positive between different sounds and symmetric (1e-12 relative)."""
    x, s = picture(FRAMES, 15), picture(FRAMES, 16)
    forth = float(kernel.style(x[None], s, even(x)[None], even(s)))
    back = float(kernel.style(s[None], x, even(s)[None], even(x)))
    assert forth > 0
    assert forth == pytest.approx(back, rel=1e-12)


@given(st.integers(1, 17), st.integers(0, 12), st.integers(0, 12))
@settings(max_examples=40, deadline=None)
def test_diagonal_sum_is_a_sum_down_the_diagonal(width: int, more_rows: int, more_cols: int) -> None:
    """For every width the doubling gives what adding one by one gives, and its transpose is its transpose."""
    rows, cols = width + more_rows, width + more_cols
    p = torch.rand(2, rows, cols, dtype=torch.float64)
    wanted = sum(p[:, t : t + more_rows + 1, t : t + more_cols + 1] for t in range(width))
    assert torch.allclose(kernel.diagonal_sum(p, width), torch.as_tensor(wanted), atol=1e-12)
    g = torch.rand(2, more_rows + 1, more_cols + 1, dtype=torch.float64)
    there, back = (kernel.diagonal_sum(p, width) * g).sum(), (p * kernel.diagonal_spread(g, width)).sum()
    assert float(there) == pytest.approx(float(back), rel=1e-12)


def test_silence_has_finite_losses_and_no_gradient() -> None:
    """An all-zero picture gives finite losses and a zero gradient, not a NaN."""
    s = torch.zeros(1, BINS, 20, requires_grad=True)
    u = torch.full((1, 10), 0.1)
    loss = kernel.style(s, picture(20, 1).float(), u, u[0]) + kernel.content(s, torch.zeros(1, BINS, 20), u)
    (gradient,) = torch.autograd.grad(loss.sum(), s)
    assert torch.isfinite(loss).all()
    assert not gradient.any()


def test_frame_weights_share_out_patch_weights() -> None:
    """Weights over frames sum to what weights over patches do (1e-12)."""
    v = torch.rand(30, dtype=torch.float64)
    assert float(kernel.frame_weights(v).sum()) == pytest.approx(float(v.sum()), rel=1e-12)
