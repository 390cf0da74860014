"""Training: who moves when, that it learns, that it stays bounded, and that it goes on to the bit."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from engine.errors import EngineError, RecipeError
from engine.travelgan.clips import Clips
from engine.travelgan.training import Losses, Plan, Trainer

CPU = torch.device("cpu")


def clips(seed: int, slope: float, frames: int = 258, length: int = 320) -> Clips:
    """A few seconds of bands that rise or fall, with beats in them."""
    random = torch.Generator().manual_seed(seed)
    bands, time = torch.linspace(-1, 1, 128)[:, None], torch.arange(length)
    beats = 0.3 * (torch.arange(length) % 43 < 8)
    picture = slope * bands - 0.3 + beats * torch.sin(time / 9) + 0.05 * torch.randn(128, length, generator=random)
    return Clips([picture.clamp(-1, 1)], frames)


def trainer(**plan: int | float | bool) -> Trainer:
    """Two tiny sets, small networks."""
    wanted = Plan(**{"batch": 2, "filters": 8, **plan})  # type: ignore[arg-type]
    return Trainer(clips(1, 0.5, wanted.frames), clips(2, -0.5, wanted.frames), wanted, CPU)


def parameters(network: nn.Module) -> list[Tensor]:
    """Copies of what is trained of a network."""
    return [parameter.detach().clone() for parameter in network.parameters()]


def moved(network: nn.Module, before: list[Tensor]) -> list[bool]:
    """Which of them are another now."""
    return [not torch.equal(now, then) for now, then in zip(network.parameters(), before, strict=True)]


@pytest.mark.parametrize("pieces", [3, 2])
def test_the_critic_moves_alone(pieces: int) -> None:
    """Its step moves every kernel of it and nothing of the others, and leaves no gradient behind."""
    mine = trainer(pieces=pieces)
    before = {name: parameters(network) for name, network in mine._networks()}
    random = torch.Generator().manual_seed(0)
    mine.critic_step(mine.content.draw(2, random), mine.style.draw(2, random))
    # The bias apart: what pushes it up at the style pushes it down at what was made.
    assert all(moved(mine.critic, before["critic"])[:-1])
    assert not any(moved(mine.generator, before["generator"]) + moved(mine.siamese, before["siamese"]))
    assert all(parameter.grad is None for _, network in mine._networks() for parameter in network.parameters())


@pytest.mark.parametrize("pieces", [3, 2])
def test_generator_and_siamese_move_together(pieces: int) -> None:
    """Their step moves every kernel of both, and the critic not at all."""
    mine = trainer(pieces=pieces)
    before = {name: parameters(network) for name, network in mine._networks()}
    random = torch.Generator().manual_seed(0)
    found = mine.maker_step(mine.content.draw(2, random), mine.style.draw(2, random))
    assert set(found) == {"adversarial", "travel", "margin", "identity"}
    for name, network in (("generator", mine.generator), ("siamese", mine.siamese)):
        changed = dict(zip((n for n, _ in network.named_parameters()), moved(network, before[name]), strict=True))
        changed.pop("point.bias", None)  # a point's place is in no vector
        assert all(changed.values()), changed
    assert not any(moved(mine.critic, before["critic"]))


def test_makers_move_at_every_third_step() -> None:
    """The critic's loss is there each time, theirs at the first and the fourth."""
    mine = trainer()
    found = [mine.step() for _ in range(4)]
    assert [one.identity is not None for one in found] == [True, False, False, True]
    assert all(one.critic is not None and one.critic >= 0 for one in found)


def test_losses_are_meant_over_the_steps_that_have_them() -> None:
    """Steps without a generator's loss do not count for it."""
    mean = Losses.mean([Losses(1.0, identity=0.5), Losses(3.0)])
    assert (mean.critic, mean.identity, mean.travel) == (2.0, 0.5, None)


def test_it_learns_two_tiny_sets() -> None:
    """Within 100 steps identity falls by a fifth, TraVeL by nine tenths of its way to −1, and the critic is bounded.

    Tiny networks at twenty times the published rate, makers at every step: a minute of the tabled ones.  Spectral
    norms bound a score's slope by one, so a hinge beyond ten would mean that they are broken.
    """
    mine = trainer(filters=16, learning_rate=4e-3, generator_every=1)
    found = [mine.step() for _ in range(100)]
    first, last = Losses.mean(found[:3]), Losses.mean(found[-10:])
    assert first.identity is not None
    assert last.identity is not None
    assert last.identity < 0.8 * first.identity
    assert first.travel is not None
    assert last.travel is not None
    assert last.travel + 1 < 0.1 * (first.travel + 1)
    assert 0 <= max(one.critic or 0 for one in found) < 10


@pytest.mark.parametrize("mixed", [False, True])
def test_going_on_is_exact(mixed: bool) -> None:
    """Seven steps at once, and four, a state in a new trainer, and three: the same state, bit for bit."""
    whole, begun, gone_on = trainer(mixed=mixed), trainer(mixed=mixed), trainer(mixed=mixed)
    for _ in range(7):
        whole.step()
    for _ in range(4):
        begun.step()
    gone_on.restore(begun.state())
    last = [gone_on.step() for _ in range(3)]
    assert gone_on.step_number == 7
    mine, other = whole.state(), gone_on.state()
    assert mine.keys() == other.keys()
    assert [name for name in mine if not torch.equal(mine[name], other[name])] == []
    assert last[-1].identity is not None


def test_looking_moves_nothing() -> None:
    """The state is the same after it, and so are the crops it shows."""
    mine = trainer()
    mine.step()
    before = mine.state()
    content, made, style = mine.look()
    assert content.shape == made.shape == style.shape == (128, 258)
    after = mine.state()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert torch.equal(mine.look()[0], content)
    mine.step()


@pytest.mark.parametrize(
    "broken",
    [
        lambda state: state.pop("random"),
        lambda state: state.pop("generator.first.weight"),
        lambda state: state.update({"critic.score.weight": torch.zeros(1, 7)}),
        lambda state: state.update({"random": torch.zeros(3)}),
        lambda state: state.update({"adam.makers.x.step": torch.zeros(1)}),
    ],
)
def test_a_state_of_something_else_is_refused(broken: Callable[[dict[str, Tensor]], object]) -> None:
    """In words."""
    mine = trainer()
    mine.step()
    state = mine.state()
    broken(state)
    with pytest.raises(RecipeError, match="not of this training"):
        trainer().restore(state)


def test_a_loss_that_is_no_number_ends_it() -> None:
    """With the step and what to do."""
    mine = trainer()
    with torch.no_grad():
        mine.critic.score.weight.fill_(float("nan"))
    with pytest.raises(EngineError, match=r"diverged at step 1.*resume"):
        mine.step()


@pytest.mark.parametrize("plan", [{"batch": 0}, {"pieces": 4}, {"filters": 2}, {"generator_every": 0}])
def test_plans_that_cannot_be_are_refused(plan: dict[str, int]) -> None:
    """With what was expected."""
    with pytest.raises(EngineError, match="expected"):
        Plan(**plan)  # type: ignore[arg-type]
