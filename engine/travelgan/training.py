"""Training: the critic at every step, generator and siamese together at every third, by Adam.

A step draws one crop of each set for every place in the batch, cuts the content's into pieces, has the generator make
each of them and puts them side by side for the critic.  Differs from the published code in that all pieces of a batch
go through the generator at once, so that batch normalisation sees them together.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

from engine.errors import EngineError, RecipeError
from engine.travelgan import losses
from engine.travelgan.clips import Clips
from engine.travelgan.networks import WIDTH, Critic, Generator, Siamese


@dataclass(frozen=True)
class Plan:
    """How a generator is trained; raises `EngineError` on a value out of range.

    ``pieces`` is what a crop is cut into, 3 as tabled or 2 as told.  ``filters`` are the generator's and siamese's; the
    critic has twice as many.
    """

    batch: int = 16
    pieces: int = 3
    filters: int = 256
    seed: int = 0
    learning_rate: float = 2e-4
    beta1: float = 0.5
    generator_every: int = 3
    travel: float = 10.0
    identity: float = 0.5
    delta: float = 2.0
    squared_margin: bool = True
    mixed: bool = False

    def __post_init__(self) -> None:
        for name, low, high in (
            ("batch", 1, 1024),
            ("pieces", 2, 3),
            ("filters", 4, 1024),
            ("generator_every", 1, 100),
        ):
            if not low <= (value := getattr(self, name)) <= high:
                raise EngineError(f"{name} is {value}; expected {low} to {high}")

    @property
    def frames(self) -> int:
        """Frames of a crop."""
        return self.pieces * WIDTH


@dataclass(frozen=True)
class Losses:
    """The losses of a step, or their means; None where a network did not move."""

    critic: float | None = None
    adversarial: float | None = None
    travel: float | None = None
    margin: float | None = None
    identity: float | None = None

    @classmethod
    def mean(cls, each: "list[Losses]") -> "Losses":
        """The mean of each, over the steps that have it."""
        found = {f.name: [v for one in each if (v := getattr(one, f.name)) is not None] for f in fields(cls)}
        return cls(**{name: sum(values) / len(values) if values else None for name, values in found.items()})


class Trainer:
    """The three networks and all that a step depends on: from the same state on, the same steps follow, to the bit.

    ``content`` and ``style`` are drawn from in turn; their crops have ``plan.frames`` frames.
    """

    def __init__(self, content: Clips, style: Clips, plan: Plan, device: torch.device) -> None:
        self.content, self.style = content.to(device), style.to(device)
        self.plan, self.device = plan, device
        self.step_number = 0
        self._random = torch.Generator().manual_seed(plan.seed)
        self.generator = Generator(plan.filters, seed=plan.seed + 1).to(device)
        self.siamese = Siamese(plan.filters, seed=plan.seed + 2).to(device)
        self.critic = Critic(2 * plan.filters, pieces=plan.pieces, seed=plan.seed + 3).to(device)
        both = [*self.generator.parameters(), *self.siamese.parameters()]
        settings: dict[str, Any] = {"lr": plan.learning_rate, "betas": (plan.beta1, 0.999), "eps": 1e-7}
        self._adam = {
            "makers": torch.optim.Adam(both, **settings),
            "critic": torch.optim.Adam(self.critic.parameters(), **settings),
        }

    def step(self) -> Losses:
        """One batch; `EngineError` when a loss is no longer a finite number."""
        content = self.content.draw(self.plan.batch, self._random)
        style = self.style.draw(self.plan.batch, self._random)
        found = {"critic": self.critic_step(content, style)}
        if self.step_number % self.plan.generator_every == 0:
            found |= self.maker_step(content, style)
        self.step_number += 1
        values = dict(zip(found, torch.stack(list(found.values())).tolist(), strict=True))
        if not all(abs(value) < float("inf") for value in values.values()):
            raise EngineError(
                f"training diverged at step {self.step_number}: {values}; resume from the last checkpoint, "
                "or begin with another --seed"
            )
        return Losses(**values)

    def critic_step(self, content: Tensor, style: Tensor) -> Tensor:
        """Move the critic alone, by crops ``[batch, 1, bands, frames]``; its loss."""
        with torch.no_grad(), self._precision():
            made = self._beside(self.generator(self._pieces(content)))
        with self._precision():
            real, false = self.critic(style), self.critic(made)
        loss = losses.critic_hinge(real.float(), false.float())
        self._move("critic", loss)
        return loss.detach()

    def maker_step(self, content: Tensor, style: Tensor) -> dict[str, Tensor]:
        """Move generator and siamese together, the critic staying as it is; the losses by name."""
        plan = self.plan
        before, own = self._pieces(content), self._pieces(style)
        with self._precision():
            made, kept = self.generator(before), self.generator(own)
            score = self.critic(self._beside(made))
            first, last = slice(plan.batch), slice(len(before) - plan.batch, None)
            points = self.siamese(torch.cat([before[first], before[last], made[first], made[last]])).float()
        a, b, c, d = points.split(plan.batch)
        found = {
            "adversarial": losses.adversarial(score.float()),
            "travel": losses.travel(a - b, c - d),
            "margin": losses.margin(a - b, plan.delta, squared=plan.squared_margin),
            "identity": losses.identity(own, kept.float()),
        }
        total = found["adversarial"] + plan.travel * (found["travel"] + found["margin"])
        self._move("makers", total + plan.identity * found["identity"])
        return {name: value.detach() for name, value in found.items()}

    def look(self) -> tuple[Tensor, Tensor, Tensor]:
        """A crop of the content, what is made of it, and a crop of the style, ``[bands, frames]``; the same every time.

        Nothing that training depends on is moved.
        """
        fixed = torch.Generator().manual_seed(self.plan.seed)
        content, style = self.content.draw(1, fixed), self.style.draw(1, fixed)
        self.generator.eval()
        try:
            with torch.no_grad():
                made = torch.cat(self.generator(self._pieces(content)).split(1), -1)
        finally:
            self.generator.train()
        content, made, style = (crop[0, 0].float().cpu() for crop in (content, made, style))
        return content, made, style

    def state(self) -> dict[str, Tensor]:
        """All that the next step depends on, as named tensors on the CPU."""
        out: dict[str, Tensor] = {"step": torch.tensor(self.step_number), "random": self._random.get_state()}
        for name, network in self._networks():
            out |= {f"{name}.{key}": value.detach().cpu().clone() for key, value in network.state_dict().items()}
        for name, adam in self._adam.items():
            for number, each in adam.state_dict()["state"].items():
                out |= {f"adam.{name}.{number}.{key}": value.detach().cpu().clone() for key, value in each.items()}
        return out

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from `state`; `RecipeError` when it is of another plan or not a state at all."""
        try:
            for name, network in self._networks():
                network.load_state_dict(_under(name, state))
            for name, adam in self._adam.items():
                moments: dict[int, dict[str, Tensor]] = {}
                for key, value in _under(f"adam.{name}", state).items():
                    number, _, what = key.partition(".")
                    moments.setdefault(int(number), {})[what] = value
                adam.load_state_dict({"state": moments, "param_groups": adam.state_dict()["param_groups"]})
            self._random.set_state(state["random"])
            self.step_number = int(state["step"])
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise RecipeError(f"the checkpoint is not of this training: {error}") from error

    def _networks(self) -> Iterator[tuple[str, nn.Module]]:
        yield from (("generator", self.generator), ("siamese", self.siamese), ("critic", self.critic))

    def _pieces(self, crops: Tensor) -> Tensor:
        """``[batch, 1, bands, frames]`` to ``[pieces · batch, 1, bands, width]``, all first pieces first."""
        return torch.cat(crops.split(WIDTH, -1))

    def _beside(self, pieces: Tensor) -> Tensor:
        """Inverse of `_pieces`."""
        return torch.cat(pieces.split(self.plan.batch), -1)

    def _move(self, name: str, loss: Tensor) -> None:
        """One step of Adam on the parameters of ``name`` and on no others."""
        adam = self._adam[name]
        parameters = adam.param_groups[0]["params"]
        for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            parameter.grad = gradient
        adam.step()
        adam.zero_grad(set_to_none=True)

    def _precision(self) -> torch.autocast:
        """bfloat16 products where the plan mixes precisions; norms, losses and kernels' values stay float32."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.plan.mixed)


def _under(name: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key[len(name) + 1 :]: value for key, value in state.items() if key.startswith(f"{name}.")}
