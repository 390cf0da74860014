"""What a worker makes of one stem: published, or a verdict that says whose fault it was."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import mido
import numpy as np
import pytest
import soundfile
import torch

from engine import audio
from engine.style import Target
from presets import preset, resolve
from presets.library import Library
from render import job as jobs
from render import loudness, publish, stamps
from render.plan import Job
from watch import pool, protocol
from watch.protocol import Failed, Incomplete, Published, Ready, Rendered, Started, Stem, Verdict, Waiting
from watch.rendering import Renderer
from watch.worker import share_out

RATE = 8000
# How long a process may take that does as it should, on a machine that is busy with something else.
PATIENCE_S = 120.0


def noise(frames: int = 400, seed: int = 0) -> "np.ndarray[Any, Any]":
    """Samples on the grid of 16 bits."""
    return np.random.default_rng(seed).integers(-8000, 8000, (frames, 1)) / 32768.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The watched folder with a stem ``tape/vox.wav`` in it."""
    (tmp_path / "stems" / "tape").mkdir(parents=True)
    soundfile.write(tmp_path / "stems" / "tape" / "vox.wav", noise(), RATE, "PCM_16")
    return tmp_path / "stems"


@pytest.fixture
def library(tmp_path: Path) -> Library:
    """A library of its own with the preset ``tape``, which changes nothing."""
    shelf = Library(tmp_path / "library")
    keep(shelf, "tape")
    return shelf


def keep(library: Library, name: str, seed: int = 0, **card: Any) -> None:
    """Put a preset into the library, in place of another if need be."""
    frames = torch.randn(1, 16, generator=torch.Generator().manual_seed(seed))
    library.save(preset.new(name, Target("identity", {}, RATE, {"frames": frames}), **card), replace=True)


@pytest.fixture
def renderer(library: Library) -> Renderer:
    """What a worker renders with."""
    return Renderer(library)


def request(path: Path, **changes: Any) -> Stem:
    """What the daemon would ask for the stem at ``path`` as it is now."""
    status = path.stat()
    root = path.parent.parent
    asked = Stem(
        1,
        str(path),
        status.st_size,
        status.st_mtime_ns,
        status.st_ino,
        str(root / "_out"),
        f"{path.parent.name}/{path.stem}",
        str(root),
        {"preset": "tape", "device": "cpu"},
    )
    return replace(asked, **changes)


def ask(renderer: Renderer, asked: Stem) -> Verdict:
    """The verdict on one request."""
    return renderer.render(asked, lambda started: None)


def test_a_stem_is_published(renderer: Renderer, folder: Path) -> None:
    """The output is where it was asked for, of the stem's length, and the answer says what it is made of."""
    path = folder / "tape" / "vox.wav"
    told: list[Started | Rendered] = []
    verdict = renderer.render(request(path), told.append)
    assert isinstance(verdict, Published)
    output = folder / "_out" / "tape" / "vox.wav"
    assert verdict == Published(
        1,
        str(output),
        stamps.file_digest(output),
        400,
        source_sha256=stamps.file_digest(path),
        preset_hash=renderer.library.load("tape").content_hash,
    )
    started, whole = told
    assert isinstance(started, Started)
    assert started.duration_s == 400 / RATE
    assert whole == Rendered(1, str(output))
    assert np.array_equal(soundfile.read(output)[0], soundfile.read(path)[0])


