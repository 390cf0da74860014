"""Ctrl-C at the real command line: exit code 130, nothing half, and what was done is not done again."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import gramophone
from engine import style
from engine.bench import endless
from presets import preset
from presets.library import Library

from .conftest import RATE, MakeStem

PATIENCE_S = 120.0
SECONDS = 31.0  # four segments and three around their seams: two batches of each pass on two cores

Event = dict[str, object]
Contents = Callable[[Path], list[str]]


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """A library with one real preset, whose renders take long enough to be interrupted."""
    library = Library(tmp_path_factory.mktemp("interrupted"))
    library.save(preset.new("organ", style.learn([endless.style(RATE, 1.0)], RATE)))
    return library


@pytest.fixture
def command(shelf: Library, make_stem: MakeStem, tmp_path: Path) -> list[str]:
    """An album of two stems on two threads, which tells its events as JSON."""
    stem = endless.endless(SECONDS, RATE, 1, loop_share=0.1)
    stems = [str(make_stem(f"{name}.wav", stem.read(0, stem.samples))) for name in "ab"]
    wishes = ["--preset", "organ", "--quality", "draft", "--device", "cpu", "--library", str(shelf.folder)]
    return [sys.executable, gramophone.__file__, "render", *stems, *wishes, "--out", str(tmp_path / "out"), "--json"]


ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "2"}


def interrupted(command: list[str], when: Callable[[Event], bool]) -> tuple[int, list[Event]]:
    """Run ``command``, interrupt it at the first event that ``when`` is true of; its exit code and events."""
    events: list[Event] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT) as process:
        assert process.stdout is not None
        for line in process.stdout:
            events.append(json.loads(line))
            if when(events[-1]):
                process.send_signal(signal.SIGINT)
                break
        rest, _ = process.communicate(timeout=PATIENCE_S)
    return process.returncode, events + [json.loads(line) for line in rest.splitlines()]


def kind(event: Event) -> object:
    """What an event tells, the engine's own included."""
    engine = event.get("engine")
    return engine["event"] if isinstance(engine, dict) else event["event"]


@pytest.mark.skipif(sys.platform == "win32", reason="signals of another kind")
@pytest.mark.parametrize(("stem", "what"), [(1, "stem_started"), (1, "iterate"), (2, "iterate")])
def test_an_interrupt_is_clean_and_the_next_run_goes_on(
    stem: int, what: str, command: list[str], contents: Contents, tmp_path: Path
) -> None:
    """Within either stem: 130, no partial file; the second run renders what is missing and nothing again."""
    code, events = interrupted(command, lambda event: event.get("index") == stem and kind(event) == what)
    assert code == 130
    assert events[-1]["event"] == "album_done"
    assert events[-1]["interrupted"] is True
    whole = [f"{name}_organ.wav" for name in "ab"]
    assert contents(tmp_path / "out") == whole[: stem - 1]
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.wav")}
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=PATIENCE_S, check=True)
    again = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["index"] for event in again if event["event"] == "stem_skipped"] == list(range(1, stem))
    assert [event["index"] for event in again if event["event"] == "stem_published"] == list(range(stem, 3))
    assert contents(tmp_path / "out") == whole
    assert all((tmp_path / "out" / name).stat().st_mtime_ns == when for name, when in before.items())
