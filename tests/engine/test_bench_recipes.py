"""The suite of recipes: a run of half a second, what it says of each recipe, and the plot's labels.

No test asserts a time: machines differ, and most are busy.
"""

import itertools
import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

import gramophone
from engine import weights
from engine.bench import clock, dots, page_recipes, pairs, suite_recipes, tries
from engine.bench.clock import Spent
from engine.bench.machine import Ceilings, Machine
from engine.bench.suite_recipes import Findings, Render, Row
from engine.errors import EngineError
from engine.judge import Verdict
from engine.recipes import LEARNT, RECIPES
from engine.style import Settings, learn, restyle

CPU = torch.device("cpu")
#: One in closed form, one that descends, and one that wants weights nobody has installed.
CHOSEN = ("transport", "ulyanov", "grinstein-soundnet")
TINY = replace(suite_recipes.QUICK, recipes=CHOSEN)
MACHINE = Machine("a processor", 2, 1, "cpu", "a system", "3.11", {}, "2026-11-20", None)


@dataclass(frozen=True)
class Bench:
    """What one run of the command left behind."""

    record: dict[str, Any]
    page: str
    steps: str
    plot: bytes


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """``gramophone bench --suite recipes --quick``, of three recipes, on one thread: tests share their machine."""
    page = tmp_path_factory.mktemp("bench") / "recipes.md"
    with pytest.MonkeyPatch.context() as patch, clock.threads(1):
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv(weights.ENVIRONMENT, str(page.parent / "no weights"))
        patch.setattr(suite_recipes, "QUICK", TINY)
        arguments = ["bench", "--suite", "recipes", "--quick", "--device", "cpu", "--json", "--out", str(page)]
        result = CliRunner().invoke(gramophone.app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    plot = page.with_suffix(".png").read_bytes()
    return Bench(json.loads(result.stdout), page.read_text(encoding="utf-8"), result.stderr, plot)


def test_every_recipe_is_tried(bench: Bench) -> None:
    """Each has its time, memory, verdicts and, where it has a loss, how far that fell; every figure is finite."""
    rows = bench.record["rows"]
    assert [row["recipe"] for row in rows] == list(CHOSEN)
    for row in rows:
        (render,) = row["renders"]
        assert row["failed"] is None
        assert min(row["cost_s"], *render["spent"].values(), *render["learnt"].values()) > 0
        assert 0 < row["imports"] <= row["peak"]
        verdict = render["verdict"]
        figures = [verdict[name] for name in ("style_ratio", "chroma", "onset", "mfcc_ratio", "gap_db")]
        assert all(math.isfinite(figure) for figure in figures)
        assert row["kept"] == pytest.approx((verdict["chroma"] + verdict["onset"]) / 2)
    assert [row["falls"] is None for row in rows] == [True, False, False]
    assert rows[1]["falls"] > 1


def test_the_page_and_the_plot(bench: Bench) -> None:
    """One row a recipe in every table, what differs from a recipe's defaults by name, and a plot beside it."""
    lines = bench.page.splitlines()
    sections = [line.removeprefix("## ") for line in lines if line.startswith("## ")]
    assert sections == ["All recipes", "From the stem to the style", "Pair by pair"]
    for above, line in itertools.pairwise(lines):
        if above.startswith("|") and line.startswith("|"):
            assert above.count("|") == line.count("|"), line
    assert "`ulyanov`, filters = 4, iterations = 3" in bench.page
    assert "`grinstein-soundnet`, random weights, iterations = 3" in bench.page
    assert "**A quick run**" in bench.page
    assert " nan" not in bench.page.lower()
    assert bench.plot.startswith(b"\x89PNG")
    assert "recipe 2 of 3: ulyanov" in bench.steps


def test_what_is_tried_is_what_the_front_door_makes() -> None:
    """The sound that comes back from the other process is, to the bit, what this one makes of the same."""
    given = [pairs.make(pairs.PAIRS[0], 0.3, 8000, mono=True)]
    with clock.threads(1), pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        tried = tries.of("dipani", {"filters": 4, "iterations": 4, "griffin_lim": 2}, given, 8000, CPU)
        (stem, style), (sound,) = given[0], tried.sounds
        target = learn([style], 8000, recipe="dipani", params={"filters": 4, "iterations": 4, "griffin_lim": 2})
        assert torch.equal(sound.samples, restyle(stem, 8000, target, Settings(device="cpu")))
    assert sound.evaluations == 4
    assert sound.falls is not None
    assert sound.falls > 1


def test_a_recipe_that_fails_costs_its_own_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a recipe says when it fails stands in its row, the rest is measured and judged, and there is a plot."""
    heard = {name: tries.Sound(torch.zeros(0), Spent(1, 1), Spent(1, 1), 0, 0.0, 0.0) for name in CHOSEN}

    def of(recipe: str, params: Any, given: Any, *rest: Any) -> tries.Try:
        if recipe == "ulyanov":
            raise EngineError("there is no room for it")
        return tries.Try((replace(heard[recipe], samples=given[0][0]),), None, None, None)

    monkeypatch.setattr(tries, "of", of)
    said: list[str] = []
    found = suite_recipes.run(device="cpu", scale=TINY, on_step=said.append)
    assert [row.failed for row in found.rows] == [None, "there is no room for it", None]
    assert "ulyanov failed: there is no room for it" in said
    page = page_recipes.markdown(found)
    assert "failed: there is no room for it" in page
    assert page.count("| not known |") == 2
    assert found.rows[0].style == pytest.approx(1)  # what came back is the stem
    assert found.rows[0].kept == pytest.approx(1)
    picture = page_recipes.picture(found)
    assert picture is not None
    assert picture.startswith(b"\x89PNG")


def row(recipe: str, style: float, chroma: float | None, mfcc: float) -> Row:
    """A row of one render, its onsets as well kept as its pitch."""
    verdict = Verdict(style, 1.0, chroma, chroma, mfcc, 0.0, 0.0, 0.5, None if chroma else "no librosa here")
    return Row(recipe, {}, (Render("a → b", Spent(1, 1), Spent(6, 3), 3, None, "WAV", verdict),))


def findings(*rows: Row) -> Findings:
    """Findings of those rows."""
    return Findings(suite_recipes.USUAL, MACHINE, Ceilings(1e9, 1e9), rows)


def test_nobody_is_better_than_the_unbeaten() -> None:
    """A recipe is beaten by one that is as near by both measures and keeps as much, and by no other."""
    rows = (
        row("near", 0.1, 0.7, 0.2),
        row("careful", 0.5, 0.9, 0.5),
        row("timbre", 0.2, 0.7, 0.1),
        row("beaten", 0.5, 0.8, 0.5),
        row("twin", 0.5, 0.9, 0.5),
        row("unheard", 0.01, None, 0.01),
    )
    found = findings(*rows)
    assert [r.recipe for r in found.unbeaten()] == ["near", "careful", "timbre", "twin"]
    page = page_recipes.markdown(found)
    assert "| **`careful`** |" in page
    assert "| `beaten` |" in page
    assert "No librosa here." in page
    table = page.split("## From the stem to the style")[1].split("## ")[0]
    assert table.index("careful") < table.index("near")


def test_cost_is_of_a_second() -> None:
    """On a CPU its time counts, elsewhere the clock; both for each second of sound."""
    mine = row("a", 0.1, 0.7, 0.2)
    found = findings(mine)
    assert found.cost_s(mine) == pytest.approx(6 / 3)
    elsewhere = replace(found, machine=replace(MACHINE, device="cuda:0"))
    assert elsewhere.cost_s(mine) == pytest.approx(3 / 3)
    assert found.cost_s(Row("b", {}, failed="no")) is None


def test_all_recipes_are_in_it_and_full_is_as_published() -> None:
    """No recipe is left out; what is run shorter names parameters that there are; --full shortens nothing."""
    for scale in (suite_recipes.USUAL, suite_recipes.FULL, suite_recipes.QUICK):
        assert scale.recipes == tuple(LEARNT)
    assert len(suite_recipes.USUAL.chosen) == 3
    assert suite_recipes.FULL.seconds == 10
    for name in LEARNT:
        known = RECIPES[name].check({**suite_recipes.SHORTER.get(name, {})})
        assert suite_recipes.USUAL.params.get(name, {}).items() <= known.items()
        RECIPES[name].check(suite_recipes.parameters(name, suite_recipes.QUICK))
        full = suite_recipes.parameters(name, suite_recipes.FULL)
        assert full in ({}, {"weights": "random"})


def test_installed_weights_are_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Random weights are for those that are not there, and the title says so."""
    monkeypatch.setenv(weights.ENVIRONMENT, str(tmp_path))
    absent = suite_recipes.parameters("gatys-vgg16", suite_recipes.USUAL)
    (tmp_path / "vgg16.safetensors").touch()
    assert absent == {"weights": "random"}
    assert suite_recipes.parameters("gatys-vgg16", suite_recipes.USUAL) == {}
    assert Row("gatys-vgg16", absent).title == "`gatys-vgg16`, random weights"


def test_labels_keep_apart() -> None:
    """A label goes to the nearest free place: beside a lone dot, and eight of dots in a heap share nothing."""
    alone = dots._free(100, 100, 60, 10, [dots._Box.around(100, 100, 9, 9)])
    assert alone == (60 / 2 + 9, 0)
    taken = [dots._Box.around(100, 100, 9, 9)]
    boxes = []
    for _ in range(8):
        across, up = dots._free(100, 100, 60, 10, taken)
        boxes.append(dots._Box.around(100 + across, 100 + up, 60, 10))
        taken.append(boxes[-1])
    assert all(a.shared(b) == 0 for a, b in itertools.combinations(boxes, 2))


def test_a_plot_without_dots() -> None:
    """Nothing found is still a picture."""
    picture = dots.png([], x="x", y="y", shade="shade")
    assert picture is not None
    assert picture.startswith(b"\x89PNG")
