"""The losses of the three networks on numbers that can be checked by hand."""

import pytest
import torch

from engine.travelgan import losses


def test_the_critic_is_asked_for_a_margin() -> None:
    """Scores 2 and 0 of the style cost 0 and 1, scores −3 and 1 of what was made 0 and 2: ½ (½ + 1)."""
    real, made = torch.tensor([[2.0], [0.0]]), torch.tensor([[-3.0], [1.0]])
    assert float(losses.critic_hinge(real, made)) == pytest.approx(0.75)


def test_a_generator_wants_high_scores() -> None:
    """Minus their mean."""
    assert float(losses.adversarial(torch.tensor([[-3.0], [1.0]]))) == 1.0


def test_vectors_are_compared_in_length_and_direction() -> None:
    """(3, 4) and (6, 8): squares 9 and 16, mean 12.5, cosine 1; (1, 0) and (0, 1): squares 1 and 1, cosine 0."""
    before = torch.tensor([[3.0, 4.0], [1.0, 0.0]])
    after = torch.tensor([[6.0, 8.0], [0.0, 1.0]])
    assert float(losses.travel(before, after)) == pytest.approx((12.5 + 1) / 2 - 0.5)


def test_vectors_that_are_kept_are_best() -> None:
    """−1, and finite where a vector is nothing at all."""
    vectors = torch.tensor([[3.0, 4.0], [-1.0, 2.0]])
    assert float(losses.travel(vectors, vectors)) == pytest.approx(-1)
    nothing = torch.zeros(2, 2, requires_grad=True)
    loss = losses.travel(nothing, torch.zeros(2, 2))
    loss.backward()
    assert float(loss.detach()) == 0
    assert nothing.grad is not None
    assert bool(torch.isfinite(nothing.grad).all())


def test_points_may_not_meet() -> None:
    """Lengths 5 and 1 against a margin of 2: nothing, and 1 (squared 1); of length ½, 1.5 squared 2.25."""
    vectors = torch.tensor([[3.0, 4.0], [1.0, 0.0]])
    assert float(losses.margin(vectors)) == pytest.approx(0.5)
    assert float(losses.margin(torch.tensor([[0.5, 0.0]]))) == pytest.approx(2.25)
    assert float(losses.margin(torch.tensor([[0.5, 0.0]]), squared=False)) == pytest.approx(1.5)
    assert float(losses.margin(torch.tensor([[0.5, 0.0]]), delta=1.0)) == pytest.approx(0.25)


def test_the_style_is_to_stay() -> None:
    """The mean of absolute differences."""
    assert float(losses.identity(torch.tensor([1.0, -1.0]), torch.tensor([0.5, 0.5]))) == 1.0
