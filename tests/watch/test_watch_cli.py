"""The watch commands as a user meets them: what they print, how they exit, and that they are light."""

import json
import os
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import gramophone
from watch import ledgerfile, lock, setup, tables
from watch.cli import app
from watch.ledger import Ledger
from watch.lock import Lock
from watch.options import RunOptions

Run = Callable[..., Result]
HEAVY = ("torch", "numpy", "soundfile", "librosa", "pedalboard", "matplotlib", "scipy")


@dataclass(frozen=True)
class Shot:
    """A snapshot."""

    size: int = 1
    mtime_ns: int = 2
    ctime_ns: int = 3
    inode: int = 4
    device: int = 5


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A watched folder in which one stem waits, one is done and one failed and was put aside."""
    made = tmp_path / "Stems"
    (made / "tape").mkdir(parents=True)
    (made / "_failed/tape").mkdir(parents=True)
    (made / "_failed/tape/bad.wav").write_text("x")
    with Ledger.open(made / ".gramophone" / ledgerfile.NAME)[0] as ledger:
        ledger.found("tape/good.wav", Shot())
        ledger.found("tape/bad.wav", Shot())
        good, bad = ledger.claim(2, "me")
        ledger.published(good.id, "_out/tape/good.wav", "ab", 4)
        ledger.done(good.id)
        ledger.failed(bad.id, "no sound", moved_to="_failed/tape/bad.wav")
        ledger.found("tape/new.wav", Shot())
    return made


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a watch command with an empty library, in the test's folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GRAMOPHONE_LIBRARY", str(tmp_path / "library"))

    def invoke(*arguments: object) -> Result:
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return invoke


def test_status_tells_people(run: Run, folder: Path) -> None:
    """Counts, the failed stem with its reason, and that nobody watches."""
    result = run("status", folder)
    assert result.exit_code == 0
    for part in ("1 waiting, 0 working, 1 done, 1 failed", "tape/bad.wav", "no sound", "not watched now"):
        assert part in result.stdout


def test_status_tells_programs(run: Run, folder: Path) -> None:
    """One JSON object and nothing else."""
    record = json.loads(run("status", folder, "--json").stdout)
    assert record["counts"] == {"waiting": 1, "working": 0, "done": 1, "failed": 1, "gone": 0}
    assert record["daemon"] is None


def test_status_answers_while_the_daemon_writes(run: Run, folder: Path) -> None:
    """A daemon in the middle of a transaction keeps nobody waiting; what it has not committed is not told."""
    with (
        Lock.acquire(folder / ".gramophone" / lock.NAME, folder),
        Ledger.open(folder / ".gramophone" / ledgerfile.NAME)[0] as ledger,
        ledger.transaction(),
    ):
        ledger.found("tape/newer.wav", Shot())
        record = json.loads(run("status", folder, "--json").stdout)
    assert record["counts"]["waiting"] == 1
    assert record["daemon"]["pid"] == os.getpid()


def test_pause_and_resume(run: Run, folder: Path) -> None:
    """The flag is in the ledger, with its reason."""
    assert "paused" in run("pause", folder, "--reason", "dinner").stdout
    assert "paused: dinner" in run("status", folder).stdout
    assert json.loads(run("resume", folder, "--json").stdout) == {"paused": None, "was_paused": True}
    assert "not paused" in run("resume", folder).stdout
    assert json.loads(run("pause", folder, "--json").stdout) == {"paused": "by hand"}


def test_retry_brings_back_what_failed(run: Run, folder: Path) -> None:
    """Without a name, all that failed; then there is nothing left."""
    result = run("retry", folder)
    assert result.exit_code == 0
    assert "tape/bad.wav waits again" in result.stdout
    assert (folder / "tape/bad.wav").is_file()
    assert "nothing failed" in run("retry", folder).stdout
    assert json.loads(run("retry", folder, "bad.wav", "--json").stdout) == {"waiting": ["tape/bad.wav"], "left": []}


def test_retry_says_what_it_cannot(run: Run, folder: Path) -> None:
    """A done stem whose source is gone: exit code 1 and the reason; an unknown name: 2."""
    result = run("retry", folder, "good.wav")
    assert result.exit_code == 1
    assert "tape/good.wav: its source is gone" in result.stderr
    result = run("retry", folder, "godo.wav")
    assert result.exit_code == 2
    assert "no stem 'godo.wav'" in result.stderr


@pytest.mark.parametrize("command", ["status", "retry", "pause", "resume"])
def test_a_folder_that_was_never_watched(run: Run, tmp_path: Path, command: str) -> None:
    """Exit code 2, one line that says how to begin, and nothing made; the same for one that is not there."""
    (tmp_path / "empty").mkdir()
    for name, words in (("empty", "gramophone watch run"), ("nowhere", "gramophone watch init nowhere")):
        result = run(command, name)
        assert result.exit_code == 2
        assert words in result.stderr
        assert len(result.stderr.splitlines()) == 1
    assert list((tmp_path / "empty").iterdir()) == []


def test_state_can_be_elsewhere(run: Run, folder: Path, tmp_path: Path) -> None:
    """For a folder on a network share, and when that is away."""
    (folder / ".gramophone").rename(tmp_path / "state")
    assert run("status", folder).exit_code == 2
    assert "1 failed" in run("status", folder, "--state", tmp_path / "state").stdout
    assert "1 failed" in run("status", tmp_path / "away", "--state", tmp_path / "state").stdout


@pytest.fixture
def daemon(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, RunOptions]]:
    """A stand-in for the daemon that ends at once, with exit code 5; what it was given."""
    from watch import daemon as real

    given: list[tuple[Path, RunOptions]] = []

    def stand_in(folder: Path, options: RunOptions) -> int:
        given.append((folder, options))
        return 5

    monkeypatch.setattr(real, "run", stand_in)
    return given


def test_run_hands_over_what_was_said(run: Run, folder: Path, daemon: list[tuple[Path, RunOptions]]) -> None:
    """Every option reaches the daemon, and its exit code the shell."""
    result = run(
        *("run", folder, "--poll", "--device", "cpu", "--workers", 2, "--library", "lib", "--state", "state"),
        *("--once", "--grace", 3, "--json", "--verbose"),
    )
    assert result.exit_code == 5
    expected = RunOptions(Path("state"), True, "cpu", 2, Path("lib"), True, 3.0, True, True)
    assert daemon == [(folder, expected)]
    assert run("run", folder).exit_code == 5
    assert daemon[1] == (folder, RunOptions())


def test_run_wants_a_folder(run: Run, daemon: list[tuple[Path, RunOptions]], tmp_path: Path) -> None:
    """One that is not there is a mistake of typing more often than a wish: exit code 2, and how to make it."""
    result = run("run", "Stmes")
    assert (result.exit_code, daemon) == (2, [])
    assert "gramophone watch init Stmes" in result.stderr


def test_a_second_daemon_is_told_of_the_first(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 75, and the process id of the one that watches."""
    from watch import daemon as real

    def locked(folder: Path, options: RunOptions) -> int:
        Lock.acquire(folder / ".gramophone" / lock.NAME, folder)
        return 0

    monkeypatch.setattr(real, "run", locked)
    with Lock.acquire(folder / ".gramophone" / lock.NAME, folder):
        result = run("run", folder)
    assert result.exit_code == 75
    assert f"process id {os.getpid()}" in result.stderr


