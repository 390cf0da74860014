"""The daemon as a whole: what is dropped is styled, once, and everything stays true whatever happens meanwhile."""

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import mido
import numpy as np
import pytest
import soundfile

if TYPE_CHECKING:
    from tests.watch.conftest import Daemon

EXIT_LOCKED = 75


def test_a_stem_dropped_in_appears_styled(daemon: "Daemon") -> None:
    """A stem copied into a folder named after a preset comes back under its own name, with no command typed."""
    daemon.start()
    source = daemon.drop("tape/vox.wav")
    daemon.drop("tape/takes/bass line.flac")
    daemon.drop("flip/keys.wav")
    daemon.until_ended(3)
    assert daemon.outputs() == ["flip/keys.wav", "tape/takes/bass line.flac", "tape/vox.wav"]
    assert np.array_equal(soundfile.read(daemon.folder / "_out/tape/vox.wav")[0], soundfile.read(source)[0])
    flipped = soundfile.read(daemon.folder / "_out/flip/keys.wav")[0]
    assert np.array_equal(flipped, -soundfile.read(daemon.folder / "flip/keys.wav")[0])
    daemon.check()
    assert daemon.stop() == 0
    daemon.check()


def test_running_again_changes_nothing(daemon: "Daemon") -> None:
    """A second run over a finished folder writes and moves nothing; a new ledger does not render again either."""
    daemon.drop("tape/vox.wav")
    daemon.drop("tape/Vox.flac")
    (daemon.folder / "tape" / "broken.wav").write_bytes(b"no sound")
    assert daemon.once() == 1
    before = daemon.fingerprint()
    assert daemon.outputs() == ["tape/Vox.flac", "tape/vox (2).wav"]
    assert sorted(path.name for path in (daemon.folder / "_failed/tape").iterdir()) == ["broken.wav", "broken.wav.txt"]
    daemon.check()
    assert daemon.once() == 1
    assert daemon.fingerprint() == before
    shutil.rmtree(daemon.state)
    assert daemon.once() == 1  # what failed is known again
    assert daemon.fingerprint() == before
    assert daemon.log.count("which was there") == 2
    daemon.check()


def test_a_new_content_goes_over_the_earlier_output(daemon: "Daemon") -> None:
    """A stem that is dropped again with other sound replaces its own output and nobody else's."""
    daemon.start()
    daemon.drop("tape/vox.wav", seed=1)
    daemon.until_ended(1)
    daemon.drop("tape/vox.wav", 0.1, seed=2)
    daemon.until(lambda: len(daemon.rows()) == 1 and daemon.rows()[0].frames == 800, "the new content is done")
    assert daemon.outputs() == ["tape/vox.wav"]
    there = soundfile.read(daemon.folder / "_out/tape/vox.wav")[0]
    assert np.array_equal(there, soundfile.read(daemon.folder / "tape/vox.wav")[0])
    daemon.check()


@pytest.mark.parametrize("after", ["move", "delete"])
def test_the_source_goes_where_the_folder_says(daemon: "Daemon", after: str) -> None:
    """Once its output is safe a source is moved to ``_done`` or deleted; what lies there already keeps its name."""
    path = daemon.folder / "tape" / "watch.toml"
    path.parent.mkdir()
    path.write_text(f'after = "{after}"\n')
    taken = daemon.folder / "_done" / "tape" / "vox.wav"
    taken.parent.mkdir(parents=True)
    taken.write_bytes(b"another")
    source = daemon.drop("tape/vox.wav")
    content = source.read_bytes()
    assert daemon.once() == 0
    assert not source.exists()
    assert taken.read_bytes() == b"another"
    moved = taken.with_name("vox (2).wav")
    assert moved.exists() == (after == "move")
    assert after == "delete" or moved.read_bytes() == content
    daemon.check()
    before = daemon.fingerprint()
    assert daemon.once() == 0
    assert daemon.fingerprint() == before


