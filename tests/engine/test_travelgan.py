"""The three networks against the published tables: every count, every shape, every norm."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.travelgan import Critic, Generator, Siamese
from engine.travelgan.layers import Spectral, SpectralConv, SpectralDense, SpectralSpread, same_padding

GENERATOR = {
    "first": (98_560, (256, 1, 86)),
    "first_norm": (1_024, (256, 1, 86)),
    "halved": (590_080, (256, 1, 44)),
    "halved_norm": (1_024, (256, 1, 44)),
    "quartered": (459_008, (256, 1, 22)),
    "quartered_norm": (1_024, (256, 1, 22)),
    "up": (459_008, (256, 1, 44)),
    "up_norm": (1_024, (256, 1, 44)),
    "upper": (1_179_904, (256, 1, 88)),
    "spread": (66_049, (1, 128, 88)),
}
SIAMESE = {
    "first": (98_560, (256, 1, 84)),
    "first_norm": (1_024, (256, 1, 84)),
    "halved": (590_080, (256, 1, 42)),
    "halved_norm": (1_024, (256, 1, 42)),
    "quartered": (459_008, (256, 1, 21)),
    "quartered_norm": (1_024, (256, 1, 21)),
    "point": (688_256, (128,)),
}
CRITIC = {
    "first": (197_120, (512, 1, 256)),
    "halved": (2_359_808, (512, 1, 128)),
    "quartered": (1_835_520, (512, 1, 64)),
    "score": (32_770, (1,)),
}
HALVES = {**CRITIC, "first": (197_120, (512, 1, 170)), "halved": (2_359_808, (512, 1, 85))}
HALVES |= {"quartered": (1_835_520, (512, 1, 43)), "score": (22_018, (1,))}


def counts(module: nn.Module) -> tuple[int, int]:
    """All numbers of a module, buffers included as in the tables, and those that are trained."""
    trained = sum(parameter.numel() for parameter in module.parameters())
    return trained + sum(buffer.numel() for buffer in module.buffers()), trained


@pytest.mark.parametrize(
    ("network", "total", "trainable"),
    [
        (Generator(), 2_856_705, 2_852_865),
        (Siamese(), 1_838_976, 1_836_672),
        (Critic(), 4_425_218, 4_423_681),
        (Critic(pieces=2), 4_414_466, 4_412_929),
    ],
    ids=["generator", "siamese", "critic", "critic of halves"],
)
def test_the_published_counts(network: nn.Module, total: int, trainable: int) -> None:
    """As Keras counts them: spectral normalisation's vectors and running moments too, which are not trained."""
    assert counts(network) == (total, trainable)


