"""Streams that share their batches: the same sound as alone, in fewer solves, and nobody waits for ever."""

import threading
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
import torch
from torch import Tensor

from engine import material
from engine.draft import solve_draft
from engine.method import OnIterate, Solver, Work, joined, kinship
from engine.methods import kernel
from engine.settings import Settings
from engine.stream import restyle_stream
from engine.style import Target, learn
from engine.survey import InMemory
from engine.terms import Goal, Moments, Picture, Style
from engine.together import Together

RATE = 8000


def work(value: float, samples: int = 8) -> Work:
    """A work of one segment that holds ``value``."""
    return Work(torch.full((1, 1, samples), float(value)), 1.0, "draft", 0)


class Doubler:
    """Doubles what it gets; all of its kind share their batches."""

    sizes: list[int]
    key = "doubler"

    def __init__(self, sizes: list[int], *, fits: int = 1000) -> None:
        self.sizes, self.fits = sizes, fits

    def __call__(self, work: Work, on_iterate: OnIterate) -> Tensor:
        """Twice the work, unless it is too much at once."""
        self.sizes.append(work.x.shape[0])
        if work.x.shape[0] > self.fits:
            raise torch.OutOfMemoryError("too many")
        on_iterate(1, 1, 0.0)
        return 2 * work.x

    @classmethod
    def joined(cls, parts: Sequence[tuple["Doubler", int]]) -> Solver:
        """The first stands for all."""
        return parts[0][0]


class Apple(Doubler):
    """Says as Apple's GPUs do that memory ran out, while what had fitted is still held."""

    held: "list[weakref.ref[Tensor]]"

    def __call__(self, work: Work, on_iterate: OnIterate) -> Tensor:
        """As `Doubler`, with a tensor of its own."""
        kept = work.x.clone()
        self.held.append(weakref.ref(kept))
        try:
            return super().__call__(work, on_iterate)
        except torch.OutOfMemoryError:
            raise RuntimeError("MPS backend out of memory (MPS allocated: 5.56 GB)") from None


class Broken(Doubler):
    """Refuses whatever holds a 3."""

    def __call__(self, work: Work, on_iterate: OnIterate) -> Tensor:
        """As `Doubler`, with one value it cannot take."""
        if bool((work.x == 3).any()):
            raise ValueError("three")
        return super().__call__(work, on_iterate)


def silent(iteration: int, iterations: int, loss: float) -> None:
    """Nobody listens."""


def side_by_side(together: Together, jobs: Sequence[Callable[[], list[Tensor]]]) -> list[Future[list[Tensor]]]:
    """Every job in a thread of its own, all of them streams before the first begins."""
    ready = threading.Barrier(len(jobs))

    def run(job: Callable[[], list[Tensor]]) -> list[Tensor]:
        with together.joined():
            ready.wait()
            return job()

    with ThreadPoolExecutor(len(jobs)) as pool:
        return [pool.submit(run, job) for job in jobs]


def test_segments_of_several_streams_are_one_batch() -> None:
    """Three streams of two segments each are solved in one batch of six, and everybody gets his own back."""
    sizes: list[int] = []
    together = Together(8)
    jobs = [lambda k=k: together.solve(Doubler(sizes), [work(10 * k), work(10 * k + 1)], silent) for k in range(1, 4)]
    for k, future in enumerate(side_by_side(together, jobs), 1):
        assert [float(row.mean()) for row in future.result()] == [20 * k, 20 * k + 2]
    assert sizes == [6]
    assert together.live == 0


def test_a_batch_that_does_not_fit_is_halved_and_stays_so() -> None:
    """Of eight that do not fit two at a time are left, and the next solve begins with two."""
    sizes: list[int] = []
    together, solver = Together(8), Doubler(sizes, fits=2)
    values = [float(row.mean()) for row in together.solve(solver, [work(k) for k in range(8)], silent)]
    assert values == [2.0 * k for k in range(8)]
    assert sizes == [8, 4, 2, 2, 2, 2]
    together.solve(solver, [work(1), work(2), work(3)], silent)
    assert sizes[6:] == [2, 1]


