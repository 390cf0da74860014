"""The whole way once, on music it makes itself: stems, presets, an album with chains, and a page to hear it on."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from engine import audio, material
from engine.style import Settings
from presets import learn
from presets.library import Library
from presets.picture import before_after_png
from presets.version import gramophone_version
from render import batch, page, planner, publish
from render.choices import Choices
from render.errors import RenderError
from render.events import AlbumDone, Event, OnEvent, StemFailed, StemPublished
from render.page import Content, Exhibit
from render.plan import Job, Plan

MARK = "# Written anew by every `gramophone demo`: copy it to change it."
FORMAT = audio.Format("WAV", "PCM_24")
PRESETS: Mapping[str, Sequence[str]] = {"bowed-organ": ("organ",), "tape-choir": ("choir",), "rain": ("rain",)}
ALBUM = f"""{MARK}
# By hand, from this folder: gramophone render album.toml --library presets

[album]
title  = "Four Bars in D"
output = "renders/{{index:02d}}_{{track}}_{{preset}}"

[[album.chain]]                      # after every track's own chain
plugin = "highpass_filter"
cutoff_frequency_hz = 30
[[album.chain]]
plugin = "brickwall_limiter"
ceiling_db = -1

[[track]]
title  = "Riff"
stem   = "stems/riff.wav"
preset = "tape-choir"
[[track.chain]]
plugin = "reverb"
room_size = 0.5
wet_level = 0.12
dry_level = 0.5

[[track]]
title  = "Voice"
stem   = "stems/voice.wav"
preset = "bowed-organ"
[[track.chain]]
plugin = "delay"
delay_seconds = 0.46875              # three sixteenths at 96 beats a minute
feedback = 0.25
mix = 0.12

[[track]]
title  = "Drums"
stem   = "stems/drums.wav"
preset = {{ rain = 0.7, tape-choir = 0.3 }}
[[track.chain]]
plugin = "compressor"
threshold_db = -18
ratio = 2
attack_ms = 8
[[track.chain]]
plugin = "gain"
gain_db = 2

