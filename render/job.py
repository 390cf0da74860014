"""One job from stem to published output: read, restyle, chain, overs, write, publish."""

import math
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from engine import audio, style
from engine.events import Event as EngineEvent
from render import host, overs, stamps
from render.errors import RenderError
from render.events import OnEvent, StemProgress, StemPublished
from render.plan import Job
from render.publish import partial, publish

Clock = Callable[[], float]


def render(job: Job, *, on_event: OnEvent, clock: Clock = time.monotonic) -> StemPublished:
    """Render ``job`` and say what came of it; the engine's events go to ``on_event`` as `StemProgress`.

    Raises `RenderError`, `EngineError` or `OSError`, and leaves nothing behind, when the stem cannot be read or
    changes meanwhile, the chain or the overs policy refuses, or the output cannot be written.
    """
    started, before = clock(), _identity(job.stem)
    inputs = job.inputs()
    stem = audio.read(job.stem, exact=True)
    if tuple(stem.samples.shape) != (job.info.channels, job.info.frames) or stem.rate != job.info.rate:
        raise RenderError(f"{job.stem} changed after the plan was made; render it again")
    dry = stem.samples.float()
    wet, over = overs.settle(_sound(job, dry, on_event), job.info.rate, job.format.subtype, job.overs)
    # What came through unchanged keeps the bits that float32 cannot hold.
    wet = audio.keep_bits(wet, stem.samples) if wet.shape == dry.shape else wet
    copied = job.untouched and over.action in ("none", "kept")
    with partial(job.output) as path:
        if copied and job.format == job.info.format:
            shutil.copyfile(job.stem, path)
        else:
            audio.write(path, wet, job.info.rate, job.format, dither_seed=job.settings.seed)
        if _identity(job.stem) != before:
            raise RenderError(f"{job.stem} changed while it was rendered; wait until it is whole, then render it again")
        stamps.write(job.output, inputs, path)
        publish(path, job.output, overwrite=job.overwrite)
    level, stem_level = _level_db(wet), _level_db(dry)
    return StemPublished(
        index=job.index,
        title=job.title,
        output=job.output,
        format=f"{job.format.container} {job.format.subtype}",
        duration_s=job.duration_s,
        seconds=clock() - started,
        peak_dbfs=_db(float(wet.abs().max())),
        level_change_db=None if level is None or stem_level is None else level - stem_level,
        overs=over.count,
        overs_action=over.action,
        gain_db=over.gain_db,
        copied=copied,
    )


def _sound(job: Job, dry: Tensor, on_event: OnEvent) -> Tensor:
    def tell(event: EngineEvent) -> None:
        on_event(StemProgress(job.index, event))

    wet = dry
    if job.styled and job.preset is not None:
        wet = style.restyle(dry, job.info.rate, job.preset.target, job.settings, tell)
        if wet.shape != dry.shape or not bool(torch.isfinite(wet).all()):
            raise RenderError(
                f"recipe {job.preset.target.recipe} returned {list(wet.shape)} samples, or some that are not finite; "
                f"expected {list(dry.shape)} finite ones: report it, with the stem if you can"
            )
    if job.chain or job.tail_samples:
        wet = host.play(wet, job.info.rate, job.chain, tail_samples=job.tail_samples)
    return wet


def _identity(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


def _level_db(samples: Tensor) -> float | None:
    power = float(samples.double().square().mean())
    return 10 * math.log10(power) if power > 0 else None


def _db(peak: float) -> float | None:
    return 20 * math.log10(peak) if peak > 0 else None
