"""Measurements in a process of their own: what is to be done goes in on stdin, what was found comes out on stdout."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

import engine
from engine.errors import EngineError
from engine.target import Target

TIMEOUT_S = 1800.0


def ask(
    module: str, parcel: Mapping[str, Any], target: Target | None = None, *, timeout_s: float = TIMEOUT_S
) -> dict[str, Any]:
    """Run ``python -m module`` on ``parcel`` (tensors, numbers and text) and ``target``; the JSON object it answers.

    `EngineError` with the last thing it said where it fails.
    """
    whole = {}
    if target is not None:
        packed = {"recipe": target.recipe, "rate": target.rate}
        whole = {**packed, "params": dict(target.params), "tensors": dict(target.tensors)}
    written = io.BytesIO()
    torch.save({"work": dict(parcel), "target": whole}, written)
    root = str(Path(engine.__file__).parent.parent)
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    try:
        done = subprocess.run(
            [sys.executable, "-m", module],
            input=written.getvalue(),
            capture_output=True,
            env={**os.environ, "PYTHONPATH": path},
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise EngineError(f"the process {module} took more than {timeout_s:.0f} s and was ended") from None
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        last = said[-1] if said else "it said nothing"
        raise EngineError(f"the process {module} ended with {done.returncode}: {last}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def received() -> tuple[dict[str, Any], Target]:
    """In the child: the parcel and the target."""
    whole = _whole()
    target = whole["target"]
    return whole["work"], Target(target["recipe"], target["params"], target["rate"], target["tensors"])


def parcel() -> dict[str, Any]:
    """In the child: the parcel alone, where it was sent without a target."""
    work: dict[str, Any] = _whole()["work"]
    return work


def _whole() -> dict[str, Any]:
    whole: dict[str, Any] = torch.load(io.BytesIO(sys.stdin.buffer.read()), weights_only=True)
    return whole


def answer(found: Mapping[str, Any]) -> None:
    """In the child: tell what was found."""
    sys.stdout.write(json.dumps(dict(found)))


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


def on_device(device: torch.device) -> int | None:
    """The most memory tensors have held on ``device`` so far, in bytes; None where there is no such count."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