def test_a_broken_stem_fails_with_a_reason_and_can_be_retried(daemon: "Daemon") -> None:
    """What cannot be rendered goes to ``_failed`` with a text; mended and retried, it is rendered."""
    path = daemon.drop("tape/vox.wav", subtype="FLOAT")
    sound, rate = soundfile.read(path)
    soundfile.write(path, np.full_like(sound, np.nan), rate, "FLOAT")
    daemon.start()
    daemon.until_states(tape__vox="failed")
    aside = daemon.folder / "_failed/tape/vox.wav"
    daemon.until(aside.exists, "the source is moved")
    assert "NaN" in aside.with_name("vox.wav.txt").read_text()
    daemon.check()
    soundfile.write(aside, sound, rate, "FLOAT")
    assert daemon.command("retry").returncode == 0
    daemon.until_states(tape__vox="done")
    assert not aside.exists()
    daemon.check()


def test_a_missing_preset_is_waited_for(make_daemon: "Callable[..., Daemon]", shelf: Path, tmp_path: Path) -> None:
    """A stem for a preset that is not learnt yet waits with that reason, and goes on by itself once it is."""
    library = tmp_path / "library"
    library.mkdir()
    daemon = make_daemon(library=library)
    daemon.start()
    daemon.drop("tape/vox.wav")
    daemon.until(lambda: [row for row in daemon.rows("found") if row.reason], "the stem waits for its preset")
    [row] = daemon.rows("found")
    assert "tape" in (row.reason or "")
    daemon.check()
    shutil.copy(shelf / "tape.gram.safetensors", library)
    daemon.until_states(tape__vox="done")


def test_a_mistake_in_the_settings_is_waited_for(daemon: "Daemon") -> None:
    """A bad watch.toml fails nothing: the stems of its folder wait with all that is wrong, and mending it is enough."""
    (daemon.folder / "tape").mkdir()
    (daemon.folder / "tape" / "watch.toml").write_text("amont = 0.5\nmix = 7\n")
    daemon.drop("tape/vox.wav")
    daemon.drop("rain/bass.wav")
    daemon.start()
    daemon.until_states(rain__bass="done")
    daemon.until(lambda: [row for row in daemon.rows("found") if row.reason], "the stem waits")
    [row] = daemon.rows("found")
    assert "amont" in (row.reason or "")
    assert "mix" in (row.reason or "")
    (daemon.folder / "tape" / "watch.toml").write_text("mix = 0.7\n")
    daemon.until_states(tape__vox="done")
    daemon.check()


def test_pause_and_resume(daemon: "Daemon") -> None:
    """While paused nothing is begun; resumed, everything is."""
    daemon.start()
    daemon.drop("tape/first.wav")
    daemon.until_states(tape__first="done")
    assert daemon.command("pause").returncode == 0
    daemon.drop("tape/second.wav")
    daemon.until_states(tape__second="found")
    time.sleep(1.0)
    assert daemon.states()["tape/second.wav"] == "found"
    assert daemon.command("resume").returncode == 0
    daemon.until_states(tape__second="done")


def test_a_second_daemon_is_turned_away(daemon: "Daemon") -> None:
    """One folder has one daemon; the second names the first and leaves with 75, and the first goes on."""
    daemon.start()
    second = daemon.command("run", "--library", str(daemon.library))
    assert second.returncode == EXIT_LOCKED
    assert str(daemon.pid) in second.stderr
    daemon.drop("tape/vox.wav")
    daemon.until_states(tape__vox="done")


