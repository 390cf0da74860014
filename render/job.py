"""One job from stem to published output: read, restyle, chain, overs, write, publish.

The sound goes through in blocks, so that the memory a job takes does not grow with its stem.
"""

import math
import shutil
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from engine import audio, style
from engine.events import Event as EngineEvent
from engine.events import Iterate
from engine.halves import REACH_S
from engine.together import Together
from presets.preset import Preset
from render import blending, cuts, host, instrument, provenance, spool, stamps, tails
from render.errors import RenderError
from render.events import OnEvent, StemProgress, StemPublished, StemWritten
from render.overs import Settling
from render.plan import Job
from render.publish import partial, publish
from render.tempo import Song

if TYPE_CHECKING:
    from render.loudness import Levelling

Clock = Callable[[], float]

_BLOCK = 65_536


def render(
    job: Job, *, on_event: OnEvent, clock: Clock = time.monotonic, together: Together | None = None
) -> StemPublished:
    """Render ``job`` and say what came of it; the engine's events go to ``on_event`` as `StemProgress`.

    Its segments are solved ``together`` with those of other stems when there are such, each in a thread of its own.

    Raises `RenderError`, `EngineError` or `OSError`, and leaves nothing behind, when the stem cannot be read or
    changes meanwhile, the chain or the overs policy refuses, or the output cannot be written.
    """
    started, before = clock(), _identity(job.stem)
    inputs = job.inputs()
    # What was levelled has no overs left, and needs no second spool for them.
    settling = Settling(job.info.rate, job.format.subtype, "limit" if job.levelled else job.overs)
    levelling = _levelling(job, settling.ceiling)
    wet = _Level()
    if job.performance is not None and job.performance.sha256 != inputs["stem"]:
        raise RenderError(f"{job.stem} changed after the plan was made; render it again")
    with _heard(job) as heard, audio.Stem(heard) as file, partial(job.output) as path:
        stem = _Measured(file)
        if (stem.channels, stem.samples, stem.rate) != (job.info.channels, job.info.frames, job.info.rate):
            raise RenderError(f"{job.stem} changed after the plan was made; render it again")
        with ExitStack() as work:
            waiting = work.enter_context(spool.beside(job.output, stem.channels)) if settling.waits else None
            sound = work.enter_context(closing(_sound(job, stem, on_event, together)))
            exact = _exact(sound, file)
            length = job.length
            if job.rings:
                length, exact = _counted(exact, work.enter_context(spool.beside(job.output, stem.channels)))
            if levelling is not None:
                exact = levelling.play(exact, work.enter_context(spool.beside(job.output, stem.channels)))
            blocks = wet.measured(settling.play(exact, waiting))
            if job.untouched and job.format == job.info.format:
                for _ in blocks:  # all of it is heard, so that no damaged stem is passed on
                    pass
                shutil.copyfile(job.stem, path)
            else:
                said = provenance.of(job, audio.read_annotations(heard))
                _write(job, blocks, length, path, together, said)
        if _identity(job.stem) != before:
            raise RenderError(f"{job.stem} changed while it was rendered; wait until it is whole, then render it again")
        stamps.write(job.output, inputs, path)
        on_event(StemWritten(job.index, job.title, job.output))
        publish(path, job.output, overwrite=job.overwrite)
    over, level, stem_level = settling.found, wet.level_db, stem.level.level_db
    published = StemPublished(
        index=job.index,
        title=job.title,
        output=job.output,
        format=f"{job.format.container} {job.format.subtype}",
        duration_s=length / job.info.rate,
        seconds=clock() - started,
        peak_dbfs=wet.peak_dbfs,
        level_change_db=None if level is None or stem_level is None else level - stem_level,
        overs=over.count,
        overs_action=over.action,
        gain_db=over.gain_db,
        copied=job.untouched and over.action in ("none", "kept"),
    )
    return published if levelling is None else _levelled(published, levelling)


def _levelling(job: Job, full_scale: float) -> "Levelling | None":
    if not job.levelled:
        return None
    from render.loudness import Levelling

    return Levelling(
        job.info.rate,
        job.info.channels,
        loudness_lufs=job.loudness_lufs,
        ceiling_dbtp=job.ceiling_dbtp,
        full_scale=full_scale,
    )


def _levelled(published: StemPublished, levelling: "Levelling") -> StemPublished:
    return replace(
        published,
        levelled_db=levelling.gain_db,
        lufs_before=levelling.before.lufs,
        lufs_after=levelling.after.lufs,
        dbtp_before=levelling.before.dbtp,
        dbtp_after=levelling.after.dbtp,
    )


@contextmanager
def _heard(job: Job) -> Iterator[Path]:
    """The file of the job's stem, played by its instrument first when it is a part of a MIDI file."""
    if job.performance is None:
        yield job.stem
        return
    with instrument.written(job.performance, job.output) as path:
        yield path


def _write(
    job: Job, blocks: Iterator[Tensor], length: int, path: Path, together: Together | None, said: audio.Annotations
) -> None:
    rate, channels, seed = job.info.rate, job.info.channels, job.settings.seed
    with audio.Writer(path, rate, channels, length, job.format, dither_seed=seed, annotations=said) as writer:
        for block in blocks:
            if together is not None:
                together.check()
            writer.write(block)


