"""The demo, in short: from nothing to a page, twice over, and never into somebody else's folder."""

from pathlib import Path

import pytest
import torch

from engine import audio, material
from engine.errors import EngineError
from presets.library import Library
from render import demo
from render.errors import RenderError
from render.events import Event, StemPublished, StemSkipped

SECONDS = 0.6


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[demo.Demo, Path, list[Event], list[str]]:
    """One demo of 0.6 s stems in draft quality, with the events and steps it told."""
    folder = tmp_path_factory.mktemp("demo") / "new" / "folder"
    events: list[Event] = []
    steps: list[str] = []
    result = demo.run(folder, quality="draft", seconds=SECONDS, on_event=events.append, on_step=steps.append)
    return result, folder, events, steps


Made = tuple[demo.Demo, Path, list[Event], list[str]]


def test_material_is_24_bit_stereo(made: Made) -> None:
    """Stems and references lie in the folder as 24-bit stereo WAVs at 44.1 kHz of the length asked for."""
    _, folder, _, _ = made
    paths = [folder / "stems" / f"{name}.wav" for name in material.STEMS]
    paths += [folder / "references" / f"{name}.wav" for name in material.REFERENCES]
    for path in paths:
        info = audio.probe(path)
        assert (info.rate, info.channels, info.format.subtype) == (44100, 2, "PCM_24")
        assert info.frames == round(SECONDS * 44100)


def test_presets_are_learnt(made: Made) -> None:
    """At least two presets are in the demo's own library and the user's is left alone."""
    result, folder, _, _ = made
    assert result.library == folder / "presets"
    assert {entry.name for entry in Library(result.library).list() if not entry.problem} == set(demo.PRESETS)
    assert len(demo.PRESETS) >= 2


def test_four_tracks_are_rendered(made: Made) -> None:
    """Every track comes out in its stem's shape, and differs from it by more than dither (−120 dBFS)."""
    result, folder, events, _ = made
    published = [event for event in events if isinstance(event, StemPublished)]
    assert (result.done.published, result.done.failed, len(published)) == (4, 0, 4)
    for event in published:
        stem = audio.read(folder / "stems" / f"{event.title.lower()}.wav")
        output = audio.read(event.output)
        assert (output.rate, output.samples.shape, output.format) == (stem.rate, stem.samples.shape, stem.format)
        assert float((output.samples - stem.samples).abs().max()) > 1e-3
        assert bool(torch.isfinite(output.samples).all())


def test_the_page_shows_all(made: Made) -> None:
    """The page has a player for every track and reference and names every preset; the picture lies beside it."""
    result, folder, _, steps = made
    text = result.page.read_text(encoding="utf-8")
    assert text.count('<figure class="player"') == 4 + len(material.REFERENCES)
    for name in demo.PRESETS:
        assert name in text
    assert (folder / "before-after.png").read_bytes().startswith(b"\x89PNG")
    assert any("bowed-organ" in step for step in steps)


def test_again_is_quick_and_the_same(made: Made) -> None:
    """A second demo in the same folder learns and renders nothing anew."""
    _, folder, _, _ = made
    events: list[Event] = []
    steps: list[str] = []
    again = demo.run(folder, quality="draft", seconds=SECONDS, on_event=events.append, on_step=steps.append)
    assert again.done.skipped == 4
    assert sum(isinstance(event, StemSkipped) for event in events) == 4
    assert sum("learnt before" in step for step in steps) == len(demo.PRESETS)
    assert "rendered before" in again.page.read_text(encoding="utf-8")


def test_an_interrupted_demo_can_be_taken_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A demo that was stopped while it made its stems is not taken for somebody else's folder the next time."""

    def interrupted(name: str, **rest: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(material, "make", interrupted)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            demo.run(tmp_path, quality="draft", seconds=SECONDS)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["album.toml"]


def test_other_folders_are_left_alone(tmp_path: Path) -> None:
    """A folder with anything of the user's in it is refused, and nothing is added to it."""
    (tmp_path / "album.toml").write_text("[album]\n")
    with pytest.raises(RenderError, match="holds something other than a demo; choose a new or an empty folder"):
        demo.run(tmp_path, quality="draft", seconds=SECONDS)
    assert [path.name for path in tmp_path.iterdir()] == ["album.toml"]


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    """A file where the folder should be is an error in one line, not a trace."""
    path = tmp_path / "file"
    path.write_text("")
    with pytest.raises(RenderError, match="cannot be the demo's folder"):
        demo.run(path, quality="draft", seconds=SECONDS)


@pytest.mark.parametrize(("quality", "seconds"), [("best", SECONDS), ("draft", 0.0)])
def test_settings_are_checked_before_any_work(tmp_path: Path, quality: str, seconds: float) -> None:
    """A quality or a length that does not exist is refused before anything is written."""
    with pytest.raises(EngineError, match=r"best|length is 0\.0 s"):
        demo.run(tmp_path / "demo", quality=quality, seconds=seconds)
    assert not list(tmp_path.rglob("*.wav"))
