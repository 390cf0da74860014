"""The suites of long stems and of devices: runs of seconds, the source that they play, and what they say of it.

No test asserts a time: machines differ, and most are busy.
"""

import itertools
import json
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import gramophone
from engine.bench import (
    bounds,
    clock,
    differences,
    endless,
    lengths,
    plots,
    solves,
    suite_device,
    suite_long,
    suites,
)
from engine.bench.endless import Endless
from engine.bench.lengths import Length
from engine.bench.tables import length
from engine.errors import EngineError
from engine.method import OnIterate, Solver, Work, method
from engine.style import Settings, Target, learn, restyle_stream

RATE = 8000
CPU = torch.device("cpu")
LONG = replace(
    suite_long.QUICK,
    lengths_s={"draft": (0.5, 3.0)},
    batched_s=21.0,
    filters=32,
)
DEVICE = replace(suite_device.QUICK, batches=(1, 2), channels=(1, 3), rates=(8000, 11025), loop_share=0.1)


@dataclass(frozen=True)
class Run:
    """What one run of the command left behind."""

    record: dict[str, Any]
    page: str
    steps: str
    plot: bytes


def _run(suite: str, folder: Path) -> Run:
    """``gramophone bench --suite … --quick --json --out``, on one thread: tests share their machine."""
    page = folder / f"{suite}.md"
    with pytest.MonkeyPatch.context() as patch, clock.threads(1):
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setattr(suite_long, "QUICK", LONG)
        patch.setattr(suite_device, "QUICK", DEVICE)
        arguments = ["bench", "--suite", suite, "--quick", "--device", "cpu", "--json", "--out", str(page)]
        result = CliRunner().invoke(gramophone.app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    plot = page.with_suffix(".png").read_bytes()
    return Run(json.loads(result.stdout), page.read_text(encoding="utf-8"), result.stderr, plot)


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One run of suite long."""
    return _run("long", tmp_path_factory.mktemp("long"))


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One run of suite device."""
    return _run("device", tmp_path_factory.mktemp("device"))


@pytest.fixture(scope="module")
def target() -> Target:
    """A short style at a telephone's rate."""
    return learn([endless.style(RATE, 1.0)], RATE)


@pytest.fixture(scope="module")
def stem() -> Endless:
    """Three segments of music that takes no room."""
    return endless.endless(21.0, RATE, 1, loop_share=0.1)


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from _numbers(inner)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


def _check_page(run: Run, sections: list[str]) -> None:
    lines = run.page.splitlines()
    assert [line.removeprefix("## ") for line in lines if line.startswith("## ")] == sections
    for above, line in itertools.pairwise(lines):
        if above.startswith("|") and line.startswith("|"):
            assert above.count("|") == line.count("|"), line
    assert " nan" not in run.page.lower()
    assert all(math.isfinite(number) for number in _numbers(run.record))
    assert "**A quick run**" in run.page
    assert run.plot.startswith(b"\x89PNG")


@given(st.integers(0, 40_000), st.integers(0, 9000), st.integers(0, 9000), st.integers(1, 3))
@settings(max_examples=25, deadline=None)
def test_an_endless_stem_is_the_same_however_it_is_read(start: int, first: int, second: int, channels: int) -> None:
    """Two readings side by side are the bits of one; nothing is read past the end; each channel is another."""
    generator = torch.Generator().manual_seed(0)
    source = Endless(tuple(torch.randn(channels, n, generator=generator) for n in (700, 900)), 45_000, RATE)
    whole = source.read(start, first + second)
    assert whole.shape == (channels, max(0, min(first + second, 45_000 - start)))
    parts = [source.read(start, first), source.read(start + first, second)]
    assert torch.equal(torch.cat(parts, 1), whole)


def test_an_endless_stem_does_not_repeat_itself(stem: Endless) -> None:
    """Segments differ from each other, channels too, and another length is the same stem cut elsewhere."""
    wide = replace(stem, loops=endless.endless(1.0, RATE, 3, loop_share=0.1).loops)
    sound = wide.read(0, wide.samples)
    assert not torch.equal(sound[:, :80_000], sound[:, 80_000:160_000])
    assert not torch.equal(sound[0], sound[2])
    assert 0.01 < float(sound.abs().max()) <= 1
    assert torch.equal(wide.of(2.0).read(0, 99_999), sound[:, :16_000])
    sent = endless.unpacked(wide.parcel())
    assert torch.equal(sent.read(123, 4567), wide.read(123, 4567))


def test_long_stems_are_measured(long: Run) -> None:
    """Every length is rendered in its own process and beside a shorter one; the page says so and shows a plot."""
    record = long.record
    assert [(row["quality"], row["seconds"]) for row in record["lengths"]] == [("draft", 0.5), ("draft", 3.0)]
    for row in record["lengths"]:
        assert min(row["wall_s"], row["cpu_s"], row["real_time"], row["explicit_ratio"]) > 0
        assert 0 < row["imports"] <= row["peak"]
    (growth,) = record["growth"]
    assert growth["times"] == 6
    walls = [row["wall_s"] for row in record["lengths"]]
    assert growth["cost"] == pytest.approx(walls[1] / walls[0])
    assert growth["more"] == record["lengths"][1]["peak"] - record["lengths"][0]["peak"]
    assert record["explicit_s"] == pytest.approx(321 * record["comparison"]["rows"][0]["cpu_s"])
    _check_page(long, ["Time and memory against length", "Growth", "Batch sizes"])
    assert "![The same as a plot](<long.png>)" in long.page
    for words in ("batches of 8: draft, out of memory", "3 s of sound: draft", "long.png"):
        assert words in long.steps


def test_batches_are_compared(long: Run) -> None:
    """Sizes 2 and 8 and a lack of memory are there, each with the batch that was solved in the end.

    The stem has three segments, of which a forced lack of memory lets two through at a time; none is further than
    90 dB below full scale from those that were solved alone.
    """
    rows = long.record["differences"]
    found = [(row["batch"], row["short"], row["largest"]) for row in rows]
    assert found == [(2, False, 2), (8, False, 3), (8, True, 2)]
    assert all(row["energy_db"] is None or row["energy_db"] < -90 for row in rows)


def test_a_difference_is_seen(target: Target, stem: Endless, monkeypatch: pytest.MonkeyPatch) -> None:
    """A solver whose result depends on the size of its batch is found out, at the level that it errs by."""
    found = method("kernel")
    plain = found.solver

    def solver(target: Target, power: torch.Tensor, device: torch.device) -> Solver:
        def solve(work: Work, on_iterate: OnIterate) -> torch.Tensor:
            return work.x * (1.0 if work.x.shape[0] == 1 else -1.0)

        return solve

    monkeypatch.setattr(found, "solver", solver)
    rows = differences.measure(stem, "draft", target, (2,), 1, CPU, lambda line: None)
    assert rows[0].energy_db is not None
    assert rows[0].peak_db is not None
    assert rows[0].peak_db > rows[0].energy_db > -60
    assert (rows[1].short, rows[1].largest, rows[1].energy_db) == (True, 1, None)
    monkeypatch.undo()
    assert found.solver == plain


def test_lack_of_memory_is_survived_and_taken_back(target: Target, stem: Endless) -> None:
    """Where one segment fits, batches shrink to one; where none does, the error is told, and ends with the context."""
    short = stem.of(11.0)
    with solves.short_of_memory("kernel", 1), solves.watched("kernel", CPU) as watch:
        blocks = list(restyle_stream(short, target, Settings(quality="draft", device="cpu"), batch=8))
    assert sum(block.shape[1] for block in blocks) == short.samples
    assert watch.largest == 1
    settings = Settings(quality="draft", device="cpu")
    with solves.short_of_memory("kernel", 0), pytest.raises(torch.OutOfMemoryError):
        list(restyle_stream(short, target, settings))
    assert "solver" not in vars(method("kernel"))


def test_solves_are_watched(target: Target, stem: Endless) -> None:
    """Each batch is counted with its size and its evaluations, both passes; the result is not touched."""
    chosen = Settings(quality="draft", device="cpu")
    plain = torch.cat(list(restyle_stream(stem, target, chosen, batch=2)), 1)
    with solves.watched("kernel", CPU) as watch:
        seen = torch.cat(list(restyle_stream(stem, target, chosen, batch=2)), 1)
    assert torch.equal(plain, seen)
    assert sum(solve.problems for solve in watch.solves) == 3 + 2
    assert {solve.channels for solve in watch.solves} == {1}
    assert all(solve.evaluations >= 1 and solve.seconds > 0 for solve in watch.solves)
    assert watch.seconds == pytest.approx(sum(solve.seconds for solve in watch.solves))


def test_growth_is_beside_the_longest_that_is_six_times_shorter() -> None:
    """An hour stands beside ten minutes, ten minutes beside one; other qualities and near lengths do not count."""

    def made(quality: str, seconds: float, peak: int | None = None) -> Length:
        return Length(quality, seconds, seconds / 20, seconds / 10, 1, peak, None)

    draft = [made("draft", s, round(s)) for s in (10, 60, 300, 600, 3600)]
    rows = lengths.growth([*draft, made("standard", 60), made("standard", 30)])
    assert [(row.longer, row.shorter) for row in rows] == [(60, 10), (300, 10), (600, 60), (3600, 600)]
    assert {row.quality for row in rows} == {"draft"}
    assert [row.cost for row in rows] == pytest.approx([6, 30, 10, 6])
    assert rows[-1].more == 3000
    assert lengths.growth([made("fine", 60), made("fine", 10)])[0].more is None


def test_devices_are_measured(device: Run) -> None:
    """Batch sizes, channels and rates each have their renders, with work and shares above zero."""
    (found,) = device.record["devices"]
    assert found["name"] == "cpu"
    assert [row["batch"] for row in found["batches"]] == [1, 2]
    assert [row["largest"] for row in found["batches"]] == [1, 2]
    assert [row["channels"] for row in found["channels"]] == [1, 3]
    assert [row["rate"] for row in found["rates"]] == [8000, 11025]
    for row in (*found["batches"], *found["channels"], *found["rates"]):
        assert min(row[name] for name in ("flops", "bytes", "solver_s", "used_flops", "used_bytes", "real_time")) > 0
        assert row["solver_s"] <= row["wall_s"]
        pace = row["flops"] / row["solver_s"]
        assert row["used_flops"] == pytest.approx(pace / found["ceilings"]["flops"])
    mono, wide = found["channels"]
    assert mono["flops"] < wide["flops"] < 3 * mono["flops"]  # channels are linked: products are shared
    _check_page(device, ["cpu"])
    assert [line for line in device.page.splitlines() if line.startswith("### ")] == [
        "### Batch size", "### Channels", "### Rate",
    ]  # fmt: skip


def test_work_is_counted_by_problem_and_evaluation(device: Run, target: Target) -> None:
    """Twice the sound in batches of two is at least twice the work of one segment, and a seam's more."""
    alone, both = device.record["devices"][0]["batches"]
    assert 2 * alone["flops"] < both["flops"] < 3 * alone["flops"]
    floor = bounds.floor("draft", target, 10 * RATE, 2)
    assert alone["flops"] > floor.products


def test_a_cpu_is_spared(device: Run) -> None:
    """A CPU tries all sizes of a batch for a draft only; a GPU for every quality."""
    full = suite_device.FULL
    assert full.sizes("draft", CPU) == full.sizes("standard", torch.device("cuda")) == (1, 2, 4, 8, 16, 32, 64)
    assert full.sizes("standard", CPU) == (1, 8)
    assert full.seconds(64) == 640


def test_full_goes_to_hours() -> None:
    """The usual run ends at ten minutes of draft and five of standard; a full one has three hours of draft."""
    assert suite_long.USUAL.lengths_s == {"draft": (10, 60, 300, 600), "standard": (10, 60, 300)}
    assert {3600, 10800} <= set(suite_long.FULL.lengths_s["draft"])
    for scale in (suite_long.USUAL, suite_long.FULL):
        assert (scale.rate, scale.channels, scale.batches, scale.filters) == (44100, 2, (2, 8), 4096)
        assert scale.batched_s / 10 > max(scale.batches)  # so that the largest batch is full


def test_without_matplotlib(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where nothing can be drawn there is a page and no plot, and the page does not show one."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert plots.png([plots.Panel("a", "b", "c", ())]) is None
    result = suites.Result({}, "# Page", None)
    monkeypatch.setattr(suites, "run", lambda *args, **kwargs: result)
    out = tmp_path / "page.md"
    done = CliRunner().invoke(gramophone.app, ["bench", "--suite", "long", "--out", str(out)])
    assert done.exit_code == 0
    assert out.read_text(encoding="utf-8") == "# Page\n"
    assert [path.name for path in tmp_path.iterdir()] == ["page.md"]


def test_plots_of_little() -> None:
    """A line of one point, a line of none and an empty panel are drawn; warnings would be errors."""
    one, none = plots.Line("one", (1.0,), (2.0,)), plots.Line("none", (), ())
    panels = [plots.Panel("a", "x", "y", (one, none)), plots.Panel("b", "x", "y", (), from_zero=True)]
    drawn = plots.png(panels)
    assert drawn is not None
    assert drawn.startswith(b"\x89PNG")


def test_sizes_that_a_suite_does_not_have() -> None:
    """``full`` is of two suites, and not quick; what is wrong is said before anything is measured."""
    for arguments, words in (
        (("main", False, True), "--full is of suites long and recipes only; suite 'main'"),
        (("device", True, True), "--full is of suites long and recipes only; suite 'device'"),
        (("long", True, True), "--full and --quick were both given"),
        (("lng", False, False), "did you mean 'long'"),
    ):
        suite, quick, full = arguments
        with pytest.raises(EngineError, match=words):
            suites.run(suite, quick=quick, full=full)


def test_lengths_in_words() -> None:
    """Lengths are told in the unit that musicians use."""
    said = {10.0: "10 s", 60.0: "1 min", 90.0: "90 s", 300.0: "5 min", 3600.0: "60 min", 10800.0: "3 h", 0.5: "0.5 s"}
    assert {seconds: length(seconds) for seconds in said} == said
