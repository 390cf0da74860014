"""The ``render`` command as a user meets it: what it prints where, what it leaves on disk, how it exits."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner, Result

from engine import audio, style
from presets.library import Library
from render.cli import app

MakeStem = Callable[..., Path]
Contents = Callable[..., list[str]]
Noise = Callable[..., Tensor]
Run = Callable[..., Result]


@pytest.fixture
def run(shelf: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run ``render`` with the given arguments in the test's folder, with the shelf for a library."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GRAMOPHONE_LIBRARY", str(shelf.folder))

    def invoke(*arguments: object) -> Result:
        return CliRunner().invoke(app, ["render", *map(str, arguments)])

    return invoke


@pytest.fixture
def album(make_stem: MakeStem, tmp_path: Path) -> Path:
    """A manifest of three tracks, the second with a chain."""
    for name in ("vox", "bass", "drums"):
        make_stem(f"stems/{name}.wav")
    path = tmp_path / "album.toml"
    path.write_text(
        '[album]\ntitle = "Night Bus"\npreset = "tape"\n'
        '[[track]]\nstem = "stems/vox.wav"\n'
        '[[track]]\nstem = "stems/bass.wav"\n[[track.chain]]\nplugin = "gain"\ngain_db = -6\n'
        '[[track]]\nstem = "stems/drums.wav"\namount = 0\n'
    )
    return path


def test_a_stem_is_rendered_beside_itself(run: Run, make_stem: MakeStem, contents: Contents) -> None:
    """The shortest command there is: a stem and a preset."""
    make_stem()
    result = run("vox.wav", "--preset", "tape")
    assert result.exit_code == 0, result.output
    assert contents() == ["vox.wav", "vox_tape.wav"]
    assert "vox_tape.wav" in result.stdout
    assert "1 rendered" in result.stdout


def test_an_album_is_rendered_and_then_skipped(run: Run, album: Path, contents: Contents) -> None:
    """Three outputs named by the default template, and the report; the second run finds them done."""
    assert run(album).exit_code == 0
    made = [name for name in contents() if name.startswith("renders/")]
    assert made == [
        "renders/Night Bus/01_vox_tape.wav",
        "renders/Night Bus/02_bass_tape.wav",
        "renders/Night Bus/03_drums_tape.wav",
        "renders/Night Bus/Night Bus.report.html",
        "renders/Night Bus/Night Bus.report.json",
    ]
    again = run(album)
    assert again.exit_code == 0
    assert "3 already there" in again.stdout


def test_a_dry_run_shows_the_plan_and_writes_nothing(run: Run, album: Path, contents: Contents) -> None:
    """Tracks, lengths, chains, outputs and the time it would take; not a file, not a folder."""
    before = contents()
    result = run(album, "--dry-run")
    assert result.exit_code == 0
    for part in ("vox.wav", "0:01", "gain", "01_vox_tape.wav", "3 stems", "to render", "Nothing was written"):
        assert part in result.stdout
    assert contents() == before
    assert not Path("renders").exists()


def test_a_dry_run_in_json_is_a_line_for_each_job(run: Run, album: Path) -> None:
    """Programs get every setting, the length in samples and the estimate."""
    records = [json.loads(line) for line in run(album, "-n", "--json", "--quality", "draft").stdout.splitlines()]
    assert [record["event"] for record in records] == ["planned"] * 3 + ["plan"]
    assert records[1]["frames"] == 1600
    assert records[1]["chain"] == [{"plugin": "gain", "gain_db": -6.0}]
    assert records[0]["quality"] == "draft"
    assert records[3]["estimate_s"] == pytest.approx(sum(record["estimate_s"] for record in records[:3]))


def test_json_events_are_alone_on_stdout(run: Run, album: Path, tmp_path: Path) -> None:
    """Each line of stdout is an object; what failed is told on stderr as well."""
    (tmp_path / "stems/vox.wav").write_bytes(b"")
    result = run(album, "--json")
    assert result.exit_code == 1
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert records[0]["event"] == "album_started"
    assert records[-1] == {**records[-1], "event": "album_done", "published": 2, "failed": 1}
    assert [line for line in result.stderr.splitlines() if line.startswith("error: vox:")]


def test_a_failing_track_is_named_in_the_summary_and_the_code_is_one(
    run: Run, album: Path, tmp_path: Path, contents: Contents
) -> None:
    """The rest of the album is there, and the report."""
    (tmp_path / "stems/bass.wav").write_bytes(b"<html>not a sound</html>")
    result = run(album)
    assert result.exit_code == 1
    assert "failed: " in result.stdout
    assert "2 rendered, 1 failed" in result.stdout
    assert len([name for name in contents() if name.endswith(".wav") and name.startswith("renders/")]) == 2


def test_five_mistakes_are_five_red_lines_and_code_two(
    run: Run, make_stem: MakeStem, tmp_path: Path, contents: Contents
) -> None:
    """One line each on stderr, nothing on stdout, no traceback, nothing written."""
    make_stem("vox.wav")
    (tmp_path / "album.toml").write_text(
        '[album]\namont = 1\npreset = "tpe"\nquality = "best"\n'
        '[[track]]\nstem = "vix.wav"\n[[track]]\nstem = "vox.wav"\n[[track.chain]]\nplugin = "revreb"\n'
    )
    result = run("album.toml")
    assert result.exit_code == 2
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) == 5
    assert all(line.startswith("error: album.toml: ") for line in lines)
    assert contents() == ["album.toml", "vox.wav"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "STEM: none is given"),
        (["gone.wav", "-p", "tape"], "gone.wav: is not there"),
        (["vox.wav", "-p", "nope"], "--preset: no preset is called 'nope'"),
        (["vox.wav"], "--preset: is missing"),
        (["vox.wav", "-p", "tape", "--amount", "7"], "--amount: found 7.0; expected a number from 0"),
        (["vox.wav", "-p", "tape", "--device", "toaster"], "--device: found 'toaster'; expected one of auto, cpu"),
        (["vox.wav", "gone.toml"], "gone.toml: found 2 arguments; expected one album manifest alone"),
        (["gone.toml"], "gone.toml: does not exist"),
        ([".", "-p", "tape"], "is a folder"),
        (["vox.wav", "-p", "tape", "-o", "x.mp3"], "--out: found the ending '.mp3'"),
    ],
)
def test_wrong_usage_is_one_line_and_code_two(
    arguments: list[str], told: str, run: Run, make_stem: MakeStem, contents: Contents
) -> None:
    """What, where and the remedy; no traceback."""
    make_stem()
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert told in line
    assert contents() == ["vox.wav"]


def test_debug_shows_the_trace(run: Run, make_stem: MakeStem, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a mistake as an exception, of a failed stem on stderr."""
    make_stem()
    assert run("gone.wav", "-p", "tape", "--debug").exception is not None

    def boom(*_: object, **options: object) -> Tensor:
        raise ZeroDivisionError("boom")

    monkeypatch.setattr(style, "restyle_stream", boom)
    result = run("vox.wav", "-p", "tape", "--debug")
    assert result.exit_code == 1
    assert "Traceback" in result.stderr
    assert "unexpected ZeroDivisionError: boom" in result.stdout


