"""The report: every figure true of the files, what failed named, and nothing lost between two renders."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import mido
import pytest
import torch
from rich.console import Console
from torch import Tensor

from engine.style import Target
from presets import preset
from presets.library import Library
from render import batch, planner, report, tables
from render.choices import Choices
from render.delivery import Wish
from render.events import AlbumDone, Event, StemFailed, StemPublished, StemSkipped
from render.plan import Plan

MakeStem = Callable[..., Path]
Noise = Callable[..., Tensor]
RATE = 8000
ALBUM = """
[album]
title = "Night <Bus>"
preset = "tape"
tail_s = 0.5
[[album.chain]]
plugin = "gain"
gain_db = 12

[[track]]
stem = "vox.wav"
[[track]]
stem = "bass.wav"
amount = 0
[[track]]
stem = "broken.wav"
"""


def _render(plan: Plan) -> tuple[dict[int, Event], AlbumDone]:
    ended: dict[int, Event] = {}

    def tell(event: Event) -> None:
        if isinstance(event, StemPublished | StemSkipped | StemFailed):
            ended[event.index] = event

    return ended, batch.run(plan, on_event=tell)


@pytest.fixture
def album(tmp_path: Path, make_stem: MakeStem, noise: Noise, shelf: Library) -> Callable[[], Plan]:
    """A planner of an album of two stems, one over full scale after its chain, and a file that is none."""
    tone = 0.25 * torch.sin(2 * math.pi * 1000 * torch.arange(RATE) / RATE)
    make_stem("vox.wav", noise(2, RATE, peak=0.9))
    make_stem("bass.wav", tone.expand(1, -1))
    (tmp_path / "broken.wav").write_bytes(b"nothing")
    path = tmp_path / "album.toml"
    path.write_text(ALBUM, encoding="utf-8")
    return lambda: planner.plan_album(path, library=shelf, wish=Wish(report=True))


def _figures(found: report.Report, folder: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(report.json_text(found, folder))
    return read


def test_figures_are_those_of_the_files(album: Callable[[], Plan], tmp_path: Path) -> None:
    """A sine of 0.25 in mono: −15.1 dBFS RMS, −12 dBFS peak; its render is 12 dB louder and half a second longer."""
    plan = album()
    folder = plan.jobs[0].output.parent
    bass = _figures(report.gather(plan, *_render(plan)), folder)["tracks"][1]
    assert bass["stem"]["rms_dbfs"] == pytest.approx(-15.05, abs=0.01)
    assert bass["stem"]["peak_dbfs"] == pytest.approx(-12.04, abs=0.01)
    assert bass["stem"]["true_peak_dbtp"] == pytest.approx(-12.04, abs=0.1)
    # K-weighting is 0 dB at 1 kHz by definition: −0.691 + 10 log10(power) + 0.691 LUFS.
    assert bass["stem"]["lufs"] == pytest.approx(-15.05, abs=0.1)
    assert bass["output"]["peak_dbfs"] == pytest.approx(-0.04, abs=0.01)
    assert bass["output"]["frames"] == RATE + RATE // 2
    assert bass["level_change_db"] == pytest.approx(12 - 10 * math.log10(1.5), abs=0.01)
    assert (folder / bass["output"]["path"]).is_file()
    assert (folder / bass["stem"]["path"]).resolve() == tmp_path / "bass.wav"


def test_it_tells_what_was_done(album: Callable[[], Plan]) -> None:
    """Preset, chain, seed, padding, overs with what became of them, versions and times are all there."""
    plan = album()
    figures = _figures(report.gather(plan, *_render(plan)), Path())
    vox = figures["tracks"][0]
    assert (vox["status"], vox["preset"]["name"], vox["preset"]["recipe"]) == ("published", "tape", "identity")
    assert vox["preset"]["content_hash"] == plan.jobs[0].preset.content_hash  # type: ignore[union-attr]
    assert vox["chain"] == [{"plugin": "gain", "gain_db": 12.0}]
    assert (vox["seed"], vox["amount"], vox["padded_samples"]) == (0, 1.0, RATE // 2)
    assert vox["overs"] > 100
    assert vox["overs_action"] == "limited"
    assert vox["seconds"] > 0
    assert (vox["loudness_lufs"], vox["ceiling_dbtp"], vox["levelled_db"]) == (None, None, None)
    assert {"Gramophone", "Python", "torch", "pedalboard"} <= figures["versions"].keys()
    assert figures["stems"] == {"published": 2, "skipped": 0, "failed": 1, "interrupted": False}


def test_what_failed_is_named(album: Callable[[], Plan]) -> None:
    """The broken file is in the figures and on the page with its reason, and nowhere as a render."""
    plan = album()
    found = report.gather(plan, *_render(plan))
    lost = _figures(found, Path())["tracks"][2]
    assert (lost["index"], lost["status"]) == (3, "failed")
    assert "broken.wav" in lost["reason"]
    page = report.html(found, plan.jobs[0].output.parent)
    assert "2 of 3 stems rendered" in page
    assert "3. broken" in page
    assert page.count('<figure class="player"') == 2


def test_the_page_says_it_too(album: Callable[[], Plan]) -> None:
    """Title (escaped), chain with its settings, level match, padding, overs, seed and versions stand on the page."""
    plan = album()
    page = report.html(report.gather(plan, *_render(plan)), plan.jobs[0].output.parent)
    for expected in (
        "<h1>Night &lt;Bus&gt;</h1>",
        "gain [gain_db 12]",
        "dB against the stem",
        "0.5 s for the chain to ring out",
        "samples limited",
        "seed <b>0</b>",
        "× real time",
        "loudness −15.",
        "true peak −12.0 dBTP",
        "torch <b>",
    ):
        assert expected in page


def test_plugin_files_and_what_moves_are_told(
    plugins_here: Path, make_stem: MakeStem, shelf: Library, tmp_path: Path
) -> None:
    """A plugin file with its version and settings, what moves, and a part's instrument are in plan and report."""
    stem = make_stem()
    song = mido.MidiFile()
    track = song.add_track("Bass")
    track += [mido.Message("note_on", note=69, velocity=99), mido.Message("note_off", note=69, time=240)]
    song.save(tmp_path / "song.mid")
    (tmp_path / "album.toml").write_text(
        f"""
[album]
title = "Bus"
amount = 0
[[track]]
stem = "{stem.name}"
chain = [
  {{ plugin = "GramoGain", parameters = {{ gain = -6.0, voicing = "Half" }}, latency_samples = 100 }},
  {{ plugin = "mix", plugins = [{{ plugin = "GramoMono" }}, {{ plugin = "gain", gain_db = -3 }}] }},
]
automation = [
  {{ target = "chain[1].gain", points = [[0.0, -6.0], [0.1, 0.0]] }},
  {{ target = "chain[2].plugins[2].gain_db", points = [[0.0, -3.0], [0.1, 0.0]] }},
]
[[track]]
midi = "song.mid"
instrument = {{ plugin = "GramoSine", tail_s = 0.5, parameters = {{ level = -12.0 }} }}
"""
    )
    plan = planner.plan_album(tmp_path / "album.toml", library=shelf, wish=Wish(report=True))
    with (wide := Console(width=400)).capture() as shown:
        wide.print(tables.plan_table(plan))
    for expected in ("song.mid by GramoSine", "GramoGain (gain_db moves) → mix(GramoMono → gain (gain_db moves))"):
        assert expected in shown.get()
    planned = list(tables.plan_records(plan))
    assert planned[1]["instrument"]["instrument"]["plugin_file"] == "GramoSine"
    assert planned[0]["chain"][0]["automation"].keys() == {"gain_db"}
    found = report.gather(plan, *_render(plan))
    page = report.html(found, plan.jobs[0].output.parent)
    for expected in (
        "GramoGain 1.0.0 [gain_db -6 to 0 in 2 points, voicing Half",
        "latency said to be 100 samples]",
        "mix(GramoMono 1.0.0 → gain [gain_db -3 to 0 in 2 points",
        "all tracks by GramoSine 1.0.0 [level_db -12], 0.5 s to ring out",
    ):
        assert expected in page
    tracks = _figures(found, Path())["tracks"]
    assert tracks[0]["chain"][0]["plugin_file"] == "GramoGain"
    assert tracks[0]["instrument"] is None
    assert tracks[1]["instrument"]["instrument"]["parameters"] == {"level_db": -12.0}


