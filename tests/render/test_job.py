"""One job: what comes back is the stem's shape, its bits where nothing was to be done, or nothing at all."""

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from engine import audio, style
from engine.errors import AudioError
from engine.events import Iterate
from engine.style import Settings, Source, Target
from presets.library import Library
from render import host, planner, stamps
from render import job as jobs
from render.choices import Choices
from render.errors import ChainError, PublishError, RenderError
from render.events import Event, StemProgress, StemPublished, StemWritten
from render.plan import Job

MakeStem = Callable[..., Path]
Contents = Callable[..., list[str]]
Noise = Callable[..., Tensor]


def _job(stem: Path, shelf: Library, out: Path | None = None, **choices: Any) -> Job:
    made = Choices(**{"preset": "tape", **choices})
    (job,) = planner.plan_stems([stem], library=shelf, choices=made, out=out).jobs
    return job


def _render(job: Job) -> StemPublished:
    return jobs.render(job, on_event=lambda event: None, clock=lambda: 0.0)


def _changing(factor: float, *, lost: int = 0) -> Callable[..., Iterator[Tensor]]:
    """An engine that only turns the sound up or down, in uneven blocks, and says so once; ``lost`` samples are not."""

    def restyle_stream(
        source: Source, target: Target, settings: Settings, on_event: Callable[[Iterate], None], **options: object
    ) -> Iterator[Tensor]:
        on_event(Iterate(0, 1, 1, 0.5))
        at = 0
        while at < source.samples - lost:
            count = min(1 + at // 2, source.samples - lost - at)
            yield source.read(at, count) * factor
            at += count

    return restyle_stream


ALL = [
    ("WAV", "PCM_U8"),
    ("WAV", "PCM_16"),
    ("WAV", "PCM_24"),
    ("WAV", "PCM_32"),
    ("WAV", "FLOAT"),
    ("WAV", "DOUBLE"),
    ("WAV", "ULAW"),
    ("WAV", "ALAW"),
    ("AIFF", "PCM_S8"),
    ("AIFF", "PCM_24"),
    ("FLAC", "PCM_16"),
    ("FLAC", "PCM_24"),
]


@pytest.mark.parametrize(("container", "subtype"), ALL)
@pytest.mark.parametrize("off", [{"amount": 0.0}, {"mix": 0.0}])
def test_a_stem_that_is_not_styled_comes_back_bit_for_bit(
    container: str, subtype: str, off: dict[str, Any], make_stem: MakeStem, shelf: Library, noise: Noise
) -> None:
    """Amount 0 or mix 0 without a chain: the very file, in every format there is, overs of float files included."""
    wide = noise(2, 501).double() * (3.0 if subtype in ("FLOAT", "DOUBLE") else 1.0) + 1e-12
    stem = make_stem(f"vox.{container.lower()}", wide, subtype, container=container)
    job = _job(stem, shelf, **off)
    result = _render(job)
    assert job.output.read_bytes() == stem.read_bytes()
    assert result.copied
    assert result.overs_action in ("none", "kept")


@pytest.mark.parametrize(
    ("subtype", "choices"),
    [("PCM_32", {"format": "aiff"}), ("DOUBLE", {"format": "aiff"}), ("PCM_16", {"format": "flac"})],
)
def test_another_container_keeps_every_bit_too(
    subtype: str, choices: dict[str, Any], make_stem: MakeStem, shelf: Library, noise: Noise
) -> None:
    """Samples that float32 cannot hold go from WAV to AIFF as they are."""
    stem = make_stem("vox.wav", noise(2, 501).double() / 3, subtype)
    job = _job(stem, shelf, amount=0.0, **choices)
    _render(job)
    before, after = audio.read(stem, exact=True), audio.read(job.output, exact=True)
    assert after.format.subtype == subtype
    assert torch.equal(before.samples, after.samples)


@pytest.mark.parametrize(("container", "subtype"), ALL)
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_files_keep_their_shape(
    container: str,
    subtype: str,
    channels: int,
    make_stem: MakeStem,
    shelf: Library,
    noise: Noise,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rate, channels, frames and format of a styled stem are the stem's own, at an odd rate and length."""
    monkeypatch.setattr(style, "restyle_stream", _changing(0.5))
    stem = make_stem("vox.wav", noise(channels, 997), subtype, container=container, rate=11_127)
    job = _job(stem, shelf)
    _render(job)
    assert replace(audio.probe(job.output), path=stem) == audio.probe(stem)


@pytest.mark.parametrize("length", [1, 2, 3, 7, 64, 65])
def test_stems_of_a_few_samples_go_all_the_way(
    length: int, make_stem: MakeStem, shelf: Library, noise: Noise, tmp_path: Path
) -> None:
    """From one sample up, through the engine and a chain, the length is exact."""
    stem = make_stem("vox.wav", noise(6, length))
    job = _job(stem, shelf, preset="half", amount=1.0)
    assert [step.plugin.name for step in job.chain] == ["invert"]
    _render(job)
    assert torch.allclose(audio.read(job.output).samples, -audio.read(stem).samples, atol=2**-22)


def test_the_engine_is_heard_and_so_are_its_events(
    make_stem: MakeStem, shelf: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `restyle_stream` yields is what the file holds, and its events come out with the stem's number."""
    monkeypatch.setattr(style, "restyle_stream", _changing(0.5))
    job, events = _job(make_stem(), shelf), []

    def hear(event: Event) -> None:
        events.append(event)

    result = jobs.render(job, on_event=hear, clock=iter([0.0, 2.0]).__next__)
    assert events == [StemProgress(1, Iterate(0, 1, 1, 0.5)), StemWritten(1, job.title, job.output)]
    assert result.seconds == 2.0
    assert result.level_change_db == pytest.approx(-6.02, abs=0.01)
    assert result.peak_dbfs == pytest.approx(-12.04, abs=0.01)
    assert torch.allclose(audio.read(job.output).samples, audio.read(job.stem).samples / 2, atol=2**-22)


@pytest.mark.parametrize(("policy", "action"), [("limit", "limited"), ("scale", "scaled")])
def test_overs_are_settled_and_told(
    policy: str, action: str, make_stem: MakeStem, shelf: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A style that is too loud for 24 bits is brought below full scale, and the event says how."""
    monkeypatch.setattr(style, "restyle_stream", _changing(4.0))
    result = _render(_job(make_stem(), shelf, overs=policy))
    assert result.overs > 0
    assert result.overs_action == action
    assert audio.overs(audio.read(result.output).samples) == 0


def test_overs_can_be_refused_or_kept(
    make_stem: MakeStem, shelf: Library, monkeypatch: pytest.MonkeyPatch, contents: Contents
) -> None:
    """``refuse`` fails the stem and leaves nothing; 32-bit float keeps them all."""
    monkeypatch.setattr(style, "restyle_stream", _changing(4.0))
    with pytest.raises(RenderError, match="over full scale"):
        _render(_job(make_stem(), shelf, overs="refuse"))
    assert contents() == ["vox.wav"]
    result = _render(_job(make_stem(), shelf, overs="refuse", bit_depth="32f"))
    assert result.overs_action == "kept"
    assert result.peak_dbfs == pytest.approx(6.02, abs=0.01)


def test_a_tail_makes_the_output_longer_by_exactly_its_seconds(make_stem: MakeStem, shelf: Library) -> None:
    """Only by choice, and to the sample."""
    job = _job(make_stem(), shelf, tail_s=0.25)
    _render(job)
    assert audio.probe(job.output).frames == 1600 + 2000


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_stem_with_impossible_samples_fails_and_leaves_nothing(
    bad: float, make_stem: MakeStem, shelf: Library, noise: Noise, contents: Contents
) -> None:
    """NaN and infinity are named with their time; not even amount 0 passes them on."""
    stem = make_stem("vox.wav", noise(1, 100), "FLOAT")
    data = bytearray(stem.read_bytes())
    data[-40:-36] = torch.tensor([bad]).numpy().tobytes()
    stem.write_bytes(bytes(data))
    with pytest.raises(AudioError, match=r"vox\.wav: has a sample that is"):
        _render(_job(stem, shelf, amount=0.0))
    assert contents() == ["vox.wav"]


def test_an_engine_that_returns_nonsense_fails_the_stem(
    make_stem: MakeStem, shelf: Library, monkeypatch: pytest.MonkeyPatch, contents: Contents
) -> None:
    """NaN from a solver never reaches a file, nor does half a stem."""
    for engine in (_changing(float("nan")), _changing(1.0, lost=3)):
        monkeypatch.setattr(style, "restyle_stream", engine)
        with pytest.raises(RenderError, match="recipe identity returned"):
            _render(_job(make_stem(), shelf))
        assert contents() == ["vox.wav"]


def test_a_chain_that_fails_leaves_nothing(
    make_stem: MakeStem, shelf: Library, monkeypatch: pytest.MonkeyPatch, contents: Contents
) -> None:
    """The plugin's error is the stem's."""

    def refuse(*_: object, **__: object) -> Tensor:
        raise ChainError("invert cannot process this stem: because")

    monkeypatch.setattr(host, "stream", refuse)
    with pytest.raises(ChainError):
        _render(_job(make_stem(), shelf, preset="half"))
    assert contents() == ["vox.wav"]


def _full_disk(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("fault", ["write", "copy", "stamp", "link", "fsync"])
def test_a_disk_that_fills_up_leaves_nothing_half_written(
    fault: str, make_stem: MakeStem, shelf: Library, monkeypatch: pytest.MonkeyPatch, contents: Contents
) -> None:
    """Wherever it happens: while encoding, copying, stamping, naming or flushing."""
    job = _job(make_stem(), shelf, amount=0.0 if fault == "copy" else 1.0)
    if fault == "write":
        monkeypatch.setattr(audio.Writer, "write", _full_disk)
    elif fault == "copy":
        monkeypatch.setattr(shutil, "copyfile", _full_disk)
    elif fault == "stamp":
        monkeypatch.setattr(stamps, "write", _full_disk)
    else:
        monkeypatch.setattr(os, fault, _full_disk)
    with pytest.raises((OSError, PublishError)):
        _render(job)
    assert contents() == ["vox.wav"]
    assert not job.output.exists()


@pytest.mark.parametrize("policy", ["limit", "scale", "refuse"])
def test_an_interrupt_leaves_nothing(
    policy: str, make_stem: MakeStem, shelf: Library, monkeypatch: pytest.MonkeyPatch, contents: Contents
) -> None:
    """Ctrl-C while the file is half encoded: the half is gone, and so is what waited for a second pass."""
    job = _job(make_stem(), shelf, overs=policy)
    real = audio.Writer.write

    def interrupt(writer: audio.Writer, block: Tensor) -> None:
        real(writer, block[:, :1])
        assert len(contents()) == (3 if policy == "scale" else 2)
        raise KeyboardInterrupt

    monkeypatch.setattr(audio.Writer, "write", interrupt)
    with pytest.raises(KeyboardInterrupt):
        _render(job)
    assert contents() == ["vox.wav"]


def test_a_stem_that_changes_meanwhile_is_not_published(
    make_stem: MakeStem, shelf: Library, noise: Noise, monkeypatch: pytest.MonkeyPatch, contents: Contents
) -> None:
    """A bounce that is still being written would otherwise be rendered half."""
    job = _job(make_stem(), shelf)
    make_stem("vox.wav", noise(2, 1601))
    with pytest.raises(RenderError, match="changed after the plan was made"):
        _render(job)
    real = audio.Writer.close

    def close(writer: audio.Writer) -> None:
        real(writer)
        os.utime(job.stem, (1, 1))

    job = _job(job.stem, shelf)
    monkeypatch.setattr(audio.Writer, "close", close)
    with pytest.raises(RenderError, match="changed while it was rendered"):
        _render(job)
    assert contents() == ["vox.wav"]


def test_the_same_job_gives_the_same_bytes(make_stem: MakeStem, shelf: Library, tmp_path: Path) -> None:
    """Dither included: reducing to 16 bits twice, with one seed, gives one file; another seed gives another."""
    stem = make_stem()
    first, second, third = (
        _job(stem, shelf, out=tmp_path / f"{i}.wav", bit_depth="16", seed=seed) for i, seed in enumerate((0, 0, 1))
    )
    for job in (first, second, third):
        _render(job)
    assert first.output.read_bytes() == second.output.read_bytes() != third.output.read_bytes()


def test_silence_comes_back_as_silence(make_stem: MakeStem, shelf: Library) -> None:
    """Digital silence through amount 1 is digital silence, and is told as such."""
    stem = make_stem("vox.wav", torch.zeros(2, 800))
    job = _job(stem, shelf)
    result = _render(job)
    assert result.peak_dbfs is None
    assert result.level_change_db is None
    assert not audio.read(job.output).samples.any()
