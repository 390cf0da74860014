"""Recorded objectives: a recorder without a GPU, which does again what it was shown and writes over what it gave."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from engine import lbfgs, material, recorded
from engine.lbfgs import Objective
from engine.style import Settings, learn, restyle


class Tape:
    """A graph as CUDA keeps one: fixed places for what goes in and what comes out."""

    made: list["Tape"]
    wrong = 0.0
    error: Exception | None = None

    def __init__(self) -> None:
        self.replays = 0
        type(self).made.append(self)

    def record(self, objective: Objective, x: Tensor) -> tuple[Tensor, Tensor]:
        """Nothing is computed while recording: the places hold rubbish until the first replay."""
        if self.error:
            raise self.error
        self.objective, self.x = objective, x
        self.places = torch.full((x.shape[0],), torch.nan), torch.full_like(x, torch.nan)
        return self.places

    def replay(self) -> None:
        """From what the place of ``x`` holds now."""
        self.replays += 1
        for place, number in zip(self.places, self.objective(self.x), strict=True):
            place.copy_(number + self.wrong)


@pytest.fixture
def tape(monkeypatch: pytest.MonkeyPatch) -> type[Tape]:
    """A recorder that counts, in a process that has recorded nothing yet."""
    monkeypatch.setattr(recorded, "_proved", [])
    monkeypatch.setattr(recorded, "_worthwhile", lambda x: True)
    return type("Fresh", (Tape,), {"made": []})


def bowl(x: Tensor) -> tuple[Tensor, Tensor]:
    """The chained Rosenbrock function of each row."""
    return lbfgs.differentiate(
        lambda y: (100 * (y[:, 1:] - y[:, :-1] ** 2) ** 2 + (1 - y[:, :-1]) ** 2).sum(1), x.shape
    )(x)


def test_a_search_takes_the_same_steps(tape: type[Tape]) -> None:
    """Bit by bit; one plain evaluation, then one recording played at every other, and once more to be compared."""
    start = torch.linspace(-1, 1, 24).view(3, 8)
    plain = lbfgs.minimise(bowl, start, evaluations=40)
    replayed = lbfgs.minimise(recorded.Recorded(bowl, tape), start, evaluations=40)
    assert torch.equal(plain.x, replayed.x)
    assert torch.equal(plain.losses, replayed.losses)
    assert [one.replays for one in tape.made] == [40]
    assert recorded._proved == [True]


def test_the_next_objective_is_recorded_without_proof(tape: type[Tape]) -> None:
    """Only the first of a process is compared with a plain call."""
    calls = []

    def counted(x: Tensor) -> tuple[Tensor, Tensor]:
        calls.append(x)
        return bowl(x)

    for k in range(2):
        before = len(calls)
        one = recorded.Recorded(counted, tape)
        for _ in range(4):
            one(torch.rand(2, 5))
        # one plain call and three replays; the first recording is played once more to be compared with a plain call
        assert len(calls) - before == 4 + 2 * (k == 0)


@pytest.mark.parametrize(
    ("wrong", "error"), [(1.0, None), (torch.nan, None), (0.0, RuntimeError("operation not permitted"))]
)
def test_what_cannot_be_recorded_is_launched(
    wrong: float, error: Exception | None, tape: type[Tape], caplog: pytest.LogCaptureFixture
) -> None:
    """It is tried and told of once in a process."""
    tape.wrong, tape.error = wrong, error
    x = torch.rand(2, 5)
    for _ in range(2):
        one = recorded.Recorded(bowl, tape)
        for _ in range(3):
            assert all(torch.equal(a, b) for a, b in zip(one(x), bowl(x), strict=True))
    assert (len(tape.made), recorded._proved, len(caplog.records)) == (1, [False], 1)


def test_memory_that_ran_out_is_no_verdict(tape: type[Tape]) -> None:
    """It is launched each time, and the next may be recorded."""
    tape.error = torch.OutOfMemoryError("CUDA out of memory")
    one, x = recorded.Recorded(bowl, tape), torch.rand(2, 5)
    for _ in range(3):
        assert torch.equal(one(x)[0], bowl(x)[0])
    assert (len(tape.made), recorded._proved) == (1, [])


def test_a_cpu_has_nothing_to_record() -> None:
    """There is no queue to fill."""
    one, x = recorded.Recorded(bowl), torch.rand(2, 5)
    for _ in range(3):
        assert torch.equal(one(x)[1], bowl(x)[1])
    assert one._recording is None


class Launches(TorchDispatchMode):
    """Every operation with the shapes it takes; one that needs a number, or a place, from the device is an error."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.made: list[tuple[Any, ...]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Note the operation and do it."""
        flat = [one for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)]
        assert str(func) not in ("aten._local_scalar_dense.default", "aten.nonzero.default", "aten.equal.default")
        assert not any(one.dtype == torch.bool for one in flat) or "index" not in str(func)
        self.made.append((str(func), *(tuple(one.shape) for one in flat)))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(("quality", "amount"), [("draft", 1.0), ("draft", 0.5), ("standard", 1.0), ("standard", 0.5)])
def test_evaluations_can_be_recorded(quality: str, amount: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each launches the same, whatever the numbers are, and none waits for a number: what a graph asks for."""
    seen: list[list[tuple[Any, ...]]] = []

    def watched(objective: Objective) -> Objective:
        def evaluate(x: Tensor) -> tuple[Tensor, Tensor]:
            with Launches() as launches:
                found = objective(x)
            seen.append(launches.made)
            return found

        return evaluate

    monkeypatch.setattr("engine.draft.Recorded", watched)
    monkeypatch.setattr("engine.methods.kernel.Recorded", watched)
    stem, style = (torch.from_numpy(material.make(name, seconds=0.4, rate=44100)) for name in ("riff", "organ"))
    restyle(stem, 44100, learn([style], 44100), Settings(quality=quality, amount=amount, device="cpu"))
    assert len(seen) > 5
    assert len(seen[0]) > 50
    assert all(one == seen[1] for one in seen[2:])  # the first may still fill caches, and is never recorded
