"""What comes beside the outputs: decided with the stems, written whole, and never over anything of the user's."""

import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from torch import Tensor
from typer.testing import CliRunner, Result

from engine import audio
from presets.library import Library
from render import delivery, handover, planner
from render.cli import app
from render.delivery import Wish
from render.errors import InputError

MakeStem = Callable[..., Path]
Run = Callable[..., Result]
ALBUM = """
[album]
title = "Night Bus"
preset = "tape"
export = ["rpp", "midi"]
export_originals = true

[[track]]
stem = "stems/vox.wav"
[[track]]
stem = "stems/bass.wav"
"""


@pytest.fixture
def album(tmp_path: Path, make_stem: MakeStem) -> Path:
    """An album of two stems that asks for two sessions, with the originals."""
    for name in ("vox", "bass"):
        make_stem(f"stems/{name}.wav")
    path = tmp_path / "album.toml"
    path.write_text(ALBUM, encoding="utf-8")
    return path


@pytest.fixture
def run(shelf: Library) -> Run:
    """A runner of the command line on the shelf of presets."""

    def invoke(*arguments: object) -> Result:
        return CliRunner().invoke(app, ["render", *map(str, arguments), "--library", str(shelf.folder)])

    return invoke


def _folder(album: Path) -> Path:
    return album.parent / "renders" / "Night Bus"


def _beside(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_file() and path.suffix != ".wav")


def test_the_manifest_asks(run: Run, album: Path) -> None:
    """Sessions of the manifest and the report lie beside the outputs, the originals in the session muted."""
    result = run(album)
    assert result.exit_code == 0, result.output
    assert _beside(_folder(album)) == [
        "Night Bus.report.html",
        "Night Bus.report.json",
        "Night Bus.rpp",
        "Night Bus.tempo.mid",
    ]
    text = (_folder(album) / "Night Bus.rpp").read_text(encoding="utf-8")
    assert text.count("MUTESOLO 1") == text.count("MUTESOLO 0") == 2
    assert "FILE ../../stems/vox.wav" in text
    assert "Night Bus.rpp (rpp)" in result.stdout


def test_the_command_line_wins(run: Run, album: Path) -> None:
    """``--export``, ``--no-export-originals`` and ``--no-report`` are said over the manifest."""
    assert run(album, "--export", "dawproject", "--no-export-originals", "--no-report").exit_code == 0
    assert _beside(_folder(album)) == ["Night Bus.dawproject"]
    with zipfile.ZipFile(_folder(album) / "Night Bus.dawproject") as archive:
        assert [name for name in archive.namelist() if name.startswith("audio/")] == [
            "audio/01_01_vox_tape.wav",
            "audio/02_02_bass_tape.wav",
        ]


def test_stems_have_a_report_when_asked(run: Run, album: Path, tmp_path: Path) -> None:
    """Single stems get sessions and a report only when they are asked for, named after the first."""
    stems = [tmp_path / "stems/vox.wav", tmp_path / "stems/bass.wav"]
    assert run(*stems, "--preset", "tape", "--out", tmp_path / "out").exit_code == 0
    assert _beside(tmp_path / "out") == []
    assert run(*stems, "--preset", "tape", "--out", tmp_path / "out", "--report", "--export", "rpp").exit_code == 0
    assert _beside(tmp_path / "out") == [
        "vox and 1 more.report.html",
        "vox and 1 more.report.json",
        "vox and 1 more.rpp",
    ]


def test_ours_are_written_anew(run: Run, album: Path) -> None:
    """A second render replaces what the first one wrote, as it tells of new things."""
    assert run(album).exit_code == 0
    album.write_text(ALBUM + '[[track]]\nstem = "stems/vox.wav"\ntitle = "Choir"\n', encoding="utf-8")
    assert run(album).exit_code == 0
    assert "NAME Choir" in (_folder(album) / "Night Bus.rpp").read_text(encoding="utf-8")
    figures = json.loads((_folder(album) / "Night Bus.report.json").read_text(encoding="utf-8"))
    assert [track["status"] for track in figures["tracks"]] == ["skipped", "skipped", "published"]


