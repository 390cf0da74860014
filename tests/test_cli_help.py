"""The command line answers at once: help and version import nothing heavy, and every command explains itself."""

import subprocess
import sys
from importlib.metadata import version

import pytest

HEAVY = ("torch", "torchaudio", "librosa", "pedalboard", "matplotlib", "scipy", "soundfile", "soxr", "jinja2")
# Runs the command in this interpreter and reports which of the heavy modules it pulled in.
PROBE = """
import sys, gramophone
sys.argv = ["gramophone", *sys.argv[1:]]
try:
    gramophone.main()
finally:
    print("HEAVY", *(name for name in {heavy!r} if name in sys.modules))
"""


def _run(*arguments: str) -> tuple[str, list[str]]:
    probe = PROBE.format(heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", probe, *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    text, _, heavy = done.stdout.rpartition("HEAVY")
    return text, heavy.split()


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("render", "--help"),
        ("demo", "--help"),
        ("preset", "--help"),
        ("preset", "learn", "--help"),
        ("recipes", "--help"),
        ("bench", "--help"),
        ("doctor", "--help"),
    ],
)
def test_help_is_light(arguments: tuple[str, ...]) -> None:
    """Help is printed without importing torch or anything else that takes its time."""
    text, heavy = _run(*arguments)
    assert "Usage: gramophone" in text
    assert heavy == []


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("render",), ("[[chain]]", "[default: 1 on a CPU, 8 on a GPU]")),
        (("preset", "learn"), ("[[chain]]", "[default: $GRAMOPHONE_LIBRARY")),
        (("preset", "train"), ("[default: on a GPU]",)),
        (("watch", "run"), ("[default: watch.toml's]",)),
        (("chain", "check"), ("[[chain]]",)),
    ],
)
def test_help_keeps_its_brackets(
    command: tuple[str, ...], words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stands in brackets is not taken for the markup that help is drawn with."""
    monkeypatch.setenv("COLUMNS", "300")
    text, _ = _run(*command, "--help")
    for each in words:
        assert each in text


def test_help_names_every_command() -> None:
    """The top help lists the ways in."""
    text, _ = _run("--help")
    for command in ("preset", "render", "demo", "recipes", "bench", "doctor"):
        assert command in text


def test_version() -> None:
    """``--version`` prints the installed version and nothing more."""
    text, heavy = _run("--version")
    assert text.strip() == f"gramophone {version('gramophone')}"
    assert heavy == []