def test_the_next_report_remembers_the_times(album: Callable[[], Plan], tmp_path: Path) -> None:
    """What is not rendered anew keeps its time and overs from the report before, and is told as rendered before."""
    plan = album()
    first = report.gather(plan, *_render(plan))
    path = tmp_path / "earlier.json"
    path.write_text(report.json_text(first, tmp_path), encoding="utf-8")
    again = album()
    second = _figures(report.gather(again, *_render(again), report.earlier(path)), tmp_path)
    before = _figures(first, tmp_path)
    for old, new in zip(before["tracks"][:2], second["tracks"][:2], strict=True):
        assert new == old | {"status": "skipped"}
    forgotten = _figures(report.gather(again, *_render(again)), tmp_path)["tracks"][0]
    assert forgotten["seconds"] is None
    assert "rendered before" in report.html(report.gather(again, *_render(again)), tmp_path)


@pytest.mark.parametrize(
    "text", ["", "[]", '{"format": 2}', '{"format": 1, "tracks": 3}', '{"format": 1, "tracks": [{"key": 1}, 7]}']
)
def test_a_strangers_report_is_ignored(album: Callable[[], Plan], tmp_path: Path, text: str) -> None:
    """Whatever lies where the last report was, the next one is made."""
    plan = album()
    path = tmp_path / "earlier.json"
    path.write_text(text, encoding="utf-8")
    found = report.gather(plan, *_render(plan), report.earlier(path))
    assert len(found.entries) == 3


