"""What can go wrong inside a worker: steps of a chain, memory, presets that change; only its stem is touched by it."""

import json
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile

if TYPE_CHECKING:
    from tests.watch.conftest import Daemon

SECONDS = 0.25


def loud(daemon: "Daemon", relative: str) -> None:
    """A stem with a sample that the fixture plugins fail at."""
    path = daemon.folder / relative
    path.parent.mkdir(parents=True, exist_ok=True)
    sound = np.zeros((int(SECONDS * 48_000), 2))
    sound[700] = 0.95
    soundfile.write(path, sound, 48_000, "PCM_16")
    daemon.give()


def failed(daemon: "Daemon", name: str) -> str:
    """Wait until the stem has failed; its reason file."""
    daemon.until(lambda: daemon.states().get(name) == "failed", f"{name} has failed")
    text = (daemon.folder / "_failed" / f"{name}.txt").with_name(f"{Path(name).name}.txt")
    daemon.until(text.exists, "the reason is there")
    daemon.check(settled=False)
    return text.read_text()


@pytest.mark.parametrize(
    ("plugin", "words"),
    [("GramoCrash", "crashed (SIGSEGV)"), ("GramoHang", "did not answer"), ("GramoNan", "not finite")],
)
def test_a_plugin_file_that_fails(
    daemon: "Daemon", plugin_folder: Path, tmp_path: Path, plugin: str, words: str
) -> None:
    """A plugin that crashes, hangs or returns NaN fails the stem by its name; the stem beside it goes through."""
    (daemon.folder / "tape").mkdir()
    step = {"plugin": str(plugin_folder / f"{plugin}.vst3"), "parameters": {"armed": True}}
    written = "{ " + ", ".join(f"{key} = {_toml(value)}" for key, value in step.items()) + " }"
    (daemon.folder / "tape/watch.toml").write_text(f"chain = [{written}]\n")
    loud(daemon, "tape/loud.wav")
    loud(daemon, "rain/loud.wav")
    home = tmp_path / "home"
    home.mkdir()
    daemon.user.give(home)
    # A second for each block is for the one that never answers; on a loaded machine others may take it.
    strange = {"patch": "impatient"} if plugin == "GramoHang" else {}
    daemon.start(env={"HOME": str(home), "XDG_CACHE_HOME": str(home)}, strange=strange)
    reason = failed(daemon, "tape/loud.wav")
    assert plugin in reason
    assert words in reason
    daemon.until_states(rain__loud="done")
    assert daemon.log.count("is ready on") == 1  # the worker itself lives
    daemon.check()


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(inner)}" for key, inner in value.items()) + " }"
    return json.dumps(value)


@pytest.mark.parametrize(
    ("does", "words"),
    [
        ("segfault", "crashed (SIGSEGV)"),
        ("hang", "nothing came of it within"),
        ("short", "returned nothing"),
        ("nan", "not finite"),
    ],
)
def test_a_built_in_step_that_fails(daemon: "Daemon", does: str, words: str) -> None:
    """A step inside the worker that kills or hangs it costs its stem the attempts; wrong lengths and NaN fail it."""
    config = daemon.folder / "watch.toml"
    config.write_text(config.read_text() + "attempts = 2\n")
    daemon.drop("flip/vox.wav")
    daemon.drop("tape/vox.wav")
    # Short for the one that hangs and long for the other stem, which takes milliseconds.
    deadline = {"deadline_s": 4.0} if does == "hang" else {}
    daemon.start(strange={"patch": f"chain-{does}", **deadline})
    reason = failed(daemon, "flip/vox.wav")
    assert words in reason
    assert ("2 attempts" in reason) == (does in ("segfault", "hang"))
    daemon.until_states(tape__vox="done")
    assert daemon.outputs() == ["tape/vox.wav"]
    daemon.check()


def test_a_device_that_is_out_of_memory(daemon: "Daemon") -> None:
    """Tried again with growing pauses, then failed with the reason; the worker lives on."""
    config = daemon.folder / "watch.toml"
    config.write_text(config.read_text() + "attempts = 2\n")
    daemon.drop("tape/vox.wav")
    daemon.start(strange={"patch": "no-memory"})
    reason = failed(daemon, "tape/vox.wav")
    assert "more memory than there is" in reason
    assert "2 attempts" in reason
    assert daemon.log.count("is ready on") == 1
    daemon.check()


def test_a_preset_replaced_while_a_job_runs(daemon: "Daemon", shelf: Path, tmp_path: Path) -> None:
    """The stem under work keeps the preset it was begun with, in its output, its record and the ledger."""
    library = tmp_path / "shelf"
    shutil.copytree(shelf, library)
    daemon.library = library
    gate = tmp_path / "gate"
    daemon.start(env={"GRAMOPHONE_BARRIER": f"worker-render%first:wait={gate}"})
    daemon.drop("tape/first.wav")
    daemon.until(Path(f"{gate}.reached").exists, "the stem is under work")
    shutil.copy(library / "rain.gram.safetensors", library / "new")
    (library / "new").replace(library / "tape.gram.safetensors")
    time.sleep(0.2)
    gate.touch()
    daemon.until_states(tape__first="done")
    daemon.drop("tape/second.wav")
    daemon.drop("rain/third.wav")
    daemon.until_ended(3)
    hashes = {row.relative: row.preset_hash for row in daemon.rows("done")}
    assert hashes["tape/first.wav"] != hashes["tape/second.wav"]
    assert hashes["tape/second.wav"] == hashes["rain/third.wav"]
    records = {
        record["output"]: record["inputs"]["preset"]
        for path in (daemon.folder / "_out/tape/.gramophone/renders").glob("*.json")
        for record in [json.loads(path.read_text())]
    }
    assert records == {"first.wav": hashes["tape/first.wav"], "second.wav": hashes["tape/second.wav"]}
    daemon.check()


def test_the_real_recipe_from_end_to_end(daemon: "Daemon", tmp_path: Path) -> None:
    """A short stem through the default recipe, at draft: dropped, styled, as long as it was, and another sound."""
    from presets.learn import learn
    from presets.library import Library

    time_s = np.arange(22050) / 22050
    soundfile.write(tmp_path / "tape.wav", 0.3 * np.sign(np.sin(2 * np.pi * 110 * time_s)), 22050)
    library = Library(tmp_path / "shelf")
    learn([tmp_path / "tape.wav"], "tape", library=library, rate=22050)
    for path in library.folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    daemon.library = library.folder
    config = daemon.folder / "watch.toml"
    config.write_text(config.read_text() + 'quality = "draft"\n')
    path = daemon.folder / "tape/vox.wav"
    path.parent.mkdir()
    sound = 0.3 * np.sin(2 * np.pi * 440 * time_s)
    soundfile.write(path, sound, 22050, "PCM_24")
    assert daemon.once() == 0
    styled, rate = soundfile.read(daemon.folder / "_out/tape/vox.wav")
    assert (rate, styled.shape) == (22050, sound.shape)
    assert np.isfinite(styled).all()
    assert np.abs(styled - sound).max() > 0.01
    daemon.check()
    before = daemon.fingerprint()
    assert daemon.once() == 0
    assert daemon.fingerprint() == before
