"""Peak memory of one render, imports included, each measured in a process of its own.

The child is ``python -m engine.bench.memory``; it takes what to render on stdin and says what it needed on stdout.
"""

import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

import engine
from engine.bench import pairs
from engine.bench.pairs import Pair
from engine.bench.written import through_file
from engine.errors import EngineError
from engine.style import Settings, learn, restyle
from engine.target import Target

RATE_HZ = 44100
TIMEOUT_S = 1800


@dataclass(frozen=True)
class Memory:
    """The most memory a process has held for one render, in bytes; None where the system does not say."""

    quality: str
    seconds: float
    imports: int | None
    peak: int | None
    device: int | None


def measure(pair: Pair, quality: str, seconds: float, device: torch.device) -> Memory:
    """Render ``pair`` (stereo, 44.1 kHz) in a fresh process and ask what it needed."""
    stem, style = pairs.make(pair, seconds, RATE_HZ)
    target = learn([style], RATE_HZ)
    parcel = io.BytesIO()
    work = {"quality": quality, "device": str(device), "stem": stem, "rate": RATE_HZ, "recipe": target.recipe}
    torch.save({**work, "params": dict(target.params), "tensors": dict(target.tensors)}, parcel)
    root = str(Path(engine.__file__).parent.parent)
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        [sys.executable, "-m", "engine.bench.memory"],
        input=parcel.getvalue(),
        capture_output=True,
        env={**os.environ, "PYTHONPATH": path},
        timeout=TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        last = said[-1] if said else "it said nothing"
        raise EngineError(f"the process that measures memory ended with {done.returncode}: {last}")
    found = json.loads(done.stdout)
    return Memory(quality, seconds, found["imports"], found["peak"], found["device"])


def high_water() -> int | None:
    """The most memory this process has held so far, in bytes; None where the system does not say."""
    if sys.platform.startswith("linux"):
        # ru_maxrss would not do: a child inherits its parent's.
        for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        return None
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return None


def _render() -> None:
    """The child's work: the parcel on stdin rendered, through a file and back, and JSON on stdout."""
    imports = high_water()
    parcel = torch.load(io.BytesIO(sys.stdin.buffer.read()), weights_only=True)
    target = Target(parcel["recipe"], parcel["params"], parcel["rate"], parcel["tensors"])
    settings = Settings(quality=parcel["quality"], device=parcel["device"])
    through_file(restyle(parcel["stem"], parcel["rate"], target, settings), parcel["rate"])
    on_cuda = settings.device.startswith("cuda")
    held = torch.cuda.max_memory_allocated(torch.device(settings.device)) if on_cuda else None
    sys.stdout.write(json.dumps({"imports": imports, "peak": high_water(), "device": held}))


if __name__ == "__main__":
    _render()