def test_resampling_is_told(tmp_path: Path, make_stem: MakeStem, noise: Noise) -> None:
    """A preset of another rate than the stem's is told as resampling there and back, one of the same is not."""
    library = Library(tmp_path / "library")
    for name, rate in (("same", RATE), ("other", 16_000)):
        target = Target("identity", {}, rate, {"frames": noise(1, 16)})
        library.save(preset.new(name, target))
    for name, told in (("same", None), ("other", 16_000)):
        plan = planner.plan_stems([make_stem()], library=library, choices=Choices(preset=name), out=tmp_path / name)
        found = report.gather(plan, *_render(plan))
        assert found.entries[0].record["resampled_hz"] == told
        assert ("8000 → 16000 → 8000 Hz" in report.html(found, tmp_path)) == (told is not None)


def test_loudness_that_was_asked_for_is_told(tmp_path: Path, make_stem: MakeStem, shelf: Library) -> None:
    """The goal, the gain it took and the loudness that was reached, to 0.1 LU, are in the figures and on the page."""
    choices = Choices(preset="tape", loudness_lufs=-20.0, ceiling_dbtp=-1.0)
    plan = planner.plan_stems([make_stem()], library=shelf, choices=choices, out=tmp_path / "out")
    found = report.gather(plan, *_render(plan))
    vox = found.entries[0].record
    assert vox["output"]["lufs"] == pytest.approx(-20.0, abs=0.1)
    assert vox["levelled_db"] == pytest.approx(-20.0 - vox["stem"]["lufs"], abs=0.1)
    assert "to −20.0 LUFS, below −1.0 dBTP by " in report.html(found, tmp_path)


def test_large_albums_stay_a_page(album: Callable[[], Plan], monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the most that are shown, stems have their line in the table and no player."""
    plan = album()
    found = report.gather(plan, *_render(plan))
    monkeypatch.setattr(report, "MOST_SHOWN", 1)
    page = report.html(found, plan.jobs[0].output.parent)
    assert page.count('<figure class="player"') == 1
    assert page.count('<th scope="row">') == 2
    assert "The first 1 are shown below" in page


def test_an_output_that_is_gone_is_told(album: Callable[[], Plan]) -> None:
    """A file that was taken away before the report could read it is named, and the others are reported."""
    plan = album()
    ended, done = _render(plan)
    plan.jobs[0].output.unlink()
    found = report.gather(plan, ended, done)
    assert "not to be shown" in found.entries[0].record["reason"]
    assert found.entries[1].job is not None


def test_interrupted_stems_are_not_rendered(album: Callable[[], Plan]) -> None:
    """A stem that never ended is told as not rendered."""
    plan = album()
    ended, done = _render(plan)
    del ended[1]
    assert report.gather(plan, ended, replace(done, interrupted=True)).entries[0].record["reason"] == "not rendered"
