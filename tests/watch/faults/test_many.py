"""Ten thousand stems, each once, by a daemon that does not grow."""

import os
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.watch.conftest import Daemon

MANY = 10_000
MEGABYTE = 1e6
ARROW = " → _out".encode()


def resident_mb(pid: int) -> float:
    """The memory that a process has, in megabytes."""
    [line] = [x for x in Path(f"/proc/{pid}/status").read_text().splitlines() if x.startswith("VmRSS")]
    return int(line.split()[1]) * 1024 / MEGABYTE


def test_ten_thousand_small_stems(daemon: "Daemon") -> None:
    """Each is published exactly once, with memory and descriptors of the daemon bounded; how fast is only told."""
    first = daemon.drop("tape/0.wav", 0.01)
    daemon.start()
    daemon.until_ended(1)
    for number in range(1, MANY):
        shutil.copyfile(first, daemon.folder / "tape" / f"{number}.wav")
    begun = time.monotonic()
    measured = []
    for part in (0.2, 0.4, 0.6, 0.8, 1.0):
        while daemon.output.count(ARROW) < part * MANY:
            assert daemon.running
            # Eight a second, on a machine that is overloaded.
            assert time.monotonic() < begun + 1200, daemon.log[-2000:]
            time.sleep(0.25)  # to look costs as much as to render
        measured.append((resident_mb(daemon.pid), len(os.listdir(f"/proc/{daemon.pid}/fd"))))  # noqa: PTH208
    took_s = time.monotonic() - begun
    daemon.until(lambda: daemon.status()["counts"]["done"] == MANY, "all are done")
    published = _published(daemon)
    assert len(published) == len(set(published)) == MANY
    assert len(daemon.outputs()) == MANY
    memory, descriptors = zip(*measured, strict=True)
    sys.stderr.write(f"{MANY / took_s:.0f} stems/s; the daemon had {', '.join(f'{mb:.0f}' for mb in memory)} MB\n")
    assert max(memory) < 80
    assert memory[-1] < memory[1] + 8
    assert max(descriptors) <= min(descriptors) + 3  # the ledger's, and a log's that is being written
    daemon.check()


def _published(daemon: "Daemon") -> list[str]:
    return [line.split(" info ")[1].split(" → ")[0] for line in daemon.log.splitlines() if " → _out" in line]
