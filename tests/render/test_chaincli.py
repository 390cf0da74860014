"""The ``chain`` commands as a user meets them: what they print, what they keep, and how they exit."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from render import children, scans
from render.chaincli import app

Run = Callable[..., Result]


@pytest.fixture
def run(plugins_here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run ``chain`` with the given arguments, in a terminal wide enough for a table."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_plugins_are_listed_with_what_is_wrong_with_them(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Built-ins, effects, instruments, and one that crashes; the second time no plugin is loaded at all."""
    first = json.loads(run("plugins", "--json").stdout)
    found = {entry["name"]: entry for entry in first}
    assert found["gain"]["built_in"]
    assert found["GramoGain"]["latency_samples"] == 100
    assert found["GramoSine"]["instrument"]
    assert "crashed (SIGSEGV)" in found["GramoBorn"]["problem"]

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a plugin was loaded")

    monkeypatch.setattr(scans, "Child", refuse)
    assert json.loads(run("plugins", "--json").stdout) == first
    table = run("plugins")
    assert table.exit_code == 0
    assert "100 samples late" in table.stdout
    assert run("plugins", "--rescan").exit_code == 1


def test_a_plugin_that_changes_is_looked_at_again(run: Run, tmp_path: Path, plugins_here: Path) -> None:
    """The cache knows a file by its size and time; another plugin in its place is seen at once."""
    binary = tmp_path / "Turn.vst3"
    kept = sorted((plugins_here / "GramoGain.vst3").rglob("*.so"))[0]
    other = sorted((plugins_here / "GramoMono.vst3").rglob("*.so"))[0]
    folder = binary / kept.relative_to(plugins_here / "GramoGain.vst3").parent
    folder.mkdir(parents=True)
    (folder / "Turn.so").write_bytes(kept.read_bytes())
    assert scans.scan(binary).plugins[0].name == "GramoGain"
    assert scans.known(binary)
    (folder / "Turn.so").write_bytes(other.read_bytes() + b" ")
    assert not scans.known(binary)
    assert scans.scan(binary).plugins[0].name == "GramoMono"


def test_a_cache_that_is_damaged_or_not_writable_is_no_matter(
    plugins_here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nonsense in it is looked past, and a file where its folder should be costs only time."""
    path = plugins_here / "GramoGain.vst3"
    good = scans.scan(path)
    for text in ("", "[]", "{}", '{"version": 1}', "\x00"):
        scans._place(path.absolute()).write_text(text)
        assert scans.scan(path) == good
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(scans, "folder", lambda: tmp_path / "file" / "cache")
    assert scans.scan(path) == good


def test_parameters_are_shown_with_what_they_take(run: Run) -> None:
    """Of a plugin file and of a built-in; an unknown plugin is one line with the nearest name, and exit code 2."""
    dials = {entry["name"]: entry for entry in json.loads(run("params", "GramoGain", "--json").stdout)}
    assert dials["gain_db"]["allowed"] == "a number from -60 to 24 dB"
    assert dials["voicing"]["words"] == ["Plain", "Half", "Mute"]
    assert "a number from -60 to 24 dB" in run("params", "GramoGain").stdout
    assert "a number from -100 to 24 dB" in run("params", "compressor").stdout
    wrong = run("params", "GramoGian")
    assert wrong.exit_code == 2
    assert "did you mean 'GramoGain'?" in wrong.stderr
    assert "expected one of GramoGain" in run("params", "GramoGain", "--plugin-name", "Other").stderr


def test_a_chain_is_checked_as_a_render_would(run: Run, tmp_path: Path) -> None:
    """A good one names its steps; a wrong one says all that is wrong, and exits with 2."""
    path = tmp_path / "chain.toml"
    path.write_text('[[chain]]\nplugin = "gain"\n[[chain]]\nplugin = "GramoGain"\nparameters = { gain_db = 3 }\n')
    good = run("check", path)
    assert good.exit_code == 0
    assert "2: GramoGain 1.0.0" in good.stdout
    assert "100 samples late" in good.stdout
    record = json.loads(run("check", path, "--json").stdout)
    assert record["ok"]
    assert record["steps"][1]["parameters"] == {"gain_db": 3.0}
    path.write_text('[[chain]]\nplugin = "gian"\n[[chain]]\nplugin = "GramoGain"\nparameters = { gain_db = 99 }\n')
    bad = run("check", path)
    assert bad.exit_code == 2
    assert "chain[1].plugin" in bad.stderr
    assert "chain[2].parameters.gain_db: found 99" in bad.stderr
    record = json.loads(run("check", path, "--json").stdout)
    assert not record["ok"]
    assert len(record["mistakes"]) == 2
    assert run("check", tmp_path / "none.toml").exit_code == 2
    children.POOL.close()


def test_a_chain_says_all_that_is_wrong_at_once(run: Run, tmp_path: Path, make_pipe: Callable[[Path], Path]) -> None:
    """Entries that name no plugin are lines among the others; a pipe is no chain, and not waited for."""
    path = tmp_path / "chain.toml"
    path.write_text('chain = [3, { ratio = 2 }, { plugin = 7 }, { plugin = "gian" }, { plugin = "gain", gain_bd = 1 }]')
    bad = run("check", path)
    assert bad.exit_code == 2
    keys = [line.split(": ")[1] for line in bad.stderr.splitlines()]
    assert keys == ["chain[1]", "chain[2].plugin", "chain[3].plugin", "chain[4].plugin", "chain[5].gain_bd"]
    bad = run("check", make_pipe(tmp_path / "pipe.toml"))
    assert bad.exit_code == 2
    assert "pipe.toml is no file; expected [[chain]] tables" in bad.stderr