def test_sigterm_lets_a_stem_end(daemon: "Daemon", tmp_path: Path) -> None:
    """The first SIGTERM waits for what is under work; what was not begun waits for the next daemon."""
    gate = tmp_path / "gate"
    daemon.start(env={"GRAMOPHONE_BARRIER": f"worker-render:wait={gate}"})
    daemon.drop("tape/a.wav")
    daemon.until(lambda: Path(f"{gate}.reached").exists(), "the stem is under work")
    daemon.drop("tape/b.wav")
    daemon.until(lambda: len(daemon.states()) == 2, "the second is known")
    daemon.send(signal.SIGTERM)
    daemon.until(lambda: "stopping" in daemon.log, "it stops")
    gate.touch()
    assert daemon.wait() == 0
    assert daemon.states() == {"tape/a.wav": "done", "tape/b.wav": "found"}
    daemon.check()
    assert daemon.once() == 0


def test_a_sound_that_waits_to_be_published_is_rendered(daemon: "Daemon", tmp_path: Path) -> None:
    """Whole and not yet at its name for longer than a moment, the ledger says so, with the name; then it is done."""
    gate = tmp_path / "gate"
    daemon.start(env={"GRAMOPHONE_BARRIER": f"worker-rendered:wait={gate}"})
    daemon.drop("tape/vox.wav")
    daemon.until_states(tape__vox="rendered")
    [row] = daemon.rows()
    assert row.output == "_out/tape/vox.wav"
    gate.touch()
    daemon.until_states(tape__vox="done")
    daemon.check()


def test_a_second_sigterm_ends_at_once(daemon: "Daemon", tmp_path: Path) -> None:
    """The second signal gives the stem back and leaves no temporary file; the next daemon renders it."""
    daemon.start(env={"GRAMOPHONE_BARRIER": f"worker-render:wait={tmp_path / 'gate'}"})
    daemon.drop("tape/vox.wav")
    daemon.until(lambda: (tmp_path / "gate.reached").exists(), "the stem is under work")
    daemon.send(signal.SIGTERM)
    daemon.until(lambda: "stopping" in daemon.log, "it stops")
    daemon.send(signal.SIGTERM)
    assert daemon.wait() == 0
    [row] = daemon.rows()
    assert (row.state, row.attempts, row.owner) == ("found", 0, None)
    assert daemon.once() == 0
    daemon.check()


def test_ctrl_c_ends_with_130(daemon: "Daemon") -> None:
    """An interrupt says so in its exit code."""
    daemon.start()
    assert daemon.stop(signal.SIGINT) == 130


def test_sighup_reads_the_settings_again(daemon: "Daemon") -> None:
    """What holds for the daemon as a whole is read anew, workers included."""
    daemon.start()
    daemon.until(lambda: daemon.log.count("is ready on") == 1, "one worker is ready")
    config = daemon.folder / "watch.toml"
    config.write_text(config.read_text() + "workers = 2\n")
    daemon.send(signal.SIGHUP)
    daemon.until(lambda: daemon.log.count("is ready on") == 3, "two new workers are ready")
    assert len(daemon.workers()) == 2
    daemon.drop("tape/vox.wav")
    daemon.until_states(tape__vox="done")


def test_each_device_has_a_worker(daemon: "Daemon") -> None:
    """One for each that the first one finds, unless a number was asked for."""
    daemon.start(strange={"null": True}, env={"GRAMOPHONE_NULL_DEVICES": "3"})
    daemon.until(lambda: daemon.log.count("is ready on") == 3, "three workers are ready")
    daemon.drop("tape/vox.wav")
    daemon.until_states(tape__vox="done")
    assert len(daemon.workers()) == 3
    assert daemon.stop() == 0
    daemon.start("--workers", "1", strange={"null": True}, env={"GRAMOPHONE_NULL_DEVICES": "3"})
    daemon.drop("tape/bass.wav")
    daemon.until_states(tape__bass="done")
    assert len(daemon.workers()) == 1


