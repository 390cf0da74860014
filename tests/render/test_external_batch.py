"""Many stems through one plugin file: loaded once, in a child whose memory and descriptors stay where they were."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor

from engine import audio
from presets.library import Library
from render import batch, chain, children, host, hosting
from render.children import Deadlines
from render.events import Event, StemFailed, StemPublished
from render.planner import plan_album

Noise = Callable[..., Tensor]
MakeStem = Callable[..., Path]
pytestmark = [
    pytest.mark.usefixtures("plugins_here"),
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory and descriptors are read from /proc"),
]


@dataclass(frozen=True)
class _Use:
    """What two processes hold: resident memory in bytes, and open descriptors."""

    child_memory: int
    child_files: int
    host_files: int


def _use() -> _Use:
    ((_, child, _),) = children.POOL._idle.values()
    proc = Path("/proc")
    memory = int((proc / str(child.pid) / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    files = (len(list((proc / pid / "fd").iterdir())) for pid in (str(child.pid), "self"))
    return _Use(memory, *files)


def test_two_hundred_stems_take_one_load_and_no_more_memory(
    noise: Noise, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """200 sounds through two mono instances: they are made once, and after the tenth nothing grows.

    The plugin notes each time that one of it is made. Memory may move by 1 MB, as allocators do; 200 times a block
    would be 50 MB.
    """
    steps, mistakes = chain.parse(
        [{"plugin": "GramoMono", "parameters": {"gain_db": -1.5}}], file="", key="chain", folder=None
    )
    assert not mistakes
    children.POOL.close()
    monkeypatch.setenv("GRAMOPHONE_FIXTURE_LOG", str(tmp_path / "log"))
    dry = noise(2, 3_000)
    first = host.play(dry, 48_000, steps)
    loaded = (tmp_path / "log").read_text()
    for _ in range(9):
        host.play(dry, 48_000, steps)
    before = _use()
    for _ in range(190):
        assert torch.equal(host.play(dry, 48_000, steps), first)
    after = _use()
    assert after.child_memory < before.child_memory + 1_000_000
    assert (after.child_files, after.host_files) == (before.child_files, before.host_files)
    # One instance for each channel; the format asks a plugin for its parts more than once.
    assert (tmp_path / "log").read_text() == loaded
    children.POOL.close()


def test_a_stem_that_fails_leaves_the_others_alone(
    shelf: Library, make_stem: MakeStem, noise: Noise, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seven stems side by side, one of which makes the plugin crash and one hang: five are published, two are named."""
    monkeypatch.setattr(hosting, "DEADLINES", Deadlines(load_s=30, block_s=1, times=1))
    album = '[album]\namount = 0\n[[album.chain]]\nplugin = "GramoGain"\n'
    for index in range(7):
        sound = noise(2, 2_000, seed=index)
        if index in (2, 4):
            sound[0, 700] = 0.95
        make_stem(f"{index}.wav", sound, "FLOAT", rate=48_000)
        album += f'[[track]]\nstem = "{index}.wav"\n'
        plugin = {2: "GramoCrash", 4: "GramoHang"}.get(index, "GramoNan")
        album += f'[[track.chain]]\nplugin = "{plugin}"\nparameters = {{ armed = true }}\n'
    (tmp_path / "album.toml").write_text(album)
    told: list[Event] = []
    plan = plan_album(tmp_path / "album.toml", library=shelf)
    done = batch.run(plan, on_event=told.append, side_by_side=3)
    assert (done.published, done.failed) == (5, 2)
    failed = {event.index: event.reason for event in told if isinstance(event, StemFailed)}
    assert "GramoCrash (armed = true) crashed (SIGSEGV)" in failed[3]
    assert "GramoHang (armed = true) did not answer within" in failed[5]
    for event in told:
        if isinstance(event, StemPublished):
            assert torch.equal(
                audio.read(event.output).samples, audio.read(tmp_path / f"{event.index - 1}.wav").samples
            )
    # What is there is not rendered again, and the plugin is part of what it was rendered from.
    again = plan_album(tmp_path / "album.toml", library=shelf)
    assert [job.done for job in again.jobs] == [True, True, False, True, False, True, True]
    children.POOL.close()