def test_init_makes_what_is_missing(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Config, folders, unit and agent; a second time all of it is kept as it is."""
    monkeypatch.setenv("GRAMOPHONE_PLUGIN_PATH", f"/x/one{os.pathsep}/y")
    result = run("init", "My Stems", "-p", "tape", "-p", "tape70-choir30")
    assert result.exit_code == 0, result.output
    made = tmp_path / "My Stems"
    assert sorted(p.name for p in made.iterdir()) == [".gramophone", "tape", "tape70-choir30", "watch.toml"]
    (unit,) = (made / ".gramophone").glob("*.service")
    assert str(made) in unit.read_text()
    assert f"GRAMOPHONE_LIBRARY={tmp_path / 'library'}" in unit.read_text()
    assert "GRAMOPHONE_PLUGIN_PATH=/x/one:/y" in unit.read_text()
    assert shlex.quote(str(unit)) in result.stdout
    assert "no preset or blend is called tape yet" in result.stdout
    (made / "watch.toml").write_text("mine")
    record = json.loads(run("init", "My Stems", "-p", "tape", "-p", "rain", "--json").stdout)
    assert record["made"] == [str(made / "rain")]
    assert record["unknown"] == ["tape", "rain"]
    assert str(made / "watch.toml") in record["kept"]
    assert (made / "watch.toml").read_text() == "mine"


def test_init_without_presets_says_how_to_learn_one(run: Run) -> None:
    """An empty library leaves an empty folder, and a hint."""
    assert "gramophone preset learn" in run("init", "Stems").stdout


@pytest.mark.parametrize("name", ["_hidden", ".hidden", "a/b", "..", "x.part"])
def test_init_makes_no_folder_that_is_never_watched(run: Run, name: str) -> None:
    """A name that the daemon passes over is refused, with the other way to have that preset."""
    result = run("init", "Stems", "-p", name)
    assert result.exit_code == 2
    assert "watch.toml" in result.stderr


def test_the_config_that_init_writes_is_right(tmp_path: Path) -> None:
    """As it stands it says nothing; with every comment that is a setting taken out, the daemon takes it all."""
    assert tomllib.loads(setup.CONFIG) == {}
    settings = [
        line[2:] for line in setup.CONFIG.splitlines() if line.startswith("# ") and ("=" in line or "[[" in line)
    ]
    document = tomllib.loads("\n".join(settings))
    assert {"preset", "amount", "chain", "after", "failed"} | set(tables.DAEMON) <= set(document)
    checked = tables.check(document, "watch.toml", "root")
    assert checked.mistakes == ()


@pytest.mark.parametrize(
    "arguments",
    [("--help",), ("run", "--help"), ("status", "--help"), ("init", "--help"), ("status", "Stems", "--json")],
)
def test_commands_are_light(folder: Path, arguments: tuple[str, ...]) -> None:
    """Neither help nor status imports torch, numpy or anything else that takes its time."""
    probe = f"""
import sys, gramophone
sys.argv = ["gramophone", "watch", *sys.argv[1:]]
try:
    gramophone.main()
finally:
    print("HEAVY", *(name for name in {HEAVY!r} if name in sys.modules))
"""
    done = subprocess.run(
        [sys.executable, "-c", probe, *arguments], capture_output=True, text=True, timeout=60, cwd=folder.parent
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.rpartition("HEAVY")[2].split() == []


def test_watch_stands_in_the_one_command_line() -> None:
    """`gramophone watch` has them all, and `python -m watch` too."""
    result = CliRunner().invoke(gramophone.app, ["watch", "--help"])
    module = subprocess.run([sys.executable, "-m", "watch", "--help"], capture_output=True, text=True, timeout=60)
    for text in (result.stdout, module.stdout):
        for command in ("run", "status", "retry", "pause", "resume", "init"):
            assert command in text


def test_windows_is_told_where_it_works(
    run: Run, folder: Path, daemon: list[tuple[Path, RunOptions]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where workers cannot be listened to there is no daemon, and one line that says so; looking at one goes on."""
    from watch import cli

    monkeypatch.setattr(cli, "_PIPES", False)
    result = run("run", folder)
    assert result.exit_code == 2
    assert "WSL" in result.stderr
    assert daemon == []
    assert run("status", folder).exit_code == 0