def test_a_session_that_was_worked_on_stays(run: Run, album: Path) -> None:
    """A project that was saved by a DAW is told at once, before any stem is rendered; --overwrite gives it up."""
    assert run(album).exit_code == 0
    project = _folder(album) / "Night Bus.rpp"
    project.write_text("<REAPER_PROJECT my mix\n>\n", encoding="utf-8")
    stem = _folder(album) / "01_vox_tape.wav"
    stem.unlink()
    result = run(album)
    assert result.exit_code == 2
    assert "Night Bus.rpp was changed, or is not ours; move it away, or --overwrite replaces it" in result.stderr
    assert not stem.exists()
    assert project.read_text(encoding="utf-8").endswith("my mix\n>\n")
    assert run(album, "--overwrite").exit_code == 0
    assert "NAME vox" in project.read_text(encoding="utf-8")


def test_every_mistake_at_once(run: Run, album: Path) -> None:
    """A misspelt kind is one line with the nearest one, beside the other mistakes of the manifest."""
    album.write_text(ALBUM.replace('"midi"]', '"dawprojet"]\nreport = 1\namount = 2'), encoding="utf-8")
    result = run(album)
    assert result.exit_code == 2
    lines = result.stderr.splitlines()
    assert len(lines) == 3
    assert any("album.export" in line and "did you mean 'dawproject'" in line for line in lines)
    assert any("album.report: found 1; expected true or false" in line for line in lines)


def test_misspelt_kinds_on_the_command_line(run: Run, album: Path) -> None:
    """Every misspelt kind is a line, and so is none at all; exit code 2 and nothing written."""
    result = run(album, "--export", "rppp,midi,als")
    assert result.exit_code == 2
    assert "found 'rppp'; expected one or more of dawproject, rpp, midi, aaf; did you mean 'rpp'?" in result.stderr
    assert "found 'als'" in result.stderr
    assert run(album, "--export", " ,").exit_code == 2
    assert not _folder(album).exists()


def test_an_input_is_never_replaced(album: Path, shelf: Library) -> None:
    """Not even with --overwrite does a session take the place of the manifest or of a stem."""
    (album.parent / "renders" / "Night Bus").mkdir(parents=True)
    plan = planner.plan_album(album, library=shelf)
    inputs = [_folder(album) / "NIGHT BUS.RPP"]
    _, mistakes = delivery.decide(Wish(("rpp",)), "Night Bus", plan.jobs, inputs, file=str(album), overwrite=True)
    assert ["is an input of this render" in mistake.message for mistake in mistakes] == [True]


def test_aaf_is_checked_before_any_sound(run: Run, album: Path) -> None:
    """AAF with FLAC outputs is a mistake of the plan, one line for each file."""
    pytest.importorskip("aaf2")
    result = run(album, "--export", "aaf", "--format", "flac")
    assert result.exit_code == 2
    assert result.stderr.count("aaf links WAV and AIFF") == 2