def test_every_option_reaches_the_plan(run: Run, make_stem: MakeStem, tmp_path: Path) -> None:
    """One record holds them all."""
    make_stem()
    options = (
        "-p tape:1,rain:3 --amount 0.5 --mix 0.25 -q fine --seed 9 --device cpu --bit-depth 16 -f flac --overs scale"
    )
    result = run("vox.wav", *options.split(), "--tail-s", "0.5", "-o", "out/{seed}_{stem}", "-n", "--json")
    record = json.loads(result.stdout.splitlines()[0])
    assert record["output"] == "out/9_vox.flac"
    expected = {
        "preset": "tape25-rain75",
        "amount": 0.5,
        "mix": 0.25,
        "quality": "fine",
        "seed": 9,
        "device": "cpu",
        "format": "FLAC PCM_16",
        "overs": "scale",
        "frames": 1600 + 4000,
    }
    assert {key: record[key] for key in expected} == expected


def test_nothing_is_overwritten_unless_told(run: Run, make_stem: MakeStem) -> None:
    """Somebody else's file stays with code 2; --overwrite replaces it."""
    make_stem()
    Path("vox_tape.wav").write_text("mine")
    assert run("vox.wav", "-p", "tape").exit_code == 2
    assert Path("vox_tape.wav").read_text() == "mine"
    assert run("vox.wav", "-p", "tape", "--overwrite").exit_code == 0
    assert audio.probe("vox_tape.wav").frames == 1600


def test_no_chain_leaves_the_preset_s_chain_out(run: Run, make_stem: MakeStem) -> None:
    """The preset ``half`` turns the polarity round by its chain."""
    make_stem()
    assert run("vox.wav", "-p", "half", "-o", "with.wav").exit_code == 0
    assert run("vox.wav", "-p", "half", "-o", "without.wav", "--no-chain").exit_code == 0
    stem = audio.read("vox.wav").samples
    assert torch.allclose(audio.read("with.wav").samples, -stem, atol=2**-20)
    assert torch.allclose(audio.read("without.wav").samples, stem, atol=2**-20)


def test_the_schema_is_json(run: Run) -> None:
    """For an editor's settings."""
    assert json.loads(run("--schema").stdout)["title"] == "Gramophone album"


_SLOW = """
import sys, time
from pathlib import Path
from engine import style

def restyle_stream(source, *_, **options):
    Path("working").touch()
    step = source.samples // 600
    for start in range(0, 600 * step, step):
        time.sleep(0.1)
        yield source.read(start, step)
    yield source.read(600 * step, source.samples - 600 * step)

style.restyle_stream = restyle_stream
from render.cli import app
app(prog_name="render")
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_render_ends_with_130_and_leaves_no_temporary_file(
    number: signal.Signals, jobs: str, shelf: Library, make_stem: MakeStem, tmp_path: Path, contents: Contents
) -> None:
    """A real process, a real signal in the middle of the work, on one stem or on two at once."""
    stems = [make_stem(f"{name}.wav").name for name in ("bass", "vox")]
    options = ["-p", "tape", "--jobs", jobs, "--library", str(shelf.folder)]
    command = [sys.executable, "-c", _SLOW, "render", *stems, *options]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "working").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "interrupted: 0 rendered" in stdout
    assert "Traceback" not in stderr
    assert contents() == ["bass.wav", "vox.wav", "working"]


def test_the_house_runs_as_a_module() -> None:
    """``python -m render`` knows both commands and starts without torch, pedalboard or pydantic."""
    code = (
        "import runpy, sys\nsys.argv = ['render', '--help']\n"
        "try: runpy.run_module('render', run_name='__main__')\nexcept SystemExit: pass\n"
        "assert not {'torch', 'pedalboard', 'pydantic', 'numpy'} & set(sys.modules), 'too heavy'"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "render" in done.stdout
    assert "demo" in done.stdout