def test_nothing_is_left_of_a_batch_that_did_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A RuntimeError about memory halves the batch too, and what it held is gone before the cache is emptied."""
    sizes: list[int] = []
    solver = Apple(sizes, fits=2)
    solver.held = []
    left: list[bool] = []
    monkeypatch.setattr(
        "engine.together._free", lambda device: left.append(any(ref() is not None for ref in solver.held))
    )
    values = Together(8).solve(solver, [work(k) for k in range(8)], silent)
    assert [float(row.mean()) for row in values] == [2.0 * k for k in range(8)]
    assert sizes == [8, 4, 2, 2, 2, 2]
    assert left == [False, False]


def test_one_segment_that_does_not_fit_is_its_streams_end_alone() -> None:
    """The memory error reaches the stream whose segment it is; the other one is served."""
    sizes: list[int] = []
    together = Together(4)
    jobs = [
        lambda: together.solve(Doubler(sizes, fits=0), [work(1)], silent),
        lambda: together.solve(Doubler(sizes), [work(2, samples=9)], silent),
    ]
    lost, served = side_by_side(together, jobs)
    with pytest.raises(torch.OutOfMemoryError):
        lost.result()
    assert float(served.result()[0].mean()) == 4


def test_a_stream_that_fails_does_not_take_its_company_along() -> None:
    """Of two streams in one batch the one whose segment cannot be solved fails, the other gets its own."""
    sizes: list[int] = []
    together = Together(4)
    jobs = [
        lambda: together.solve(Broken(sizes), [work(3), work(4)], silent),
        lambda: together.solve(Broken(sizes), [work(5)], silent),
    ]
    broken, served = side_by_side(together, jobs)
    with pytest.raises(ValueError, match="three"):
        broken.result()
    assert float(served.result()[0].mean()) == 10


def test_works_of_different_kind_do_not_share_a_batch() -> None:
    """Another length, amount or quality is another batch, whoever asks."""
    sizes: list[int] = []
    together = Together(8)
    jobs = [
        lambda: together.solve(Doubler(sizes), [work(1)], silent),
        lambda: together.solve(Doubler(sizes), [work(1, samples=9)], silent),
    ]
    for future in side_by_side(together, jobs):
        assert len(future.result()) == 1
    assert sizes == [1, 1]
    assert kinship(silent) != kinship(Doubler(sizes))  # type: ignore[arg-type]


def test_nobody_waits_for_a_stream_that_does_not_come() -> None:
    """With an idle stream in the company a batch is solved after a moment."""
    sizes: list[int] = []
    together = Together(8)
    with together.joined(), together.joined():
        assert float(together.solve(Doubler(sizes), [work(1)], silent)[0].mean()) == 2


def test_stopping_ends_those_who_wait_and_those_who_work() -> None:
    """After `stop` whoever asks, and whoever is between two iterations, is interrupted."""
    together = Together(2)

    def endless(work: Work, on_iterate: OnIterate) -> Tensor:
        while True:
            on_iterate(1, 1, 0.0)

    timer = threading.Timer(0.05, together.stop)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        together.solve(endless, [work(1)], silent)
    with pytest.raises(KeyboardInterrupt):
        together.solve(endless, [work(1)], silent)
    timer.join()


def _sounds() -> tuple[list[Tensor], list[Target]]:
    stems = [torch.from_numpy(material.make("riff", seconds=seconds, rate=RATE)) for seconds in (3, 12, 3.4)]
    stems[2] = stems[2].flip(1).contiguous() * 0.3
    targets = [
        learn([torch.from_numpy(material.make(name, seconds=seconds, rate=RATE))], RATE)
        for name, seconds in (("organ", 2), ("rain", 3), ("organ", 2))
    ]
    return stems, targets


@pytest.mark.parametrize("quality", ["draft", "standard"])
def test_stems_with_presets_of_their_own_sound_as_they_do_alone(quality: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three stems, two presets, one batch, solved as a GPU would: each within −90 dBFS of itself alone."""
    stems, targets = _sounds()
    monkeypatch.setitem(kernel.EVALUATIONS, "standard", 5)
    settings = Settings(quality=quality, device="cpu")
    alone = [
        torch.cat(list(restyle_stream(InMemory(stem, RATE), target, settings)), 1)
        for stem, target in zip(stems, targets, strict=True)
    ]
    sizes: list[int] = []

    def batched(work: Work, parts: kernel.Rows, on_iterate: OnIterate) -> Tensor:
        sizes.append(work.x.shape[0])
        if quality == "standard":
            return kernel._composed(work, parts, on_iterate)
        goal = Goal.joined([(solver.plain, count) for solver, count in parts])
        return solve_draft(work, goal, RATE, on_iterate, parts[0][0].budget)

    monkeypatch.setattr(kernel, "_solve", batched)
    together = Together(8)
    jobs = [
        lambda stem=stem, target=target: list(restyle_stream(InMemory(stem, RATE), target, settings, together=together))
        for stem, target in zip(stems, targets, strict=True)
    ]
    with ThreadPoolExecutor(3) as pool:
        outs = [torch.cat(blocks, 1) for blocks in pool.map(lambda job: job(), jobs)]
    for out, wanted, stem in zip(outs, alone, stems, strict=True):
        assert float((wanted - stem).abs().max()) > 0.01
        assert float((out - wanted).abs().max()) < 10 ** (-90 / 20)
    assert max(sizes) > 1


def test_goals_of_different_lengths_count_as_they_do_alone() -> None:
    """A goal padded to a longer one's frames gives the same loss for its own row (1e-6)."""
    stems, targets = _sounds()
    solvers = [kernel.METHOD.solver(t, torch.ones(373), torch.device("cpu")) for t in targets[:2]]
    assert isinstance(joined(solvers), type(lambda: None))
    goals = [solver.plain for solver in solvers if isinstance(solver, kernel._Solver)]
    both = Goal.joined([(goals[0], 1), (goals[1], 1)])
    pictures = [Picture(stem[None, :, : 3 * RATE] + 0.01) for stem in (stems[0], stems[1])]
    together = Picture(torch.cat([picture.x for picture in pictures]))
    moved = Picture(together.x * 0.5)
    for term in (Style, lambda goal, stem: Moments(goal, RATE, stem)):
        losses = term(both, together)(moved)
        for row, picture in enumerate(pictures):
            alone = term(goals[row], picture)(Picture(moved.x[row : row + 1]))
            assert float(losses[row]) == pytest.approx(float(alone), rel=1e-4)