@pytest.mark.parametrize(
    ("network", "frames", "table"),
    [(Generator(), 86, GENERATOR), (Siamese(), 86, SIAMESE), (Critic(), 258, CRITIC), (Critic(pieces=2), 172, HALVES)],
    ids=["generator", "siamese", "critic", "critic of halves"],
)
def test_every_layer_of_the_tables(
    network: nn.Module, frames: int, table: dict[str, tuple[int, tuple[int, ...]]]
) -> None:
    """Each layer's numbers and the shape that leaves it."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, layer in network.named_children():
        layer.register_forward_hook(lambda _m, _x, y, name=name: shapes.__setitem__(name, tuple(y.shape[1:])))
    network(torch.zeros(2, 1, 128, frames))
    assert {name: (counts(layer)[0], shapes[name]) for name, layer in network.named_children()} == table


def test_a_piece_comes_out_as_a_piece() -> None:
    """Same shape, values between −1 and 1."""
    with torch.no_grad():
        made = Generator(8)(torch.rand(3, 1, 128, 86) * 2 - 1)
    assert made.shape == (3, 1, 128, 86)
    assert float(made.abs().max()) <= 1


@pytest.mark.parametrize("network", [Generator(), Siamese(), Critic()], ids=["generator", "siamese", "critic"])
def test_kernels_have_a_norm_of_one(network: nn.Module) -> None:
    """After 20 calls the largest singular value of each normalised kernel is 1 to 2 %, by an eigenvalue problem."""
    layers = [layer for layer in network.modules() if isinstance(layer, Spectral)]
    for layer in layers:
        for _ in range(20):
            matrix = layer.kernel().detach().flatten(1).double()
        assert float(torch.linalg.eigvalsh(matrix @ matrix.mT)[-1].sqrt()) == pytest.approx(1, rel=0.02)
    assert len(layers) == {Generator: 6, Siamese: 3, Critic: 4}[type(network)]


def test_evaluation_moves_nothing() -> None:
    """The same piece gives the same bytes, and no number of the network is another afterwards."""
    generator = Generator(8).eval()
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    piece = torch.rand(1, 1, 128, 86)
    assert torch.equal(generator(piece), generator(piece))
    assert all(torch.equal(value, before[name]) for name, value in generator.state_dict().items())


def test_training_follows_the_kernel() -> None:
    """A call moves the vector of every kernel."""
    critic = Critic(8)
    before = critic.first.u.clone()
    critic(torch.rand(1, 1, 128, 258))
    assert not torch.equal(before, critic.first.u)


@pytest.mark.parametrize(
    ("frames", "width", "stride", "padding"),
    [
        (88, 9, 2, (3, 4)),
        (44, 7, 2, (2, 3)),
        (85, 7, 2, (3, 3)),
        (44, 7, 1, (3, 3)),
        (88, 9, 1, (4, 4)),
        (5, 1, 2, (0, 0)),
    ],
)
def test_padding_as_tensorflow_has_it(frames: int, width: int, stride: int, padding: tuple[int, int]) -> None:
    """An even kernel's rest, and an odd frame more, at the end."""
    assert same_padding(frames, width, stride) == padding


def test_the_odd_frame_is_at_the_end() -> None:
    """A filter of nine ones at stride 2 begins three zeros before frame 0 and ends on frame 87."""
    layer = SpectralConv(1, 1, (1, 9), torch.Generator().manual_seed(0), stride=2, same=True)
    with torch.no_grad():
        layer.weight.fill_(1)
    x = torch.arange(88.0).view(1, 1, 1, 88)
    out = layer(x)[0, 0, 0] * 3  # nine ones have a norm of three
    assert out.shape == (44,)
    torch.testing.assert_close(out[0], x[..., :6].sum())
    torch.testing.assert_close(out[-1], x[..., 83:].sum())


def test_dense_and_spread_are_what_they_say() -> None:
    """Against PyTorch's own layers with the normalised kernel."""
    random = torch.Generator().manual_seed(0)
    dense, spread = SpectralDense(12, random).eval(), SpectralSpread(6, 5, random).eval()
    torch.nn.init.ones_(spread.bias)  # type: ignore[arg-type]
    x, y = torch.randn(3, 12), torch.randn(2, 6, 1, 4)
    torch.testing.assert_close(dense(x), x @ (dense.weight / dense.weight.norm()).mT)
    torch.testing.assert_close(spread(y)[:, 0], functional.conv_transpose2d(y, spread.kernel(), spread.bias)[:, 0])


def test_time_runs_forward_through_the_generator() -> None:
    """What changes at the end of a piece changes nothing at its beginning, beyond the reach of the filters."""
    generator = Generator(8).eval()
    a = torch.rand(1, 1, 128, 86)
    b = a.clone()
    b[..., -2:] = 0
    with torch.no_grad():
        changed = (generator(a) - generator(b)).abs().amax((0, 1, 2))
    assert float(changed[-2:].min()) > 0
    assert float(changed[:20].max()) == 0


def test_a_seed_is_a_network() -> None:
    """The same one twice, another for another; nothing global is drawn from."""
    state = torch.get_rng_state()

    def first(seed: int) -> Tensor:
        return Generator(8, seed=seed).first.weight

    assert torch.equal(first(1), first(1))
    assert not torch.equal(first(1), first(2))
    Siamese(8)
    Critic(8)
    assert torch.equal(state, torch.get_rng_state())
