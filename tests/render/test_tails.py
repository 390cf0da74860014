"""Tails: cut, kept for so many seconds, or kept until nothing is heard any more, whatever the blocks."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from engine import audio
from presets.library import Library
from render import batch, chain, planner, tails
from render import job as jobs
from render.choices import Choices
from render.errors import InputError
from render.events import StemPublished
from render.plan import Job

RATE = 8000
MakeStem = Callable[..., Path]
Noise = Callable[..., Tensor]
ECHO = 'chain = [{ plugin = "delay", delay_seconds = 0.25, feedback = 0.5, mix = 0.5 }]'


def _cut(sound: Tensor, cuts: list[int]) -> Iterator[Tensor]:
    edges = sorted({0, sound.shape[1], *(c for c in cuts if c < sound.shape[1])})
    return (sound[:, a:b] for a, b in itertools.pairwise(edges))


def _album(tmp_path: Path, track: str = "", album: str = "") -> Path:
    path = tmp_path / "album.toml"
    path.write_text(f'[album]\namount = 0\n{album}\n[[track]]\nstem = "vox.wav"\n{track}\n')
    return path


def _published(job: Job) -> StemPublished:
    return jobs.render(job, on_event=lambda event: None)


@given(
    st.integers(1, 400),
    st.lists(st.integers(0, 2_000), max_size=6),
    st.lists(st.integers(1, 2_000), max_size=8),
    st.integers(1, 500),
)
@settings(max_examples=200, deadline=None)
def test_what_is_kept_does_not_hear_the_blocks(stem: int, loud: list[int], cuts: list[int], hold: int) -> None:
    """Against the plain definition: up to the last sample over −90 dBFS before the first gap of ``hold``."""
    sound = torch.full((2, 2_001), 3.1e-5)
    for at in loud:
        sound[at % 2, at] = -3.2e-5
    end = stem
    for at in sorted(loud):
        if stem <= at < end + hold:
            end = at + 1
    kept = torch.cat(list(tails.until_quiet(_cut(sound, cuts), stem, hold)), 1)
    assert torch.equal(kept, sound[:, :end])


def test_no_more_is_asked_for_than_it_takes_to_know() -> None:
    """Of blocks without end as many are heard as the hold needs."""
    heard = 0

    def endless() -> Iterator[Tensor]:
        nonlocal heard
        while True:
            heard += 1
            yield torch.zeros(1, 100)

    assert sum(b.shape[1] for b in tails.until_quiet(endless(), 250, 400)) == 250
    assert heard == 7


def test_auto_keeps_the_echoes_and_ends_when_they_are_gone(
    tmp_path: Path, make_stem: MakeStem, shelf: Library, noise: Noise
) -> None:
    """Echoes that halve every 0.25 s from -12 dBFS: below -90 dBFS after 13 of them, and there the file ends."""
    dry = torch.zeros(2, 1600)
    dry[:, 1000] = 0.5
    make_stem(samples=dry, subtype="FLOAT")
    (job,) = planner.plan_album(_album(tmp_path, ECHO + '\ntail_s = "auto"'), library=shelf).jobs
    published = _published(job)
    heard = audio.read(job.output).samples
    echoes = heard[0].nonzero()[:, 0].tolist()
    assert echoes == [1000 + 2000 * k for k in range(len(echoes))]
    assert heard.shape[1] == echoes[-1] + 1
    assert float(heard[0, -1]) > 10 ** (-90 / 20) >= float(heard[0, -1]) / 2
    assert published.duration_s == heard.shape[1] / RATE
    long = planner.plan_album(_album(tmp_path, ECHO + "\ntail_s = 10.0"), library=shelf, overwrite=True).jobs[0]
    _published(long)
    assert torch.equal(audio.read(long.output).samples[:, : heard.shape[1]], heard)


@pytest.mark.parametrize("track", ['tail_s = "auto"', f"{ECHO}\ntail_s = 0", ECHO])
def test_without_a_chain_or_a_wish_the_length_is_the_stem_s(
    track: str, tmp_path: Path, make_stem: MakeStem, shelf: Library
) -> None:
    """Nothing rings without a chain, and 0 cuts."""
    make_stem()
    (job,) = planner.plan_album(_album(tmp_path, track), library=shelf).jobs
    _published(job)
    assert audio.probe(job.output).frames == 1600


def test_what_never_ends_is_ended(
    tmp_path: Path, make_stem: MakeStem, shelf: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Echoes that never fade are kept for as long as there may be a tail: 60 s, here 3."""
    monkeypatch.setattr(tails, "LONGEST_S", 3.0)
    make_stem()
    for_ever = 'chain = [{ plugin = "delay", delay_seconds = 0.1, feedback = 1.0 }]\ntail_s = "auto"'
    (job,) = planner.plan_album(_album(tmp_path, for_ever), library=shelf).jobs
    _published(job)
    assert audio.probe(job.output).frames == pytest.approx(1600 + 3 * RATE, abs=RATE // 10)


def test_a_delay_is_waited_for() -> None:
    """As long as all delays in the chain together, with two seconds more."""
    entries: list[dict[str, Any]] = [{"plugin": "delay", "delay_seconds": 3.0}]
    steps, _ = chain.parse([*entries, {"plugin": "mix", "plugins": entries}], file="", key="chain", folder=None)
    assert tails.hold_samples(steps, RATE) == 8 * RATE


@pytest.mark.parametrize("more", [{"loudness_lufs": -20.0}, {"overs": "scale"}, {"format": "flac"}, {}])
def test_all_that_comes_after_agrees_on_the_length(
    more: dict[str, Any], tmp_path: Path, make_stem: MakeStem, shelf: Library, noise: Noise
) -> None:
    """A loudness, scaling and a container without float: header and sound of one length, the same sound."""
    make_stem(samples=noise(2, 8_000), subtype="PCM_24")
    (job,) = planner.plan_album(
        _album(tmp_path, ECHO + '\ntail_s = "auto"'), library=shelf, choices=Choices(**more)
    ).jobs
    published = _published(job)
    info = soundfile.info(str(job.output))
    heard = audio.read(job.output).samples
    assert info.frames == heard.shape[1] == round(published.duration_s * RATE) > 8_000
    assert heard[:, -1].abs().max() > 0


def test_auto_is_in_the_stamp_and_found_again(tmp_path: Path, make_stem: MakeStem, shelf: Library) -> None:
    """An output with a tail that was found is known the next time, and is another than one without."""
    make_stem()
    album = _album(tmp_path, ECHO + '\ntail_s = "auto"')
    plan = planner.plan_album(album, library=shelf)
    assert batch.run(plan, on_event=lambda event: None).published == 1
    (again,) = planner.plan_album(album, library=shelf).jobs
    assert again.done
    with pytest.raises(InputError, match="overwrite"):
        planner.plan_album(_album(tmp_path, ECHO), library=shelf)


def test_a_plugin_file_s_tail_ends_too(tmp_path: Path, make_stem: MakeStem, shelf: Library, plugins_here: Path) -> None:
    """A gain that is 100 samples late has no tail: to the bit the stem's length and sound, and the child is kept."""
    dry = make_stem(subtype="FLOAT")
    (job,) = planner.plan_album(
        _album(tmp_path, 'chain = [{ plugin = "GramoGain" }]\ntail_s = "auto"'), library=shelf
    ).jobs
    for _ in range(2):
        _published(job)
        assert torch.equal(audio.read(job.output).samples, audio.read(dry).samples)
        job.output.unlink()
