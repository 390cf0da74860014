"""What an output says beside its sound: all its stem said, one line more, and nothing of the clock."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from engine import audio
from engine.audio import Annotations, Broadcast, Cue
from presets.library import Library
from render import job as jobs
from render import planner, provenance
from render.choices import Choices
from render.plan import Job

MakeStem = Callable[..., Path]
RATE = 8_000
START = 9 * 3600 * RATE + 5
SAID = Annotations(
    RATE,
    Broadcast("Lead vocal", "Recorder", "REF1", "2024-05-06", "09:00:00", START, ("A=PCM,F=8000,W=24,M=stereo,T=Rec",)),
    "<BWFXML><PROJECT>Night</PROJECT><SPEED><AUDIO_BIT_DEPTH>24</AUDIO_BIT_DEPTH></SPEED></BWFXML>",
    (Cue(400, "Verse"), Cue(900, "Chorus", length=300)),
    {"INAM": "Vox", "ISFT": "Recorder"},
)


@pytest.fixture
def told_stem(tmp_path: Path, noise: Callable[..., Tensor]) -> Path:
    """A stem with everything a Broadcast Wave can say."""
    path = tmp_path / "vox.wav"
    audio.write(path, noise(), RATE, audio.Format("WAV", "PCM_24"), annotations=SAID)
    return path


def _job(stem: Path, shelf: Library, **choices: Any) -> Job:
    (job,) = planner.plan_stems([stem], library=shelf, choices=Choices(**{"preset": "tape", **choices})).jobs
    return job


def _rendered(job: Job) -> Annotations:
    jobs.render(job, on_event=lambda event: None)
    return audio.read_annotations(job.output)


def test_a_styled_stem_keeps_its_start_and_all_it_said(told_stem: Path, shelf: Library) -> None:
    """Start time, names, dates, markers, texts and document are the stem's; our coding line comes last."""
    job = _job(told_stem, shelf)
    found = _rendered(job)
    assert found.start_samples == START
    assert found.broadcast is not None
    assert replace(found.broadcast, history=()) == replace(SAID.broadcast or Broadcast(), history=())
    line = found.broadcast.history[-1]
    assert found.broadcast.history[:-1] == ("A=PCM,F=8000,W=24,M=stereo,T=Rec",)
    words = r"Gramophone \S+; preset tape; amount 1; mix 1; quality standard"
    assert re.fullmatch(rf"A=PCM,F=8000,W=24,M=stereo,T={words}", line)
    assert found.cues == SAID.cues
    assert found.tags["INAM"] == "Vox"
    assert found.tags["ISFT"].startswith("Gramophone ")
    assert found.ixml.strip() == SAID.ixml


def test_a_chain_and_another_depth_are_told(told_stem: Path, shelf: Library) -> None:
    """The preset's chain is in the line, without a comma; the depth is that of the output, in the document too."""
    found = _rendered(_job(told_stem, shelf, preset={"half": 1.0}, bit_depth="16"))
    assert found.broadcast is not None
    assert found.broadcast.history[-1].startswith("A=PCM,F=8000,W=16,M=stereo,T=Gramophone")
    assert found.broadcast.history[-1].endswith("; chain invert")
    assert "<AUDIO_BIT_DEPTH>16<" in found.ixml


def test_a_plain_stem_gets_a_start_of_zero_and_a_document(make_stem: MakeStem, shelf: Library) -> None:
    """Its own name describes it, in plain ASCII; no date is made up."""
    found = _rendered(_job(make_stem("Gesänge.wav"), shelf))
    assert found.broadcast is not None
    assert replace(found.broadcast, history=()) == Broadcast("Gesange", "Gramophone")
    assert found.start_samples == 0
    assert "<NOTE>Gesänge: Gramophone" in found.ixml
    assert found.dropped == ()


def test_a_date_is_handed_in_or_carried(told_stem: Path, shelf: Library) -> None:
    """Nobody looks at a clock: the moment is an argument."""
    job = _job(told_stem, shelf)
    found = provenance.of(job, SAID, when=datetime(2025, 1, 2, 3, 4, 5)).broadcast
    assert found is not None
    assert (found.date, found.time) == ("2025-01-02", "03:04:05")
    carried = provenance.of(job, SAID).broadcast
    assert carried is not None
    assert (carried.date, carried.time) == ("2024-05-06", "09:00:00")


def test_rendering_again_says_it_again(told_stem: Path, shelf: Library, tmp_path: Path) -> None:
    """The output of one render is the stem of the next: one more line, and the start time still stands."""
    first = _job(told_stem, shelf)
    _rendered(first)
    found = _rendered(_job(first.output, shelf, preset="rain"))
    assert found.broadcast is not None
    assert len(found.broadcast.history) == 3
    assert "preset rain" in found.broadcast.history[-1]
    assert found.start_samples == START


@pytest.mark.parametrize(
    ("form", "told"),
    [
        ("flac", "FLAC has no place for the start time (32400.001 s), 2 markers and the iXML document of the stem"),
        ("aiff", "AIFF has no place for the start time (32400.001 s) and the iXML document of the stem"),
    ],
)
def test_what_a_format_has_no_place_for_is_in_the_plan(told_stem: Path, shelf: Library, form: str, told: str) -> None:
    """Choosing FLAC or AIFF for a stem with a start time is told before anything is rendered."""
    assert f"{told}; WAV has" in _job(told_stem, shelf, format=form).notes
    assert _job(told_stem, shelf).notes == ()


def test_the_stamp_knows_what_the_file_says(make_stem: MakeStem, shelf: Library, tmp_path: Path) -> None:
    """Another title or another preset name of the same content is another file."""
    job = _job(make_stem(), shelf)
    assert replace(job, title="other").inputs() != job.inputs()
    assert replace(job, label="other").inputs() != job.inputs()
    assert replace(job, ceiling_dbtp=-1.0).inputs() != job.inputs()
    assert replace(job, loudness_lufs=-20.0).inputs() != replace(job, loudness_lufs=-21.0).inputs()