[[track]]
title  = "Bass"
stem   = "stems/bass.wav"
preset = "bowed-organ"
amount = 0.8
[[track.chain]]
plugin = "low_shelf_filter"
cutoff_frequency_hz = 90
gain_db = 1
"""

OnStep = Callable[[str], None]


@dataclass(frozen=True)
class Demo:
    """What a demo left: the ``page`` to open, the manifest and library it was made from, and how the batch ended."""

    page: Path
    album: Path
    library: Path
    done: AlbumDone


def run(
    folder: Path,
    *,
    quality: str = "standard",
    seconds: float = 10.0,
    seed: int = 0,
    device: str = "auto",
    on_event: OnEvent = lambda event: None,
    on_step: OnStep = lambda step: None,
) -> Demo:
    """Make the demo in ``folder``, which may be new, empty or an earlier demo; ``seconds`` is the stems' length.

    ``on_event`` is told the render, ``on_step`` what comes between. `RenderError` for a folder that holds something
    else; `EngineError` and `InputError` for settings out of range.
    """
    Settings(quality=quality, seed=seed, device=device)
    album = folder / "album.toml"
    _claim(folder, album)
    on_step(f"making {len(material.STEMS)} stems and {len(material.REFERENCES)} references of {seconds:g} s")
    stems = {name: _make(folder / "stems", name, seconds, seed) for name in material.STEMS}
    references = {name: _make(folder / "references", name, seconds, seed) for name in material.REFERENCES}
    library = Library(folder / "presets")
    for name, sources in PRESETS.items():
        started = time.perf_counter()
        _, cached = learn.learn([references[s] for s in sources], name, library=library, replace=True)
        took = "learnt before" if cached else f"learnt in {time.perf_counter() - started:.1f} s"
        on_step(f"preset {name!r} from {' and '.join(sources)}: {took}")
    chosen = Choices(quality=quality, seed=seed, device=device)
    plan = planner.plan_album(album, library=library, choices=chosen, overwrite=True)
    diary = _Diary(on_event)
    done = batch.run(plan, on_event=diary)
    page_path = folder / "index.html"
    if not done.interrupted:
        on_step("writing the page")
        publish.write_text(page_path, page.html(_content(plan, diary, references, seconds)))
        _picture(folder / "before-after.png", plan, stems)
    return Demo(page_path, album, library.folder, done)


class _Diary:
    """Passes events on and remembers how each track ended."""

    def __init__(self, on_event: OnEvent) -> None:
        self.on_event = on_event
        self.published: dict[int, StemPublished] = {}
        self.failed: dict[int, StemFailed] = {}

    def __call__(self, event: Event) -> None:
        if isinstance(event, StemPublished):
            self.published[event.index] = event
        elif isinstance(event, StemFailed):
            self.failed[event.index] = event
        self.on_event(event)


def _claim(folder: Path, album: Path) -> None:
    """Make the folder a demo's; refuse to work in one that is somebody else's."""
    try:
        ours = album.is_file() and album.read_text(encoding="utf-8", errors="replace").startswith(MARK)
        if folder.exists() and not ours and any(folder.iterdir()):
            raise RenderError(f"{folder} holds something other than a demo; choose a new or an empty folder")
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RenderError(f"{folder} cannot be the demo's folder: {error.strerror or error}") from error
    # First of all, so that a demo that was interrupted is known for one.
    publish.write_text(album, ALBUM)


def _make(folder: Path, name: str, seconds: float, seed: int) -> Path:
    path = folder / f"{name}.wav"
    samples = torch.from_numpy(material.make(name, seconds=seconds, seed=seed))
    with publish.partial(path) as part:
        audio.write(part, samples, 44100, FORMAT)
        publish.publish(part, path, overwrite=True)
    return path


def _content(plan: Plan, diary: _Diary, references: Mapping[str, Path], seconds: float) -> Content:
    jobs = [job for job in plan.jobs if job.index not in diary.failed]
    first = jobs[0].settings if jobs else None
    return Content(
        plan.title,
        [
            f"Four stems, made by a program and played through sounds it made too: {seconds:g} seconds each.",
            "Switch between the stem and its styled version while they play.",
        ],
        [Exhibit(job.title, job.stem, job.output, facts=_facts(job, diary)) for job in jobs],
        references=[
            Exhibit(name.capitalize(), path, labels=("reference", ""), note=_learnt(name))
            for name, path in references.items()
        ],
        columns=["Preset", "Amount", "Time"],
        failures={failed.title: failed.reason for failed in diary.failed.values()},
        about={
            "Gramophone": gramophone_version(),
            "quality": first.quality if first else "",
            "seed": str(first.seed) if first else "",
            "PyTorch": torch.__version__,
        },
    )


def _learnt(reference: str) -> str:
    names = [name for name, sources in PRESETS.items() if reference in sources]
    return f"Learnt as {' and '.join(names)}."


def _facts(job: Job, diary: _Diary) -> dict[str, str]:
    event = diary.published.get(job.index)
    if event:
        time_told = f"{event.seconds:.1f} s ({event.duration_s / event.seconds:.1f} × real time)"
    else:
        time_told = "rendered before"
    parts = job.preset.card.blend_of if job.preset else ()
    preset = " + ".join(f"{part.weight:.0%} {part.name}" for part in parts) or job.label
    return {
        "Preset": preset,
        "Amount": f"{job.settings.amount:g}",
        "Chain": ", ".join(step.plugin.name for step in job.chain),
        "Time": time_told,
    }


def _picture(path: Path, plan: Plan, stems: Mapping[str, Path]) -> None:
    """A picture of the first track, for those who want one without the page."""
    job = plan.jobs[0]
    if not job.output.exists():
        return
    before, after = audio.read(job.stem), audio.read(job.output)
    labels = (f"the stem: {job.stem.name}", f"through {job.label}")
    picture = before_after_png(before.samples, after.samples, before.rate, labels=labels, width_px=1000)
    with publish.partial(path) as part:
        part.write_bytes(picture)
        publish.publish(part, path, overwrite=True)
