"""Jobs of any length: the memory of a render does not grow with its stem, and no block can be heard."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from engine import audio, style
from engine.style import Source
from presets.library import Library
from render import host, planner, provenance, spool
from render import job as jobs
from render.choices import Choices
from render.overs import Overs, Settling
from render.plan import Job

MakeStem = Callable[..., Path]
Noise = Callable[..., Tensor]

_MEASURED = """
import json, resource, sys
from pathlib import Path

import torch
torch.set_num_threads(1)
from engine import audio
from presets.library import Library
from render import job as jobs
from render import planner
from render.choices import Choices

stem, library, choices = Path(sys.argv[1]), Library(Path(sys.argv[2])), json.loads(sys.argv[3])
(job,) = planner.plan_stems([stem], library=library, choices=Choices(**choices), out=Path("out")).jobs
jobs.render(job, on_event=lambda event: None)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(peak // (1024 if sys.platform == "linux" else 2**20))
"""


def _long(path: Path, minutes: int, peak: float) -> Path:
    """A stem at 8 kHz, a click in every second of a quiet tone, so that there are overs if ``peak`` is above 1."""
    second = 0.1 * torch.sin(torch.arange(8000) * (220 * torch.pi / 4000)).expand(2, -1).clone()
    second[:, 4000] = peak
    with audio.Writer(path, 8000, 2, minutes * 60 * 8000, audio.Format("WAV", "FLOAT")) as writer:
        for _ in range(minutes * 60):
            writer.write(second)
    return path


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such measure")
@pytest.mark.parametrize(
    "choices",
    [
        {"preset": "half", "amount": 1.0, "bit_depth": "16", "overs": "limit"},
        {"preset": "half", "amount": 1.0, "bit_depth": "16", "overs": "scale", "tail_s": 1.0},
        {"preset": "tape", "amount": 0.0},
    ],
    ids=["limit", "scale", "copied"],
)
def test_twenty_minutes_need_the_memory_of_two(choices: dict[str, Any], shelf: Library, tmp_path: Path) -> None:
    """Peak memory of a process, engine, chain and overs included, within 60 MB: the samples alone would be 77 MB."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    peaks = []
    for minutes in (2, 20):
        stem = _long(tmp_path / f"{minutes}.wav", minutes, 1.5)
        command = [sys.executable, "-c", _MEASURED, str(stem), str(shelf.folder), json.dumps(choices)]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        peaks.append(int(done.stdout))
    assert peaks[1] - peaks[0] < 60


@given(
    samples=st.integers(1, 9000),
    block=st.integers(1, 9000),
    subtype=st.sampled_from(["PCM_16", "PCM_32", "DOUBLE"]),
    overs=st.sampled_from(["limit", "scale"]),
    tail_s=st.sampled_from([0.0, 0.05]),
    preset=st.sampled_from(["half", "tape"]),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
def test_blocks_make_the_file_that_the_whole_makes(
    samples: int,
    block: int,
    subtype: str,
    overs: str,
    tail_s: float,
    preset: str,
    shelf: Library,
    tmp_path: Path,
    noise: Noise,
) -> None:
    """Random lengths and blocks: byte for byte what each stage makes of the whole sound, one after the other.

    With the preset that has no chain the first half, which nothing changes, keeps its 32 and 64 bits.
    """
    dry = noise(2, samples, peak=0.8).double() + 2.0**-30
    dry[:, : samples // 3] = 0
    stem = tmp_path / "vox.wav"
    audio.write(stem, dry, 8000, audio.Format("WAV", subtype))
    made = Choices(preset=preset, amount=1.0, overs=overs, tail_s=tail_s)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(style, "restyle_stream", _louder_from_the_middle(block))
        plan = planner.plan_stems([stem], library=shelf, choices=made, out=tmp_path / "out.wav", overwrite=True)
        (job,) = plan.jobs
        result = jobs.render(job, on_event=lambda event: None)
    expected, found = _in_one_go(job, tmp_path / "whole.wav")
    assert job.output.read_bytes() == expected.read_bytes()
    assert (result.overs, result.overs_action, result.gain_db) == (found.count, found.action, found.gain_db)
    before, after = audio.read(job.stem).samples, audio.read(job.output).samples
    if samples > 100:  # with less, the dither of 16 bits weighs too much
        change = 10 * float((after.double().square().mean() / before.double().square().mean()).log10())
        assert result.level_change_db == pytest.approx(change, abs=0.01)
        assert result.peak_dbfs == pytest.approx(20 * float(after.abs().max().log10()), abs=0.01)


def _gain(samples: int) -> Tensor:
    """Three times as loud in the last half, as it was in the first."""
    gain = torch.ones(samples)
    gain[samples // 2 :] = 3.0
    return gain


def _louder_from_the_middle(block: int) -> Callable[..., Iterator[Tensor]]:
    def restyle_stream(source: Source, *_: object, **options: object) -> Iterator[Tensor]:
        gain = _gain(source.samples)
        source.read(0, source.samples // 3)  # to look ahead, as engines do
        for at in range(0, source.samples, block):
            count = min(block, source.samples - at)
            yield source.read(at, count) * gain[at : at + count]

    return restyle_stream


def _in_one_go(job: Job, path: Path) -> tuple[Path, Overs]:
    """The job's stages on the whole sound, one after the other, written to ``path``."""
    stem = audio.read(job.stem, exact=True).samples
    wet = stem.float() * _gain(stem.shape[1])
    wet = host.play(wet, job.info.rate, job.chain, tail_samples=job.tail_samples)
    length = stem.shape[1]
    wet = torch.cat([audio.keep_bits(wet[:, :length], stem), wet[:, length:]], 1)
    settling = Settling(job.info.rate, job.format.subtype, job.overs)
    with spool.beside(path, len(stem)) as waiting:
        settled = torch.cat(list(settling.play([wet], waiting)), 1)
    said = provenance.of(job, audio.read_annotations(job.stem))
    audio.write(path, settled, job.info.rate, job.format, dither_seed=job.settings.seed, annotations=said)
    return path, settling.found