def test_what_failed_is_known_again_to_a_new_ledger(daemon: "Daemon") -> None:
    """Without its ledger the daemon tells of what lies in _failed, and a retry brings it back."""
    path = daemon.drop("tape/vox.wav", subtype="FLOAT")
    good = path.read_bytes()
    sound, rate = soundfile.read(path)
    soundfile.write(path, np.full_like(sound, np.nan), rate, "FLOAT")
    daemon.drop("tape/bass.wav")
    assert daemon.once() == 1
    aside = daemon.folder / "_failed/tape/vox.wav"
    (aside.parent / "a note of mine.txt").write_text("no stem")
    before = daemon.fingerprint()
    (daemon.state / "ledger.sqlite").write_bytes(b"garbage" * 1000)
    assert daemon.once() == 1
    assert daemon.fingerprint() == before
    assert daemon.states() == {"tape/vox.wav": "failed", "tape/bass.wav": "done"}
    assert "NaN" in str(daemon.status()["failed"])
    daemon.check()
    aside.write_bytes(good)
    assert daemon.command("retry").returncode == 0
    assert daemon.once() == 0
    assert daemon.outputs() == ["tape/bass.wav", "tape/vox.wav"]
    daemon.check()


def test_a_stem_that_kills_every_worker_fails_and_the_others_do_not(daemon: "Daemon") -> None:
    """After its attempts it is given up with the reason; a stem behind it is rendered."""
    config = daemon.folder / "watch.toml"
    config.write_text(config.read_text() + "attempts = 2\n")
    daemon.drop("tape/a-poison.wav")
    daemon.drop("tape/b.wav")
    daemon.start("--once", env={"GRAMOPHONE_BARRIER": "worker-render%a-poison:kill"}, wait=False)
    assert daemon.wait() == 1
    assert daemon.states() == {"tape/a-poison.wav": "failed", "tape/b.wav": "done"}
    reason = (daemon.folder / "_failed/tape/a-poison.wav.txt").read_text()
    assert "SIGKILL" in reason
    assert "2 attempts" in reason
    daemon.check()


def test_an_output_folder_that_refuses_is_waited_for(daemon: "Daemon", tmp_path: Path) -> None:
    """While nothing can be written work waits, told once; as soon as it can be, it goes on by itself."""
    sticky = tmp_path / "full"
    sticky.touch()
    daemon.start(env={"GRAMOPHONE_BARRIER": f"worker-render:error=ENOSPC={sticky}"})
    for name in "abcd":
        daemon.drop(f"tape/{name}.wav")
    daemon.until(lambda: "No space left" in daemon.log, "the full disk is told")
    time.sleep(2.0)
    assert set(daemon.states().values()) <= {"found", "claimed"}
    assert daemon.log.count("work for ") == 1
    assert "No space left" in str(daemon.status()["notices"])
    sticky.unlink()
    daemon.until_ended(4)
    assert set(daemon.states().values()) == {"done"}
    daemon.until(lambda: daemon.status()["notices"] == {}, "the notice is withdrawn")
    daemon.check()


def test_low_disk_space_pauses_work(daemon: "Daemon") -> None:
    """With less free than asked for nothing is begun; the daemon says so once."""
    config = daemon.folder / "watch.toml"
    config.write_text(config.read_text().replace("min_free_mb = 0", "min_free_mb = 900_000_000.0"))
    daemon.drop("tape/vox.wav")
    daemon.start()
    daemon.until(lambda: "MB free" in daemon.log, "it says that there is too little")
    daemon.until(lambda: "is ready on" in daemon.log, "a worker could begin")
    daemon.until_states(tape__vox="found")
    time.sleep(1.0)
    assert daemon.log.count("MB free") == 1
    assert daemon.states() == {"tape/vox.wav": "found"}
    config.write_text(config.read_text().replace("900_000_000.0", "0"))
    daemon.send(signal.SIGHUP)
    daemon.until_states(tape__vox="done")


