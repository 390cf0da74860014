"""Killed at any place and at any time, daemon and worker lose nothing: the next one ends what was begun, once."""

import os
import random
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

import watch

if TYPE_CHECKING:
    from tests.watch.conftest import Daemon

NULL = {"null": True}
DAEMON_BARRIERS = (
    *("daemon-found", "daemon-claimed", "daemon-answered", "daemon-written", "daemon-moving", "daemon-moved"),
    *("daemon-deleting", "daemon-deleted", "daemon-explained"),
)
# Reached the first time with nothing left to do; with a source to delete or to move there is.
DAEMON_MOMENTS = (*DAEMON_BARRIERS, "daemon-written%rain/", "daemon-written%tape/a", "daemon-written%tape/broken")
WORKER_BARRIERS = ("worker-claimed", "worker-started", "worker-render", "worker-rendered", "worker-published")


def fill(daemon: "Daemon") -> dict[str, bytes]:
    """Stems that are kept, moved and deleted once done, and one that fails; the bytes of what is to come of them."""
    wanted = {}
    for folder, after in (("flip", "keep"), ("tape", "move"), ("rain", "delete")):
        (daemon.folder / folder).mkdir(parents=True, exist_ok=True)
        (daemon.folder / folder / "watch.toml").write_text(f'after = "{after}"\nchain = []\n')
        for name in ("a", "b"):
            path = daemon.drop(f"{folder}/{name}.wav")
            wanted[f"{folder}/{name}.wav"] = path.read_bytes()
    broken = daemon.drop("tape/broken.wav", subtype="FLOAT")
    soundfile.write(broken, np.full(400, np.nan), 8000, "FLOAT")
    daemon.give()
    return wanted


def assert_ended(daemon: "Daemon", wanted: dict[str, bytes]) -> None:
    """Every stem of `fill` has ended as it should: outputs, sources, the reason."""
    assert {name: (daemon.folder / "_out" / name).read_bytes() for name in daemon.outputs()} == wanted
    left = sorted(path.relative_to(daemon.folder).as_posix() for path in daemon.folder.glob("[ftr]*/*.wav"))
    assert left == ["flip/a.wav", "flip/b.wav"]
    assert sorted(path.name for path in (daemon.folder / "_done/tape").iterdir()) == ["a.wav", "b.wav"]
    failed = sorted(path.name for path in (daemon.folder / "_failed/tape").iterdir())
    assert failed == ["broken.wav", "broken.wav.txt"]
    assert not [path for path in daemon.folder.rglob("*.tmp") if path.is_file()]
    assert {name: state for name, state in daemon.states().items() if state != "done"} == {"tape/broken.wav": "failed"}
    daemon.check()


def test_no_barrier_is_left_out() -> None:
    """Every place in the code at which a process can be killed is one of those below."""
    source = "".join(path.read_text() for path in Path(watch.__file__).parent.glob("*.py"))
    assert set(re.findall(r'barriers\.reach\("([a-z-]+)"', source)) == {*DAEMON_BARRIERS, *WORKER_BARRIERS}


@pytest.mark.parametrize("barrier", DAEMON_MOMENTS)
def test_a_daemon_killed_at_a_barrier(daemon: "Daemon", barrier: str) -> None:
    """Killed at any step, a daemon leaves what the next one ends: the same bytes, each source dealt with once."""
    wanted = fill(daemon)
    daemon.start(env={"GRAMOPHONE_BARRIER": f"{barrier}:kill"}, strange=NULL, wait=False)
    assert daemon.wait() == -signal.SIGKILL
    daemon.check(settled=False)
    daemon.once(strange=NULL)
    assert_ended(daemon, wanted)
    before = daemon.fingerprint()
    daemon.once(strange=NULL)
    assert daemon.fingerprint() == before


@pytest.mark.parametrize("barrier", WORKER_BARRIERS)
def test_a_worker_killed_at_a_barrier(daemon: "Daemon", barrier: str, tmp_path: Path) -> None:
    """A real worker that dies once is replaced, and the stem rendered; nothing is published twice."""
    for name in ("a", "b"):
        daemon.drop(f"tape/{name}.wav")
    marker = tmp_path / "died"
    assert daemon.once(env={"GRAMOPHONE_BARRIER": f"{barrier}:die={marker}"}) == 0
    assert "was killed (SIGKILL)" in daemon.log
    assert marker.exists()
    assert daemon.outputs() == ["tape/a.wav", "tape/b.wav"]
    daemon.check()


def test_two_hundred_kills_at_random(daemon: "Daemon") -> None:
    """Daemons and workers killed two hundred times, at any moment, while stems keep coming: each is done, once."""
    (daemon.folder / "tape").mkdir()
    (daemon.folder / "tape" / "watch.toml").write_text('after = "move"\n')
    config = daemon.folder / "watch.toml"
    config.write_text(config.read_text() + "attempts = 100\nworkers = 2\n")
    choice = random.Random(4)
    stems: dict[str, bytes] = {}
    lives = kills = 0
    while kills < 200:
        lives += 1
        # A stem takes as long as a kill is away: most kills are in the middle of one, before or after publishing it.
        daemon.start(strange=NULL, env={"GRAMOPHONE_NULL_S": "0.05"}, wait=choice.random() < 0.7)
        for _ in range(choice.randrange(1, 15)):
            for _ in range(4):
                name = f"{choice.choice(('tape', 'rain'))}/{len(stems)}.wav"
                stems[name] = daemon.drop(name).read_bytes()
            time.sleep(choice.random() * 0.2)
            workers = daemon.workers()
            if workers:
                try:
                    os.kill(choice.choice(workers), signal.SIGKILL)
                except ProcessLookupError:
                    continue
                kills += 1
        daemon.kill()
        kills += 1
        daemon.check(settled=False)
    config.write_text(config.read_text().replace("workers = 2", "workers = 1"))
    assert daemon.once(strange=NULL) == 0
    assert {name: (daemon.folder / "_out" / name).read_bytes() for name in daemon.outputs()} == stems
    moved = {f"tape/{path.name}": path.read_bytes() for path in (daemon.folder / "_done/tape").iterdir()}
    assert moved == {name: data for name, data in stems.items() if name.startswith("tape/")}
    assert set(daemon.states().values()) == {"done"}
    assert lives > 10
    daemon.check()


def test_restarted_work_gives_the_same_bytes(make_daemon: "Callable[..., Daemon]", daemon: "Daemon") -> None:
    """Stems whose work was cut off by a kill come out as those that nobody disturbed, byte for byte, with dither."""
    daemons = (daemon, make_daemon("undisturbed", user=daemon.user))
    for one in daemons:
        config = one.folder / "watch.toml"
        config.write_text(config.read_text() + 'bit_depth = 16\nchain = [{ plugin = "gain", gain_db = -3.0 }]\n')
        for number in range(3):
            one.drop(f"tape/{number}.wav", 0.3, subtype="PCM_24", seed=number)
    for barrier in ("worker-render@2:kill", "worker-published:kill"):
        daemon.start(env={"GRAMOPHONE_BARRIER": barrier})
        daemon.until(lambda: "was killed (SIGKILL)" in daemon.log, "a worker dies")
        daemon.kill()
    results = []
    for one in daemons:
        assert one.once() == 0
        results.append({name: (one.folder / "_out" / name).read_bytes() for name in one.outputs()})
        one.check()
    assert results[0] == results[1]
    assert len(results[0]) == 3
