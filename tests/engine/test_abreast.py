"""Problems side by side: each on its share of the cores, whoever else is there, and all of them ended together."""

import os
import threading
import warnings
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from engine import abreast
from engine.bench import clock
from engine.method import OnIterate

PATIENCE_S = 60.0  # for what comes at once but on a machine with other work


@pytest.fixture(params=[2, 5, 9])
def cores(request: pytest.FixtureRequest) -> Iterator[int]:
    """A machine on which torch has so many threads."""
    with clock.threads(request.param):
        yield request.param


@pytest.fixture
def two() -> Iterator[None]:
    """A machine of two cores."""
    with clock.threads(2):
        yield


def silent(iteration: int, iterations: int, loss: float) -> None:
    """Nobody listens."""


def numbered(value: float, calls: list[int] | None = None) -> Callable[[OnIterate], Tensor]:
    """A problem whose result is its number, and that notes the threads it has."""

    def problem(on_iterate: OnIterate) -> Tensor:
        if calls is not None:
            calls.append(torch.get_num_threads())
        assert not torch.is_grad_enabled()
        on_iterate(1, 1, value)
        return torch.tensor([value])

    return problem


def test_cores_are_shared_out(cores: int) -> None:
    """Four problems at most are solved at once, and no thread is given away twice."""
    count, threads = abreast.share()
    assert 1 <= count <= abreast.MOST
    assert count * threads <= cores < count * (threads + 1)


@pytest.mark.parametrize("problems", [1, 3, 7])
def test_a_problem_has_its_own_threads_in_any_company(cores: int, problems: int) -> None:
    """Results come in order; each had its share of the threads, also alone; the caller has his own still."""
    calls: list[int] = []
    with torch.no_grad():
        out = abreast.solved([numbered(k, calls) for k in range(problems)], silent)
    assert [float(row) for row in out] == list(range(problems))
    assert calls == [abreast.share()[1]] * problems
    assert torch.get_num_threads() == cores


def test_threads_to_come_have_what_the_caller_has(cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch hands the last number that was set to every new thread; that is the caller's, not a new worker's."""
    monkeypatch.setattr(abreast, "_pools", {})
    with torch.no_grad():
        abreast.solved([numbered(1)], silent)
    seen: list[int] = []
    thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert seen == [cores]


@pytest.mark.usefixtures("two")
def test_they_run_at_once() -> None:
    """Two problems that wait for each other both end."""
    meeting = threading.Barrier(2)

    def problem(on_iterate: OnIterate) -> Tensor:
        meeting.wait(PATIENCE_S)
        return torch.ones(1)

    assert len(abreast.solved([problem, problem], silent)) == 2


@pytest.mark.usefixtures("two")
def test_iterations_are_told_where_the_caller_is() -> None:
    """In the caller's thread, never going back, up to all of them, with the mean of the last losses in the end."""
    told: list[tuple[int, int, float]] = []
    threads = set()

    def tell(*event: float) -> None:
        told.append(event)  # type: ignore[arg-type]
        threads.add(threading.get_ident())

    def problem(loss: float) -> Callable[[OnIterate], Tensor]:
        def solve(on_iterate: OnIterate) -> Tensor:
            for k in range(1, 6):
                on_iterate(k, 5, loss / k)
            return torch.zeros(1)

        return solve

    abreast.solved([problem(loss) for loss in (5.0, 10.0, 15.0)], tell)
    assert threads == {threading.get_ident()}
    iterations = [event[0] for event in told]
    assert len(told) == 15
    assert sorted(iterations) == iterations
    assert told[-1][:2] == (5, 5)
    assert told[-1][2] == pytest.approx(2.0)


def forever(on_iterate: OnIterate) -> Tensor:
    """Iterates until it is stopped."""
    while True:
        on_iterate(1, 2, 0.0)


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize("position", [0, 1])
def test_one_that_fails_ends_them_all(position: int) -> None:
    """Its error is raised, the other is stopped, one that has not begun never does, and the next ones are served."""
    begun: list[int] = []

    def broken(on_iterate: OnIterate) -> Tensor:
        raise torch.OutOfMemoryError("too many")

    problems: list[abreast.Problem] = [forever, forever]
    problems[position] = broken
    with pytest.raises(torch.OutOfMemoryError, match="too many"):
        abreast.solved([*problems, forever], silent)
    with torch.no_grad():
        assert len(abreast.solved([numbered(1, begun)] * 2, silent)) == 2
    assert len(begun) == 2


@pytest.mark.usefixtures("two")
def test_an_interrupt_where_iterations_are_told_ends_them_all() -> None:
    """What the listener raises is raised, after all problems that had begun have stopped."""
    begun, ended = list[int](), list[int]()

    def watched(on_iterate: OnIterate) -> Tensor:
        begun.append(1)
        try:
            return forever(on_iterate)
        finally:
            ended.append(1)

    def interrupt(*_: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        abreast.solved([watched, watched], interrupt)
    assert len(begun) == len(ended) > 0


def test_on_one_core_the_caller_does_it_all() -> None:
    """Without cores to share no thread is started."""
    seen = []

    def problem(on_iterate: OnIterate) -> Tensor:
        seen.append(threading.get_ident())
        on_iterate(1, 1, 1.0)
        return torch.ones(1)

    with clock.threads(1):
        assert len(abreast.solved([problem, problem], silent)) == 2
    assert set(seen) == {threading.get_ident()}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.usefixtures("two")
def test_a_forked_process_has_workers_of_its_own() -> None:
    """A child begins without its parent's, whose threads it does not have."""
    with torch.no_grad():
        abreast.solved([numbered(1)], silent)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        os._exit(len(abreast._pools))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
