"""The files that start a daemon at login say exactly what is to run, whatever the folder is called."""

import plistlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from watch import units
from watch.errors import WatchError

NAMES = [
    "Stems",
    "My Stems",
    "100% $HOME",
    'a"b\\c',
    "ümlaut ✓",
    "tab\tand\nline",
    "\udcff",
    "-dash",
    "{x}",
    "it's; # no",
]


def _words(line: str) -> list[str]:
    """The arguments in a line of a unit as systemd reads them: quotes, escapes, then % and $."""
    words = []
    for quoted, plain in re.findall(r'"((?:[^"\\]|\\.)*)"|(\S+)', line):
        raw = re.sub(
            rb"\\(x[0-9a-f]{2}|.)",
            lambda m: bytes.fromhex(m[1][1:].decode()) if m[1][:1] == b"x" else m[1],
            quoted.encode(),
        )
        words.append(_single(raw.decode("utf-8", "surrogateescape") if quoted else plain, "%"))
    return [words[0], *(_single(word, "$") for word in words[1:])]


def _single(text: str, sign: str) -> str:
    """``text`` with each doubled ``sign`` once; a sign alone would mean something to systemd."""
    assert sign not in text.replace(sign * 2, "")
    return text.replace(sign * 2, sign)


def _value(unit: str, key: str) -> str:
    (line,) = [line for line in unit.splitlines() if line.startswith(f"{key}=")]
    return line.partition("=")[2]


@pytest.mark.parametrize("name", NAMES)
def test_a_unit_runs_the_very_command(name: str) -> None:
    """What systemd makes of ExecStart and Environment is what was meant, for every name that a folder can have."""
    folder = Path("/home/me") / name
    command = ["/opt/my tools/gramophone", "watch", "run", str(folder)]
    unit = units.systemd_unit(command, folder, environ={"GRAMOPHONE_LIBRARY": f"/x/{name}"})
    assert _words(_value(unit, "ExecStart")) == command
    environment = _value(unit, "Environment").replace("$", "$$")  # where it means nothing
    assert _words(f"x {environment}")[1] == f"GRAMOPHONE_LIBRARY=/x/{name}"
    assert [line for line in unit.splitlines() if line and not re.match(r"\[\w+\]$|\w+=|# ", line)] == []


def test_a_unit_knows_how_the_daemon_ends() -> None:
    """Notify, watchdog, SIGHUP for a reload, grace before the kill, and no restart where that cannot help."""
    unit = units.systemd_unit(["/bin/x"], Path("/stems"), grace_s=60)
    assert _value(unit, "Type") == "notify"
    assert int(_value(unit, "WatchdogSec")) > 0
    assert _value(unit, "KillMode") == "mixed"
    assert int(_value(unit, "TimeoutStopSec")) > 60
    assert _value(unit, "RestartPreventExitStatus") == "2 75"
    assert "HUP" in _value(unit, "ExecReload")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_systemd_itself_finds_nothing_wrong(tmp_path: Path) -> None:
    """systemd's own checker reads the unit without a word about it."""
    folder = tmp_path / 'My "Stems" 100% $x'
    path = tmp_path / f"{units.label(folder)}.service"
    path.write_text(units.systemd_unit(["/bin/true", "watch", "run", str(folder)], folder))
    done = subprocess.run(["systemd-analyze", "verify", path], capture_output=True, text=True, timeout=60)
    if "Failed to" in done.stderr and "manager" in done.stderr:
        pytest.skip("systemd-analyze needs a manager here")
    assert path.name not in done.stderr
    assert done.returncode == 0


@pytest.mark.parametrize("name", [name for name in NAMES if name != "\udcff"])
def test_an_agent_runs_the_very_command(name: str) -> None:
    """launchd's property list holds the arguments as they are; it starts at login and again after a crash."""
    folder = Path("/Users/me") / name
    command = ["/opt/gramophone", "watch", "run", str(folder)]
    agent = plistlib.loads(
        units.launchd_plist(command, folder, folder / ".gramophone/launchd.log", environ={"GRAMOPHONE_LIBRARY": "/x"})
    )
    assert agent["ProgramArguments"] == command
    assert agent["Label"] == units.label(folder)
    assert agent["RunAtLoad"] is True
    assert agent["KeepAlive"] == {"SuccessfulExit": False}
    assert agent["EnvironmentVariables"] == {"GRAMOPHONE_LIBRARY": "/x"}
    assert agent["ExitTimeOut"] > 30


def test_what_xml_cannot_hold_is_refused() -> None:
    """A name that is no text cannot stand in a property list: told, with the remedy."""
    with pytest.raises(WatchError, match="rename"):
        units.launchd_plist(["x"], Path("/a/\udcff"), Path("/log"))


def test_every_folder_has_a_service_of_its_own() -> None:
    """Two folders of one name do not share one; the name is one that systemd and launchd take."""
    labels = [units.label(Path("/a") / name) for name in NAMES] + [units.label(Path("/b/Stems"))]
    assert len(set(labels)) == len(labels)
    assert all(re.fullmatch(r"gramophone-watch-[a-z0-9-]+", label) for label in labels)
