"""Killed in the middle of any system call, by strace, daemon and worker leave nothing that the next one cannot end."""

import json
import random
import re
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.watch.conftest import Daemon

NULL = {"null": True}
# What changes something on the disk, and what is done just before that.
CALLS = (
    *("openat", "mkdir", "rename", "link", "linkat", "unlink", "fsync", "fdatasync", "pwrite64", "write", "ftruncate"),
    *("flock", "fcntl", "sendto", "newfstatat"),
)
LIVES = 24


def test_a_daemon_killed_at_system_calls(
    daemon: "Daemon", strace: Callable[..., tuple[str, ...]], tmp_path: Path
) -> None:
    """One life after the other ends at another call among all that a life makes; in the end each stem is done, once."""
    (daemon.folder / "tape").mkdir()
    (daemon.folder / "tape" / "watch.toml").write_text('after = "move"\n')
    stems: dict[str, bytes] = {}

    def drop() -> None:
        for folder in ("tape", "rain"):
            name = f"{folder}/{len(stems)}.wav"
            stems[name] = daemon.drop(name).read_bytes()

    drop()
    log = tmp_path / "calls"
    assert daemon.once(strange=NULL, wrap=strace(log, "-e", f"trace={','.join(CALLS)}")) == 0
    killed = 0
    for call, nth in _chosen(log.read_text()):
        drop()
        inject = f"inject={call}:signal=SIGKILL:when={nth}"
        code = daemon.once(strange=NULL, wrap=strace(tmp_path / "log", "-e", f"trace={call}", "-e", inject))
        killed += code == -signal.SIGKILL
        daemon.check(settled=False)
    assert killed >= LIVES * 2 // 3  # a life that had less to do does not come as far
    assert daemon.once(strange=NULL) == 0
    assert {name: (daemon.folder / "_out" / name).read_bytes() for name in daemon.outputs()} == stems
    moved = {f"tape/{path.name}": path.read_bytes() for path in (daemon.folder / "_done/tape").iterdir()}
    assert moved == {name: data for name, data in stems.items() if name.startswith("tape/")}
    daemon.check()


def _chosen(log: str) -> list[tuple[str, int]]:
    """Some of the calls in ``log``, those that a life makes once it has begun, each with its number."""
    counts: Counter[str] = Counter()
    made = []
    begun = False
    for line in log.splitlines():
        if found := re.match(r"([a-z0-9_]+)\(", line):
            counts[found[1]] += 1
            begun = begun or ".gramophone" in line
            if begun:
                made.append((found[1], counts[found[1]]))
    # Of each call a few, the rare ones all: what is done once is as dangerous as what is done often.
    of_each = {call: [one for one in made if one[0] == call] for call in counts}
    choice = random.Random(4)
    few = [choice.sample(ones, min(3, len(ones))) for ones in of_each.values()]
    flat = [one for ones in few for one in ones]
    return choice.sample(flat, min(LIVES, len(flat)))


def test_a_worker_killed_at_system_calls(
    daemon: "Daemon", strace: Callable[..., tuple[str, ...]], tmp_path: Path
) -> None:
    """Real workers die at each step of publishing their second stem: flush, link, rename, record; all is done, once."""
    config = daemon.folder / "watch.toml"
    config.write_text(config.read_text() + "attempts = 50\nbit_depth = 24\n")
    # Flushed are the record's text and folder, the output and its folder, five and more times in the second stem.
    points = [
        *(("fsync", nth) for nth in (5, 6, 7, 8)),
        ("link,linkat", 2),
        ("rename,renameat", 2),
        ("unlink,unlinkat", 3),
    ]
    prefixes = [
        strace(tmp_path / f"log{index}", "-e", f"trace={call}", "-e", f"inject={call}:signal=SIGKILL:when={nth}")
        for index, (call, nth) in enumerate(points)
    ]
    stems = {f"tape/{index}.wav": daemon.drop(f"tape/{index}.wav").read_bytes() for index in range(40)}
    assert daemon.once(strange={"prefixes": prefixes}) == 0
    killed = daemon.log.count("worker 1 was killed (SIGKILL)")
    assert killed == len(points)
    assert daemon.outputs() == sorted(stems)
    # As after a power cut: no record claims what is not there.
    for record in (daemon.folder / "_out/tape/.gramophone/renders").glob("*.json"):
        assert f"tape/{json.loads(record.read_text())['output']}" in stems
    daemon.check()
    before = daemon.fingerprint()
    assert daemon.once() == 0
    assert daemon.fingerprint() == before


@pytest.mark.parametrize(
    ("call", "path"),
    [
        ("pwrite64", ".gramophone/ledger.sqlite-wal"),
        ("fdatasync", ".gramophone/ledger.sqlite-wal"),
        ("openat", ".gramophone/ledger.sqlite"),
        ("mkdir", "_done/tape"),
    ],
)
def test_a_call_that_fails_stops_nothing(
    make_daemon: "Callable[..., Daemon]",
    daemon: "Daemon",
    strace: Callable[..., tuple[str, ...]],
    tmp_path: Path,
    call: str,
    path: str,
) -> None:
    """EIO in the daemon, at up to three calls in a row on a file of its own, is got over without anyone's help."""
    before = make_daemon("before", user=daemon.user)
    for one in (before, daemon):
        (one.folder / "tape").mkdir()
        (one.folder / "tape" / "watch.toml").write_text('after = "move"\n')
        one.drop("tape/vox.wav")
    log = tmp_path / "calls"
    assert before.once(strange=NULL, wrap=strace(log, "-P", str(before.folder / path), "-e", f"trace={call}")) == 0
    first = 1 + log.read_text().count(f"{call}(") // 3
    inject = f"inject={call}:error=EIO:when={first}..{first + 2}"
    wrap = strace(log, "-P", str(daemon.folder / path), "-e", f"trace={call}", "-e", inject)
    daemon.start(strange=NULL, wrap=wrap, wait=False)
    daemon.until((daemon.folder / "_done/tape/vox.wav").exists, "it is done and moved")
    daemon.until_states(tape__vox="done")
    daemon.until(lambda: "(INJECTED)" in log.read_text(), "a call has failed")
    assert daemon.stop() == 0
    daemon.check()
