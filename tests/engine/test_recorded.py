"""Recorded objectives: a recorder without a GPU, which does again what it was shown and writes over what it gave."""

import pytest
import torch
from torch import Tensor

from engine import lbfgs, recorded
from engine.lbfgs import Objective


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