def test_the_root_removed_and_made_again(daemon: "Daemon") -> None:
    """A folder that vanishes with its state is waited for, and watched again when it is back."""
    daemon.start()
    daemon.drop("tape/vox.wav")
    daemon.until_states(tape__vox="done")
    daemon.remove()
    daemon.until(lambda: "is not there; waiting" in daemon.log, "it waits for the folder")
    assert not daemon.folder.exists()
    daemon.drop("tape/bass.wav")
    (daemon.folder / "watch.toml").write_text("settle_s = 0.1\nmin_free_mb = 0\n")
    daemon.until_states(tape__bass="done")
    daemon.check()


def test_a_ledger_that_is_damaged_is_set_aside(daemon: "Daemon") -> None:
    """Garbage in place of the ledger costs nothing: what was done is recognised."""
    daemon.drop("tape/vox.wav")
    assert daemon.once() == 0
    before = daemon.fingerprint()
    for path in daemon.state.glob("ledger.sqlite*"):
        path.write_bytes(b"garbage" * 1000)
    assert daemon.once() == 0
    assert (daemon.state / "ledger.sqlite.corrupt-1").exists()
    assert daemon.fingerprint() == before
    daemon.check()


def test_a_slow_copy_is_taken_when_it_is_whole(daemon: "Daemon", tmp_path: Path) -> None:
    """A file that grows with pauses is not taken before its declared length is there."""
    whole = daemon.drop("tape/x.wav", 0.5)
    content = whole.read_bytes()
    whole.unlink()
    daemon.start()
    with (daemon.folder / "tape" / "vox.wav").open("wb") as file:
        for at in range(0, len(content), 3000):
            assert daemon.outputs() == []
            file.write(content[at : at + 3000])
            file.flush()
            time.sleep(0.3)
    daemon.until_states(tape__vox="done")
    assert daemon.rows()[0].frames == 4000
    daemon.check()


def test_a_stem_that_vanishes_is_gone(daemon: "Daemon") -> None:
    """A source that is taken away before it is rendered is no failure."""
    daemon.start()
    daemon.command("pause")
    path = daemon.drop("tape/vox.wav")
    daemon.until_states(tape__vox="found")
    path.unlink()
    daemon.until_states(tape__vox="gone")
    daemon.command("resume")
    daemon.check()


def test_midi_beside_a_stem_is_waited_for_and_moves_what_it_names(daemon: "Daemon", tmp_path: Path) -> None:
    """The stem is taken when both lie still; a track called after a step of the folder's chain moves it."""
    song = mido.MidiFile(ticks_per_beat=480)
    track = song.add_track("gramophone: chain[1].gain_db")
    # 120 a minute: at 0.25 s the gain falls from the top of its range (127) to the bottom (0).
    track += [
        mido.Message("control_change", control=11, value=127),
        mido.Message("control_change", control=11, time=240),
    ]
    song.save(tmp_path / "vox.mid")
    (daemon.folder / "tape").mkdir()
    (daemon.folder / "tape" / "watch.toml").write_text("[[chain]]\nplugin = 'gain'\ngain_db = 0\n")
    daemon.drop("tape/bass.wav", 0.5)
    daemon.drop("tape/vox.wav", 0.5)
    shutil.copyfile(tmp_path / "vox.mid", daemon.folder / "tape" / "vox.mid")
    daemon.drop("tape/bad.wav", 0.5)
    (daemon.folder / "tape" / "bad.mid").write_bytes(b"MThd")
    daemon.give()
    assert daemon.once() == 0
    stem = soundfile.read(daemon.folder / "tape/vox.wav")[0]
    sound = soundfile.read(daemon.folder / "_out/tape/vox.wav")[0]
    half = len(stem) // 2
    assert np.abs(sound[: half - 100]).max() > np.abs(stem).max()
    assert np.abs(sound[half + 100 :]).max() < 0.01 * np.abs(stem).max()
    for other in ("bass", "bad"):
        assert np.array_equal(
            soundfile.read(daemon.folder / f"_out/tape/{other}.wav")[0],
            soundfile.read(daemon.folder / f"tape/{other}.wav")[0],
        )
    assert "warning tape/bad.wav: no tempo from the file beside it" in daemon.log
    daemon.check()