def _sound(job: Job, stem: "_Measured", on_event: OnEvent, together: Together | None) -> Generator[Tensor, None, None]:
    """What the job makes of its stem, before anything is done about overs."""
    with closing(_styled(job, stem, on_event, together)) as wet:
        if job.chain or job.tail_samples:
            tail = tails.longest_samples(stem.rate) if job.rings else job.tail_samples
            played = host.stream(wet, stem.rate, stem.channels, stem.samples, job.chain, tail_samples=tail)
            if job.rings:
                played = tails.until_quiet(played, stem.samples, tails.hold_samples(job.chain, stem.rate))
            yield from played
        else:
            yield from wet


def _counted(blocks: Iterator[Tensor], waiting: spool.Spool) -> tuple[int, Iterator[Tensor]]:
    """How many samples ``blocks`` come to, and the same again: a file begins with its length."""
    length = 0
    for block in blocks:
        length += block.shape[1]
        waiting.append(block)
    return length, waiting.blocks()


def _styled(job: Job, stem: "_Measured", on_event: OnEvent, together: Together | None) -> Generator[Tensor, None, None]:
    if not job.styled or job.preset is None:
        for at in range(0, stem.samples, _BLOCK):
            yield stem.read(at, min(_BLOCK, stem.samples - at))
        return
    found = cuts.cut_points(stem, None if job.song is None else _bars(job.song, job.song_start_s))
    amounts = job.amounts
    # Streams that meet have a thread each, and these have one between them.
    meeting = together if len(amounts) == 1 else None
    styles = []
    for number, amount in enumerate(amounts):
        tell = _telling(job, on_event, number, len(amounts))
        settings = replace(job.settings, amount=amount)
        styles.append((amount, _restyled(job.preset, stem, settings, tell, found, meeting)))
    blocks = styles[0][1] if job.amount_line is None else blending.climb(stem, job.amount_line, styles)
    with closing(blocks):
        yield from blocks if job.mix_line is None else blending.mixed(stem, blocks, job.mix_line)


def _telling(job: Job, on_event: OnEvent, number: int, count: int) -> Callable[[EngineEvent], None]:
    """The engine's events of render ``number`` of ``count`` of one stem, as if all were one."""

    def tell(event: EngineEvent) -> None:
        if isinstance(event, Iterate):
            event = replace(event, segment=event.segment * count + number)
        else:
            event = replace(event, index=event.index * count + number, count=event.count * count)
        on_event(StemProgress(job.index, event))

    return tell


def _restyled(
    preset: Preset,
    stem: "_Measured",
    settings: style.Settings,
    tell: Callable[[EngineEvent], None],
    found: Sequence[float],
    together: Together | None,
) -> Generator[Tensor, None, None]:
    target, done = preset.target, 0
    for block in style.restyle_stream(stem, target, settings, tell, cuts=found, together=together):
        done += block.shape[-1]
        if block.dim() != 2 or len(block) != stem.channels or done > stem.samples or not bool(block.isfinite().all()):
            raise _nonsense(target.recipe, f"a block of {list(block.shape)}, or samples that are not finite", stem)
        yield block
    if done != stem.samples:
        raise _nonsense(target.recipe, f"{done} samples", stem)


def _bars(song: Song, start_s: float) -> Callable[[float], float | None]:
    """The marker or bar of ``song`` to cut at near a time of a stem that begins ``start_s`` into it."""

    def better(seconds: float) -> float | None:
        at = song.cut_near(seconds + start_s, REACH_S)
        return None if at is None else at - start_s

    return better


def _nonsense(recipe: str, found: str, stem: "_Measured") -> RenderError:
    expected = f"{stem.samples} finite samples of {stem.channels} channels"
    return RenderError(f"recipe {recipe} returned {found}; expected {expected}: report it, with the stem if you can")


def _exact(blocks: Iterator[Tensor], stem: audio.Stem) -> Iterator[Tensor]:
    """``blocks`` from the stem's start, with the bits that float32 cannot hold where nothing was changed."""
    at = 0
    for block in blocks:
        if stem.wide:
            count = max(0, min(block.shape[1], stem.samples - at))
            kept = audio.keep_bits(block[:, :count], stem.read_exact(min(at, stem.samples), count))
            block = torch.cat([kept, block[:, count:].to(kept.dtype)], 1)
        at += block.shape[1]
        yield block


class _Level:
    """Mean-square level and peak of a sound that goes by."""

    def __init__(self) -> None:
        self._power, self._count, self._peak = 0.0, 0, 0.0

    def add(self, block: Tensor) -> None:
        self._power += float(block.double().square().sum())
        self._count += block.numel()
        self._peak = max(self._peak, float(block.abs().max()))

    def measured(self, blocks: Iterator[Tensor]) -> Iterator[Tensor]:
        for block in blocks:
            self.add(block)
            yield block

    @property
    def level_db(self) -> float | None:
        return 10 * math.log10(self._power / self._count) if self._power > 0 else None

    @property
    def peak_dbfs(self) -> float | None:
        return 20 * math.log10(self._peak) if self._peak > 0 else None


class _Measured:
    """A stem as the engine reads it, from the start to the end at least once, that measures its level on the way."""

    def __init__(self, stem: audio.Stem) -> None:
        self.channels, self.samples, self.rate = stem.channels, stem.samples, stem.rate
        self.level = _Level()
        self._stem = stem
        self._known = 0

    def read(self, start: int, count: int) -> Tensor:
        """Samples ``start`` to ``start + count``, float32 ``[channels, count]``."""
        block = self._stem.read(start, count)
        if start <= self._known < start + count:
            self.level.add(block[:, self._known - start :])
            self._known = start + count
        return block


def _identity(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns
