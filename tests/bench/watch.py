"""What the watched folder's daemon takes and how fast it is, as Markdown: ``python -m tests.bench.watch``.

Everything is measured from outside, on a daemon as a user starts it: a worker with the real engine, and a preset that
changes nothing, so that what is left is the daemon's own. Linux only (``/proc``); on a busy machine the figures are
lower bounds of what it can do. Nothing here is a test.
"""

import argparse
import contextlib
import json
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from engine import system
from engine.bench.tables import table
from tests.watch.conftest import Daemon, make_shelf, write_stem
from watch import ledgerfile
from watch.view import view

SETTLE_S = 0.5
# For a daemon that runs as `watch init` sets it up, but for the time a stem has to be still.
CONFIG = f"settle_s = {SETTLE_S}\nmin_free_mb = 0\n"
MEGABYTE = 1e6
# As a line of the log says that an output is there, and the same as JSON.
ARROW, ARROW_JSON = " → _out", " \\u2192 _out"


def main() -> None:
    """Measure, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stems", type=int, default=10_000, help="how many stems are dropped at once")
    parser.add_argument("--singles", type=int, default=30, help="how many stems are dropped one by one")
    parser.add_argument("--idle-s", type=float, default=30.0, help="seconds to watch a daemon that has nothing to do")
    chosen = parser.parse_args()
    if not sys.platform.startswith("linux"):
        parser.error("processes are looked at through /proc; expected Linux")
    load = os.getloadavg()[0]
    rows: list[tuple[str, str, str]] = []
    with tempfile.TemporaryDirectory(prefix="gramophone-bench-") as name:
        ground = Path(name)
        with _running(ground / "stems", _shelf(ground)) as daemon:
            _latency(daemon, chosen.singles, rows)
            _idle(daemon, chosen.idle_s, f"with {chosen.singles} stems", rows)
            _many(daemon, ground, chosen.stems, rows)
            _idle(daemon, chosen.idle_s, f"with {chosen.stems + chosen.singles:,} stems", rows)
    machine = f"{system.processor()}, {os.cpu_count()} cores, Python {sys.version.split()[0]}, load before {load:.1f}"
    sys.stdout.write(f"{machine}\n\n{table(('what', 'asked for', 'measured'), rows)}\n")


def _shelf(ground: Path) -> Path:
    (ground / "library").mkdir()
    return make_shelf(ground / "library")


@contextlib.contextmanager
def _running(folder: Path, shelf: Path) -> Iterator[Daemon]:
    daemon = Daemon(folder, shelf, config=CONFIG)
    daemon.start("--json")
    try:
        daemon.until(lambda: "is ready on" in daemon.log, "a worker is ready")
        yield daemon
    finally:
        daemon.end()


def _latency(daemon: Daemon, count: int, rows: list[tuple[str, str, str]]) -> None:
    """From the moment a stem has been still for long enough, to its being handed to the worker and to its output."""
    choice = random.Random(1)
    dropped = {}
    for number in range(count):
        path = write_stem(daemon.folder.parent / f"{number}.wav", seed=number)
        (daemon.folder / "tape").mkdir(exist_ok=True)
        dropped[number] = time.time()
        path.rename(daemon.folder / "tape" / path.name)
        time.sleep(SETTLE_S + choice.random())
    daemon.until_ended(count)
    started = _told(daemon, lambda text: text.endswith("is started"), r"/tape/")
    published = _told(daemon, lambda text: ARROW in text, "tape/")
    for what, times, asked in (
        ("settled → handed to the warm worker", started, "< 0.5 s"),
        ("settled → published (50 ms of sound, a preset that changes nothing)", published, ""),
    ):
        late = [times[number] - dropped[number] - SETTLE_S for number in dropped]
        rows.append((what, asked, f"median {statistics.median(late):.3f} s, worst of {count} {max(late):.3f} s"))


def _told(daemon: Daemon, wanted: Callable[[str], bool], before: str) -> dict[int, float]:
    """When the log told of each stem, by its number."""
    from datetime import datetime

    found = {}
    for line in daemon.log.splitlines():
        with contextlib.suppress(ValueError):
            record = json.loads(line)
            if wanted(record["message"]):
                number = record["message"].partition(before)[2].partition(".wav")[0]
                found[int(number)] = datetime.fromisoformat(record["time"]).timestamp()
    return found


def _idle(daemon: Daemon, seconds: float, where: str, rows: list[tuple[str, str, str]]) -> None:
    """What it costs while nothing happens, after a few seconds for what is left to do."""
    time.sleep(5.0)
    pids = {"daemon": [daemon.pid], "worker": daemon.workers()}
    before = {name: sum(map(_cpu_s, ids)) for name, ids in pids.items()}
    begun = time.monotonic()
    time.sleep(seconds)
    took = time.monotonic() - begun
    used = {name: (sum(map(_cpu_s, ids)) - before[name]) / took for name, ids in pids.items()}
    rows.append((f"idle CPU of the daemon, {where}", "< 0.5 % of a core", f"{100 * used['daemon']:.2f} %"))
    rows.append((f"idle CPU of its worker, {where}", "", f"{100 * used['worker']:.2f} %"))
    rows.append((f"memory of the daemon, {where}", "< 80 MB", f"{_resident_mb(daemon.pid):.1f} MB"))
    heavy = [name for name in ("torch", "numpy", "soundfile") if name in Path(f"/proc/{daemon.pid}/maps").read_text()]
    rows.append(("heavy packages in the daemon", "none", ", ".join(heavy) or "none"))


def _many(daemon: Daemon, ground: Path, count: int, rows: list[tuple[str, str, str]]) -> None:
    """A tree of stems that arrives at once, and `watch status` meanwhile."""
    before = daemon.log.count(ARROW_JSON)
    tree = ground / "tree"
    first = write_stem(tree / "0.wav", 0.01)
    for number in range(1, count):
        shutil.copyfile(first, tree / f"{number}.wav")
    answers: list[tuple[float, float]] = []
    memory: list[float] = []
    begun = time.monotonic()
    cpu = _cpu_s(daemon.pid), sum(map(_cpu_s, daemon.workers()))
    tree.rename(daemon.folder / "rain")
    while (done := _done(daemon) - before) < count:
        if done >= len(memory) * count / 5:
            memory.append(_resident_mb(daemon.pid))
            answers.append(_status(daemon))
        time.sleep(0.25)
    took = time.monotonic() - begun - SETTLE_S
    cpu = _cpu_s(daemon.pid) - cpu[0], sum(map(_cpu_s, daemon.workers())) - cpu[1]
    memory.append(_resident_mb(daemon.pid))
    daemon.until(lambda: daemon.log.count(ARROW_JSON) >= before + count, "all are told")
    said = [json.loads(line)["message"] for line in daemon.log.splitlines() if ARROW_JSON in line]
    once = len(said) == len(set(said)) == len(daemon.outputs()) == before + count
    rows.append((f"{count:,} stems at once: each published once", "yes", "yes" if once else "NO"))
    rows.append((f"{count:,} stems at once: throughput", "≥ 100 stems/s", f"{count / took:.0f} stems/s"))
    rows.append(("CPU per stem, daemon and worker", "", f"{1e3 * cpu[0] / count:.1f} + {1e3 * cpu[1] / count:.1f} ms"))
    flat = ", ".join(f"{mb:.1f}" for mb in memory)
    rows.append(("memory of the daemon meanwhile, at every fifth", "flat", f"{flat} MB"))
    walls, cpus = zip(*answers, strict=True)
    text = f"median {statistics.median(walls):.3f} s, worst of {len(walls)} {max(walls):.3f} s"
    rows.append(("`watch status` while rendering", "< 0.3 s", f"{text}; CPU {statistics.median(cpus):.3f} s"))


def _status(daemon: Daemon) -> tuple[float, float]:
    """Seconds of the clock and of the processor that one `gramophone watch status` takes."""
    script = Path(sys.executable).with_name("gramophone")
    words = [str(script)] if script.exists() else [sys.executable, "gramophone.py"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.monotonic()
    subprocess.run([*words, "watch", "status", str(daemon.folder)], stdout=subprocess.DEVNULL, check=True)
    wall = time.monotonic() - begun
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _done(daemon: Daemon) -> int:
    with view(daemon.state / ledgerfile.NAME) as ledger:
        return ledger.counts()["done"]


def _cpu_s(pid: int) -> float:
    """Seconds that all threads of a process have run, to the nanosecond."""
    total = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            total += int((thread / "schedstat").read_text().split()[0])
    return total / 1e9


def _resident_mb(pid: int) -> float:
    [line] = [x for x in Path(f"/proc/{pid}/status").read_text().splitlines() if x.startswith("VmRSS")]
    return int(line.split()[1]) * 1024 / MEGABYTE


if __name__ == "__main__":
    main()
