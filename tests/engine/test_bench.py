"""The bench: one run of half a second of sound, its page and its JSON, and the arithmetic of its floors.

No test asserts a time: machines differ, and most are busy.
"""

import itertools
import json
import math
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

import gramophone
from engine import kernel, level
from engine.bench import bounds, child, clock, memory, page_main, pairs, suite_main, suites
from engine.bench.machine import Ceilings
from engine.bench.suite_main import Findings, Scale
from engine.bench.written import through_file
from engine.errors import EngineError
from engine.spectra import Resolution
from engine.style import learn
from engine.terms import Picture

TINY = Scale(
    "tiny", 0.5, pairs.PAIRS[:1], 1, 2048, {"filters": 64, "iterations": 3, "griffin_lim": 3}, ("draft", "standard")
)
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Bench:
    """What one run of the command left behind."""

    record: dict[str, Any]
    page: str
    steps: str
    found: Findings


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """``gramophone bench --quick --json --out``, where quick is tiny, on one thread: tests share their machine."""
    page = tmp_path_factory.mktemp("bench") / "tables.md"
    kept: list[Findings] = []
    with pytest.MonkeyPatch.context() as patch, clock.threads(1):
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setattr(suite_main, "QUICK", TINY)
        record = Findings.record

        def keeping(found: Findings) -> dict[str, Any]:
            kept.append(found)
            return record(found)

        patch.setattr(Findings, "record", keeping)
        arguments = ["bench", "--quick", "--device", "cpu", "--json", "--out", str(page)]
        result = CliRunner().invoke(gramophone.app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    return Bench(json.loads(result.stdout), page.read_text(encoding="utf-8"), result.stderr, kept[0])


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from _numbers(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _numbers(inner)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


def test_the_json_holds_every_table(bench: Bench) -> None:
    """One object with the machine, evaluations, the race, every render, memory and bounds; every number is finite."""
    record = bench.record
    assert set(record) == {
        "scale", "machine", "ceilings", "comparison", "race", "renders", "memory", "bounds", "quality",
    }  # fmt: skip
    assert all(math.isfinite(number) for number in _numbers(record))
    assert [row["quality"] for row in record["renders"]] == ["draft", "standard"]
    assert [row["quality"] for row in record["memory"]] == ["draft", "standard"]
    assert [row["quality"] for row in record["bounds"]] == ["draft", "standard"]
    assert list(record["quality"]) == ["draft", "standard"]
    assert record["machine"]["packages"]["torch"] == torch.__version__.partition("+")[0]


def test_what_is_measured_is_above_zero(bench: Bench) -> None:
    """Times, factors, memory, ceilings and floors are of something that happened."""
    record = bench.record
    assert min(_numbers(record["ceilings"])) > 0
    assert min(_numbers(record["comparison"])) > 0
    assert min(_numbers(record["bounds"])) > 0
    for row in record["renders"]:
        assert min(row["spent"]["cpu_s"], row["spent"]["wall_s"], row["real_time"], row["evaluation_s"]) > 0
        assert row["evaluations"] > 1
    for run in (record["race"]["baseline"], record["race"]["draft"], *record["race"]["others"]):
        assert min(run["spent"].values()) > 0
        assert run["verdict"]["style_loss"] > 0
    for row in record["memory"]:
        assert 0 < row["imports"] <= row["peak"]


def test_both_ways_evaluate_one_loss(bench: Bench) -> None:
    """The kernel's loss is the explicit network's within the scatter of 2048 filters, from log or waveform."""
    explicit, exact, wave = (row["loss"] for row in bench.record["comparison"]["rows"])
    assert exact == pytest.approx(explicit, rel=0.1)  # 1/F of bias and 1/√F of scatter
    assert wave == pytest.approx(exact, rel=1e-4)


def test_the_race_is_judged_fairly(bench: Bench) -> None:
    """The first draft home is the cheapest of those whose file is as near to the style as the baseline's."""
    race = bench.record["race"]
    drafts = [race["draft"], *race["others"]]
    goal = race["baseline"]["verdict"]["style_loss"]
    there = [run for run in drafts if run["verdict"]["style_loss"] <= goal]
    assert race["params"]["alpha"] == 0.01
    assert race["params"]["iterations"] == 3
    assert len({run["verdict"]["style_loss"] for run in drafts}) == len(drafts)
    # Far from the shortest road, but the nearest to the style: it has no phase to reconstruct.
    nearest = min(drafts, key=lambda run: run["verdict"]["style_loss"])
    assert nearest["name"] == "draft, the stem + 80 waveform"
    assert there, "three iterations of 64 filters should not win"
    cheapest = min(there, key=lambda run: run["spent"]["cpu_s"])
    assert race["first"]["name"] == cheapest["name"]
    assert race["first"]["ratio"] == pytest.approx(race["baseline"]["spent"]["cpu_s"] / cheapest["spent"]["cpu_s"])


def test_the_renders_are_judged(bench: Bench) -> None:
    """Each quality is nearer to the style than the stem was, at the stem's level; means are those of the rows."""
    for row in bench.record["renders"]:
        assert row["verdict"]["style_ratio"] < 1
        assert abs(row["verdict"]["level_db"]) < 1
        assert row["file"] == "WAV PCM_24"
        assert bench.record["quality"][row["quality"]]["style_ratio"] == row["verdict"]["style_ratio"]


def test_the_page_is_markdown(bench: Bench) -> None:
    """The page names the machine, has a section a question and tables whose rows are as wide as their heads."""
    lines = bench.page.splitlines()
    sections = [line.removeprefix("## ") for line in lines if line.startswith("## ")]
    assert sections == ["One evaluation", "Time to the same file", "Speed", "Memory", "Sound", "What bounds it"]
    assert "**A tiny run**" in bench.page
    assert bench.record["machine"]["processor"] in bench.page
    assert bench.record["machine"]["date"] in bench.page
    rows = 0
    for above, line in itertools.pairwise(lines):
        if above.startswith("|") and line.startswith("|"):
            assert above.count("|") == line.count("|"), line
            rows += 1
    assert rows > 30
    assert "nan" not in bench.page.lower().replace("resonan", "")
    assert page_main.markdown(bench.found) + "\n" == bench.page


def test_what_it_is_doing_is_said_on_stderr(bench: Bench) -> None:
    """Every long step is announced, the baseline by its tenths; stdout is left to the JSON."""
    for words in ("riff → organ: standard", "memory: draft", "one core: ulyanov 2/3", "written: "):
        assert words in bench.steps


def test_an_unjudged_figure_is_a_dash(bench: Bench) -> None:
    """Without librosa the table has dashes and the reason; nothing that rounds to zero has a sign."""
    row = bench.found.renders[0]
    unheard = replace(row.verdict, chroma=None, onset=None, gap_db=-0.001, missing="no librosa here")
    rendered = (replace(row, verdict=unheard),)
    page = page_main.markdown(replace(bench.found, renders=rendered, scale=replace(TINY, qualities=("draft",))))
    assert "No librosa here." in page
    mean = next(line for line in page.splitlines() if line.startswith("| **draft** | mean"))
    assert mean.count("–") == 2
    assert "| 0.0 |" in mean
    assert "-0.0" not in mean


def _counted(shape: tuple[int, ...], other: tuple[int, ...]) -> int:
    return 2 * math.prod(shape) * other[-1]


def test_the_floor_counts_the_products_there_are() -> None:
    """The floor's product operations are those of the matrix products that one evaluation really calls."""
    from torch.utils.flop_counter import FlopCounterMode

    stem, style = (x.mean(0, keepdim=True) for x in pairs.make(pairs.PAIRS[0], 0.5, 22050))
    target = learn([style], 22050)
    res = Resolution.at(22050, 2048)
    log = Picture(stem[None] * (level.ANALYSIS_RMS / level.rms(stem))).log(res)
    frames = target.tensors["magnitude.2048"].float()
    u = kernel.even_weights(log.shape[-1] - kernel.WIDTH + 1, log)[None]

    def in_place(total: Any, a: tuple[int, ...], b: tuple[int, ...], *args: Any, **kwargs: Any) -> int:
        return _counted(a, b)

    # torch counts every product but the one that adds to its first operand in place.
    own = {torch.ops.aten.baddbmm_: in_place}
    with FlopCounterMode(display=False, custom_mapping=own) as counter:
        kernel.cross_terms(log.requires_grad_(True), frames, u, target.tensors["weights.2048"]).sum().backward()
    assert counter.get_total_flops() == bounds.floor("draft", target, stem.shape[1], 1).products


def test_floors_grow_as_they_should() -> None:
    """More resolutions, more channels and more sound cost more; a machine twice as fast has half the floor."""
    stem, style = pairs.make(pairs.PAIRS[0], 0.5, 22050)
    target, samples = learn([style], 22050), stem.shape[1]
    draft, standard = (bounds.floor(quality, target, samples, 1) for quality in ("draft", "standard"))
    stereo = bounds.floor("draft", target, samples, 2)
    assert draft.products < standard.products
    assert draft.bytes < standard.bytes
    assert stereo.products == draft.products  # channels are linked: one picture of both
    assert stereo.transforms == 2 * draft.transforms
    assert draft.bytes < stereo.bytes < 2 * draft.bytes
    slow, fast = Ceilings(1e9, 1e9), Ceilings(2e9, 2e9)
    assert draft.seconds(fast) == pytest.approx(draft.seconds(slow) / 2)
    (bound,) = bounds.bounds({"draft": draft}, {"draft": 3 * draft.seconds(slow)}, slow)
    assert bound.gap == pytest.approx(3)
    assert bound.by == "arithmetic"
    assert bounds.bounds({"draft": draft}, {"draft": None}, Ceilings(1e15, 1e6))[0].by == "memory"


def test_works_are_timed_by_turns() -> None:
    """After one run of each that is not timed, the works take turns, so that a busy moment hits them all."""
    calls: list[str] = []
    spent = clock.interleaved([lambda: calls.append("a"), lambda: calls.append("b")], 3, CPU)
    assert calls == ["a", "b"] * 4
    assert len(spent) == 2
    assert min(s.wall_s for s in spent) >= 0


def test_threads_are_given_back() -> None:
    """The number of threads is the caller's again, even after an error."""
    before = torch.get_num_threads()

    def fail() -> None:
        with clock.threads(before + 1):
            assert torch.get_num_threads() == before + 1
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert torch.get_num_threads() == before


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not say what a process has held")
def test_the_high_water_mark_rises() -> None:
    """256 MB in use for a moment raise a fresh process's mark by as much; what this one has held does not count."""
    ballast = torch.ones(2**28, dtype=torch.uint8)
    script = (
        "import json, torch; from engine.bench.child import high_water; before = high_water(); "
        "torch.ones(2**28, dtype=torch.uint8); print(json.dumps([before, high_water()]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=True, timeout=60, cwd=Path(__file__).parents[2]
    )
    before, after = json.loads(done.stdout)
    assert after - before == pytest.approx(2**28, rel=0.02)  # the kernel counts pages in batches
    held = child.high_water()
    assert held is not None
    assert held > len(ballast)


def test_a_child_that_fails_says_why() -> None:
    """What went wrong in the process that is measured is told in one line."""
    if torch.cuda.device_count() > 9:
        pytest.skip("this machine has ten GPUs")
    with pytest.raises(EngineError, match=r"ended with 1: engine\.errors\.DeviceError: device 'cuda:9' is not on this"):
        memory.measure(pairs.PAIRS[0], "draft", 0.3, torch.device("cuda:9"))


def test_files_are_real_and_24_bits_deep() -> None:
    """A render comes back from its file within a step and a half (rounding and dither); overs are kept as floats."""
    sound = 0.5 * torch.rand(2, 1000, generator=torch.Generator().manual_seed(0)) - 0.25
    heard, file = through_file(sound, 44100)
    assert file == "WAV PCM_24"
    assert not torch.equal(heard, sound)
    assert float((heard - sound).abs().max()) <= 1.5 / 2**23
    over, file = through_file(5 * sound, 44100)
    assert file == "WAV FLOAT"
    assert torch.equal(over, 5 * sound)


def test_without_soundfile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no file can be written, samples are rounded to 24 bits in memory, and the tables say so."""
    monkeypatch.setitem(sys.modules, "engine.audio", None)
    monkeypatch.delattr("engine.audio", raising=False)
    sound = 0.5 * torch.rand(1, 100, generator=torch.Generator().manual_seed(0))
    heard, file = through_file(sound, 44100)
    assert file == "memory, 24 bits"
    assert torch.equal((heard * 2**23).round(), heard * 2**23)
    assert float((heard - sound).abs().max()) <= 0.5 / 2**23


def test_pairs_are_what_they_say() -> None:
    """Every pair is generated material of the length and rate asked for, stereo, or its mean over the channels."""
    for pair in pairs.PAIRS:
        stem, style = pairs.make(pair, 0.1, 8000)
        assert stem.shape == style.shape == (2, 800)
        mono = pairs.make(pair, 0.1, 8000, mono=True)[0]
        assert torch.equal(mono, stem.mean(0, keepdim=True))
    assert len({pair.stem for pair in pairs.PAIRS}) == 4


def test_the_full_run_is_the_published_one() -> None:
    """At full scale the baseline runs with the recipe's own parameters: 4096 filters, 300 iterations, 500 steps."""
    assert suite_main.FULL.published == {}
    target = learn([torch.rand(1, 8000) - 0.5], 8000, recipe="ulyanov", params={"alpha": 0.01})
    assert {key: target.params[key] for key in ("filters", "iterations", "griffin_lim", "alpha")} == {
        "filters": 4096, "iterations": 300, "griffin_lim": 500, "alpha": 0.01,
    }  # fmt: skip
    assert suite_main.FULL.seconds == 10
    assert suite_main.FULL.qualities == ("draft", "standard", "fine")


def test_an_unknown_suite() -> None:
    """A suite that is not there is refused with the nearest name, before anything is measured."""
    said: list[str] = []
    with pytest.raises(EngineError, match="did you mean 'main'"):
        suites.run("maim", on_step=said.append)
    assert said == []