def test_an_album_is_rendered_from_its_manifest(daemon: "Daemon") -> None:
    """A manifest dropped in renders its stems as an album, and again when one of them is replaced."""
    daemon.drop("night/vox.wav")
    (daemon.folder / "night" / "album.toml").write_text(
        '[album]\ntitle = "Night"\noutput = "{index:02d}_{stem}"\npreset = "tape"\n[[track]]\nstem = "vox.wav"\n'
    )
    daemon.start()
    daemon.until_states(night__album="done")
    report = ["night/Night.report.html", "night/Night.report.json"]
    assert daemon.outputs() == ["night/01_vox.wav", *report]
    daemon.drop("night/vox.wav", 0.1, seed=9)
    output = daemon.folder / "_out/night/01_vox.wav"
    daemon.until(lambda: soundfile.info(output).frames == 800, "the album has the new stem")
    daemon.until_states(night__album="done")
    daemon.check()


def test_an_album_in_the_watched_folder_itself(daemon: "Daemon") -> None:
    """A manifest that lies on top goes to the top of the output folder, and stems beside it are no trouble."""
    daemon.drop("tape/vox.wav")
    (daemon.folder / "album.toml").write_text(
        '[album]\ntitle = "Top"\noutput = "{index:02d}_{stem}"\npreset = "tape"\n[[track]]\nstem = "tape/vox.wav"\n'
    )
    daemon.drop("rain/bass.wav")
    assert daemon.once() == 0
    assert daemon.outputs() == ["01_vox.wav", "Top.report.html", "Top.report.json", "rain/bass.wav"]
    daemon.check()


def test_a_number_that_a_stranger_forced_makes_others_step_aside(daemon: "Daemon") -> None:
    """A stem that finds its name taken on the disk may get the one that another stem was to have."""
    theirs = daemon.folder / "_out/tape/vox.wav"
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(b"a stranger's")
    daemon.drop("tape/vox.wav")
    daemon.drop("tape/vox.flac")
    daemon.drop("tape/vox (2).wav")
    assert daemon.once() == 0
    assert set(daemon.states().values()) == {"done"}
    assert theirs.read_bytes() == b"a stranger's"
    theirs.unlink()  # it is no output of ours, and no sound
    assert len(daemon.outputs()) == 3
    daemon.check()


def test_a_reason_that_cannot_be_written_yet_is_written_later(daemon: "Daemon") -> None:
    """While something is in the way of ``_failed`` a failed source stays; when that is gone it is moved."""
    (daemon.folder / "_failed").write_bytes(b"in the way")
    path = daemon.drop("tape/vox.wav", subtype="FLOAT")
    sound, rate = soundfile.read(path)
    soundfile.write(path, np.full_like(sound, np.nan), rate, "FLOAT")
    daemon.start()
    daemon.until_states(tape__vox="failed")
    daemon.until(lambda: "stays where it is for now" in daemon.log, "it is told")
    assert path.exists()
    (daemon.folder / "_failed").unlink()
    daemon.until(lambda: not path.exists(), "the source is moved")
    daemon.check()


def test_nothing_is_left_of_descriptors(daemon: "Daemon") -> None:
    """Many stems leave the daemon with the descriptors it began with."""
    daemon.start()
    daemon.drop("tape/first.wav")
    daemon.until_ended(1)
    before = len(os.listdir(f"/proc/{daemon.pid}/fd"))  # noqa: PTH208 - only counted
    for number in range(60):
        daemon.drop(f"tape/{number}.wav")
    daemon.until_ended(61)
    assert len(os.listdir(f"/proc/{daemon.pid}/fd")) == before  # noqa: PTH208
    assert len(daemon.outputs()) == 61
    daemon.check()