def test_a_second_time_nothing_is_rendered(renderer: Renderer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a crash left published and unnoted is recognised by its record, not rendered again."""
    asked = request(folder / "tape" / "vox.wav")
    first = ask(renderer, asked)
    monkeypatch.setattr(jobs, "render", lambda *args, **kwargs: pytest.fail("it was rendered again"))
    second = ask(Renderer(renderer.library), asked)
    assert isinstance(first, Published)
    assert second == replace(first, already=True)


def test_a_name_that_is_taken_is_left_alone(renderer: Renderer, folder: Path) -> None:
    """A file that is not ours keeps its name and its bytes; the output gets the next number."""
    theirs = folder / "_out" / "tape" / "vox.wav"
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(b"somebody's")
    verdict = ask(renderer, request(folder / "tape" / "vox.wav"))
    assert isinstance(verdict, Published)
    assert verdict.output == str(theirs.with_name("vox (2).wav"))
    assert theirs.read_bytes() == b"somebody's"


def test_a_new_content_replaces_our_own_output(renderer: Renderer, folder: Path) -> None:
    """The same stem with other sound goes over its earlier output, as long as that is untouched."""
    path = folder / "tape" / "vox.wav"
    first = ask(renderer, request(path))
    assert isinstance(first, Published)
    soundfile.write(path, noise(300, seed=1), RATE, "PCM_16")
    second = ask(renderer, request(path, mine=first.output, mine_sha256=first.sha256))
    assert isinstance(second, Published)
    assert (second.output, second.frames) == (first.output, 300)
    soundfile.write(first.output, noise(200, seed=2), RATE, "PCM_16")
    soundfile.write(path, noise(100, seed=3), RATE, "PCM_16")
    third = ask(renderer, request(path, mine=second.output, mine_sha256=second.sha256))
    assert isinstance(third, Published)
    assert third.output.endswith("vox (2).wav")
    assert audio.probe(first.output).frames == 200


def test_somebody_who_is_faster_keeps_the_name(
    renderer: Renderer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that appears under the name while the stem is rendered is not overwritten."""
    whole = jobs.render
    output = folder / "_out" / "tape" / "vox.wav"

    def late(job: Any, **options: Any) -> Any:
        if not output.exists():
            output.parent.mkdir(parents=True, exist_ok=True)
            output.write_bytes(b"first")
        return whole(job, **options)

    monkeypatch.setattr(jobs, "render", late)
    verdict = ask(renderer, request(folder / "tape" / "vox.wav"))
    assert isinstance(verdict, Published)
    assert verdict.output.endswith("vox (2).wav")
    assert output.read_bytes() == b"first"


@pytest.mark.parametrize(
    ("content", "word"),
    [(b"", "empty"), (b"RIFF", "not a sound file"), (b"not sound at all " * 10, "not a sound file"), (None, "cut off")],
)
def test_what_is_not_whole_is_incomplete(renderer: Renderer, folder: Path, content: bytes | None, word: str) -> None:
    """A file that does not open, or promises more than is there, may still be on its way."""
    path = folder / "tape" / "vox.wav"
    path.write_bytes(path.read_bytes()[:-100] if content is None else content)
    verdict = ask(renderer, request(path))
    assert isinstance(verdict, Incomplete)
    assert word in verdict.reason
    assert str(path) not in verdict.reason  # it is told beside, and moves when the stem has failed
    assert not verdict.changed
    assert not (folder / "_out").exists()


def test_a_stem_that_changed_is_not_rendered(renderer: Renderer, folder: Path) -> None:
    """A file that is not the one which lay still is given back, and so is one that is gone or a link by now."""
    path = folder / "tape" / "vox.wav"
    asked = request(path)
    soundfile.write(path, noise(500), RATE, "PCM_16")
    assert ask(renderer, asked) == Incomplete(1, "changed after it had been still", changed=True)
    path.unlink()
    assert isinstance(ask(renderer, asked), Incomplete)
    path.symlink_to("/etc/hostname")
    assert isinstance(ask(renderer, asked), Incomplete)
    assert not (folder / "_out").exists()


def test_a_stem_that_changes_while_it_is_rendered_is_given_back(
    renderer: Renderer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever goes wrong, a stem that is another one by then has not failed."""
    path = folder / "tape" / "vox.wav"

    def changed(job: Any, **options: Any) -> None:
        os.utime(path, ns=(1, 1))
        raise RuntimeError("the decoder fell over")

    monkeypatch.setattr(jobs, "render", changed)
    verdict = ask(renderer, request(path))
    assert isinstance(verdict, Incomplete)
    assert verdict.changed


def test_a_sample_that_is_no_number_fails_the_stem(renderer: Renderer, folder: Path) -> None:
    """NaN is in the file for good: no second try."""
    path = folder / "tape" / "nan.wav"
    samples = noise()
    samples[7] = np.nan
    soundfile.write(path, samples, RATE, "FLOAT")
    verdict = ask(renderer, request(path))
    assert isinstance(verdict, Failed)
    assert verdict.reason.startswith("has a sample that is NaN")
    assert not verdict.retry


@pytest.mark.parametrize(
    ("changes", "cause", "word"),
    [
        ({"choices": {"preset": "choir"}}, "preset", "no preset is called 'choir'"),
        ({"choices": {}}, "preset", "no preset is chosen"),
        ({"choices": {"preset": "tape", "amount": 3.0}}, "config", "amount"),
        ({"chain": ({"plugin": "compresser"},)}, "config", "compressor"),
        ({"choices": {"preset": "tape", "format": "flac", "bit_depth": "32f"}}, "config", "FLAC cannot hold FLOAT"),
        ({"choices": {"preset": "tape", "device": "cuda:77"}}, "device", "cuda:77"),
    ],
)
def test_what_is_not_the_stems_fault_waits(
    renderer: Renderer, folder: Path, changes: dict[str, Any], cause: str, word: str
) -> None:
    """A preset that is missing, a mistake in the settings, a device that is away: the stem waits, and says for what."""
    verdict = ask(renderer, request(folder / "tape" / "vox.wav", **changes))
    assert isinstance(verdict, Waiting)
    assert verdict.cause == cause
    assert word in verdict.reason


@contextmanager
def _refusing(monkeypatch: pytest.MonkeyPatch, name: str, number: int) -> Iterator[None]:
    """Let the system call ``name`` fail with ``number`` as far as publishing is concerned."""
    with monkeypatch.context() as patch:

        def refuse(*args: object, **options: object) -> None:
            raise OSError(number, os.strerror(number))

        patch.setattr(publish.os, name, refuse)  # type: ignore[attr-defined]
        yield


@pytest.mark.parametrize("number", [28, 5, 30, 122])
@pytest.mark.parametrize("name", ["fsync", "link"])
def test_a_disk_that_refuses_makes_the_stem_wait(
    renderer: Renderer, folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, number: int
) -> None:
    """No space, an I/O error or a read-only folder at any step is not the stem's fault; once it is over, it goes on."""
    asked = request(folder / "tape" / "vox.wav")
    with _refusing(monkeypatch, name, number):
        verdict = ask(renderer, asked)
    assert isinstance(verdict, Waiting)
    assert verdict.cause == "output"
    assert os.strerror(number) in verdict.reason
    assert list((folder / "_out").rglob("*.part")) == []
    assert isinstance(ask(renderer, asked), Published)


def test_what_is_found_to_be_published_is_flushed_before_it_counts(
    renderer: Renderer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever published it may have been refused just then: an output that is there is not yet one that stays."""
    asked = request(folder / "tape" / "vox.wav")
    first = ask(renderer, asked)
    assert isinstance(first, Published)
    with _refusing(monkeypatch, "fsync", 5):
        verdict = ask(renderer, asked)
    assert isinstance(verdict, Waiting)
    assert verdict.cause == "output"
    assert ask(renderer, asked) == replace(first, already=True)


def test_a_full_disk_at_a_write_makes_the_stem_wait(
    renderer: Renderer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What libsndfile says of a system call that failed is understood as well as what Python says."""

    def full(self: object, *args: object) -> None:
        raise soundfile.LibsndfileError(2, "the disk: ")

    with monkeypatch.context() as patch:
        patch.setattr(soundfile.SoundFile, "write", full)
        verdict = ask(renderer, request(folder / "tape" / "vox.wav"))
    assert isinstance(verdict, Waiting)
    assert verdict.cause == "output"


@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_makes_the_stem_wait(renderer: Renderer, folder: Path) -> None:
    """An output folder that may not be written is the folder's fault."""
    (folder / "_out").mkdir()
    (folder / "_out").chmod(0o500)
    try:
        verdict = ask(renderer, request(folder / "tape" / "vox.wav"))
    finally:
        (folder / "_out").chmod(0o700)
    assert isinstance(verdict, Waiting)
    assert verdict.cause == "output"


def test_a_link_out_of_the_output_folder_is_not_followed(renderer: Renderer, folder: Path, tmp_path: Path) -> None:
    """Nothing is written through a link that leads elsewhere."""
    (tmp_path / "elsewhere").mkdir()
    (folder / "_out").mkdir()
    (folder / "_out" / "tape").symlink_to(tmp_path / "elsewhere")
    verdict = ask(renderer, request(folder / "tape" / "vox.wav"))
    assert isinstance(verdict, Waiting)
    assert "through a link" in verdict.reason
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_an_unforeseen_error_is_the_stems_and_tried_again(
    renderer: Renderer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing that happens inside a stem ends the worker."""

    def fall(*args: object, **options: object) -> None:
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr(jobs, "render", fall)
    verdict = ask(renderer, request(folder / "tape" / "vox.wav"))
    assert verdict == Failed(1, "unexpected ZeroDivisionError: by nothing", retry=True)


@pytest.mark.parametrize(
    "error", [MemoryError("no"), torch.OutOfMemoryError("no"), RuntimeError("MPS backend out of memory (...)")]
)
def test_too_little_memory_is_tried_again(
    renderer: Renderer, folder: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Memory that another program has now may be free later."""

    def fall(*args: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(jobs, "render", fall)
    verdict = ask(renderer, request(folder / "tape" / "vox.wav"))
    assert isinstance(verdict, Failed)
    assert verdict.retry
    assert "memory" in verdict.reason


def test_presets_are_read_once_and_again_when_replaced(
    renderer: Renderer, library: Library, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A preset stays in memory from stem to stem, and another file under its name is another preset."""
    read: list[str] = []
    whole = resolve.load_blend

    def load(spec: resolve.BlendSpec, *args: Any, **options: Any) -> preset.Preset:
        read.append(spec.label)
        return whole(spec, *args, **options)

    monkeypatch.setattr(resolve, "load_blend", load)
    path = folder / "tape" / "vox.wav"
    first = ask(renderer, request(path))
    for number in range(3):
        soundfile.write(path, noise(100 + number), RATE, "PCM_16")
        ask(renderer, request(path, place=f"tape/{number}"))
    assert read == ["tape"]
    keep(library, "tape", seed=1)
    second = ask(renderer, request(path, place="tape/other"))
    assert read == ["tape", "tape"]
    assert isinstance(first, Published)
    assert isinstance(second, Published)
    assert first.preset_hash != second.preset_hash


def test_the_folders_chain_wins_over_the_presets(renderer: Renderer, library: Library, folder: Path) -> None:
    """A chain in watch.toml replaces the preset's, an empty one leaves it out, and none keeps it."""
    keep(library, "flip", chain=[{"plugin": "invert"}])
    path = folder / "tape" / "vox.wav"
    there = soundfile.read(path)[0]
    for place, chain, sign in (("kept", None, -1), ("empty", (), 1), ("own", ({"plugin": "invert"},), -1)):
        verdict = ask(renderer, request(path, place=place, chain=chain, choices={"preset": "flip", "device": "cpu"}))
        assert isinstance(verdict, Published)
        assert np.array_equal(soundfile.read(verdict.output)[0], sign * there)


def test_a_folder_may_choose_a_loudness(renderer: Renderer, folder: Path) -> None:
    """What the folder's config says of loudness and true peak is done to its stems."""
    path = folder / "tape" / "vox.wav"
    soundfile.write(path, noise(RATE), RATE, "PCM_16")
    choices = {"preset": "tape", "device": "cpu", "loudness_lufs": -25.0, "ceiling_dbtp": -3.0}
    verdict = ask(renderer, request(path, choices=choices))
    assert isinstance(verdict, Published)
    assert loudness.measure(Path(verdict.output)).lufs == pytest.approx(-25.0, abs=0.01)


def test_a_folder_may_move_a_parameter_and_keep_a_tail(renderer: Renderer, folder: Path) -> None:
    """Automation of the chain is heard, and a tail that ends by itself makes the output as long as is answered."""
    path = folder / "tape" / "vox.wav"
    soundfile.write(path, noise(RATE), RATE, "PCM_16")
    chain = ({"plugin": "gain", "gain_db": 0.0}, {"plugin": "delay", "delay_seconds": 0.1, "feedback": 0.5, "mix": 0.5})
    fall = {"target": "chain[1].gain_db", "points": [[0.0, 0.0], [0.5, -60.0]]}
    choices = {"preset": "tape", "device": "cpu", "tail_s": "auto", "automation": [fall]}
    verdict = ask(renderer, request(path, chain=chain, choices=choices))
    assert isinstance(verdict, Published), verdict
    sound = soundfile.read(verdict.output)[0]
    assert len(sound) == verdict.frames > RATE
    assert np.abs(sound[RATE - RATE // 10 : RATE]).max() < 0.05 * np.abs(sound[: RATE // 20]).max()


def test_bars_come_from_the_midi_file_beside(renderer: Renderer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stem has the bars of vox.mid beside vox.wav, or of the file the folder chose; a broken one of those waits."""
    found: list[float | None] = []
    starts: list[float] = []
    real = jobs.render

    def render(job: Job, **options: Any) -> Any:
        found.append(job.song.tempo.tempos[0].bpm if job.song else None)
        starts.append(job.song_start_s)
        return real(job, **options)

    monkeypatch.setattr(jobs, "render", render)
    stem = folder / "tape" / "vox.wav"
    for bpm, path in ((100, stem.with_suffix(".mid")), (50, folder / "slow.mid")):
        tempo = mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(bpm))
        mido.MidiFile(tracks=[mido.MidiTrack([tempo])]).save(path)
    ask(renderer, request(stem))
    chosen = {"preset": "tape", "device": "cpu", "tempo": "slow.mid"}
    ask(renderer, request(stem, choices=chosen, number=2))
    assert found == [100, 50]
    # The bars of a song for all are those of the session; a song beside a stem begins with it.
    said = audio.Annotations(RATE, audio.Broadcast(time_reference=3601 * RATE))
    audio.write(stem, audio.read(stem).samples, RATE, audio.Format("WAV", "PCM_16"), annotations=said)
    ask(renderer, request(stem, choices=chosen, number=3))
    ask(renderer, request(stem, number=4))
    assert starts == [0.0, 0.0, 1.0, 0.0]
    (folder / "slow.mid").write_bytes(b"MThd")
    held = ask(renderer, request(stem, choices=chosen))
    assert isinstance(held, Waiting)
    assert held.cause == "config"
    assert "tempo: " in held.reason


def test_the_format_decides_the_ending(renderer: Renderer, folder: Path) -> None:
    """The name gets the ending that goes with what is in the file."""
    choices = {"preset": "tape", "device": "cpu", "format": "flac"}
    verdict = ask(renderer, request(folder / "tape" / "vox.wav", choices=choices))
    assert isinstance(verdict, Published)
    assert verdict.output.endswith("tape/vox.flac")


ALBUM = """
[album]
title = "Night Bus"
output = "{index:02d}_{stem}"
preset = "tape"
[[track]]
stem = "vox.wav"
[[track]]
stem = "bass.wav"
"""


def test_an_album_is_rendered_as_one(renderer: Renderer, folder: Path) -> None:
    """Every track is published into the album's folder; again, all of it is there already."""
    soundfile.write(folder / "tape" / "bass.wav", noise(300, seed=5), RATE, "PCM_16")
    (folder / "tape" / "album.toml").write_text(ALBUM)
    asked = request(folder / "tape" / "album.toml", place="tape", album=True)
    first = ask(renderer, asked)
    assert isinstance(first, Published)
    assert [Path(output).name for output in first.outputs] == ["01_vox.wav", "02_bass.wav"]
    assert first.frames == 700
    second = ask(renderer, asked)
    assert second == replace(first, already=True)


def test_an_album_brings_the_project_files_it_asks_for(renderer: Renderer, folder: Path) -> None:
    """What the manifest says of exports and a report lies beside the tracks."""
    soundfile.write(folder / "tape" / "bass.wav", noise(300, seed=5), RATE, "PCM_16")
    manifest = folder / "tape" / "album.toml"
    manifest.write_text(ALBUM.replace("[album]\n", '[album]\nexport = ["rpp"]\n', 1))
    verdict = ask(renderer, request(manifest, place="tape", album=True))
    assert isinstance(verdict, Published), verdict
    suffixes = {path.suffix for path in Path(verdict.output).iterdir() if path.is_file()}
    assert {".rpp", ".html"} <= suffixes
    assert verdict.notes == ()


def test_a_session_that_was_worked_on_stays(renderer: Renderer, folder: Path) -> None:
    """What a DAW saved over an album's project file is told of and kept when a stem is replaced; ours are renewed."""
    soundfile.write(folder / "tape" / "bass.wav", noise(300, seed=5), RATE, "PCM_16")
    manifest = folder / "tape" / "album.toml"
    manifest.write_text(ALBUM.replace("[album]\n", '[album]\nexport = ["rpp", "midi"]\n', 1))
    first = ask(renderer, request(manifest, place="tape", album=True))
    assert isinstance(first, Published), first
    session, page = (Path(first.output, f"Night Bus.{ending}") for ending in ("rpp", "report.html"))
    session.write_text("mixed for hours")
    before = page.read_bytes()
    soundfile.write(folder / "tape" / "bass.wav", noise(400, seed=6), RATE, "PCM_16")
    second = ask(renderer, request(manifest, place="tape", album=True))
    assert isinstance(second, Published), second
    assert session.read_text() == "mixed for hours"
    assert page.read_bytes() != before
    assert second.notes == (f"{session} was changed since it was written, and stays; move it away for a new one",)


def test_an_album_replaces_its_own_and_nothing_else(renderer: Renderer, folder: Path) -> None:
    """A track that changed is rendered over its output; a stranger's file in its place fails the album."""
    soundfile.write(folder / "tape" / "bass.wav", noise(300, seed=5), RATE, "PCM_16")
    manifest = folder / "tape" / "album.toml"
    manifest.write_text(ALBUM)
    first = ask(renderer, request(manifest, place="tape", album=True))
    assert isinstance(first, Published)
    soundfile.write(folder / "tape" / "bass.wav", noise(200, seed=6), RATE, "PCM_16")
    second = ask(renderer, request(manifest, place="tape", album=True))
    assert isinstance(second, Published)
    assert (second.frames, second.sha256 != first.sha256) == (600, True)
    Path(first.outputs[0]).write_bytes(b"mine now")
    third = ask(renderer, request(manifest, place="tape", album=True))
    assert isinstance(third, Failed)
    assert Path(first.outputs[0]).read_bytes() == b"mine now"


def test_an_album_with_mistakes_waits(renderer: Renderer, folder: Path) -> None:
    """All that is wrong with a manifest is told, and mending it is enough."""
    (folder / "tape" / "album.toml").write_text(ALBUM.replace('"tape"', '"tapes"'))
    verdict = ask(renderer, request(folder / "tape" / "album.toml", place="tape", album=True))
    assert isinstance(verdict, Waiting)
    assert "did you mean 'tape'" in verdict.reason
    assert "bass.wav" in verdict.reason


# The process


@pytest.fixture
def worker(library: Library) -> "Iterator[Callable[..., subprocess.Popen[bytes]]]":
    """A maker of worker processes."""
    made: list[subprocess.Popen[bytes]] = []

    def make(**env: str) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(
            pool.command(library.folder, "cpu", 1),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=pool.environment() | env,
            start_new_session=True,
        )
        made.append(process)
        return process

    yield make
    for process in made:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            assert pipe is not None
            pipe.close()


def hear(process: "subprocess.Popen[bytes]") -> protocol.Answer:
    """The next answer."""
    assert process.stdout is not None
    return protocol.answer(process.stdout.readline())


def test_the_process_renders_and_ends_with_its_pipe(
    worker: "Callable[..., subprocess.Popen[bytes]]", folder: Path
) -> None:
    """It says when it is ready, answers each stem, and ends when the daemon is gone."""
    process = worker()
    assert process.stdin is not None
    assert hear(process) == Ready("cpu")
    process.stdin.write(protocol.line(request(folder / "tape" / "vox.wav")))
    process.stdin.flush()
    assert [type(hear(process)) for _ in range(3)] == [Started, Rendered, Published]
    process.stdin.close()
    assert process.wait(PATIENCE_S) == 0


def test_several_gpus_are_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each worker gets one of its own, unless a certain one is asked for; more workers than those share them."""
    taken: list[int] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    assert [share_out(device, 3) for device in ("auto", "cuda", "cuda:0", "cpu")] == [2, 2, 1, 1]
    assert [share_out("auto", place) for place in range(3)] == [2, 2, 2]
    assert taken == [1, 1, 0, 1, 0]


def test_the_daemons_device_is_that_of_stems_and_albums(renderer: Renderer, folder: Path) -> None:
    """What the worker was started with holds for all that names no device; one that is not there is waited for."""
    away = Renderer(renderer.library, "cuda:77")
    stem = request(folder / "tape" / "vox.wav", choices={"preset": "tape"})
    (folder / "tape" / "album.toml").write_text(ALBUM.partition('[[track]]\nstem = "bass')[0])
    album = request(folder / "tape" / "album.toml", place="tape", album=True, choices={})
    for asked in (stem, album):
        verdict = ask(away, asked)
        assert isinstance(verdict, Waiting), verdict
        assert "cuda:77" in verdict.reason
        assert isinstance(ask(Renderer(renderer.library, "cpu"), asked), Published)


def test_the_daemons_death_stops_a_stem_under_work(
    worker: "Callable[..., subprocess.Popen[bytes]]", folder: Path, tmp_path: Path
) -> None:
    """With the pipe closed the worker ends in the middle of a stem, publishing nothing."""
    gate = tmp_path / "gate"
    process = worker(GRAMOPHONE_BARRIER=f"worker-render:wait={gate}")
    assert process.stdin is not None
    hear(process)
    process.stdin.write(protocol.line(request(folder / "tape" / "vox.wav")))
    process.stdin.flush()
    end = time.monotonic() + PATIENCE_S
    while not Path(f"{gate}.reached").exists():
        assert time.monotonic() < end
        time.sleep(0.01)
    process.stdin.close()
    assert process.wait(PATIENCE_S) == 130, "it was interrupted, not killed"
    assert not (folder / "_out").exists()


def test_even_one_that_hangs_dies_with_the_daemon(
    worker: "Callable[..., subprocess.Popen[bytes]]", folder: Path, tmp_path: Path
) -> None:
    """A stem that hears no interrupt cannot keep the process alive without its daemon."""
    process = worker(GRAMOPHONE_BARRIER=f"worker-render:deaf={tmp_path / 'deaf'}")
    assert process.stdin is not None
    hear(process)
    process.stdin.write(protocol.line(request(folder / "tape" / "vox.wav")))
    process.stdin.flush()
    end = time.monotonic() + PATIENCE_S
    while not (tmp_path / "deaf").exists():
        assert time.monotonic() < end
        time.sleep(0.01)
    process.stdin.close()
    assert process.wait(PATIENCE_S) == -signal.SIGKILL


def test_prints_go_to_stderr(worker: "Callable[..., subprocess.Popen[bytes]]") -> None:
    """What anything prints cannot be taken for an answer: stdout and stdin are the worker's alone."""
    code = (
        "import os, sys; from watch import worker; requests, answers = worker._pipes();"
        "print('a plugin speaks', flush=True); os.write(1, b'and a library\\n');"
        "from watch.protocol import Ready; answers.send(Ready('cpu')); assert sys.stdin.read() == ''"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], env=pool.environment(), capture_output=True, input=b"x", check=True
    )
    assert json.loads(done.stdout) == ["Ready", {"device": "cpu", "devices": 1}]
    assert done.stderr == b"a plugin speaks\nand a library\n"


def test_the_daemon_never_loads_the_engine() -> None:
    """All that the parent imports is light: no torch, numpy or soundfile."""
    code = (
        "import sys, watch.daemon, watch.service, watch.cli;"
        "print([m for m in ('torch', 'numpy', 'soundfile', 'librosa', 'pedalboard') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], env=pool.environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
