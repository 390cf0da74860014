"""The README tells the truth: its commands run, in order, and its manifest, files and pictures are there."""

import functools
import re
import shlex
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import gramophone
from engine import audio, material
from render import demo

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
# What the README's files hold here, half a second each: enough to run every command, if not to enjoy it.
FILES = {"tape": "organ", "choir": "choir", "rain": "rain", "vox": "voice", "bass": "bass"}
SECONDS = 0.5


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def _commands() -> list[list[str]]:
    lines = [line for block in _blocks("console") for line in block.splitlines()]
    return [shlex.split(line, comments=True) for line in lines if line.strip()]


def test_its_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every gramophone command runs as written, in order, in a folder with the stems it names; renders in draft."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GRAMOPHONE_LIBRARY", str(tmp_path / "library"))
    for name, source in FILES.items():
        samples = torch.from_numpy(material.make(source, seconds=SECONDS))
        audio.write(f"{name}.wav", samples, 44100, demo.FORMAT)
    (tmp_path / "album.toml").write_text(_blocks("toml")[0], encoding="utf-8")
    run = 0
    for program, *arguments in _commands():
        if program == "make":
            continue
        assert program == "gramophone"
        quick = ["--quality", "draft"] if arguments[0] == "render" else []
        result = CliRunner().invoke(gramophone.app, arguments + quick)
        assert result.exit_code == 0, f"{arguments}: {result.output}"
        run += 1
    assert run >= 8
    assert (tmp_path / "tape-choir.png").is_file()
    assert len(list((tmp_path / "renders" / "Night Bus").glob("0[12]_*.wav"))) == 2


def test_the_demo_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`gramophone demo`, which `make demo` calls, ends well and says where to listen (half-second stems, draft)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "run", functools.partial(demo.run, seconds=SECONDS))
    result = CliRunner().invoke(gramophone.app, ["demo", "--quality", "draft"])
    assert result.exit_code == 0, result.output
    page = tmp_path / "demo" / "index.html"
    assert page.is_file()
    assert str(page) in result.output.replace("\n", "")


def test_its_make_targets_exist() -> None:
    """Every `make` target that is named anywhere in the README is in the Makefile."""
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {arguments[0] for program, *arguments in _commands() if program == "make"}
    named |= set(re.findall(r"`make (\w+)`", TEXT))
    assert {"demo", "test", "bench"} <= named <= targets


def test_the_files_it_names_exist() -> None:
    """Pictures and links to files lead somewhere, and so do the paths it tells to read."""
    links = [link for link in re.findall(r"\]\(([^)]+)\)", TEXT) if "://" not in link]
    paths = re.findall(r"`((?:engine|presets|render|watch|tests)/[\w/]+\.py|\w+\.md)`", TEXT)
    assert len(links) >= 1
    assert len(paths) >= 4
    assert [name for name in links + paths if not (ROOT / name).is_file()] == []


def test_its_picture_is_one() -> None:
    """The picture at the top is a PNG of sane size: below 1 MB."""
    picture = (ROOT / "docs" / "before-after.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) < 1_000_000
