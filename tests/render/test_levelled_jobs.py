"""Jobs with a loudness or a ceiling: met, told before and after, and never clipped."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from engine import audio
from presets.library import Library
from render import job as jobs
from render import planner
from render.choices import Choices
from render.cli import app
from render.errors import InputError
from render.events import StemPublished
from render.loudness import measure
from render.plan import Job
from render.progress import outcome

MakeStem = Callable[..., Path]
Noise = Callable[..., Tensor]


def _job(stem: Path, shelf: Library, **choices: Any) -> Job:
    (job,) = planner.plan_stems([stem], library=shelf, choices=Choices(**{"preset": "tape", **choices})).jobs
    return job


def _render(job: Job) -> StemPublished:
    return jobs.render(job, on_event=lambda event: None)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT", "DOUBLE"])
@pytest.mark.parametrize("policy", ["limit", "scale", "refuse"])
def test_a_loudness_is_met_in_every_format(
    subtype: str, policy: str, make_stem: MakeStem, shelf: Library, noise: Noise
) -> None:
    """The file on the disk has the loudness that was asked for, and the event says what was and what is."""
    stem = make_stem("vox.wav", noise(2, 8000), subtype)
    result = _render(_job(stem, shelf, loudness_lufs=-23.0, overs=policy))
    assert measure(result.output).lufs == pytest.approx(-23.0, abs=0.01)
    assert result.lufs_before == pytest.approx(measure(stem).lufs, abs=0.01)
    assert result.lufs_after == pytest.approx(-23.0, abs=0.002)
    assert result.levelled_db == pytest.approx(-23.0 - (measure(stem).lufs or 0), abs=0.01)
    assert result.dbtp_after == pytest.approx((result.dbtp_before or 0) + (result.levelled_db or 0), abs=0.001)
    assert result.overs == 0


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "FLOAT"])
@pytest.mark.parametrize("choices", [{"loudness_lufs": 0.0, "ceiling_dbtp": 0.0}, {"ceiling_dbtp": -6.0}])
def test_nothing_is_ever_clipped(
    subtype: str, choices: dict[str, Any], make_stem: MakeStem, shelf: Library, noise: Noise
) -> None:
    """However much is asked for, the true peak of the file stays below the ceiling, dither and all."""
    result = _render(_job(make_stem("vox.wav", noise(2, 8000, peak=0.9), subtype), shelf, overs="refuse", **choices))
    found = measure(result.output).dbtp
    step = {"PCM_U8": 2**-7, "PCM_16": 2**-15}.get(subtype, 0.0)
    assert found is not None
    # Dither adds at most one step and a half, and some of it between samples.
    assert 10 ** (found / 20) <= 10 ** (choices["ceiling_dbtp"] / 20) + 3 * step + 1e-4
    assert audio.overs(audio.read(result.output).samples) == 0
    assert result.overs_action == "none"


def test_full_scale_leaves_room_for_the_dither(make_stem: MakeStem, shelf: Library) -> None:
    """A tone whose crests are samples, brought to 0 dBTP in 8 bits: the gain stops short of what would be limited."""
    crests = torch.cos(torch.arange(8000) * (torch.pi / 40))[None] * torch.hann_window(8000) * 0.5
    stem = make_stem("vox.wav", crests, "FLOAT")
    (job,) = planner.plan_stems(
        [stem], library=shelf, choices=Choices(preset="tape", loudness_lufs=0.0, ceiling_dbtp=0.0)
    ).jobs
    result = _render(replace(job, format=audio.Format("WAV", "PCM_U8")))
    assert (result.overs, result.overs_action) == (0, "none")
    assert result.dbtp_after == pytest.approx(-0.206, abs=0.005)


def test_a_ceiling_that_is_kept_already_changes_no_bit(make_stem: MakeStem, shelf: Library, noise: Noise) -> None:
    """A ceiling alone never turns up, and 0 dB is no multiplication: wide samples keep all their bits."""
    stem = make_stem("vox.wav", noise(2, 4000).double() / 3 + 2.0**-40, "DOUBLE")
    result = _render(_job(stem, shelf, amount=0.0, ceiling_dbtp=-1.0))
    assert result.levelled_db == 0.0
    assert torch.equal(audio.read(stem, exact=True).samples, audio.read(result.output, exact=True).samples)


def test_no_level_is_touched_unasked(make_stem: MakeStem, shelf: Library) -> None:
    """Without a choice nothing is measured and nothing told."""
    result = _render(_job(make_stem(), shelf))
    assert (result.levelled_db, result.lufs_before, result.dbtp_after) == (None, None, None)


def test_silence_has_no_level(make_stem: MakeStem, shelf: Library) -> None:
    """Digital silence stays silence, whatever loudness is asked for."""
    result = _render(_job(make_stem("vox.wav", torch.zeros(2, 4000)), shelf, loudness_lufs=-14.0))
    assert (result.levelled_db, result.lufs_before, result.lufs_after) == (0.0, None, None)
    assert not audio.read(result.output).samples.any()


def test_the_same_bytes_again(make_stem: MakeStem, shelf: Library, noise: Noise, tmp_path: Path) -> None:
    """The gain that was found is the gain that is found again."""
    stem = make_stem("vox.wav", noise(2, 8000), "PCM_16")
    made = []
    for name in ("a", "b"):
        choices = Choices(preset="tape", loudness_lufs=-19.0)
        (job,) = planner.plan_stems([stem], library=shelf, choices=choices, out=tmp_path / f"{name}.wav").jobs
        made.append(_render(job).output.read_bytes())
    assert made[0] == made[1]


def test_the_track_wins_over_the_album(make_stem: MakeStem, shelf: Library, noise: Noise, tmp_path: Path) -> None:
    """A loudness for all and another for one; each is in its job."""
    make_stem("a.wav", noise(2, 4000))
    manifest = tmp_path / "album.toml"
    manifest.write_text(
        '[album]\npreset = "tape"\nloudness_lufs = -18\nceiling_dbtp = -2.0\n[[track]]\nstem = "a.wav"\n'
        '[[track]]\nstem = "a.wav"\ntitle = "b"\nloudness_lufs = -23.5\n'
    )
    first, second = planner.plan_album(manifest, library=shelf).jobs
    assert (first.loudness_lufs, first.ceiling_dbtp) == (-18, -2.0)
    assert (second.loudness_lufs, second.ceiling_dbtp) == (-23.5, -2.0)


def test_mistakes_are_told_before_anything_is_rendered(make_stem: MakeStem, shelf: Library, tmp_path: Path) -> None:
    """Out of range, of another kind, misspelt: one line each, all at once."""
    make_stem("a.wav")
    manifest = tmp_path / "album.toml"
    manifest.write_text(
        '[album]\npreset = "tape"\nloudness_lufs = 3\n'
        '[[track]]\nstem = "a.wav"\nceiling_dbtp = "-1"\nloudness_luf = -14\n'
    )
    with pytest.raises(InputError) as caught:
        planner.plan_album(manifest, library=shelf)
    told = sorted(str(mistake).partition("album.toml: ")[2] for mistake in caught.value.mistakes)
    assert told[0] == "album.loudness_lufs: found 3; expected a number of LUFS from -60 to 0"
    assert told[1] == "track[1].ceiling_dbtp: found '-1'; expected a number of dBTP from -20 to 0"
    assert told[2].startswith("track[1].loudness_luf: no such key here")
    assert "loudness_lufs" in told[2].rpartition("ceiling_dbtp")[2]


def test_a_rate_no_filter_fits_is_a_mistake_of_the_plan(make_stem: MakeStem, shelf: Library) -> None:
    """Loudness is not defined for telephone rates; that is said before anything is rendered."""
    stem = make_stem("vox.wav", rate=3_000)
    with pytest.raises(InputError, match=r"vox\.wav is at 3000 Hz; expected at least 4000 Hz where a loudness"):
        _job(stem, shelf, ceiling_dbtp=-1.0)


def test_a_level_is_told_in_a_line() -> None:
    """What was done and what it came to; nothing where no level was asked for; silence is not a number."""
    plain = StemPublished(1, "vox", Path("vox.wav"), "WAV PCM_24", 10.0, 2.0, -1.0, 0.0, 0, "none", 0.0, False)
    assert outcome(plain) == "5.0× real time, peak -1.0 dBFS"
    done = replace(plain, levelled_db=3.21, lufs_before=-21.2, lufs_after=-18.0, dbtp_before=-9.0, dbtp_after=-5.79)
    assert outcome(done).endswith("levelled by +3.2 dB to -18.0 LUFS at -5.8 dBTP")
    silent = replace(plain, levelled_db=0.0)
    assert outcome(silent).endswith("levelled by +0.0 dB to no loudness")


def test_the_command_line_takes_a_level(
    make_stem: MakeStem, shelf: Library, noise: Noise, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Typed, it wins; it is in the plan, in the event and in the file; out of range it is one line and exit code 2."""
    monkeypatch.setenv("GRAMOPHONE_LIBRARY", str(shelf.folder))
    stem, out = make_stem("vox.wav", noise(2, 8000)), tmp_path / "out.wav"
    given = ["render", str(stem), "-p", "tape", "-o", str(out), "--loudness-lufs", "-20", "--ceiling-dbtp", "-2"]
    planned = CliRunner().invoke(app, [*given, "-n", "--json"])
    job = json.loads(planned.stdout.splitlines()[0])
    assert (job["loudness_lufs"], job["ceiling_dbtp"]) == (-20.0, -2.0)
    assert "-20 LUFS" in " ".join(CliRunner().invoke(app, [*given, "-n"], env={"COLUMNS": "300"}).stdout.split())
    done = CliRunner().invoke(app, [*given, "--json"])
    assert done.exit_code == 0
    events = [json.loads(line) for line in done.stdout.splitlines()]
    (told,) = [event for event in events if "lufs_after" in event]
    assert told["lufs_after"] == pytest.approx(-20.0, abs=0.002)
    assert measure(out).lufs == pytest.approx(-20.0, abs=0.01)
    wrong = CliRunner().invoke(app, [*given[:-1], "2"])
    assert wrong.exit_code == 2
    assert "--ceiling-dbtp: found 2.0; expected a number of dBTP from -20 to 0" in " ".join(wrong.stderr.split())