def test_aaf_without_its_library(album: Path, shelf: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pyaaf2 the plan already says which extra to install."""
    monkeypatch.setitem(__import__("sys").modules, "aaf2", None)
    with pytest.raises(InputError, match=r"^--export: aaf needs pyaaf2"):
        planner.plan_album(album, library=shelf, wish=Wish(("aaf",)))


def test_one_session_that_fails_spares_the_rest(run: Run, album: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session that cannot be written is named, exit code 1; outputs, the other session and the report are there."""

    def full(what: object, path: Path, part: Path) -> None:
        part.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("render.handover._WRITERS", _writers_with(full))
    result = run(album)
    assert result.exit_code == 1
    assert "failed: rpp: " in result.output
    assert "No space left on device" in result.output
    assert _beside(_folder(album)) == ["Night Bus.report.html", "Night Bus.report.json", "Night Bus.tempo.mid"]
    assert len(list(_folder(album).glob("*.wav"))) == 2
    assert not [path for path in _folder(album).iterdir() if path.name.endswith(".part")]


def _writers_with(writer: Callable[..., None]) -> dict[str, Callable[..., None]]:
    return {**handover._WRITERS, "rpp": writer}


def test_failed_stems_are_left_out_of_the_session(run: Run, album: Path, tmp_path: Path) -> None:
    """A stem that could not be rendered is no track; with none at all there is no session, and the error says so."""
    (tmp_path / "stems/vox.wav").write_bytes(b"nothing")
    result = run(album)
    assert result.exit_code == 1
    text = (_folder(album) / "Night Bus.rpp").read_text(encoding="utf-8")
    assert "NAME bass" in text
    assert "NAME vox" not in text


def test_a_dry_run_names_what_would_come(run: Run, album: Path) -> None:
    """``--dry-run`` lists sessions and report, in words and as JSON, and writes nothing."""
    result = run(album, "--dry-run")
    assert "Night Bus.rpp (rpp)" in result.stdout
    plan = json.loads(run(album, "--dry-run", "--json").stdout.splitlines()[-1])
    assert sorted(plan["delivery"]) == ["figures", "midi", "report", "rpp"]
    assert not _folder(album).exists()


def test_events_end_with_the_album(run: Run, album: Path) -> None:
    """As JSON each thing that was written is an event, and that all is done comes last."""
    records = [json.loads(line) for line in run(album, "--json").stdout.splitlines()]
    assert [(r["event"], r.get("kind")) for r in records[-4:]] == [
        ("exported", "rpp"),
        ("exported", "midi"),
        ("exported", "report"),
        ("album_done", None),
    ]


def test_an_interrupt_leaves_nothing_half(run: Run, album: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while a session is written: exit code 130, the outputs stay, the session is not there."""

    def interrupted(what: object, path: Path, part: Path) -> None:
        part.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("render.handover._WRITERS", _writers_with(interrupted))
    result = run(album)
    assert result.exit_code == 130
    assert len(list(_folder(album).glob("*.wav"))) == 2
    assert _beside(_folder(album)) == []


def test_outputs_in_folders_of_their_own(run: Run, album: Path) -> None:
    """When the template spreads the outputs, sessions lie in the folder they share and find each of them."""
    album.write_text(ALBUM.replace("[album]", '[album]\noutput = "renders/{track}/{preset}"'), encoding="utf-8")
    assert run(album).exit_code == 0
    text = (album.parent / "renders" / "Night Bus.rpp").read_text(encoding="utf-8")
    assert "FILE vox/tape.wav" in text


def test_a_whole_album_comes_back_to_its_samples(run: Run, tmp_path: Path, noise: Callable[..., Tensor]) -> None:
    """Stems of three rates and odd times of day: each clip of both sessions is at its sample."""
    pytest.importorskip("aaf2")
    starts = {
        "vox": (8_000, 3_600 * 8_000),
        "bass": (44_100, 3_601 * 44_100 + 1),
        "rain": (96_000, 86_399 * 96_000 + 7),
    }
    lines = ['[album]\ntitle = "A"\namount = 0\nexport = ["dawproject", "rpp", "aaf"]\n']
    for name, (rate, start) in starts.items():
        note = audio.Annotations(rate, broadcast=audio.Broadcast(time_reference=start))
        form = audio.Format("WAV", "PCM_24")
        audio.write(tmp_path / f"{name}.wav", noise(2, 1_601), rate, form, annotations=note)
        lines.append(f'[[track]]\nstem = "{name}.wav"\n')
    (tmp_path / "a.toml").write_text("".join(lines), encoding="utf-8")
    assert run(tmp_path / "a.toml", "--no-report").exit_code == 0
    folder = tmp_path / "renders" / "A"
    with zipfile.ZipFile(folder / "A.dawproject") as archive:
        clips = list(ElementTree.fromstring(archive.read("project.xml")).iter("Clip"))
    places = re.findall(r"POSITION (\S+)\n\s+LENGTH (\S+)", (folder / "A.rpp").read_text(encoding="utf-8"))
    for (rate, start), clip, place in zip(starts.values(), clips, places, strict=True):
        for at, length in ((clip.attrib["time"], clip.attrib["duration"]), place):
            assert float(at) * rate == pytest.approx(start - 3_600 * rate, abs=1e-3)
            assert float(length) * rate == pytest.approx(1_601, abs=1e-3)


def test_broadcast_stems_keep_their_place(run: Run, album: Path, noise: Callable[..., Tensor]) -> None:
    """A stem that starts at 1:00:02 by its TimeReference lies 2 s into a session that starts at one o'clock."""
    stem = album.parent / "stems" / "vox.wav"
    note = audio.Annotations(8000, broadcast=audio.Broadcast(time_reference=3_602 * 8_000))
    audio.write(stem, noise(), 8000, audio.Format("WAV", "PCM_24"), annotations=note)
    assert run(album, "--no-export-originals").exit_code == 0
    text = (_folder(album) / "Night Bus.rpp").read_text(encoding="utf-8")
    assert "PROJOFFS 3600" in text
    assert [line.split()[1] for line in text.splitlines() if "POSITION" in line] == ["2", "0"]
